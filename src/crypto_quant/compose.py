"""Puts a recorder together: the one place that knows every room. The command line and library users both start here."""

import asyncio
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import date
from pathlib import Path

import msgspec

from crypto_quant import events
from crypto_quant.binance.archive import ARCHIVE_URL
from crypto_quant.binance.liveness import DEFAULT_LIMITS as DEFAULT_LIVENESS
from crypto_quant.binance.liveness import LivenessLimits
from crypto_quant.binance.session import DEFAULT_LIMITS, SessionLimits
from crypto_quant.binance.streams import (
    archive_base,
    check_symbols,
    link_url,
    not_trading,
    parse_stream,
    plan_links,
    rest_base,
    stream_name,
)
from crypto_quant.binance.venues import venue_spec
from crypto_quant.config import Settings
from crypto_quant.continuity import CandleClock
from crypto_quant.errors import ConfigError, ExchangeUnavailable, Throttled
from crypto_quant.flow.archives import ArchiveShelf
from crypto_quant.flow.backfill import Backfiller
from crypto_quant.flow.candles import CandleKeeper
from crypto_quant.flow.collector import BinanceWSCollector
from crypto_quant.flow.delivery import Delivery
from crypto_quant.flow.guard import StreamGuard
from crypto_quant.flow.history_run import HistoryRun, Report
from crypto_quant.flow.intake import Intake, Known
from crypto_quant.flow.loading import TradeLoader, Wanted, day_of
from crypto_quant.flow.loading_candles import CandleLoader
from crypto_quant.flow.pipeline import Pipeline
from crypto_quant.flow.rest import ExchangeRest
from crypto_quant.flow.spool import Spool
from crypto_quant.flow.stats import PipelineStats
from crypto_quant.flow.writer import TimescaleWriter
from crypto_quant.market import Timeframe, fold_symbol
from crypto_quant.net.http import AiohttpClient
from crypto_quant.net.websocket import PicowsConnector
from crypto_quant.ops.clock import SystemClock
from crypto_quant.seams import Batch, Emit, Table
from crypto_quant.store import coverage
from crypto_quant.store.ledger import StoreLedger
from crypto_quant.store.leftover import write_leftover
from crypto_quant.store.paths import data_directory
from crypto_quant.store.setaside import FileQuarantine
from crypto_quant.store.spoolfiles import claim, target_of
from crypto_quant.store.timescale import TimescaleSink, open_sink

_START_TRIES = 4
# so many candles of a series are fetched at most when a recording goes on; `backfill` loads more
_CANDLES_BACK = 10_000
# how long a load waits for a database that is away before it ends; running it again goes on
_STORE_PATIENCE_S = 60.0


class Recorder(msgspec.Struct, frozen=True):
    """A pipeline ready to run, with what a person may want to know about it."""

    pipeline: Pipeline
    intake: Intake
    database_url: str
    quarantine_directory: Path


def data_dir(settings: Settings) -> Path:
    """Return the directory of everything that is kept on disk beside the database."""
    return Path(settings.data_dir).expanduser() if settings.data_dir else data_directory()


def spool_dir(settings: Settings) -> Path:
    """Return the directory that holds the spools of all recorders with these settings."""
    return Path(settings.spool_dir).expanduser() if settings.spool_dir else data_dir(settings) / "spool"


@asynccontextmanager
async def open_recorder(
    settings: Settings,
    emit: Emit,
    rng: random.Random | None = None,
    limits: SessionLimits = DEFAULT_LIMITS,
    liveness: LivenessLimits = DEFAULT_LIVENESS,
) -> AsyncIterator[Recorder]:
    """Check the settings against the exchange, open the database, and yield a recorder.

    ``limits`` say how patient links are, ``liveness`` when a silent stream is looked up.

    ``settings.database_url`` must be set (the command line falls back to the embedded database before it comes here).
    Raises ConfigError for unknown symbols and streams, and the store's errors when the database cannot be used.
    """
    if settings.database_url is None:
        raise ConfigError("no database", hint="Give --database-url or set CRYPTO_QUANT_DATABASE_URL")
    if not settings.symbols:
        raise ConfigError("no symbol", hint="Name at least one, as in: crypto-quant record btcusdt")
    spec = venue_spec(settings.venue)
    streams = [parse_stream(text, spec) for text in dict.fromkeys(settings.streams)]
    ws_url = settings.ws_url or spec.ws_url
    link_url(ws_url, spec)  # a URL that cannot be right is said before anything is asked of anybody
    rng = rng or random.Random()  # noqa: S311  # jitter, not secrets
    http = AiohttpClient()
    try:
        rest = ExchangeRest(spec, rest_base(settings.rest_url or spec.rest_url), http, emit, rng)
        symbols, exchange_ns = await _known_symbols(settings, rest, emit)
        names = [stream_name(symbol, stream) for stream in streams for symbol in symbols]
        plan = plan_links(names, spec.streams_per_link)
        sink = await open_sink(settings.database_url, pool_size=settings.pool_size, emit=emit)
    except BaseException:
        await http.close()
        raise
    spool: Spool | None = None
    try:
        clock = SystemClock()
        stats = PipelineStats(int(asyncio.get_running_loop().time() * 1e9))
        directory = data_dir(settings)
        if settings.spool:
            spool = await _open_spool(settings, settings.database_url, emit)
            stats.trades_taken_over = spool.rows[Table.TRADES]
            stats.candles_taken_over = spool.rows[Table.CANDLES]
        quarantine = FileQuarantine(directory / "set-aside", emit=emit)
        writer = TimescaleWriter(
            sink,
            batch_size=settings.batch_size,
            max_age_s=settings.batch_age,
            stats=stats,
            clock=clock,
            quarantine=quarantine,
            emit=emit,
            rng=rng,
            spool=spool,
        )
        backfiller = None
        if settings.backfill:
            backfiller = Backfiller(
                rest,
                Delivery(sink, settings.venue, quarantine=quarantine, emit=emit, rng=rng),
                ledger=StoreLedger(sink),
                shelf=_shelf(settings, http, emit, rng),
                venue=settings.venue,
                stats=stats,
                emit=emit,
                rng=rng,
                reach=settings.backfill_reach,
            )
        timeframes = [stream.timeframe for stream in streams if stream.timeframe is not None]
        trade_symbols = symbols if len(timeframes) < len(streams) else []
        intake = Intake(
            settings.venue,
            trade_symbols,
            _candle_clocks(symbols, timeframes, settings.candle_grace),
            writer=writer,
            stats=stats,
            quarantine=quarantine,
            emit=emit,
            known=await _known_ids(sink, settings.venue.value, trade_symbols),
            on_gap=backfiller.want if backfiller is not None else None,
        )
        intake.exchange_ns = exchange_ns
        if backfiller is not None:
            backfiller.account = intake
            await _owe_candles(StoreLedger(sink), settings.venue.value, intake.clocks, exchange_ns)
        collector = BinanceWSCollector(
            spec,
            plan,
            intake,
            ws_url=ws_url,
            connector=PicowsConnector(),
            clock=clock,
            stats=stats,
            emit=emit,
            rng=rng,
            redundancy=settings.links,
            # each trade stream is watched by itself: that all are silent at once says no more
            limits=limits if len(timeframes) == len(streams) else msgspec.structs.replace(limits, quiet_s=None),
        )
        guard = StreamGuard(symbols, streams, intake=intake, collector=collector, rest=rest, emit=emit, limits=liveness)

        def save(batches: Sequence[Batch]) -> list[events.RowsLeft]:
            files = write_leftover(directory / "leftover", batches)
            return [events.RowsLeft(rows=left.rows, file=str(left.path), hint=left.psql) for left in files]

        pipeline = Pipeline(
            collector=collector,
            writer=writer,
            keeper=CandleKeeper(intake, rest, emit),
            sink=sink,
            stats=stats,
            emit=emit,
            save_leftover=save,
            backfiller=backfiller,
            guard=guard,
            stats_interval_s=settings.stats_interval,
            drain_s=settings.drain_deadline,
            pending_limit=settings.pending_limit,
        )
        emit(
            events.RecordingStarted(
                venue=settings.venue.value, symbols=len(symbols), streams=len(names), links=len(plan) * settings.links
            )
        )
        intake.report_known_gaps()
        yield Recorder(pipeline, intake, settings.database_url, directory / "set-aside")
    finally:
        await sink.close()
        if spool is not None:
            await spool.close()
        await http.close()


class History(msgspec.Struct, frozen=True):
    """A load of the past ready to run, with the days of the exchange's own time."""

    run: HistoryRun
    wanted: list[Wanted]
    rest: ExchangeRest
    delivery: Delivery
    ledger: StoreLedger


@asynccontextmanager
async def open_history(
    settings: Settings, first: date, last: date, *, jobs: int, emit: Emit, report: Report
) -> AsyncIterator[History]:
    """Check symbols, streams and days against the exchange, open the database, and yield what loads them.

    ``first`` and ``last`` are inclusive days, UTC. Raises ConfigError for symbols, streams and days that cannot be,
    and the store's errors when the database cannot be used.
    """
    if settings.database_url is None:
        raise ConfigError("no database", hint="Give --database-url or set CRYPTO_QUANT_DATABASE_URL")
    if last < first:
        raise ConfigError("the days end before they begin", subject=f"--from {first} --to {last}")
    spec = venue_spec(settings.venue)
    streams = [parse_stream(text, spec) for text in dict.fromkeys(settings.streams)]
    rng = random.Random()  # noqa: S311  # jitter, not secrets
    http = AiohttpClient()
    try:
        rest = ExchangeRest(spec, rest_base(settings.rest_url or spec.rest_url), http, emit, rng)
        shelf = _shelf(settings, http, emit, rng)
        symbols, now_ns = await _known_symbols(settings, rest, emit)
        now_ns = now_ns or SystemClock().now_ns()
        if last > day_of(now_ns):
            raise ConfigError(
                "these days are not over yet: the last one that can be had is today",
                subject=f"--to {last}",
                hint=f"It is {day_of(now_ns)} at the exchange (UTC)",
            )
        sink = await open_sink(settings.database_url, pool_size=jobs + 1, emit=emit)
    except BaseException:
        await http.close()
        raise
    try:
        quarantine = FileQuarantine(data_dir(settings) / "set-aside", emit=emit)
        ledger = StoreLedger(sink)
        delivery = Delivery(
            sink, settings.venue, quarantine=quarantine, emit=emit, rng=rng, patience_s=_STORE_PATIENCE_S
        )
        trades = TradeLoader(
            rest, shelf, delivery, ledger, venue=settings.venue, now_ns=now_ns, quarantine=quarantine, emit=emit
        )
        candles = CandleLoader(rest, shelf, delivery, ledger, venue=settings.venue, now_ns=now_ns, emit=emit)
        wanted = [Wanted(symbol, stream, first, last) for symbol in symbols for stream in streams]
        yield History(HistoryRun(trades, candles, jobs=jobs, report=report), wanted, rest, delivery, ledger)
    finally:
        await sink.close()
        await http.close()


def _shelf(settings: Settings, http: AiohttpClient, emit: Emit, rng: random.Random) -> ArchiveShelf:
    base = archive_base(settings.archive_url or ARCHIVE_URL)
    return ArchiveShelf(base, http, data_dir(settings) / "archive", emit, rng)


async def _open_spool(settings: Settings, database_url: str, emit: Emit) -> Spool:
    """Return the spool, with what earlier runs have left for the same database."""
    root = spool_dir(settings)
    target = target_of(database_url)
    try:
        files, elsewhere = claim(root, target)
        for other in elsewhere:
            emit(
                events.SpoolElsewhere(
                    directory=str(other.directory),
                    target=other.target,
                    bytes=other.size_bytes,
                    hint=f"Record into that database to store them, or write {target!r} into the file 'target' there",
                )
            )
        spool = Spool(files, limit_bytes=settings.spool_limit, emit=emit)
        try:
            await spool.open()
        except BaseException:
            await spool.close()
            raise
    except OSError as problem:
        raise ConfigError(
            "the spool cannot be used",
            subject=str(root),
            hint=f"{problem.strerror or problem}. Set spool_dir to another directory, or record with --no-spool",
        ) from problem
    return spool


async def _known_symbols(settings: Settings, rest: ExchangeRest, emit: Emit) -> tuple[list[str], int]:
    """Return the symbols as stored, checked against the exchange, and the exchange's time (0: unknown)."""
    if not settings.check_symbols:
        return list(dict.fromkeys(fold_symbol(symbol) for symbol in settings.symbols)), 0
    try:
        info = await rest.insist("exchangeInfo", rest.exchange_info, _START_TRIES)
    except (ExchangeUnavailable, Throttled) as problem:
        problem.hint = (
            "The symbols cannot be checked. Mend --rest-url, or record them unchecked with --no-check-symbols"
        )
        raise
    symbols = check_symbols(settings.symbols, info.symbols)
    for symbol, status in not_trading(symbols, info.symbols).items():
        emit(events.SymbolNotTrading(symbol=symbol, status=status))
    return symbols, info.server_time_ns


async def _known_ids(sink: TimescaleSink, venue: str, symbols: Sequence[str]) -> dict[str, Known]:
    """Return what the store has of each symbol, so that recording goes on where it stopped."""
    if not symbols:
        return {}
    async with sink.reading() as connection:
        covered = await coverage.load(connection, venue, symbols)
        absent = await coverage.load_absences(connection, venue, symbols)
    return {
        symbol: Known([(each.first, each.last) for each in ranges], absent.get(symbol, ()))
        for symbol, ranges in covered.items()
    }


async def _owe_candles(
    ledger: StoreLedger, venue: str, clocks: Mapping[tuple[str, Timeframe], CandleClock], exchange_ns: int
) -> None:
    """Begin the candles' accounts behind the newest stored ones, so that those since then are fetched over REST."""
    if not clocks or not exchange_ns:
        return
    series = [(symbol, timeframe.value) for symbol, timeframe in clocks]
    latest = await ledger.latest_candles(venue, series)
    for (symbol, timeframe), clock in clocks.items():
        open_ns = latest.get((symbol, timeframe.value))
        if open_ns is not None and open_ns < exchange_ns:
            following = timeframe.next_open_ns(open_ns)
            length = timeframe.next_open_ns(following) - following
            clock.start(max(following, exchange_ns - _CANDLES_BACK * length))


def _candle_clocks(
    symbols: Sequence[str], timeframes: Sequence[Timeframe], grace_s: float
) -> dict[tuple[str, Timeframe], CandleClock]:
    return {(symbol, frame): CandleClock(frame, int(grace_s * 1e9)) for symbol in symbols for frame in timeframes}
