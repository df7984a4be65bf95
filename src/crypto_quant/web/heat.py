"""The completeness of each symbol on each day, worked out from what is proven and what was counted. Pure.

A hole counts on the day on which the record breaks off, as in ``verify``. A day's rows are counted once; what is
proven of it later is added to the count, so that a hole that is filled is seen without reading the day again.
"""

import itertools
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence, Set

import msgspec

from crypto_quant.completeness import Known
from crypto_quant.continuity import RangeSet
from crypto_quant.market import DAY_NS, Timeframe
from crypto_quant.seams import Source
from crypto_quant.store.glance import DayCount, Range

COMPLETE, REPAIRED, HOLES, UNPROVEN, DROPPED, NOTHING, UNREAD = "crhudn?"
# where what came afterwards is from
FETCHED = (Source.REST, Source.ARCHIVE)


class Cell(msgspec.Struct, frozen=True, array_like=True):
    """One symbol on one day. ``begins`` and ``ends`` are thousandths of the day between which there is a record.

    ``missing`` ids lack, ``gone`` are proven to have been stored and are not counted now, ``unproven`` rows are there
    without a proof, ``dropped`` ids were dropped on purpose, ``fetched`` came over REST or from an archive.
    """

    state: str
    missing: int = 0
    gone: int = 0
    unproven: int = 0
    dropped: int = 0
    fetched: int = 0
    rows: int = 0
    begins: int = 0
    ends: int = 1000


class Claims:
    """What is claimed of one series."""

    def __init__(self, ranges: Iterable[Range]) -> None:
        found = list(ranges)
        self.known = Known.of(
            ((each.first, each.last, each.source) for each in found if each.source != "dropped"),
            ((each.first, each.last) for each in found if each.source == "dropped"),
        )
        # the day on which the recording of what was dropped began, as far as one can tell
        self.dropped_since = min((each.since_ns for each in found if each.source == "dropped"), default=0) // DAY_NS
        self.fetched = RangeSet((each.first, each.last) for each in found if each.source in FETCHED)

    def proven(self, first: int, last: int) -> int:
        """Return how many of a range are proven to be stored."""
        return _size(self.known.stored, first, last)


class Counted(msgspec.Struct, frozen=True):
    """What was counted of a day, and how many of those ids were proven then."""

    count: DayCount
    proven: int


def trades_row(claims: Claims, days: Sequence[int], read: Set[int], counted: Mapping[int, Counted]) -> list[Cell]:
    """Return the cells of one symbol for ``days`` (days since the epoch, rising).

    ``read`` are the days that were counted, ``counted`` those of them on which the symbol has rows.
    """
    there = [(day, counted[day]) for day in days if day in read and day in counted]
    at = {day: index for index, (day, _) in enumerate(there)}
    unread = [day for day in days if day not in read]
    proven = claims.known.stored.ranges()
    top = proven[-1][1] if proven else -1
    found: list[Cell] = []
    for day in days:
        if day not in read:
            found.append(Cell(UNREAD))
        elif day in at:
            following = there[at[day] + 1] if at[day] + 1 < len(there) else None
            # what lies between is told when all the days between are read
            if following and any(day < each < following[0] for each in unread):
                found.append(_cell(claims, day, counted[day], counted[day].count.last, following=True))
            elif following:
                found.append(_cell(claims, day, counted[day], following[1].count.first - 1, following=True))
            else:
                found.append(_cell(claims, day, counted[day], max(top, counted[day].count.last), following=False))
        else:
            found.append(_empty(claims, day, there, unread))
    return found


def _cell(claims: Claims, day: int, entry: Counted, end: int, *, following: bool) -> Cell:
    """Return the cell of a day with rows; its ids reach up to ``end``, with others above them when ``following``."""
    count, known = entry.count, claims.known
    low, high = count.first, count.last if following else end
    # nearly every cell: all its ids are proven, counted, and joined to those before
    whole = following and known.stored.within(low - 1, end) == [(low - 1, end)]
    if whole and count.rows == entry.proven == high - low + 1 and not claims.fetched.within(low, high):
        return Cell(COMPLETE, rows=count.rows)
    rows = count.rows + claims.proven(low, high) - entry.proven
    proven = claims.proven(low, high)
    gone, unproven = max(0, proven - rows), max(0, rows - proven)
    dropped = sum(part[1] - part[0] + 1 - claims.proven(*part) for part in known.dropped.within(low, end))
    missing = high - low + 1 - max(rows, proven) - _size(known.excused, low, high) - dropped
    missing += sum(gap.size for gap in known.missing(high + 1, end))
    missing = max(0, missing)
    fetched = sum(claims.proven(*part) for part in claims.fetched.within(low, high))
    begins = (count.first_ns - day * DAY_NS) * 1000 // DAY_NS if _first_of_all(known, low) else 0
    ends = 1000 if following else (count.last_ns - day * DAY_NS) * 1000 // DAY_NS + 1
    return Cell(
        _state(missing + gone, dropped, unproven, fetched, rows),
        missing, gone, unproven, dropped, fetched, rows, begins, max(begins + 1, ends),
    )  # fmt: skip


def _first_of_all(known: Known, low: int) -> bool:
    """Return whether the record of a symbol begins with an id: then nothing is known of what was traded before it."""
    if not known.missing(0, low - 1):
        return False
    return not known.stored.within(0, low - 1) and not known.dropped.within(0, low - 1)


def _empty(claims: Claims, day: int, there: Sequence[tuple[int, Counted]], unread: Sequence[int]) -> Cell:
    """Return the cell of a day without rows: what lies between its neighbours tells what it is."""
    place = bisect_right([each for each, _ in there], day)
    below = there[place - 1] if place else None
    above = there[place] if place < len(there) else None
    if above is None:
        return Cell(NOTHING)
    if any((below[0] if below else day) < each < above[0] for each in unread):
        return Cell(UNREAD)
    known, high = claims.known, above[1].count.first - 1
    if below is None:
        # before the first row: what was dropped ends there, or the record begins. How far back it went nobody knows
        dropped = high in known.dropped and high not in known.stored
        return Cell(DROPPED if dropped and day >= min(claims.dropped_since, above[0] - 1) else NOTHING)
    missing = known.missing(below[1].count.last + 1, high)
    if not missing:
        return Cell(COMPLETE)  # nothing was traded
    on_purpose = all(not known.dropped.missing(*gap) for gap in missing)
    return Cell(DROPPED if on_purpose else HOLES)


def candles_row(claims: Claims, days: Sequence[int], frame: Timeframe) -> list[Cell]:
    """Return the cells of one series of candles, of a timeframe of a day at most."""
    known = claims.known
    ranges = sorted(known.stored.ranges() + known.dropped.ranges())
    found = []
    for day in days:
        low, high = frame.slot(day * DAY_NS), frame.slot((day + 1) * DAY_NS) - 1
        size = high - low + 1
        if not ranges or high < ranges[0][0] or low > ranges[-1][1]:
            found.append(Cell(NOTHING))
            continue
        first, last = max(low, ranges[0][0]), min(high, ranges[-1][1])
        gaps = known.missing(first, last)
        dropped = sum(_size(known.dropped, *gap) for gap in gaps)
        missing = sum(gap.size for gap in gaps) - dropped
        fetched = _size(claims.fetched, first, last)
        rows = claims.proven(first, last)
        found.append(Cell(_state(missing, dropped, 0, fetched, rows), missing, 0, 0, dropped, fetched, rows,
                          (first - low) * 1000 // size, (last - low + 1) * 1000 // size))  # fmt: skip
    return found


def outgrown(claims: Claims, days: Sequence[int], read: Set[int], counted: Mapping[int, Counted]) -> set[int]:
    """Return the days to be counted anew: ids beside them are proven now that lay in no day's rows."""
    there = [(day, counted[day].count) for day in days if day in read and day in counted]
    found: set[int] = set()
    for (day, count), (following, other) in itertools.pairwise(there):
        if claims.proven(count.last + 1, other.first - 1):
            found.update(each for each in days if day <= each <= following)
    return found


def _state(missing: int, dropped: int, unproven: int, fetched: int, rows: int) -> str:
    if missing:
        return HOLES
    if dropped:
        return DROPPED
    if unproven:
        return UNPROVEN
    # a day that was loaded as a whole was never broken
    return REPAIRED if 0 < fetched < rows else COMPLETE


def _size(ranges: RangeSet, first: int, last: int) -> int:
    return sum(b - a + 1 for a, b in ranges.within(first, last)) if first <= last else 0
