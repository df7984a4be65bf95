"""The whole, from the first frame to the drain: the order of the end, and that nothing is lost on any way out."""

import asyncio
import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest
from flow_doubles import (
    FakeConnector,
    FakeLink,
    Journal,
    MemoryQuarantine,
    MemorySink,
    SetClock,
    agg_frame,
    kline_frame,
    until,
)

from crypto_quant import events
from crypto_quant.binance.venues import venue_spec
from crypto_quant.continuity import CandleClock
from crypto_quant.errors import CryptoQuantError, SchemaMismatch, StoreUnavailable
from crypto_quant.flow import collector as collector_module
from crypto_quant.flow import pipeline as pipeline_module
from crypto_quant.flow import writer as writer_module
from crypto_quant.flow.candles import CandleKeeper
from crypto_quant.flow.collector import BinanceWSCollector
from crypto_quant.flow.intake import Intake
from crypto_quant.flow.pipeline import Ending, Pipeline, next_look_s
from crypto_quant.flow.stats import PipelineStats
from crypto_quant.flow.writer import TimescaleWriter
from crypto_quant.market import Timeframe, Venue
from crypto_quant.seams import Batch, Table

FOUNDING_ORDER = ["stopped accepting", "flushed pending batches", "closed the WebSocket", "closed the database"]


@pytest.fixture(autouse=True)
def short_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "_FIRST_RETRY_S", 0.001)
    monkeypatch.setattr(writer_module, "_LAST_RETRY_S", 0.004)
    monkeypatch.setattr(pipeline_module, "_WATCH_S", 0.001)
    monkeypatch.setattr(collector_module, "_GOODBYE_S", 0.03)
    monkeypatch.setattr(collector_module, "Backoff", partial(collector_module.Backoff, base_s=0.001, cap_s=0.01))


class Bench:
    """A whole recorder of btcusdt on doubles."""

    def __init__(
        self,
        sink: MemorySink | None = None,
        *,
        batch_size: int = 1000,
        max_age_s: float = 30.0,
        save: Callable[[Sequence[Batch]], Sequence[events.RowsLeft]] | None = None,
        **limits: Any,
    ) -> None:
        self.sink = sink or MemorySink()
        self.connector = FakeConnector()
        self.journal = Journal()
        self.stats = PipelineStats(0)
        self.saved: list[Batch] = []
        rng = random.Random(1)  # noqa: S311
        clock = SetClock()
        self.quarantine = MemoryQuarantine()
        self.writer = TimescaleWriter(
            self.sink,
            batch_size=batch_size,
            max_age_s=max_age_s,
            merge=4,
            stats=self.stats,
            clock=clock,
            quarantine=self.quarantine,
            emit=self.journal,
            rng=rng,
        )
        self.intake = Intake(
            Venue.SPOT,
            ["btcusdt"],
            {("btcusdt", Timeframe.M1): CandleClock(Timeframe.M1, 10**10)},
            writer=self.writer,
            stats=self.stats,
            quarantine=self.quarantine,
            emit=self.journal,
        )
        self.collector = BinanceWSCollector(
            venue_spec(Venue.SPOT),
            [("btcusdt@aggTrade", "btcusdt@kline_1m")],
            self.intake,
            ws_url="ws://exchange",
            connector=self.connector,
            clock=clock,
            stats=self.stats,
            emit=self.journal,
            rng=rng,
        )
        self.keeper = CandleKeeper(self.intake, None, self.journal, tick_s=0.01)
        self.pipeline = Pipeline(
            collector=self.collector,
            writer=self.writer,
            keeper=self.keeper,
            sink=self.sink,
            stats=self.stats,
            emit=self.journal,
            save_leftover=save or self.save,
            **({"drain_s": 1.0, "stats_interval_s": 60.0} | limits),
        )

    def save(self, batches: Sequence[Batch]) -> list[events.RowsLeft]:
        self.saved += batches
        return [events.RowsLeft(rows=len(b.rows), file=f"{b.table}.copy", hint="load it") for b in batches]

    async def start(self, duration_s: float | None = None) -> tuple[asyncio.Task[Ending], FakeLink]:
        task = asyncio.create_task(self.pipeline.run(duration_s))
        await until(lambda: self.connector.links and self.connector.links[0].sent)
        return task, self.connector.links[0]

    def stored(self) -> list[int]:
        return [int(line.split(b"\t")[3]) for line in self.sink.rows[Table.TRADES]]

    def kept(self) -> list[int]:
        return [int(line.split(b"\t")[3]) for batch in self.saved if batch.table is Table.TRADES for line in batch.rows]


async def ends(task: asyncio.Task[Ending]) -> Ending:
    return await asyncio.wait_for(task, 2)


async def test_stop_drains_in_the_founding_order_and_stores_everything() -> None:
    bench = Bench()
    task, link = await bench.start()
    for number in range(10):
        link.say(agg_frame(number, first=1))
    link.say(kline_frame())
    assert bench.stored() == []
    assert not bench.pipeline.stopping
    bench.pipeline.stop()
    assert bench.pipeline.stopping
    assert await ends(task) is Ending.DRAINED
    assert bench.stored() == list(range(10))
    assert len(bench.sink.rows[Table.CANDLES]) == 1
    assert bench.journal.steps() == FOUNDING_ORDER
    assert bench.sink.closed == 1
    assert link.ended
    assert bench.saved == []


async def test_the_final_statistics_come_last_and_add_up() -> None:
    bench = Bench()
    task, link = await bench.start()
    link.say(agg_frame(1))
    link.say(agg_frame(1))
    bench.pipeline.stop()
    await ends(task)
    final = bench.journal.events[-1]
    assert final is bench.pipeline.final
    assert final["event"] == "Final statistics"
    assert (final["trades_received"], final["trades_written"], final["pending_trades"]) == (2, 1, 0)
    assert (final["links"], final["pool_limit"]) == (0, 4)


async def test_each_step_of_the_drain_finds_the_world_in_order() -> None:
    """While the batches are flushed the WebSocket is open, and it is closed before the database is."""
    bench = Bench()
    task, link = await bench.start()
    seen: list[tuple[str, bool, int]] = []
    told = bench.journal.__class__.__call__

    def look(event: object) -> None:
        if isinstance(event, events.DrainStep):
            seen.append((event.step, link.ended, bench.sink.closed))
        told(bench.journal, event)

    bench.pipeline._emit = look
    link.say(agg_frame(1))
    bench.pipeline.stop()
    await ends(task)
    assert seen == [
        ("stopped accepting", False, 0),
        ("flushed pending batches", False, 0),
        ("closed the WebSocket", True, 0),
        ("closed the database", True, 1),
    ]


async def test_a_frame_after_stop_is_not_half_taken() -> None:
    bench = Bench()
    bench.sink.gate.clear()
    task, link = await bench.start()
    link.say(agg_frame(1))
    bench.pipeline.stop()
    await until(bench.journal.steps)
    link.say(agg_frame(2))
    bench.sink.gate.set()
    assert await ends(task) is Ending.DRAINED
    assert bench.stored() == [1]
    assert bench.pipeline.final["trades_received"] == 1


async def test_the_duration_ends_in_the_same_drain() -> None:
    bench = Bench()
    task, link = await bench.start(0.05)
    link.say(agg_frame(1))
    assert await ends(task) is Ending.DRAINED
    assert bench.stored() == [1]
    assert bench.journal.steps() == FOUNDING_ORDER


async def test_statistics_are_reported_on_their_interval() -> None:
    bench = Bench(stats_interval_s=0.01)
    task, _ = await bench.start()
    await until(lambda: sum(isinstance(event, dict) for event in bench.journal.events) >= 3)
    bench.pipeline.stop()
    await ends(task)
    reports = [event for event in bench.journal.events if isinstance(event, dict)]
    assert {report["event"] for report in reports[:-1]} == {"Pipeline statistics"}
    assert reports[0]["pool_limit"] == 4


# -- an end that cannot store everything ------------------------------------------------------------------


async def test_a_dead_store_is_given_up_at_the_deadline_and_its_rows_are_saved() -> None:
    bench = Bench(batch_size=2, drain_s=0.03)
    bench.sink.failures.extend(StoreUnavailable("down") for _ in range(10_000))
    task, link = await bench.start()
    for number in range(5):
        link.say(agg_frame(number, first=1))
    link.say(kline_frame())
    bench.pipeline.stop()
    assert await ends(task) is Ending.LEFT
    assert bench.kept() == [0, 1, 2, 3, 4]
    assert [batch.table for batch in bench.saved] == [Table.TRADES, Table.CANDLES]
    left = bench.journal.of(events.RowsLeft)
    assert [(event.rows, event.file) for event in left] == [(5, "trades.copy"), (1, "candles.copy")]
    assert bench.pipeline.final["pending_trades"] == 5
    assert bench.journal.steps() == FOUNDING_ORDER
    assert bench.journal.of(events.Draining) == []  # it was over before there was something to tell
    assert bench.sink.closed == 1


async def test_abort_cuts_the_wait_short() -> None:
    bench = Bench(drain_s=60.0)
    bench.sink.gate.clear()
    task, link = await bench.start()
    link.say(agg_frame(7))
    bench.pipeline.stop()
    await until(lambda: bench.sink.writing)
    assert not task.done()
    bench.pipeline.abort()
    assert await ends(task) is Ending.LEFT
    assert bench.kept() == [7]


async def test_a_long_drain_tells_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline_module, "_FLUSH_TOLD_S", 0.01)
    bench = Bench(drain_s=60.0)
    bench.sink.gate.clear()
    task, link = await bench.start()
    link.say(agg_frame(7))
    bench.pipeline.stop()
    await until(lambda: len(bench.journal.of(events.Draining)) > 2)
    bench.sink.gate.set()
    assert await ends(task) is Ending.DRAINED
    told = bench.journal.of(events.Draining)
    assert {each.pending for each in told} == {1}
    left = [each.deadline_s for each in told]
    assert left == sorted(left, reverse=True)
    assert 0 < left[-1] <= left[0] <= 60
    assert bench.kept() == []


async def test_abort_alone_stops_as_well() -> None:
    bench = Bench()
    bench.sink.gate.clear()
    task, link = await bench.start()
    link.say(agg_frame(7))
    bench.pipeline.abort()
    assert await ends(task) is Ending.LEFT
    assert bench.kept() == [7]


async def test_leftovers_that_cannot_be_saved_are_an_error_after_an_orderly_end() -> None:
    def full(batches: Sequence[Batch]) -> list[events.RowsLeft]:
        raise OSError(28, "No space left on device")

    bench = Bench(save=full)
    bench.sink.gate.clear()
    task, link = await bench.start()
    link.say(agg_frame(7))
    bench.pipeline.abort()
    with pytest.raises(CryptoQuantError, match="rows are lost") as caught:
        await ends(task)
    assert "No space left" in str(caught.value)
    assert bench.journal.steps() == FOUNDING_ORDER
    assert bench.journal.events[-1]["event"] == "Final statistics"
    assert bench.sink.closed == 1


async def test_a_database_that_does_not_close_does_not_hold_up_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline_module, "_CLOSE_S", 0.02)
    bench = Bench()
    bench.sink.on_close = partial(asyncio.sleep, 60)
    task, _ = await bench.start()
    bench.pipeline.stop()
    assert await ends(task) is Ending.DRAINED
    assert bench.journal.steps()[-1] == "the database did not close in time"
    assert bench.pipeline.final


# -- a room that fails ------------------------------------------------------------------------------------


async def test_a_bug_in_the_sink_is_raised_after_the_rows_are_saved() -> None:
    bench = Bench(MemorySink(failures=[ZeroDivisionError("bug")]), batch_size=2)
    task, link = await bench.start()
    for number in range(3):
        link.say(agg_frame(number, first=1))
    with pytest.raises(ZeroDivisionError):
        await ends(task)
    assert bench.kept() == [0, 1, 2]
    assert bench.journal.steps() == FOUNDING_ORDER
    assert bench.pipeline.final["pending_trades"] == 3


async def test_an_error_of_ours_comes_out_as_itself() -> None:
    bench = Bench(MemorySink(failures=[SchemaMismatch("newer schema", hint="Update")]), batch_size=1)
    task, link = await bench.start()
    link.say(agg_frame(1))
    with pytest.raises(SchemaMismatch, match="newer schema"):
        await ends(task)
    assert bench.kept() == [1]


async def test_a_bug_in_the_intake_ends_the_run_with_what_was_taken_stored() -> None:
    bench = Bench()
    task, link = await bench.start()
    link.say(agg_frame(1))
    bench.intake._trades["BTCUSDT"] = None  # type: ignore[assignment]
    bench.intake._stats = None  # type: ignore[assignment]
    link.say(agg_frame(2))
    with pytest.raises(AttributeError):
        await ends(task)
    assert bench.stored() == [1]
    assert bench.journal.steps() == FOUNDING_ORDER


async def test_a_room_that_ends_well_ends_nothing() -> None:
    bench = Bench()
    bench.intake.clocks = {}  # nothing to watch: the keeper returns
    task, link = await bench.start()
    await asyncio.sleep(0.02)
    link.say(agg_frame(1))
    bench.pipeline.stop()
    assert await ends(task) is Ending.DRAINED
    assert bench.stored() == [1]


async def test_two_rooms_that_fail_at_once_are_both_told() -> None:
    group = ExceptionGroup("two", [ZeroDivisionError("a"), ExceptionGroup("in", [KeyError("b")])])
    assert pipeline_module._innermost(group) is group
    assert isinstance(pipeline_module._innermost(group.exceptions[1]), KeyError)


async def test_cancelling_the_run_drains_too() -> None:
    bench = Bench()
    task, link = await bench.start()
    link.say(agg_frame(1))
    task.cancel()
    await asyncio.wait({task}, timeout=2)
    assert task.cancelled()
    assert bench.stored() == [1]
    assert bench.journal.steps() == FOUNDING_ORDER


async def test_cancelling_twice_still_saves_what_is_not_stored() -> None:
    bench = Bench(drain_s=60.0)
    bench.sink.gate.clear()
    task, link = await bench.start()
    link.say(agg_frame(1))
    task.cancel()
    await until(lambda: bench.sink.writing)
    task.cancel()
    await asyncio.wait({task}, timeout=2)
    assert task.done()
    assert bench.kept() == [1]
    assert bench.sink.closed == 1


# -- back-pressure ----------------------------------------------------------------------------------------


async def test_reading_pauses_over_the_limit_and_resumes_under_half_of_it() -> None:
    bench = Bench(batch_size=10, pending_limit=100)
    bench.sink.gate.clear()
    task, link = await bench.start()
    for number in range(101):
        link.say(agg_frame(number, first=1))
    await until(lambda: not link.reading)
    paused = bench.journal.of(events.ReadingPaused)
    assert [(event.pending, event.limit) for event in paused] == [(101, 100)]
    bench.sink.gate.set()
    await until(lambda: link.reading)
    assert bench.journal.of(events.ReadingResumed)[0].pending <= 50
    bench.pipeline.stop()
    assert await ends(task) is Ending.DRAINED
    assert bench.stored() == list(range(101))


def test_the_fewer_rows_wait_the_seldomer_it_is_looked_but_never_too_late() -> None:
    assert next_look_s(200_000) == 0.2
    assert next_look_s(0) == next_look_s(-5) == 0.001  # as `short_times` has it
    for room in (0, 1000, 20_000, 100_000, 200_000):
        assert next_look_s(room) * 1_000_000 <= max(room, 1000)


async def test_a_stop_while_paused_drains_all_the_same() -> None:
    bench = Bench(batch_size=10, pending_limit=100)
    bench.sink.gate.clear()
    task, link = await bench.start()
    for number in range(150):
        link.say(agg_frame(number, first=1))
    await until(lambda: not link.reading)
    bench.pipeline.stop()
    await asyncio.sleep(0.01)
    bench.sink.gate.set()
    assert await ends(task) is Ending.DRAINED
    assert bench.stored() == list(range(150))


async def test_links_may_come_and_go_without_a_trade_lost_or_doubled() -> None:
    bench = Bench(batch_size=7, max_age_s=0.001)
    task, link = await bench.start()
    told = 0
    for life in range(5):
        await until(lambda life=life: len(bench.connector.links) > life and bench.connector.links[life].sent)
        link = bench.connector.links[life]
        for number in range(max(0, told - 3), told + 20):  # each link tells some of the last again
            link.say(agg_frame(number, first=1))
        told += 20
        link.end(1006)
    bench.pipeline.stop()
    assert await ends(task) is Ending.DRAINED
    assert bench.stored() == list(range(100))
    assert bench.stats.gaps == 0
