"""The network of a world: links to the exchange with latency, order within each, and all that befalls them."""

import asyncio
from collections import deque
from collections.abc import Callable
from contextvars import Context
from random import Random

from crypto_quant.errors import LinkLost, Throttled
from crypto_quant.seams import Link, LinkHandler
from crypto_quant.sim import control, messages
from crypto_quant.sim.limits import RateWindow
from crypto_quant.sim.messages import TimeUnit
from crypto_quant.sim.names import names_in_path
from crypto_quant.sim.world import versions
from crypto_quant.sim.world.exchange import Exchange
from crypto_quant.sim.world.loop import Process

WS_URL = "ws://exchange.world"
_OUTSIDE = Context()

# what a socket hands over at once, and how often it is looked at
READ_FRAMES = 50
_READ_EVERY_S = 0.01
# what may lie unread on the way before the exchange drops the reader
_UNREAD_MAX = 20_000
_LATE_FRAMES = 40
_CONNECT_TIMEOUT_S = 10.0
_DAMAGES = (
    b"",
    b"\xff\xfe\x00",
    b'{"stream":"btcusdt@aggTrade","data":{"e":"aggTrade","E":17908560',
    b'{"result":null}',
    b"[1,2,3]",
    b"{" * 2000,
)


class WorldLink:
    """One WebSocket, both ends of it: ``seams.Link`` to the recorder, a listener of the hub to the exchange."""

    combined = True

    def __init__(self, network: "Network", number: int, process: Process, handler: LinkHandler, unit: TimeUnit) -> None:
        self.unit = unit
        self.number = number
        self.process = process
        self.open = True
        self.silent = False  # half-open: nothing passes any more, and nobody says so
        self.stalled_until_s = 0.0
        self._network = network
        self._exchange = network.exchange
        self._loop = network.exchange.loop
        self._handler = handler
        self._names: dict[str, None] = {}
        # streams that are subscribed and tell nothing any more -> since when (loop time)
        self.mute: dict[str, float] = {}
        self._way: deque[tuple[float, str, bytes, int]] = deque()  # due, kind, payload, close code
        self._arrives_s = 0.0
        self._pumping = False
        self._reading = True
        self._past: deque[bytes] = deque(maxlen=_LATE_FRAMES)
        self._rate = RateWindow(self._exchange.limits.messages_per_s, 1.0)
        self._ping_sent_s: float | None = None
        self._ping_heard_s: float | None = None
        self._loop.call_later(self._exchange.limits.ping_interval_s, self._ping)
        self._loop.call_later(self._exchange.limits.life_s, self._say_close, 1001, "end of life")

    # -- the recorder's end -------------------------------------------------------------------------------

    def send(self, text: bytes) -> None:
        """Take one text frame to the exchange."""
        self._to_exchange(self._hear, text)

    def pong(self, payload: bytes) -> None:
        """Take a pong to the exchange."""
        self._to_exchange(self._hear_pong)

    def close(self, code: int = 1000) -> None:
        """Begin the closing handshake."""
        self._to_exchange(self._say_close, code, "")

    def abort(self) -> None:
        """Drop the connection."""
        if self.open:
            self._end()
            self._loop.call_soon(self._handler.on_closed, 1006, "", context=self.process.context)

    def pause_reading(self) -> None:
        """Let what comes lie."""
        self._reading = False

    def resume_reading(self) -> None:
        """Take it again."""
        self._reading = True
        self._pump_soon()

    def _to_exchange(self, what: object, *args: object) -> None:
        if self.open and not self.silent:
            self._network.later(self._network.latency_s(), self._arrived, what, *args)

    def _arrived(self, what: object, *args: object) -> None:
        if self.open and not self.silent and callable(what):
            what(*args)

    # -- the exchange's end -------------------------------------------------------------------------------

    def put(self, frame: bytes) -> None:
        """Take a frame of the hub; what befalls single frames befalls them here."""
        if not self.open or self.silent:
            return
        start = 2 if frame[1] < 126 else 4 if frame[1] == 126 else 10
        payload = frame[start:]
        exchange, rates = self._exchange, self._exchange.plan.rates
        if (self.mute and versions.stream_of(payload) in self.mute) or versions.is_hidden(exchange, payload):
            return
        if exchange.chance(rates.frame_lost):
            exchange.trace(f"link {self.number}", f"lost {payload[-150:]!r}")
            return
        if exchange.chance(rates.frame_late) and self._past:
            self._transmit("text", exchange.dice.choice(list(self._past)))
        if exchange.chance(rates.frame_damaged):
            self._transmit("text", self._damaged(payload))
        self._past.append(payload)
        self._transmit("text", payload)
        if exchange.chance(rates.frame_twice):
            self._transmit("text", payload)
        if exchange.chance(exchange.plan.oddities.conflicting):
            self._contradict(payload)

    def _contradict(self, payload: bytes) -> None:
        """Tell a trade once more with another content: at once, or when the first has long been stored."""
        other = versions.altered(self._exchange, payload, self.unit)
        if other is not None:
            delay_s = self._exchange.dice.choice((0.0, 0.01, 0.3, 10.0))
            self._network.later(delay_s, self._transmit, "text", other)

    def swap(self) -> None:
        """Let the two frames that were sent last change places."""
        if len(self._way) > 1 and self._way[-1][1] == self._way[-2][1] == "text":
            (early_s, _, one, _), (late_s, _, other, _) = self._way[-2], self._way[-1]
            self._way[-2], self._way[-1] = (early_s, "text", other, 0), (late_s, "text", one, 0)

    def _damaged(self, payload: bytes) -> bytes:
        dice = self._exchange.dice
        if dice.random() < 0.3:
            return dice.choice(_DAMAGES)
        if dice.random() < 0.3:
            return payload[: dice.randrange(len(payload))]
        # a number that the tables cannot hold to the last digit, or that is none
        head, mark, tail = payload.partition(b'"p":"')
        if not mark:
            return payload[:-1]
        price, _, rest = tail.partition(b'"')
        other = dice.choice((b"1" + price + b"5", b"-" + price, b"1e5", b"NaN", b"", b"1" * 13 + b".0", price + b"\t1"))
        return head + mark + other + b'"' + rest

    def subscribe(self, names: list[str]) -> None:
        """Listen to streams (``control.Subscriber``)."""
        for name in names:
            if name not in self._names:
                self._names[name] = None
                self._exchange.hub.join(name, self)
        if len(self._names) > self._exchange.limits.streams_per_link:
            raise control.Refusal(4, "Too many subscriptions")

    def unsubscribe(self, names: list[str]) -> None:
        """Listen no more."""
        for name in names:
            if name in self._names:
                del self._names[name]
                self._exchange.hub.leave(name, self)

    def subscriptions(self) -> list[str]:
        """Return what was asked for."""
        return list(self._names)

    def _hear(self, text: bytes) -> None:
        if self._within_limits():
            self._transmit("text", control.answer(text.decode(), self))

    def _hear_pong(self) -> None:
        if self._within_limits():
            self._ping_sent_s = self._ping_heard_s = None

    def _within_limits(self) -> bool:
        if self._rate.allow(self._loop.time()):
            return True
        self._network.broken_limits.append(f"link {self.number}: more than 5 messages in a second")
        self._say_close(1008, "Too many requests")
        return False

    def _ping(self) -> None:
        if not self.open:
            return
        if not self.silent:
            now_s = self._loop.time()
            if self._ping_heard_s is not None and now_s > self._ping_heard_s + 5.0:
                self._network.broken_limits.append(f"link {self.number}: a ping was heard and not answered")
            if self._ping_sent_s is not None and now_s >= self._ping_sent_s + self._exchange.limits.pong_deadline_s:
                self._say_close(1008, "Pong timeout")
                return
            if self._ping_sent_s is None:
                self._ping_sent_s = now_s
            self._transmit("ping", str(int(now_s * 1000)).encode())
        self._loop.call_later(self._exchange.limits.ping_interval_s, self._ping)

    def server_shutdown(self) -> None:
        """Announce the end, which comes ten minutes later."""
        if self.open:
            self._transmit("text", messages.server_shutdown(self._exchange.now_us(), self.unit))
            self._loop.call_later(600.0, self._say_close, 1001, "server shutdown")

    def _say_close(self, code: int, reason: str) -> None:
        if self.open and not self.silent:
            self._leave()
            self._transmit("close", reason.encode(), code)

    def reset(self) -> None:
        """Lose the connection; what was on the way is gone."""
        if self.open:
            self._end()
            self._network.later(self._network.latency_s(), self._tell_reset)

    def _tell_reset(self) -> None:
        self._loop.call_soon(self._handler.on_closed, 1006, "connection reset", context=self.process.context)

    def _transmit(self, kind: str, payload: bytes, code: int = 0) -> None:
        if not self.open or self.silent:
            return
        if len(self._way) > _UNREAD_MAX:
            self.reset()
            return
        # nothing overtakes on one connection
        due_s = max(self._arrives_s, self._loop.time() + self._network.latency_s(), self.stalled_until_s)
        self._arrives_s = due_s
        self._way.append((due_s, kind, payload, code))
        if kind == "text" and self._exchange.chance(self._exchange.plan.rates.frame_late * 0.3):
            self.swap()
        self._pump_soon()

    def _pump_soon(self) -> None:
        if self._way and self._reading and self.open and not self._pumping:
            self._pumping = True
            # in the recorder's context: what it begins there dies with it
            self._loop.call_at(max(self._way[0][0], self._loop.time()), self._pump, context=self.process.context)

    def _pump(self) -> None:
        self._pumping = False
        now_s = self._loop.time()
        texts: list[bytes] = []  # read at once, heard at once
        for _ in range(READ_FRAMES):
            if not (self._way and self._reading and self.open and self._way[0][0] <= now_s + 1e-9):
                self._read(texts)
                self._pump_soon()
                return
            _, kind, payload, code = self._way.popleft()
            if kind == "text":
                texts.append(payload)
                continue
            self._read(texts)
            if kind == "ping":
                self._ping_heard_s = now_s
                self._handler.on_ping(payload)
            else:
                self._end()
                self._handler.on_closed(code, payload.decode())
        self._read(texts)
        self._pumping = True
        self._loop.call_later(_READ_EVERY_S, self._pump, context=self.process.context)

    def _read(self, texts: list[bytes]) -> None:
        if texts:
            self._network.deliver(self.process, self._handler, tuple(texts))
            texts.clear()

    def _leave(self) -> None:
        self.unsubscribe(list(self._names))

    def _end(self) -> None:
        self.open = False
        self._leave()
        self._way.clear()
        self._network.links.pop(self, None)


def _deliver(_: Process, handler: LinkHandler, payloads: tuple[bytes, ...]) -> None:
    handler.on_texts(payloads)


class Network:
    """Every link there is, and the ``Connector`` of each process."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.links: dict[WorldLink, None] = {}
        self.broken_limits: list[str] = []
        self.dice = Random(f"network {exchange.plan.seed}")  # noqa: S311
        self._number = 0
        # each machine has an address of its own
        self._rates: dict[str, RateWindow] = {}
        # gives a recorder what a socket has read at once
        self.deliver: Callable[[Process, LinkHandler, tuple[bytes, ...]], None] = _deliver

    def latency_s(self) -> float:
        """Return how long one thing takes on the way."""
        return self.dice.uniform(0.001, 0.05)

    def silence(self, stream: str) -> None:
        """Let every link of today tell nothing of a stream any more, though it is subscribed."""
        for link in self.links:
            if stream in link.subscriptions():
                link.mute.setdefault(stream, self.exchange.loop.time())
                self.exchange.trace(f"link {link.number}", f"{stream} goes silent")

    def silence_one(self, amount: float) -> None:
        """Let one link tell nothing of one of its streams any more; ``amount`` (below 1) says which."""
        carried = [(link, name) for link in self.links for name in link.subscriptions()]
        if carried:
            link, name = carried[int(amount * len(carried))]
            link.mute.setdefault(name, self.exchange.loop.time())
            self.exchange.trace(f"link {link.number}", f"{name} goes silent")

    def later(self, delay_s: float, what: object, *args: object) -> None:
        """Do something on the exchange's side of the network, whoever lives then."""
        if callable(what):
            self.exchange.loop.call_later(delay_s, what, *args, context=_OUTSIDE)

    def connector(self, process: Process) -> "WorldConnector":
        """Return the connector of a process."""
        return WorldConnector(self, process)

    def leave(self, process: Process) -> None:
        """A process is dead: its sockets close by themselves."""
        for link in [link for link in self.links if link.process is process]:
            link.reset()

    async def connect(self, process: Process, url: str, handler: LinkHandler) -> Link:
        """Open a link, or fail."""
        exchange = self.exchange
        await asyncio.sleep(self.latency_s() * 3)
        if exchange.away or exchange.chance(exchange.plan.rates.connect_fails):
            how = self.dice.randrange(4)
            exchange.trace("network", f"connect fails ({how})")
            if how == 0:
                raise Throttled("too many connections", retry_after_s=self.dice.uniform(1.0, 20.0), subject=url)
            await asyncio.sleep((0.0, 0.5, _CONNECT_TIMEOUT_S)[how - 1])
            raise LinkLost("cannot connect", subject=url)
        limits, address = exchange.limits, process.name.rstrip("0123456789")
        rate = self._rates.setdefault(address, RateWindow(limits.connects, limits.connects_window_s))
        if not rate.allow(exchange.loop.time()):
            self.broken_limits.append("more than 300 connections in 5 minutes")
            raise Throttled("too many connections", retry_after_s=60.0, subject=url)
        found = names_in_path(url.removeprefix(WS_URL))
        if found is None or not found[0]:
            raise LinkLost("no such path", subject=url)
        self._number += 1
        unit = messages.time_unit(found[2]) if found[2] else TimeUnit.MILLISECOND
        link = _OUTSIDE.run(WorldLink, self, self._number, process, handler, unit or TimeUnit.MILLISECOND)
        self.links[link] = None
        link.subscribe(found[1])
        exchange.trace("network", f"link {self._number} opened by {process.name}")
        return link


class WorldConnector:
    """``Connector`` of one process."""

    def __init__(self, network: Network, process: Process) -> None:
        self._network = network
        self._process = process

    async def connect(self, url: str, handler: LinkHandler) -> Link:
        """Return the open link. Raises LinkLost and Throttled."""
        return await self._network.connect(self._process, url, handler)
