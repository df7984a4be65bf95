"""What is missing: ids of trades, slots of candles."""

from datetime import UTC, datetime

import pytest

from crypto_quant.continuity import (
    RESET_DISTANCE,
    RESET_RUN,
    CandleClock,
    Gap,
    Sequencer,
    Verdict,
    runs,
    slot_opened,
    without,
)
from crypto_quant.market import DAY_S, NS_PER_S, Timeframe

S = NS_PER_S
MINUTE = 60 * S
GRACE = 10 * S
NOON = 1_790_856_000 * S  # 2026-10-01T12:00:00Z
NEW, DUPLICATE, GAP, LATE = Verdict.NEW, Verdict.DUPLICATE, Verdict.GAP, Verdict.LATE


def observe(sequencer: Sequencer, *ids: int) -> list[Verdict]:
    return [sequencer.observe(trade_id) for trade_id in ids]


# -- Sequencer --------------------------------------------------------------------------------------------


def test_nothing_is_known_at_first() -> None:
    sequencer = Sequencer()
    assert (sequencer.last, sequencer.gaps, sequencer.newest_gap) == (-1, [], None)


def test_ids_in_order_leave_no_gap() -> None:
    sequencer = Sequencer()
    assert observe(sequencer, 100, 101, 102) == [NEW, NEW, NEW]
    assert (sequencer.last, sequencer.gaps) == (102, [])


def test_an_id_seen_before_is_a_duplicate() -> None:
    sequencer = Sequencer()
    assert observe(sequencer, 100, 101, 101, 100) == [NEW, NEW, DUPLICATE, DUPLICATE]
    assert sequencer.last == 101


def test_a_jump_opens_a_gap_that_late_ids_close() -> None:
    sequencer = Sequencer()
    assert observe(sequencer, 100, 105) == [NEW, GAP]
    assert sequencer.newest_gap == Gap(101, 104)
    assert sequencer.newest_gap.size == 4
    assert observe(sequencer, 102) == [LATE]
    assert sequencer.gaps == [Gap(101, 101), Gap(103, 104)]
    assert observe(sequencer, 104, 101, 103) == [LATE, LATE, LATE]
    assert sequencer.gaps == []
    assert observe(sequencer, 101, 102, 103, 104) == [DUPLICATE] * 4


def test_the_newest_gap_is_the_last_one_opened() -> None:
    sequencer = Sequencer()
    observe(sequencer, 1, 3, 4, 9)
    assert sequencer.newest_gap == Gap(5, 8)
    assert sequencer.gaps == [Gap(2, 2), Gap(5, 8)]


def test_ids_that_were_had_and_are_lost_are_missing_again() -> None:
    sequencer = Sequencer()
    sequencer.resume([(100, 109), (120, 129)], [(110, 112)])
    observe(sequencer, 130, 131)
    sequencer.lost(105, 130)
    assert sequencer.gaps == [Gap(105, 130)]
    assert sequencer.missing == 26
    sequencer.lost(50, 99)
    sequencer.lost(132, 200)
    assert sequencer.gaps == [Gap(105, 130)]
    assert observe(sequencer, 121, 104, 132) == [LATE, LATE, NEW]


def test_a_caller_may_step_by_itself() -> None:
    sequencer = Sequencer()
    for trade_id in (0, 1, 2):
        assert trade_id == sequencer.last + 1
        sequencer.last = trade_id
    assert observe(sequencer, 0, 2, 5, 3) == [DUPLICATE, DUPLICATE, GAP, LATE]
    assert sequencer.gaps == [Gap(4, 4)]


def test_the_first_id_may_be_zero() -> None:
    sequencer = Sequencer()
    assert observe(sequencer, 0, 0, 1) == [NEW, DUPLICATE, NEW]


def test_ids_below_the_first_are_late_and_show_what_lies_between() -> None:
    sequencer = Sequencer()
    assert observe(sequencer, 100, 97, 99, 98, 98, 97) == [NEW, LATE, LATE, LATE, DUPLICATE, DUPLICATE]
    assert (sequencer.last, sequencer.gaps) == (100, [])
    assert observe(sequencer, 96, 95, 96) == [LATE, LATE, DUPLICATE]


def test_a_gap_below_joins_the_one_above_it() -> None:
    sequencer = Sequencer()
    observe(sequencer, 100, 103)
    sequencer.observe(90)
    assert sequencer.gaps == [Gap(91, 99), Gap(101, 102)]


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_beyond_its_memory_it_takes_the_known_for_missing_and_never_the_missing_for_known(limit: int) -> None:
    sequencer = Sequencer(limit)
    seen = range(0, 40, 4)
    observe(sequencer, *seen)
    assert len(sequencer.gaps) == limit
    for trade_id in range(40):
        if trade_id not in seen:
            assert sequencer.observe(trade_id) is not DUPLICATE, trade_id


def test_a_split_gap_keeps_within_the_limit_too() -> None:
    sequencer = Sequencer(1)
    observe(sequencer, 0, 10)
    assert sequencer.observe(5) is LATE
    assert sequencer.gaps == [Gap(1, 9)]


def test_one_absurd_id_loses_nothing_that_follows() -> None:
    sequencer = Sequencer()
    assert observe(sequencer, 100, 2**63 - 1) == [NEW, GAP]
    assert observe(sequencer, *range(101, 200)) == [LATE] * 99
    assert observe(sequencer, 101) == [DUPLICATE]
    assert sequencer.gaps == [Gap(200, 2**63 - 2)]


FAR = 10 * RESET_DISTANCE


def test_a_count_begun_anew_is_never_taken_for_duplicates() -> None:
    sequencer = Sequencer()
    observe(sequencer, FAR, FAR + 5)
    verdicts = observe(sequencer, *range(1, 200))
    assert verdicts == [LATE] * RESET_RUN + [NEW] * (199 - RESET_RUN)
    assert (sequencer.last, sequencer.gaps) == (199, [])
    # and holes are found again, and duplicates, back to the new count's first id
    assert observe(sequencer, 203, 1, 199, 201) == [GAP, DUPLICATE, DUPLICATE, LATE]
    assert sequencer.gaps == [Gap(200, 200), Gap(202, 202)]


def test_two_links_telling_the_new_count_twice_do_not_hide_it() -> None:
    sequencer = Sequencer()
    sequencer.observe(FAR)
    for trade_id in range(RESET_RUN):
        assert observe(sequencer, trade_id, trade_id)[0] is LATE
    assert sequencer.last == RESET_RUN - 1


def test_strays_from_far_below_are_stored_and_change_nothing() -> None:
    sequencer = Sequencer()
    sequencer.observe(FAR)
    for trade_id in range(0, 1000, 2):
        assert observe(sequencer, trade_id, trade_id + 100_000) == [LATE, LATE]
    assert (sequencer.last, sequencer.gaps) == (FAR, [])
    assert sequencer.observe(FAR + 1) is NEW


def test_where_late_ends_and_far_below_begins() -> None:
    sequencer = Sequencer()
    sequencer.observe(FAR)
    assert sequencer.observe(FAR - RESET_DISTANCE - 1) is LATE
    assert sequencer.gaps == []
    assert sequencer.observe(FAR - RESET_DISTANCE) is LATE
    assert sequencer.gaps == [Gap(FAR - RESET_DISTANCE + 1, FAR - 1)]


# -- CandleClock ------------------------------------------------------------------------------------------


def started(timeframe: Timeframe = Timeframe.M1, now_ns: int = NOON + 30 * S) -> CandleClock:
    clock = CandleClock(timeframe, GRACE)
    clock.start(now_ns)
    return clock


def test_nothing_is_due_before_the_start() -> None:
    assert CandleClock(Timeframe.M1, GRACE).due(NOON) == []


def test_the_candle_open_at_the_start_is_due_after_its_end_and_the_grace() -> None:
    clock = started()
    assert clock.due(NOON + MINUTE + GRACE - 1) == []
    assert clock.due(NOON + MINUTE + GRACE) == [(NOON, NOON)]
    assert clock.due(NOON + MINUTE + GRACE) == [(NOON, NOON)]  # until it is settled
    assert clock.closed(NOON)
    assert clock.due(NOON + MINUTE + GRACE) == []


def test_candles_that_close_in_time_are_never_due() -> None:
    clock = started()
    for minute in range(100):
        assert clock.closed(NOON + minute * MINUTE)
        assert clock.due(NOON + (minute + 1) * MINUTE + GRACE) == []


def test_a_candle_closes_once() -> None:
    clock = started()
    assert [clock.closed(NOON), clock.closed(NOON), clock.closed(NOON + MINUTE), clock.closed(NOON)] == [
        True, False, True, False,
    ]  # fmt: skip


def test_a_candle_passed_over_is_due_after_its_own_grace() -> None:
    clock = started()
    assert clock.closed(NOON + MINUTE)
    assert clock.due(NOON + MINUTE + GRACE - 1) == []
    assert clock.due(NOON + MINUTE + GRACE) == [(NOON, NOON)]
    assert clock.closed(NOON)
    assert not clock.closed(NOON + MINUTE)


def test_what_is_passed_over_is_due_only_as_far_as_its_grace_has_run() -> None:
    clock = started()
    assert clock.closed(NOON + 10 * MINUTE)
    assert clock.due(NOON + 3 * MINUTE + GRACE) == [(NOON, NOON + 2 * MINUTE)]


def test_an_outage_of_years_is_one_range() -> None:
    clock = started(Timeframe.S1)
    later = NOON + 3 * 365 * DAY_S * S
    assert clock.due(later) == [(NOON + 30 * S, later - GRACE - S)]


def test_a_hole_that_grows_stays_one_range() -> None:
    clock = started()
    for minute in range(1, 6):
        assert clock.due(NOON + minute * MINUTE + GRACE) == [(NOON, NOON + (minute - 1) * MINUTE)]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (0, 2, 1)])
def test_what_is_given_up_may_come_in_any_order(order: tuple[int, ...]) -> None:
    clock = started()
    clock.due(NOON + 3 * MINUTE + GRACE)
    for minute in order:
        clock.give_up(NOON + minute * MINUTE)
    assert clock.due(NOON + 3 * MINUTE + GRACE) == []
    assert [clock.closed(NOON + minute * MINUTE) for minute in (1, 0, 2, 1)] == [True, True, True, False]


def test_holes_come_oldest_first_and_split() -> None:
    clock = started()
    clock.due(NOON + 5 * MINUTE + GRACE)
    clock.closed(NOON + 2 * MINUTE)
    assert clock.due(NOON + 5 * MINUTE + GRACE) == [
        (NOON, NOON + MINUTE),
        (NOON + 3 * MINUTE, NOON + 4 * MINUTE),
    ]


def test_what_is_given_up_is_not_due_but_still_new_when_it_comes() -> None:
    clock = started()
    clock.due(NOON + 2 * MINUTE + GRACE)
    clock.give_up(NOON)
    assert clock.due(NOON + 2 * MINUTE + GRACE) == [(NOON + MINUTE, NOON + MINUTE)]
    assert [clock.closed(NOON), clock.closed(NOON)] == [True, False]


def test_only_what_is_missing_can_be_given_up() -> None:
    clock = started()
    clock.closed(NOON)
    clock.give_up(NOON)
    clock.give_up(NOON + MINUTE)
    assert not clock.closed(NOON)
    assert clock.due(NOON + 2 * MINUTE + GRACE) == [(NOON + MINUTE, NOON + MINUTE)]


def test_candles_from_before_the_start_are_never_called_had() -> None:
    clock = started()
    assert [clock.closed(NOON - MINUTE), clock.closed(NOON - MINUTE)] == [True, True]
    assert clock.due(NOON + MINUTE + GRACE) == [(NOON, NOON)]


def test_without_a_start_the_first_candle_begins_the_account() -> None:
    clock = CandleClock(Timeframe.M1, GRACE)
    assert clock.closed(NOON)
    clock.start(NOON + 10 * MINUTE)
    assert not clock.closed(NOON)
    assert clock.due(NOON + 2 * MINUTE + GRACE) == [(NOON + MINUTE, NOON + MINUTE)]


def test_exchange_time_that_runs_backwards_makes_nothing_due() -> None:
    clock = started()
    clock.due(NOON + 5 * MINUTE + GRACE)
    assert clock.due(NOON - DAY_S * S) == []
    assert clock.due(NOON + MINUTE + GRACE) == [(NOON, NOON)]


def resumed(*covered: tuple[int, int], absent: tuple[tuple[int, int], ...] = (), floor: int = 0) -> CandleClock:
    """Return a clock of minutes that goes on; ranges are minutes from noon on."""
    clock = CandleClock(Timeframe.M1, GRACE)
    noon = Timeframe.M1.slot(NOON)
    clock.resume(
        [(noon + a, noon + b) for a, b in covered], [(noon + a, noon + b) for a, b in absent], floor=noon + floor
    )
    return clock


def owed(clock: CandleClock, minute: int) -> list[int]:
    return [
        n
        for a, b in clock.due(NOON + minute * MINUTE + GRACE)
        for n in range((a - NOON) // MINUTE, (b - NOON) // MINUTE + 1)
    ]


def test_every_candle_since_the_first_stored_one_is_owed() -> None:
    assert owed(resumed((0, 2), (5, 6), (8, 8)), 11) == [3, 4, 7, 9, 10]


def test_what_is_absent_or_farther_back_than_asked_for_is_not_owed() -> None:
    assert owed(resumed((0, 2), (5, 6), (8, 8), absent=((3, 3), (10, 10))), 12) == [4, 7, 9, 11]
    assert owed(resumed((0, 2), (5, 6), floor=4), 9) == [4, 7, 8]
    assert owed(resumed((0, 2), floor=6), 9) == [6, 7, 8]


def test_a_covered_candle_goes_to_the_store_once_more_and_then_was_had() -> None:
    clock = resumed((0, 2), (5, 6), absent=((3, 3),))
    clock.start(NOON + 9 * MINUTE)  # changes nothing
    for minute in (1, 3, 4):
        assert [clock.closed(NOON + minute * MINUTE) for _ in range(2)] == [True, False]
    assert owed(clock, 8) == [7]


def test_nothing_covered_is_nothing_to_go_on_from() -> None:
    clock = CandleClock(Timeframe.M1, GRACE)
    clock.resume([], [(5, 6)])
    assert clock.due(NOON) == []
    clock.start(NOON)
    assert owed(clock, 1) == [0]


def test_a_stored_candle_shows_the_raster_of_3d() -> None:
    length = 3 * DAY_S * S
    opens = [20_000 * DAY_S * S + n * length for n in range(5)]  # no multiple of three days
    clock, blind = CandleClock(Timeframe.D3, GRACE), CandleClock(Timeframe.D3, GRACE)
    slots = [Timeframe.D3.slot(opens[n]) for n in (0, 2)]
    blind.resume([(slot, slot) for slot in slots])
    clock.resume([(slot, slot) for slot in slots], known_open_ns=opens[2])
    assert blind.due(opens[4] + GRACE) == []
    assert clock.due(opens[4] + GRACE) == [(opens[1], opens[1]), (opens[3], opens[3])]


@pytest.mark.parametrize(
    ("timeframe", "open_ns", "slot"),
    [
        (Timeframe.M1, NOON, NOON // MINUTE),
        (Timeframe.M1, NOON + S, NOON // MINUTE),
        (Timeframe.M1, -MINUTE, None),
        (Timeframe.W1, -3 * DAY_S * S, 0),
        (Timeframe.W1, 0, 0),
        (Timeframe.MO1, 31 * DAY_S * S, 1),
        (Timeframe.MO1, 32 * DAY_S * S, 1),
        (Timeframe.D3, 4 * DAY_S * S, 1),
    ],
)
def test_a_candle_fills_the_slot_that_it_opens(timeframe: Timeframe, open_ns: int, slot: int | None) -> None:
    assert slot_opened(timeframe, open_ns) == slot


def test_months_and_weeks() -> None:
    def at(*fields: int) -> int:
        return int(datetime(*fields, tzinfo=UTC).timestamp()) * S  # type: ignore[arg-type,misc]

    clock = started(Timeframe.MO1, at(2025, 11, 17))
    assert clock.due(at(2025, 12, 1)) == []
    assert clock.due(at(2026, 3, 1) + GRACE) == [(at(2025, 11, 1), at(2026, 2, 1))]
    clock = started(Timeframe.W1, at(2026, 10, 1))
    assert clock.due(at(2026, 10, 5) + GRACE) == [(at(2026, 9, 28), at(2026, 9, 28))]


def test_the_first_candle_of_three_days_shows_where_they_are_cut() -> None:
    clock = started(Timeframe.D3)
    three = 3 * DAY_S * S
    opens = Timeframe.D3.open_ns(NOON) + DAY_S * S  # a day beside the epoch's raster
    assert clock.due(opens + 100 * three) == []
    assert clock.closed(opens)
    assert clock.due(opens + 3 * three + GRACE) == [(opens + three, opens + 2 * three)]
    assert not clock.closed(opens)


def test_ids_that_are_known_to_be_used_are_missing_until_they_come() -> None:
    sequencer = Sequencer()
    assert sequencer.issued(7) is None
    sequencer.observe(3)
    assert [sequencer.issued(3), sequencer.issued(6), sequencer.issued(5)] == [None, Gap(4, 6), None]
    assert (sequencer.last, sequencer.missing, list(sequencer.gaps)) == (6, 3, [Gap(4, 6)])
    assert [sequencer.observe(number) for number in (5, 7, 5)] == [Verdict.LATE, Verdict.NEW, Verdict.DUPLICATE]


def test_runs_and_what_is_left() -> None:
    assert runs([]) == []
    assert runs([5]) == [Gap(5, 5)]
    assert runs([1, 2, 3, 7, 9, 10]) == [Gap(1, 3), Gap(7, 7), Gap(9, 10)]
    assert without(Gap(1, 10), []) == [Gap(1, 10)]
    assert without(Gap(1, 10), [(8, 20), (-3, 2), (4, 4)]) == [Gap(3, 3), Gap(5, 7)]
    assert without(Gap(1, 10), [(0, 11)]) == []
    assert without(Gap(5, 4), []) == []
