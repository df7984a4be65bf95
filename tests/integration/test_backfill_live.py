"""Holes in a running recording, closed by themselves: real sockets, real databases, the simulated exchange's tape."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
from recording import Running, assert_candles_equal, assert_trades_equal, recording

from crypto_quant import events
from crypto_quant.seams import Covered, Source
from crypto_quant.sim.server import SimulatedExchange
from crypto_quant.sim.symbols import invented
from crypto_quant.sim.synthetic import SyntheticTape
from crypto_quant.store import coverage
from crypto_quant.store.as_text import trades_as_text

START_US = 1_790_856_000_000_000  # 2026-10-01T12:00:00Z
SYMBOLS = ("btcusdt", "ethusdt")


@pytest.fixture
async def exchange() -> AsyncIterator[SimulatedExchange]:
    """An endless market in real time, that begins with the first subscription."""
    tape = SyntheticTape(invented(["BTCUSDT", "ETHUSDT"]), rate=400, seed=5, start_us=START_US)
    async with SimulatedExchange(tape, hold_until_subscribed=True) as running:
        yield running


async def assert_no_hole(url: str, exchange: SimulatedExchange, symbol: str) -> int:
    """Hold what is stored against the tape, and its ids against an unbroken count; return how many there are."""
    count = await assert_trades_equal(url, exchange, symbol, whole=False)
    ids = [int(row[0]) for row in await trades_as_text(url, "spot", symbol)]
    assert ids == list(range(ids[0], ids[-1] + 1))
    return count


async def settled(run: Running) -> None:
    """Wait until some more has been received and no hole is left."""
    seen = run.stats.trades_written
    await run.until(lambda: run.stats.trades_written > seen + 50)
    await run.until(lambda: run.stats.missing_trades == 0)


async def test_skipped_trades_are_filled_in(database_url: str, exchange: SimulatedExchange, tmp_path: Path) -> None:
    async with recording(database_url, exchange.ws_url, exchange.rest_url, tmp_path) as run:
        await run.until(lambda: run.stats.trades_written > 50)
        exchange.faults.skip(7, stream="btcusdt@aggTrade")
        await run.until(lambda: run.stats.missing_trades == 7)
        await settled(run)
        final = await run.stop()
    count = await assert_no_hole(database_url, exchange, "btcusdt")
    assert final["trades_backfilled"] == 7
    assert final["gaps"] >= 1
    assert final["gaps_open"] == final["trades_missing"] == 0
    assert final["trades_received"] == final["trades_written"] == count - 7
    filled = run.told.of(events.GapFilled)
    assert sum(event.trades for event in filled) == 7
    assert {event.source for event in filled} == {"rest"}
    connection = await asyncpg.connect(database_url)
    try:
        assert await connection.fetchval("SELECT count(*) FROM trades WHERE received_at IS NULL") == 7
        # what was filled says so
        covered = "SELECT sum(last_id - first_id + 1) FROM coverage WHERE source = 'rest'"
        assert await connection.fetchval(covered) == 7
    finally:
        await connection.close()


async def test_what_an_outage_missed_is_filled_in(
    timescale_url: str, exchange: SimulatedExchange, tmp_path: Path
) -> None:
    async with recording(timescale_url, exchange.ws_url, exchange.rest_url, tmp_path, symbols=SYMBOLS) as run:
        await run.until(lambda: run.stats.trades_written > 100)
        exchange.faults.refuse_connections(count=2)
        assert exchange.faults.drop_links() == 1
        await run.until(lambda: len(run.told.of(events.LinkOpened)) == 2)
        await run.until(lambda: run.stats.gaps >= 2)
        await settled(run)
        await run.stop()
    assert run.stats.trades_backfilled > 10
    for symbol in SYMBOLS:
        await assert_no_hole(timescale_url, exchange, symbol)


@pytest.mark.parametrize(("status", "retry_after_s"), [(429, 1), (503, None), (None, None)])
async def test_rest_that_refuses_is_asked_again(
    postgres_url: str, exchange: SimulatedExchange, tmp_path: Path, status: int | None, retry_after_s: int | None
) -> None:
    async with recording(postgres_url, exchange.ws_url, exchange.rest_url, tmp_path) as run:
        await run.until(lambda: run.stats.trades_written > 20)
        exchange.faults.rest_errors(status, count=2, retry_after_s=retry_after_s)
        exchange.faults.skip(5, stream="btcusdt@aggTrade")
        await run.until(lambda: run.stats.missing_trades == 5)
        await run.until(lambda: run.stats.missing_trades == 0)
        await run.stop()
    await assert_no_hole(postgres_url, exchange, "btcusdt")
    # a dropped keep-alive connection is tried once more by the HTTP client itself
    assert len(run.told.of(events.RestFailed)) == (2 if status else 1)


async def test_what_rest_jumps_over_stays_a_known_gap(
    timescale_url: str, exchange: SimulatedExchange, tmp_path: Path
) -> None:
    """The day is not over, so there is no archive to prove that these trades never were: nothing is invented."""
    async with recording(timescale_url, exchange.ws_url, exchange.rest_url, tmp_path) as run:
        await run.until(lambda: run.stats.trades_written > 20)
        newest = exchange.agg_trades("BTCUSDT")[-1].agg_id
        exchange.faults.rest_forget("btcusdt", newest + 2, newest + 100_000)
        exchange.faults.skip(4, stream="btcusdt@aggTrade")
        await run.until(lambda: run.stats.missing_trades == 4)
        exchange.faults.forgotten["BTCUSDT"] = [(gap.first + 1, gap.last) for gap in run.told.of(events.GapFound)]
        await run.until(lambda: run.told.of(events.GapLeftOpen))
        final = await run.stop()
    [left] = run.told.of(events.GapLeftOpen)
    assert left.last - left.first + 1 == 3
    assert "BTCUSDT-aggTrades-2026-10-01.zip" in left.cause
    assert final["trades_missing"] == 3
    assert final["gaps_open"] == 1
    assert not run.told.of(events.TradesAbsent)
    await assert_trades_equal(timescale_url, exchange, "btcusdt", whole=False)


async def test_without_backfill_a_hole_stays_known(
    postgres_url: str, exchange: SimulatedExchange, tmp_path: Path
) -> None:
    async with recording(postgres_url, exchange.ws_url, exchange.rest_url, tmp_path, backfill=False) as run:
        await run.until(lambda: run.stats.trades_written > 20)
        exchange.faults.skip(3, stream="btcusdt@aggTrade")
        await run.until(lambda: run.stats.missing_trades == 3)
        await asyncio.sleep(1.5)
        final = await run.stop()
    assert final["trades_missing"] == 3
    assert (final["trades_backfilled"], final["gaps_open"]) == (0, 1)


async def test_holes_beyond_the_reach_are_told_with_the_command_that_closes_them(
    postgres_url: str, exchange: SimulatedExchange, tmp_path: Path
) -> None:
    async with recording(postgres_url, exchange.ws_url, exchange.rest_url, tmp_path, backfill_reach=20) as run:
        await run.until(lambda: run.stats.trades_written > 20)
        exchange.faults.skip(60, stream="btcusdt@aggTrade")
        await run.until(lambda: run.told.of(events.GapLeftOpen))
        await run.stop()
    [left] = run.told.of(events.GapLeftOpen)
    assert left.hint == "crypto-quant backfill btcusdt --from 2026-10-01 --to 2026-10-01"
    assert left.last - left.first + 1 > 30


async def test_the_drain_does_not_wait_for_the_backfill(
    postgres_url: str, exchange: SimulatedExchange, tmp_path: Path
) -> None:
    async with recording(postgres_url, exchange.ws_url, exchange.rest_url, tmp_path) as run:
        await run.until(lambda: run.stats.trades_written > 20)
        exchange.faults.rest_delay(5, count=100)  # an answer that was waited for would close the hole
        exchange.faults.skip(3, stream="btcusdt@aggTrade")
        await run.until(lambda: run.stats.missing_trades == 3)
        await run.until(lambda: exchange.faults.rest_delays_left < 100)
        final = await run.stop()
    assert final["trades_missing"] == 3
    exchange.faults.clear()


async def test_a_restart_closes_the_hole_that_the_stop_has_left(
    database_url: str, exchange: SimulatedExchange, tmp_path: Path
) -> None:
    """Stopped with a hole, started later: both the hole and the time between are closed from coverage."""
    async with recording(database_url, exchange.ws_url, exchange.rest_url, tmp_path, backfill=False) as run:
        await run.until(lambda: run.stats.trades_written > 50)
        exchange.faults.skip(5, stream="btcusdt@aggTrade")
        await run.until(lambda: run.stats.missing_trades == 5)
        seen = run.stats.trades_written
        await run.until(lambda: run.stats.trades_written > seen + 20)
        await run.stop()
    await asyncio.sleep(0.5)
    async with recording(database_url, exchange.ws_url, exchange.rest_url, tmp_path) as run:
        await run.until(lambda: run.stats.gaps == 1)
        assert run.stats.gaps_open == 2
        await settled(run)
        final = await run.stop()
    await assert_no_hole(database_url, exchange, "btcusdt")
    assert final["trades_backfilled"] > 5
    connection = await asyncpg.connect(database_url)
    try:
        rows = await connection.fetch("SELECT first_id, last_id FROM coverage ORDER BY first_id")
        # one unbroken account, however many sources it has
        assert all(a["last_id"] + 1 == b["first_id"] for a, b in itertools.pairwise(rows))
        stored = await connection.fetchval("SELECT count(*) FROM trades")
        assert rows[-1]["last_id"] - rows[0]["first_id"] + 1 == stored
    finally:
        await connection.close()


async def test_a_restart_fetches_the_candles_of_the_time_between(
    database_url: str, exchange: SimulatedExchange, tmp_path: Path
) -> None:
    streams = ("kline_1s",)
    async with recording(
        database_url, exchange.ws_url, exchange.rest_url, tmp_path, streams=streams, candle_grace=0.5
    ) as run:
        await run.until(lambda: run.stats.candles_written >= 2)
        await run.stop()
    await asyncio.sleep(3)
    async with recording(
        database_url, exchange.ws_url, exchange.rest_url, tmp_path, streams=streams, candle_grace=0.5
    ) as run:
        await run.until(lambda: run.stats.candles_fetched >= 2)
        await run.stop()
    stored = await assert_candles_equal(database_url, exchange, "btcusdt", "1s")
    opens = [int(row[0]) for row in stored]
    assert opens == list(range(opens[0], opens[-1] + 1, 1_000_000))
    assert len(opens) >= 5


@pytest.mark.parametrize("proven", ["by coverage", "by nothing"])
async def test_a_restart_fetches_candles_that_are_older_than_the_newest_stored_one(
    database_url: str, exchange: SimulatedExchange, tmp_path: Path, proven: str
) -> None:
    """As a recorder leaves them that is killed while it owes them; ``by nothing``: in an earlier version."""
    streams = ("kline_1s",)
    async with recording(
        database_url, exchange.ws_url, exchange.rest_url, tmp_path, streams=streams, candle_grace=0.5
    ) as run:
        await run.until(lambda: run.stats.candles_written >= 6)
        await run.stop()
    connection = await asyncpg.connect(database_url)
    try:
        times = [row[0] for row in await connection.fetch("SELECT time FROM candles ORDER BY time")]
        await connection.execute("DELETE FROM candles WHERE time = ANY ($1)", [times[2], times[3]])
        await connection.execute("DELETE FROM candle_coverage")
        if proven == "by coverage":
            slots = [int(time.timestamp()) for time in times]
            async with connection.transaction():
                claims = ((slots[0], slots[1]), (slots[4], slots[-1]))
                await coverage.extend(
                    connection, [Covered("spot", "btcusdt", *claim, Source.STREAM, "1s") for claim in claims]
                )
    finally:
        await connection.close()
    async with recording(
        database_url, exchange.ws_url, exchange.rest_url, tmp_path, streams=streams, candle_grace=0.5,
        check_symbols=proven == "by coverage",
    ) as run:  # fmt: skip
        await run.until(lambda: run.stats.candles_fetched >= 2)
        await run.until(lambda: run.stats.candles_written >= 4)
        assert [event.slots for event in run.told.of(events.CandlesKnownMissing)] == [2]
        await run.stop()
    opens = [int(row[0]) for row in await assert_candles_equal(database_url, exchange, "btcusdt", "1s")]
    assert opens == list(range(opens[0], opens[-1] + 1, 1_000_000))
    assert opens[0] == int(times[0].timestamp()) * 1_000_000
