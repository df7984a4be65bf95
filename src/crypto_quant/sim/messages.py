"""Messages as the exchange writes them: field by field in its own order, and WebSocket frames around them.

Written by hand, not by an encoder: this is the fastest way in Python, and it is done once per message and shared by
every link that wants the same form of it. Names need no escaping: symbols hold letters and digits only.
"""

import struct
from enum import IntEnum

import msgspec

from crypto_quant.sim.aggregate import Aggregate
from crypto_quant.sim.candles import Candle
from crypto_quant.sim.numbers import ONE, text8
from crypto_quant.sim.tape import Trade

_json = msgspec.json.Encoder()


class TimeUnit(IntEnum):
    """The unit of every time on a connection; the value is what µs are divided by."""

    MILLISECOND = 1000
    MICROSECOND = 1


def time_unit(text: str) -> TimeUnit | None:
    """Return the unit of that name; the exchange documents it in all upper or all lower case."""
    return next((unit for unit in TimeUnit if text in {unit.name, unit.name.lower()}), None)


def to_json(value: object) -> bytes:
    """Return compact JSON, UTF-8 left as it is."""
    return _json.encode(value)


def text_frame(payload: bytes) -> bytes:
    """Return one whole, unmasked WebSocket text frame (RFC 6455 section 5.2)."""
    size = len(payload)
    if size < 126:
        return bytes((0x81, size)) + payload
    if size < 65536:
        return struct.pack("!BBH", 0x81, 126, size) + payload
    return struct.pack("!BBQ", 0x81, 127, size) + payload


def combined(stream: str, payload: bytes) -> bytes:
    """Return a payload wrapped as on ``/stream``."""
    return combined_head(stream) + payload + b"}"


def combined_head(stream: str) -> bytes:
    """Return what stands before the payload on ``/stream``; a closing brace stands after it."""
    return b'{"stream":"%b","data":' % stream.encode()


def agg_trade(one: Aggregate, event_us: int, unit: TimeUnit) -> bytes:
    """Return an ``aggTrade`` payload."""
    return (
        f'{{"e":"aggTrade","E":{event_us // unit},"s":"{one.symbol}","a":{one.agg_id},'
        f'"p":"{one.price // ONE}.{one.price % ONE:08d}","q":"{one.quantity // ONE}.{one.quantity % ONE:08d}",'
        f'"f":{one.first_id},"l":{one.last_id},"T":{one.time_us // unit},'
        f'"m":{"true" if one.maker else "false"},"M":{"true" if one.best else "false"}}}'
    ).encode()


def trade(one: Trade, event_us: int, unit: TimeUnit) -> bytes:
    """Return a ``trade`` payload."""
    return (
        f'{{"e":"trade","E":{event_us // unit},"s":"{one.symbol}","t":{one.first_id},'
        f'"p":"{text8(one.price)}","q":"{text8(one.quantity)}","T":{one.time_us // unit},'
        f'"m":{"true" if one.maker else "false"},"M":{"true" if one.best else "false"}}}'
    ).encode()


def close_time(candle: Candle, unit: TimeUnit) -> int:
    """Return a candle's close time: the last tick of the unit before the next one opens."""
    return candle.end_us // unit - 1


def kline(symbol: str, interval: str, candle: Candle, event_us: int, unit: TimeUnit, *, final: bool) -> bytes:
    """Return a ``kline`` payload."""
    return (
        f'{{"e":"kline","E":{event_us // unit},"s":"{symbol}","k":{{"t":{candle.open_us // unit},'
        f'"T":{close_time(candle, unit)},"s":"{symbol}","i":"{interval}","f":{candle.first_id},"L":{candle.last_id},'
        f'"o":"{text8(candle.open)}","c":"{text8(candle.close)}","h":"{text8(candle.high)}","l":"{text8(candle.low)}",'
        f'"v":"{text8(candle.volume)}","n":{candle.count},"x":{"true" if final else "false"},'
        f'"q":"{text8(candle.quote)}","V":"{text8(candle.taker_volume)}","Q":"{text8(candle.taker_quote)}","B":"0"}}}}'
    ).encode()


def server_shutdown(event_us: int, unit: TimeUnit) -> bytes:
    """Return a ``serverShutdown`` payload."""
    return b'{"e":"serverShutdown","E":%d}' % (event_us // unit)
