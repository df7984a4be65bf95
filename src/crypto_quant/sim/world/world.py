"""A whole world from one seed: runs it, watches it, and says whether the recorder kept its promise."""

import asyncio
import gc
import random
from collections.abc import Callable

import msgspec

from crypto_quant.seams import LinkHandler
from crypto_quant.sim.world.broken import Broken
from crypto_quant.sim.world.checks import Checks
from crypto_quant.sim.world.database import Database
from crypto_quant.sim.world.exchange import Exchange
from crypto_quant.sim.world.fault import Fault
from crypto_quant.sim.world.loop import Process, Standstill, VirtualLoop
from crypto_quant.sim.world.machine import FAULTS, Machine
from crypto_quant.sim.world.network import Network
from crypto_quant.sim.world.plan import Plan, draw
from crypto_quant.sim.world.spoolwatch import SpoolUse
from crypto_quant.sim.world.tampering import tamper
from crypto_quant.sim.world.trace import Trace

_SILENT_BEFORE_HALT_S = 30.0


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a world ended: ``failure`` is '' when every invariant held. ``seconds`` are virtual.

    ``events`` counts what the recorders told and what was done to them, by name.
    """

    seed: int
    failure: str
    digest: str
    seconds: float
    printed: int
    stored: int
    lives: int
    crashes: int
    holes: int
    events: dict[str, int]
    spool: SpoolUse


class World:
    """Everything there is, in one event loop."""

    def __init__(self, plan: Plan, tell: Callable[[str], None] | None = None) -> None:
        self.plan = plan
        self.loop = VirtualLoop()
        self.trace = Trace(self.loop, tell)
        self.exchange = Exchange(plan, self.loop, self.trace)
        self.network = Network(self.exchange)
        self.checks = Checks(self.exchange, self.network)
        self.database = Database(self.exchange, self._on_commit)
        self.database.on_absence = self._on_absence
        names = ("recorder",) if plan.oddities.partner is None else ("recorder", "partner")
        self.machines = [Machine(name, self.network, self.database, self.checks) for name in names]
        self._began_s = self.loop.time()
        self._broken: Broken | None = None
        self.network.deliver = self._deliver

    def run(self) -> Outcome:
        """Run the world to its end; no invariant's failure is raised, it is in the outcome."""
        failure = ""
        try:
            self.loop.run_until_complete(self._run())
        except (Broken, Standstill) as broken:
            failure = str(broken)
        finally:
            for machine in self.machines:
                machine.dispose()
            self.trace("spool", self.machines[0].watch.use)
            self.trace("world", failure or "every invariant held")
            self.loop.dispose()
        return Outcome(
            seed=self.plan.seed,
            failure=failure,
            digest=self.trace.digest,
            seconds=self._now_s(),
            printed=self.exchange.market.printed,
            stored=sum(len(ids) for ids in self.database.ids.values()),
            lives=sum(machine.lives for machine in self.machines),
            crashes=sum(machine.crashes for machine in self.machines),
            holes=self.checks.holes(self.database),
            events=dict(sorted(self.exchange.seen.items())),
            spool=self.machines[0].watch.use,
        )

    async def _run(self) -> None:
        oddities = self.plan.oddities
        self.trace("world", f"storm of {self.plan.storm_s:.0f} s, {self.plan.rates}, {self.plan.settings}, {oddities}")
        self.exchange.run()
        for fault in (*self.plan.faults, *oddities.lost, *oddities.silences):
            self.loop.call_at(self._began_s + fault.at_s, self._strike, fault)
        for fault in oddities.partner or ():
            self.loop.call_at(self._began_s + fault.at_s, self._strike_machine, self.machines[-1], fault)
        while self._now_s() < self.plan.storm_s:
            await self._second()
        self.trace("world", "calm")
        self._calm()
        unfinished = "calm has just begun"
        while unfinished and self._now_s() < self.plan.ends_s:
            for _ in range(10):
                await self._second()
            waiting = oddities.halt_s is not None and self._now_s() < oddities.halt_s
            told = (machine.unfinished() for machine in self.machines)
            unfinished = "the market has yet to halt" if waiting else next(filter(None, told), "")
        if unfinished:
            raise Broken(f"{self.plan.ends_s - self.plan.storm_s:.0f} s after the last fault: {unfinished}")
        for machine in self.machines:
            await machine.stop_in_order()
        await asyncio.sleep(5.0)
        self._raise_broken()
        seen = tamper(self.database, random.Random(f"tampering {self.plan.seed}"))  # noqa: S311
        self.trace("world", f"{seen} changes behind its back, and all of them seen")

    def _calm(self) -> None:
        now_s = self.loop.time()
        self.exchange.calm = True
        self.exchange.away_until_s = min(self.exchange.away_until_s, now_s)
        self.database.away_until_s = self.database.denied_until_s = now_s
        self.checks.calm_since_s = now_s
        oddities = self.plan.oddities
        for machine in self.machines:
            machine.http.limited_until_s = now_s
            machine.disk.heal()
            if oddities.restarts:
                machine.strike(Fault(0.0, "stop"))
        if oddities.halt_s is not None:
            self.exchange.saw("market halts")
            # the last trades before the halt come by no stream, and nothing follows them
            silent_at_s = self._began_s + oddities.halt_s - _SILENT_BEFORE_HALT_S
            self.loop.call_at(silent_at_s, self.network.silence, f"{self.plan.symbols[0].lower()}@aggTrade")

    async def _second(self) -> None:
        """Let a second pass; bring up recorders where none runs."""
        for machine in self.machines:
            machine.look()
        await asyncio.sleep(1.0)
        self._raise_broken()
        for machine in self.machines:
            machine.check()

    # -- misfortunes --------------------------------------------------------------------------------------

    def _strike(self, fault: Fault) -> None:
        now_s = self.loop.time()
        self.trace("world", fault)
        self.exchange.saw(fault.kind)
        if fault.kind in FAULTS:
            self.machines[0].strike(fault)
        elif fault.kind == "database away":
            self.database.away_until_s = now_s + fault.for_s
        elif fault.kind == "database denies":
            self.database.denied_until_s = now_s + fault.for_s
        elif fault.kind == "exchange away":
            self.exchange.away_until_s = now_s + fault.for_s
            for link in list(self.network.links):
                link.reset()
        elif fault.kind in ("void", "forgotten"):
            self.exchange.lose(fault)
        elif fault.kind == "silent stream":
            self.network.silence_one(fault.amount)
        else:
            self._strike_links(fault)

    def _strike_machine(self, machine: Machine, fault: Fault) -> None:
        self.trace("world", f"{machine.name}: {fault}")
        machine.strike(fault)

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

    # -- watching -----------------------------------------------------------------------------------------

    def _on_commit(self, table: object, row: object) -> None:
        try:
            self.checks.on_commit(table, row)  # type: ignore[arg-type]
        except Broken as broken:
            # told to the world, not to the recorder whose commit it is
            self._broken = self._broken or broken

    def _on_absence(self, symbol: str, first: int, last: int, proof: str) -> None:
        try:
            self.checks.on_absence(symbol, first, last, proof)
        except Broken as broken:
            self._broken = self._broken or broken

    def _deliver(self, process: Process, handler: LinkHandler, payloads: tuple[bytes, ...]) -> None:
        life = next((one.life for one in self.machines if one.life is not None and one.life.process is process), None)
        before = life.frames if life is not None else 0
        handler.on_texts(payloads)
        # fewer: those of a newcomer are held back, its answers are not
        if life is not None and life.frames >= before + len(payloads):
            for payload in payloads:
                life.took(payload)

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
            gc.collect()
    return outcome
