"""The simulated exchange: one port that speaks Binance spot, WebSocket, REST and the archive."""

import asyncio
import ipaddress
import time
from types import TracebackType
from urllib.parse import parse_qsl

from aiohttp import web

from crypto_quant.errors import ConfigError
from crypto_quant.sim import messages
from crypto_quant.sim.aggregate import Aggregate
from crypto_quant.sim.archive import Archive
from crypto_quant.sim.archive_desk import serve_archive
from crypto_quant.sim.candles import Candle
from crypto_quant.sim.clock import REAL, ExchangeClock
from crypto_quant.sim.commands import Faults
from crypto_quant.sim.control import Refusal
from crypto_quant.sim.faults import Refusals
from crypto_quant.sim.hub import Hub
from crypto_quant.sim.intervals import US_PER_S
from crypto_quant.sim.limits import Limits, RateWindow, WeightMeter
from crypto_quant.sim.link import Link
from crypto_quant.sim.market import Market
from crypto_quant.sim.messages import TimeUnit
from crypto_quant.sim.names import names_in_path
from crypto_quant.sim.rest import Desk, error_body
from crypto_quant.sim.tape import Tape

# prints between two looks at the sockets
_SLICE = 512
# where time waits for readers: how much may be unread before it stands still
_UNREAD_MAX = 1024 * 1024
_POLL_S = 0.0005
_NAP_MIN_S = 0.001
_NEVER_US = 2**62


class SimulatedExchange:
    """An exchange that prints a tape. Use it as an async context manager; the server lives as long as it does.

    ``speed`` is exchange seconds per second, or ``clock.MAX``: time jumps from event to event, waits while any client
    has not read, and stands still while nobody is subscribed. ``port`` 0 takes a free one. With
    ``hold_until_subscribed`` time begins with the first subscription. The first ``lead_s`` seconds of the tape have
    been printed before the server opens (REST has them). When a finite tape is over, time goes on at the same speed;
    with ``MAX`` for ``tail_s`` seconds more, so that the last candles close, and then in real time.
    ``history_limit`` bounds how many prints REST can look back on.
    """

    def __init__(
        self,
        tape: Tape,
        *,
        speed: float = REAL,
        host: str = "127.0.0.1",
        port: int = 0,
        hold_until_subscribed: bool = False,
        lead_s: float = 0.0,
        tail_s: float = 900.0,
        limits: Limits | None = None,
        history_limit: int = 1_000_000,
    ) -> None:
        if speed <= 0:
            raise ConfigError("not a speed", subject=repr(speed), hint="A number above 0, or clock.MAX")
        if not tape.symbols:
            raise ConfigError("a tape without symbols")
        self.limits = limits or Limits()
        self.market = Market(tape, history_limit=history_limit)
        self._speed = speed
        self._host = host
        self._port = port
        self._hold = hold_until_subscribed
        self._lead_us = int(lead_s * US_PER_S)
        self._tail_us = int(tail_s * US_PER_S)
        self._hub = Hub(self.market)
        self._archive = Archive(self.market)
        self._links: dict[Link, None] = {}
        self.faults = Faults(self._links, self._hub.faults, lambda: self.market.now_us)
        self._desk = Desk(self.market, self.limits, self.faults.forgotten)
        self._meters: dict[str, WeightMeter] = {}
        self._connects: dict[str, RateWindow] = {}
        self._wake = asyncio.Event()
        self._finished = asyncio.Event()
        self._pump: asyncio.Task[None] | None = None
        self._runner: web.AppRunner | None = None
        self._clock = ExchangeClock(0, speed, time.monotonic)

    # -- life ---------------------------------------------------------------------------------------------

    async def __aenter__(self) -> "SimulatedExchange":
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Open the port and let time run. Raises ConfigError when the address cannot be had."""
        loop = asyncio.get_running_loop()
        start_us = self.market.now_us + self._lead_us
        while not self.market.advance(start_us, self._hub, _SLICE):  # noqa: ASYNC110
            await asyncio.sleep(0)  # a long lead lets others run
        self._clock = ExchangeClock(self.market.now_us, self._speed, loop.time)
        application = web.Application(client_max_size=65536)
        application.router.add_get("/ws", self._websocket)
        application.router.add_get("/ws/{names:.*}", self._websocket)
        application.router.add_get("/stream", self._websocket)
        application.router.add_post("/sim/faults", self._fault_command)
        application.router.add_get("/sim/state", self._state)
        application.router.add_get("/data/{path:.*}", self._data)
        application.router.add_get("/{path:.*}", self._rest)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self._port).start()
        except OSError as problem:
            await self._runner.cleanup()
            raise ConfigError(
                "cannot listen", subject=f"{self._host}:{self._port} ({problem.strerror})", hint="Choose another port"
            ) from problem
        self._port = self._runner.addresses[0][1]
        if not self._hold:
            self._clock.start()
        self._pump = loop.create_task(self._run())

    async def stop(self) -> None:
        """Close every link and the port; idempotent."""
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.gather(self._pump, return_exceptions=True)
            self._pump = None
        for link in list(self._links):
            link.abort()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @property
    def ws_url(self) -> str:
        """The base URL of streams."""
        return f"ws://{self._authority()}"

    @property
    def rest_url(self) -> str:
        """The base URL of REST."""
        return f"http://{self._authority()}"

    def _authority(self) -> str:
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{host}:{self._port}"

    # -- the truth ----------------------------------------------------------------------------------------

    @property
    def now_us(self) -> int:
        """The exchange time (µs): everything up to it has been printed, nothing of what comes after."""
        return self.market.now_us

    @property
    def links(self) -> int:
        """How many WebSockets are open."""
        return len(self._links)

    def agg_trades(self, symbol: str) -> list[Aggregate]:
        """Return every aggregate of a symbol printed so far, as far as the history reaches back."""
        return self.market.agg_trades(symbol)

    def klines(self, symbol: str, interval: str, offset_us: int = 0) -> list[Candle]:
        """Return every candle of a symbol whose final message has been due, empty ones among them."""
        return self.market.closed_candles(symbol, interval, offset_us)

    async def finished(self) -> None:
        """Wait until a finite tape has been printed and its last candles have closed, and all of it was read.

        ``read`` means taken by the clients' sockets. At a pace of its own, the exchange calls the tape finished
        ``tail_s`` after its last trade in exchange time, too. Raises what broke the tape, should it break.
        """
        await self._or_broken(self._finished)

    async def until(self, event: asyncio.Event) -> None:
        """Print until ``event``; raise what broke the tape, should it break."""
        await self._or_broken(event)

    async def _or_broken(self, event: asyncio.Event) -> None:
        if self._pump is None:
            raise RuntimeError("the exchange is not running")
        waiting = asyncio.ensure_future(event.wait())
        try:
            await asyncio.wait({waiting, self._pump}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        if self._pump.done():
            self._pump.result()

    def release(self) -> None:
        """Let time run, where it was held until the first subscription."""
        self._clock.start()
        self._wake.set()

    # -- time ---------------------------------------------------------------------------------------------

    def _on_change(self) -> None:
        if not self._hub.idle:
            self.release()

    def _step(self) -> bool:
        """Print what is due; return whether all of it was. Cheap when nothing is."""
        arrived = True
        if self._clock.started and not self._clock.jumps:
            arrived = self.market.advance(self._clock.now_us(), self._hub, _SLICE)
            self._flush()
        return arrived

    async def _run(self) -> None:
        while True:
            if not self._clock.started or (self._clock.jumps and self._hub.idle):
                self._wake.clear()
                await self._wake.wait()
            elif self._clock.jumps:
                await self._jump()
            elif self._step():
                await self._nap()
            else:
                await asyncio.sleep(0)
            if self.market.ended and not self._finished.is_set():
                await self._check_finished()

    async def _jump(self) -> None:
        end_us = self.market.last_trade_us + self._tail_us
        horizon_us = end_us if self.market.ended else _NEVER_US
        over = self.market.advance(horizon_us, self._hub, _SLICE)
        self._flush()
        await self._read_up_to(_UNREAD_MAX)
        if over:
            self._clock.go_on_from(self.market.now_us, REAL)
        else:
            await asyncio.sleep(0)

    async def _nap(self) -> None:
        # one wake-up a millisecond at most: what is due together goes out in one write
        nap_s = max(_NAP_MIN_S, self._clock.wait_s(self.market.next_due_us()))
        await asyncio.sleep(min(nap_s, 0.25))

    async def _check_finished(self) -> None:
        if self.market.now_us >= self.market.last_trade_us + self._tail_us:
            await self._read_up_to(0)
            self._finished.set()

    def _flush(self) -> None:
        for link in self._links:
            link.flush()

    async def _read_up_to(self, unread: int) -> None:
        # a transport has no public call that waits for its reader
        while any(link.backlog() > unread for link in self._links):  # noqa: ASYNC110
            await asyncio.sleep(_POLL_S)

    # -- WebSocket ----------------------------------------------------------------------------------------

    async def _websocket(self, request: web.Request) -> web.StreamResponse:
        now_s = asyncio.get_running_loop().time()
        window = self._connects.setdefault(
            request.remote or "", RateWindow(self.limits.connects, self.limits.connects_window_s)
        )
        if self.faults.handshakes.hit(now_s):
            return _turned_away(request, self.faults.handshakes)
        if not window.allow(now_s):
            return _refusal(429, -1003, "Too many connection attempts.", window.retry_after_s(now_s))
        wanted = names_in_path(request.raw_path)
        unit = TimeUnit.MILLISECOND if wanted is None or wanted[2] is None else messages.time_unit(wanted[2])
        if wanted is None or unit is None:
            return _refusal(400, -1194, "Invalid value for time unit; expected either MICROSECOND or MILLISECOND.")
        combined, names, _ = wanted
        # pings are counted and answered by the link; a plain reply to an offer of compression is legal
        socket = web.WebSocketResponse(autoping=False, autoclose=False, compress=False, timeout=1.0, max_msg_size=2**20)
        if not socket.can_prepare(request).ok:
            return _refusal(400, -1000, "This is a WebSocket address.")
        await socket.prepare(request)
        transport = request.transport
        if transport is None:
            return socket
        link = Link(
            socket, transport, self._hub, self.limits, combined=combined, unit=unit, on_change=self._on_change
        )  # fmt: skip
        self._links[link] = None
        try:
            try:
                if names:
                    link.subscribe(names)
            except Refusal as refusal:
                link.put_text(messages.to_json({"error": {"code": refusal.code, "msg": refusal.text}, "id": None}))
                link.flush()
            await link.serve()
        finally:
            self._links.pop(link, None)
            self._wake.set()
        return socket

    # -- REST ---------------------------------------------------------------------------------------------

    async def _rest(self, request: web.Request) -> web.StreamResponse:
        now_s = asyncio.get_running_loop().time()
        if self.faults.rest_delays_left > 0:
            self.faults.rest_delays_left -= 1
            await asyncio.sleep(self.faults.rest_delay_s)
        if self.faults.rest.hit(now_s):
            return _turned_away(request, self.faults.rest)
        meter = self._meters.setdefault(request.remote or "", WeightMeter(self.limits))
        verdict = meter.spend(self._desk.weight(request.path), now_s)
        headers = {"X-MBX-USED-WEIGHT": str(verdict.used), "X-MBX-USED-WEIGHT-1M": str(verdict.used)}
        if verdict.status != 200:
            if verdict.status == 418:
                until_ms = time.time_ns() // 1_000_000 + verdict.retry_after_s * 1000
                text = f"Way too much request weight used; IP banned until {until_ms}."
            else:
                limit = self.limits.weight_per_minute
                text = f"Too much request weight used; current limit is {limit} request weight per 1 MINUTE."
            return _refusal(verdict.status, -1003, text, verdict.retry_after_s, headers)
        self._step()
        parameters = parse_qsl(request.rel_url.raw_query_string, keep_blank_values=True)
        answer = self._desk.answer(request.path, parameters, request.headers.get("X-MBX-TIME-UNIT"))
        return web.Response(status=answer.status, body=answer.body, content_type="application/json", headers=headers)

    async def _data(self, request: web.Request) -> web.StreamResponse:
        self._step()
        return await serve_archive(request, self._archive, self.faults.archives)

    # -- the operator's channel ---------------------------------------------------------------------------

    async def _fault_command(self, request: web.Request) -> web.StreamResponse:
        if not _is_loopback(request):
            return _refusal(403, -1002, "Faults are commanded from this machine alone.")
        try:
            hit = self.faults.command(await request.read())
        except ConfigError as problem:
            return _refusal(400, -1000, str(problem))
        return web.json_response({"ok": True, "links": hit})

    async def _state(self, request: web.Request) -> web.StreamResponse:
        if not _is_loopback(request):
            return _refusal(403, -1002, "The state is told to this machine alone.")
        self._step()
        return web.json_response(
            {
                "now_us": self.market.now_us,
                "started": self._clock.started,
                "printed": self.market.printed,
                "sent": self._hub.sent,
                "links": len(self._links),
                "tape_ended": self.market.ended,
                "finished": self._finished.is_set(),
            }
        )


def _is_loopback(request: web.Request) -> bool:
    try:
        return ipaddress.ip_address(request.remote or "").is_loopback
    except ValueError:
        return False


def _turned_away(request: web.Request, refusals: Refusals) -> web.StreamResponse:
    if refusals.status is None:
        if request.transport is not None:
            request.transport.abort()
        # nobody will read it
        return web.Response(status=503)
    return _refusal(refusals.status, -1003 if refusals.status in {418, 429} else -1000, "Fault on command.",
                    refusals.retry_after_s)  # fmt: skip


def _refusal(
    status: int, code: int, text: str, retry_after_s: float | None = None, headers: dict[str, str] | None = None
) -> web.Response:
    """Return the exchange's way to say no."""
    headers = dict(headers or {})
    if retry_after_s is not None:
        headers["Retry-After"] = str(max(1, round(retry_after_s)))
    return web.Response(status=status, body=error_body(code, text), content_type="application/json", headers=headers)
