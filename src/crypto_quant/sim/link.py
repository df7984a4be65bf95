"""One WebSocket connection of a client."""

import asyncio
import struct
import time
from collections.abc import Callable

from aiohttp import WSMsgType, web

from crypto_quant.sim import control, messages
from crypto_quant.sim.hub import Hub
from crypto_quant.sim.limits import Limits, RateWindow
from crypto_quant.sim.messages import TimeUnit
from crypto_quant.sim.names import Stream

_DRIP_S = 0.02


class Link:
    """Reads control messages, answers them, and sends what the hub puts in.

    Data frames come whole and shared from the hub; all of a wake-up's frames go to the transport in one write, past
    aiohttp's frame writer. Each write is a whole number of frames, so aiohttp's own (pongs, close) cannot fall
    inside one.
    """

    def __init__(
        self,
        socket: web.WebSocketResponse,
        transport: asyncio.Transport,
        hub: Hub,
        limits: Limits,
        *,
        combined: bool,
        unit: TimeUnit,
        on_change: Callable[[], None],
    ) -> None:
        self.combined = combined
        self.unit = unit
        # half-open: the socket stays, nothing goes out, nothing is answered
        self.silent = False
        self._socket = socket
        self._transport = transport
        self._hub = hub
        self._limits = limits
        self._on_change = on_change
        self._streams: dict[str, Stream | None] = {}
        self._out: list[bytes] = []
        self._rate = RateWindow(limits.messages_per_s, 1.0)
        # payload -> when it was sent
        self._pings: dict[bytes, float] = {}
        self._slow: asyncio.Task[None] | None = None
        self._slow_out = bytearray()
        self._slow_rate = 0.0
        # it never touches a rebuilt queue: a closed link takes frames and forgets them
        self._loop = asyncio.get_running_loop()
        self._ends_s = self._loop.time() + limits.life_s

    # -- subscriptions (control.Subscriber) ---------------------------------------------------------------

    def subscribe(self, names: list[str]) -> None:
        """Add streams; names without a meaning are kept and stay silent."""
        new = [name for name in dict.fromkeys(names) if name not in self._streams]
        if len(self._streams) + len(new) > self._limits.streams_per_link:
            raise control.Refusal(4, "Too many subscriptions")
        for name in new:
            self._streams[name] = self._hub.join(name, self)
        self._on_change()

    def mute(self, name: str) -> None:
        """Send nothing more of a stream, though it stays subscribed."""
        self._hub.leave(name, self)

    def unsubscribe(self, names: list[str]) -> None:
        """Remove streams."""
        for name in names:
            if name in self._streams:
                del self._streams[name]
                self._hub.leave(name, self)

    def subscriptions(self) -> list[str]:
        """Return the names asked for, in order."""
        return list(self._streams)

    def streams(self) -> list[Stream]:
        """Return what is listened to."""
        return [stream for stream in self._streams.values() if stream is not None]

    # -- out ----------------------------------------------------------------------------------------------

    def put(self, frame: bytes) -> None:
        """Queue a frame until ``flush``."""
        self._out.append(frame)

    def put_text(self, payload: bytes) -> None:
        """Queue a text message."""
        self._out.append(messages.text_frame(payload))

    def flush(self) -> None:
        """Hand everything queued to the transport in one write; drop a reader that is hopelessly behind."""
        if not self._out:
            return
        data = b"".join(self._out)
        self._out.clear()
        if self.silent or self._transport.is_closing():
            return
        if self._slow is not None:
            self._slow_out += data
        else:
            self._transport.write(data)
        if self.backlog() > self._limits.buffer_bytes:
            self._transport.abort()

    def backlog(self) -> int:
        """Return how many bytes wait for the client to read."""
        if self.silent or self._transport.is_closing():
            return 0
        return self._transport.get_write_buffer_size() + len(self._slow_out)

    def slow_down(self, bytes_per_s: float, seconds: float | None) -> None:
        """Let no more than ``bytes_per_s`` through, for some seconds (None: for good)."""
        self._slow_rate = bytes_per_s
        if self._slow is None:
            self._slow = self._loop.create_task(self._drip(seconds))

    async def _drip(self, seconds: float | None) -> None:
        ends_s = None if seconds is None else self._loop.time() + seconds
        due = 0.0
        while ends_s is None or self._loop.time() < ends_s:
            await asyncio.sleep(_DRIP_S)
            due += self._slow_rate * _DRIP_S
            count = min(int(due), len(self._slow_out))
            due = due - count if count else min(due, self._slow_rate)
            if count and not self._transport.is_closing():
                # a cut inside a frame is what slow networks do; control frames wait behind it in flush()
                self._transport.write(bytes(self._slow_out[:count]))
                del self._slow_out[:count]
        self._transport.write(bytes(self._slow_out))
        self._slow_out.clear()
        self._slow = None

    def abort(self) -> None:
        """Drop the connection without a word."""
        self._transport.abort()

    async def close(self, code: int, reason: str) -> None:
        """Say goodbye with a close code, then drop the connection."""
        self.flush()
        if not self.silent and self._slow is None:
            await self._socket.close(code=code, message=reason.encode())
        self._transport.abort()

    def end_after(self, seconds: float) -> None:
        """Let the connection's life end in so many seconds."""
        self._ends_s = self._loop.time() + seconds

    # -- in -----------------------------------------------------------------------------------------------

    async def serve(self) -> None:
        """Serve the connection until it ends."""
        keeper = self._loop.create_task(self._keep())
        try:
            await self._read()
        finally:
            keeper.cancel()
            if self._slow is not None:
                self._slow.cancel()
            self.unsubscribe(list(self._streams))

    async def _read(self) -> None:
        while True:
            message = await self._socket.receive()
            if message.type is WSMsgType.CLOSE and self.silent:
                # half-open: not even the goodbye is answered
                while not self._transport.is_closing():  # noqa: ASYNC110 - transports have no such event
                    await asyncio.sleep(_DRIP_S)
                return
            if message.type not in {WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.PING, WSMsgType.PONG}:
                if message.type is WSMsgType.CLOSE:
                    await self._socket.close(code=int(message.data or 1000))
                return
            if self.silent:
                continue
            if not self._rate.allow(self._loop.time()):
                await self.close(1008, "Too many requests")
                return
            if message.type is WSMsgType.PING:
                self._put_control(0x8A, message.data)
            elif message.type is WSMsgType.PONG:
                # an unsolicited pong does not keep the connection alive
                if bytes(message.data) in self._pings:
                    self._pings.clear()
            else:
                text = message.data if isinstance(message.data, str) else message.data.decode(errors="replace")
                self.put_text(control.answer(text, self))
            self.flush()

    def _put_control(self, opcode: int, payload: bytes) -> None:
        self.put(struct.pack("!BB", opcode, len(payload)) + bytes(payload))

    async def _keep(self) -> None:
        # pings, the pong deadline and the connection's life, on real time
        next_ping_s = self._loop.time() + self._limits.ping_interval_s
        while True:
            now_s = self._loop.time()
            overdue_s = min(self._pings.values(), default=now_s) + self._limits.pong_deadline_s
            wake_s = min(next_ping_s, overdue_s if self._pings else next_ping_s, self._ends_s)
            if wake_s > now_s:
                # wakes at least once a second: a life can be shortened while this sleeps
                await asyncio.sleep(min(wake_s - now_s, 1.0))
                continue
            if self.silent:
                next_ping_s = now_s + self._limits.ping_interval_s
                self._ends_s = max(self._ends_s, next_ping_s)
                self._pings.clear()
            elif now_s >= self._ends_s:
                await self._end_life()
                return
            elif self._pings and now_s >= overdue_s:
                await self.close(1008, "Pong timeout")
                return
            else:
                payload = str(time.time_ns() // 1_000_000).encode()
                self._pings[payload] = now_s
                self._put_control(0x89, payload)
                self.flush()
                next_ping_s = now_s + self._limits.ping_interval_s

    async def _end_life(self) -> None:
        code = self._limits.life_close_code
        if code is None:
            self.abort()
        else:
            await self.close(code, "")
