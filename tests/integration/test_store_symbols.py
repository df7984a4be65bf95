"""What the exchange lists, as the database keeps it."""

from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path

import asyncpg
import pytest
from loading import load_history
from recording import recording
from records import DAY, SERVERS, Record, record_on

from crypto_quant.market import DAY_NS, Listing, Venue
from crypto_quant.sim.server import SimulatedExchange
from crypto_quant.sim.symbols import invented
from crypto_quant.sim.synthetic import SyntheticTape
from crypto_quant.store.faults import translate
from crypto_quant.store.moments import ns_of
from crypto_quant.store.symbols import note_symbols
from crypto_quant.store.timescale import open_sink

NOW_NS = ns_of(DAY)
START_US = 1_790_805_600_000_000  # 2026-09-30T22:00:00Z
YESTERDAY = date(2026, 9, 30)


# the Community edition's takes one connection at a time
@pytest.fixture(params=[each for each in SERVERS if "community" not in str(each)])
async def record(request: pytest.FixtureRequest) -> AsyncIterator[Record]:
    async with record_on(request.param) as lent:
        yield lent


async def noted(record: Record, seen_ns: int, *listings: Listing, venue: Venue = Venue.SPOT) -> None:
    sink = await open_sink(record.url, pool_size=1)
    try:
        await note_symbols(sink, venue, listings, seen_ns)
    finally:
        await sink.close()


async def kept(record: Record) -> list[tuple[object, ...]]:
    async with record.connection() as connection:
        rows = await connection.fetch(
            "SELECT venue, symbol, base, quote, status, (extract(epoch FROM seen_at - $1) / 86400)::int"
            " FROM symbols ORDER BY venue, symbol",
            DAY,
        )
    return [tuple(row) for row in rows]


async def test_the_latest_listing_is_kept_and_what_is_gone_stays(record: Record) -> None:
    btc, ada = Listing("BTCUSDT", "BTC", "USDT", "TRADING"), Listing("ADAEUR", "ADA", "EUR", "TRADING")
    untold = Listing("NOTHING", "", "", "TRADING")
    await noted(record, NOW_NS, btc, ada, untold)
    await noted(record, NOW_NS + DAY_NS, btc._replace(status="BREAK"))
    await noted(record, NOW_NS - DAY_NS, btc, ada)  # one that was asked before, and came late
    await noted(record, NOW_NS, Listing("BTCUSDT", "BTC", "USDT", ""), venue=Venue.USDM)
    await noted(record, NOW_NS)
    assert await kept(record) == [
        ("spot", "adaeur", "ADA", "EUR", "TRADING", 0),
        ("spot", "btcusdt", "BTC", "USDT", "BREAK", 1),
        ("usdm", "btcusdt", "BTC", "USDT", "", 0),
    ]


@pytest.fixture
async def exchange() -> AsyncIterator[SimulatedExchange]:
    tape = SyntheticTape(invented(["BTCUSDT", "ETHUSDT"]), rate=4, seed=11, start_us=START_US)
    async with SimulatedExchange(tape, lead_s=4 * 3600 + 30, hold_until_subscribed=True) as running:
        yield running


LISTED = [("spot", "btcusdt", "BTC", "USDT", "TRADING"), ("spot", "ethusdt", "ETH", "USDT", "TRADING")]


async def test_backfill_keeps_the_whole_listing(record: Record, exchange: SimulatedExchange, tmp_path: Path) -> None:
    await load_history(record.url, exchange, tmp_path, YESTERDAY, YESTERDAY)
    assert [row[:5] for row in await kept(record)] == LISTED


async def test_a_recorder_keeps_the_whole_listing(record: Record, exchange: SimulatedExchange, tmp_path: Path) -> None:
    async with recording(record.url, exchange.ws_url, exchange.rest_url, tmp_path) as run:
        await run.until(lambda: run.stats.trades_written > 0)
        await run.stop()
    assert [row[:5] for row in await kept(record)] == LISTED


async def test_a_recorder_without_the_right_to_it_names_the_grant(record: Record) -> None:
    async with record.connection() as admin:
        role = f"reader_{admin.get_server_pid()}"
        await admin.execute(f"CREATE ROLE {role}")
        await admin.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
        try:
            await admin.execute(f"SET ROLE {role}")
            with pytest.raises(asyncpg.InsufficientPrivilegeError) as denied:
                await admin.execute("INSERT INTO symbols VALUES ('spot', 'x', 'X', 'Y', '', now())")
            found = translate(denied.value, operation="keeping the symbols", subject="symbols")
            assert "GRANT SELECT, INSERT, UPDATE ON symbols" in str(found)
        finally:
            await admin.execute("RESET ROLE")
            await admin.execute(f"DROP OWNED BY {role}")
            await admin.execute(f"DROP ROLE {role}")
