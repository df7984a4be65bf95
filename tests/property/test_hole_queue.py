"""However holes are cut and whenever they come: each id is asked for once, in as few requests as pages hold one."""

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_quant.continuity import Gap
from crypto_quant.flow.holequeue import Hole, HoleQueue

PAGE = 10
TURN = 3

_gaps = st.tuples(st.integers(0, 400), st.integers(0, 60)).map(lambda pair: Gap(pair[0], pair[0] + pair[1]))
_holes = st.lists(st.tuples(st.sampled_from(["btcusdt", "ethusdt"]), _gaps), min_size=1, max_size=60)


def ids(holes: list[tuple[str, Gap]]) -> set[tuple[str, int]]:
    return {(symbol, number) for symbol, gap in holes for number in range(gap.first, gap.last + 1)}


def pages(missing: set[tuple[str, int]]) -> set[tuple[str, int]]:
    return {(symbol, number // PAGE) for symbol, number in missing}


def taken(queue: HoleQueue, now: float) -> list[tuple[str, Gap]]:
    return [(hole.symbol, hole.gap) for hole in queue.take(now)]


@given(_holes)
@settings(max_examples=300)
def test_no_more_requests_than_pages_that_hold_a_missing_id(holes: list[tuple[str, Gap]]) -> None:
    queue = HoleQueue(PAGE, TURN)
    for symbol, gap in holes:
        queue.add(Hole(symbol, gap, 0.0, near=True))
    wanted, requests = ids(holes), 0
    asked: set[tuple[str, int]] = set()
    while parts := taken(queue, 0.0):
        requests += 1
        assert len({symbol for symbol, _ in parts}) == 1
        assert 0 < parts[-1][1].last - parts[0][1].first + 1 <= PAGE
        assert all(a.last < b.first for (_, a), (_, b) in itertools.pairwise(parts))
        assert not asked & ids(parts)
        asked |= ids(parts)
    assert asked == wanted
    assert requests <= len(pages(wanted))
    assert len(queue) == 0


@given(_holes, _holes, st.integers(0, 10))
def test_what_fails_and_what_comes_meanwhile_waits_with_the_rest(
    holes: list[tuple[str, Gap]], later: list[tuple[str, Gap]], failures: int
) -> None:
    queue = HoleQueue(PAGE, TURN)
    for symbol, gap in holes:
        queue.add(Hole(symbol, gap, 0.0, near=True))
    # refused with a 429: nothing was closed, and more holes come while the exchange wants no request
    for _ in range(failures):
        for hole in queue.take(0.0):
            queue.add(hole)
    for symbol, gap in later:
        queue.add(Hole(symbol, gap, 0.0, near=True))
    wanted, requests = ids(holes + later), 0
    asked: set[tuple[str, int]] = set()
    while parts := taken(queue, 0.0):
        requests += 1
        asked |= ids(parts)
    assert asked == wanted
    assert requests <= len(pages(wanted))


@given(st.dictionaries(st.integers(0, 40), st.integers(1, PAGE), min_size=1))
def test_the_page_with_the_most_missing_ids_is_next(missing: dict[int, int]) -> None:
    queue = HoleQueue(PAGE, TURN)
    for number, count in missing.items():
        queue.add(Hole("btcusdt", Gap(2 * number * PAGE, 2 * number * PAGE + count - 1), 0.0, near=True))
    order = [sum(gap.size for _, gap in parts) for parts in iter(lambda: taken(queue, 0.0), [])]
    assert order == sorted(missing.values(), reverse=True)


@given(_holes, st.floats(0.0, 2.0))
def test_nothing_is_asked_for_before_it_is_due(holes: list[tuple[str, Gap]], now: float) -> None:
    queue = HoleQueue(PAGE, TURN)
    for symbol, gap in holes:
        queue.add(Hole(symbol, gap, 1.0, near=True))
    queue.pause("btcusdt", 1.5)
    parts = taken(queue, now)
    due = {symbol for symbol, _ in holes if now >= (1.5 if symbol == "btcusdt" else 1.0)}
    assert bool(parts) == bool(due)
    assert {symbol for symbol, _ in parts} <= due
    assert queue.next_at() >= 1.0
