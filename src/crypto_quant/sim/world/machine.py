"""A machine on which a recorder runs, is killed and started anew; its disk and its clock outlive the recorder."""

import asyncio
import tempfile
from pathlib import Path

from crypto_quant.errors import CryptoQuantError
from crypto_quant.sim.world.broken import Broken
from crypto_quant.sim.world.checks import Checks
from crypto_quant.sim.world.database import Database
from crypto_quant.sim.world.disk import Disk
from crypto_quant.sim.world.diskplan import KINDS as DISK_KINDS
from crypto_quant.sim.world.exchange import WorldHttp
from crypto_quant.sim.world.fault import Fault
from crypto_quant.sim.world.loop import Process
from crypto_quant.sim.world.network import Network
from crypto_quant.sim.world.recorder import Life, WallClock, drained
from crypto_quant.sim.world.spoolwatch import SpoolWatch

_RESTART_S = 2.0
_STOP_S = 90.0

# a recorder that is killed in a write is so within this time, written or not
_WRITE_WITHIN_S = 5.0

FAULTS = ("crash", "crash in a write", "power cut in a write", "stop", "rest limit", "clock jump", *DISK_KINDS)


class Machine:
    """One of a world's machines; ``name`` is its address and the name of its recorders."""

    def __init__(self, name: str, network: Network, database: Database, checks: Checks) -> None:
        self.name = name
        self.exchange = network.exchange
        self.http = WorldHttp(self.exchange, "" if name == "recorder" else f" {name}")
        self.clock = WallClock(self.exchange)
        self.archive = tempfile.TemporaryDirectory(prefix="crypto-quant-world-")
        self.disk = Disk(self.exchange, Path(self.archive.name), name)
        self.watch = SpoolWatch(self.disk, database)
        checks.disks.append(self.disk)
        self.lives = 0
        self.crashes = 0
        self.life: Life | None = None
        self.broken: Broken | None = None
        self._network = network
        self._database = database
        self._checks = checks
        self._loop = self.exchange.loop
        self._task: asyncio.Task[None] | None = None
        self._down_until_s = 0.0

    def look(self) -> None:
        """Bring up a recorder when none runs; see to one that has ended by itself."""
        if self._task is not None and self._task.done():
            self._ended(self._task)
        if self._task is None and self._loop.time() >= self._down_until_s:
            self._begin()

    def check(self) -> None:
        """Hold the recorder that runs against the tape. Raises Broken."""
        if broken := self.broken or self.watch.broken:
            raise broken
        if self.life is not None and self.life.process.alive:
            self._checks.running(self.life, self._database)

    def unfinished(self) -> str:
        """Return what has not come to rest yet, '' when all has."""
        return "no recorder runs" if self.life is None else self._checks.unfinished(self.life, self._database)

    def strike(self, fault: Fault) -> None:
        """Let one of ``FAULTS`` happen."""
        now_s = self._loop.time()
        if fault.kind == "clock jump":
            self.clock.offset_ns += int((fault.amount - 0.5) * 7200e9)
        elif fault.kind == "rest limit":
            self.http.limited_until_s = now_s + fault.for_s
        elif fault.kind in DISK_KINDS and fault.kind != "power cut":
            self.watch.strike(fault.kind, fault.for_s)
        elif self.life is not None:
            self._down_until_s = now_s + fault.for_s
            if fault.kind == "stop":
                self.life.stop()
            else:
                self._kill(self.life, fault)

    def _kill(self, life: Life, fault: Fault) -> None:
        within_s = 0.5
        if fault.kind.endswith("in a write"):
            within_s, self.disk.in_write = _WRITE_WITHIN_S, life.process.crash
        else:
            life.process.crash_after(1 + int(fault.amount * 200))
        self._loop.call_later(within_s, self._bury, life, fault.kind.startswith("power cut"))

    async def stop_in_order(self) -> None:
        """Stop the recorder for good. Raises Broken when it does not end, or does not end well."""
        life, task = self.life, self._task
        if life is None or task is None:
            raise Broken("no recorder runs at the end")
        life.stop()
        await asyncio.wait({task}, timeout=_STOP_S)
        if not task.done():
            raise Broken(f"the drain takes longer than {_STOP_S:.0f} s")
        self._ended(task)

    def dispose(self) -> None:
        """End it, and forget its files."""
        if self.life is not None:
            self.life.process.crash()
        self.archive.cleanup()

    def _begin(self) -> None:
        self.lives += 1
        process = Process(f"{self.name}{self.lives}", self._loop)
        self.exchange.trace("world", f"{process.name} is started")
        self.exchange.saw(f"{self.name} started")
        self.life = Life(
            process, self.exchange, self._network, self.http, self._database, self.clock, self.disk, self.watch
        )
        self._task = process.start(self.life.run())

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A recorder has ended by itself: it may do so when it cannot start, or when it was told to stop."""
        life, self.life, self._task = self.life, None, None
        if life is None:
            return
        failure = task.exception()
        if self.disk.save_refused and isinstance(failure, CryptoQuantError) and failure.what == "rows are lost":
            # told, as it must be; the next recorder sees the hole
            self._down_until_s = max(self._down_until_s, self._loop.time() + _RESTART_S)
            return
        if failure is not None:
            raise Broken(f"the recorder failed: {failure!r}")
        if not life.refused_start and (life.parts is None or not life.parts.pipeline.stopping):
            raise Broken("the recorder ended by itself")
        self._down_until_s = max(self._down_until_s, self._loop.time() + _RESTART_S)
        if life.parts is not None:
            self._loop.create_task(self._settle(life))

    async def _settle(self, life: Life) -> None:
        try:
            await drained(life, self._database)
            self._checks.accounted(life, self._database, self.watch.held(None))
            if not self.watch.on_disk():
                self._checks.contradictions(life, self._database)
            self._checks.absences(life)
        except Broken as broken:
            self.broken = broken
        except Exception as failure:  # noqa: BLE001  # of the world itself: it must not go unheard
            self.broken = Broken(f"the world failed: {failure!r}")

    def _bury(self, life: Life, power_cut: bool) -> None:
        """The crash has happened, or happens now: the machine comes up again later."""
        life.process.crash()
        self.disk.in_write = None
        self.crashes += 1
        if power_cut and (self.life is None or self.life is life):
            self.watch.strike("power cut", 0.0)
        self.exchange.trace("world", f"{life.process.name} was killed")
        self.exchange.saw(f"{self.name} killed")
        self._network.leave(life.process)
        if self.life is life:
            self.life, self._task = None, None
