"""Links that stay up: each is connected, driven by its session, and replaced when it ends."""

import asyncio
import random
from collections.abc import Sequence
from typing import Protocol

from crypto_quant import events
from crypto_quant.binance import wire
from crypto_quant.binance.pacing import Backoff, Pacer
from crypto_quant.binance.session import Session, Text
from crypto_quant.binance.streams import link_url
from crypto_quant.binance.venues import VenueSpec
from crypto_quant.errors import LinkLost, Throttled
from crypto_quant.flow.stats import PipelineStats
from crypto_quant.seams import Clock, Connector, Emit, Link

_GOODBYE_S = 2.0
_ABNORMAL = 1006


class FrameTaker(Protocol):
    """Who takes the frames: ``Intake``, or anything with its ``frame``."""

    def frame(self, payload: bytes, received_ns: int) -> wire.Message | None:
        """Take one text frame; return it decoded when it concerns the link itself."""
        ...


class BinanceWSCollector:
    """Keeps Binance's streams coming: ``plan`` is one tuple of stream names for each link.

    ``run()`` returns when ``close()`` has been called. Links reconnect by themselves, paced within the exchange's
    limits and with full jitter. ``pause()`` and ``resume()`` stop and restart reading on every link;
    ``stop_accepting()`` ignores whatever still arrives.
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
    ) -> None:
        self._spec = spec
        self._plan = plan
        self._taker = taker
        self._url = link_url(ws_url, spec)
        self._connector = connector
        self._clock = clock
        self._stats = stats
        self._emit = emit
        self._rng = rng
        self._pacer = Pacer(spec)
        # a dict keeps the order of opening: what is told of links must not hang on where they lie in memory
        self._drives: dict[_Drive, None] = {}
        self._accepting = True
        self._paused = False
        self._closing = asyncio.Event()

    async def run(self) -> None:
        """Keep every link up until ``close()``. Whatever is not an outage (a broken invariant) is raised."""
        async with asyncio.TaskGroup() as tasks:
            for number, streams in enumerate(self._plan, start=1):
                tasks.create_task(self._keep(number, streams), name=f"link {number}")

    def pause(self) -> None:
        """Stop reading; the exchange feels it, and drops a link that stays paused for long."""
        self._paused = True
        for drive in self._drives:
            drive.read(False)

    def resume(self) -> None:
        """Read again."""
        self._paused = False
        for drive in self._drives:
            drive.read(True)

    def stop_accepting(self) -> None:
        """Take no frame any more; links stay open until ``close()``."""
        self._accepting = False
        self.pause()

    def close(self) -> None:
        """Close every link and end ``run()``."""
        self._accepting = False
        self._closing.set()
        for drive in self._drives:
            drive.wake.set()

    async def _keep(self, number: int, streams: tuple[str, ...]) -> None:
        """Connect, drive, pause, again."""
        backoff = Backoff(self._rng)
        while not self._closing.is_set():
            await self._pace()
            if self._closing.is_set():
                return
            cause, lived_s, retry_after_s = await self._one_life(number, streams)
            if self._closing.is_set():
                return
            backoff.ended(lived_s)
            delay_s = backoff.next_delay_s(retry_after_s)
            self._stats.reconnects += 1
            self._emit(
                events.ReconnectScheduled(link=number, attempt=backoff.attempt, delay_s=round(delay_s, 3), cause=cause)
            )
            await self._sleep(delay_s)

    async def _one_life(self, number: int, streams: tuple[str, ...]) -> tuple[str, float, float]:
        """Open a link and drive it to its end; return why it ended, how long it lived, how long to wait at least."""
        loop = asyncio.get_running_loop()
        drive = _Drive(Session(number, streams, self._spec), self)
        try:
            link = await self._connect(drive)
        except Throttled as problem:
            return str(problem), 0.0, problem.retry_after_s
        except LinkLost as problem:
            return str(problem), 0.0, 0.0
        if link is None:
            return "closing", 0.0, 0.0
        drive.link = link
        started = loop.time()
        self._drives[drive] = None
        self._stats.links += 1
        drive.session.on_open(_now_ns(loop))
        self._emit(events.LinkOpened(link=number, url=self._url, streams=len(streams)))
        if self._paused:
            drive.read(False)
        try:
            await self._drive(drive)
        finally:
            del self._drives[drive]
            self._stats.links -= 1
            drive.link.abort()
        lived_s = loop.time() - started
        told_s = round(lived_s, 3)
        if self._closing.is_set():
            self._emit(events.LinkClosed(link=number, lived_s=told_s))
        else:
            self._emit(events.LinkEnded(link=number, code=drive.code, reason=drive.reason, lived_s=told_s))
        if drive.failure is not None:
            raise drive.failure
        return drive.reason or f"closed with code {drive.code}", lived_s, 0.0

    async def _connect(self, drive: "_Drive") -> Link | None:
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

    async def _drive(self, drive: "_Drive") -> None:
        """Do what the session says until the link has ended or must be replaced."""
        loop = asyncio.get_running_loop()
        session = drive.session
        while not drive.ended.is_set() and drive.failure is None:
            if drive.frames:
                # told here, at most a second late, and not for each frame
                session.on_data(_now_ns(loop))
                drive.frames = 0
            session.tick(_now_ns(loop))
            drive.speak()
            for event in session.events():
                self._emit(event)
            if session.replace is not None or self._closing.is_set():
                drive.reason = session.replace or "closing"
                await self._say_goodbye(drive)
                return
            deadline = session.deadline()
            wait_s = 1.0 if deadline is None else min(1.0, max(0.0, deadline / 1e9 - loop.time()))
            drive.wake.clear()
            try:
                async with asyncio.timeout(wait_s):
                    await drive.wake.wait()
            except TimeoutError:
                pass

    async def _say_goodbye(self, drive: "_Drive") -> None:
        reason = drive.reason
        if self._paused:
            if self._accepting:
                # too many rows wait, and saying goodbye would bring in all that lies unread; ids tell what is missing
                drive.link.abort()
                return
            # the peer's answer to our close can only be read from a socket that is read
            drive.link.resume_reading()
        drive.link.close()
        try:
            async with asyncio.timeout(_GOODBYE_S):
                await drive.ended.wait()
        except TimeoutError:
            drive.link.abort()
        drive.reason = reason

    async def _pace(self) -> None:
        loop = asyncio.get_running_loop()
        while wait_ns := self._pacer.wait_ns(_now_ns(loop)):
            await self._sleep(wait_ns / 1e9)
            if self._closing.is_set():
                return
        self._pacer.took(_now_ns(loop))

    async def _sleep(self, seconds: float) -> None:
        """Sleep, or until ``close()``."""
        try:
            async with asyncio.timeout(seconds):
                await self._closing.wait()
        except TimeoutError:
            pass

    # -- what a drive hears ------------------------------------------------------------------------------

    def take(self, drive: "_Drive", payload: bytes) -> None:
        """One text frame of a link."""
        if not self._accepting:
            return
        message = self._taker.frame(payload, self._clock.now_ns())
        if message is None:
            drive.frames += 1
            return
        now_ns = _now_ns(asyncio.get_running_loop())
        if type(message) is wire.Reply:
            drive.session.on_reply(message.request_id, message.error, now_ns)
        elif type(message) is wire.ServerShutdown:
            drive.session.on_server_shutdown(now_ns)
        drive.wake.set()


class _Drive:
    """One life of one link: the ``LinkHandler`` that feeds its session."""

    def __init__(self, session: Session, collector: BinanceWSCollector) -> None:
        self.session = session
        self.link: Link = _Unconnected()
        self.frames = 0  # since the session was last told that data flow
        self.wake = asyncio.Event()
        self.ended = asyncio.Event()
        self.code = _ABNORMAL
        self.reason = ""
        self.failure: Exception | None = None
        self._collector = collector

    def on_text(self, payload: bytes) -> None:
        try:
            self._collector.take(self, payload)
        except Exception as failure:  # noqa: BLE001  # a broken invariant must end the run, not one link in silence
            self.failure = failure
            self.link.abort()

    def on_ping(self, payload: bytes) -> None:
        self.session.on_ping(payload, _now_ns(asyncio.get_running_loop()))
        self.speak()

    def on_closed(self, code: int, reason: str) -> None:
        self.code = code
        self.reason = reason
        self.ended.set()
        self.wake.set()

    def read(self, on: bool) -> None:
        """Read the socket, or let it be; the session must know whose silence it is."""
        if on:
            self.link.resume_reading()
        else:
            self.link.pause_reading()
        self.session.on_reading(not on, _now_ns(asyncio.get_running_loop()))
        self.wake.set()

    def speak(self) -> None:
        """Send what the session wants sent; before the link is up it keeps."""
        if isinstance(self.link, _Unconnected):
            return
        for item in self.session.to_send():
            if isinstance(item, Text):
                self.link.send(item.payload)
            else:
                self.link.pong(item.payload)


class _Unconnected:
    """What a drive holds until its link is up; frames cannot come before that, but a close may."""

    def send(self, text: bytes) -> None: ...
    def pong(self, payload: bytes) -> None: ...
    def close(self, code: int = 1000) -> None: ...
    def abort(self) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


def _now_ns(loop: asyncio.AbstractEventLoop) -> int:
    return int(loop.time() * 1e9)
