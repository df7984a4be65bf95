"""Pauses, attempts and weights."""

import random

import pytest

from crypto_quant.binance.pacing import Backoff, Pacer, WeightBudget
from crypto_quant.binance.venues import venue_spec
from crypto_quant.market import NS_PER_MS, NS_PER_S, Venue

S = NS_PER_S
SPOT = venue_spec(Venue.SPOT)


class Ceiling(random.Random):
    """Draws the upper end of every range."""

    def uniform(self, a: float, b: float) -> float:
        return b


# -- Backoff ----------------------------------------------------------------------------------------------


def test_the_ceiling_doubles_up_to_the_cap() -> None:
    backoff = Backoff(Ceiling(), base_s=0.5, cap_s=60)
    assert [backoff.next_delay_s() for _ in range(9)] == [0.5, 1, 2, 4, 8, 16, 32, 60, 60]
    assert backoff.attempt == 9


def test_jitter_is_full_and_repeatable() -> None:
    def draw(seed: int) -> float:
        return Backoff(random.Random(seed)).next_delay_s()  # noqa: S311 - jitter, not secrets

    drawn = [draw(seed) for seed in range(200)]
    assert drawn == [draw(seed) for seed in range(200)]
    assert all(0 <= delay <= 0.5 for delay in drawn)
    assert min(drawn) < 0.05
    assert max(drawn) > 0.45


def test_a_thousand_failures_do_not_overflow() -> None:
    backoff = Backoff(Ceiling())
    assert max(backoff.next_delay_s() for _ in range(2000)) == 60.0


@pytest.mark.parametrize(("lived_s", "attempt"), [(0, 3), (59.9, 3), (60, 0), (3600, 0)])
def test_only_a_link_that_lived_long_resets(lived_s: float, attempt: int) -> None:
    backoff = Backoff(Ceiling())
    for _ in range(3):
        backoff.next_delay_s()
    backoff.ended(lived_s)
    assert backoff.attempt == attempt


@pytest.mark.parametrize(("asked_s", "delay_s"), [(30, 30.5), (600, 600.5), (-5, 0.5)])
def test_the_exchanges_own_pause_is_a_floor_under_the_jitter(asked_s: float, delay_s: float) -> None:
    assert Backoff(Ceiling()).next_delay_s(asked_s) == delay_s


# -- Pacer ------------------------------------------------------------------------------------------------


def test_simultaneous_attempts_are_spaced() -> None:
    pacer = Pacer(SPOT)
    assert pacer.wait_ns(0) == 0
    pacer.took(0)
    assert pacer.wait_ns(0) == 100 * NS_PER_MS
    assert pacer.wait_ns(60 * NS_PER_MS) == 40 * NS_PER_MS
    assert pacer.wait_ns(100 * NS_PER_MS) == 0
    assert pacer.wait_ns(10 * S) == 0


def test_never_more_attempts_in_five_minutes_than_the_limit_less_the_reserve() -> None:
    pacer = Pacer(SPOT)
    now = 0
    taken = []
    for _ in range(1000):
        now += pacer.wait_ns(now)
        assert pacer.wait_ns(now) == 0
        pacer.took(now)
        taken.append(now)
    assert all(later - earlier >= 300 * S for earlier, later in zip(taken, taken[240:], strict=False))
    assert taken[239] - taken[0] < 30 * S  # and up to there they are not held back


# -- WeightBudget -----------------------------------------------------------------------------------------


def test_a_fifth_is_kept_in_reserve() -> None:
    budget = WeightBudget(100)
    assert budget.reserve(80, 0) == 0
    assert budget.reserve(1, S) == 59 * S
    assert budget.reserve(1, 60 * S) == 0


def test_the_wait_is_until_enough_has_been_forgotten() -> None:
    budget = WeightBudget(100)
    for second in range(4):
        assert budget.reserve(20, second * S) == 0
    assert budget.reserve(20, 4 * S) == 56 * S  # the first 20
    assert budget.reserve(41, 4 * S) == 58 * S  # three of them
    assert budget.reserve(80, 4 * S) == 59 * S  # all of them


def test_waiting_books_nothing() -> None:
    budget = WeightBudget(100)
    budget.reserve(80, 0)
    for _ in range(5):
        assert budget.reserve(80, S) == 59 * S
    assert budget.reserve(80, 60 * S) == 0


def test_a_request_heavier_than_everything_goes_alone() -> None:
    budget = WeightBudget(100)
    assert budget.reserve(1, 0) == 0
    assert budget.reserve(200, S) == 59 * S
    assert budget.reserve(200, 60 * S) == 0
    assert budget.reserve(1, 61 * S) == 59 * S


def test_what_others_use_of_the_address_counts() -> None:
    budget = WeightBudget(100)
    budget.reserve(10, 0)
    budget.observe(10, S)  # just ours
    assert budget.reserve(60, S) == 0
    budget.observe(80, 2 * S)  # ten of somebody else's
    assert budget.reserve(1, 2 * S) == 58 * S
    budget.observe(5, 3 * S)  # the exchange's minute is over; ours is not
    assert budget.reserve(1, 3 * S) == 57 * S


def test_the_limit_may_be_learnt() -> None:
    budget = WeightBudget(100)
    budget.reserve(80, 0)
    budget.limit = 200
    assert budget.reserve(80, 0) == 0


def test_after_a_429_nothing_is_asked_until_its_time_and_the_longest_holds() -> None:
    budget = WeightBudget(100)
    budget.punish(30 * S)
    budget.punish(10 * S)
    assert budget.reserve(1, 0) == 30 * S
    assert budget.reserve(1, 30 * S) == 0


def test_what_can_wait_leaves_the_rest_of_the_budget_to_what_cannot() -> None:
    budget = WeightBudget(100)  # 80 to spend
    for _ in range(10):
        assert budget.reserve(4, 0, share=0.5) == 0
    assert budget.reserve(4, 0, share=0.5) == 60 * 10**9
    assert budget.reserve(40, 0) == 0
    # what is live counts against those that wait, and they come back when the minute is over
    assert budget.reserve(4, 59 * 10**9, share=0.5) > 0
    assert budget.reserve(4, 60 * 10**9, share=0.5) == 0
