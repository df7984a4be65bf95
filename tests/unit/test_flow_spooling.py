"""Writer, spool and replay together: where rows go while the store is away, slow or picky, and that all add up."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest
from flow_doubles import NOW_NS, Journal, MemoryQuarantine, MemorySink, SetClock, until
from hypothesis import given, settings
from hypothesis import strategies as st
from spool_doubles import ForgetfulDisk, ForgetfulFiles

from crypto_quant import events
from crypto_quant.continuity import Gap, RangeSet
from crypto_quant.errors import StoreDenied, StoreUnavailable
from crypto_quant.flow import replay as replay_module
from crypto_quant.flow import writer as writer_module
from crypto_quant.flow.chunk import Chunk
from crypto_quant.flow.spool import Spool
from crypto_quant.flow.stats import PipelineStats
from crypto_quant.flow.writer import TimescaleWriter
from crypto_quant.market import Timeframe
from crypto_quant.seams import Batch, Covered, Receipt, Source, Table
from crypto_quant.spoolformat import SpoolRecord


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "_FIRST_RETRY_S", 0.001)
    monkeypatch.setattr(writer_module, "_LAST_RETRY_S", 0.004)
    monkeypatch.setattr(replay_module, "_FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(replay_module, "_LAST_PAUSE_S", 0.004)


class Database(MemorySink):
    """A sink that is away while ``away`` is set; tables in ``missing`` fail alone."""

    def __init__(self, refuses: Callable[[bytes], bool] = lambda _: False) -> None:
        super().__init__(refuses=refuses)
        self.away: Exception | None = None
        self.missing: set[Table] = set()

    async def write(self, batch: Batch) -> Receipt:
        if (away := self.away) is not None:
            await asyncio.sleep(0)
            raise away
        if batch.table in self.missing:
            raise StoreUnavailable("relation does not exist", subject=batch.table.value)
        return await super().write(batch)


class Bench:
    """A writer with a spool on a disk in memory."""

    def __init__(
        self,
        disk: ForgetfulDisk | None = None,
        sink: Database | None = None,
        *,
        limit: int = 10**9,
        batch_size: int = 5,
    ) -> None:
        self.sink = sink or Database()
        self.disk = disk or ForgetfulDisk()
        self.stats = PipelineStats(0)
        self.journal = Journal()
        self.quarantine = MemoryQuarantine()
        self.clock = SetClock()
        self.spool = Spool(ForgetfulFiles(self.disk), limit_bytes=limit, segment_bytes=2000, emit=self.journal)
        self.writer = TimescaleWriter(
            self.sink,
            batch_size=batch_size,
            max_age_s=0.001,
            merge=3,
            stats=self.stats,
            clock=self.clock,
            quarantine=self.quarantine,
            emit=self.journal,
            rng=random.Random(1),  # noqa: S311
            spool=self.spool,
        )

    async def opened(self) -> "Bench":
        await self.spool.open()
        self.stats.trades_taken_over = self.spool.rows[Table.TRADES]
        self.stats.candles_taken_over = self.spool.rows[Table.CANDLES]
        return self

    def give(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            self.stats.trades_received += 1
            series = self.writer.series("spot", "btcusdt", Source.STREAM)
            run = series, number, number
            self.writer.add_trades(Chunk(row(number), 1, (run,), received_ns=self.clock.now_ns(), event_ns=NOW_NS))

    def give_candle(self, minute: int) -> None:
        self.stats.candles_received += 1
        line = b"2026-10-01 12:%02d:00+00\tspot\tbtcusdt\t1m\n" % minute
        self.writer.add_candles(Chunk(line, 1, told=(told(minute),)))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.writer.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})
            if not task.cancelled():
                task.result()  # a room that has failed says why

    def stored(self) -> list[int]:
        return [number_of(line) for line in self.sink.rows[Table.TRADES]]

    def check(self) -> None:
        """Hold the counts against each other and against where the rows are."""
        stats = self.stats
        assert stats.pending_trades + stats.pending_candles == self.writer.pending
        assert self.writer.pending == self.writer.in_memory + len(self.spool)


def row(number: int) -> bytes:
    return f"2026-10-01 12:00:00.000000+00\tspot\tbtcusdt\t{number}\t1.0\t1.0\t1\t1\tt\t\\N\n".encode()


def number_of(line: bytes) -> int:
    return int(line.split(b"\t")[3])


def told(minute: int) -> events.CandleStored:
    return events.CandleStored(
        symbol="btcusdt", timeframe="1m", open_time=f"2026-10-01T12:{minute:02}:00Z", close="1", volume="1", trades=1,
        source="stream", venue="spot",
    )  # fmt: skip


async def settled(bench: Bench) -> None:
    async with asyncio.timeout(5):
        await bench.writer.flush()


# -- away and back ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [StoreUnavailable("connection refused"), StoreDenied("right revoked")])
async def test_rows_go_to_the_disk_while_the_store_is_away_and_come_back(error: Exception) -> None:
    bench = await Bench().opened()
    bench.sink.away = error
    async with bench.running():
        bench.give(range(40))
        bench.give_candle(1)
        await until(lambda: bench.stats.spooled_rows == 41)
        assert bench.writer.in_memory == 0
        assert (bench.writer.pending, bench.stats.pending_trades, bench.stored()) == (41, 40, [])
        await until(lambda: bench.stats.store_failures > 20)
        bench.check()
        assert bench.journal.of(events.CandleStored) == []
        bench.sink.away = None
        await settled(bench)
        assert bench.disk.names == {}
        bench.give(range(40, 50))
        await settled(bench)
    assert bench.stored() == list(range(50))
    assert bench.journal.of(events.CandleStored) == [told(1)]
    assert bench.stats.replayed_rows == 41
    assert bench.stats.trades_duplicate == 0
    bench.check()
    assert [event.rows for event in bench.journal.of(events.SpoolReplayed)] == [41]
    assert {event.table for event in bench.journal.of(events.StoreBack)} == {"trades", "candles"}
    assert len(bench.journal.of(events.Spooling)) == 1
    # dozens of failures, one line for each table
    assert len(bench.journal.of(events.StoreLost)) == 2


async def test_live_rows_go_straight_to_the_store_while_the_spool_is_replayed() -> None:
    bench = await Bench().opened()
    for number in range(100):
        await bench.spool.put(SpoolRecord(Table.TRADES, [row(number)]))
    bench.stats.trades_taken_over = 100
    bench.sink.gate.clear()
    async with bench.running():
        await until(lambda: bench.sink.writing == 1)  # the replay is held up
        bench.give([1000])
        await until(lambda: bench.sink.writing == 2)
        bench.sink.gate.set()
        await settled(bench)
    assert bench.stats.spooled_rows == 0
    assert sorted(bench.stored()) == [*range(100), 1000]
    bench.check()


async def test_a_missing_table_does_not_hold_up_the_other() -> None:
    bench = await Bench().opened()
    bench.sink.missing = {Table.TRADES}
    async with bench.running():
        bench.give(range(10))
        await until(lambda: bench.stats.spooled_rows == 10)
        for minute in range(5):
            bench.give_candle(minute)
            await until(lambda minute=minute: bench.stats.candles_written == minute + 1)
        assert bench.stats.spooled_rows == 10
        assert [event.table for event in bench.journal.of(events.StoreLost)] == ["trades"]
        assert bench.journal.of(events.StoreBack) == []
        bench.sink.missing = set()
        await settled(bench)
    assert bench.stored() == list(range(10))
    bench.check()


async def test_a_store_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "_PATIENCE_S", 0.03)
    bench = await Bench().opened()
    bench.sink.gate.clear()
    async with bench.running():
        bench.give(range(5))
        await until(lambda: bench.stats.spooled_rows == 5)
        bench.give(range(5, 10))
        await until(lambda: bench.stats.spooled_rows == 10)
        assert "no answer within 0.03 s" in bench.journal.of(events.StoreLost)[0].cause
        bench.sink.gate.set()
        await settled(bench)
    assert bench.stored() == list(range(10))
    bench.check()


async def test_a_store_that_commits_after_all_makes_duplicates_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(writer_module, "_PATIENCE_S", 0.01)

    class Late(Database):
        async def write(self, batch: Batch) -> Receipt:
            receipt = await super().write(batch)
            if len(self.batches) == 1:
                await asyncio.sleep(0.05)  # committed, and the answer does not come
            return receipt

    bench = await Bench(sink=Late()).opened()
    async with bench.running():
        bench.give(range(5))
        await until(lambda: bench.stats.spooled_rows == 5)
        await settled(bench)
    assert bench.stored() == list(range(5))
    assert (bench.stats.trades_written, bench.stats.trades_duplicate) == (0, 5)
    bench.check()


async def test_a_store_slower_than_the_market_fills_the_spool_and_not_the_memory() -> None:
    bench = await Bench().opened()
    bench.sink.gate.clear()
    async with bench.running():
        bench.give(range(5))
        await until(lambda: bench.sink.writing == 1)
        bench.give(range(5, 500))
        bench.clock.ns += 3_000_000_000  # what waits is three seconds old by now
        bench.sink.gate.set()
        await settled(bench)
    assert bench.stats.spooled_rows > 400
    assert [event.cause for event in bench.journal.of(events.Spooling)] == ["the database is slower than the market"]
    assert bench.journal.of(events.StoreLost) == []
    assert sorted(bench.stored()) == list(range(500))
    bench.check()


async def test_a_backlog_that_is_young_stays_in_memory() -> None:
    bench = await Bench().opened()
    bench.sink.gate.clear()
    async with bench.running():
        bench.give(range(500))
        bench.sink.gate.set()
        await settled(bench)
    assert bench.stats.spooled_rows == 0


# -- a spool that takes nothing ---------------------------------------------------------------------------


async def test_with_a_full_spool_rows_wait_in_memory_and_are_tried_again() -> None:
    bench = await Bench(limit=1500).opened()
    bench.sink.away = StoreUnavailable("down")
    async with bench.running():
        bench.give(range(200))
        await until(lambda: bench.journal.of(events.SpoolRefused))
        bench.check()
        held = bench.writer.in_memory
        assert 100 < held < 200
        refused = bench.journal.of(events.SpoolRefused)
        assert len(refused) == 1
        assert "the spool is full" in refused[0].cause
        bench.sink.away = None
        await settled(bench)
    assert sorted(bench.stored()) == list(range(200))
    bench.check()


async def test_with_a_failing_disk_rows_wait_in_memory_and_nothing_is_dropped() -> None:
    bench = await Bench().opened()
    bench.disk.fails = lambda _number, call: call == "sync"
    bench.sink.away = StoreUnavailable("down")
    async with bench.running():
        bench.give(range(20))
        await until(lambda: bench.journal.of(events.SpoolRefused))
        assert (bench.writer.in_memory, len(bench.spool)) == (20, 0)
        bench.disk.fails = lambda _number, _call: False
        await until(lambda: bench.stats.spooled_rows == 20)
        bench.sink.away = None
        await settled(bench)
    assert bench.stored() == list(range(20))
    bench.check()


async def test_a_disk_that_cannot_delete_or_read_delays_the_replay_and_counts_nothing_twice() -> None:
    bench = await Bench().opened()
    bench.sink.away = StoreUnavailable("down")
    async with bench.running():
        bench.give(range(20))
        await until(lambda: bench.stats.spooled_rows == 20)
        refusing = {"read", "remove"}
        bench.disk.fails = lambda _number, call: call in refusing
        bench.sink.away = None
        await until(lambda: bench.journal.of(events.SpoolRefused))
        refusing.discard("read")
        await settled(bench)
    assert bench.disk.names  # the next start finds them, and stores nothing twice
    assert (bench.stats.trades_written, bench.stats.trades_duplicate, bench.stats.replayed_rows) == (20, 0, 20)
    bench.check()


async def test_rows_that_rotted_on_the_disk_are_counted_as_set_aside() -> None:
    bench = await Bench().opened()
    bench.sink.away = StoreUnavailable("down")
    async with bench.running():
        bench.give(range(5))
        await until(lambda: bench.stats.spooled_rows == 5)
    bench.give(range(5, 10))
    await bench.writer.put_away()
    last = bench.disk.names[max(bench.disk.names)]
    last.content[-3] ^= 1
    bench.sink.away = None
    missing = []
    bench.writer.on_missing = lambda *ids: missing.append(ids)
    async with bench.running():
        await settled(bench)
    assert bench.stored() == list(range(5))
    assert missing == [("spot", "btcusdt", Gap(5, 9))]
    assert bench.stats.trades_set_aside == 5
    assert len(bench.journal.of(events.SpoolDamaged)) == 1
    bench.check()


# -- refused rows -----------------------------------------------------------------------------------------


@given(st.integers(1, 40), st.data())
@settings(max_examples=60, deadline=None)
def test_exactly_the_refused_rows_of_the_spool_are_set_aside(count: int, data: st.DataObject) -> None:
    refused = data.draw(st.sets(st.integers(0, count - 1)))
    cuts = sorted(data.draw(st.sets(st.integers(1, count))) | {count})

    async def run() -> Bench:
        bench = await Bench(sink=Database(refuses=lambda line: number_of(line) in refused)).opened()
        first = 0
        for cut in cuts:
            covered = (Covered("spot", "btcusdt", first, cut - 1, Source.STREAM),)
            await bench.spool.put(SpoolRecord(Table.TRADES, [row(n) for n in range(first, cut)], covered))
            first = cut
        bench.stats.trades_taken_over = count
        async with bench.running():
            await settled(bench)
        return bench

    bench = asyncio.run(run())
    kept = [number for number in range(count) if number not in refused]
    assert sorted(bench.stored()) == kept
    assert sorted(number_of(raw) for _, raw, _ in bench.quarantine.kept) == sorted(refused)
    assert bench.stats.trades_set_aside == len(refused)
    # every id that is stored is claimed, once, and no other
    assert sorted(n for each in bench.sink.covered for n in range(each.first, each.last + 1)) == kept
    bench.check()


async def test_nothing_is_claimed_before_its_rows_are_stored() -> None:
    class Careful(Database):
        async def write(self, batch: Batch) -> Receipt:
            receipt = await super().write(batch)
            stored = {number_of(line) for line in self.rows[Table.TRADES]}
            assert all(set(range(each.first, each.last + 1)) <= stored for each in batch.covered)
            return receipt

    bench = await Bench(sink=Careful(refuses=lambda line: number_of(line) == 130)).opened()
    covered = (Covered("spot", "btcusdt", 100, 199, Source.STREAM),)
    await bench.spool.put(SpoolRecord(Table.TRADES, [row(number) for number in range(100, 200)], covered))
    bench.stats.trades_taken_over = 100
    bench.writer._replayer._rows_most = 40  # type: ignore[union-attr]
    async with bench.running():
        await settled(bench)
    assert RangeSet((each.first, each.last) for each in bench.sink.covered).ranges() == [(100, 129), (131, 199)]


async def test_rows_that_are_divided_prove_their_ids_with_them() -> None:
    """Only what is covered shows the store that a trade is told again with another time."""

    class Careful(Database):
        async def write(self, batch: Batch) -> Receipt:
            receipt = await super().write(batch)
            proven = {number for each in self.covered for number in range(each.first, each.last + 1)}
            assert {number_of(line) for line in batch.rows} <= proven
            return receipt

    bench = await Bench(sink=Careful(refuses=lambda line: number_of(line) == 130)).opened()
    covered = (Covered("spot", "btcusdt", 100, 150, Source.STREAM), Covered("spot", "btcusdt", 151, 199, Source.STREAM))
    await bench.spool.put(SpoolRecord(Table.TRADES, [row(number) for number in range(100, 200)], covered))
    bench.stats.trades_taken_over = 100
    bench.writer._replayer._rows_most = 40  # type: ignore[union-attr]
    async with bench.running():
        await settled(bench)
    assert len(bench.stored()) == 99


# -- the end and the next beginning -----------------------------------------------------------------------


async def test_what_is_in_memory_at_the_end_goes_to_the_spool_and_the_next_run_stores_it() -> None:
    bench = await Bench().opened()
    bench.sink.gate.clear()
    async with bench.running():
        bench.give(range(33))
        bench.give_candle(7)
        await until(lambda: bench.sink.writing)
    await bench.writer.put_away()
    assert bench.writer.unstored() == []
    assert bench.writer.pending == 34
    bench.check()
    again = await Bench(bench.disk.after_crash()).opened()
    assert again.stats.pending_trades == 33
    async with again.running():
        await settled(again)
    assert again.stored() == list(range(33))
    assert again.journal.of(events.CandleStored) == [told(7)]
    assert (again.stats.trades_received, again.stats.trades_taken_over, again.stats.trades_written) == (0, 33, 33)
    ids = [n for each in again.sink.covered if not each.timeframe for n in range(each.first, each.last + 1)]
    assert ids == list(range(33))
    slot = Timeframe.M1.slot(NOW_NS) + 7
    assert [each for each in again.sink.covered if each.timeframe] == [
        Covered("spot", "btcusdt", slot, slot, Source.STREAM, "1m")
    ]
    again.check()


async def test_a_refused_candle_from_the_spool_is_not_proven_and_its_neighbours_are() -> None:
    """Also in records that were written before candles were proven: what is to be told of them says which they are."""
    bench = await Bench(sink=Database(refuses=lambda line: b"12:02" in line)).opened()
    lines = [b"2026-10-01 12:%02d:00+00\tspot\tbtcusdt\t1m\n" % minute for minute in range(5)]
    await bench.spool.put(SpoolRecord(Table.CANDLES, lines, (), tuple(told(minute) for minute in range(5))))
    bench.stats.candles_taken_over = 5
    async with bench.running():
        await settled(bench)
    noon = Timeframe.M1.slot(NOW_NS)
    assert {n - noon for each in bench.sink.covered for n in range(each.first, each.last + 1)} == {0, 1, 3, 4}
    assert bench.journal.of(events.CandleStored) == [told(minute) for minute in (0, 1, 3, 4)]
    assert bench.stats.candles_set_aside == 1


async def test_ids_without_rows_go_through_the_spool_as_well() -> None:
    bench = await Bench().opened()
    bench.sink.away = StoreUnavailable("down")
    void = bench.writer.series("spot", "btcusdt", Source.VOID)
    async with bench.running():
        bench.give([1])
        bench.writer.add_trades(Chunk(b"", 1, ((void, 2, 2),), received_ns=NOW_NS))
        bench.give([3])
        await until(lambda: bench.writer.in_memory == 0)
        assert (bench.stats.spooled_rows, bench.stats.pending_trades) == (2, 2)
        bench.sink.away = None
        await settled(bench)
    assert bench.stored() == [1, 3]
    proven = {(each.first, each.last, each.source) for each in bench.sink.covered}
    assert proven == {(1, 1, Source.STREAM), (2, 2, Source.VOID), (3, 3, Source.STREAM)}
    bench.check()


async def test_trades_of_the_spool_that_conflict_are_set_aside() -> None:
    bench = await Bench().opened()
    bench.sink.conflicts = lambda line: number_of(line) == 3
    bench.sink.away = StoreUnavailable("down")
    async with bench.running():
        bench.give(range(6))
        await until(lambda: bench.writer.in_memory == 0)
        bench.sink.away = None
        await settled(bench)
    assert bench.stored() == [0, 1, 2, 4, 5]
    assert (bench.stats.trades_conflicting, bench.stats.trades_set_aside) == (1, 1)
    assert [number_of(raw) for _, raw, _ in bench.quarantine.kept] == [3]
    bench.check()


async def test_what_the_spool_does_not_take_at_the_end_is_left_to_the_caller() -> None:
    bench = await Bench().opened()
    bench.disk.fails = lambda _number, call: call == "write"
    bench.sink.away = StoreUnavailable("down")
    async with bench.running():
        bench.give(range(12))
        await until(lambda: bench.journal.of(events.SpoolRefused))
    await bench.writer.put_away()
    assert [number_of(line) for batch in bench.writer.unstored() for line in batch.rows] == list(range(12))
    bench.check()


@given(st.data())
@settings(max_examples=80, deadline=None)
def test_whatever_happens_the_counts_add_up_and_no_row_is_lost(data: st.DataObject) -> None:
    """Outages, refusals, a full or failing disk, ends at any turn and new lives: each row ends in one place."""
    refused = data.draw(st.sets(st.integers(0, 200), max_size=8))
    lives = data.draw(st.integers(1, 3))
    sink = Database(refuses=lambda line: number_of(line) in refused)
    disk = ForgetfulDisk()
    aside: set[int] = set()
    given_so_far = 0
    left: set[int] = set()

    async def live(last: bool) -> None:
        nonlocal given_so_far
        sink.gate = asyncio.Event()
        sink.gate.set()
        bench = await Bench(disk, sink, limit=data.draw(st.sampled_from([1500, 10**6]))).opened()
        failing = False
        disk.fails = lambda _number, call: failing and call in ("write", "sync")
        async with bench.running():
            for _ in range(data.draw(st.integers(1, 8))):
                match data.draw(st.sampled_from(["give", "give", "away", "back", "break", "mend", "wait"])):
                    case "give":
                        count = data.draw(st.integers(1, 20))
                        bench.give(range(given_so_far, given_so_far + count))
                        given_so_far += count
                    case "away":
                        sink.away = StoreUnavailable("down")
                    case "back":
                        sink.away = None
                    case "break":
                        failing = True
                    case "mend":
                        failing = False
                    case "wait":
                        await asyncio.sleep(0.003)
                for _ in range(data.draw(st.integers(0, 5))):
                    await asyncio.sleep(0)
                bench.check()
            if last:
                sink.away, failing = None, False
                await settled(bench)
        failing = False
        await bench.writer.put_away()
        left.update(number_of(line) for batch in bench.writer.unstored() for line in batch.rows)
        bench.check()
        aside.update(number_of(raw) for _, raw, _ in bench.quarantine.kept)

    for number in range(lives):
        asyncio.run(live(number == lives - 1))
    stored = [number_of(line) for line in sink.rows[Table.TRADES]]
    assert len(stored) == len(set(stored))
    assert set(stored) | aside | left == set(range(given_so_far))
    claimed = {number for each in sink.covered for number in range(each.first, each.last + 1)}
    assert set(stored) - left <= claimed <= set(stored)
    assert not set(stored) & aside
    assert aside <= refused
