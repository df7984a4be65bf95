"""A trade that is told twice with different contents: how such a frame is made, and how any frame is read."""

import re

from msgspec.structs import replace

from crypto_quant.sim.aggregate import Aggregate
from crypto_quant.sim.messages import TimeUnit
from crypto_quant.sim.numbers import ONE, parse8, text8
from crypto_quant.sim.world.exchange import Exchange

# the names of streams need no escaping
_STREAM = re.compile(rb'\{"stream":"([^"]+)"')
_TRADE = re.compile(
    r'"e":"aggTrade","E":\d+,"s":"([^"]+)","a":(\d+),"p":"([\d.]+)","q":"([\d.]+)","f":(\d+),"l":(\d+),"T":(\d+),'
    r'"m":(true|false),"M":(?:true|false)\}\}'
)
_MICROSECONDS_FROM = 10**14


def stream_of(payload: bytes) -> str:
    """Return the name of the stream that a frame is of; '' when it is none's."""
    match = _STREAM.match(payload)
    return match[1].decode() if match else ""


def trade_in(payload: bytes) -> tuple[str, int] | None:
    """Return symbol (as the exchange writes it) and id of the trade in a frame; None when there is none."""
    match = _TRADE.search(payload.decode("utf-8", "replace"))
    return (match[1], int(match[2])) if match else None


def is_hidden(exchange: Exchange, payload: bytes) -> bool:
    """Tell whether a frame holds a trade that no stream tells."""
    if not any(exchange.forgotten.values()):
        return False
    found = trade_in(payload)
    return found is not None and exchange.is_forgotten(*found)


def version_in(exchange: Exchange, payload: bytes) -> Aggregate | None:
    """Return the trade in a frame, when it is one of those that the exchange has told; None for everything else."""
    match = _TRADE.search(payload.decode("utf-8", "replace"))
    if match is None:
        return None
    symbol, number, price, quantity, first, last, time, maker = match.groups()
    for one in exchange.tellings(symbol, int(number)):
        time_us = one.time_us if int(time) >= _MICROSECONDS_FROM else one.time_us // 1000
        told = (price, quantity, int(first), int(last), int(time), maker == "true")
        if told == (text8(one.price), text8(one.quantity), one.first_id, one.last_id, time_us, one.maker):
            return one
    return None


def altered(exchange: Exchange, payload: bytes, unit: TimeUnit) -> bytes | None:
    """Return a trade's frame with another content, and note it as told; None for any other frame."""
    found = trade_in(payload)
    one = exchange.trade(*found) if found is not None else None
    if one is None:
        return None
    what = exchange.dice.randrange(4)
    if what == 0:
        other = replace(one, price=one.price + ONE)
    elif what == 1:
        other = replace(one, quantity=one.quantity + ONE)
    elif what == 2:
        other = replace(one, maker=not one.maker)
    else:
        other = replace(one, time_us=one.time_us + exchange.dice.choice((-1, 1)) * 1_000_000)
    exchange.keep_version(other)
    text = payload.decode()
    text = text.replace(f'"p":"{text8(one.price)}"', f'"p":"{text8(other.price)}"')
    text = text.replace(f'"q":"{text8(one.quantity)}"', f'"q":"{text8(other.quantity)}"')
    text = text.replace(f'"T":{one.time_us // unit}', f'"T":{other.time_us // unit}')
    return text.replace(f'"m":{str(one.maker).lower()}', f'"m":{str(other.maker).lower()}').encode()


def is_row_of(row: dict[str, str], one: Aggregate, microseconds: int) -> bool:
    """Tell whether a row (its time in ``microseconds``) holds just this version."""
    return (
        microseconds == one.time_us
        and (parse8(row["price"]), parse8(row["quantity"])) == (one.price, one.quantity)
        and (int(row["first_trade_id"]), int(row["last_trade_id"])) == (one.first_id, one.last_id)
        and row["is_buyer_maker"] == ("t" if one.maker else "f")
        and row["venue"] == "spot"
    )
