"""One life of the recorder: the real rooms over a world's seams, from its start to its end or its death."""

import asyncio
from random import Random

import msgspec

from crypto_quant import events
from crypto_quant.binance.venues import venue_spec
from crypto_quant.continuity import Gap
from crypto_quant.errors import ConfigError, RetryableError, StoreDenied
from crypto_quant.flow.archives import ArchiveShelf
from crypto_quant.flow.assembly import Parts, assemble, owe_candles
from crypto_quant.flow.pipeline import Ending
from crypto_quant.flow.rest import ExchangeRest
from crypto_quant.flow.symbols import known_symbols
from crypto_quant.market import wire_symbol
from crypto_quant.seams import Emit
from crypto_quant.sim.aggregate import Aggregate
from crypto_quant.sim.intervals import LENGTHS_US
from crypto_quant.sim.world.archive import ARCHIVE_URL
from crypto_quant.sim.world.database import Database, WorldLedger
from crypto_quant.sim.world.disk import Disk
from crypto_quant.sim.world.exchange import BASE_URL, Exchange, WorldHttp
from crypto_quant.sim.world.loop import Process
from crypto_quant.sim.world.network import WS_URL, Network
from crypto_quant.sim.world.spoolwatch import SpoolWatch
from crypto_quant.sim.world.versions import version_in


class WallClock:
    """``Clock`` of the recorder's machine: it can be set wrong at any moment."""

    def __init__(self, exchange: Exchange) -> None:
        self._loop = exchange.loop
        self._start_us = exchange.plan.start_us
        self._began_s = exchange.loop.time()
        self.offset_ns = 0

    def now_ns(self) -> int:
        """Return what the machine believes."""
        return self._start_us * 1000 + int((self._loop.time() - self._began_s) * 1e9) + self.offset_ns


class WorldQuarantine:
    """``Quarantine`` of one process on the world's disk; what the disk does not take is counted, and told once."""

    def __init__(self, disk: Disk, emit: Emit) -> None:
        self._disk = disk
        self._emit = emit
        self._told = False

    def keep(self, kind: str, raw: bytes, reason: str) -> None:
        """Keep what is set aside."""
        if not self._disk.keep(kind, raw, reason) and not self._told:
            self._told = True
            self._emit(events.SetAsideLost(directory="set-aside", cause="the disk refuses"))


class Life:
    """One run of the recorder. ``heard`` are the ids per wire symbol that it was given while it took frames."""

    def __init__(
        self,
        process: Process,
        exchange: Exchange,
        network: Network,
        http: WorldHttp,
        database: Database,
        clock: WallClock,
        disk: Disk,
        watch: SpoolWatch,
    ) -> None:
        self.process = process
        self.exchange = exchange
        self.disk = disk
        self.watch = watch
        self.parts: Parts | None = None
        self.ending: Ending | None = None
        self.refused_start = False
        self.recording_from_us = 0
        # (symbol, timeframe) -> open time in µs of the first candle that was covered when it started
        self.candles_from_us: dict[tuple[str, str], int] = {}
        self.heard: dict[str, set[int]] = {}
        # the versions taken of trades that the exchange has told with more than one content
        self.versions: dict[Aggregate, None] = {}
        self.absent: list[events.CandleAbsent] = []
        self._network = network
        self._http = http
        self._database = database
        self._clock = clock

    async def run(self) -> None:
        """Start and record until ``stop``; what it raises beyond a refused start is a broken invariant."""
        plan, settings = self.exchange.plan, self.exchange.plan.settings
        spec = msgspec.structs.replace(
            venue_spec(settings.venue),
            streams_per_link=plan.streams_per_link,
            life_s=int(plan.link_life_s),
        )
        dice = Random(f"{self.process.name} {plan.seed}")  # noqa: S311
        rest = ExchangeRest(spec, BASE_URL, self._http, self._emit, dice)
        try:
            symbols, exchange_ns = await known_symbols(settings, rest, self._emit)
            self._database.health()
        except (RetryableError, ConfigError, StoreDenied) as problem:
            self._cannot_start(problem)
            return
        spool = None
        if settings.spool:
            spool = self.watch.spool(settings.spool_limit, plan.disk.segment_bytes, self._emit)
            try:
                await spool.open()
            except OSError as problem:
                self._cannot_start(problem)
                return
            self.watch.opened(spool)
        ledger = WorldLedger(self._database)
        parts = assemble(
            settings,
            spec,
            symbols,
            exchange_ns,
            ws_url=WS_URL,
            rest=rest,
            connector=self._network.connector(self.process),
            sink=self._database.open(self.process.name),
            known={symbol: self._database.known(symbol) for symbol in symbols},
            ledger=ledger,
            shelf=ArchiveShelf(ARCHIVE_URL, self._http, self.disk.archive, self._emit, dice),
            spool=spool,
            clock=self._clock,
            rng=dice,
            emit=self._emit,
            quarantine=WorldQuarantine(self.disk, self._emit),
            save_leftover=self.disk.save,
        )
        try:
            await owe_candles(ledger, settings.venue, parts.intake.clocks, exchange_ns, self._emit)
        except (RetryableError, StoreDenied) as problem:
            self._cannot_start(problem)
            return
        self.parts = parts
        for symbol in symbols:
            for gap in self.gaps(symbol):
                self.watch.gap(symbol, gap)
        self.recording_from_us = self.exchange.now_us()
        self.candles_from_us = {
            (symbol, interval): min(slots) * LENGTHS_US[interval]
            for (symbol, interval), slots in self._database.slots.items()
        }
        parts.intake.report_known_gaps()
        self.ending = await parts.pipeline.run()

    def _cannot_start(self, problem: Exception) -> None:
        self.exchange.trace(self.process.name, f"cannot start: {problem}")
        self.refused_start = True

    def stop(self) -> None:
        """Ask it to end in order."""
        if self.parts is not None:
            self.parts.pipeline.stop()

    def gaps(self, symbol: str) -> list[Gap]:
        """Return the ids of a stored symbol that it knows to be missing, as inclusive ranges."""
        if self.parts is None:
            return []
        state = self.parts.intake._trades[wire_symbol(symbol)]  # what it knows, it tells nobody
        return list(state.sequencer.gaps)

    @property
    def frames(self) -> int:
        """How many frames it has taken; a newcomer's are held back for a while, and a drain takes none."""
        return self.parts.stats.frames_received if self.parts is not None else 0

    def took(self, payload: bytes) -> None:
        """Note an undamaged trade that the recorder has taken."""
        one = version_in(self.exchange, payload)
        if one is not None:
            self.heard.setdefault(one.symbol, set()).add(one.agg_id)
            if (one.symbol, one.agg_id) in self.exchange.versions:
                self.versions[one] = None

    def _emit(self, event: object) -> None:
        self.exchange.trace(self.process.name, event)
        self.exchange.saw(type(event).__name__)
        if isinstance(event, events.GapFilled):
            self.exchange.saw(f"filled from {event.source}")
        self.watch.on_event(event)
        if isinstance(event, events.CandleAbsent):
            self.absent.append(event)
        elif isinstance(event, events.GapFound):
            self.watch.gap(event.symbol, Gap(event.first, event.last))


async def drained(life: Life, database: Database) -> None:
    """Load what a drain has left in files, as a person does with the command that it printed."""
    for batch in life.disk.take_left():
        await asyncio.sleep(0.01)
        for row in batch.rows:
            if not database.load(batch.table, row):
                life.disk.keep("row", row, "it is still in the file")
