"""Batches on their way into the store: retried while it is away, bisected when it refuses a row, never dropped."""

import asyncio
import random
from collections.abc import Sequence
from typing import Any

from crypto_quant import events
from crypto_quant.batch import Batcher
from crypto_quant.errors import StoreDenied, StoreRejected, StoreUnavailable
from crypto_quant.flow.proof import AllSeries, Series
from crypto_quant.flow.stats import PipelineStats
from crypto_quant.market import AggTrade, Candle, utc_text
from crypto_quant.rows import TimeText, agg_trade_row, candle_row
from crypto_quant.seams import Batch, Clock, Emit, Quarantine, Receipt, Sink, Source, Table

_FIRST_RETRY_S = 0.1
_LAST_RETRY_S = 5.0
# how many lags of one commit are looked at
_LAG_SAMPLES = 64


class _Lane:
    """One table's queue, and the task that empties it; commits in the order of arrival."""

    def __init__(self, table: Table, batcher: Batcher[Any]) -> None:
        self.table = table
        self.batcher = batcher
        self.wake = asyncio.Event()
        # taken from the batcher and not yet known to be stored, with their marks; an empty row is an id without one
        self.in_flight: list[bytes] = []
        self.marks: list[Any] = []
        self.done = 0  # rows stored or set aside so far
        self.progress = asyncio.Event()
        self.flushes = 0  # how many wait for this lane to be flushed

    def __len__(self) -> int:
        return len(self.batcher) + len(self.in_flight)

    def finished(self, count: int) -> None:
        """The oldest ``count`` rows in flight are stored or set aside."""
        self.in_flight, self.marks = self.in_flight[count:], self.marks[count:]
        self.done += count
        self.progress.set()


class TimescaleWriter:
    """Takes rows, commits them in batches of ``batch_size`` rows or of ``max_age_s``, whichever comes first.

    Each batch says which ids it proves: those of exactly the trades that it holds.
    Repeating a row changes nothing in the store. Rows wait in memory, in order, until they are committed; while the
    store is away they are tried again for ever, and ``pending`` tells whoever feeds the writer to hold back.
    ``run()`` does the work; ``add_trade`` and ``add_candle`` never block.
    """

    def __init__(
        self,
        sink: Sink,
        *,
        batch_size: int = 1000,
        max_age_s: float = 0.05,
        merge: int = 50,
        stats: PipelineStats,
        clock: Clock,
        quarantine: Quarantine,
        emit: Emit,
        rng: random.Random,
    ) -> None:
        self._sink = sink
        self._stats = stats
        self._clock = clock
        self._quarantine = quarantine
        self._emit = emit
        self._rng = rng
        age_ns = int(max_age_s * 1e9)
        self._trades = _Lane(Table.TRADES, Batcher(batch_size, age_ns, merge))
        self._candles = _Lane(Table.CANDLES, Batcher(batch_size, age_ns, merge))
        self._lanes = (self._trades, self._candles)
        self._times = TimeText()
        self._series = AllSeries()
        self._lost_since: float | None = None
        stats.batch_size = batch_size

    # -- giving ------------------------------------------------------------------------------------------

    def add_trade_row(self, row: bytes, received_ns: int, event_ns: int, series: int, trade_id: int) -> None:
        """Queue one ready-made row of ``trades``; both times are for the lags alone.

        Once it is stored, ``trade_id`` is covered. An empty row is an id that is rightly without one.
        """
        lane = self._trades
        count = lane.batcher.add(row, (received_ns, event_ns, series, trade_id), received_ns)
        if count == 1 or count == lane.batcher.size:
            lane.wake.set()

    def add_candle_row(self, row: bytes, stored: events.CandleStored) -> None:
        """Queue one ready-made row of ``candles``; ``stored`` is told once it is committed."""
        lane = self._candles
        count = lane.batcher.add(row, stored, self._clock.now_ns())
        if count == 1 or count == lane.batcher.size:
            lane.wake.set()

    def series(self, venue: str, symbol: str, source: Source) -> int:
        """Return the number that ``add_trade_row`` knows the series by; ask once and keep it."""
        return self._series.number(Series(venue, symbol, source))

    def add_trade(self, trade: AggTrade, source: Source = Source.STREAM) -> None:
        """Queue a trade given as a value."""
        received = self._clock.now_ns() if trade.received_ns is None else trade.received_ns
        self._stats.trades_received += 1
        series = self.series(trade.venue.value, trade.symbol, source)
        self.add_trade_row(agg_trade_row(trade, self._times), received, trade.time_ns, series, trade.trade_id)

    def add_candle(self, candle: Candle, source: str = "stream") -> None:
        """Queue a closed candle given as a value."""
        self._stats.candles_received += 1
        self.add_candle_row(candle_row(candle, self._times), candle_stored(candle, source))

    @property
    def pending(self) -> int:
        """Rows that wait or are on their way: not yet committed."""
        return len(self._trades) + len(self._candles)

    # -- working -----------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Store what is queued, until cancelled. Cancelling loses nothing: see ``unstored``."""
        async with asyncio.TaskGroup() as tasks:
            for lane in self._lanes:
                tasks.create_task(self._work(lane), name=f"writer {lane.table}")

    async def flush(self) -> None:
        """Return once everything queued so far is committed or set aside; ``run`` must be running."""
        goals = [(lane, lane.done + len(lane)) for lane in self._lanes]
        for lane in self._lanes:
            lane.flushes += 1
            lane.wake.set()
        try:
            for lane, goal in goals:
                while lane.done < goal:
                    lane.progress.clear()
                    await lane.progress.wait()
        finally:
            for lane in self._lanes:
                lane.flushes -= 1

    def unstored(self) -> list[Batch]:
        """Return what has not been confirmed as stored, oldest first. Call it when ``run`` has ended.

        A batch whose commit was under way may be stored all the same; storing it again changes nothing.
        It proves nothing: what becomes of it is for others to find out.
        """
        left = []
        for lane in self._lanes:
            while len(lane.batcher):
                rows, marks = lane.batcher.take(0)
                lane.in_flight += rows
                lane.marks += marks
            rows = list(filter(None, lane.in_flight))
            if rows:
                left.append(Batch(lane.table, rows))
        return left

    async def _work(self, lane: _Lane) -> None:
        while True:
            if not lane.in_flight:  # else a run was cancelled before, and what it held goes first
                await self._due(lane)
                lane.in_flight, lane.marks = lane.batcher.take(self._clock.now_ns())
            await self._store(lane, lane.in_flight, lane.marks)

    async def _due(self, lane: _Lane) -> None:
        """Wait until the lane's batch is full, old enough, or wanted."""
        while True:
            due_ns = lane.batcher.due_ns()
            if due_ns is not None and lane.flushes:
                return
            wait_s = None if due_ns is None else max(0.0, (due_ns - self._clock.now_ns()) / 1e9)
            if wait_s == 0.0:
                return
            # a wall clock that is set back must not hold a batch for hours
            if wait_s is not None:
                wait_s = min(wait_s, lane.batcher.max_age_ns / 1e9)
            lane.wake.clear()
            try:
                async with asyncio.timeout(wait_s):
                    await lane.wake.wait()
            except TimeoutError:
                return

    async def _store(self, lane: _Lane, rows: Sequence[bytes], marks: Sequence[Any]) -> None:
        """Store the rows, whatever it takes; halve them while the store refuses one of them."""
        trades = lane.table is Table.TRADES
        # the ranges come from the marks of these very rows, so halving them, or setting one aside, leaves them true
        batch = Batch(lane.table, list(filter(None, rows)), self._series.covered_by(marks) if trades else ())
        started = asyncio.get_running_loop().time()
        try:
            receipt, insisted = await self._insist(batch)
        except StoreRejected as refusal:
            if len(rows) == 1:
                if rows[0]:
                    self._set_aside(lane.table, rows[0], refusal)
                else:
                    self._quarantine.keep("row", f"void trade {marks[0][3]}".encode(), str(refusal))
                lane.finished(1)
                return
            middle = len(rows) // 2
            await self._store(lane, rows[:middle], marks[:middle])
            await self._store(lane, rows[middle:], marks[middle:])
            return
        lane.finished(len(rows))
        took_ms = round((asyncio.get_running_loop().time() - started) * 1e3, 2)
        stats = self._stats
        stats.batches_written += 1
        stats.rows_written += receipt.written
        if trades:
            stats.trades_written += receipt.written
            stats.trades_duplicate += receipt.duplicates
            if receipt.conflicting:
                self._keep_conflicting([batch.rows[place] for place in receipt.conflicting])
            self._count_lags(marks)
        else:
            stats.candles_written += receipt.written
            stats.candles_duplicate += receipt.duplicates
            # after a failure whose commit may have gone through, a duplicate can be our own first try
            if receipt.written or insisted:
                for stored in marks:
                    self._emit(stored)
        self._emit(
            events.BatchStored(
                table=lane.table.value, rows=receipt.written, duplicates=receipt.duplicates, took_ms=took_ms
            )
        )

    async def _insist(self, batch: Batch) -> tuple[Receipt, bool]:
        """Try until the store takes the batch or refuses a row of it; tell whether it took more than one try."""
        insisted = False
        delay_s = _FIRST_RETRY_S
        while True:
            try:
                receipt = await self._sink.write(batch)
            except (StoreUnavailable, StoreDenied) as problem:
                # a right or a password that was taken away may come back; the rows must outlive that
                now = asyncio.get_running_loop().time()
                insisted = True
                self._stats.store_failures += 1
                if self._lost_since is None:
                    self._lost_since = now
                pause_s = self._rng.uniform(delay_s / 2, delay_s)
                self._emit(
                    events.StoreLost(
                        table=batch.table.value, cause=str(problem), pending=self.pending, retry_in_s=round(pause_s, 3)
                    )
                )
                await asyncio.sleep(pause_s)
                delay_s = min(delay_s * 2, _LAST_RETRY_S)
            else:
                if self._lost_since is not None:
                    away_s = asyncio.get_running_loop().time() - self._lost_since
                    self._lost_since = None
                    self._emit(events.StoreBack(away_s=round(away_s, 3)))
                return receipt, insisted

    def _set_aside(self, table: Table, row: bytes, refusal: StoreRejected) -> None:
        self._quarantine.keep("row", row, f"{table.value}: {refusal}")
        if table is Table.TRADES:
            self._stats.trades_set_aside += 1
        else:
            self._stats.candles_set_aside += 1
        text = row.decode("utf-8", "replace").rstrip("\n")
        self._emit(events.RowSetAside(table=table.value, reason=str(refusal), row=text[:400]))

    def _keep_conflicting(self, rows: Sequence[bytes]) -> None:
        self._stats.trades_set_aside += len(rows)
        self._stats.trades_conflicting += len(rows)
        for row in rows:
            self._quarantine.keep("row", row, "trades: this id is stored with another content or time")
        # one event for all: a whole tape may differ
        text = rows[0].decode("utf-8", "replace").rstrip("\n")
        self._emit(events.TradesConflicting(rows=len(rows), row=text[:400]))

    def _count_lags(self, marks: Sequence[Any]) -> None:
        now_ns = self._clock.now_ns()
        step = max(1, len(marks) // _LAG_SAMPLES)
        for received_ns, event_ns, _, _ in marks[::step]:
            self._stats.commit_lag.add((now_ns - received_ns) / 1e6, step)
            self._stats.event_lag.add((now_ns - event_ns) / 1e6, step)


def candle_stored(candle: Candle, source: str) -> events.CandleStored:
    """Return the event that tells of a candle once it is committed."""
    return events.CandleStored(
        venue=candle.venue.value,
        symbol=candle.symbol,
        timeframe=candle.timeframe.value,
        open_time=utc_text(candle.open_ns),
        close=candle.close,
        volume=candle.volume,
        trades=candle.trade_count,
        source=source,
    )
