"""The guard between intake, REST and collector: what it looks up, tells and has replaced."""

import asyncio
import random

from flow_doubles import Journal, ScriptedHttp

from crypto_quant import events
from crypto_quant.binance.liveness import LivenessLimits
from crypto_quant.binance.streams import Stream
from crypto_quant.binance.venues import StreamKind, venue_spec
from crypto_quant.errors import ExchangeUnavailable
from crypto_quant.flow.guard import StreamGuard
from crypto_quant.flow.rest import ExchangeRest
from crypto_quant.market import NS_PER_S, Timeframe, Venue
from crypto_quant.seams import HttpAnswer

TRADES = Stream(StreamKind.AGG_TRADE)
CANDLES = Stream(StreamKind.KLINE, Timeframe.M1)


class World:
    """Stands in for intake and collector: what was had, who listens, what is to be replaced."""

    venue = Venue.SPOT

    def __init__(self, *answers: HttpAnswer | Exception, streams: tuple[Stream, ...] = (TRADES,)) -> None:
        self.now_s = 0
        self.ids = {"btcusdt": -1}
        self.streamed = self.fetched = -1
        self.since: int | None = 0
        self.replaced: list[tuple[str, str]] = []
        self.told: list[tuple[str, int]] = []
        self.journal = Journal()
        self.http = ScriptedHttp(*answers)
        rest = ExchangeRest(
            venue_spec(Venue.SPOT), "http://x", self.http, self.journal, random.Random(1)  # noqa: S311
        )  # fmt: skip
        self.guard = StreamGuard(
            list(self.ids),
            streams,
            intake=self,  # type: ignore[arg-type]
            collector=self,  # type: ignore[arg-type]
            rest=rest,
            emit=self.journal,
            limits=LivenessLimits(settle_s=0.0),
        )

    def newest_streamed(self, symbol: str) -> int:
        return self.ids[symbol]

    def issued(self, symbol: str, trade_id: int) -> None:
        self.told.append((symbol, trade_id))

    def newest_candle(self, symbol: str, timeframe: Timeframe) -> int:
        return self.streamed

    def newest_fetched(self, symbol: str, timeframe: Timeframe) -> int:
        return self.fetched

    def ns(self) -> int:
        return self.now_s * NS_PER_S

    def listening_since_ns(self, stream: str) -> int | None:
        return self.since

    def replace(self, stream: str, cause: str) -> None:
        self.replaced.append((stream, cause))

    async def run(self, seconds: int, rate: int = 0) -> None:
        for _ in range(seconds):
            self.now_s += 1
            self.ids["btcusdt"] += rate
            await self.guard.look()


def page(trade_id: int) -> HttpAnswer:
    return HttpAnswer(200, {}, b'[{"a":%d,"p":"1","q":"1","f":1,"l":1,"T":1,"m":true,"M":true}]' % trade_id)


async def test_a_stalled_stream_is_told_and_replaced() -> None:
    world = World(page(5000))
    await world.run(100, rate=10)
    assert world.http.asked == []  # a stream that comes costs no request
    await world.run(20)
    assert world.http.asked == [("http://x/api/v3/aggTrades", {"symbol": "BTCUSDT", "limit": "1"})]
    told = world.journal.of(events.StreamStalled)
    assert [(e.symbol, e.stream, e.ours, e.exchanges) for e in told] == [("btcusdt", "btcusdt@aggTrade", 999, 5000)]
    assert world.replaced == [("btcusdt@aggTrade", "stream stalled")]
    assert world.told == [("btcusdt", 5000)]


async def test_what_was_printed_before_a_link_was_up_is_told_though_nothing_follows() -> None:
    """A market that halts while nobody listens: no event of the stream will ever show the gap."""
    world = World(page(5000))
    world.ids["btcusdt"] = 999
    await world.run(100)
    assert world.replaced == []
    assert set(world.told) == {("btcusdt", 5000)}


async def test_a_quiet_market_leaves_the_link_alone() -> None:
    world = World(page(999))
    await world.run(100, rate=10)
    await world.run(3600)
    assert 1 < len(world.http.asked) < 9
    assert world.replaced == []
    assert world.journal.events == []


async def test_a_symbol_without_any_trade_is_quiet() -> None:
    world = World(HttpAnswer(200, {}, b"[]"))
    await world.run(600)
    assert world.http.asked
    assert world.replaced == []


async def test_rest_that_fails_is_told_and_only_a_long_silence_replaces_the_link() -> None:
    world = World(ExchangeUnavailable("no answer"))
    await world.run(100, rate=10)
    await world.run(600)
    assert world.journal.of(events.RestFailed)
    assert world.replaced == []
    await world.run(1000)
    assert world.replaced == [("btcusdt@aggTrade", "no data, and REST does not answer")]


async def test_candles_that_rest_had_to_give_again_and_again_replace_the_link_once() -> None:
    world = World(streams=(CANDLES,))
    world.streamed = 60 * NS_PER_S
    for minute in range(2, 8):
        world.fetched = minute * 60 * NS_PER_S
        await world.guard.look()
    assert world.replaced == [("btcusdt@kline_1m", "stream stalled")]
    assert [event.stream for event in world.journal.of(events.StreamStalled)] == ["btcusdt@kline_1m"]
    assert world.http.asked == []


async def test_it_runs_until_it_is_cancelled() -> None:
    world = World(page(1))
    world.guard._tick_s = 0.0
    task = asyncio.create_task(world.guard.run())
    await asyncio.sleep(0.01)
    assert not task.done()
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()
