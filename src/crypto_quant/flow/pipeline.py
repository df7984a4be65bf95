"""The whole recorder, from the first frame to the drain: collector, intake, writer, candles, backfill, statistics."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from enum import StrEnum
from typing import Any

from crypto_quant import events
from crypto_quant.errors import CryptoQuantError
from crypto_quant.flow.backfill import Backfiller
from crypto_quant.flow.candles import CandleKeeper
from crypto_quant.flow.clock_watch import ClockWatch
from crypto_quant.flow.collector import BinanceWSCollector
from crypto_quant.flow.guard import StreamGuard
from crypto_quant.flow.stats import PipelineStats
from crypto_quant.flow.store_guard import StoreGuard
from crypto_quant.flow.symbols import SymbolCheck
from crypto_quant.flow.upkeep import Upkeep
from crypto_quant.flow.watch import Watcher
from crypto_quant.flow.writer import TimescaleWriter
from crypto_quant.seams import Batch, Clock, Closer, Emit, Sink
from crypto_quant.snapshot import Phase

# Saves rows that could not be stored; returns what to tell: the files and what to do with them.
SaveLeftover = Callable[[Sequence[Batch]], Sequence[events.RowsLeft]]

_NEXT_RUN = "They are safe there: the next `crypto-quant record` with the same database stores them"
# how often it is looked at how many rows wait; seldom while few do, for they cannot become too many before
_WATCH_S = 0.02
_MOST_ROWS_A_SECOND = 1_000_000
# how long the record may take to be closed
_RECORD_CLOSE_S = 10.0
# how long the database may take to close
_CLOSE_S = 5.0
# so often a drain that takes long says how far it is
_FLUSH_TOLD_S = 2.0


class Ending(StrEnum):
    """How a run ended."""

    DRAINED = "drained"  # everything received is stored (or set aside)
    LEFT = "left"  # the drain's deadline passed, or it was cut short: the rest is in the spool, or else in a file


class Pipeline:
    """Runs a recorder until its duration is over or ``stop()`` is called, then drains it.

    The drain keeps the founding order: stop accepting, flush every pending batch, close the WebSockets, close the
    database, report the final statistics. It ends after ``drain_s`` seconds at the latest; rows that the database has
    not confirmed by then go to the spool, and where that cannot be had, to a file by ``save_leftover``. ``abort()`` is
    the second Ctrl-C: it skips the wait. Reading pauses while more than ``pending_limit`` rows wait in memory. The
    backfill ends with the accepting: what it has not filled by then stays a known gap.
    """

    def __init__(
        self,
        *,
        collector: BinanceWSCollector,
        writer: TimescaleWriter,
        keeper: CandleKeeper,
        sink: Sink,
        stats: PipelineStats,
        emit: Emit,
        save_leftover: SaveLeftover,
        backfiller: Backfiller | None = None,
        guard: StreamGuard | None = None,
        store_guard: StoreGuard | None = None,
        upkeep: Sequence[Upkeep] = (),
        closer: Closer | None = None,
        clock: Clock | None = None,
        symbol_check: SymbolCheck | None = None,
        clock_watch: ClockWatch | None = None,
        watcher: Watcher | None = None,
        stats_interval_s: float = 10.0,
        drain_s: float = 30.0,
        pending_limit: int = 200_000,
    ) -> None:
        self._collector = collector
        self._writer = writer
        self._keeper = keeper
        self._sink = sink
        self.stats = stats
        self._emit = emit
        self._save_leftover = save_leftover
        self._backfiller = backfiller
        self._guard = guard
        self._store_guard = store_guard
        self._upkeep = upkeep
        self._closer = closer
        self._clock = clock
        self._symbol_check = symbol_check
        self._clock_watch = clock_watch
        self._watcher = watcher
        if watcher is not None:
            watcher.phase = lambda: self.phase
        self._stats_interval_s = stats_interval_s
        self._drain_s = drain_s
        self._pending_limit = pending_limit
        self._stop = asyncio.Event()
        self._abort = asyncio.Event()
        self._linked = self._ended = False
        self._save_failure: CryptoQuantError | None = None
        self.final: dict[str, Any] = {}

    def stop(self) -> None:
        """Begin the graceful end."""
        self._stop.set()

    def abort(self) -> None:
        """End at once: what is not stored yet goes to the spool, or else to a file."""
        self._stop.set()
        self._abort.set()

    @property
    def phase(self) -> Phase:
        """What the recorder does as a whole."""
        if self._ended:
            return Phase.ENDED
        if self.stopping:
            return Phase.DRAINING
        self._linked = self._linked or self._collector.complete
        if not self._linked:
            return Phase.STARTING
        return Phase.PAUSED if self._collector.paused else Phase.RECORDING

    @property
    def stopping(self) -> bool:
        """Whether the end has begun."""
        return self._stop.is_set()

    async def run(self, duration_s: float | None = None) -> Ending:
        """Record, then drain; return how it ended. ``final`` holds the final statistics afterwards.

        A broken invariant in any room is raised after the drain.
        """
        writing = asyncio.create_task(self._writer.run(), name="writer")
        collecting = asyncio.create_task(self._collector.run(), name="collector")
        others = [
            asyncio.create_task(self._keeper.run(), name="candles"),
            asyncio.create_task(self._report(), name="statistics"),
            asyncio.create_task(self._hold_back(), name="back-pressure"),
        ]
        if self._backfiller is not None:
            others.append(asyncio.create_task(self._backfiller.run(), name="backfill"))
        if self._guard is not None:
            others.append(asyncio.create_task(self._guard.run(), name="stream guard"))
        if self._store_guard is not None:
            others.append(asyncio.create_task(self._store_guard.run(), name="store guard"))
        others += [asyncio.create_task(each.run(), name="upkeep") for each in self._upkeep]
        if self._symbol_check is not None:
            others.append(asyncio.create_task(self._symbol_check.run(), name="symbols"))
        if self._clock_watch is not None:
            others.append(asyncio.create_task(self._clock_watch.run(), name="clock"))
        stopping = asyncio.create_task(self._stop.wait(), name="stop")
        # it shows the drain as well, so it ends last
        watching = asyncio.create_task(self._watch(), name="watcher")
        try:
            watched: set[asyncio.Task[Any]] = {writing, collecting, stopping, *others}
            deadline = None if duration_s is None else asyncio.get_running_loop().time() + duration_s
            await self._until_stopped(watched, stopping, deadline)
        finally:
            self._stop.set()
            ending = await self._to_its_end(self._drain(writing, collecting, others))
            await _end(stopping)
            await _end(watching)
        for task in (writing, collecting, *others):
            if task.done() and not task.cancelled() and (failure := task.exception()) is not None:
                raise _innermost(failure)
        if self._save_failure is not None:
            raise self._save_failure
        return ending

    async def _until_stopped(
        self, watched: set[asyncio.Task[Any]], stopping: asyncio.Task[Any], deadline: float | None
    ) -> None:
        """Wait for ``stop()``, the end of the duration, or a task that fails; a task that ends well is let go."""
        loop = asyncio.get_running_loop()
        while not stopping.done():
            wait_s = None if deadline is None else max(0.0, deadline - loop.time())
            done, watched = await asyncio.wait(watched, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
            if not done or any(task.cancelled() or task.exception() is not None for task in done):
                return

    async def _to_its_end(self, drain: Coroutine[Any, Any, Ending]) -> Ending:
        """Drain to the end even when cancelled meanwhile, which only hurries it: rows must be stored or saved."""
        draining = asyncio.create_task(drain, name="drain")
        cancelled: asyncio.CancelledError | None = None
        while not draining.done():
            try:
                await asyncio.wait({draining})
            except asyncio.CancelledError as again:
                cancelled = again
                self.abort()
        ending = draining.result()
        if cancelled is not None:
            raise cancelled
        return ending

    async def _drain(
        self, writing: asyncio.Task[None], collecting: asyncio.Task[None], others: list[asyncio.Task[None]]
    ) -> Ending:
        self._collector.stop_accepting()
        for task in others:
            await _end(task)
        self._tell("stopped accepting")
        await self._flush(writing)
        self._tell("flushed pending batches")
        self._collector.close()
        await _end(collecting, within_s=3.0)
        self._tell("closed the WebSocket")
        await _end(writing)
        await self._writer.put_away()
        left = self._writer.unstored()
        if left:
            self._save(left)
        spooled = self._writer.pending - self._writer.in_memory
        if spooled:
            self._emit(events.RowsSpooled(rows=spooled, directory=self._writer.spool_directory, hint=_NEXT_RUN))
        if not left and not spooled:
            await self._close_record()
        self._measure()
        try:
            async with asyncio.timeout(_CLOSE_S):
                await self._sink.close()
        except TimeoutError:
            self._tell("the database did not close in time")
        else:
            self._tell("closed the database")
        self._ended = True
        self.final = self.stats.report(self._now_ns(), final=True)
        self._emit(self.final)
        return Ending.LEFT if left or spooled else Ending.DRAINED

    async def _close_record(self) -> None:
        """Close the record, which must not hold up the end: what is not done now, the next run does."""
        if self._closer is None or self._clock is None or self._abort.is_set():
            return
        try:
            async with asyncio.timeout(_RECORD_CLOSE_S):
                for event in await self._closer.close(self._clock.now_ns()):
                    self._emit(event)
        except (CryptoQuantError, TimeoutError) as problem:
            self._emit(events.UpkeepFailed(cause=str(problem) or "sealing took too long; the next run goes on"))

    def _save(self, left: Sequence[Batch]) -> None:
        try:
            for told in self._save_leftover(left):
                self._emit(told)
        except OSError as problem:
            # the same full disk may have stopped the database: end in order all the same, then say it
            rows = sum(len(batch.rows) for batch in left)
            hint = f"They could not be saved either ({problem})"
            self._save_failure = CryptoQuantError("rows are lost", subject=f"{rows}, not stored", hint=hint)
            self._emit(events.RowsLeft(rows=rows, file="", hint=hint))

    async def _flush(self, writing: asyncio.Task[None]) -> None:
        """Wait until everything is stored, the deadline is over, ``abort()`` is called or the writer is dead."""
        if writing.done():
            return
        flushing = asyncio.create_task(self._writer.flush(), name="flush")
        aborting = asyncio.create_task(self._abort.wait(), name="abort")
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._drain_s
        while (left_s := deadline - loop.time()) > 0:
            wait_s = min(left_s, _FLUSH_TOLD_S)
            done, _ = await asyncio.wait(
                {flushing, aborting, writing}, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED
            )
            if done:
                break
            if wait_s < left_s:
                # somebody waits for the end, and may be about to hurry it
                self._emit(events.Draining(pending=self._writer.pending, deadline_s=round(left_s - wait_s, 1)))
        await _end(flushing)
        await _end(aborting)

    async def _watch(self) -> None:
        if self._watcher is not None:
            await self._watcher.run()

    async def _report(self) -> None:
        loop = asyncio.get_running_loop()
        next_at = loop.time()
        while True:
            next_at += self._stats_interval_s
            await asyncio.sleep(max(0.0, next_at - loop.time()))
            self._measure()
            self._emit(self.stats.report(self._now_ns()))

    def _measure(self) -> None:
        self.stats.pool = self._sink.pool_use()
        self._writer.measure()

    async def _hold_back(self) -> None:
        """Pause reading and fetching while too many rows wait: memory stays bounded, and the exchange feels it."""
        loop = asyncio.get_running_loop()
        paused_at: float | None = None
        pending = 0
        while True:
            room = self._pending_limit - pending if paused_at is None else 0
            await asyncio.sleep(next_look_s(room))
            pending = self._writer.in_memory + self._collector.held
            if paused_at is None and pending > self._pending_limit:
                paused_at = loop.time()
                self._collector.pause()
                self._keeper.pause()
                self._emit(events.ReadingPaused(pending=pending, limit=self._pending_limit))
            elif paused_at is not None and pending <= self._pending_limit // 2:
                self._collector.resume()
                self._keeper.resume()
                self._emit(events.ReadingResumed(pending=pending, paused_s=round(loop.time() - paused_at, 3)))
                paused_at = None

    def _tell(self, step: str) -> None:
        self._emit(events.DrainStep(step=step, pending=self._writer.pending))

    @staticmethod
    def _now_ns() -> int:
        return int(asyncio.get_running_loop().time() * 1e9)


def next_look_s(room: int) -> float:
    """Return in how many seconds to look again when so many more rows may still wait: sooner than they can come."""
    return max(_WATCH_S, room / _MOST_ROWS_A_SECOND)


def _innermost(failure: BaseException) -> BaseException:
    """Return the one error that a group of tasks has ended with, so that the caller can tell its kind."""
    while isinstance(failure, BaseExceptionGroup) and len(failure.exceptions) == 1:
        failure = failure.exceptions[0]
    return failure


async def _end(task: asyncio.Task[Any], within_s: float = 0.0) -> None:
    """Let a task end by itself within the time given, then cancel it, and wait for its end; its error is kept in it."""
    if within_s and not task.done():
        await asyncio.wait({task}, timeout=within_s)
    if not task.done():
        task.cancel()
        await asyncio.wait({task})
