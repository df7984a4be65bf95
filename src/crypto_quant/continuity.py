"""What is missing: trades are judged by their ids, candles by their slots, neither by silence.

Pure: ids and exchange time come in, verdicts and holes go out. Memory is bounded, and where a bound is reached the
account errs on one side only: something had may be taken for missing, which costs a look-up and is put right by the
store's unique key; something never seen is never taken for a duplicate, which would lose it.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import NamedTuple

from crypto_quant.market import Timeframe

# A hole of this many pieces is no longer worth its memory (some 1.5 MB a symbol); the oldest pieces are joined.
RANGES_MAX = 10_000
# Ids this far below the first one seen are not late. Years of the busiest symbol's order, or another count altogether.
RESET_DISTANCE = 1_000_000
# So many ids in a row, each the next, that far below: the exchange counts anew.
RESET_RUN = 64
_NO_STRAY = -2


class Gap(NamedTuple):
    """An inclusive range of ids known to be missing."""

    first: int
    last: int

    @property
    def size(self) -> int:
        """How many ids are missing."""
        return self.last - self.first + 1


class RangeSet:
    """A set of ids, held as sorted, disjoint, inclusive ranges that do not touch each other.

    Every range given or returned is ``(first, last)``, both inclusive, ``first <= last``.
    """

    __slots__ = ("_firsts", "_lasts")

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        for first, last in ranges:
            self.add(first, last)

    def add(self, first: int, last: int) -> None:
        """Put every id of the range into the set. Raises ValueError when it is none."""
        if self._lasts and first == self._lasts[-1] + 1 and last >= first:
            self._lasts[-1] = last  # the common case by far: ids that go on
            return
        low, high = self._touching(first, last, apart=1)
        if low < high:
            first, last = min(first, self._firsts[low]), max(last, self._lasts[high - 1])
        self._firsts[low:high], self._lasts[low:high] = [first], [last]

    def discard(self, first: int, last: int) -> None:
        """Take every id of the range out of the set, whether it was in it or not."""
        low, high = self._touching(first, last, apart=0)
        if low < high:
            left, right = self._firsts[low], self._lasts[high - 1]
            kept = [(left, first - 1)] * (left < first) + [(last + 1, right)] * (last < right)
            self._firsts[low:high], self._lasts[low:high] = [a for a, _ in kept], [b for _, b in kept]

    def __contains__(self, number: int) -> bool:
        at = bisect_right(self._firsts, number)
        return at > 0 and number <= self._lasts[at - 1]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RangeSet) and self.ranges() == other.ranges()

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __repr__(self) -> str:
        return f"RangeSet({self.ranges()})"

    def __len__(self) -> int:
        """How many ranges there are; how many ids is ``size``."""
        return len(self._firsts)

    @property
    def size(self) -> int:
        """How many ids the set holds."""
        return sum(self._lasts) - sum(self._firsts) + len(self._firsts)

    def ranges(self) -> list[tuple[int, int]]:
        """Return the ranges, lowest first."""
        return list(zip(self._firsts, self._lasts, strict=True))

    def within(self, first: int, last: int) -> list[tuple[int, int]]:
        """Return the parts of the range that are in the set, lowest first."""
        low, high = self._touching(first, last, apart=0)
        return [(max(first, self._firsts[at]), min(last, self._lasts[at])) for at in range(low, high)]

    def missing(self, first: int, last: int) -> list[Gap]:
        """Return the parts of the range that are not in the set, lowest first."""
        found, following = [], first
        for start, end in self.within(first, last):
            if following < start:
                found.append(Gap(following, start - 1))
            following = end + 1
        if following <= last:
            found.append(Gap(following, last))
        return found

    def gaps(self) -> list[Gap]:
        """Return what is missing between the lowest and the highest id of the set."""
        return self.missing(self._firsts[0], self._lasts[-1]) if self._firsts else []

    def _touching(self, first: int, last: int, *, apart: int) -> tuple[int, int]:
        """Return which ranges overlap the given one, or lie directly beside it (``apart`` 1), as a slice."""
        if first > last:
            raise ValueError(f"{first} to {last} is no range of ids")
        return bisect_left(self._lasts, first - apart), bisect_right(self._firsts, last + apart)


def runs(ids: Sequence[int]) -> list[Gap]:
    """Return the inclusive ranges that rising ``ids`` make up; nearly always one."""
    if not ids:
        return []
    if ids[-1] - ids[0] == len(ids) - 1:
        return [Gap(ids[0], ids[-1])]
    found: list[Gap] = []
    first = before = ids[0]
    for number in ids[1:]:
        if number != before + 1:
            found.append(Gap(first, before))
            first = number
        before = number
    return [*found, Gap(first, before)]


def without(wanted: Gap, had: Iterable[tuple[int, int]]) -> list[Gap]:
    """Return what of ``wanted`` (which may be empty) no range in ``had`` holds, in rising order."""
    return RangeSet(had).missing(*wanted) if wanted.size > 0 else []


class _Ranges:
    """Sorted, disjoint, inclusive ranges; beyond ``limit`` the two lowest are joined over what lies between."""

    def __init__(self, limit: int) -> None:
        self.items: list[Gap] = []
        self.total = 0  # how many numbers they hold
        self._limit = limit

    def add(self, first: int, last: int) -> None:
        """Add a range that overlaps none; it is joined with one that it touches."""
        items = self.items
        self.total += last - first + 1
        at = bisect_right(items, (first,))
        if at < len(items) and items[at].first == last + 1:
            last = items.pop(at).last
        if at and items[at - 1].last == first - 1:
            at -= 1
            first = items.pop(at).first
        items.insert(at, Gap(first, last))
        self._bound()

    def remove(self, number: int) -> bool:
        """Take one number out; False when it was in no range."""
        items = self.items
        at = bisect_right(items, number, key=_first) - 1
        if at < 0 or items[at].last < number:
            return False
        first, last = items[at]
        left = [Gap(first, number - 1)] if first < number else []
        right = [Gap(number + 1, last)] if number < last else []
        items[at : at + 1] = left + right
        self.total -= 1
        self._bound()
        return True

    def within(self, first: int, last: int) -> list[Gap]:
        """Return the parts of the ranges that lie between two numbers, both inclusive."""
        items = self.items
        at = max(0, bisect_right(items, first, key=_first) - 1)
        found = []
        while at < len(items) and items[at].first <= last:
            if items[at].last >= first:
                found.append(Gap(max(first, items[at].first), min(last, items[at].last)))
            at += 1
        return found

    def discard(self, first: int, last: int) -> None:
        """Take every number from ``first`` to ``last`` (inclusive) out, whether it was in a range or not."""
        items = self.items
        held = self.within(first, last)
        if not held:
            return
        low = bisect_right(items, held[0].first, key=_first) - 1
        high = bisect_right(items, held[-1].last, key=_first)
        begin, end = items[low].first, items[high - 1].last
        left = [Gap(begin, first - 1)] if begin < first else []
        right = [Gap(last + 1, end)] if last < end else []
        items[low:high] = left + right
        self.total -= sum(gap.size for gap in held)
        self._bound()

    def _bound(self) -> None:
        if len(self.items) > self._limit:
            lowest, next_one = self.items[:2]
            self.total += next_one.first - lowest.last - 1
            self.items[:2] = [Gap(lowest.first, next_one.last)]

    def clear(self) -> None:
        """Forget every range."""
        self.items.clear()
        self.total = 0


def _first(gap: Gap) -> int:
    return gap.first


class Verdict(IntEnum):
    """What an id is to those seen before."""

    NEW = 0
    """The next one, or the very first."""
    DUPLICATE = 1
    """Seen before in this run; whether it is the same trade, its content tells."""
    GAP = 2
    """New, and ids before it are missing: see ``Sequencer.newest_gap``."""
    LATE = 3
    """Not seen before, though higher ones were."""


class Sequencer:
    """The ids of one (venue, symbol), which the exchange counts upwards by one.

    ``last`` is the highest id seen (-1 at first) and may be set to ``last + 1`` by a caller that has seen just that
    id; every other id goes through ``observe``. ``gaps`` are the ids missing between the lowest seen and ``last``,
    sorted and disjoint. Ids are not negative.

    An id below the lowest seen is LATE: what was before this run is unknown here, and the store knows its
    duplicates. Far below (``RESET_DISTANCE``) it is LATE and not accounted for, until ``RESET_RUN`` such ids in a
    row show that the exchange counts anew, as it does when a symbol is listed again; then the account begins anew.
    """

    __slots__ = ("_floor", "_missing", "_settled", "_stray_first", "_stray_last", "gaps", "last", "newest_gap")

    def __init__(self, gaps_max: int = RANGES_MAX) -> None:
        self.last = -1
        self.newest_gap: Gap | None = None
        self._missing = _Ranges(gaps_max)
        self.gaps: list[Gap] = self._missing.items
        # not missing, though not seen in this run: stored by an earlier one, or proven not to exist
        self._settled = _Ranges(gaps_max)
        # the lowest id seen; 0 holds also when a caller's fast path has begun with id 0
        self._floor = 0
        self._stray_first = self._stray_last = _NO_STRAY

    def resume(self, covered: Iterable[tuple[int, int]], absent: Iterable[tuple[int, int]] = ()) -> None:
        """Begin where earlier runs ended: ``covered`` ids are stored, ``absent`` ones are known not to exist.

        Inclusive ranges. To be called before the first id. The lowest covered id counts as the lowest seen, the
        highest as the highest; what lies between and is neither covered nor absent is in ``gaps``. Should a covered
        or an absent id come all the same, it is LATE the first time and a DUPLICATE only then: coverage proves that
        a trade of that id is stored, but not that it was this one, which the store compares. So an exchange that
        counts anew, or a symbol that is listed again, loses nothing to what an earlier run has stored.
        """
        stored = RangeSet(covered)
        if not len(stored):
            return
        self._floor, self.last = stored.ranges()[0][0], stored.ranges()[-1][1]
        outside = RangeSet(absent)
        for first, last in outside.within(self._floor, self.last):
            stored.add(first, last)
        for gap in stored.gaps():
            self._missing.add(*gap)
        for first, last in stored.ranges():
            self._settled.add(first, last)

    def observe(self, trade_id: int) -> Verdict:
        """Account for one id; anything but DUPLICATE is new here."""
        if trade_id > self.last:
            return self._advance(trade_id)
        if trade_id >= self._floor:
            unseen = self._missing.remove(trade_id) or self._settled.remove(trade_id)
            return Verdict.LATE if unseen else Verdict.DUPLICATE
        if self._floor - trade_id > RESET_DISTANCE:
            self._stray(trade_id)
            return Verdict.LATE
        if trade_id + 1 < self._floor:
            self._missing.add(trade_id + 1, self._floor - 1)
        self._floor = trade_id
        return Verdict.LATE

    @property
    def missing(self) -> int:
        """How many ids ``gaps`` hold."""
        return self._missing.total

    def missing_within(self, first: int, last: int) -> list[Gap]:
        """Return what of the ids ``first`` to ``last`` (inclusive) is missing, in rising order."""
        return self._missing.within(first, last)

    def found(self, first: int, last: int) -> None:
        """Account for ids (inclusive) that came another way than through ``observe``: a backfill has stored them."""
        self._missing.discard(first, last)

    def issued(self, trade_id: int) -> Gap | None:
        """Account for ids up to ``trade_id`` (inclusive) of which it is known only that the exchange has used them.

        Returns those that lie above ``last``: they are missing. None when there are none, or nothing was seen yet.
        """
        if not 0 <= self.last < trade_id:
            return None
        gap = self.newest_gap = Gap(self.last + 1, trade_id)
        self._missing.add(*gap)
        self.last = trade_id
        return gap

    def lost(self, first: int, last: int) -> list[Gap]:
        """Count ids (inclusive) as missing though they were had; return those that were not missing already.

        What lies outside of the lowest and the highest id seen is not accounted for.
        """
        first, last = max(first, self._floor), min(last, self.last)
        if first > last:
            return []
        had = RangeSet(self._missing.within(first, last)).missing(first, last)
        self._settled.discard(first, last)
        for gap in had:
            self._missing.add(*gap)
        return had

    def _advance(self, trade_id: int) -> Verdict:
        expected = self.last + 1
        self.last = trade_id
        if trade_id == expected:
            return Verdict.NEW
        if not expected:
            self._floor = trade_id
            return Verdict.NEW
        self.newest_gap = Gap(expected, trade_id - 1)
        self._missing.add(expected, trade_id - 1)
        return Verdict.GAP

    def _stray(self, trade_id: int) -> None:
        if trade_id == self._stray_last:
            return  # two links tell the same while one replaces the other
        if trade_id != self._stray_last + 1:
            self._stray_first = trade_id
        self._stray_last = trade_id
        if trade_id - self._stray_first + 1 >= RESET_RUN:
            self._floor, self.last = self._stray_first, trade_id
            self._stray_first = self._stray_last = _NO_STRAY
            self._missing.clear()
            self._settled.clear()


def slot_opened(timeframe: Timeframe, open_ns: int) -> int | None:
    """Return the slot that a candle with this open time fills: the one in which it opens; None before 1970.

    The exchange's own candles have opened off the raster of their timeframe, for a day and a half of February 2018.
    """
    slot = timeframe.slot(open_ns)
    return slot if slot >= 0 else None


class CandleClock:
    """The candles of one (venue, symbol, timeframe) that must exist, by the exchange's time.

    All times are ns since the epoch. ``start``, or ``resume`` after earlier runs, says from when on candles are owed;
    each is due once its end and ``grace_ns`` have passed. Where the exchange's raster of ``3d`` lies is undocumented,
    so for ``3d`` the first final candle shows it and nothing is due before.
    """

    __slots__ = ("_absent", "_first", "_grace_ns", "_missing", "_next", "_settled", "_shift_ns", "timeframe")

    def __init__(self, timeframe: Timeframe, grace_ns: int) -> None:
        self.timeframe = timeframe
        self._grace_ns = grace_ns
        # by how much the raster lies behind that of ``Timeframe.slot``; None while it is unknown
        self._shift_ns: int | None = None if timeframe is Timeframe.D3 else 0
        self._first = 0
        # every slot from here on is still to come; None before the account begins
        self._next: int | None = None
        self._missing = _Ranges(RANGES_MAX)
        self._absent = _Ranges(RANGES_MAX)
        # not missing, though not seen in this run: stored by an earlier one
        self._settled = _Ranges(RANGES_MAX)

    def start(self, exchange_now_ns: int) -> None:
        """Begin the account: the candle open now is the first that must exist. Once begun, it changes nothing."""
        if self._next is None and self._shift_ns is not None:
            self._next = self._first = self.slot(exchange_now_ns)

    def resume(
        self,
        covered: Iterable[tuple[int, int]],
        absent: Iterable[tuple[int, int]] = (),
        *,
        floor: int = 0,
        known_open_ns: int | None = None,
    ) -> None:
        """Begin the account where earlier runs ended: ``covered`` slots are stored, ``absent`` ones exist nowhere.

        Inclusive ranges of ``Timeframe.slot``. To be called before the first candle. What lies between the lowest
        covered slot, or ``floor`` if that is higher, and the present, and is neither covered nor absent, is missing.
        Any stored candle's open time, ``known_open_ns``, shows where the raster of ``3d`` lies. Should a covered candle
        come all the same, it is not said to have been had the first time: the store compares.
        """
        stored = RangeSet(covered)
        if not len(stored):
            return
        if self._shift_ns is None:
            if known_open_ns is None:
                return
            self._shift_ns = self._shift_of(known_open_ns)
        lowest = stored.ranges()[0][0]
        gone = RangeSet(absent)
        known = RangeSet([*stored.ranges(), *gone.ranges()])
        self._first = max(lowest, floor)
        self._next = max(known.ranges()[-1][1] + 1, floor)
        if self._first < self._next:
            account = self._first, self._next - 1
            for gap in known.missing(*account):
                self._missing.add(*gap)
            for first, last in stored.within(*account):
                self._settled.add(first, last)
            for gap in stored.missing(*account):
                for first, last in gone.within(*gap):
                    self._absent.add(first, last)

    @property
    def missing(self) -> int:
        """How many candles are owed and have not come."""
        return self._missing.total

    def closed(self, open_ns: int) -> bool:
        """Account for a final candle; False when it was had before.

        A candle of the time before the account began is never said to have been had.
        """
        if self._shift_ns is None:
            self._shift_ns = self._shift_of(open_ns)
        slot = self.slot(open_ns)
        if self._next is None:
            self._next = self._first = slot
        if slot >= self._next:
            self._owe_until(slot)
            self._next = slot + 1
            return True
        return slot < self._first or any(slots.remove(slot) for slots in (self._missing, self._absent, self._settled))

    def due(self, exchange_now_ns: int) -> list[tuple[int, int]]:
        """Return the candles that should have come, as inclusive ranges of open times, oldest first.

        They are returned each time until they are ``closed`` or given up.
        """
        if self._next is None:
            return []
        ended = self.slot(exchange_now_ns - self._grace_ns)  # all slots before this one
        if ended > self._next:
            self._owe_until(ended)
            self._next = ended
        return [
            (self.open_ns(first), self.open_ns(min(last, ended - 1)))
            for first, last in self._missing.items
            if first < ended
        ]

    def give_up(self, open_ns: int) -> None:
        """Expect a missing candle no more, since the exchange has none; should it come all the same, it is new."""
        slot = self.slot(open_ns)
        if self._missing.remove(slot):
            self._absent.add(slot, slot)

    def lost(self, first: int, last: int) -> None:
        """Expect the candles of some slots (inclusive) anew though they were had."""
        if self._next is None:
            return
        first, last = max(first, self._first), min(last, self._next - 1)
        for slot in range(first, last + 1):
            if not self._missing.within(slot, slot):
                self._absent.remove(slot)
                self._settled.remove(slot)
                self._missing.add(slot, slot)

    def _owe_until(self, slot: int) -> None:
        if self._next is not None and slot > self._next:
            self._missing.add(self._next, slot - 1)

    def slot(self, time_ns: int) -> int:
        """Return the number of the slot (``Timeframe.slot``) that holds a time."""
        return self.timeframe.slot(time_ns - (self._shift_ns or 0))

    def open_ns(self, slot: int) -> int:
        """Return when a slot's candle opens."""
        return self.timeframe.slot_open_ns(slot) + (self._shift_ns or 0)

    def _shift_of(self, open_ns: int) -> int:
        return open_ns - self.timeframe.slot_open_ns(self.timeframe.slot(open_ns))
