"""Links that stay up: each is connected, driven by its session, and replaced before it ends where that can be."""

import asyncio
import random
from collections.abc import Sequence

from crypto_quant import events
from crypto_quant.binance import wire
from crypto_quant.binance.pacing import Backoff, Pacer
from crypto_quant.binance.session import DEFAULT_LIMITS, Session, SessionLimits
from crypto_quant.binance.streams import link_url
from crypto_quant.binance.venues import VenueSpec
from crypto_quant.errors import LinkLost, Throttled
from crypto_quant.flow.links import Drive, FrameTaker, Group, Slot
from crypto_quant.flow.stats import PipelineStats
from crypto_quant.market import NS_PER_S
from crypto_quant.seams import Clock, Connector, Emit, Link
from crypto_quant.snapshot import LinkState

# How long a peer may take to answer our goodbye without giving any more data; what it had queued comes first.
_GOODBYE_S = 2.0
_GOODBYE_MOST_S = 30.0
# how often a slot looks whether its neighbour has finished its own handover
_TURN_S = 0.1


class BinanceWSCollector:
    """Keeps Binance's streams coming: ``plan`` is one tuple of stream names for each link.

    ``run()`` returns when ``close()`` has been called. Links reconnect by themselves, paced within the exchange's
    limits and with full jitter. A link that must go while it still delivers (end of life, server shutdown, a stalled
    stream) goes only when its successor delivers too. With ``redundancy`` above 1 every set of streams comes over so
    many links, of which never two are replaced at once. ``pause()`` and ``resume()`` stop and restart reading on
    every link; ``stop_accepting()`` ignores whatever still arrives.
    """

    def __init__(
        self,
        spec: VenueSpec,
        plan: Sequence[tuple[str, ...]],
        taker: FrameTaker,
        *,
        ws_url: str,
        connector: Connector,
        clock: Clock,
        stats: PipelineStats,
        emit: Emit,
        rng: random.Random,
        redundancy: int = 1,
        limits: SessionLimits = DEFAULT_LIMITS,
    ) -> None:
        self._spec = spec
        self._taker = taker
        self._url = link_url(ws_url, spec)
        self._connector = connector
        self.wall_ns = clock.now_ns
        self._stats = stats
        self._emit = emit
        self._rng = rng
        self._limits = limits
        self._overlap_ns = int(limits.overlap_s * NS_PER_S)
        self._pacer = Pacer(spec)
        self._groups = [Group(streams) for streams in plan]
        self._groups_of = {name: group for group in self._groups for name in group.streams}
        # links of one group are numbered one after the other, so that their lives end at different times
        self._slots = [
            Slot(place * redundancy + lane + 1, group)
            for place, group in enumerate(self._groups)
            for lane in range(redundancy)
        ]
        # a dict keeps the order of opening: what is told of links must not hang on where they lie in memory
        self._drives: dict[Drive, None] = {}
        self._accepting = True
        self._paused = False
        self._resumed_ns = 0
        self._closing = asyncio.Event()

    async def run(self) -> None:
        """Keep every link up until ``close()``. Whatever is not an outage (a broken invariant) is raised."""
        async with asyncio.TaskGroup() as tasks:
            for slot in self._slots:
                tasks.create_task(self._keep(slot, tasks), name=f"slot {slot.link}")

    @property
    def held(self) -> int:
        """How many frames of newcomers are held back, until these have run beside their elders for long enough."""
        return sum(len(drive.held) for drive in self._drives if drive.held)

    def pause(self) -> None:
        """Stop reading; the exchange feels it, and drops a link that stays paused for long.

        What newcomers hold is handed on: they prove themselves only while they are read.
        """
        self._paused = True
        for drive in self._drives:
            drive.read(False)
            drive.release()

    def resume(self) -> None:
        """Read again."""
        self._paused = False
        self._resumed_ns = self.ns()
        for drive in self._drives:
            drive.read(True)

    def stop_accepting(self) -> None:
        """Take no frame any more; links stay open until ``close()``."""
        self.pause()  # what has been read already is taken
        self._accepting = False

    def close(self) -> None:
        """Close every link and end ``run()``."""
        self._accepting = False
        self._closing.set()
        for drive in self._drives:
            drive.wake.set()
        for slot in self._slots:
            slot.changed.set()

    # -- for whoever watches the streams -----------------------------------------------------------------

    def listening_since_ns(self, stream: str) -> int | None:
        """Return since when (monotonic) a link has carried a stream and been read; None while none does."""
        if self._paused or stream not in self._groups_of:
            return None
        since = [drive.opened_ns for drive in self._groups_of[stream].drives if drive.session.delivering]
        return max(min(since), self._resumed_ns) if since else None

    def slots(self) -> list[tuple[int, LinkState, int]]:
        """Return of each link its number, what it does, and how many streams it carries."""
        return [(slot.link, slot.state, len(slot.group.streams)) for slot in self._slots]

    @property
    def complete(self) -> bool:
        """Whether every link is up."""
        return all(slot.drives for slot in self._slots)

    @property
    def paused(self) -> bool:
        """Whether sockets are not read now."""
        return self._paused

    def replace(self, stream: str, cause: str) -> None:
        """Replace the links that carry a stream, one after the other, each by one that delivers before it goes."""
        group = self._groups_of.get(stream)
        for drive in group.drives if group is not None else ():
            drive.session.on_stalled(cause)
            drive.wake.set()

    # -- one slot ----------------------------------------------------------------------------------------

    async def _keep(self, slot: Slot, tasks: asyncio.TaskGroup) -> None:
        """Open a link whenever the slot wants one, after the pause that the last failure asks for."""
        backoff = Backoff(self._rng)
        while not self._closing.is_set():
            if slot.lost is not None:
                cause, lived_s, retry_after_s = slot.lost
                slot.lost = None
                backoff.ended(lived_s)
                delay_s = backoff.next_delay_s(retry_after_s)
                if slot.handover.owner is None:
                    self._stats.reconnects += 1
                told_s = round(delay_s, 3)
                attempt = backoff.attempt
                self._emit(events.ReconnectScheduled(link=slot.link, attempt=attempt, delay_s=told_s, cause=cause))
                await self._sleep(delay_s)
            elif not slot.handover.wanted:
                slot.changed.clear()
                await slot.changed.wait()
            elif slot.must_wait:
                await self._sleep(_TURN_S)
            else:
                slot.opening = True
                try:
                    await self._pace()
                    if not self._closing.is_set():
                        await self._open(slot, tasks)
                finally:
                    slot.opening = False

    async def _open(self, slot: Slot, tasks: asyncio.TaskGroup) -> None:
        """Open a link and let it be driven; or note why it could not be opened."""
        drive = Drive(Session(slot.link, slot.group.streams, self._spec, self._limits), slot, self._take, self)
        try:
            link = await self._connect(drive)
        except Throttled as problem:
            slot.lost = str(problem), 0.0, problem.retry_after_s
            return
        except LinkLost as problem:
            slot.lost = str(problem), 0.0, 0.0
            return
        if link is None:
            return
        drive.link = link
        drive.opened_ns = self.ns()
        self._drives[drive] = None
        slot.up(drive)
        self._stats.links += 1
        # a link that is up belongs to its drive from here on, whatever becomes of this task
        tasks.create_task(self._live(drive), name=f"link {slot.link}")

    async def _live(self, drive: Drive) -> None:
        """Drive a link to its end, and say how it ended."""
        slot = drive.slot
        try:
            drive.session.on_open(drive.opened_ns)
            self._emit(events.LinkOpened(link=slot.link, url=self._url, streams=len(slot.group.streams)))
            if self._paused:
                drive.read(False)
            await self._drive(drive)
        finally:
            del self._drives[drive]
            self._stats.links -= 1
            reason = drive.reason
            drive.link.abort()
            drive.reason = reason
            if slot.handover.heir is not None and slot.handover.owner == drive.number:
                self._stats.rollovers += 1  # it ended a little early, but its heir was there
            slot.down(drive)
        lived_s = (self.ns() - drive.opened_ns) / NS_PER_S
        told_s = round(lived_s, 3)
        if self._closing.is_set():
            self._emit(events.LinkClosed(link=slot.link, lived_s=told_s))
        elif drive.leave:
            self._emit(events.LinkReplaced(link=slot.link, cause=drive.reason, lived_s=told_s))
        else:
            self._emit(events.LinkEnded(link=slot.link, code=drive.code, reason=drive.reason, lived_s=told_s))
            if slot.handover.wanted:
                slot.lost = drive.reason or f"closed with code {drive.code}", lived_s, 0.0
        if drive.failure is not None:
            raise drive.failure

    async def _connect(self, drive: Drive) -> Link | None:
        """Open a link; None when ``close()`` came first, which need not wait for an exchange that does not answer."""
        connecting = asyncio.create_task(self._connector.connect(self._url, drive))
        closing = asyncio.create_task(self._closing.wait())
        try:
            await asyncio.wait({connecting, closing}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            if connecting.done() and not connecting.cancelled() and connecting.exception() is None:
                connecting.result().abort()
            raise
        finally:
            closing.cancel()
            connecting.cancel()
            await asyncio.wait({connecting, closing})
        return None if connecting.cancelled() else connecting.result()

    async def _drive(self, drive: Drive) -> None:
        """Do what the session says until the link has ended or may go."""
        session = drive.session
        while not drive.ended.is_set() and drive.failure is None:
            now_ns = self.ns()
            if drive.frames:
                # told here, at most a second late, and not for each frame
                session.on_data(now_ns)
                drive.frames = 0
            session.tick(now_ns)
            drive.speak()
            for event in session.events():
                self._emit(event)
            if session.dead and not self._closing.is_set():
                drive.reason = session.replace or ""
                return  # nobody is there to say goodbye to, and each moment counts
            if drive.leave or self._closing.is_set():
                drive.reason = session.replace or "closing"
                await self._say_goodbye(drive)
                return
            if session.replace is not None:
                if drive.slot.handover.heir == drive.number and not session.delivering:
                    drive.reason = session.replace
                    await self._say_goodbye(drive)
                    return
                drive.slot.must_go(drive)
            due_ns = self._prove(drive, now_ns)
            deadline = session.deadline()
            times = [at for at in (due_ns, deadline) if at is not None]
            wait_s = min(1.0, max(0, min(times, default=now_ns + NS_PER_S) - now_ns) / NS_PER_S)
            drive.wake.clear()
            try:
                async with asyncio.timeout(wait_s):
                    await drive.wake.wait()
            except TimeoutError:
                pass

    def _prove(self, drive: Drive, now_ns: int) -> int | None:
        """Let a newcomer's frames go, and its predecessor, when it has run beside them for long enough.

        Returns when to look again; None when there is nothing to wait for.
        """
        slot = drive.slot
        if not drive.session.delivering or self._paused:
            return None
        if drive.held is None and slot.handover.heir != drive.number:
            return None
        if drive.release_at_ns is None:
            drive.release_at_ns = now_ns + self._overlap_ns
        if now_ns < drive.release_at_ns:
            return drive.release_at_ns
        drive.release()
        if drive.failure is None and slot.proven(drive):
            self._stats.rollovers += 1
        return None

    async def _say_goodbye(self, drive: Drive) -> None:
        reason = drive.reason
        if self._paused:
            if self._accepting:
                # too many rows wait, and saying goodbye would bring in all that lies unread; ids tell what is missing
                drive.link.abort()
                return
            # the peer's answer to our close can only be read from a socket that is read
            drive.link.resume_reading()
        drive.link.close()
        # what the peer had queued comes before its answer: it is given time as long as data come
        begun_ns = self.ns()
        while not drive.ended.is_set():
            drive.frames = 0
            try:
                async with asyncio.timeout(_GOODBYE_S):
                    await drive.ended.wait()
            except TimeoutError:
                over = self._closing.is_set() or self.ns() - begun_ns > _GOODBYE_MOST_S * NS_PER_S
                if over or not drive.frames:
                    drive.link.abort()
                    break
        drive.reason = reason

    async def _pace(self) -> None:
        while wait_ns := self._pacer.wait_ns(self.ns()):
            await self._sleep(wait_ns / 1e9)
            if self._closing.is_set():
                return
        self._pacer.took(self.ns())

    async def _sleep(self, seconds: float) -> None:
        """Sleep, or until ``close()``."""
        try:
            async with asyncio.timeout(seconds):
                await self._closing.wait()
        except TimeoutError:
            pass

    # -- what a drive asks ---------------------------------------------------------------------------------

    def _take(self, drive: Drive, payloads: Sequence[bytes], received_ns: int) -> None:
        """Text frames of a link."""
        if not self._accepting:
            return
        messages = self._taker.frames(payloads, received_ns, drive.tag)
        drive.frames += len(payloads) - len(messages)
        for message in messages:
            now_ns = self.ns()
            if type(message) is wire.Reply:
                drive.session.on_reply(message.request_id, message.error, now_ns)
            elif type(message) is wire.ServerShutdown:
                drive.session.on_server_shutdown(now_ns)
            drive.wake.set()

    def ns(self) -> int:
        """Return the monotonic time in ns."""
        return int(asyncio.get_running_loop().time() * 1e9)
