"""Who gets what: subscriptions, and the way of an event to the links."""

from functools import partial
from typing import Protocol

from crypto_quant.sim import messages
from crypto_quant.sim.aggregate import Aggregate
from crypto_quant.sim.faults import Build, EventFaults
from crypto_quant.sim.intervals import LENGTHS_US, open_of
from crypto_quant.sim.market import Market
from crypto_quant.sim.messages import TimeUnit
from crypto_quant.sim.names import Stream, parse_stream
from crypto_quant.sim.tape import Trade


class Outlet(Protocol):
    """A link as the hub sees it."""

    combined: bool
    unit: TimeUnit

    def put(self, frame: bytes) -> None:
        """Queue one whole WebSocket frame."""
        ...


class Channel:
    """One stream that somebody listens to."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.head = messages.combined_head(stream.name)
        # a dict keeps the order of joining, so that two runs send in the same order
        self.members: dict[Outlet, None] = {}
        # the state of the candle book that was sent last
        self.version = -1


class Hub:
    """Hears the market and tells the links. A message is written once per form and shared by all who want it."""

    def __init__(self, market: Market) -> None:
        self.faults = EventFaults()
        self.sent = 0
        self._market = market
        self._channels: dict[str, Channel] = {}
        self._aggregates: dict[str, Channel] = {}
        self._trades: dict[str, Channel] = {}
        self._klines: dict[str, Channel] = {}

    @property
    def idle(self) -> bool:
        """Whether nobody listens to anything."""
        return not self._channels

    def join(self, name: str, link: Outlet) -> Stream | None:
        """Add a link to a stream; return what it carries, None for a name without a meaning."""
        stream = parse_stream(name, self._market.symbols)
        if stream is None or self.faults.muted(name):
            return stream
        channel = self._channels.get(name)
        if channel is None:
            channel = Channel(stream)
            self._channels[name] = channel
            if stream.kind == "kline":
                self._klines[name] = channel
            else:
                self._of(stream.kind)[stream.symbol] = channel
        channel.members[link] = None
        return channel.stream

    def leave(self, name: str, link: Outlet) -> None:
        """Remove a link from a stream."""
        channel = self._channels.get(name)
        if channel is None:
            return
        channel.members.pop(link, None)
        if not channel.members:
            del self._channels[name]
            if channel.stream.kind == "kline":
                del self._klines[name]
            else:
                del self._of(channel.stream.kind)[channel.stream.symbol]

    def _of(self, kind: str) -> dict[str, Channel]:
        return self._aggregates if kind == "aggTrade" else self._trades

    # -- what the market says -----------------------------------------------------------------------------

    def on_trade(self, trade: Trade, event_us: int) -> None:
        """Send one raw trade; prints that stand for several have no ``trade`` message."""
        channel = self._trades.get(trade.symbol)
        if channel is not None and trade.agg_id is None:
            self._send(channel, partial(messages.trade, trade, event_us))

    def on_aggregate(self, one: Aggregate, event_us: int) -> None:
        """Send one aggregate."""
        channel = self._aggregates.get(one.symbol)
        if channel is not None:
            self._send(channel, partial(messages.agg_trade, one, event_us))

    def on_second(self, second_us: int, event_us: int) -> None:
        """Send the final 1-second candles."""
        for channel in list(self._klines.values()):
            if channel.stream.interval == "1s":
                self._send_candle(channel, second_us - LENGTHS_US["1s"], True, event_us)

    def on_minute(self, minute_us: int, event_us: int) -> None:
        """Send the final message of each candle that ended with the last minute."""
        for channel in list(self._klines.values()):
            stream = channel.stream
            if stream.interval == "1s" or open_of(minute_us, stream.interval, stream.offset_us) != minute_us:
                continue
            self._send_candle(channel, open_of(minute_us - 1, stream.interval, stream.offset_us), True, event_us)

    def on_update(self, event_us: int) -> None:
        """Send the running candles that have changed."""
        for channel in list(self._klines.values()):
            stream = channel.stream
            if stream.interval == "1s":
                continue
            version = self._market.books[stream.symbol].version
            if version != channel.version:
                channel.version = version
                self._send_candle(channel, open_of(event_us, stream.interval, stream.offset_us), False, event_us)

    def _send_candle(self, channel: Channel, open_us: int, final: bool, event_us: int) -> None:
        stream = channel.stream
        candle = self._market.books[stream.symbol].candle(stream.interval, open_us, stream.offset_us)
        # a running candle without trades has not changed, it has only begun
        if candle is not None and (final or candle.count):
            build = partial(messages.kline, stream.symbol, stream.interval, candle, event_us, final=final)
            self._send(channel, build, final)

    # -- to the links -------------------------------------------------------------------------------------

    def _send(self, channel: Channel, build: Build, final: bool = False) -> None:
        if self.faults.active:
            for arranged in self.faults.arrange(channel.stream, build, final):
                self._deliver(channel, arranged)
        else:
            self._deliver(channel, build)

    def _deliver(self, channel: Channel, build: Build) -> None:
        members = channel.members
        self.sent += len(members)
        if len(members) == 1:
            for link in members:
                link.put(_frame(channel, build, link))
            return
        frames: dict[tuple[TimeUnit, bool], bytes] = {}
        for link in members:
            form = (link.unit, link.combined)
            frame = frames.get(form)
            if frame is None:
                frame = frames[form] = _frame(channel, build, link)
            link.put(frame)


def _frame(channel: Channel, build: Build, link: Outlet) -> bytes:
    payload = build(link.unit)
    return messages.text_frame(channel.head + payload + b"}" if link.combined else payload)
