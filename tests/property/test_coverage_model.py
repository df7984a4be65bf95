"""Sets of ids against plain sets of numbers, and the table of coverage against the same on a real database."""

import asyncio
import random
from collections.abc import Iterator
from contextlib import AsyncExitStack, suppress
from itertools import pairwise

import asyncpg
import pytest
from databases import fresh_database
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crypto_quant.continuity import Gap, RangeSet
from crypto_quant.seams import Covered, Source
from crypto_quant.store import coverage
from crypto_quant.store.timescale import connect, open_sink

RANGES = st.tuples(st.integers(0, 60), st.integers(0, 12)).map(lambda pair: (pair[0], pair[0] + pair[1]))
SOURCES = st.sampled_from(list(Source))
SYMBOLS = ("btcusdt", "ethusdt", "币安人生usdt")


def numbers(ranges: list[tuple[int, int]] | list[Gap]) -> set[int]:
    return {number for first, last in ranges for number in range(first, last + 1)}


def apart(ranges: list[tuple[int, int]]) -> bool:
    """Tell whether ranges are sorted, disjoint, and do not even touch."""
    return all(below[1] + 1 < above[0] for below, above in pairwise(ranges))


@given(st.lists(st.tuples(st.booleans(), RANGES), max_size=40), RANGES)
def test_a_range_set_is_a_set(steps: list[tuple[bool, tuple[int, int]]], asked: tuple[int, int]) -> None:
    ranges, model = RangeSet(), set[int]()
    for adding, (first, last) in steps:
        if adding:
            ranges.add(first, last)
            model |= numbers([(first, last)])
        else:
            ranges.discard(first, last)
            model -= numbers([(first, last)])
    assert numbers(ranges.ranges()) == model
    assert apart(ranges.ranges())
    assert ranges.size == len(model)
    assert {number for number in range(80) if number in ranges} == model
    assert numbers(ranges.within(*asked)) == model & numbers([asked])
    assert numbers(ranges.missing(*asked)) == numbers([asked]) - model
    bounds = set(range(min(model), max(model))) if model else set()
    assert numbers(ranges.gaps()) == bounds - model
    assert ranges == RangeSet(reversed(ranges.ranges()))


@pytest.mark.parametrize("use", [RangeSet.add, RangeSet.discard, RangeSet.missing, RangeSet.within])
def test_what_is_no_range_is_refused(use: object) -> None:
    with pytest.raises(ValueError, match="5 to 4 is no range"):
        use(RangeSet(), 5, 4)  # type: ignore[operator]


# -- the table ------------------------------------------------------------------------------------------------


class Abandoned(Exception):
    """A transaction that is rolled back on purpose."""


class Ledger:
    """Two connections to one database; each example works on a venue of its own."""

    def __init__(self, runner: asyncio.Runner, server: str) -> None:
        self._runner = runner
        self._stack = AsyncExitStack()
        self._examples = 0
        runner.run(self._open(server))

    async def _open(self, server: str) -> None:
        self.url = await self._stack.enter_async_context(fresh_database(server))
        await (await open_sink(self.url)).close()
        self.connections: list[asyncpg.Connection] = []
        for _ in range(3):
            connection = await connect(self.url)
            self._stack.push_async_callback(connection.close)
            self.connections.append(connection)

    def venue(self) -> str:
        self._examples += 1
        return f"venue{self._examples}"

    def run(self, work: object) -> object:
        return self._runner.run(work)  # type: ignore[arg-type]

    def close(self) -> None:
        self._runner.run(self._stack.aclose())


@pytest.fixture(params=["timescaledb", "postgresql"])
def ledger(request: pytest.FixtureRequest) -> Iterator[Ledger]:
    with asyncio.Runner() as runner:
        ledger = Ledger(runner, request.param)
        try:
            yield ledger
        finally:
            ledger.close()


async def check(connection: asyncpg.Connection, venue: str, model: dict[str, dict[int, Source]]) -> None:
    """Hold the table against what each id was covered by."""
    held = await coverage.load(connection, venue)
    assert set(held) == {symbol for symbol, ids in model.items() if ids}
    for symbol, ranges in held.items():
        assert {number: each.source for each in ranges for number in range(each.first, each.last + 1)} == model[symbol]
        for below, above in pairwise(ranges):
            assert below.last < above.first
            assert below.last + 1 < above.first or below.source is not above.source
    newest = await connection.fetch("SELECT symbol, last_id FROM coverage WHERE venue = $1 AND newest", venue)
    assert dict(newest) == {symbol: ranges[-1].last for symbol, ranges in held.items()}


STEP = st.tuples(st.booleans(), st.lists(st.tuples(st.sampled_from(SYMBOLS), RANGES, SOURCES), max_size=5))


@given(steps=st.lists(STEP, max_size=12))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_table_is_a_set_that_remembers_who_came_first(
    ledger: Ledger, steps: list[tuple[bool, list[tuple[str, tuple[int, int], Source]]]]
) -> None:
    venue = ledger.venue()
    model: dict[str, dict[int, Source]] = {symbol: {} for symbol in SYMBOLS}
    connection = ledger.connections[0]

    async def play() -> None:
        for adding, given_ranges in steps:
            async with connection.transaction():
                if adding:
                    covered = [Covered(venue, symbol, *ids, source) for symbol, ids, source in given_ranges]
                    known = await coverage.extend(connection, covered)
                    expected = {
                        (each.symbol, number)
                        for each in covered
                        for number in range(each.first, each.last + 1)
                        if number in model[each.symbol]
                    }
                    assert {
                        (each.symbol, number) for each in known for number in range(each.first, each.last + 1)
                    } == expected
                    # within one call a lower range goes before a higher one of another source
                    by_source = {
                        (each.symbol, each.source): RangeSet(
                            (c.first, c.last) for c in covered if (c.symbol, c.source) == (each.symbol, each.source)
                        )
                        for each in covered
                    }
                    for symbol, first, last, source in sorted(
                        (symbol, first, last, source)
                        for (symbol, source), ranges in by_source.items()
                        for first, last in ranges.ranges()
                    ):
                        for number in range(first, last + 1):
                            model[symbol].setdefault(number, source)
                else:
                    for symbol, (first, last), _ in given_ranges:
                        await coverage.retract(connection, venue, symbol, [(first, last)])
                        for number in range(first, last + 1):
                            model[symbol].pop(number, None)
            await check(connection, venue, model)
            for symbol in SYMBOLS:
                ids = model[symbol]
                between = set(range(min(ids), max(ids))) - set(ids) if ids else set()
                assert numbers(await coverage.gaps(connection, venue, symbol)) == between

    ledger.run(play())


@given(st.integers(0, 2**32))
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_recorders_at_once_end_in_one_set_without_a_deadlock(ledger: Ledger, seed: int) -> None:
    venue = ledger.venue()
    dice = random.Random(seed)  # noqa: S311
    names = [f"s{number}" for number in range(8)]
    model: dict[str, set[int]] = {name: set() for name in names}

    async def record(connection: asyncpg.Connection, plan: list[tuple[list[Covered], float, bool]]) -> None:
        for covered, pause_s, commits in plan:
            with suppress(Abandoned):
                async with connection.transaction():
                    await coverage.extend(connection, covered)
                    await asyncio.sleep(pause_s)
                    if not commits:
                        raise Abandoned

    plans = []
    for _ in ledger.connections:
        plan, at = [], 0
        for _ in range(8):
            covered = []
            for name in dice.sample(names, dice.randrange(1, len(names))):
                first = max(0, at + dice.randrange(-15, 6))
                covered.append(Covered(venue, name, first, first + dice.randrange(12), Source.STREAM))
            commits = dice.random() < 0.8
            if commits:
                for each in covered:
                    model[each.symbol].update(range(each.first, each.last + 1))
            plan.append((covered, dice.random() * 0.004, commits))
            at += 10
        plans.append(plan)

    async def play() -> None:
        async with asyncio.TaskGroup() as tasks:
            for connection, plan in zip(ledger.connections, plans, strict=True):
                tasks.create_task(record(connection, plan))
        await check(
            ledger.connections[0],
            venue,
            {name: dict.fromkeys(ids, Source.STREAM) for name, ids in model.items()},
        )

    ledger.run(play())


SERIES = st.tuples(st.sampled_from(SYMBOLS), st.sampled_from(["1m", "1M"]))
SLOT_STEP = st.tuples(st.booleans(), st.lists(st.tuples(SERIES, RANGES, SOURCES), max_size=5))


@given(steps=st.lists(SLOT_STEP, max_size=10))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_table_of_candles_is_a_set_beside_that_of_trades(
    ledger: Ledger, steps: list[tuple[bool, list[tuple[tuple[str, str], tuple[int, int], Source]]]]
) -> None:
    """Coverage and absences of candles against plain sets; ids of the same symbols are not touched by them."""
    venue = ledger.venue()
    connection = ledger.connections[0]
    model: dict[tuple[str, str, str], set[int]] = {}
    absent: dict[tuple[str, str, str], set[int]] = {}
    ids = {symbol: {7: Source.STREAM} for symbol in SYMBOLS}

    async def play() -> None:
        async with connection.transaction():
            await coverage.extend(connection, [Covered(venue, symbol, 7, 7, Source.STREAM) for symbol in SYMBOLS])
        for adding, given_ranges in steps:
            claims = [
                (Covered(venue, symbol, *slots, source, frame), (venue, symbol, frame))
                for (symbol, frame), slots, source in given_ranges
                if source is not Source.VOID
            ]
            async with connection.transaction():
                if adding:
                    known = await coverage.extend(connection, [claim for claim, _ in claims])
                    expected = {
                        (*series, n) for claim, series in claims for n in numbers([(claim.first, claim.last)])
                        if n in model.get(series, ())
                    }  # fmt: skip
                    assert {
                        (venue, c.symbol, c.timeframe, n) for c in known for n in numbers([(c.first, c.last)])
                    } == expected
                    for claim, series in claims:
                        model.setdefault(series, set()).update(numbers([(claim.first, claim.last)]))
                        # what is stored exists
                        absent[series] = absent.get(series, set()) - numbers([(claim.first, claim.last)])
                for claim, series in claims if not adding else ():
                    told = numbers([(claim.first, claim.last)])
                    if told & model.get(series, set()):
                        with pytest.raises(ValueError, match="are covered, so they exist"):
                            await coverage.record_absent_slots(connection, series, claim.first, claim.last, "asked")
                    else:
                        await coverage.record_absent_slots(connection, series, claim.first, claim.last, "asked")
                        absent.setdefault(series, set()).update(told)
            wanted = [(venue, symbol, frame) for symbol in SYMBOLS for frame in ("1m", "1M")]
            held = await coverage.load_slots(connection, wanted)
            assert {series: numbers([(c.first, c.last) for c in ranges]) for series, ranges in held.items()} == model
            found = await coverage.load_absent_slots(connection, wanted)
            assert {series: numbers(ranges) for series, ranges in found.items()} == {
                series: slots for series, slots in absent.items() if slots
            }
            newest = await connection.fetch(
                "SELECT venue, symbol, timeframe, last_slot FROM candle_coverage WHERE venue = $1 AND newest", venue
            )
            assert {tuple(row[:3]): row[3] for row in newest} == {key: max(slots) for key, slots in model.items()}
        await check(connection, venue, ids)

    ledger.run(play())
