"""A whole world from one seed: runs it, watches it, and says whether the recorder kept its promise."""

import asyncio
import gc
from collections.abc import Callable

import msgspec

from crypto_quant.sim.world.checks import Broken, Checks
from crypto_quant.sim.world.database import Database
from crypto_quant.sim.world.exchange import Exchange, WorldHttp
from crypto_quant.sim.world.loop import Process, Standstill, VirtualLoop
from crypto_quant.sim.world.network import Network
from crypto_quant.sim.world.plan import CALM_S, Fault, Plan, draw
from crypto_quant.sim.world.recorder import Disk, Life, WallClock, drained
from crypto_quant.sim.world.trace import Trace

_RESTART_S = 2.0
_STOP_S = 90.0


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a world ended: ``failure`` is '' when every invariant held. ``seconds`` are virtual."""

    seed: int
    failure: str
    digest: str
    seconds: float
    printed: int
    stored: int
    lives: int
    crashes: int
    holes: int


class World:
    """Everything there is, in one event loop."""

    def __init__(self, plan: Plan, tell: Callable[[str], None] | None = None) -> None:
        self.plan = plan
        self.loop = VirtualLoop()
        self.trace = Trace(self.loop, tell)
        self.exchange = Exchange(plan, self.loop, self.trace)
        self.network = Network(self.exchange)
        self.http = WorldHttp(self.exchange)
        self.checks = Checks(self.exchange, self.network)
        self.database = Database(self.exchange, self._on_commit)
        self.clock = WallClock(self.exchange)
        self.disk = Disk()
        self.lives = 0
        self.crashes = 0
        self.life: Life | None = None
        self._task: asyncio.Task[None] | None = None
        self._began_s = self.loop.time()
        self._broken: Broken | None = None
        self._down_until_s = 0.0
        self.network.on_delivered = self._on_delivered

    def run(self) -> Outcome:
        """Run the world to its end; no invariant's failure is raised, it is in the outcome."""
        failure = ""
        try:
            self.loop.run_until_complete(self._run())
        except (Broken, Standstill) as broken:
            failure = str(broken)
        finally:
            if self.life is not None:
                self.life.process.crash()
            self.trace("world", failure or "every invariant held")
            self.loop.dispose()
        return Outcome(
            seed=self.plan.seed,
            failure=failure,
            digest=self.trace.digest,
            seconds=self._now_s(),
            printed=self.exchange.market.printed,
            stored=sum(len(ids) for ids in self.database.ids.values()),
            lives=self.lives,
            crashes=self.crashes,
            holes=self.checks.holes(self.database),
        )

    async def _run(self) -> None:
        self.trace("world", f"storm of {self.plan.storm_s:.0f} s, {self.plan.rates}, {self.plan.settings}")
        self.exchange.run()
        for fault in self.plan.faults:
            self.loop.call_at(self._began_s + fault.at_s, self._strike, fault)
        while self._now_s() < self.plan.storm_s:
            await self._second()
        self.trace("world", "calm")
        self._calm()
        unfinished = "calm has just begun"
        while unfinished and self._now_s() < self.plan.ends_s:
            for _ in range(10):
                await self._second()
            unfinished = "no recorder runs" if self.life is None else self.checks.unfinished(self.life, self.database)
        if unfinished:
            raise Broken(f"{CALM_S:.0f} s after the last fault: {unfinished}")
        await self._stop_in_order()

    def _calm(self) -> None:
        now_s = self.loop.time()
        self.exchange.calm = True
        self.exchange.away_until_s = min(self.exchange.away_until_s, now_s)
        self.database.away_until_s = self.database.denied_until_s = now_s
        self.http.limited_until_s = now_s

    async def _second(self) -> None:
        """Let a second pass; bring up a recorder when none runs."""
        if self._task is not None and self._task.done():
            self._ended(self._task)
        if self._task is None and self.loop.time() >= self._down_until_s:
            self._begin()
        await asyncio.sleep(1.0)
        self._raise_broken()
        if self.life is not None and self.life.process.alive:
            self.checks.running(self.life, self.database)

    def _begin(self) -> None:
        self.lives += 1
        process = Process(f"recorder{self.lives}", self.loop)
        self.trace("world", f"{process.name} is started")
        self.life = Life(process, self.exchange, self.network, self.http, self.database, self.clock, self.disk)
        self._task = process.start(self.life.run())

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A recorder has ended by itself: it may do so when it cannot start, or when it was told to stop."""
        life, self.life, self._task = self.life, None, None
        if life is None:
            return
        failure = task.exception()
        if failure is not None:
            raise Broken(f"the recorder failed: {failure!r}")
        if not life.refused_start and (life.parts is None or not life.parts.pipeline.stopping):
            raise Broken("the recorder ended by itself")
        self._down_until_s = max(self._down_until_s, self.loop.time() + _RESTART_S)
        if life.parts is not None:
            self.loop.create_task(self._settle(life))

    async def _settle(self, life: Life) -> None:
        try:
            await drained(life, self.database)
            self.checks.accounted(life, self.database)
            self.checks.absences(life)
        except Broken as broken:
            self._broken = broken

    async def _stop_in_order(self) -> None:
        life, task = self.life, self._task
        if life is None or task is None:
            raise Broken("no recorder runs at the end")
        life.stop()
        await asyncio.wait({task}, timeout=_STOP_S)
        if not task.done():
            raise Broken(f"the drain takes longer than {_STOP_S:.0f} s")
        self._ended(task)
        await asyncio.sleep(5.0)
        self._raise_broken()

    # -- misfortunes --------------------------------------------------------------------------------------

    def _strike(self, fault: Fault) -> None:
        now_s = self.loop.time()
        self.trace("world", fault)
        life = self.life
        if fault.kind == "crash":
            if life is not None:
                self._down_until_s = now_s + fault.for_s
                life.process.crash_after(1 + int(fault.amount * 200))
                self.loop.call_later(0.5, self._bury, life)
        elif fault.kind == "stop":
            if life is not None:
                self._down_until_s = now_s + fault.for_s
                life.stop()
        elif fault.kind == "database away":
            self.database.away_until_s = now_s + fault.for_s
        elif fault.kind == "database denies":
            self.database.denied_until_s = now_s + fault.for_s
        elif fault.kind == "exchange away":
            self.exchange.away_until_s = now_s + fault.for_s
            for link in list(self.network.links):
                link.reset()
        elif fault.kind == "rest limit":
            self.http.limited_until_s = now_s + fault.for_s
        elif fault.kind == "clock jump":
            self.clock.offset_ns += int((fault.amount - 0.5) * 7200e9)
        else:
            self._strike_links(fault)

    def _strike_links(self, fault: Fault) -> None:
        for link in list(self.network.links):
            if self.exchange.dice.random() < fault.amount:
                continue
            if fault.kind == "drop links":
                link.reset()
            elif fault.kind == "half-open links":
                link.silent = True
            elif fault.kind == "stall links":
                link.stalled_until_s = self.loop.time() + fault.for_s
            else:
                link.server_shutdown()

    def _bury(self, life: Life) -> None:
        """The crash has happened, or happens now: the machine comes up again later."""
        life.process.crash()
        self.crashes += 1
        self.trace("world", f"{life.process.name} was killed")
        self.network.leave(life.process)
        if self.life is life:
            self.life, self._task = None, None

    # -- watching -----------------------------------------------------------------------------------------

    def _on_commit(self, table: object, row: object) -> None:
        try:
            self.checks.on_commit(table, row)  # type: ignore[arg-type]
        except Broken as broken:
            # told to the world, not to the recorder whose commit it is
            self._broken = self._broken or broken

    def _on_delivered(self, process: Process, payload: bytes) -> None:
        if self.life is not None and self.life.process is process:
            self.life.on_delivered(payload)

    def _raise_broken(self) -> None:
        if self._broken is not None:
            raise self._broken

    def _now_s(self) -> float:
        return self.loop.time() - self._began_s


def run(seed: int, *, hours: float | None = None, tell: Callable[[str], None] | None = None) -> Outcome:
    """Run the world of a seed and return how it ended; ``tell`` gets every line of its trace."""
    collecting = gc.isenabled()
    # what a world leaves is one large knot; freeing it at a moment of our own choice keeps the trace the seed's alone
    gc.disable()
    try:
        outcome = World(draw(seed, hours), tell).run()
    finally:
        if collecting:
            gc.enable()
    return outcome
