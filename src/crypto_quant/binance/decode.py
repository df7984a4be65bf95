"""One frame's bytes into one typed message, or the reason why it cannot be used.

The common frames (``{"stream":…,"data":{"e":"aggTrade"|"kline"…}}``) are decoded in one typed pass that touches only
the needed fields. Everything else, and everything that fails that pass, takes the slow way, which tells a control
reply from a raw payload from an event of another kind from damage, and says exactly what is wrong with damage.
"""

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from crypto_quant.binance import wire
from crypto_quant.errors import UndecodableFrame
from crypto_quant.rows import is_decimal

# Events that the exchange documents and this recorder does not keep (BINANCE stream lists, spot and futures, 2026).
OTHER_EVENTS = frozenset({
    "trade", "blockTrade", "depthUpdate", "bookTicker", "24hrTicker", "24hrMiniTicker", "1hTicker", "4hTicker",
    "1dTicker", "avgPrice", "referencePrice", "markPriceUpdate", "indexPriceUpdate", "forceOrder", "contractInfo",
    "compositeIndex", "assetIndexUpdate", "continuous_kline", "indexPrice_kline", "markPrice_kline",
})  # fmt: skip

_combined = msgspec.json.Decoder(wire.Combined).decode
_bare = msgspec.json.Decoder(wire.AggTrade | wire.Kline | wire.ServerShutdown).decode
_generic = msgspec.json.Decoder().decode

# decimals as ``is_decimal`` has them, each with its newline
_decimals = re.compile(r"(?:[0-9]{1,12}(?:\.[0-9]{1,8})?\n)*").fullmatch
# what a sum over a candle may need: NUMERIC(38,8)
_VOLUME_DIGITS = 30


def decode(payload: bytes) -> wire.Message:
    """Return the message in one text frame.

    Prices, quantities and volumes of what is returned are exact decimal text that the tables hold to the last digit.
    Raises UndecodableFrame, whose text says what is wrong.
    """
    try:
        message = _combined(payload).data
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        try:
            message = _other(payload)  # type: ignore[assignment]  # the slow way also knows replies
        except RecursionError:
            raise UndecodableFrame("nested too deeply") from None
    if type(message) is wire.AggTrade:
        if not (is_decimal(message.p) and is_decimal(message.q)):
            raise UndecodableFrame(
                f"price {_clip(message.p)} or quantity {_clip(message.q)} is not a decimal of 12.8 digits"
            )
    elif type(message) is wire.Kline and message.k.x:
        _check_candle(message)
    return message


def decode_all(payloads: Sequence[bytes]) -> list[wire.Message | UndecodableFrame]:
    """Return for each text frame what ``decode`` returns or raises, in a fraction of its time when all are sound."""
    try:
        messages = [_combined(payload).data for payload in payloads]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return [_decoded(payload) for payload in payloads]
    agg_trade = wire.AggTrade
    trades = [message for message in messages if type(message) is agg_trade]
    texts = [trade.p for trade in trades] + [trade.q for trade in trades] + [""]
    text = "\n".join(texts)
    # the count, because an end of line may stand in what the exchange has sent
    if not _decimals(text) or text.count("\n") != len(texts) - 1:
        return [_decoded(payload) for payload in payloads]
    if len(trades) < len(messages):
        try:
            for message in messages:
                if type(message) is wire.Kline and message.k.x:
                    _check_candle(message)
        except UndecodableFrame:
            return [_decoded(payload) for payload in payloads]
    return messages  # type: ignore[return-value]  # a list of fewer kinds of message


def _decoded(payload: bytes) -> wire.Message | UndecodableFrame:
    try:
        return decode(payload)
    except UndecodableFrame as problem:
        return problem


def _check_candle(message: wire.Kline) -> None:
    candle = message.k
    for name, text in (("o", candle.o), ("h", candle.h), ("l", candle.l), ("c", candle.c)):
        if not is_decimal(text):
            raise UndecodableFrame(f"price {name} = {_clip(text)} is not a decimal of 12.8 digits")
    for name, text in (("v", candle.v), ("q", candle.q), ("V", candle.V), ("Q", candle.Q)):
        if not is_decimal(text, _VOLUME_DIGITS):
            raise UndecodableFrame(f"volume {name} = {_clip(text)} is not a decimal of 30.8 digits")
    if candle.s != message.s:
        raise UndecodableFrame(f"symbol {_clip(message.s)} outside, {_clip(candle.s)} inside")


def _other(payload: bytes) -> wire.Message:
    """Decode what is not a combined trade or kline."""
    try:
        value = _generic(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError) as problem:
        raise UndecodableFrame(f"not JSON: {problem}") from None
    if not isinstance(value, dict):
        raise UndecodableFrame(f"not an object but {type(value).__name__}")
    if "stream" not in value and ("error" in value or "result" in value or ("id" in value and "code" in value)):
        return _reply(value)
    combined = "stream" in value or "data" in value
    data = value.get("data") if combined else value
    if not isinstance(data, dict):
        raise UndecodableFrame(f"data is not an object but {type(data).__name__}")
    event = data.get("e")
    if event in ("aggTrade", "kline", "serverShutdown"):
        try:
            return _combined(payload).data if combined else _bare(payload)
        except (msgspec.MsgspecError, UnicodeDecodeError) as problem:
            raise UndecodableFrame(f"{event}: {problem}") from None
    if isinstance(event, str) and event in OTHER_EVENTS:
        return wire.Ignored(event)
    if event is None and "u" in data and "b" in data and "a" in data:
        return wire.Ignored("bookTicker")  # spot's carries no event name
    if event is None and "lastUpdateId" in data:
        return wire.Ignored("depth")  # neither does partial depth
    raise UndecodableFrame(f"unknown event {_clip(event)}" if event is not None else "no event name (e)")


def _reply(value: dict[str, Any]) -> wire.Reply:
    number = value.get("id")
    request_id = number if isinstance(number, int) and not isinstance(number, bool) else None
    # documented flat, seen nested on the wire: both
    error = value.get("error", value if "code" in value else None)
    if error is None:
        return wire.Reply(request_id, None)
    if not isinstance(error, dict):
        return wire.Reply(request_id, (0, _clip(error)))
    given = error.get("code")
    code = given if isinstance(given, int) and not isinstance(given, bool) else 0
    return wire.Reply(request_id, (code, _clip(error.get("msg", ""))))


def _clip(value: object, limit: int = 80) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text)} characters)"
