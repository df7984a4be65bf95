"""The rooms that await, put together over whatever stands behind the seams: a real world or a simulated one."""

import asyncio
import random
from collections.abc import Mapping, Sequence

import msgspec

from crypto_quant import commands, events
from crypto_quant.binance.liveness import DEFAULT_LIMITS as DEFAULT_LIVENESS
from crypto_quant.binance.liveness import LivenessLimits
from crypto_quant.binance.session import DEFAULT_LIMITS, SessionLimits
from crypto_quant.binance.streams import parse_stream, plan_links, stream_name
from crypto_quant.binance.venues import VenueSpec
from crypto_quant.config import Settings
from crypto_quant.continuity import CandleClock, RangeSet
from crypto_quant.flow.archives import ArchiveShelf
from crypto_quant.flow.backfill import Backfiller
from crypto_quant.flow.candles import CandleKeeper
from crypto_quant.flow.clock_watch import ClockWatch
from crypto_quant.flow.collector import BinanceWSCollector
from crypto_quant.flow.confirmed import ConfirmedSink
from crypto_quant.flow.delivery import Delivery
from crypto_quant.flow.guard import StreamGuard
from crypto_quant.flow.intake import Intake, Known
from crypto_quant.flow.pipeline import Pipeline, SaveLeftover
from crypto_quant.flow.rest import ExchangeRest
from crypto_quant.flow.spool import Spool
from crypto_quant.flow.stats import PipelineStats
from crypto_quant.flow.store_guard import StoreGuard
from crypto_quant.flow.symbols import SymbolCheck
from crypto_quant.flow.tally import Tally
from crypto_quant.flow.upkeep import Upkeep
from crypto_quant.flow.watch import Board, Watcher
from crypto_quant.flow.writer import TimescaleWriter
from crypto_quant.market import Timeframe, Venue, utc_text
from crypto_quant.seams import Clock, Closer, Connector, Emit, Housekeeper, KnownSlots, Ledger, Quarantine, Sink, Table
from crypto_quant.words import without_passwords

# so many candles of a series are fetched at most when a recording goes on; `backfill` loads more
_CANDLES_BACK = 10_000


class Parts(msgspec.Struct, frozen=True):
    """A recorder that is ready to run; ``streams`` and ``links`` count what it will ask the exchange for."""

    pipeline: Pipeline
    intake: Intake
    writer: TimescaleWriter
    stats: PipelineStats
    streams: int
    links: int


class Show(msgspec.Struct, frozen=True):
    """Where and as what a recorder shows itself; ``tally`` hears every event. ``database`` holds no secrets.

    ``start`` is the command that starts the database, where it is the embedded one.
    """

    board: Board
    tally: Tally
    version: str
    pid: int
    database: str
    start: str = ""


def assemble(
    settings: Settings,
    spec: VenueSpec,
    symbols: Sequence[str],
    exchange_ns: int,
    *,
    ws_url: str,
    rest: ExchangeRest,
    connector: Connector,
    sink: Sink,
    known: Mapping[str, Known],
    ledger: Ledger,
    shelf: ArchiveShelf | None,
    spool: Spool | None,
    clock: Clock,
    rng: random.Random,
    emit: Emit,
    quarantine: Quarantine,
    save_leftover: SaveLeftover,
    limits: SessionLimits = DEFAULT_LIMITS,
    liveness: LivenessLimits = DEFAULT_LIVENESS,
    housekeepers: Sequence[Housekeeper] = (),
    closer: Closer | None = None,
    show: Show | None = None,
    unchecked: bool = False,
) -> Parts:
    """Return a recorder of ``symbols`` (as stored); ``exchange_ns`` is the exchange's time, 0 when it is unknown.

    ``known`` says what the store has of each symbol; what waits in the ``spool`` counts as had as well. With ``shelf``
    None no archive is asked for what REST has not. With ``spool`` None rows wait in memory alone. ``limits`` say how
    patient links are, ``liveness`` when a silent stream is looked up; a ``housekeeper`` keeps the declared rules of
    the tables, and ``show`` says where watchers look. ``unchecked`` symbols are held against the exchange's own when
    it can be asked. It needs a running event loop, which gives it its monotonic time. Raises ConfigError for unknown
    streams.
    """
    streams = [parse_stream(text, spec) for text in dict.fromkeys(settings.streams)]
    names = [stream_name(symbol, stream) for stream in streams for symbol in symbols]
    plan = plan_links(names, spec.streams_per_link)
    stats = PipelineStats(int(asyncio.get_running_loop().time() * 1e9))
    if spool is not None:
        stats.trades_taken_over = spool.rows[Table.TRADES]
        stats.candles_taken_over = spool.rows[Table.CANDLES]
    timeframes = [stream.timeframe for stream in streams if stream.timeframe is not None]
    traded = symbols if len(timeframes) < len(streams) else ()
    clocks = _candle_clocks(symbols, timeframes, settings.candle_grace)
    confirmed = ConfirmedSink(sink, clocks)
    for symbol in traded:
        for first, last in known.get(symbol, Known()).covered:
            confirmed.confirm(symbol, first, last)
    writer = TimescaleWriter(
        confirmed,
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
            Delivery(confirmed, settings.venue, quarantine=quarantine, emit=emit, rng=rng),
            ledger=ledger,
            shelf=shelf,
            venue=settings.venue,
            stats=stats,
            emit=emit,
            rng=rng,
            reach=settings.backfill_reach,
        )
    intake = Intake(
        settings.venue,
        traded,
        clocks,
        writer=writer,
        stats=stats,
        quarantine=quarantine,
        emit=emit,
        known=known if spool is None else with_spooled(known, spool, settings.venue, symbols),
        on_gap=backfiller.want if backfiller is not None else None,
    )
    writer.on_missing = intake.unreadable
    if backfiller is not None:
        backfiller.account = intake
    intake.exchange_ns = exchange_ns
    collector = BinanceWSCollector(
        spec,
        plan,
        intake,
        ws_url=ws_url,
        connector=connector,
        clock=clock,
        stats=stats,
        emit=emit,
        rng=rng,
        redundancy=settings.links,
        # each trade stream is watched by itself: that all are silent at once says no more
        limits=limits if len(timeframes) == len(streams) else msgspec.structs.replace(limits, quiet_s=None),
    )
    guard = StreamGuard(symbols, streams, intake=intake, collector=collector, rest=rest, emit=emit, limits=liveness)
    watcher = clock_watch = None
    if show is not None:
        clock_watch = ClockWatch(rest, clock, stats, emit)
        watcher = Watcher(
            show.board,
            symbols,
            streams,
            version=show.version,
            pid=show.pid,
            database=show.database,
            rest=rest,
            start=show.start,
            refilled=backfiller is not None,
            source=without_passwords(ws_url),
            intake=intake,
            collector=collector,
            guard=guard,
            writer=writer,
            spool=spool,
            stats=stats,
            tally=show.tally,
            clock=clock,
            emit=emit,
        )
    pipeline = Pipeline(
        collector=collector,
        writer=writer,
        keeper=CandleKeeper(intake, rest, emit, ledger),
        sink=confirmed,
        stats=stats,
        emit=emit,
        save_leftover=save_leftover,
        backfiller=backfiller,
        guard=guard,
        upkeep=[Upkeep(each, clock=clock, emit=emit) for each in housekeepers],
        closer=closer,
        clock=clock,
        store_guard=StoreGuard(confirmed, ledger, intake=intake, emit=emit, refilled=backfiller is not None),
        symbol_check=SymbolCheck(symbols, rest, emit) if unchecked else None,
        clock_watch=clock_watch,
        watcher=watcher,
        stats_interval_s=settings.stats_interval,
        drain_s=settings.drain_deadline,
        pending_limit=settings.pending_limit,
    )
    return Parts(pipeline, intake, writer, stats, len(names), len(plan) * settings.links)


async def owe_candles(
    ledger: Ledger,
    venue: Venue,
    clocks: Mapping[tuple[str, Timeframe], CandleClock],
    exchange_ns: int,
    emit: Emit,
) -> None:
    """Begin the candles' accounts where earlier runs have ended, so that every candle since the first is stored.

    What lies farther back than ``_CANDLES_BACK`` candles is left missing and told. Without the exchange's time
    (0) nothing is owed.
    """
    if not clocks or not exchange_ns:
        return
    floors = {key: max(0, key[1].slot(exchange_ns) - _CANDLES_BACK) for key in clocks}
    since_ns = {(symbol, frame): frame.slot_open_ns(floor) for (symbol, frame), floor in floors.items()}
    for key, known in (await ledger.known_slots(venue.value, since_ns)).items():
        clocks[key].resume(known.covered, known.absent, floor=floors[key], known_open_ns=known.newest_ns)
        _tell_missing(venue, key, known, floors[key], emit)


def _tell_missing(venue: Venue, key: tuple[str, Timeframe], known: KnownSlots, floor: int, emit: Emit) -> None:
    """Tell of the candles that earlier runs have left out, and of those among them that are not fetched now."""
    symbol, frame = key
    if not known.covered:
        return
    first, last = known.covered[0][0], known.covered[-1][1]
    held = RangeSet([*known.covered, *known.absent])
    fetched = sum(gap.size for gap in held.missing(max(first, floor), last)) if last >= floor else 0
    if fetched:
        emit(events.CandlesKnownMissing(venue=venue.value, symbol=symbol, timeframe=frame.value, slots=fetched))
    left = held.missing(first, floor - 1) if first < floor else []
    if left:
        begin, end = utc_text(frame.slot_open_ns(left[0].first)), utc_text(frame.slot_open_ns(left[-1].last))
        days = {"first": begin[:10], "last": end[:10]}
        emit(
            events.CandlesLeftOpen(
                venue=venue.value,
                symbol=symbol,
                timeframe=frame.value,
                first_open=begin,
                last_open=end,
                slots=sum(gap.size for gap in left),
                cause=f"farther back than {_CANDLES_BACK:,} candles",
                hint=commands.backfill(venue.value, symbol, **days, timeframe=frame.value),
            )
        )


def with_spooled(known: Mapping[str, Known], spool: Spool, venue: Venue, symbols: Sequence[str]) -> dict[str, Known]:
    """Return what is stored or will be: ids in the spool are not missing, and nobody must fetch them."""
    held = {symbol: known.get(symbol, Known()) for symbol in symbols}
    return {
        symbol: each._replace(covered=[*each.covered, *spool.ids(venue.value, symbol)]) for symbol, each in held.items()
    }


def _candle_clocks(
    symbols: Sequence[str], timeframes: Sequence[Timeframe], grace_s: float
) -> dict[tuple[str, Timeframe], CandleClock]:
    return {(symbol, frame): CandleClock(frame, int(grace_s * 1e9)) for symbol in symbols for frame in timeframes}
