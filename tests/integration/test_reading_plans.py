"""How the servers answer the questions of reading: the day's partition or chunk alone, an hour by the key."""

import json
from collections.abc import AsyncIterator
from datetime import timedelta

import asyncpg
import pytest
from records import DAY, Record, record_on, trade

from crypto_quant.reading.fixed import expressions
from crypto_quant.store.candle_queries import BUILT_CANDLES
from crypto_quant.store.readout import trades_query
from crypto_quant.store.timescale import connect

SYMBOLS = 30
DAYS = 4


@pytest.fixture(params=["timescaledb", "postgresql"])
async def record(request: pytest.FixtureRequest) -> AsyncIterator[Record]:
    """Four days of thirty symbols, 200 trades each a day."""
    async with record_on(request.param) as record:
        for day in range(DAYS):
            midnight = DAY + timedelta(days=day)
            rows = [trade(n + 200 * day, midnight + timedelta(seconds=430 * n)) for n in range(200)]
            for symbol in range(SYMBOLS):
                await record.trades(rows, symbol=f"s{symbol}usdt", covered=False)
        await record.execute("ANALYZE trades")
        yield record


async def scans(connection: asyncpg.Connection, query: str, *values: object) -> list[tuple[str, str]]:
    """What a plan reads at its bottom: the kind of scan, and its condition on an index."""
    found = []

    def walk(node: dict[str, object]) -> None:
        if "Scan" in str(node["Node Type"]) and "Plans" not in node:
            found.append((str(node["Node Type"]), str(node.get("Index Cond", ""))))
        for child in node.get("Plans", ()):  # type: ignore[attr-defined]
            walk(child)

    text = await connection.fetchval(f"EXPLAIN (FORMAT json) {query}", *values)
    walk(json.loads(text)[0]["Plan"])
    return found


QUERIES = {
    "candles of a day": (BUILT_CANDLES, (60.0,)),
    "trades of a day": (trades_query(["time", "trade_id", "price"]), ()),
    "trades of a day, the fast way": (trades_query(expressions(["time", "price", "received_at"])), ()),
}


@pytest.mark.parametrize("which", QUERIES)
async def test_only_the_days_own_part_is_read(record: Record, which: str) -> None:
    query, more = QUERIES[which]
    connection = await connect(record.url)
    try:
        start = DAY + timedelta(days=1)
        day = await scans(connection, query, "spot", "s7usdt", start, start + timedelta(days=1), *more)
        assert len(day) == 1, f"one of {DAYS} days was asked for"
        both = await scans(connection, query, "spot", "s7usdt", start, start + timedelta(days=1, seconds=1), *more)
        assert len(both) == 2
    finally:
        await connection.close()


@pytest.mark.parametrize("which", QUERIES)
async def test_an_hour_is_found_by_the_key(record: Record, which: str) -> None:
    query, more = QUERIES[which]
    connection = await connect(record.url)
    try:
        start = DAY + timedelta(days=1, hours=6)
        [(kind, condition)] = await scans(connection, query, "spot", "s7usdt", start, start + timedelta(hours=1), *more)
        assert kind in ("Index Scan", "Bitmap Index Scan")
        assert "time" in condition
        assert "s7usdt" in condition
    finally:
        await connection.close()
