"""Candles made of the stored trades, on every tier: exact, by id, right after a late repair, removable."""

import asyncio
import random
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from decimal import ROUND_DOWN, Decimal, localcontext
from typing import Any

import asyncpg
import pytest

from crypto_quant.errors import SchemaMismatch
from crypto_quant.sim.candles import CandleBook
from crypto_quant.sim.tape import Trade
from crypto_quant.store import rollups
from crypto_quant.store.migrate import migrate
from crypto_quant.store.tier import Tier
from crypto_quant.store.timescale import connect

NAMES = ["trades_1m", "trades_5m", "trades_1h", "trades_1d"]
DAY = datetime(2024, 8, 8, tzinfo=UTC)
LENGTHS = {"trades_1m": 60, "trades_5m": 300, "trades_1h": 3600, "trades_1d": 86_400}


@pytest.fixture
def connection(migrated: asyncpg.Connection) -> asyncpg.Connection:
    return migrated


async def store(connection: asyncpg.Connection, *trades: tuple[Any, ...]) -> None:
    """Store (offset in s, symbol, id, price, quantity, maker) with one partition a day where they are native."""
    if await rollups.table_tier(connection) is Tier.POSTGRESQL:
        for number in range(-1, 4):
            day = DAY.date() + timedelta(days=number)
            await connection.execute(
                f"CREATE TABLE IF NOT EXISTS trades_p{day:%Y%m%d} PARTITION OF trades"
                f" FOR VALUES FROM ('{day} 00:00+00') TO ('{day + timedelta(days=1)} 00:00+00')"
            )
    for at, symbol, id_, price, quantity, maker in trades:
        await connection.execute(
            "INSERT INTO trades VALUES ($1, 'spot', $2, $3, $4, $5, $6, $7, $8, NULL)",
            DAY + timedelta(seconds=at), symbol, id_, Decimal(price), Decimal(quantity), id_ * 2, id_ * 2 + 1, maker,
        )  # fmt: skip


async def candles(connection: asyncpg.Connection, name: str, symbol: str = "btcusdt") -> list[tuple[Any, ...]]:
    rows = await connection.fetch(
        f'SELECT "time", open, high, low, close, volume, quote_volume, trade_count, taker_buy_volume,'
        f" taker_buy_quote_volume, first_trade_id, last_trade_id, row_count, first_id, last_id FROM {name}"
        " WHERE venue = 'spot' AND symbol = $1 ORDER BY \"time\"",
        symbol,
    )
    return [tuple(row) for row in rows]


async def test_values_are_exact_and_open_and_close_go_by_id(connection: asyncpg.Connection) -> None:
    await rollups.create(connection)
    # ids 2 and 3 carry an earlier time than id 1, and the same one
    await store(
        connection,
        (10.0, "btcusdt", 1, "100.00000001", "0.00000003", True),
        (9.0, "btcusdt", 2, "103.5", "3", False),
        (9.0, "btcusdt", 3, "99.12345678", "123456789012.12345678", True),
    )
    with localcontext() as context:
        context.prec = 60
        products = [
            Decimal("100.00000001") * Decimal("0.00000003"), Decimal("310.5"),
            Decimal("99.12345678") * Decimal("123456789012.12345678"),
        ]  # fmt: skip
        # each is cut to eight decimals before it is summed
        quote = sum(each.quantize(Decimal("1e-8"), ROUND_DOWN) for each in products)
    expected = (
        Decimal("100.00000001"), Decimal("103.50000000"), Decimal("99.12345678"), Decimal("99.12345678"),
        Decimal("123456789015.12345681"), quote, 6, Decimal("3.00000000"), Decimal("310.50000000"), 2, 7, 3, 1, 3,
    )  # fmt: skip
    for name in NAMES:
        assert await candles(connection, name) == [(DAY, *expected)]


async def test_each_length_is_what_its_trades_say(connection: asyncpg.Connection) -> None:
    await rollups.create(connection)
    trades = [
        (at * 37.25, symbol, number, f"{100 + number * 7 % 13}.{number % 10}", f"{1 + number % 3}.5", number % 2 == 0)
        for symbol in ("btcusdt", "币安人生usdt")
        for number, at in enumerate(range(0, 5000, 17), start=1)
    ]
    await store(connection, *trades)
    await rollups.refresh(connection)
    for name, length in LENGTHS.items():
        for symbol in ("btcusdt", "币安人生usdt"):
            by_slot: dict[int, list[tuple[Any, ...]]] = {}
            for each in trades:
                if each[1] == symbol:
                    by_slot.setdefault(int(each[0] // length), []).append(each)
            found = await candles(connection, name, symbol)
            assert [row[0] for row in found] == [DAY + timedelta(seconds=slot * length) for slot in sorted(by_slot)]
            for row, (_, inside) in zip(found, sorted(by_slot.items()), strict=True):
                prices = [Decimal(each[3]) for each in inside]
                assert row[1:5] == (prices[0], max(prices), min(prices), prices[-1])
                assert row[5] == sum(Decimal(each[4]) for each in inside)
                assert row[6] == sum(Decimal(each[3]) * Decimal(each[4]) for each in inside)
                assert row[12:] == (len(inside), inside[0][2], inside[-1][2])


async def test_they_equal_the_candles_of_the_exchange(connection: asyncpg.Connection) -> None:
    """The exchange folds single trades, by code that shares nothing with ours; we hold its aggregates."""
    await rollups.create(connection)
    rng, book, trades, at_us = random.Random(7), CandleBook(), [], int(DAY.timestamp()) * 1_000_000  # noqa: S311
    for number in range(1, 400):
        at_us += rng.choice((1, 900, 20_000_000, 290_000_000))
        price, quantity = rng.randint(1, 10**13), rng.randint(1, 10**11)
        trade = Trade("BTCUSDT", number, number, price, quantity, at_us, rng.random() < 0.5, agg_id=number)
        book.add(trade)
        trades.append(trade)
    await store(connection)  # the partitions
    for trade in trades:
        moment = DAY + timedelta(microseconds=trade.time_us - int(DAY.timestamp()) * 1_000_000)
        price, quantity = Decimal(trade.price).scaleb(-8), Decimal(trade.quantity).scaleb(-8)
        await connection.execute(
            "INSERT INTO trades VALUES ($1, 'spot', 'btcusdt', $2, $3, $4, $5, $6, $7, NULL)",
            moment, trade.agg_id, price, quantity, trade.first_id, trade.last_id, trade.maker,
        )  # fmt: skip
    await rollups.refresh(connection)
    for name in NAMES:
        exchange = {
            each.open_us: each
            for each in book.span(name.removeprefix("trades_"), int(DAY.timestamp()) * 1_000_000, at_us)
            if each.count
        }
        found = await candles(connection, name)
        assert [int(row[0].timestamp()) * 1_000_000 for row in found] == list(exchange)
        for row, candle in zip(found, exchange.values(), strict=True):
            numbers = (candle.open, candle.high, candle.low, candle.close, candle.volume, candle.quote)
            takers = (candle.taker_volume, candle.taker_quote)
            assert row[1:7] == tuple(Decimal(each).scaleb(-8) for each in numbers)
            assert row[7:12] == (
                candle.count, *(Decimal(each).scaleb(-8) for each in takers), candle.first_id, candle.last_id
            )  # fmt: skip


async def test_a_late_repair_comes_in(connection: asyncpg.Connection) -> None:
    await store(connection, (10, "btcusdt", 1, "100", "1", True), (50, "btcusdt", 4, "102", "1", True))
    await store(connection, (86_400 * 2, "btcusdt", 9, "102", "1", True))
    await rollups.create(connection)
    await rollups.refresh(connection)
    assert [row[5] for row in await candles(connection, "trades_1d")] == [2, 1]
    await store(connection, (20, "btcusdt", 2, "500", "3", True), (30, "btcusdt", 3, "1", "5", True))
    await rollups.refresh(connection)
    for name in NAMES:
        first = (await candles(connection, name))[0]
        assert first[:6] == (DAY, 100, 500, 1, 102, 10)
        assert first[12:] == (4, 1, 4)


async def test_a_question_with_a_time_opens_its_days_alone(database_url: str) -> None:
    """Where they are views; a continuous aggregate has chunks of its own."""
    connection = await connect(database_url)
    await migrate(connection)
    await rollups.create(connection)
    await store(connection, *((86_400 * day, "btcusdt", day + 1, "1", "1", True) for day in range(3)))
    plan = await connection.fetch(
        "EXPLAIN (ANALYZE, TIMING OFF, COSTS OFF, SUMMARY OFF) SELECT * FROM trades_1h"
        " WHERE symbol = 'btcusdt' AND time >= '2024-08-09Z' AND time < '2024-08-10Z'"
    )
    text = "\n".join(line[0] for line in plan)
    scans = [line[0] for line in plan if "Scan" in line[0] and ("chunk" in line[0] or "trades_p" in line[0])]
    # 24 look-ups by index, all in one day; the ends are looked up once each
    inner = [scan for scan in scans if "loops=24" in scan]
    assert len(inner) == 1, text
    assert "Index" in inner[0], text
    await connection.close()


async def test_made_once_and_removed(connection: asyncpg.Connection) -> None:
    assert [each.kind for each in await rollups.state(connection)] == ["missing"] * 4
    assert await rollups.create(connection) == NAMES
    assert await rollups.create(connection) == []
    kinds = {each.kind for each in await rollups.state(connection)}
    community = await rollups.table_tier(connection) is Tier.TIMESCALE_COMMUNITY
    assert kinds == ({"continuous aggregate"} if community else {"view"})
    if community:
        jobs = "SELECT count(*) FROM timescaledb_information.jobs WHERE proc_name LIKE '%continuous_agg%'"
        assert await connection.fetchval(jobs) == 4
    assert await rollups.drop(connection) == NAMES
    assert await rollups.drop(connection) == []


async def test_one_of_an_earlier_version_is_made_anew_with_those_on_it(connection: asyncpg.Connection) -> None:
    await rollups.create(connection)
    await connection.execute("COMMENT ON VIEW trades_5m IS 'crypto-quant rollup of before'")
    assert [each.current for each in await rollups.state(connection)] == [True, False, True, True]
    assert await rollups.create(connection) == NAMES[1:]
    assert all(each.current for each in await rollups.state(connection))


async def test_a_stranger_of_the_same_name_is_left_alone(connection: asyncpg.Connection) -> None:
    await connection.execute("CREATE TABLE trades_1h (mine int)")
    try:
        for work in (rollups.create, rollups.drop, rollups.state, rollups.refresh):
            if work is rollups.refresh and await rollups.table_tier(connection) is not Tier.TIMESCALE_COMMUNITY:
                continue
            with pytest.raises(SchemaMismatch, match=r"did not make.*trades_1h.*Rename"):
                await work(connection)
    finally:
        await connection.execute("DROP TABLE trades_1h")


async def test_the_verbs(database_url: str) -> None:
    opened = await connect(database_url)
    await migrate(opened)
    await opened.close()

    async def run(*words: str) -> str:
        command = [sys.executable, "-m", "crypto_quant", "db", "rollups", *words, "--database-url", database_url]
        done = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
        said, _ = await done.communicate()
        assert done.returncode == 0
        return said.decode()

    assert await run("create") == "made trades_1m, trades_5m, trades_1h, trades_1d\n"
    assert await run("create") == "nothing to do\n"
    assert (await run("show")).splitlines()[0] == "trades_1m  view"
    assert '"kind":"view"' in await run("show", "--json")
    assert await run("refresh") == "nothing to do\n"
    assert await run("drop") == "removed trades_1m, trades_5m, trades_1h, trades_1d\n"
