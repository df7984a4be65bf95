"""Batches on their way into the store: spooled while it is away, bisected when it refuses a row, never dropped."""

import asyncio
import random
from collections.abc import Callable, Sequence
from functools import partial

from crypto_quant import events
from crypto_quant.batch import Batcher, fitting_age_ns
from crypto_quant.continuity import Gap
from crypto_quant.errors import SpoolUnavailable, StoreDenied, StoreRejected, StoreUnavailable
from crypto_quant.flow.aside import Aside
from crypto_quant.flow.chunk import AllSeries, Arrival, Chunk, Run, Series, slots_covered_by
from crypto_quant.flow.lane import Flight, Lane
from crypto_quant.flow.outage import Outage
from crypto_quant.flow.replay import Replayer
from crypto_quant.flow.spool import Spool
from crypto_quant.flow.stats import PipelineStats
from crypto_quant.market import AggTrade, Candle, utc_text
from crypto_quant.rows import TimeText, agg_trade_row, candle_row
from crypto_quant.seams import Batch, Clock, Covered, Emit, Lines, Quarantine, Receipt, Sink, Source, Table
from crypto_quant.spoolformat import SpoolRecord

_FIRST_RETRY_S = 0.1
_LAST_RETRY_S = 5.0
# With a spool: how long a commit may take before the store counts as away, and how old a row may become in memory
# while others wait behind it. Together they bound what a kill -9 can cost.
_PATIENCE_S = 5.0
_MEMORY_AGE_S = 2.0
_TOLD_AGAIN_S = 60.0
# Batches of trades that may be on their way at once, and how many full ones must wait for a second to set out: while
# the one is being committed, the other keeps the database busy.
_FLIGHTS = 2
_BATCHES_AHEAD = 20
# With many symbols more wait: to extend a range costs server and recorder as much as three rows do.
_ROWS_A_RANGE = 40
_CHUNKS_A_BATCH = 4


class TimescaleWriter:
    """Takes rows, commits them in batches of ``batch_size`` rows or of ``max_age_s``, whichever comes first.

    With ``max_age_s`` None a batch waits as long as ``batch.fitting_age_ns`` says.

    Each batch says what it proves: the ids, or the slots, of exactly the trades or candles that it holds.
    Repeating a row changes nothing in the store. While the store is away or too slow, rows go to the ``spool``, and a
    replay brings them in beside the live ones. Without a spool, or when it takes no more, rows wait in memory, in
    order, and are tried again for ever; ``in_memory`` tells whoever feeds the writer to hold back.
    ``run()`` does the work; giving never blocks.
    """

    def __init__(
        self,
        sink: Sink,
        *,
        batch_size: int = 1000,
        max_age_s: float | None = None,
        merge: int = 50,
        stats: PipelineStats,
        clock: Clock,
        quarantine: Quarantine,
        emit: Emit,
        rng: random.Random,
        spool: Spool | None = None,
    ) -> None:
        self._sink = sink
        self._stats = stats
        self._clock = clock
        self._aside = Aside(quarantine, stats, emit)
        self._emit = emit
        self._rng = rng
        self._adapts = max_age_s is None
        age_ns = fitting_age_ns(0) if max_age_s is None else int(max_age_s * 1e9)
        # a chunk is closed before it has more rows: batches are made of whole ones
        self.chunk_rows = max(1, batch_size * merge // _CHUNKS_A_BATCH)
        self._least_ahead, self._most_ahead = _BATCHES_AHEAD * batch_size, batch_size * merge * 9 // 10
        self._trades = Lane(Table.TRADES, Batcher(batch_size, age_ns, merge), flights=_FLIGHTS, ahead=self._least_ahead)
        self._candles = Lane(Table.CANDLES, Batcher(batch_size, age_ns, merge))
        self._lanes = (self._trades, self._candles)
        self._lane_of = {lane.table: lane for lane in self._lanes}
        self._times = TimeText()
        self._spool = spool
        self.spool_trouble = Outage()
        self._spooling_told_s: float | None = None
        self._abandoned: set[asyncio.Task[Receipt]] = set()
        self._replayer: Replayer | None = None
        # hears of ids (venue, symbol, gap) that went into the spool and cannot be read any more
        self.on_missing: Callable[[str, str, Gap], None] | None = None
        if spool is not None:
            self._replayer = Replayer(
                spool,
                sink,
                stats=stats,
                emit=emit,
                rng=rng,
                aside=self._aside,
                lost=self._lost,
                back=self._back,
                missing=self._missing,
            )
        self._series = AllSeries()
        stats.batch_size = batch_size

    # -- giving ------------------------------------------------------------------------------------------

    def add_trades(self, chunk: Chunk) -> None:
        """Queue ready-made rows of ``trades``. Once they are stored, the ids that they prove are covered."""
        self._trades.add(chunk, chunk.received_ns)

    def grow_trades(self, chunk: Chunk, data: bytes, arrival: Arrival) -> None:
        """Add rows to an open chunk that was given before and is not closed yet."""
        self._trades.grow(chunk, data, arrival)

    def add_candles(self, chunk: Chunk) -> None:
        """Queue ready-made rows of ``candles``; each is told once it is committed."""
        self._candles.add(chunk, self._clock.now_ns())

    def series(self, venue: str, symbol: str, source: Source) -> int:
        """Return the number that a chunk knows the series by; ask once and keep it."""
        return self._series.number(Series(venue, symbol, source))

    def add_trade(self, trade: AggTrade, source: Source = Source.STREAM) -> None:
        """Queue a trade given as a value."""
        received = self._clock.now_ns() if trade.received_ns is None else trade.received_ns
        self._stats.trades_received += 1
        run: Run = (self.series(trade.venue.value, trade.symbol, source), trade.trade_id, trade.trade_id)
        row = agg_trade_row(trade, self._times)
        self.add_trades(Chunk(row, 1, proves=(run,), received_ns=received, event_ns=trade.time_ns))

    def add_candle(self, candle: Candle, source: Source = Source.STREAM) -> None:
        """Queue a closed candle given as a value."""
        self._stats.candles_received += 1
        told = (candle_stored(candle, source.value),)
        self.add_candles(Chunk(candle_row(candle, self._times), 1, told=told))

    @property
    def in_memory(self) -> int:
        """Rows that wait in memory or are on their way: neither committed nor in the spool."""
        return len(self._trades) + len(self._candles)

    @property
    def pending(self) -> int:
        """Rows that are not yet committed, those in the spool included."""
        return self.in_memory + (len(self._spool) if self._spool is not None else 0)

    @property
    def spool_directory(self) -> str:
        """Where the spool is; empty when there is none."""
        return self._spool.directory if self._spool is not None else ""

    def measure(self) -> None:
        """Bring the gauges of the spool in the statistics up to date."""
        if self._spool is not None:
            self._stats.spool_bytes, self._stats.spool_records = self._spool.size_bytes, self._spool.records

    # -- working -----------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Store what is queued, until cancelled. Cancelling loses nothing: see ``unstored``."""
        async with asyncio.TaskGroup() as tasks:
            for lane in self._lanes:
                # what an earlier run held when it was cancelled goes first, one after the other
                left = list(lane.flights)
                for number in range(lane.most):
                    tasks.create_task(self._work(lane, [] if number else left), name=f"writer {lane.table}")
            if self._replayer is not None:
                tasks.create_task(self._replayer.run(), name="replay")

    async def flush(self) -> None:
        """Return once everything queued so far is committed or set aside; ``run`` must be running."""
        goals = [(lane, lane.given) for lane in self._lanes]
        for lane in self._lanes:
            lane.flushes += 1
            lane.wake.set()
        try:
            for lane, goal in goals:
                while lane.settled < goal:
                    lane.progress.clear()
                    await lane.progress.wait()
            if self._spool is not None:
                await self._spool.emptied()
        finally:
            for lane in self._lanes:
                lane.flushes -= 1

    async def put_away(self) -> None:
        """Bring what is in memory into the spool, as far as it takes it. Call it when ``run`` has ended."""
        spool = self._spool
        if spool is None:
            return
        for lane in self._lanes:
            while len(lane):
                if not await self._put(spool, lane, lane.flights[0] if lane.flights else lane.take(0)):
                    break

    def unstored(self) -> list[Batch]:
        """Return what is in memory and has not been confirmed as stored, oldest first. Call it when ``run`` has ended.

        A batch whose commit was under way may be stored all the same; storing it again changes nothing.
        It proves nothing: what becomes of it is for others to find out.
        """
        left = []
        for lane in self._lanes:
            while len(lane.batcher):
                lane.take(0)
            rows = _rows_of(lane.in_flight)
            if rows:
                left.append(Batch(lane.table, rows))
        return left

    async def _work(self, lane: Lane, left: list[Flight]) -> None:
        while True:
            if left:
                flight = left.pop(0)
            else:
                await self._due(lane)
                flight = lane.take(self._clock.now_ns())
            if self._spool is None:
                await self._store(lane, flight, flight.chunks, flight.order)
            else:
                await self._store_or_spool(self._spool, lane, flight)

    async def _store_or_spool(self, spool: Spool, lane: Lane, flight: Flight) -> None:
        """Bring a flight into the store, or into the spool when that is away or falls behind."""
        while flight.chunks:
            if lane.away or self._is_behind(lane, flight):
                self._tell_spooling(
                    spool, "the database is away" if lane.away else "the database is slower than the market"
                )
                if await self._put(spool, lane, flight):
                    return
            try:
                await self._store(lane, flight, flight.chunks, flight.order)
            except (StoreUnavailable, StoreDenied) as problem:
                flight.insisted = True
                pause_s = self._next_pause_s(lane)
                self._lost(lane.table, problem, pause_s)
                if not lane.away:
                    lane.away = True
                    continue
                # the spool takes nothing either: wait with the rows in memory
                await asyncio.sleep(pause_s)

    def _is_behind(self, lane: Lane, flight: Flight) -> bool:
        """Tell whether rows grow old in memory because the store is slower than the market."""
        if lane is not self._trades or len(lane.batcher) < lane.batcher.size:
            return False
        return self._clock.now_ns() - flight.chunks[0].received_ns > _MEMORY_AGE_S * 1e9

    async def _put(self, spool: Spool, lane: Lane, flight: Flight) -> bool:
        """Move what is left of a flight into the spool; return False when that takes no more of it."""
        chunks = list(flight.chunks)
        # what candles prove is read from what is to be told of them
        rows, covered = list(_rows_of(chunks)), tuple(self._series.covered_by(chunks))
        told = tuple(each for chunk in chunks for each in chunk.told)
        try:
            await spool.put(
                SpoolRecord(lane.table, rows, covered, told), partial(self._spooled, lane, flight, chunks, len(rows))
            )
        except SpoolUnavailable as problem:
            if self.spool_trouble.failed(asyncio.get_running_loop().time(), problem.what):
                self._emit(events.SpoolRefused(directory=spool.directory, cause=str(problem), in_memory=self.in_memory))
            return False
        return True

    def _covered(self, lane: Lane, chunks: Sequence[Chunk]) -> Sequence[Covered]:
        if lane is self._trades:
            return self._series.covered_by(chunks)
        return slots_covered_by(each for chunk in chunks for each in chunk.told)

    def _spooled(self, lane: Lane, flight: Flight, chunks: Sequence[Chunk], rows: int) -> None:
        lane.finished(flight, chunks)
        self._stats.spooled_rows += rows
        self.spool_trouble.over(0.0)

    async def _due(self, lane: Lane) -> None:
        """Wait until the lane's batch is full, old enough, or wanted; beside another one, until it is worth it."""
        while True:
            if lane.flights and len(lane.batcher) < lane.ahead:
                lane.wake.clear()
                await lane.wake.wait()
                continue
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
                # the other worker of this lane may have been quicker
                if len(lane.batcher) and not lane.flights:
                    return

    async def _store(self, lane: Lane, flight: Flight, chunks: Sequence[Chunk], order: int = 0) -> None:
        """Store the oldest chunks of a flight, whatever it takes; halve them while the store refuses a row of them."""
        chunks = list(chunks)
        batch = Batch(lane.table, _rows_of(chunks), self._covered(lane, chunks), order)
        if lane is self._trades:
            lane.ahead = max(self._least_ahead, min(_ROWS_A_RANGE * len(batch.covered), self._most_ahead))
        started = asyncio.get_running_loop().time()
        try:
            receipt, insisted = await self._insist(lane, flight, batch)
        except StoreRejected as refusal:
            if len(chunks) == 1 and len(batch.rows) <= 1:
                if batch.rows:
                    self._aside.row(lane.table, batch.rows[0], refusal)
                else:
                    self._aside.proof(batch.covered, refusal)
                lane.finished(flight, chunks)
                return
            if len(chunks) == 1:
                # each half proves its own rows and nothing else, so setting one aside leaves the others' proof true
                chunks = list(self._series.halves(chunks[0]))
                lane.divided(flight, chunks)
            middle = len(chunks) // 2
            await self._store(lane, flight, chunks[:middle])
            await self._store(lane, flight, chunks[middle:])
            return
        lane.finished(flight, chunks)
        took_s = asyncio.get_running_loop().time() - started
        if self._adapts:
            lane.batcher.max_age_ns = fitting_age_ns(int(took_s * 1e9))
        self._stats.stored(lane.table, receipt)
        self._stats.write_time.add(took_s * 1e3)
        if lane is self._trades:
            if receipt.conflicting:
                self._aside.conflicting([batch.rows[place] for place in receipt.conflicting])
            self._count_lags(chunks)
        else:
            # after a failure whose commit may have gone through, a duplicate can be our own first try
            untold = () if insisted else frozenset(receipt.repeated)
            for place, stored in enumerate(each for chunk in chunks for each in chunk.told):
                if place not in untold:
                    self._emit(stored)
        self._emit(
            events.BatchStored(
                table=lane.table.value,
                rows=receipt.written,
                duplicates=receipt.duplicates,
                took_ms=round(took_s * 1e3, 2),
            )
        )

    async def _insist(self, lane: Lane, flight: Flight, batch: Batch) -> tuple[Receipt, bool]:
        """Try until the store takes the batch or refuses a row of it; tell whether it took more than one try.

        With a spool there is one try, and a store that is away is raised.
        """
        while True:
            try:
                receipt = await (self._sink.write(batch) if self._spool is None else self._write_in_time(batch))
            except (StoreUnavailable, StoreDenied) as problem:
                # a right or a password that was taken away may come back; the rows must outlive that
                if self._spool is not None:
                    raise
                flight.insisted = True
                pause_s = self._next_pause_s(lane)
                self._lost(lane.table, problem, pause_s)
                await asyncio.sleep(pause_s)
            else:
                self._back(lane.table)
                return receipt, flight.insisted

    async def _write_in_time(self, batch: Batch) -> Receipt:
        """Write, but do not wait longer than is good for the rows in memory.

        A write that is given up is cancelled and left to end by itself. Should it be stored all the same, the same
        rows from the spool are duplicates.
        """
        writing = asyncio.create_task(self._sink.write(batch), name=f"write {batch.table}")
        try:
            await asyncio.wait({writing}, timeout=_PATIENCE_S)
        except asyncio.CancelledError:
            self._abandon(writing)
            raise
        if writing.done():
            return writing.result()
        self._abandon(writing)
        raise StoreUnavailable(
            f"no answer within {_PATIENCE_S:g} s", subject=batch.table.value, hint="The database hangs or is overloaded"
        )

    def _abandon(self, writing: "asyncio.Task[Receipt]") -> None:
        def ended(task: "asyncio.Task[Receipt]") -> None:
            self._abandoned.discard(task)
            if not task.cancelled():
                task.exception()  # looked at, so that nobody complains

        self._abandoned.add(writing)
        writing.add_done_callback(ended)
        writing.cancel()

    def _next_pause_s(self, lane: Lane) -> float:
        pause_s = lane.pause_s or _FIRST_RETRY_S
        lane.pause_s = min(pause_s * 2, _LAST_RETRY_S)
        return self._rng.uniform(pause_s / 2, pause_s)

    def _lost(self, table: Table, problem: Exception, pause_s: float) -> None:
        """The store did not take a batch of this table."""
        self._stats.store_failures += 1
        if self._lane_of[table].outage.failed(asyncio.get_running_loop().time(), str(problem)):
            self._emit(
                events.StoreLost(
                    table=table.value, cause=str(problem), pending=self.pending, retry_in_s=round(pause_s, 3)
                )
            )

    def _back(self, table: Table) -> None:
        """The store has taken a batch of this table; another table may still be missing."""
        lane = self._lane_of[table]
        lane.away = False
        away_s = lane.outage.over(asyncio.get_running_loop().time())
        if away_s is not None:
            lane.pause_s = 0.0
            self._emit(events.StoreBack(table=table.value, away_s=round(away_s, 3)))

    def _missing(self, venue: str, symbol: str, gap: Gap) -> None:
        if self.on_missing is not None:
            self.on_missing(venue, symbol, gap)

    def _tell_spooling(self, spool: Spool, cause: str) -> None:
        now_s = asyncio.get_running_loop().time()
        if self._spooling_told_s is None or now_s - self._spooling_told_s > _TOLD_AGAIN_S:
            self._spooling_told_s = now_s
            self._emit(events.Spooling(directory=spool.directory, cause=cause))

    def _count_lags(self, chunks: Sequence[Chunk]) -> None:
        now_ns = self._clock.now_ns()
        commit_lag, event_lag = self._stats.commit_lag, self._stats.event_lag
        ahead_ms = self._stats.clock.difference_ms
        for chunk in chunks:
            for rows, received_ns, event_ns in chunk.arrivals:
                if rows:
                    commit_lag.add((now_ns - received_ns) / 1e6, rows)
                    event_lag.add((now_ns - event_ns) / 1e6 - ahead_ms, rows)


def _rows_of(chunks: Sequence[Chunk]) -> Lines:
    """Return the rows of all chunks."""
    return Lines([part for chunk in chunks for part in chunk.parts], sum(chunk.rows for chunk in chunks))


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
