"""Links that do not lose: real sockets, a real database, and an exchange that ends connections all the time."""

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import pytest
from recording import Running, assert_candles_equal, assert_trades_equal, recording

from crypto_quant import events
from crypto_quant.binance.liveness import LivenessLimits
from crypto_quant.binance.session import SessionLimits
from crypto_quant.sim.limits import Limits
from crypto_quant.sim.server import SimulatedExchange
from crypto_quant.sim.symbols import invented
from crypto_quant.sim.synthetic import SyntheticTape
from crypto_quant.store.as_text import candles_as_text

START_US = 1_790_856_000_000_000  # 2026-10-01T12:00:00Z
SYMBOLS = ("btcusdt", "ethusdt")
RATE = 4000.0
# a life of 1.6 s, of which 0.8 s are left for the successor
SHORT_LIVES = SessionLimits(life_s=1.6, leave_early_s=0.8, stagger_s=0.1, overlap_s=0.2)

OVERLAP = SessionLimits(overlap_s=0.2)
HASTY = LivenessLimits(least_s=1.0, first_s=1.0, again_s=0.2, settle_s=0.3, checks_per_minute=60)


def tape(rate: float = RATE, start_us: int = START_US) -> SyntheticTape:
    return SyntheticTape(invented(["BTCUSDT", "ETHUSDT"]), rate=rate, seed=5, start_us=start_us)


@pytest.fixture
async def exchange() -> AsyncIterator[SimulatedExchange]:
    """A market of thousands of trades a second."""
    async with SimulatedExchange(tape(), hold_until_subscribed=True) as running:
        yield running


@pytest.fixture
async def short_lived() -> AsyncIterator[SimulatedExchange]:
    """The same, whose connections live for 1.6 s and are then dropped without a word."""
    limits = Limits(life_s=1.6, life_close_code=None)
    async with SimulatedExchange(tape(), hold_until_subscribed=True, limits=limits) as running:
        yield running


async def assert_nothing_lost(run: Running, url: str, exchange: SimulatedExchange) -> None:
    """Drain, and hold everything against the tape: from the first trade to the last one that was received."""
    final = await run.stop()
    assert final["gaps"] == final["trades_missing"] == 0
    assert run.told.of(events.GapFound) == []
    assert final["trades_duplicate"] == 0
    total = 0
    for symbol in SYMBOLS:
        count = await assert_trades_equal(url, exchange, symbol, whole=False)
        ids = [each.agg_id for each in exchange.agg_trades(symbol.upper())]
        newest = run.recorder.intake.newest(symbol)
        assert count == newest - ids[0] + 1  # without a hole, from the very first
        total += count
    assert final["trades_received"] == final["trades_written"] == total


async def test_lives_of_a_second_lose_nothing(
    database_url: str, short_lived: SimulatedExchange, tmp_path: Path
) -> None:
    async with recording(
        database_url, short_lived.ws_url, short_lived.rest_url, tmp_path, symbols=SYMBOLS, limits=SHORT_LIVES
    ) as run:
        await run.until(lambda: run.stats.rollovers >= 4)
        assert run.stats.reconnects == 0
        assert run.stats.trades_redundant > 0
        assert {event.cause for event in run.told.of(events.LinkReplaced)} == {"end of life"}
        await assert_nothing_lost(run, database_url, short_lived)


async def test_announced_shutdowns_lose_nothing(postgres_url: str, exchange: SimulatedExchange, tmp_path: Path) -> None:
    limits = SessionLimits(overlap_s=0.2)
    async with recording(
        postgres_url, exchange.ws_url, exchange.rest_url, tmp_path, symbols=SYMBOLS, limits=limits
    ) as run:
        for number in range(1, 4):
            await run.until(lambda: run.stats.links == 1 and run.stats.trades_written > 500)
            exchange.faults.server_shutdown(close_after_s=1.5)
            await run.until(lambda so_far=number: run.stats.rollovers == so_far)  # type: ignore[misc]
        assert run.stats.reconnects == 0
        await assert_nothing_lost(run, postgres_url, exchange)


async def test_an_old_link_stays_while_the_exchange_refuses_new_ones(
    postgres_url: str, exchange: SimulatedExchange, tmp_path: Path
) -> None:
    limits = SessionLimits(overlap_s=0.2)
    async with recording(
        postgres_url, exchange.ws_url, exchange.rest_url, tmp_path, symbols=SYMBOLS, limits=limits
    ) as run:
        await run.until(lambda: run.stats.trades_written > 500)
        exchange.faults.refuse_connections(count=2, status=503)
        exchange.faults.server_shutdown()
        await run.until(lambda: run.stats.rollovers == 1)
        assert len(run.told.of(events.ReconnectScheduled)) == 2
        assert run.stats.reconnects == 0
        await assert_nothing_lost(run, postgres_url, exchange)


async def test_of_two_links_either_may_drop_at_any_time(
    database_url: str, exchange: SimulatedExchange, tmp_path: Path
) -> None:
    limits = SessionLimits(overlap_s=0.2)
    async with recording(
        database_url, exchange.ws_url, exchange.rest_url, tmp_path, symbols=SYMBOLS, limits=limits, links=2
    ) as run:
        for turn in range(6):
            await run.until(lambda: run.stats.links == 2)
            seen = run.stats.trades_redundant
            await run.until(lambda before=seen: run.stats.trades_redundant > before + 500)  # type: ignore[misc]
            # the older one, which is another one each time
            oldest = next(iter(exchange._links))
            oldest.abort()
            await run.until(lambda so_far=turn: run.stats.reconnects == so_far + 1)  # type: ignore[misc]
        assert run.stats.rollovers == 0
        await assert_nothing_lost(run, database_url, exchange)


async def test_two_links_of_short_lives_lose_nothing(
    postgres_url: str, short_lived: SimulatedExchange, tmp_path: Path
) -> None:
    async with recording(
        postgres_url, short_lived.ws_url, short_lived.rest_url, tmp_path, symbols=SYMBOLS, limits=SHORT_LIVES, links=2
    ) as run:
        await run.until(lambda: run.stats.rollovers >= 5)
        await assert_nothing_lost(run, postgres_url, short_lived)


async def test_a_slow_database_and_a_handover_lose_nothing(
    postgres_url: str, short_lived: SimulatedExchange, tmp_path: Path
) -> None:
    """Reading is paused and resumed again and again while links are replaced."""
    async with recording(
        postgres_url, short_lived.ws_url, short_lived.rest_url, tmp_path, symbols=SYMBOLS, limits=SHORT_LIVES
    ) as run:
        await run.until(lambda: run.stats.trades_written > 500)
        for _ in range(6):
            run.recorder.pipeline._collector.pause()
            await asyncio.sleep(0.1)
            run.recorder.pipeline._collector.resume()
            await asyncio.sleep(0.4)
        await run.until(lambda: run.stats.rollovers >= 3)
        await assert_nothing_lost(run, postgres_url, short_lived)


async def test_a_half_open_socket_is_found(postgres_url: str, exchange: SimulatedExchange, tmp_path: Path) -> None:
    async with recording(
        postgres_url, exchange.ws_url, exchange.rest_url, tmp_path, limits=SessionLimits(silence_s=0.5)
    ) as run:
        await run.until(lambda: run.stats.trades_written > 100)
        assert exchange.faults.silence() == 1
        await run.until(lambda: run.told.of(events.LinkSilent))
        seen = run.stats.trades_written
        await run.until(lambda: run.stats.trades_written > seen + 100)
        assert run.stats.reconnects == 1


async def test_a_stream_that_falls_silent_alone_is_found(database_url: str, tmp_path: Path) -> None:
    """One stream of a link that is well otherwise; the exchange's REST shows that it should come."""
    async with (
        SimulatedExchange(tape(rate=1000), hold_until_subscribed=True) as market,
        recording(
            database_url, market.ws_url, market.rest_url, tmp_path, symbols=SYMBOLS, limits=OVERLAP, liveness=HASTY
        ) as run,
    ):
        await run.until(lambda: run.stats.trades_written > 2000)
        assert market.faults.mute_stream("ethusdt@aggTrade") == 1
        await run.until(lambda: run.told.of(events.StreamStalled))
        stalled = run.told.of(events.StreamStalled)[0]
        assert (stalled.symbol, stalled.stream) == ("ethusdt", "ethusdt@aggTrade")
        assert stalled.ours < stalled.exchanges
        await run.until(lambda: run.stats.rollovers == 1)
        await run.until(lambda: run.recorder.intake.newest("ethusdt") > stalled.exchanges)
        final = await run.stop()
        assert final["reconnects"] == 0
        # the other symbol has lost nothing; of this one just what the exchange did not send is known to be missing:
        # at once what REST tells of, and what came after that when the new link delivers
        gaps = run.told.of(events.GapFound)
        assert {gap.symbol for gap in gaps} == {"ethusdt"}
        assert (gaps[0].first, gaps[0].last) == (stalled.ours + 1, stalled.exchanges)
        assert all(after.first == before.last + 1 for before, after in pairwise(gaps))
        stored = {symbol: await assert_trades_equal(database_url, market, symbol, whole=False) for symbol in SYMBOLS}
        first = {symbol: market.agg_trades(symbol.upper())[0].agg_id for symbol in SYMBOLS}
        newest = {symbol: run.recorder.intake.newest(symbol) for symbol in SYMBOLS}
        assert stored["btcusdt"] == newest["btcusdt"] - first["btcusdt"] + 1
        assert stored["ethusdt"] == newest["ethusdt"] - first["ethusdt"] + 1 - final["trades_missing"]


async def test_a_stream_that_is_acknowledged_and_never_comes_is_found(postgres_url: str, tmp_path: Path) -> None:
    async with SimulatedExchange(tape(rate=1000)) as market:
        market.faults.mute_stream("ethusdt@aggTrade", count=1)
        async with recording(
            postgres_url, market.ws_url, market.rest_url, tmp_path, symbols=SYMBOLS, limits=OVERLAP, liveness=HASTY
        ) as run:
            await run.until(lambda: run.told.of(events.StreamStalled))
            assert [event.ours for event in run.told.of(events.StreamStalled)] == [-1]
            await run.until(lambda: run.recorder.intake.newest("ethusdt") > 0)
            assert run.stats.reconnects == 0


async def test_a_market_that_rests_keeps_its_link(postgres_url: str, tmp_path: Path) -> None:
    market_tape = SyntheticTape(invented(["BTCUSDT", "ETHUSDT"]), rate=1000, seed=5, start_us=START_US, seconds=3.5)
    async with (
        SimulatedExchange(market_tape, hold_until_subscribed=True) as market,
        recording(
            postgres_url, market.ws_url, market.rest_url, tmp_path, symbols=SYMBOLS, limits=OVERLAP, liveness=HASTY
        ) as run,
    ):
        asked: list[str] = []
        rest = run.recorder.pipeline._guard._rest  # type: ignore[union-attr]
        answer = rest.newest_trade_id

        async def counted(symbol: str) -> int:
            asked.append(symbol)
            return await answer(symbol)

        rest.newest_trade_id = counted  # type: ignore[method-assign]
        await run.until(lambda: len(asked) >= 3)
        assert run.told.of(events.StreamStalled) == []
        assert run.stats.rollovers == run.stats.reconnects == 0


async def test_candles_are_whole_over_an_outage_at_the_edge_of_a_minute(postgres_url: str, tmp_path: Path) -> None:
    start_us = START_US + 56_000_000  # four seconds before the minute
    async with (
        SimulatedExchange(tape(rate=400, start_us=start_us), hold_until_subscribed=True) as market,
        recording(
            postgres_url,
            market.ws_url,
            market.rest_url,
            tmp_path,
            symbols=SYMBOLS,
            streams=("aggTrade", "kline_1s"),
            candle_grace=1.0,
        ) as run,
    ):
        edge_us = START_US + 60_000_000
        await run.until(lambda: market.now_us > edge_us - 50_000)
        market.faults.refuse_connections(seconds=1.2)
        market.faults.drop_links()
        await run.until(lambda: run.stats.candles_fetched >= 2)
        # how many candles the outage takes depends on the pause before the reconnect; all of them come within the grace
        for _ in range(40):
            stored = [await candles_as_text(postgres_url, "spot", symbol, "1s") for symbol in SYMBOLS]
            if all(int(rows[-1][0]) - int(rows[0][0]) == (len(rows) - 1) * 1_000_000 for rows in stored):
                break
            await asyncio.sleep(0.25)
        await run.stop()
        for symbol in SYMBOLS:
            opens = [int(row[0]) for row in await assert_candles_equal(postgres_url, market, symbol, "1s")]
            assert edge_us - 1_000_000 in opens
            assert opens == list(range(opens[0], opens[-1] + 1, 1_000_000))
