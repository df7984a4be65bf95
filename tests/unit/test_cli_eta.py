"""The time left: true for uneven work, and never nonsense."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_quant.cli.eta import LONGEST_S, Eta


def told(sizes: list[float], pace: float, *, weighed: bool = True) -> list[tuple[float, float | None, float]]:
    """Work through pieces of these sizes, ``pace`` a second; return for each second the time, the ETA, and the truth.

    ``weighed``: pieces count by their size; else each counts as one.
    """
    ends, at = [], 0.0
    for size in sizes:
        at += size / pace
        ends.append(at)
    total = sum(sizes) if weighed else float(len(sizes))
    eta = Eta(0.0)
    eta.tell(0, total, 0.0)
    seen: list[tuple[float, float | None, float]] = []
    done = 0.0
    finished = 0
    for second in range(1, int(ends[-1]) + 1):
        while finished < len(ends) and ends[finished] <= second:
            done += sizes[finished] if weighed else 1.0
            eta.tell(done, total, ends[finished])
            finished += 1
        seen.append((float(second), eta.left_s(second), ends[-1] - second))
    return seen


def worst(seen: list[tuple[float, float | None, float]], since_s: float) -> float:
    """Return by which factor the ETA was furthest from the truth, while there were ten seconds left or more."""
    pairs = [(left, true) for at, left, true in seen if at >= since_s and true >= 10 and left is not None]
    factors = [max(left / true, true / max(left, 1e-9)) for left, true in pairs]
    assert factors
    return max(factors)


def test_even_work() -> None:
    assert worst(told([1.0] * 600, 1.0), 5) < 1.05


def test_few_big_files_and_many_small_ones_that_count_by_size() -> None:
    sizes = ([200.0] + [1.0] * 100 + [400.0] + [0.1] * 1000) * 3
    assert worst(told(sizes, 5.0), 60) < 1.6


def test_a_year_that_was_there_already_is_skipped_and_forgotten() -> None:
    """An export that goes on: 900 of 1,000 files are kept in no time, the others take two seconds each."""
    eta = Eta(0.0)
    for done in range(901):
        eta.tell(done, 1000, done * 0.001)
    for done in range(901, 1000):
        now = 0.9 + 2.0 * (done - 900)
        eta.tell(done, 1000, now)
        left, true = eta.left_s(now), 2.0 * (1000 - done)
        if done > 904:
            assert left == pytest.approx(true, rel=0.05)


def test_files_that_grow_though_they_count_as_one_each() -> None:
    """Small ones first, then big ones: wrong at the turn, and right again after as long as the small ones took."""
    seen = told([1.0] * 100 + [10.0] * 100, 5.0, weighed=False)
    assert worst(seen, 100) < 1.3


def test_between_two_steps_it_runs_down_and_then_rises_again() -> None:
    eta = Eta(0.0)
    for done in range(11):
        eta.tell(done, 20, done * 10.0)
    at_once, later, late, much_later = (eta.left_s(100.0 + s) for s in (0, 5, 10, 60))
    assert at_once == pytest.approx(100)
    assert later == pytest.approx(95)
    assert late == pytest.approx(90)
    assert much_later is not None
    assert much_later > 120


def test_nothing_is_said_of_the_first_sample() -> None:
    eta = Eta(0.0)
    assert eta.left_s(0.0) is None
    eta.tell(1e-9, 1.0, 1.0)  # years, by rule of three
    assert eta.left_s(1.0) is None
    assert eta.left_s(3600.0) is None  # one step tells no pace
    eta.tell(0.5, 1.0, 3600.0)
    assert eta.left_s(3600.0) is not None


def test_what_took_less_than_two_seconds_says_nothing() -> None:
    eta = Eta(0.0)
    for done in range(1, 100):
        eta.tell(done, 1000, done * 0.01)
    assert eta.left_s(1.9) is None
    assert eta.left_s(2.0) is not None


def test_months_are_no_estimate() -> None:
    eta = Eta(0.0)
    for done in range(4):
        eta.tell(done, 1e9, done * 10.0)
    assert eta.left_s(30.0) is None


def test_another_piece_of_work_begins_anew() -> None:
    eta = Eta(0.0)
    for done in range(11):
        eta.tell(done, 10, done)
    eta.tell(0, 500, 10.0)
    assert eta.left_s(15.0) is None
    eta.tell(1, 500, 20.0)
    eta.tell(2, 500, 30.0)
    assert eta.left_s(30.0) == pytest.approx(4980)


def test_a_file_that_is_tried_again_is_no_new_work() -> None:
    eta = Eta(0.0)
    for done in (1.0, 2.0, 3.0, 4.0, 3.2, 3.6, 5.0):
        eta.tell(done, 10, done * 10)
    assert eta.done == 5.0
    assert eta.left_s(50.0) == pytest.approx(50, rel=0.3)


def test_a_million_steps_are_forgotten_in_good_order() -> None:
    eta = Eta(0.0)
    for done in range(1, 100_001):
        eta.tell(done, 200_000, done * 0.01)
    assert len(eta._times) <= 4097
    assert eta.left_s(1000.0) == pytest.approx(1000, rel=0.01)


@given(st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 1e6)), max_size=50), st.floats(0, 1e7), st.floats(0, 1e6))
def test_it_is_never_negative_and_never_beyond_reason(
    steps: list[tuple[float, float]], total: float, later_s: float
) -> None:
    eta = Eta(0.0)
    now = 0.0
    for after_s, done in steps:
        now += after_s
        eta.tell(done, total, now)
        for moment in (now, now + later_s):
            left = eta.left_s(moment)
            assert left is None or 0 <= left <= LONGEST_S
