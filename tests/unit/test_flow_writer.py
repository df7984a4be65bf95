"""The writer against a sink that fails in every way: nothing is lost, nothing is told that is not so."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from flow_doubles import NOW_NS, Journal, MemoryQuarantine, MemorySink, SetClock, until
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_quant import events
from crypto_quant.errors import StoreDenied, StoreUnavailable
from crypto_quant.flow import writer as writer_module
from crypto_quant.flow.chunk import Chunk
from crypto_quant.flow.stats import PipelineStats
from crypto_quant.flow.writer import TimescaleWriter
from crypto_quant.market import AggTrade, Candle, Timeframe, Venue
from crypto_quant.seams import Batch, Clock, Covered, Receipt, Source, Table
from crypto_quant.snapshot import ClockView


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "_FIRST_RETRY_S", 0.001)
    monkeypatch.setattr(writer_module, "_LAST_RETRY_S", 0.004)


class Bench:
    """A writer with everything around it."""

    def __init__(
        self,
        sink: MemorySink | None = None,
        *,
        batch_size: int = 1000,
        max_age_s: float | None = 30.0,
        merge: int = 50,
        clock: Clock | None = None,
    ) -> None:
        self.sink = sink or MemorySink()
        self.stats = PipelineStats(0)
        self.journal = Journal()
        self.quarantine = MemoryQuarantine()
        self.clock = clock or SetClock()
        self.writer = TimescaleWriter(
            self.sink,
            batch_size=batch_size,
            max_age_s=max_age_s,
            merge=merge,
            stats=self.stats,
            clock=self.clock,
            quarantine=self.quarantine,
            emit=self.journal,
            rng=random.Random(1),  # noqa: S311
        )
        self.series = self.writer.series("spot", "btcusdt", Source.STREAM)

    def give(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            self.stats.trades_received += 1
            run = self.series, number, number
            self.writer.add_trades(Chunk(row(number), 1, (run,), received_ns=self.clock.now_ns(), event_ns=NOW_NS))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.writer.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})

    def stored(self) -> list[int]:
        return [number_of(line) for line in self.sink.rows[Table.TRADES]]

    def left(self) -> list[int]:
        return [number_of(line) for batch in self.writer.unstored() for line in batch.rows]


def row(number: int) -> bytes:
    return f"2026-10-01 12:00:00.000000+00\tspot\tbtcusdt\t{number}\t1.0\t1.0\t1\t1\tt\t\\N\n".encode()


def number_of(line: bytes) -> int:
    return int(line.split(b"\t")[3])


def candle(minute: int = 0) -> Candle:
    return Candle(
        venue=Venue.SPOT,
        symbol="btcusdt",
        timeframe=Timeframe.M1,
        open_ns=NOW_NS + minute * 60_000_000_000,
        open="1",
        high="2",
        low="1",
        close="1.5",
        volume="10",
        quote_volume="15",
        trade_count=4,
        taker_buy_volume="5",
        taker_buy_quote_volume="7",
        first_trade_id=1,
        last_trade_id=4,
    )


def stored_candle(number: int) -> events.CandleStored:
    return writer_module.candle_stored(candle(number), "stream")


# -- batching ---------------------------------------------------------------------------------------------


async def test_a_full_batch_goes_at_once() -> None:
    bench = Bench(batch_size=5)
    async with bench.running():
        bench.give(range(5))
        await until(lambda: bench.stored() == [0, 1, 2, 3, 4])
        assert [len(batch.rows) for batch in bench.sink.batches] == [5]
        bench.give([5])
        await asyncio.sleep(0.01)
        assert bench.writer.pending == 1


@pytest.mark.parametrize("step_ns", [0, 1_000_000, -1_000_000_000])
async def test_a_batch_goes_by_age_whatever_the_wall_clock_does(step_ns: int) -> None:
    bench = Bench(max_age_s=0.02, clock=SetClock(step_ns=step_ns))
    async with bench.running():
        bench.give([1, 2])
        await until(lambda: bench.stored() == [1, 2])


async def test_no_age_means_no_waiting() -> None:
    bench = Bench(max_age_s=0.0)
    async with bench.running():
        bench.give([1])
        await until(lambda: bench.stored() == [1], within_s=0.5)


async def test_a_backlog_is_merged_within_its_bound_and_keeps_its_order() -> None:
    bench = Bench(batch_size=10, merge=3)
    bench.sink.gate.clear()
    async with bench.running():
        bench.give(range(10))
        await until(lambda: bench.sink.writing)
        bench.give(range(10, 80))
        bench.sink.gate.set()
        await bench.writer.flush()
    assert bench.stored() == list(range(80))
    assert [len(batch.rows) for batch in bench.sink.batches] == [10, 30, 30, 10]


async def test_values_become_rows() -> None:
    bench = Bench()
    trade = AggTrade(
        venue=Venue.SPOT,
        symbol="btcusdt",
        trade_id=7,
        price="64250.10000000",
        quantity="0.01000000",
        first_trade_id=1,
        last_trade_id=2,
        time_ns=NOW_NS,
        is_buyer_maker=True,
    )
    async with bench.running():
        bench.writer.add_trade(trade)
        bench.writer.add_candle(candle(), Source.REST)
        await bench.writer.flush()
    assert bench.sink.rows[Table.TRADES][0].split(b"\t")[3:6] == [b"7", b"64250.10000000", b"0.01000000"]
    assert (bench.stats.trades_received, bench.stats.trades_written) == (1, 1)
    assert (bench.stats.candles_received, bench.stats.candles_written) == (1, 1)
    assert bench.journal.of(events.CandleStored)[0].source == "rest"


# -- flushing ---------------------------------------------------------------------------------------------


async def test_flush_returns_once_both_tables_are_stored() -> None:
    bench = Bench()
    async with bench.running():
        bench.give(range(3))
        bench.writer.add_candle(candle())
        assert bench.writer.pending == 4
        await bench.writer.flush()
        assert (bench.writer.pending, len(bench.stored())) == (0, 3)
        assert len(bench.sink.rows[Table.CANDLES]) == 1
        await bench.writer.flush()  # with nothing to do


async def test_flush_waits_for_what_was_queued_before_it_and_not_for_what_keeps_coming() -> None:
    bench = Bench(batch_size=2)
    number = 10

    async def more() -> None:
        nonlocal number
        while True:
            bench.give([number, number + 1])
            number += 2
            await asyncio.sleep(0)

    async with bench.running():
        bench.give(range(5))
        feeding = asyncio.create_task(more())
        async with asyncio.timeout(1):
            await bench.writer.flush()
        assert bench.stored()[:5] == [0, 1, 2, 3, 4]
        feeding.cancel()
        await asyncio.wait({feeding})


async def test_two_flushes_at_once_both_return() -> None:
    bench = Bench()
    async with bench.running():
        bench.give([1])
        async with asyncio.timeout(1):
            await asyncio.gather(bench.writer.flush(), bench.writer.flush())


async def test_a_cancelled_flush_leaves_the_batching_as_it_was() -> None:
    bench = Bench(batch_size=100)
    bench.sink.gate.clear()
    async with bench.running():
        bench.give([1])
        flushing = asyncio.create_task(bench.writer.flush())
        await until(lambda: bench.sink.writing)
        flushing.cancel()
        await asyncio.wait({flushing})
        bench.sink.gate.set()
        await until(lambda: bench.stored() == [1])
        bench.give([2])
        await asyncio.sleep(0.01)
        assert bench.writer.pending == 1


async def test_how_long_a_batch_waits_follows_the_commits_unless_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "fitting_age_ns", lambda commit_ns: 7 if commit_ns else 3)
    for max_age_s, before, after in ((None, 3, 7), (0.01, 10_000_000, 10_000_000)):
        bench = Bench(max_age_s=max_age_s)
        batcher = bench.writer._trades.batcher
        assert batcher.max_age_ns == before
        async with bench.running():
            bench.give([1])
            await bench.writer.flush()
            await until(lambda bench=bench: bench.stats.batches_written)  # type: ignore[misc]
        assert batcher.max_age_ns == after


# -- a store that is away ---------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [StoreUnavailable("connection refused"), StoreDenied("right revoked")])
async def test_a_store_that_is_away_is_tried_until_it_is_back(error: Exception) -> None:
    bench = Bench(MemorySink(failures=[error] * 4), batch_size=3)
    async with bench.running():
        bench.give(range(3))
        await until(lambda: bench.stored() == [0, 1, 2])
        await until(lambda: bench.journal.of(events.StoreBack))
    lost = bench.journal.of(events.StoreLost)
    # four failures within milliseconds are one line
    assert [(event.pending, event.cause, event.table) for event in lost] == [(3, str(error), "trades")]
    assert 0 < lost[0].retry_in_s <= 0.004
    assert bench.stats.store_failures == 4
    assert bench.stats.pending_trades == 0
    assert len(bench.journal.of(events.StoreBack)) == 1


async def test_rows_that_arrive_while_the_store_is_away_follow_in_order() -> None:
    bench = Bench(MemorySink(failures=[StoreUnavailable("away")] * 3), batch_size=2)
    async with bench.running():
        bench.give([0, 1])
        await until(lambda: bench.stats.store_failures)
        bench.give([2, 3])
        await bench.writer.flush()
    assert bench.stored() == [0, 1, 2, 3]


# -- a row that the store refuses -------------------------------------------------------------------------


@given(st.integers(1, 40), st.data())
@settings(max_examples=60, deadline=None)
def test_exactly_the_refused_rows_are_set_aside(count: int, data: st.DataObject) -> None:
    refused = data.draw(st.sets(st.integers(0, count - 1)))

    async def run() -> Bench:
        bench = Bench(MemorySink(refuses=lambda line: number_of(line) in refused), batch_size=count)
        async with bench.running():
            bench.give(range(count))
            await bench.writer.flush()
        return bench

    bench = asyncio.run(run())
    assert bench.stored() == [number for number in range(count) if number not in refused]
    assert [number_of(raw) for _, raw, _ in bench.quarantine.kept] == sorted(refused)
    assert bench.stats.trades_set_aside == len(refused)
    assert (bench.stats.pending_trades, bench.writer.pending, bench.left()) == (0, 0, [])


async def test_a_refused_row_is_kept_raw_and_told_with_its_reason() -> None:
    bench = Bench(MemorySink(refuses=lambda _: True))
    async with bench.running():
        bench.give([5])
        bench.writer.add_candle(candle())
        await bench.writer.flush()
    kinds = [(kind, reason) for kind, _, reason in bench.quarantine.kept]
    assert ("row", "trades: a row is refused: trades") in kinds
    assert ("row", "candles: a row is refused: candles") in kinds
    assert row(5) in [raw for _, raw, _ in bench.quarantine.kept]
    told = bench.journal.of(events.RowSetAside)
    assert {event.table for event in told} == {"trades", "candles"}
    assert not any(event.row.endswith("\n") for event in told)
    assert (bench.stats.trades_set_aside, bench.stats.candles_set_aside) == (1, 1)
    assert bench.journal.of(events.CandleStored) == []


# -- candles and lags -------------------------------------------------------------------------------------


async def test_a_candle_is_told_after_its_commit_and_once() -> None:
    bench = Bench()
    bench.sink.gate.clear()
    async with bench.running():
        bench.writer.add_candle(candle(1))
        flushing = asyncio.create_task(bench.writer.flush())
        await until(lambda: bench.sink.writing)
        assert bench.journal.of(events.CandleStored) == []
        bench.sink.gate.set()
        await flushing
        assert bench.journal.of(events.CandleStored) == [stored_candle(1)]
        bench.writer.add_candle(candle(1))  # the store has it already
        await bench.writer.flush()
        assert len(bench.journal.of(events.CandleStored)) == 1
    assert (bench.stats.candles_written, bench.stats.candles_duplicate) == (1, 1)


async def test_of_a_mixed_batch_exactly_the_new_candles_are_told() -> None:
    bench = Bench()
    async with bench.running():
        bench.writer.add_candle(candle(2))
        await bench.writer.flush()
        for minute in (1, 2, 3, 3, 4):
            bench.writer.add_candle(candle(minute))
        await bench.writer.flush()
    assert bench.journal.of(events.CandleStored) == [stored_candle(minute) for minute in (2, 1, 3, 4)]
    assert (bench.stats.candles_written, bench.stats.candles_duplicate) == (4, 2)


async def test_a_batch_of_candles_proves_their_slots() -> None:
    bench = Bench()
    async with bench.running():
        for minute in (1, 2, 4):
            bench.writer.add_candle(candle(minute))
        bench.writer.add_candle(candle(3), Source.REST)
        await bench.writer.flush()
    first = Timeframe.M1.slot(NOW_NS) + 1
    ranges = [(0, 1, Source.STREAM), (3, 3, Source.STREAM), (2, 2, Source.REST)]
    assert bench.sink.covered == [Covered("spot", "btcusdt", first + a, first + b, s, "1m") for a, b, s in ranges]


async def test_a_refused_candle_is_not_proven_and_its_neighbours_are() -> None:
    bench = Bench(MemorySink(refuses=lambda line: b"12:02" in line))
    async with bench.running():
        for minute in range(1, 6):
            bench.writer.add_candle(candle(minute))
        await bench.writer.flush()
    noon = Timeframe.M1.slot(NOW_NS)
    proven = {slot - noon for each in bench.sink.covered for slot in range(each.first, each.last + 1)}
    assert proven == {1, 3, 4, 5}


@pytest.mark.parametrize("ahead_ms", [None, 21_000.0, -21_000.0])
async def test_lags_are_measured_from_arrival_and_from_the_event(ahead_ms: float | None) -> None:
    """What is known of the difference of the clocks is no lag."""
    bench = Bench()
    bench.stats.clock = ClockView(ahead_ms=ahead_ms, unsure_ms=30.0)
    off_ns = int((ahead_ms or 0.0) * 1e6)
    clock = bench.clock
    assert isinstance(clock, SetClock)
    async with bench.running():
        for number in range(200):
            received_ns, event_ns = clock.ns - 10_000_000, clock.ns - off_ns - 1_000_000_000
            bench.writer.add_trades(Chunk(row(number), 1, received_ns=received_ns, event_ns=event_ns))
        await bench.writer.flush()
    assert 10 <= (bench.stats.commit_lag.quantile(0.5) or 0) <= 12.5
    assert 1000 <= (bench.stats.event_lag.quantile(0.5) or 0) <= 1250
    assert bench.stats.commit_lag.count >= 60


async def test_a_batch_is_told_with_its_rows_and_duplicates() -> None:
    bench = Bench()
    async with bench.running():
        bench.give([1, 2])
        await bench.writer.flush()
        bench.give([2, 3])
        await bench.writer.flush()
    assert [(e.rows, e.duplicates) for e in bench.journal.of(events.BatchStored)] == [(2, 0), (1, 1)]
    assert (bench.stats.trades_written, bench.stats.trades_duplicate, bench.stats.rows_written) == (3, 1, 3)


# -- cancelling -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("turns", range(40))
async def test_cancelling_at_any_turn_loses_nothing(turns: int) -> None:
    refused = {3, 11}
    bench = Bench(MemorySink(refuses=lambda line: number_of(line) in refused), batch_size=8, merge=1)
    task = asyncio.create_task(bench.writer.run())
    bench.give(range(20))
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task})
    aside = [number_of(raw) for _, raw, _ in bench.quarantine.kept]
    left = bench.left()
    # a commit that was under way may be in both; nothing is in none, and the order is kept
    assert sorted({*bench.stored(), *left, *aside}) == list(range(20))
    assert left == sorted(left)
    assert not set(left) & set(aside)
    assert bench.left() == left  # to ask changes nothing
    # and a second run takes up where the first was stopped
    async with bench.running():
        await bench.writer.flush()
    assert bench.stored() == [number for number in range(20) if number not in refused]
    assert sorted(number_of(raw) for _, raw, _ in bench.quarantine.kept) == sorted(refused)


async def test_a_sink_that_hangs_leaves_its_rows_to_be_saved() -> None:
    bench = Bench(batch_size=2)
    bench.sink.gate.clear()
    async with bench.running():
        bench.give(range(5))
        await until(lambda: bench.sink.writing)
    assert bench.left() == [0, 1, 2, 3, 4]
    assert bench.stats.pending_trades == 5


async def test_a_bug_in_the_sink_ends_the_run_loudly_with_the_rows_kept() -> None:
    bench = Bench(MemorySink(failures=[ZeroDivisionError("bug")]), batch_size=3)
    bench.give(range(4))
    with pytest.raises(ExceptionGroup) as caught:
        await asyncio.wait_for(bench.writer.run(), 2)
    assert caught.group_contains(ZeroDivisionError)
    assert bench.left() == [0, 1, 2, 3]


async def test_a_sink_that_loses_the_answer_may_be_told_twice_and_stores_once() -> None:
    class Forgetful(MemorySink):
        async def write(self, batch: Batch) -> Receipt:
            receipt = await super().write(batch)
            if len(self.batches) == 1:
                raise StoreUnavailable("the connection broke after the commit")
            return receipt

    bench = Bench(Forgetful(), batch_size=3)
    async with bench.running():
        bench.give(range(3))
        await until(lambda: bench.writer.pending == 0)
    assert bench.stored() == [0, 1, 2]
    assert (bench.stats.trades_written, bench.stats.trades_duplicate, bench.stats.pending_trades) == (0, 3, 0)

    bench = Bench(Forgetful(), batch_size=1)
    async with bench.running():
        bench.writer.add_candle(candle(1))
        await bench.writer.flush()
    assert bench.journal.of(events.CandleStored) == [stored_candle(1)]


# -- what a batch proves ------------------------------------------------------------------------------------


def proven(sink: MemorySink) -> list[int]:
    return sorted(number for each in sink.covered for number in range(each.first, each.last + 1))


async def test_a_batch_proves_the_ids_of_its_rows() -> None:
    bench = Bench(batch_size=3)
    async with bench.running():
        bench.give([1, 2, 3, 7, 8, 5])
        await bench.writer.flush()
    assert proven(bench.sink) == sorted(bench.stored()) == [1, 2, 3, 5, 7, 8]
    assert {(each.venue, each.symbol, each.source) for each in bench.sink.covered} == {
        ("spot", "btcusdt", Source.STREAM)
    }


async def test_a_row_that_is_set_aside_is_not_proven() -> None:
    bad = {3, 4, 11}
    bench = Bench(MemorySink(refuses=lambda line: number_of(line) in bad))
    async with bench.running():
        bench.give(range(16))
        await bench.writer.flush()
    good = [number for number in range(16) if number not in bad]
    assert proven(bench.sink) == sorted(bench.stored()) == good
    for batch in bench.sink.batches:
        ids = [number for each in batch.covered for number in range(each.first, each.last + 1)]
        assert sorted(ids) == sorted(map(number_of, batch.rows))


async def test_a_batch_that_is_tried_again_proves_its_ids_once() -> None:
    bench = Bench(MemorySink(failures=[StoreUnavailable("away", subject="trades")]))
    async with bench.running():
        bench.give([1, 2])
        await bench.writer.flush()
    assert proven(bench.sink) == [1, 2]


async def test_an_id_that_is_rightly_without_a_row_is_proven_all_the_same() -> None:
    bench = Bench()
    void = bench.writer.series("spot", "btcusdt", Source.VOID)
    async with bench.running():
        bench.give([1])
        bench.writer.add_trades(Chunk(b"", 1, ((void, 2, 2),), received_ns=NOW_NS))
        bench.give([3])
        await bench.writer.flush()
        bench.writer.add_trades(Chunk(b"", 1, ((void, 4, 4),), received_ns=NOW_NS))
        await bench.writer.flush()
    assert bench.stored() == [1, 3]
    assert sorted((each.first, each.last, each.source) for each in bench.sink.covered) == [
        (1, 1, Source.STREAM), (2, 2, Source.VOID), (3, 3, Source.STREAM), (4, 4, Source.VOID),
    ]  # fmt: skip
    assert bench.stats.pending_trades == bench.writer.pending == 0


def test_what_is_left_over_proves_nothing_and_holds_rows_alone() -> None:
    bench = Bench()
    bench.give([1])
    bench.writer.add_trades(Chunk(b"", 1, ((bench.writer.series("spot", "btcusdt", Source.VOID), 2, 2),)))
    assert bench.writer.unstored() == [Batch(Table.TRADES, [row(1)])]
    alone = Bench()
    alone.writer.add_trades(Chunk(b"", 1, ((alone.series, 2, 2),)))
    assert alone.writer.unstored() == []


async def test_a_trade_given_as_a_value_names_its_source() -> None:
    bench = Bench()
    trade = AggTrade(
        venue=Venue.SPOT, symbol="btcusdt", trade_id=7, price="1", quantity="1", first_trade_id=1, last_trade_id=1,
        time_ns=NOW_NS, is_buyer_maker=True, received_ns=None,
    )  # fmt: skip
    async with bench.running():
        bench.writer.add_trade(trade, Source.REST)
        await bench.writer.flush()
    assert bench.sink.covered == [Covered("spot", "btcusdt", 7, 7, Source.REST)]


async def test_conflicting_trades_are_kept_counted_and_told_once() -> None:
    bench = Bench(MemorySink(conflicts=lambda line: number_of(line) in (2, 3)))
    async with bench.running():
        bench.give([1, 2, 3, 4])
        await bench.writer.flush()
    assert bench.stored() == [1, 4]
    assert [(kind, raw) for kind, raw, _ in bench.quarantine.kept] == [("row", row(2)), ("row", row(3))]
    stats = bench.stats
    assert (stats.trades_written, stats.trades_set_aside, stats.trades_conflicting) == (2, 2, 2)
    assert stats.pending_trades == 0
    told = bench.journal.of(events.TradesConflicting)
    assert [(event.rows, event.row) for event in told] == [(2, row(2).decode().rstrip("\n"))]
