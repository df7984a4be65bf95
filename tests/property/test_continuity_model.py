"""Continuity against models that remember everything."""

from bisect import bisect_right
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from crypto_quant.continuity import RANGES_MAX, CandleClock, Gap, Sequencer, Verdict
from crypto_quant.market import NS_PER_S, Timeframe

# steps from the highest id so far, or an id at random: mostly the next, some jumps, some from the past
IDS = st.lists(st.one_of(st.integers(0, 60), st.integers(100, 130)), max_size=120)
WALKS = st.lists(st.sampled_from([1, 1, 1, 1, 1, 2, 3, 0, -1, -2, -5, 9]), max_size=150)


def walked(steps: list[int], start: int = 20) -> list[int]:
    ids = []
    last = start
    for step in steps:
        ids.append(max(0, last + step))
        last = max(last, last + step)
    return ids


def missing(seen: set[int]) -> list[Gap]:
    gaps: list[Gap] = []
    for trade_id in range(min(seen, default=0), max(seen, default=0)):
        if trade_id not in seen:
            if gaps and gaps[-1].last == trade_id - 1:
                gaps[-1] = Gap(gaps[-1].first, trade_id)
            else:
                gaps.append(Gap(trade_id, trade_id))
    return gaps


def check_against_the_set_of_all_ids_seen(ids: list[int], steps_by_itself: bool) -> None:
    sequencer = Sequencer()
    seen: set[int] = set()
    for trade_id in ids:
        highest = max(seen, default=-1)
        if steps_by_itself and trade_id == sequencer.last + 1:
            sequencer.last = trade_id  # what the hot path does
        else:
            verdict = sequencer.observe(trade_id)
            if trade_id in seen:
                assert verdict is Verdict.DUPLICATE
            elif trade_id < highest:
                assert verdict is Verdict.LATE
            elif highest in (-1, trade_id - 1):
                assert verdict is Verdict.NEW
            else:
                assert verdict is Verdict.GAP
                assert sequencer.newest_gap == Gap(highest + 1, trade_id - 1)
        seen.add(trade_id)
        assert sequencer.last == max(seen)
        assert sequencer.gaps == missing(seen)


@given(IDS, st.booleans())
def test_any_ids(ids: list[int], steps_by_itself: bool) -> None:
    check_against_the_set_of_all_ids_seen(ids, steps_by_itself)


@given(WALKS, st.booleans())
def test_ids_as_links_deliver_them(steps: list[int], steps_by_itself: bool) -> None:
    check_against_the_set_of_all_ids_seen(walked(steps), steps_by_itself)


@given(IDS, st.integers(1, 4))
def test_with_little_memory_nothing_new_is_a_duplicate_and_nothing_missing_is_unknown(
    ids: list[int], limit: int
) -> None:
    sequencer = Sequencer(limit)
    seen: set[int] = set()
    for trade_id in ids:
        verdict = sequencer.observe(trade_id)
        assert trade_id in seen or verdict is not Verdict.DUPLICATE
        seen.add(trade_id)
        gaps = sequencer.gaps
        assert len(gaps) <= limit
        assert all(gap.first <= gap.last for gap in gaps)
        assert all(one.last + 1 < other.first for one, other in pairwise(gaps))
        claimed = {number for gap in gaps for number in range(gap.first, gap.last + 1)}
        assert {number for gap in missing(seen) for number in range(gap.first, gap.last + 1)} <= claimed


# -- candles ----------------------------------------------------------------------------------------------

GRACE = 10 * NS_PER_S
SLOTS = 40
# what can happen at slot n: a final candle, a look at what is due when it opens (a little later), giving up
STEPS = st.lists(
    st.tuples(st.sampled_from(["closed", "closed", "due", "give up"]), st.integers(0, SLOTS - 1), st.integers(-1, 1)),
    max_size=60,
)


@given(st.sampled_from([timeframe for timeframe in Timeframe if timeframe is not Timeframe.D3]), STEPS)
def test_candles_against_a_model_that_knows_every_slot(timeframe: Timeframe, steps: list[tuple[str, int, int]]) -> None:
    first = 10
    opens = [timeframe.open_ns(1_790_856_000 * NS_PER_S)]  # 2026-10-01T12:00:00Z
    while len(opens) <= SLOTS:
        opens.append(timeframe.next_open_ns(opens[-1]))
    clock = CandleClock(timeframe, GRACE)
    clock.start((opens[first] + opens[first + 1]) // 2)
    had: set[int] = set()
    given_up: set[int] = set()
    told: set[int] = set()  # what the clock may know to be missing: below a candle that came, or told as due
    for what, slot, shift in steps:
        if what == "closed":
            assert clock.closed(opens[slot]) is (slot < first or slot not in had)
            told.update(range(first, slot))
            had.add(slot)
        elif what == "due":
            now = opens[slot] + GRACE + shift
            ended = [n for n in range(first, SLOTS) if opens[n + 1] + GRACE <= now]
            told.update(ended)
            expected = [n for n in ended if n not in had and n not in given_up]
            found = [(bisect_right(opens, start) - 1, bisect_right(opens, end) - 1) for start, end in clock.due(now)]
            assert [n for start, end in found for n in range(start, end + 1)] == expected
            assert all(one[1] + 1 < other[0] for one, other in pairwise(found))
            assert all(opens[bisect_right(opens, time) - 1] == time for pair in clock.due(now) for time in pair)
        else:
            clock.give_up(opens[slot])
            if slot in told and slot not in had:
                given_up.add(slot)


def test_the_memory_of_a_clock_is_bounded_and_forgets_nothing_missing() -> None:
    clock = CandleClock(Timeframe.S1, 0)
    clock.start(0)
    for second in range(1, 2 * RANGES_MAX + 101, 2):  # every other one is missing
        clock.closed(second * NS_PER_S)
    due = clock.due(2 * RANGES_MAX * NS_PER_S + 200 * NS_PER_S)
    assert len(due) <= RANGES_MAX
    claimed = {second for start, end in due for second in range(start // NS_PER_S, end // NS_PER_S + 1)}
    assert set(range(0, 2 * RANGES_MAX + 100, 2)) <= claimed


STORED = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 8)).map(lambda pair: (pair[0], sum(pair))), max_size=8)


@given(STORED, STORED, IDS, st.booleans())
def test_going_on_from_earlier_runs_never_leaves_out_an_id_that_was_not_seen(
    covered: list[tuple[int, int]], absent: list[tuple[int, int]], ids: list[int], steps_by_itself: bool
) -> None:
    sequencer = Sequencer()
    sequencer.resume(covered, absent)
    stored = {number for first, last in covered for number in range(first, last + 1)}
    gone = {number for first, last in absent for number in range(first, last + 1)}
    had = set(stored) | {number for number in gone if stored and min(stored) < number < max(stored)}
    assert sequencer.gaps == missing(had)
    assert sequencer.last == max(stored, default=-1)
    seen: set[int] = set()
    for trade_id in ids:
        highest = max(had, default=-1)
        if steps_by_itself and trade_id == sequencer.last + 1:
            sequencer.last = trade_id
        else:
            verdict = sequencer.observe(trade_id)
            assert (verdict is Verdict.DUPLICATE) == (trade_id in seen)
            assert (verdict is Verdict.GAP) == (highest != -1 and trade_id > highest + 1)
        seen.add(trade_id)
        had.add(trade_id)
        assert sequencer.gaps == missing(had)


@given(STORED, IDS, STORED, IDS)
def test_ids_that_the_store_has_lost_are_missing_again(
    covered: list[tuple[int, int]], before: list[int], lost: list[tuple[int, int]], after: list[int]
) -> None:
    sequencer = Sequencer()
    sequencer.resume(covered)
    had = {number for first, last in covered for number in range(first, last + 1)}
    for trade_id in before:
        sequencer.observe(trade_id)
        had.add(trade_id)
    low, high = min(had, default=0), max(had, default=-1)
    for first, last in lost:
        gone = {number for number in range(max(first, low), min(last, high) + 1) if number in had}
        told = {number for gap in sequencer.lost(first, last) for number in range(gap.first, gap.last + 1)}
        assert told == gone
        had -= gone
        expected = set(range(low, high + 1)) - had
        assert {number for gap in sequencer.gaps for number in range(gap.first, gap.last + 1)} == expected
        assert sequencer.missing == len(expected)
        assert all(one.last + 1 < other.first for one, other in pairwise(sequencer.gaps))
    for trade_id in after:
        verdict = sequencer.observe(trade_id)
        if trade_id not in had:
            assert verdict is not Verdict.DUPLICATE
        had.add(trade_id)


@given(st.sampled_from([Timeframe.M1, Timeframe.W1, Timeframe.MO1]), STEPS, STORED)
def test_candles_that_the_store_has_lost_are_due_again(
    timeframe: Timeframe, steps: list[tuple[str, int, int]], lost: list[tuple[int, int]]
) -> None:
    opens = [timeframe.open_ns(1_790_856_000 * NS_PER_S)]
    while len(opens) <= SLOTS:
        opens.append(timeframe.next_open_ns(opens[-1]))
    clock = CandleClock(timeframe, 0)
    clock.start(opens[10])
    had: set[int] = set()
    for what, slot, _ in steps:
        if what == "closed":
            clock.closed(opens[slot])
            had.add(slot)
        elif what == "give up":
            clock.give_up(opens[slot])
    now = opens[SLOTS]
    clock.due(now)
    for first, last in lost:
        clock.lost(clock.slot(opens[10]) - 10 + first, clock.slot(opens[10]) - 10 + last)
        had -= set(range(first, last + 1))
    due = {clock.slot(time) for pair in clock.due(now) for time in _opens(timeframe, *pair)}
    gone = {slot for first, last in lost for slot in range(max(first, 10), min(last, SLOTS - 1) + 1)}
    assert {clock.slot(opens[slot]) for slot in gone} <= due
    assert due.isdisjoint({clock.slot(opens[slot]) for slot in had if slot >= 10})
    for slot in gone:
        assert clock.closed(opens[slot])
        assert not clock.closed(opens[slot])


def _opens(timeframe: Timeframe, first_ns: int, last_ns: int) -> list[int]:
    found = [first_ns]
    while found[-1] < last_ns:
        found.append(timeframe.next_open_ns(found[-1]))
    return found


@given(STORED, STORED, st.integers(0, 60), st.lists(st.integers(0, 70), max_size=30), st.integers(0, 70))
def test_a_clock_that_goes_on_owes_every_slot_since_the_first(
    covered: list[tuple[int, int]], absent: list[tuple[int, int]], floor: int, came: list[int], now: int
) -> None:
    clock = CandleClock(Timeframe.M1, 0)
    clock.resume(covered, absent, floor=floor)
    stored = {slot for first, last in covered for slot in range(first, last + 1)}
    gone = {slot for first, last in absent for slot in range(first, last + 1)}
    had: set[int] = set()
    for slot in came:
        # what an earlier run has stored or called absent is new to this one
        assert clock.closed(Timeframe.M1.slot_open_ns(slot)) is (
            slot not in had or slot < owed_from(stored, floor, came)
        )
        had.add(slot)
    due = clock.due(Timeframe.M1.slot_open_ns(now))
    found = {slot for first, last in due for slot in range(Timeframe.M1.slot(first), Timeframe.M1.slot(last) + 1)}
    owed = set(range(owed_from(stored, floor, came), now)) - stored - had if stored or came else set()
    assert found == (owed - gone if stored else owed)


def owed_from(stored: set[int], floor: int, came: list[int]) -> int:
    """Return the first slot that is owed: of earlier runs, or else the first candle that comes."""
    return max(min(stored), floor) if stored else came[0] if came else 0
