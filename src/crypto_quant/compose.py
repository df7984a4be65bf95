"""Puts a recorder together: the one place that knows every room. The command line and library users both start here."""

import asyncio
import os
import random
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import date
from importlib.metadata import version
from pathlib import Path

import msgspec

from crypto_quant import events
from crypto_quant.binance.archive import ARCHIVE_URL
from crypto_quant.binance.history import ExchangeInfo
from crypto_quant.binance.liveness import DEFAULT_LIMITS as DEFAULT_LIVENESS
from crypto_quant.binance.liveness import LivenessLimits
from crypto_quant.binance.session import DEFAULT_LIMITS, SessionLimits
from crypto_quant.binance.streams import (
    archive_base,
    link_url,
    parse_stream,
    rest_base,
)
from crypto_quant.binance.venues import VenueSpec, venue_spec
from crypto_quant.config import Settings
from crypto_quant.errors import ConfigError, CryptoQuantError, ExchangeUnavailable, Throttled
from crypto_quant.flow.archives import ArchiveShelf
from crypto_quant.flow.assembly import Show, assemble, owe_candles
from crypto_quant.flow.audit import Progress
from crypto_quant.flow.candle_lines import CandleLines
from crypto_quant.flow.delivery import Delivery
from crypto_quant.flow.history_run import HistoryRun, Report
from crypto_quant.flow.intake import Intake, Known
from crypto_quant.flow.loading import TradeLoader, Wanted
from crypto_quant.flow.loading_candles import CandleLoader
from crypto_quant.flow.pipeline import Pipeline
from crypto_quant.flow.rest import ExchangeRest
from crypto_quant.flow.revival import Revival
from crypto_quant.flow.sample import Rows, Sampler
from crypto_quant.flow.spool import Spool
from crypto_quant.flow.symbols import START_PATIENCE_S, known_symbols, unchecked_symbols
from crypto_quant.flow.tally import Tally
from crypto_quant.market import Venue, day_of, fold_symbol
from crypto_quant.net.http import AiohttpClient
from crypto_quant.net.proxies import Proxies
from crypto_quant.net.websocket import PicowsConnector
from crypto_quant.ops import board, surroundings
from crypto_quant.ops.clock import SystemClock
from crypto_quant.ops.threads import in_thread
from crypto_quant.seams import Batch, Emit, Table
from crypto_quant.snapshot import DiskView, ProcessView, Snapshot
from crypto_quant.store import coverage
from crypto_quant.store.embedded import EmbeddedDatabase
from crypto_quant.store.holdings import recorded_symbols
from crypto_quant.store.ledger import StoreLedger
from crypto_quant.store.leftover import write_leftover
from crypto_quant.store.paths import data_dir, spool_dir
from crypto_quant.store.setaside import FileQuarantine
from crypto_quant.store.spoolfiles import claim, target_of
from crypto_quant.store.symbols import note_symbols
from crypto_quant.store.timescale import TimescaleSink, open_sink
from crypto_quant.store.upkeep import StoreUpkeep
from crypto_quant.upkeep import RecordUpkeep

# how long a load waits for a database that is away before it ends; running it again goes on
_STORE_PATIENCE_S = 60.0


class Recorder(msgspec.Struct, frozen=True):
    """A pipeline ready to run, with what a person may want to know about it."""

    pipeline: Pipeline
    intake: Intake
    database_url: str
    quarantine_directory: Path


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
    for text in settings.streams:
        parse_stream(text, spec)
    ws_url = settings.ws_url or spec.ws_url
    # a URL or a proxy that cannot be right is said before anything is asked of anybody
    _check_ways(link_url(ws_url, spec), *_http_urls(settings, spec))
    rng = rng or random.Random()  # noqa: S311  # jitter, not secrets
    candle_lines = CandleLines(emit) if _many_candles(settings) else None
    tally = Tally(candle_lines or emit, SystemClock())
    revival = _revival(settings, tally)
    emit = revival or tally
    http = AiohttpClient()
    try:
        rest = ExchangeRest(spec, rest_base(settings.rest_url or spec.rest_url), http, emit, rng)
        heard: list[ExchangeInfo] = []
        unchecked: ExchangeUnavailable | Throttled | None = None
        symbols: list[str] = []
        exchange_ns = 0
        try:
            symbols, exchange_ns = await known_symbols(settings, rest, emit, START_PATIENCE_S, hear=heard.append)
        except (ExchangeUnavailable, Throttled) as problem:
            unchecked = problem
        sink = await open_sink(settings.database_url, pool_size=settings.pool_size, emit=emit)
    except BaseException:
        await http.close()
        raise
    spool: Spool | None = None
    noticeboard = Noticeboard(data_dir(settings), [data_dir(settings), spool_dir(settings)])
    try:
        await _note_symbols(sink, settings, heard)
        if revival is not None:
            revival.begin()
        directory = data_dir(settings)
        if unchecked is not None:
            symbols = unchecked_symbols(settings, await recorded_symbols(sink, settings.venue.value), unchecked, emit)
        if settings.spool:
            spool = await _open_spool(settings, settings.database_url, emit)

        def save(batches: Sequence[Batch]) -> list[events.RowsLeft]:
            files = write_leftover(directory / "leftover", batches)
            return [
                events.RowsLeft(rows=left.rows, file=str(left.path), hint=f"Load them with: {left.command}")
                for left in files
            ]

        record = RecordUpkeep(settings.database_url, settings.venue.value, symbols)
        parts = assemble(
            settings,
            spec,
            symbols,
            exchange_ns,
            ws_url=ws_url,
            rest=rest,
            connector=PicowsConnector(),
            sink=sink,
            known=await _known_ids(sink, settings.venue.value, symbols),
            ledger=StoreLedger(sink),
            shelf=_shelf(settings, http, emit, rng),
            spool=spool,
            clock=SystemClock(),
            rng=rng,
            emit=emit,
            quarantine=FileQuarantine(directory / "set-aside", emit=emit),
            save_leftover=save,
            limits=limits,
            liveness=liveness,
            housekeepers=(StoreUpkeep(settings.database_url), record),
            closer=record,
            unchecked=unchecked is not None,
            show=Show(
                noticeboard,
                tally,
                version("crypto-quant"),
                os.getpid(),
                target_of(settings.database_url),
                start=revival.command if revival is not None else "",
            ),
        )
        if settings.backfill:
            clocks = parts.intake.clocks
            if clocks and not exchange_ns and unchecked is None:
                exchange_ns = await _exchange_time(rest, emit)
            # only how far back is owed goes by it: ours will do
            exchange_ns = exchange_ns or SystemClock().now_ns()
            await owe_candles(StoreLedger(sink), settings.venue, clocks, exchange_ns, emit)
        emit(
            events.RecordingStarted(
                venue=settings.venue.value, symbols=len(symbols), streams=parts.streams, links=parts.links
            )
        )
        parts.intake.report_known_gaps()
        yield Recorder(parts.pipeline, parts.intake, settings.database_url, directory / "set-aside")
    finally:
        if candle_lines is not None:
            candle_lines.close()
        if revival is not None:
            await revival.close()
        await sink.close()
        if spool is not None:
            await spool.close()
        await noticeboard.close()
        await http.close()


class Noticeboard:
    """The board of this process in a data directory, put up when first something is shown; disks may take their time.

    ``directories`` are those whose disks are told of.
    """

    def __init__(self, data_directory: Path, directories: Sequence[Path]) -> None:
        self._directory = data_directory / board.DIRECTORY
        self._directories = directories
        self._writer: board.BoardWriter | None = None

    async def surroundings(self) -> tuple[tuple[DiskView, ...], ProcessView]:
        """Return what only the system knows of this process."""
        return await asyncio.to_thread(lambda: (surroundings.disks(self._directories), surroundings.process()))

    async def show(self, snapshot: Snapshot) -> None:
        """Replace what is shown. Raises OSError."""
        await asyncio.to_thread(self._show, snapshot)

    async def close(self) -> None:
        """Show nothing any more."""
        if self._writer is not None:
            await asyncio.to_thread(self._writer.take_down)

    def _show(self, snapshot: Snapshot) -> None:
        if self._writer is None:
            self._writer = board.put_up(self._directory)
        self._writer.show(snapshot)


class History(msgspec.Struct, frozen=True):
    """A load of the past ready to run, with the days of the exchange's own time."""

    run: HistoryRun
    wanted: list[Wanted]
    rest: ExchangeRest
    delivery: Delivery
    ledger: StoreLedger


@asynccontextmanager
async def open_history(
    settings: Settings,
    first: date,
    last: date,
    *,
    jobs: int,
    emit: Emit,
    report: Report,
    accepted: Collection[str] = (),
) -> AsyncIterator[History]:
    """Check symbols, streams and days against the exchange, open the database, and yield what loads them.

    ``first`` and ``last`` are inclusive days, UTC. ``accepted`` are names of archive files that are used though their
    checksum is wrong. Raises ConfigError for symbols, streams and days that cannot be,
    and the store's errors when the database cannot be used.
    """
    if settings.database_url is None:
        raise ConfigError("no database", hint="Give --database-url or set CRYPTO_QUANT_DATABASE_URL")
    if last < first:
        raise ConfigError("the days end before they begin", subject=f"--from {first} --to {last}")
    spec = venue_spec(settings.venue)
    _check_ways(*_http_urls(settings, spec))
    streams = [parse_stream(text, spec) for text in dict.fromkeys(settings.streams)]
    rng = random.Random()  # noqa: S311  # jitter, not secrets
    revival = _revival(settings, emit)
    emit = revival or emit
    http = AiohttpClient()
    try:
        rest = ExchangeRest(spec, rest_base(settings.rest_url or spec.rest_url), http, emit, rng)
        shelf = _shelf(settings, http, emit, rng, accepted)
        heard: list[ExchangeInfo] = []
        symbols, now_ns = await known_symbols(settings, rest, emit, hear=heard.append)
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
        await _note_symbols(sink, settings, heard)
        if revival is not None:
            revival.begin()
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
        yield History(HistoryRun(trades, candles, shelf, jobs=jobs, report=report), wanted, rest, delivery, ledger)
    finally:
        if revival is not None:
            await revival.close()
        await sink.close()
        await http.close()


@asynccontextmanager
async def open_sampler(
    settings: Settings, rows: Rows, venues: Sequence[Venue], emit: Emit, progress: Progress
) -> AsyncIterator[Sampler]:
    """Yield what holds samples of these venues against the exchange; ``settings.rest_url`` stands for all of them."""
    rng = random.Random()  # noqa: S311  # jitter, not secrets
    http = AiohttpClient()
    try:
        specs = {venue: venue_spec(venue) for venue in venues}
        exchanges = {
            venue.value: ExchangeRest(spec, rest_base(settings.rest_url or spec.rest_url), http, emit, rng)
            for venue, spec in specs.items()
        }
        yield Sampler(rows, exchanges, _shelf(settings, http, emit, rng), progress)
    finally:
        await http.close()


def _http_urls(settings: Settings, spec: VenueSpec) -> tuple[str, str]:
    """Return where REST and the archive are. Raises ConfigError for what is no URL."""
    return rest_base(settings.rest_url or spec.rest_url), archive_base(settings.archive_url or ARCHIVE_URL)


def _check_ways(*urls: str) -> None:
    """Raise ConfigError when the proxy for one of these URLs cannot be used."""
    proxies = Proxies(os.environ)
    for url in urls:
        proxies.of(url)


def _many_candles(settings: Settings) -> bool:
    """Whether more series of candles are recorded than the log has lines for."""
    spec = venue_spec(settings.venue)
    timed = [each for each in dict.fromkeys(settings.streams) if parse_stream(each, spec).timeframe is not None]
    return len(set(map(fold_symbol, settings.symbols))) * len(timed) > settings.candle_lines


def _revival(settings: Settings, emit: Emit) -> Revival | None:
    """Return what starts the database again when it dies; None when it is not the embedded one of these settings."""
    database = EmbeddedDatabase(data_dir(settings))
    if settings.database_url is None or target_of(settings.database_url) != target_of(database.url()):
        return None
    return Revival(emit, lambda: in_thread(database.revive), str(database.directory), database.start_command())


def _shelf(
    settings: Settings, http: AiohttpClient, emit: Emit, rng: random.Random, accepted: Collection[str] = ()
) -> ArchiveShelf:
    base = archive_base(settings.archive_url or ARCHIVE_URL)
    return ArchiveShelf(base, http, data_dir(settings) / "archive", emit, rng, accepted)


async def _exchange_time(rest: ExchangeRest, emit: Emit) -> int:
    """Return the exchange's time in ns; 0 when REST does not tell."""
    try:
        return await rest.server_time_ns()
    except CryptoQuantError as problem:
        emit(events.RestFailed(request="time", cause=str(problem), retry_in_s=None))
        return 0


async def _note_symbols(sink: TimescaleSink, settings: Settings, heard: Sequence[ExchangeInfo]) -> None:
    """Keep what the exchange lists, so that assets of symbols are known without asking it."""
    for info in heard:
        await note_symbols(sink, settings.venue, info.listings, info.server_time_ns)


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


async def _known_ids(sink: TimescaleSink, venue: str, symbols: Sequence[str]) -> dict[str, Known]:
    """Return what the store has of each symbol, so that recording goes on where it stopped."""
    if not symbols:
        return {}
    async with sink.reading() as connection:
        covered = await coverage.load(connection, venue, symbols)
        absent = await coverage.load_absences(connection, venue, symbols)
        dropped = await coverage.load_dropped(connection, Table.TRADES, [(venue, symbol) for symbol in symbols])
    for (_, symbol), ranges in dropped.items():
        # as what exists nowhere, it is not owed
        absent.setdefault(symbol, []).extend((first, last) for first, last, _ in ranges)
    return {
        symbol: Known([(each.first, each.last) for each in found], absent.get(symbol, ()))
        for symbol, found in covered.items()
    }
