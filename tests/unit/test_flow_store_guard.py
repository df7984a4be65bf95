"""A store that has gone back: what was confirmed is held against what is covered, and what is gone is wanted again."""

import asyncio
import random
from collections.abc import Sequence

import pytest
from flow_doubles import NOW_NS, Journal, MemoryQuarantine, MemorySink, SetClock, agg_frame, kline_frame, until

from crypto_quant import events
from crypto_quant.continuity import RANGES_MAX, CandleClock, Gap
from crypto_quant.errors import StoreRejected, StoreUnavailable
from crypto_quant.flow.confirmed import ConfirmedSink
from crypto_quant.flow.intake import Intake
from crypto_quant.flow.stats import PipelineStats
from crypto_quant.flow.store_guard import StoreGuard
from crypto_quant.flow.writer import TimescaleWriter
from crypto_quant.market import Timeframe, Venue
from crypto_quant.seams import Batch, Covered, Source, Table

MINUTE_MS = 1_790_856_000_000
M1 = ("btcusdt", Timeframe.M1)


class Store:
    """A ``Ledger`` whose content a test sets: what is covered, which candles there are, who answers."""

    def __init__(self) -> None:
        self.name = "one"
        self.ids: set[int] = set()
        self.opens: set[int] = set()
        self.gone_on_purpose: dict[str | None, list[tuple[int, int]]] = {}
        self.away = False
        self.asked = 0

    async def server(self) -> str:
        await asyncio.sleep(0)
        if self.away:
            raise StoreUnavailable("a standby answers")
        return self.name

    async def covered(self, venue: str, symbol: str, first: int, last: int) -> Sequence[tuple[int, int]]:
        self.asked += 1
        await asyncio.sleep(0)
        return [(number, number) for number in sorted(self.ids) if first <= number <= last]

    async def dropped(
        self, venue: str, symbol: str, timeframe: str | None, first: int, last: int
    ) -> list[tuple[int, int]]:
        await asyncio.sleep(0)
        return self.gone_on_purpose.get(timeframe, [])

    async def candle_opens(self, venue: str, symbol: str, timeframe: str, first_ns: int, last_ns: int) -> list[int]:
        await asyncio.sleep(0)
        return sorted(open_ns for open_ns in self.opens if first_ns <= open_ns <= last_ns)

    async def record_absence(self, venue: str, symbol: str, first: int, last: int, proof: str) -> None: ...


class Bench:
    """An intake with its writer on a sink that remembers, and the guard between them and ``store``."""

    def __init__(self, *, refilled: bool = True, venue: Venue = Venue.SPOT) -> None:
        self.beneath = MemorySink()
        self.clock = CandleClock(Timeframe.M1, 0)
        self.clock.start(MINUTE_MS * 1_000_000)
        clocks = {M1: self.clock}
        self.sink = ConfirmedSink(self.beneath, clocks)
        self.journal = Journal()
        self.stats = PipelineStats(0)
        self.wanted: list[tuple[str, Gap]] = []
        self.writer = TimescaleWriter(
            self.sink, max_age_s=0, stats=self.stats, clock=SetClock(), quarantine=MemoryQuarantine(),
            emit=self.journal, rng=random.Random(1),  # noqa: S311
        )  # fmt: skip
        self.intake = Intake(
            venue, ["btcusdt"], clocks, writer=self.writer, stats=self.stats, quarantine=MemoryQuarantine(),
            emit=self.journal, on_gap=lambda symbol, gap: self.wanted.append((symbol, gap)),
        )  # fmt: skip
        self.store = Store()
        self.guard = StoreGuard(
            self.sink, self.store, intake=self.intake, emit=self.journal, refilled=refilled, poll_s=0.01, spacing_s=0.0
        )

    async def record(self, *frames: bytes) -> None:
        """Take frames; they are stored, and the store has them."""
        for frame in frames:
            self.intake.frames([frame], NOW_NS)
        task = asyncio.create_task(self.writer.run())
        await self.writer.flush()
        task.cancel()
        await asyncio.wait({task})
        for each in self.beneath.covered:
            self.store.ids.update(range(each.first, each.last + 1))
        self.store.opens = {open_ns for first, last in _slots(self.sink) for open_ns in self._opens(first, last)}

    def _opens(self, first: int, last: int) -> list[int]:
        return [self.clock.open_ns(slot) for slot in range(first, last + 1)]


def _slots(sink: ConfirmedSink) -> list[tuple[int, int]]:
    return sink.candles[M1].ranges() if M1 in sink.candles else []


async def test_what_the_store_has_no_more_is_a_gap_again() -> None:
    bench = Bench()
    await bench.record(*map(agg_frame, range(100, 120)))
    await bench.guard.look()
    assert bench.journal.of(events.TradesGone) == []
    bench.store.name = "two"
    bench.store.ids -= {110, 111, 112, 119}
    await bench.guard.look()
    (told,) = bench.journal.of(events.TradesGone)
    assert (told.symbol, told.first, told.last, told.trades) == ("btcusdt", 110, 119, 4)
    assert bench.wanted == [("btcusdt", Gap(110, 112)), ("btcusdt", Gap(119, 119))]
    assert bench.intake.still_missing("btcusdt", Gap(0, 1000)) == [Gap(110, 112), Gap(119, 119)]
    assert (bench.stats.missing_trades, bench.stats.gaps_open) == (4, 2)
    # told once; what comes again is stored, and lost again it is told again
    await bench.record(*map(agg_frame, (110, 111, 112, 119)))
    assert bench.stats.missing_trades == 0
    bench.store.name = "three"
    await bench.guard.look()
    assert len(bench.journal.of(events.TradesGone)) == 1
    bench.store.name = "four"
    bench.store.ids -= {111}
    await bench.guard.look()
    assert bench.wanted[2:] == [("btcusdt", Gap(111, 111))]


async def test_what_was_dropped_on_purpose_is_not_missed() -> None:
    bench = Bench()
    await bench.record(*map(agg_frame, range(100, 120)))
    await bench.record(*(kline_frame(MINUTE_MS + minute * 60_000) for minute in range(5)))
    slot = bench.clock.slot(MINUTE_MS * 1_000_000)
    bench.store.ids -= {100, 101, 102, 110}
    bench.store.opens -= {(MINUTE_MS + minute * 60_000) * 1_000_000 for minute in (0, 1, 3)}
    bench.store.gone_on_purpose = {None: [(90, 101)], "1m": [(slot, slot + 1)]}
    await bench.guard.look()
    (told,) = bench.journal.of(events.TradesGone)
    assert (told.first, told.last, told.trades) == (102, 110, 2)
    assert bench.wanted == [("btcusdt", Gap(102, 102)), ("btcusdt", Gap(110, 110))]
    (candles,) = bench.journal.of(events.CandlesGone)
    assert (candles.first_open, candles.candles) == ("2026-10-01T12:03:00Z", 1)


async def test_candles_that_are_gone_are_owed_again() -> None:
    bench = Bench()
    await bench.record(*(kline_frame(MINUTE_MS + minute * 60_000) for minute in range(5)))
    now_ns = (MINUTE_MS + 5 * 60_000) * 1_000_000
    assert bench.clock.due(now_ns) == []
    lost = [(MINUTE_MS + minute * 60_000) * 1_000_000 for minute in (2, 3)]
    bench.store.opens -= set(lost)
    await bench.guard.look()
    (told,) = bench.journal.of(events.CandlesGone)
    assert (told.symbol, told.timeframe, told.candles) == ("btcusdt", "1m", 2)
    assert (told.first_open, told.last_open) == ("2026-10-01T12:02:00Z", "2026-10-01T12:03:00Z")
    assert bench.clock.due(now_ns) == [(lost[0], lost[1])]
    await bench.record(*(kline_frame(open_ns // 1_000_000) for open_ns in lost))
    assert bench.clock.due(now_ns) == []


async def test_the_same_server_without_an_outage_is_not_asked_for_more() -> None:
    bench = Bench()
    await bench.record(agg_frame(1), agg_frame(2))
    await bench.guard.look()
    await bench.guard.look()
    assert bench.store.asked == 1
    bench.beneath.failures.append(StoreUnavailable("away"))
    with pytest.raises(StoreUnavailable):
        await bench.sink.write(Batch(Table.TRADES, []))
    await bench.guard.look()
    assert bench.store.asked == 1  # it does not answer yet
    await bench.record(agg_frame(3))
    await bench.guard.look()
    assert bench.store.asked == 2


async def test_a_standby_is_no_witness() -> None:
    bench = Bench()
    await bench.record(agg_frame(1), agg_frame(2))
    bench.store.ids.clear()
    bench.store.away = True
    with pytest.raises(StoreUnavailable):
        await bench.guard.look()
    assert bench.journal.of(events.TradesGone) == []


async def test_it_watches_by_itself_through_a_store_that_cannot_be_asked() -> None:
    bench = Bench()
    await bench.record(agg_frame(1), agg_frame(2))
    bench.store.away = True
    task = asyncio.create_task(bench.guard.run())
    await asyncio.sleep(0.03)
    assert not task.done()
    bench.store.ids.discard(2)
    bench.store.away = False
    await until(lambda: bench.wanted)
    assert bench.wanted == [("btcusdt", Gap(2, 2))]
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()


@pytest.mark.parametrize(
    ("venue", "command"),
    [(Venue.SPOT, "crypto-quant repair btcusdt"), (Venue.USDM, "crypto-quant repair btcusdt --venue usdm")],
)
async def test_without_a_backfill_the_command_is_named(venue: Venue, command: str) -> None:
    bench = Bench(refilled=False, venue=venue)
    await bench.record(agg_frame(1), agg_frame(2))
    bench.store.ids.clear()
    await bench.guard.look()
    (told,) = bench.journal.of(events.TradesGone)
    assert told.hint == f"`{command}` fetches them again"


async def test_ids_of_symbols_that_are_not_recorded_concern_nobody() -> None:
    bench = Bench()
    bench.sink.confirm("ethusdt", 5, 9)
    await bench.guard.look()
    assert bench.wanted == []


async def test_only_what_was_confirmed_is_remembered_and_a_rejected_row_casts_no_doubt() -> None:
    bench = Bench()
    batch = Batch(Table.TRADES, [], [Covered("spot", "btcusdt", 5, 9, Source.VOID)])
    bench.beneath.failures += [StoreRejected("a row"), StoreUnavailable("away")]
    with pytest.raises(StoreRejected):
        await bench.sink.write(batch)
    assert not bench.sink.doubtful.is_set()
    with pytest.raises(StoreUnavailable):
        await bench.sink.write(batch)
    assert bench.sink.trades == {}
    assert not bench.sink.doubtful.is_set()
    await bench.sink.write(batch)
    assert bench.sink.trades["btcusdt"].ranges() == [(5, 9)]
    assert bench.sink.doubtful.is_set()


async def test_a_write_that_was_given_up_casts_doubt() -> None:
    bench = Bench()
    bench.beneath.gate.clear()
    task = asyncio.create_task(bench.sink.write(Batch(Table.TRADES, [])))
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait({task})
    bench.beneath.gate.set()
    await bench.sink.write(Batch(Table.TRADES, []))
    assert bench.sink.doubtful.is_set()


def test_the_memory_of_what_was_confirmed_is_bounded() -> None:
    sink = ConfirmedSink(MemorySink(), {})
    for number in range(0, 2 * (RANGES_MAX + 10), 2):
        sink.confirm("btcusdt", number, number)
    ranges = sink.trades["btcusdt"].ranges()
    assert len(ranges) == RANGES_MAX
    assert ranges[0] == (20, 20)
