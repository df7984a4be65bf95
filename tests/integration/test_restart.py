"""A recorder goes on where the last one stopped, and knows what it missed meanwhile."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from recording import Running, assert_trades_equal, recording

from crypto_quant import events
from crypto_quant.continuity import Gap, RangeSet
from crypto_quant.sim.server import SimulatedExchange
from crypto_quant.sim.symbols import invented
from crypto_quant.sim.synthetic import SyntheticTape
from crypto_quant.store import coverage
from crypto_quant.store.timescale import connect

START_US = 1_790_856_000_000_000  # 2026-10-01T12:00:00Z
SYMBOLS = ("btcusdt", "ethusdt")


@pytest.fixture
async def exchange() -> AsyncIterator[SimulatedExchange]:
    """An endless market of two symbols, that begins with the first subscription."""
    tape = SyntheticTape(invented(["BTCUSDT", "ETHUSDT"]), rate=600.0, seed=11, start_us=START_US)
    async with SimulatedExchange(tape, hold_until_subscribed=True) as running:
        yield running


async def proven(url: str) -> dict[str, RangeSet]:
    """Return what coverage claims, held against the rows: each claim has them, each row has a claim."""
    connection = await connect(url)
    try:
        held = await coverage.load(connection, "spot")
        rows = await connection.fetch("SELECT symbol, trade_id FROM trades WHERE venue = 'spot'")
    finally:
        await connection.close()
    stored: dict[str, RangeSet] = {symbol: RangeSet() for symbol in SYMBOLS}
    for symbol, trade_id in rows:
        stored[symbol].add(trade_id, trade_id)
    claimed = {symbol: RangeSet((c.first, c.last) for c in ranges) for symbol, ranges in held.items()}
    assert claimed == stored
    return claimed


async def record_some(run: Running, trades: int) -> None:
    await run.until(lambda: run.stats.trades_written >= trades)


async def test_a_restart_knows_what_was_missed(database_url: str, tmp_path: Path, exchange: SimulatedExchange) -> None:
    async with recording(database_url, exchange.ws_url, exchange.rest_url, tmp_path, symbols=SYMBOLS) as first:
        await record_some(first, 300)
        final = await first.stop()
    assert (final["gaps"], final["gaps_open"]) == (0, 0)
    before = await proven(database_url)
    assert all(len(ranges) == 1 for ranges in before.values())
    await asyncio.sleep(0.5)  # the exchange goes on meanwhile
    async with recording(
        database_url, exchange.ws_url, exchange.rest_url, tmp_path, symbols=SYMBOLS, backfill=False
    ) as second:
        await record_some(second, 300)
        final = await second.stop()
    after = await proven(database_url)
    found = {event.symbol: Gap(event.first, event.last) for event in second.told.of(events.GapFound)}
    for symbol in SYMBOLS:
        earlier, later = after[symbol].ranges()
        assert before[symbol].ranges() == [earlier]
        assert found[symbol] == Gap(earlier[1] + 1, later[0] - 1)
        await assert_trades_equal(database_url, exchange, symbol, whole=False)
    assert (final["gaps"], final["gaps_open"]) == (2, 2)
    assert final["trades_missing"] == sum(gap.size for gap in found.values())
    # the third run is told of them at its start
    async with recording(database_url, exchange.ws_url, exchange.rest_url, tmp_path, symbols=SYMBOLS) as third:
        known = {event.symbol: (event.gaps, event.missing) for event in third.told.of(events.GapsKnown)}
        assert known == {symbol: (1, gap.size) for symbol, gap in found.items()}
        assert third.stats.gaps_open >= 2


async def test_a_recorder_that_is_cut_off_claims_nothing_that_is_not_stored(
    database_url: str, tmp_path: Path, exchange: SimulatedExchange
) -> None:
    for number in range(3):
        async with recording(
            database_url, exchange.ws_url, exchange.rest_url, tmp_path, symbols=SYMBOLS, batch_size=7
        ) as run:
            await record_some(run, 100 + 30 * number)
            run.recorder.pipeline.abort()
            await run.task
        await proven(database_url)
    for symbol in SYMBOLS:
        await assert_trades_equal(database_url, exchange, symbol, whole=False)


async def test_two_recorders_at_once_prove_it_together(
    database_url: str, tmp_path: Path, exchange: SimulatedExchange
) -> None:
    urls = exchange.ws_url, exchange.rest_url
    async with (
        recording(database_url, *urls, tmp_path / "a", symbols=SYMBOLS, batch_size=5) as one,
        recording(database_url, *urls, tmp_path / "b", symbols=SYMBOLS, batch_size=9) as other,
    ):
        await one.until(lambda: one.stats.trades_received > 900)
        finals = [await one.stop(), await other.stop()]
    for final in finals:
        assert final["pending_trades"] == final["trades_set_aside"] == final["store_failures"] == 0
    claimed = await proven(database_url)
    assert sum(ranges.size for ranges in claimed.values()) == sum(final["trades_written"] for final in finals)
    for symbol in SYMBOLS:
        await assert_trades_equal(database_url, exchange, symbol, whole=False)
