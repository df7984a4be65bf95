"""Aggregate trades over REST as values: the pages to ask for, and what a page proves.

``aggTrades?fromId=`` walks forward by id, a thousand a page. What a page proves is told apart from what it holds: an
id that it jumps over is one that REST does not have (any more), and never one that does not exist.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from typing import Annotated

import msgspec

from crypto_quant.binance.history import Request
from crypto_quant.binance.venues import VenueSpec
from crypto_quant.errors import UndecodableFrame
from crypto_quant.market import NS_PER_MS, NS_PER_US, wire_symbol
from crypto_quant.rows import MICROSECONDS_FROM, TimeText, is_decimal, trade_row

PAGE = 1000
_PRICE_DIGITS = 12
_TIME_END_US = 253_402_300_800_000_000  # the year 10000, where calendars end

_Id = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
_IdOrVoid = Annotated[int, msgspec.Meta(ge=-1, le=2**63 - 1)]
_Time = Annotated[int, msgspec.Meta(ge=0, lt=_TIME_END_US)]


class _Row(msgspec.Struct):
    """``{"a":3000000001,"p":"64250.1","q":"0.01","f":5000000001,"l":5000000002,"T":1790856001200874,"m":true}``"""

    a: _Id
    p: str
    q: str
    f: _IdOrVoid
    l: _IdOrVoid  # noqa: E741  # the exchange's letter
    T: _Time
    m: bool


_DECODER = msgspec.json.Decoder(list[_Row])


class Page(msgspec.Struct, frozen=True):
    """What one answer holds: ``rows`` are COPY text, ``ids`` every id that was told, void ones among them.

    Ids rise strictly. ``voids`` counts the ids that the exchange has neutralised (p = q = 0, f = l = -1): they are
    known, and there is no trade to store. ``row_ids`` stand beside ``rows``. ``times_ns`` stand beside ``ids``.
    """

    ids: Sequence[int]
    times_ns: Sequence[int]
    row_ids: Sequence[int]
    rows: Sequence[bytes]
    voids: int

    def upto(self, last: int) -> "Page":
        """Return the page without what comes after id ``last`` (inclusive)."""
        if not self.ids or self.ids[-1] <= last:
            return self
        count = sum(number <= last for number in self.ids)
        stored = sum(number <= last for number in self.row_ids)
        return Page(self.ids[:count], self.times_ns[:count], self.row_ids[:stored], self.rows[:stored], count - stored)

    def within(self, ranges: Iterable[tuple[int, int]]) -> "Page":
        """Return the page with what it has of some ranges alone; they are inclusive, rising and disjoint."""
        ids: list[int] = []
        times_ns: list[int] = []
        row_ids: list[int] = []
        rows: list[bytes] = []
        for first, last in ranges:
            part = slice(bisect_left(self.ids, first), bisect_right(self.ids, last))
            ids += self.ids[part]
            times_ns += self.times_ns[part]
            part = slice(bisect_left(self.row_ids, first), bisect_right(self.row_ids, last))
            row_ids += self.row_ids[part]
            rows += self.rows[part]
        return Page(ids, times_ns, row_ids, rows, len(ids) - len(rows))


def agg_trades_request(spec: VenueSpec, symbol: str, from_id: int, limit: int = PAGE) -> Request:
    """Return the request for aggregate trades from id ``from_id`` (inclusive) on, at most ``limit``.

    On spot times are asked for in microseconds, as the streams have them: one trade must have one time, whichever
    way it comes (docs/decisions/0004). Futures know milliseconds alone, and only the last 48 hours.
    """
    params = {"symbol": wire_symbol(symbol), "fromId": str(from_id), "limit": str(limit)}
    return _request(spec, params)


def agg_trades_since_request(spec: VenueSpec, symbol: str, since_ns: int) -> Request:
    """Return the request for the first aggregate trade at or after a time (ns, cut to ms): where a day begins."""
    params = {"symbol": wire_symbol(symbol), "startTime": str(since_ns // NS_PER_MS), "limit": "1"}
    if not spec.microseconds:
        # futures take a start alone for the last hour only; both bounds may be an hour apart
        params["endTime"] = str(since_ns // NS_PER_MS + 3_599_999)
    return _request(spec, params)


def newest_agg_trade_request(spec: VenueSpec, symbol: str) -> Request:
    """Return the request for the most recent aggregate trade: without an id and a time the newest come."""
    return _request(spec, {"symbol": wire_symbol(symbol), "limit": "1"})


def _request(spec: VenueSpec, params: dict[str, str]) -> Request:
    headers = {"X-MBX-TIME-UNIT": "MICROSECOND"} if spec.microseconds else {}
    return Request(f"{spec.rest_prefix}/aggTrades", params, headers, spec.weight_agg_trades)


def parse_agg_trades(body: bytes, key: str, times: TimeText) -> Page:
    """Return what an aggTrades answer holds; ``key`` is ``rows.key_text`` of the venue and the stored symbol.

    Raises UndecodableFrame when one row is not what the exchange documents: then none of its neighbours can be
    trusted either.
    """
    try:
        told = _DECODER.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as problem:
        raise UndecodableFrame("not a valid aggTrades answer", subject=str(problem)) from problem
    ids: list[int] = []
    times_ns: list[int] = []
    row_ids: list[int] = []
    rows: list[bytes] = []
    before = -1
    for one in told:
        if one.a <= before:
            raise UndecodableFrame("not a valid aggTrades answer", subject=f"id {one.a} comes after {before}")
        before = one.a
        if not (is_decimal(one.p, _PRICE_DIGITS) and is_decimal(one.q, _PRICE_DIGITS)):
            raise UndecodableFrame("not a valid aggTrades answer", subject=f"numbers {one.p[:40]!r}, {one.q[:40]!r}")
        ids.append(one.a)
        times_ns.append(one.T * (NS_PER_US if one.T >= MICROSECONDS_FROM else NS_PER_MS))
        if is_void(one.p, one.q, one.f, one.l):
            continue
        if one.f < 0 or one.l < one.f:
            raise UndecodableFrame("not a valid aggTrades answer", subject=f"trade ids {one.f} to {one.l} are no range")
        row_ids.append(one.a)
        rows.append(trade_row(times(one.T), key, one.a, one.p, one.q, one.f, one.l, one.m, "\\N"))
    return Page(ids, times_ns, row_ids, rows, len(ids) - len(rows))


def is_void(price: str, quantity: str, first: int, last: int) -> bool:
    """Tell an id that the exchange has neutralised: no price, no quantity, no trades."""
    return first == last == -1 and not price.strip("0.") and not quantity.strip("0.")
