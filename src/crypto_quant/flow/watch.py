"""What a recorder shows of itself, gathered about once a second, outside the hot path."""

import asyncio
import math
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from crypto_quant import events
from crypto_quant.binance.streams import Stream, stream_name
from crypto_quant.flow.collector import BinanceWSCollector
from crypto_quant.flow.guard import StreamGuard
from crypto_quant.flow.intake import Intake
from crypto_quant.flow.rest import ExchangeRest
from crypto_quant.flow.spool import Spool
from crypto_quant.flow.stats import LagHistogram, PipelineStats
from crypto_quant.flow.tally import Tally
from crypto_quant.flow.writer import TimescaleWriter
from crypto_quant.market import Timeframe
from crypto_quant.seams import Clock, Emit
from crypto_quant.snapshot import (
    GAPS_MAX,
    DiskView,
    GapView,
    LinkState,
    LinkView,
    Phase,
    ProcessView,
    RestView,
    Snapshot,
    SpoolView,
    Spread,
    StoreView,
    StreamState,
    StreamView,
)

_TICK_S = 1.0
# rates and quantiles look back so many ticks
_WINDOW = 10
_RATE_MEMORY_S = 10.0
# With many streams they are gathered less often, so that gathering costs the same share of a processor.
_STREAMS_A_TICK = 1000


class Board(Protocol):
    """Where snapshots are shown. Both calls are made one after the other, and may take their time."""

    async def surroundings(self) -> tuple[tuple[DiskView, ...], ProcessView]:
        """Return what only the system knows of the recorder."""
        ...

    async def show(self, snapshot: Snapshot) -> None:
        """Replace what is shown. Raises OSError."""
        ...


class _Marks(NamedTuple):
    """What stood at a tick: monotonic seconds, counters, histograms."""

    at_s: float
    trades_written: int
    frames_received: int
    commit_lag: Sequence[int]
    event_lag: Sequence[int]
    write_time: Sequence[int]


class _Pulse:
    """What was seen of one stream at the last look."""

    __slots__ = ("at_s", "last", "missing", "rate", "seen_ns")

    def __init__(self, at_s: float, last: int, missing: int) -> None:
        self.at_s = at_s
        self.last = last
        self.missing = missing
        self.rate = 0.0
        self.seen_ns: int | None = None


class Watcher:
    """Shows on ``board`` what the rooms of a recorder do; see ``snapshot`` for what the values mean.

    ``streams`` are those recorded of each of ``symbols`` (stored names). ``phase`` must be set before ``run``. Whatever
    ails the board is told, and never ends or delays a recording.
    """

    def __init__(
        self,
        board: Board,
        symbols: Sequence[str],
        streams: Sequence[Stream],
        *,
        version: str,
        pid: int,
        database: str,
        source: str,
        intake: Intake,
        collector: BinanceWSCollector,
        guard: StreamGuard,
        writer: TimescaleWriter,
        spool: Spool | None,
        stats: PipelineStats,
        tally: Tally,
        clock: Clock,
        emit: Emit,
        rest: ExchangeRest | None = None,
        start: str = "",
        refilled: bool = True,
        tick_s: float = _TICK_S,
    ) -> None:
        self.phase: Callable[[], Phase] = lambda: Phase.STARTING
        self._board = board
        self._symbols = symbols
        self._version = version
        self._pid = pid
        self._database = database
        self._source = source
        self._rest = rest
        self._start = start
        self._refilled = refilled
        self._intake = intake
        self._collector = collector
        self._guard = guard
        self._writer = writer
        self._spool = spool
        self._stats = stats
        self._tally = tally
        self._clock = clock
        self._emit = emit
        self._tick_s = tick_s
        self._started_ns = clock.now_ns()
        self._names = [(symbol, each, stream_name(symbol, each)) for each in streams for symbol in symbols]
        self._traded = symbols if any(each.timeframe is None for each in streams) else ()
        self._pulses: dict[str, _Pulse] = {}
        self._links: dict[int, tuple[LinkState, int]] = {}
        self._marks: deque[_Marks] = deque(maxlen=_WINDOW + 1)
        self._views: tuple[StreamView, ...] = ()
        self._views_every = math.ceil(len(self._names) / _STREAMS_A_TICK)
        self._ticks = 0
        self._committed = 0
        self._committed_ns: int | None = None
        self._trouble = ""

    async def run(self) -> None:
        """Show a snapshot each tick, until cancelled."""
        loop = asyncio.get_running_loop()
        next_at = loop.time()
        while True:
            await self.show()
            # what cannot keep pace skips ticks and does not catch up
            next_at = max(next_at + self._tick_s, loop.time())
            await asyncio.sleep(next_at - loop.time())

    async def show(self) -> None:
        """Show what holds now."""
        try:
            await self._board.show(self.snapshot(*await self._board.surroundings()))
        except OSError as problem:
            cause = problem.strerror or str(problem)
            # once: nothing is lost but the view
            if cause != self._trouble:
                self._trouble = cause
                self._emit(events.BoardLost(cause=cause))
        else:
            self._trouble = ""

    def snapshot(self, disks: tuple[DiskView, ...] = (), process: ProcessView = ProcessView()) -> Snapshot:  # noqa: B008
        """Return what holds now; a window of the rates is as long as the calls before lie back."""
        stats, now_ns = self._stats, self._clock.now_ns()
        self._writer.measure()
        if self._ticks % self._views_every == 0:
            self._views = tuple(self._stream_views(now_ns))
        self._ticks += 1
        if stats.batches_written != self._committed:
            self._committed, self._committed_ns = stats.batches_written, now_ns
        marks = self._mark()
        before = self._marks[0]
        passed_s = marks.at_s - before.at_s
        return Snapshot(
            version=self._version,
            pid=self._pid,
            started_ns=self._started_ns,
            taken_ns=now_ns,
            phase=self.phase(),
            venue=self._intake.venue.value,
            symbols=len(self._symbols),
            source=self._source,
            exchange_ns=self._intake.exchange_ns,
            refilled=self._refilled,
            counts=stats.counts(),
            rate=round((marks.trades_written - before.trades_written) / passed_s, 2) if passed_s else 0.0,
            frame_rate=round((marks.frames_received - before.frames_received) / passed_s, 2) if passed_s else 0.0,
            commit_lag=_spread(stats.commit_lag, before.commit_lag),
            event_lag=_spread(stats.event_lag, before.event_lag),
            write_time=_spread(stats.write_time, before.write_time),
            store=self._store_view(),
            spool=self._spool_view(),
            rest=self._rest_view(now_ns),
            disks=disks,
            process=process,
            clock=stats.clock,
            links=tuple(self._link_views(now_ns)),
            streams=self._views,
            gaps=tuple(self._gap_views()),
            events=dict(self._tally.counts),
            happenings=self._tally.happenings(),
        )

    def _mark(self) -> _Marks:
        stats = self._stats
        marks = _Marks(
            asyncio.get_running_loop().time(),
            stats.trades_written,
            stats.frames_received,
            stats.commit_lag.mark(),
            stats.event_lag.mark(),
            stats.write_time.mark(),
        )
        self._marks.append(marks)
        return marks

    def _store_view(self) -> StoreView:
        away = sorted(self._tally.away.values())
        counts = self._stats
        pool = counts.pool
        return StoreView(
            database=self._database,
            start=self._start,
            tier=self._tally.tier,
            away_since_ns=away[0][0] if away else None,
            cause=away[-1][1] if away else "",
            last_commit_ns=self._committed_ns,
            failures=counts.store_failures,
            pool_limit=pool.limit if pool else 0,
            pool_open=pool.open if pool else 0,
            pool_busy=pool.busy if pool else 0,
        )

    def _rest_view(self, now_ns: int) -> RestView:
        failing = self._rest.failing if self._rest is not None else None
        if failing is None:
            return RestView()
        lasted_s = asyncio.get_running_loop().time() - failing.since_s
        return RestView(away_since_ns=now_ns - int(lasted_s * 1e9), cause=failing.cause)

    def _spool_view(self) -> SpoolView:
        spool = self._spool
        if spool is None:
            return SpoolView()
        return SpoolView(
            directory=spool.directory,
            rows=len(spool),
            records=spool.records,
            bytes=spool.size_bytes,
            limit_bytes=spool.limit_bytes,
            refused=self._writer.spool_trouble.cause,
        )

    def _link_views(self, now_ns: int) -> list[LinkView]:
        views = []
        for link, state, streams in self._collector.slots():
            trouble = self._tally.links.get(link)
            if self._links.get(link, (None, 0))[0] is not state:
                self._links[link] = state, now_ns
            views.append(
                LinkView(
                    link=link,
                    state=state,
                    since_ns=self._links[link][1],
                    streams=streams,
                    attempt=trouble.attempt if trouble else 0,
                    cause=trouble.cause if trouble else "",
                )
            )
        return views

    def _stream_views(self, now_ns: int) -> list[StreamView]:
        return [
            self._trade_view(symbol, name, now_ns)
            if stream.timeframe is None
            else self._candle_view(symbol, stream.timeframe, name, now_ns)
            for symbol, stream, name in self._names
        ]

    def _trade_view(self, symbol: str, name: str, now_ns: int) -> StreamView:
        intake = self._intake
        last, missing = intake.newest_streamed(symbol), intake.missing(symbol)
        pulse = self._pulse(name, last, missing, now_ns)
        lag_ns = intake.lag_ns(symbol)
        state = StreamState.LIVE
        if self._collector.listening_since_ns(name) is None:
            state = StreamState.DOWN
        elif self._guard.is_quiet(symbol):
            state = StreamState.QUIET
        return StreamView(
            stream=name,
            symbol=symbol,
            timeframe=None,
            state=state,
            last=last,
            seen_ns=pulse.seen_ns,
            rate=round(pulse.rate, 2),
            lag_ms=None if lag_ns is None else round(lag_ns / 1e6 - self._stats.clock.difference_ms, 3),
            gaps=len(intake.gaps(symbol)),
            missing=missing,
        )

    def _pulse(self, name: str, last: int, missing: int, now_ns: int) -> _Pulse:
        """Note what a stream stands at."""
        now_s = asyncio.get_running_loop().time()
        pulse = self._pulses.get(name)
        if pulse is None:  # whatever stands now may be of an earlier run
            pulse = self._pulses[name] = _Pulse(now_s, last, missing)
            return pulse
        if now_s > pulse.at_s:
            passed_s = now_s - pulse.at_s
            # ids that were jumped over have not come
            came = max(0, last - pulse.last - max(0, missing - pulse.missing)) if pulse.last >= 0 else 0
            share = -math.expm1(-passed_s / _RATE_MEMORY_S)
            pulse.rate += share * (came / passed_s - pulse.rate)
        if last != pulse.last:
            pulse.seen_ns = now_ns
        pulse.at_s, pulse.last, pulse.missing = now_s, last, missing
        return pulse

    def _candle_view(self, symbol: str, timeframe: Timeframe, name: str, now_ns: int) -> StreamView:
        intake = self._intake
        newest, missing = intake.newest_candle(symbol, timeframe), intake.clocks[symbol, timeframe].missing
        state = StreamState.LIVE
        if self._collector.listening_since_ns(name) is None:
            state = StreamState.DOWN
        elif missing:
            state = StreamState.QUIET
        return StreamView(
            stream=name,
            symbol=symbol,
            timeframe=timeframe.value,
            state=state,
            last=newest,
            seen_ns=self._pulse(name, newest, missing, now_ns).seen_ns,
            missing=missing,
        )

    def _gap_views(self) -> list[GapView]:
        views: list[GapView] = []
        if not self._stats.gaps_open:
            return views
        for symbol in self._traded:
            for gap in self._intake.gaps(symbol)[: GAPS_MAX - len(views)]:
                note = self._tally.note_of(symbol, gap.first, gap.last)
                views.append(GapView(symbol=symbol, first=gap.first, last=gap.last, note=note))
        return views


def _spread(times: LagHistogram, since: Sequence[int]) -> Spread:
    return Spread(
        p50_ms=times.quantile(0.5, since),
        p95_ms=times.quantile(0.95, since),
        p99_ms=times.quantile(0.99, since),
        count=times.count,
        sum_ms=round(times.sum_ms, 3),
        buckets=times.cumulative(),
    )
