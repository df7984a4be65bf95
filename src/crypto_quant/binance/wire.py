"""Binance's stream payloads, in Binance's own letters; only the fields that are used are decoded.

Times are integers in milliseconds, or in microseconds on a link opened with ``timeUnit=MICROSECOND``; a value
above 10**14 is in microseconds (a millisecond count reaches that in the year 5138).
Prices and quantities stay the exchange's decimal text. Unknown fields are skipped: the exchange adds some every
few months. Sources: web-socket-streams.md as of 2026-07-21, SDK 13.3.0, captures of 2021 to 2026.
"""

from typing import Annotated

import msgspec

# Bounds that storage can hold: BIGINT, and a timestamp before the year 10000 (in µs).
_Id = Annotated[int, msgspec.Meta(ge=-1, le=2**63 - 1)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
_Time = Annotated[int, msgspec.Meta(ge=0, lt=253_402_300_800_000_000)]


class AggTrade(msgspec.Struct, tag_field="e", tag="aggTrade", gc=False):
    """``<symbol>@aggTrade``: the fills of one taker order at one price.

    ``{"e":"aggTrade","E":1723161255343,"s":"BTCUSDT","a":3000000001,"p":"61837.63000000","q":"0.02000000",
    "f":3735683259,"l":3735683259,"T":1723161255342,"m":true,"M":true}``
    """

    E: _Time  # event time: when the stream server made the message
    s: str  # symbol, upper case
    a: _Count  # aggregate trade id
    p: str  # price
    q: str  # quantity in the base asset
    f: _Id  # first trade id, inclusive
    l: _Id  # noqa: E741  last trade id, inclusive
    T: _Time  # trade time
    m: bool  # the buyer is the maker


class KlineBody(msgspec.Struct, gc=False):
    """The candle inside a kline message; ``x`` is true only in its final message."""

    t: _Time  # open time
    T: _Time  # close time: the next open less one unit
    s: str
    i: str  # interval
    f: _Id  # first trade id, -1 when there was no trade
    L: _Id  # last trade id, -1 when there was no trade
    o: str
    c: str
    h: str
    l: str  # noqa: E741
    v: str  # base volume
    n: _Count  # number of trades
    x: bool
    q: str  # quote volume
    V: str  # taker-buy base volume
    Q: str  # taker-buy quote volume


class Kline(msgspec.Struct, tag_field="e", tag="kline", gc=False):
    """``<symbol>@kline_<interval>``: the running candle, every one or two seconds, and its end.

    ``{"e":"kline","E":1617566640010,"s":"BTCUSDT","k":{"t":1617566580000,"T":1617566639999,"s":"BTCUSDT",
    "i":"1m","f":745522100,"L":745523012,"o":"58001.03000000",…,"x":true,…}}``
    """

    E: _Time
    s: str
    k: KlineBody


class ServerShutdown(msgspec.Struct, tag_field="e", tag="serverShutdown"):
    """The server is about to go; since 2026-06-09 without any promised lead time: leave at once."""

    E: _Time


class Combined(msgspec.Struct, gc=False):
    """The wrapper of ``/stream`` connections."""

    stream: str
    data: AggTrade | Kline | ServerShutdown


class Reply(msgspec.Struct, frozen=True):
    """The answer to a control message; ``error`` is ``(code, text)`` when it was refused."""

    request_id: int | None
    error: tuple[int, str] | None


class Ignored(msgspec.Struct, frozen=True):
    """A well-formed event of a kind that this recorder does not keep."""

    event: str


Message = AggTrade | Kline | ServerShutdown | Reply | Ignored
