"""Recorded frames as they are: a server that plays given bytes to whoever subscribes first.

For recordings that are more than a tape: their candles, depth, noise and damage reach the client unchanged.
"""

import asyncio
from collections.abc import Iterable, Sequence
from types import TracebackType

from aiohttp import WSMsgType, web

from crypto_quant.sim import control, exchange_info, messages
from crypto_quant.sim.limits import Limits
from crypto_quant.sim.names import names_in_path
from crypto_quant.sim.symbols import invented

_UNREAD_MAX = 256 * 1024
_BATCH = 256
_POLL_S = 0.001


class VerbatimServer:
    """Plays ``frames`` once, in order and unaltered, to each of the first ``audience`` WebSockets that subscribe.

    A WebSocket that asks for streams in its URL has subscribed with that. Control messages are acknowledged as the
    exchange acknowledges them. REST knows ``ping``, ``time`` (``now_us`` at all times) and ``exchangeInfo`` of
    ``symbols``; everything else is an empty list. Sockets stay open after the last frame.
    """

    def __init__(
        self, frames: Iterable[bytes], *, symbols: Sequence[str], now_us: int, audience: int = 1, port: int = 0
    ) -> None:
        self._frames = [messages.text_frame(frame) for frame in frames]
        self._symbols = invented(symbols)
        self._now_ms = now_us // 1000
        self._seats = audience
        self._audience = audience
        self._port = port
        self._played = 0
        self._finished = asyncio.Event()
        self._runner: web.AppRunner | None = None
        self._sockets: set[web.WebSocketResponse] = set()

    async def __aenter__(self) -> "VerbatimServer":
        application = web.Application()
        application.router.add_get("/ws", self._websocket)
        application.router.add_get("/ws/{names:.*}", self._websocket)
        application.router.add_get("/stream", self._websocket)
        application.router.add_get("/{path:.*}", self._rest)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        for socket in list(self._sockets):
            await socket.close(code=1001)
        if self._runner is not None:
            await self._runner.cleanup()

    @property
    def ws_url(self) -> str:
        """The base URL of streams."""
        return f"ws://127.0.0.1:{self._port}"

    @property
    def rest_url(self) -> str:
        """The base URL of REST."""
        return f"http://127.0.0.1:{self._port}"

    async def finished(self) -> None:
        """Wait until every seat has been taken and every frame handed to every one of them."""
        await self._finished.wait()

    async def _websocket(self, request: web.Request) -> web.StreamResponse:
        wanted = names_in_path(request.raw_path)
        socket = web.WebSocketResponse(compress=False, timeout=1.0)
        await socket.prepare(request)
        transport = request.transport
        if wanted is None or transport is None:
            return socket
        self._sockets.add(socket)
        viewer = _Viewer(combined=wanted[0])
        viewer.subscribe(wanted[1])
        player: asyncio.Task[None] | None = None
        try:
            while True:
                if player is None and viewer.names and self._seats > 0:
                    self._seats -= 1
                    player = asyncio.create_task(self._play(transport))
                message = await socket.receive()
                if message.type is not WSMsgType.TEXT:
                    break
                await socket.send_str(control.answer(message.data, viewer).decode())
        finally:
            self._sockets.discard(socket)
            if player is not None:
                player.cancel()
        return socket

    async def _play(self, transport: asyncio.Transport) -> None:
        for at in range(0, len(self._frames), _BATCH):
            # the transport tells how much is unread by its size alone
            while transport.get_write_buffer_size() > _UNREAD_MAX:  # noqa: ASYNC110
                await asyncio.sleep(_POLL_S)
            if transport.is_closing():
                return
            transport.write(b"".join(self._frames[at : at + _BATCH]))
            await asyncio.sleep(0)
        while transport.get_write_buffer_size() > 0 and not transport.is_closing():  # noqa: ASYNC110
            await asyncio.sleep(_POLL_S)
        self._played += 1
        if self._played == self._audience:
            self._finished.set()

    async def _rest(self, request: web.Request) -> web.StreamResponse:
        answers: dict[str, object] = {
            "/api/v3/ping": {},
            "/api/v3/time": {"serverTime": self._now_ms},
            "/api/v3/exchangeInfo": exchange_info.listing(self._symbols, Limits(), self._now_ms, with_sets=True),
        }
        body = messages.to_json(answers.get(request.path, []))
        return web.Response(body=body, content_type="application/json", headers={"X-MBX-USED-WEIGHT-1M": "1"})


class _Viewer:
    """What a WebSocket has asked for (control.Subscriber)."""

    def __init__(self, *, combined: bool) -> None:
        self.combined = combined
        self.names: dict[str, None] = {}

    def subscribe(self, names: list[str]) -> None:
        self.names.update(dict.fromkeys(names))

    def unsubscribe(self, names: list[str]) -> None:
        for name in names:
            self.names.pop(name, None)

    def subscriptions(self) -> list[str]:
        return list(self.names)
