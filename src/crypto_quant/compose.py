"""Puts a recorder together: the one place that knows every room. The command line and library users both start here."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from crypto_quant import events
from crypto_quant.binance.streams import (
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
from crypto_quant.flow.candles import CandleKeeper
from crypto_quant.flow.collector import BinanceWSCollector
from crypto_quant.flow.intake import Intake, Known
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
from crypto_quant.store.leftover import write_leftover
from crypto_quant.store.paths import data_directory
from crypto_quant.store.setaside import FileQuarantine
from crypto_quant.store.spoolfiles import claim, target_of
from crypto_quant.store.timescale import TimescaleSink, open_sink

_START_TRIES = 4


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
async def open_recorder(settings: Settings, emit: Emit, rng: random.Random | None = None) -> AsyncIterator[Recorder]:
    """Check the settings against the exchange, open the database, and yield a recorder.

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
        )
        intake.exchange_ns = exchange_ns
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
        )

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
            stats_interval_s=settings.stats_interval,
            drain_s=settings.drain_deadline,
            pending_limit=settings.pending_limit,
        )
        emit(
            events.RecordingStarted(
                venue=settings.venue.value, symbols=len(symbols), streams=len(names), links=len(plan)
            )
        )
        intake.report_known_gaps()
        yield Recorder(pipeline, intake, settings.database_url, directory / "set-aside")
    finally:
        await sink.close()
        if spool is not None:
            await spool.close()
        await http.close()


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


def _candle_clocks(
    symbols: Sequence[str], timeframes: Sequence[Timeframe], grace_s: float
) -> dict[tuple[str, Timeframe], CandleClock]:
    return {(symbol, frame): CandleClock(frame, int(grace_s * 1e9)) for symbol in symbols for frame in timeframes}
