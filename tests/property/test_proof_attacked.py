"""The proof is attacked: a whole record, then one change behind its back. `verify --deep` never calls that complete."""

import asyncio
import random
import uuid
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
from databases import fresh_database, server_url
from recording import recording

from crypto_quant.evidence import Scope
from crypto_quant.flow.audit import Auditor
from crypto_quant.flow.report import Report
from crypto_quant.seams import Covered, Source, Table
from crypto_quant.sim.clock import MAX
from crypto_quant.sim.server import SimulatedExchange
from crypto_quant.sim.symbols import invented
from crypto_quant.sim.synthetic import SyntheticTape
from crypto_quant.store import coverage
from crypto_quant.store.retention import drop_before
from crypto_quant.store.tier import Tier, table_tier
from crypto_quant.store.timescale import connect
from crypto_quant.upkeep import open_audit, seal

START_US = 1_790_892_000_000_000  # 2026-10-01T22:00:00Z
SECONDS = 28 * 3600
ATTACKS = 60

# columns that say when something was written down, and how a table is kept: no part of what is proven
UNPROVEN = {"received_at", "recorded_at", "updated_at", "proven_at", "newest"}
TABLES = (
    "trades", "candles", "coverage", "candle_coverage", "absences", "candle_absences", "dropped", "seals", "seal_heads",
)  # fmt: skip


async def audit(url: str, *, deep: bool = True) -> Report:
    async with open_audit(url, Scope(), deep=deep) as (reader, seals):
        now_ns = int((datetime.now(UTC) + timedelta(days=3650)).timestamp()) * 10**9
        return await Auditor(reader, Scope(), deep=deep, seals=seals).run(database="", now_ns=now_ns, version="0")


def wrong(report: Report) -> list[object]:
    """Return what a report finds wrong, in short."""
    symbols = [
        (each.symbol, each.missing, each.duplicates, each.breaks, each.unaccounted, each.faults, each.holes[:2])
        for each in report.symbols
        if not each.sound
    ]
    candles = [
        (each.symbol, each.timeframe, each.missing, each.misplaced, each.verdicts[:2], each.faults, each.holes[:2])
        for each in report.candles
        if not each.sound
    ]
    seals = [(each.symbol, each.stream, each.findings[:3]) for each in report.seals if not each.sound]
    return [*symbols, *candles, *seals, *report.missing_tables]


async def record(url: str, directory: Path) -> None:
    """Record two symbols over three days, with all that a record may rightly have; what was left open is sealed."""
    tape = SyntheticTape(invented(["BTCUSDT", "ETHUSDT"]), rate=0.05, seed=5, start_us=START_US, seconds=SECONDS)
    async with SimulatedExchange(tape, speed=MAX, hold_until_subscribed=True) as market:
        streams = ("aggTrade", "kline_1m", "kline_1h")
        async with recording(
            url, market.ws_url, market.rest_url, directory, symbols=("btcusdt", "ethusdt"), streams=streams
        ) as run:
            await market.finished()
            await run.until(lambda: run.stats.candles_received >= 2 * (28 * 60 - 1 + 27))
            await run.stop()
    connection = await connect(url)
    try:
        await drop_before(connection, Table.TRADES, datetime(2026, 10, 2, tzinfo=UTC), source="hand")
        await copy_without_one(connection)
    finally:
        await connection.close()
    await seal(url, Scope())


async def copy_without_one(connection: asyncpg.Connection) -> None:
    """Store a symbol without candles, of whose trades one is proven to exist nowhere, as a repair would."""
    columns = "time, venue, trade_id, price, quantity, first_trade_id, last_trade_id, is_buyer_maker"
    first, last = await connection.fetchrow("SELECT min(trade_id), max(trade_id) FROM trades WHERE symbol = 'ethusdt'")
    middle = (first + last) // 2
    async with connection.transaction(isolation="read_committed"):
        await connection.execute(
            f"INSERT INTO trades (symbol, {columns}) SELECT 'solusdt', {columns} FROM trades"
            " WHERE symbol = 'ethusdt' AND trade_id <> $1",
            middle,
        )
        around = [(first, middle - 1, Source.STREAM), (middle + 1, last, Source.REST)]
        await coverage.extend(connection, [Covered("spot", "solusdt", *each) for each in around])
        await coverage.record_absence(connection, "spot", "solusdt", middle, middle, "asked REST and archive")


Attack = Callable[[asyncpg.Connection, random.Random], object]


async def columns_of(connection: asyncpg.Connection, table: str) -> dict[str, str]:
    rows = await connection.fetch(
        "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute"
        " WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
        table,
    )
    return {row[0]: row[1] for row in rows if row[0] not in UNPROVEN}


async def some_row(connection: asyncpg.Connection, table: str, rng: random.Random) -> str | None:
    """Return SQL that names a row: the first, the last, or any."""
    keys = {
        "trades": "symbol, trade_id", "candles": "symbol, timeframe, time", "coverage": "symbol, first_id",
        "candle_coverage": "symbol, timeframe, first_slot", "absences": "symbol, first_id",
        "candle_absences": "symbol, timeframe, first_slot", "dropped": "symbol, first_id",
        "seals": "symbol, stream, number", "seal_heads": "symbol, stream",
    }[table]  # fmt: skip
    count = await connection.fetchval(f"SELECT count(*) FROM {table}")
    if not count:
        return None
    at = rng.choice((0, count - 1, rng.randrange(count), rng.randrange(count)))
    row = await connection.fetchrow(f"SELECT {keys} FROM {table} ORDER BY {keys} OFFSET {at} LIMIT 1")
    return " AND ".join(f"{name} = '{value}'" for name, value in row.items())


async def delete(connection: asyncpg.Connection, table: str, rng: random.Random) -> str | None:
    where = await some_row(connection, table, rng)
    return where and f"DELETE FROM {table} WHERE {where}"


async def edge(connection: asyncpg.Connection, table: str, rng: random.Random) -> str | None:
    """Delete several rows of one series at one of its ends, or all of it."""
    order = {"trades": "trade_id", "candles": "time"}.get(table)
    if order is None:
        return None
    series = "symbol = '" + rng.choice(("btcusdt", "ethusdt")) + "'"
    if table == "candles":
        series += f" AND timeframe = '{rng.choice(('1m', '1h'))}'"
    count = rng.choice((2, 3, 200, 300, 10**6))
    way = rng.choice(("ASC", "DESC"))
    return (
        f"DELETE FROM {table} WHERE {series} AND {order} IN"
        f" (SELECT {order} FROM {table} WHERE {series} ORDER BY {order} {way} LIMIT {count})"
    )


async def update(connection: asyncpg.Connection, table: str, rng: random.Random) -> str | None:
    where = await some_row(connection, table, rng)
    if where is None:
        return None
    name, kind = rng.choice(list((await columns_of(connection, table)).items()))
    if name == "source":
        value = "CASE source WHEN 'rest' THEN 'stream' WHEN 'hand' THEN 'policy' ELSE 'rest' END"
    elif kind.startswith("numeric"):
        value = rng.choice((f"coalesce({name}, 0) + 0.00000001", f"coalesce({name}, 0) + 1"))
    elif kind == "bigint":
        value = rng.choice((f"coalesce({name}, 0) + 1", f"coalesce({name}, 1) - 1", f"coalesce({name}, 0) + 1000"))
    elif kind == "boolean":
        value = f"NOT {name}"
    elif kind.startswith("timestamp"):
        value = f"{name} + interval '{rng.choice(('1 microsecond', '1 hour', '-1 hour', '1 day'))}'"
    elif name in {"venue", "symbol", "timeframe", "stream"}:
        value = {"venue": "'usdm'", "symbol": "'dogeusdt'", "timeframe": "'3m'", "stream": "'kline_3m'"}[name]
    else:
        value = f"{name} || 'x'"
    return f"UPDATE {table} SET {name} = {value} WHERE {where}"


async def insert(connection: asyncpg.Connection, table: str, rng: random.Random) -> str | None:
    """Add a row like another one, elsewhere."""
    where = await some_row(connection, table, rng)
    if where is None and table != "candle_absences":
        return None
    far = rng.choice((1, -1, 5000, -5000))
    if table == "candle_absences":
        return (
            "INSERT INTO candle_absences SELECT venue, symbol, timeframe, first_slot, first_slot, 'nowhere'"
            " FROM candle_coverage LIMIT 1"
        )
    names = list(await columns_of(connection, table))
    moved = {
        "trades": {"trade_id": f"trade_id + {far}", "time": f"time + interval '{far} milliseconds'"},
        "candles": {"time": f"time + interval '{far} minutes'"},
        "coverage": {"first_id": f"last_id + {abs(far)}", "last_id": f"last_id + {abs(far)} + 2", "newest": "false"},
        "candle_coverage": {"first_slot": "last_slot + 2", "last_slot": "last_slot + 3", "newest": "false"},
        "absences": {"first_id": f"first_id + {far}", "last_id": f"first_id + {far}"},
        "dropped": {"first_id": f"last_id + {abs(far)}", "last_id": f"last_id + {abs(far)}", "newest": "false"},
        "seals": {"number": "number + 1000000"},
        "seal_heads": {"stream": "'kline_3m'"},
    }[table]
    given = {name: moved.get(name, name) for name in [*names, *([n for n in moved if n not in names])]}
    return f"INSERT INTO {table} ({', '.join(given)}) SELECT {', '.join(given.values())} FROM {table} WHERE {where}"


async def truncate(connection: asyncpg.Connection, table: str, rng: random.Random) -> str | None:
    return f"TRUNCATE {table}" if await connection.fetchval(f"SELECT count(*) FROM {table}") else None


async def drop_table(connection: asyncpg.Connection, table: str, rng: random.Random) -> str | None:
    return f"DROP TABLE {table}" if table not in {"trades", "candles"} else None


async def drop_chunk(connection: asyncpg.Connection, table: str, rng: random.Random) -> str | None:
    if table not in {"trades", "candles"}:
        return None
    if await table_tier(connection) is Tier.POSTGRESQL:
        parts = await connection.fetch(
            "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = $1::text::regclass", table
        )
        full = [name for (name,) in parts if await connection.fetchval(f"SELECT count(*) FROM {name}")]
        return f"DROP TABLE {rng.choice(full)}"
    ends = await connection.fetch(
        "SELECT range_end FROM timescaledb_information.chunks WHERE hypertable_name = $1 ORDER BY 1", table
    )
    return f"SELECT drop_chunks('{table}', older_than => '{rng.choice(ends)[0]}'::timestamptz)"


async def restore(connection: asyncpg.Connection, table: str, rng: random.Random) -> str | None:
    """Bring back an older state of one table: without what came in the last hours."""
    newer = {
        "trades": "time > '2026-10-02 20:00Z'", "candles": "time > '2026-10-02 20:00Z'",
        "seals": "first_time > '2026-10-02 20:00Z'", "absences": "true", "dropped": "true",
    }.get(table)  # fmt: skip
    return newer and f"DELETE FROM {table} WHERE {newer}"


WAYS = (delete, edge, update, insert, truncate, drop_table, drop_chunk, restore)


@pytest.fixture(params=["timescaledb", "postgresql"])
async def whole(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[str, str]]:
    async with fresh_database(request.param) as url:
        await record(url, tmp_path)
        yield request.param, url


async def test_no_change_behind_its_back_goes_unseen(whole: tuple[str, str]) -> None:
    server, url = whole
    rng = random.Random(20261201)  # noqa: S311
    for deep in (False, True):
        report = await audit(url, deep=deep)
        assert report.complete, wrong(report)
    admin = await asyncpg.connect(server_url(server))
    template = urlsplit(url).path[1:]
    unseen = []
    # a template that anybody is connected to, the extension's own scheduler among them, cannot be copied
    await admin.execute(f"ALTER DATABASE {template} ALLOW_CONNECTIONS false")
    await admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", template)
    while await admin.fetchval("SELECT count(*) FROM pg_stat_activity WHERE datname = $1", template):  # noqa: ASYNC110 - it is another process that ends
        await asyncio.sleep(0.05)
    try:
        for number in range(ATTACKS):
            copy = f"cq_test_{uuid.uuid4().hex[:12]}"
            await admin.execute(f"CREATE DATABASE {copy} TEMPLATE {template}")
            attacked = urlunsplit(urlsplit(url)._replace(path=f"/{copy}"))
            connection = await connect(attacked)
            statement = None
            while statement is None:
                table, way = rng.choice(TABLES), rng.choice(WAYS)
                statement = await way(connection, table, rng)
                try:
                    done = await connection.execute(statement) if statement else ""
                except asyncpg.IntegrityConstraintViolationError:
                    statement = None
                if done.endswith(" 0"):
                    statement = None
            await connection.close()
            report = await audit(attacked)
            if report.complete:
                unseen.append((number, statement))
            await admin.execute(f"DROP DATABASE {copy} WITH (FORCE)")
    finally:
        await admin.close()
    assert not unseen, "\n".join(f"{number}: {statement}" for number, statement in unseen)
