"""What is missing of a stretch of time: what is proven, held against what was asked for. Pure.

Trades are known by id, and the exchange's aggregate ids run in the order of time without holes of their own. So a
stretch is whole when the ids of its first and last trade are linked by ids that are known, and when each of the two
is linked with a stored trade outside: before the first one and after the last one there can then be no other.
Candles are known by slot, and the slots of a stretch follow from the clock.

An id is known when it is stored, or when it is proven that no source has it. What no row and no proof speaks of is
missing, or was dropped on purpose; where not even the ids can be told, at the ends of the record, it is unproven.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import msgspec

from crypto_quant.continuity import Gap, RangeSet
from crypto_quant.evidence import Span
from crypto_quant.market import NS_PER_US, utc_text

MISSING = "missing"
UNPROVEN = "unproven"
GONE = "gone"
DROPPED = "dropped"

_ID_MAX = 2**63 - 1


class Lack(msgspec.Struct, frozen=True):
    """A part of a stretch of time of which not all is there.

    Within ``start`` (inclusive) to ``end`` (exclusive), in ns, there lack the ids or slots ``first`` to ``last``, both
    inclusive; None: nobody can tell which. ``why`` is ``missing`` (between others that are known), ``dropped`` (on
    purpose, and not fetched again), ``gone`` (proven to have been stored, and not in the tables now) or ``unproven``
    (at an end of the record).
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
            unknown = "dropped on purpose, as far as it was recorded" if self.why == DROPPED else "not proven"
            return f"{when}: {unknown}"
        ids = str(self.first) if self.first == self.last else f"{self.first} to {self.last}"
        return f"{when}: {ids} {'dropped on purpose' if self.why == DROPPED else self.why}"


class Edge(NamedTuple):
    """A stored trade next to an end of a stretch."""

    trade_id: int
    time_ns: int


class Known(NamedTuple):
    """What is known of the ids of a symbol, or of the slots of a series.

    They are stored, or rightly without a row (``excused``); and of those that lack some were dropped on purpose.
    """

    stored: RangeSet
    excused: RangeSet
    dropped: RangeSet

    @classmethod
    def of(cls, claims: Iterable[tuple[int, int, str]], dropped: Iterable[tuple[int, int]] = ()) -> "Known":
        """Return what claims (first, last, source) say: ``void`` and ``absent`` have no rows.

        ``dropped`` are ranges that were dropped once, fetched again or not: what is claimed as stored is not dropped.
        """
        known = cls(RangeSet(), RangeSet(), RangeSet(dropped))
        for first, last, source in claims:
            if source in ("void", "absent"):
                known.excused.add(first, last)
            else:
                known.stored.add(first, last)
                known.dropped.discard(first, last)
        return known

    def missing(self, first: int, last: int) -> list[Gap]:
        """Return what of a range (inclusive; it may be empty) is not known, lowest first."""
        if first > last:
            return []
        return [hole for gap in self.stored.missing(first, last) for hole in self.excused.missing(*gap)]

    def parts(self, first: int, last: int) -> list[tuple[int, int, bool]]:
        """Return a range that lacks in parts, lowest first: (first, last, whether it was dropped on purpose)."""
        dropped = [(*part, True) for part in self.dropped.within(first, last)]
        return sorted(dropped + [(*part, False) for part in self.dropped.missing(first, last)])

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
    What was dropped on purpose is among the missing: ``parted`` tells it from them, once they have their times.
    ``ends`` says of which end of the span (start, end) it matters what lies between it and the first or last trade.
    """
    if edges is None:
        if before is None or after is None:
            return _untold(span.start, span.end, known, before, after)
        return [Lack(span.start, span.end, *gap, MISSING) for gap in _between(known, before, after)]
    first, last = edges
    found = [Lack(first.time_ns, last.time_ns + NS_PER_US, *gap, MISSING)
             for gap in known.missing(first.trade_id + 1, last.trade_id - 1)]  # fmt: skip
    if ends[0]:
        first_of_all = not first.trade_id or not known.excused.missing(0, first.trade_id - 1)
        low = Edge(-1, span.start) if first_of_all else before
        found[:0] = _beyond(span.start, first.time_ns, known, low, first)
    if ends[1]:
        found += _beyond(last.time_ns + NS_PER_US, span.end, known, last, after)
    return found


def parted(lacks: Iterable[Lack], known: Known) -> list[Lack]:
    """Return what lacks, the dropped parted from the missing; each part keeps the times of the whole."""
    found = []
    for each in lacks:
        if each.why != MISSING or each.first is None or each.last is None:
            found.append(each)
            continue
        found += [
            Lack(each.start, each.end, first, last, DROPPED if dropped else MISSING)
            for first, last, dropped in known.parts(each.first, each.last)
        ]
    return found


def _between(known: Known, low: Edge, high: Edge) -> list[Gap]:
    """Return the ids between two rows that follow each other in time, less those that rightly have no row."""
    first, last = low.trade_id + 1, high.trade_id - 1
    return known.excused.missing(first, last) if first <= last else []


def _beyond(start: int, end: int, known: Known, low: Edge | None, high: Edge | None) -> list[Lack]:
    """Return what lacks between a trade at an edge and the nearest one outside; None: there is no such trade."""
    if low is None or high is None:
        return _untold(start, max(start, end), known, low, high)
    return [Lack(start, max(start, end), *gap, MISSING) for gap in _between(known, low, high)]


def _untold(start: int, end: int, known: Known, low: Edge | None, high: Edge | None) -> list[Lack]:
    """Return what lacks where a row is on one side at most, so that nobody can tell which ids fall there.

    It was dropped when ids next to the row were. Where others between them and the row are not known, or no row is
    above, it is unproven as well.
    """
    first, last = low.trade_id + 1 if low else 0, high.trade_id - 1 if high else _ID_MAX
    if high and first <= last and (below := known.stored.within(first, last)):
        first = below[-1][1] + 1
    dropped = known.dropped.within(first, last) if first <= last else []
    if not dropped:
        return [Lack(start, end, None, None, UNPROVEN)]
    all_of_it = high is not None and not any(
        known.dropped.missing(*gap) for gap in known.excused.missing(dropped[0][0], last)
    )
    whys = (DROPPED,) if all_of_it else (DROPPED, UNPROVEN)
    return [Lack(start, end, None, None, why) for why in whys]


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

    ``opens_ns`` gives a slot's open time. Beyond the first and the last that were ever stored they are unproven.
    """
    ranges = sorted(known.stored.ranges() + known.dropped.ranges())
    low, high = (ranges[0][0], max(end for _, end in ranges)) if ranges else (last + 1, last)
    found = []
    for gap in known.missing(first, last):
        for begin, end, dropped in known.parts(*gap):
            why = DROPPED if dropped else MISSING if low < begin and end < high else UNPROVEN
            found.append(Lack(opens_ns(begin), opens_ns(end + 1), begin, end, why))
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
