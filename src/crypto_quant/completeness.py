"""What is missing of a stretch of time: what is proven, held against what was asked for. Pure.

Trades are known by id, and the exchange's aggregate ids run in the order of time without holes of their own. So a
stretch is whole when the ids of its first and last trade are linked by ids that are known, and when each of the two
is linked with a stored trade outside: before the first one and after the last one there can then be no other.
Candles are known by slot, and the slots of a stretch follow from the clock.

An id is known when it is stored, or when it is proven that no source has it. What no row and no proof speaks of is
missing; where not even the ids can be told, at the ends of the record, it is unproven.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from crypto_quant.continuity import Gap, RangeSet
from crypto_quant.evidence import Span
from crypto_quant.market import NS_PER_US, utc_text

MISSING = "missing"
UNPROVEN = "unproven"
GONE = "gone"


class Lack(msgspec.Struct, frozen=True):
    """A part of a stretch of time of which not all is there.

    Within ``start`` (inclusive) to ``end`` (exclusive), in ns, there lack the ids or slots ``first`` to ``last``, both
    inclusive; None: nobody can tell which. ``why`` is ``missing`` (between others that are known), ``gone`` (proven to
    have been stored, and not in the tables now) or ``unproven`` (at an end of the record).
    """

    start: int
    end: int
    first: int | None
    last: int | None
    why: str

    @property
    def size(self) -> int | None:
        """How many ids or slots lack; None when nobody can tell."""
        return None if self.first is None or self.last is None else self.last - self.first + 1

    def __str__(self) -> str:
        when = f"{utc_text(self.start)} to {utc_text(self.end)}"
        if self.first is None or self.last is None:
            return f"{when}: not proven"
        ids = str(self.first) if self.first == self.last else f"{self.first} to {self.last}"
        return f"{when}: {ids} {self.why}"


class Edge(NamedTuple):
    """A stored trade next to an end of a stretch."""

    trade_id: int
    time_ns: int


class Known(NamedTuple):
    """What is known of the ids of a symbol, or of the slots of a series: stored, and rightly without a row."""

    stored: RangeSet
    excused: RangeSet

    @classmethod
    def of(cls, claims: Iterable[tuple[int, int, str]]) -> "Known":
        """Return what claims (first, last, source) say: ``void`` and ``absent`` have no rows."""
        known = cls(RangeSet(), RangeSet())
        for first, last, source in claims:
            (known.excused if source in ("void", "absent") else known.stored).add(first, last)
        return known

    def missing(self, first: int, last: int) -> list[Gap]:
        """Return what of a range (inclusive; it may be empty) is not known, lowest first."""
        if first > last:
            return []
        return [hole for gap in self.stored.missing(first, last) for hole in self.excused.missing(*gap)]

    def sides(self, first: int, last: int) -> tuple[int, int]:
        """Return the next numbers below and above a range that may have a row."""
        low, high = first - 1, last + 1
        for begin, end in reversed(self.excused.ranges()):
            low = begin - 1 if begin <= low <= end else low
        for begin, end in self.excused.ranges():
            high = end + 1 if begin <= high <= end else high
        return low, high


def lacks_of_trades(
    span: Span,
    known: Known,
    edges: tuple[Edge, Edge] | None,
    before: Edge | None,
    after: Edge | None,
    *,
    ends: tuple[bool, bool] = (True, True),
) -> list[Lack]:
    """Return what lacks of a symbol's trades in a span, in order; times are as near as the edges tell.

    ``edges`` are the first and the last trade in the span, None when there is none; ``before`` and ``after`` the
    nearest stored ones outside, in time, None where there is none. That an id is known is not enough there: its row
    may be gone, and then nobody can tell on which side of the edge it was.
    ``ends`` says of which end of the span (start, end) it matters what lies between it and the first or last trade.
    """
    if edges is None:
        if before is None or after is None:
            return [Lack(span.start, span.end, None, None, UNPROVEN)]
        return [Lack(span.start, span.end, *gap, MISSING) for gap in _between(known, before, after)]
    first, last = edges
    found = [Lack(first.time_ns, last.time_ns + NS_PER_US, *gap, MISSING)
             for gap in known.missing(first.trade_id + 1, last.trade_id - 1)]  # fmt: skip
    if ends[0]:
        first_of_all = not first.trade_id or not known.excused.missing(0, first.trade_id - 1)
        low = Edge(-1, span.start) if first_of_all else before
        found[:0] = _beyond(span.start, first.time_ns, None if low is None else _between(known, low, first))
    if ends[1]:
        beyond = None if after is None else _between(known, last, after)
        found += _beyond(last.time_ns + NS_PER_US, span.end, beyond)
    return found


def _between(known: Known, low: Edge, high: Edge) -> list[Gap]:
    """Return the ids between two rows that follow each other in time, less those that rightly have no row."""
    first, last = low.trade_id + 1, high.trade_id - 1
    return known.excused.missing(first, last) if first <= last else []


def _beyond(start: int, end: int, gaps: Sequence[Gap] | None) -> list[Lack]:
    """Return what lacks between a trade at an edge and the nearest one outside; None: there is no such trade."""
    if gaps is None:
        return [Lack(start, max(start, end), None, None, UNPROVEN)]
    return [Lack(start, max(start, end), *gap, MISSING) for gap in gaps]


def timed(lack: Lack, known: Known, times: Mapping[int, int]) -> Lack:
    """Return a lack within the times (ns) of the trades on its sides, as far as they are known."""
    if lack.first is None or lack.last is None:
        return lack
    low, high = known.sides(lack.first, lack.last)
    start = times.get(low, lack.start)
    end = times[high] + NS_PER_US if high in times else lack.end
    return Lack(max(lack.start, start), min(lack.end, end), lack.first, lack.last, lack.why)


def lacks_of_candles(first: int, last: int, known: Known, opens_ns: Callable[[int], int]) -> list[Lack]:
    """Return what lacks of the candles with the slots ``first`` to ``last`` (inclusive), in order.

    ``opens_ns`` gives a slot's open time. Beyond the first and the last that are stored they are unproven.
    """
    ranges = known.stored.ranges()
    low, high = (ranges[0][0], ranges[-1][1]) if ranges else (last + 1, last)
    found = []
    for gap in known.missing(first, last):
        inside = low < gap.first and gap.last < high
        found.append(Lack(opens_ns(gap.first), opens_ns(gap.last + 1), *gap, MISSING if inside else UNPROVEN))
    return found


class Tally:
    """The ids, or slots, of rows as they are read: what was announced and did not come."""

    def __init__(self) -> None:
        self._seen = RangeSet()
        self.rows = 0

    def add(self, runs: Iterable[tuple[int, int]], rows: int) -> None:
        """Take down the ids of some rows, as inclusive ranges."""
        self.rows += rows
        for first, last in runs:
            self._seen.add(first, last)

    def unseen(self, first: int, last: int, known: Known) -> list[Gap]:
        """Return what of a range (inclusive) should have come: what is known, less what is rightly without a row."""
        if first > last:
            return []
        wanted = [pair for gap in self._seen.missing(first, last) for pair in known.stored.within(*gap)]
        return [gap for pair in wanted for gap in known.excused.missing(*pair)]
