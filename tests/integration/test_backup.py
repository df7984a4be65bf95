"""A backup by pg_dump, restored into an empty database of each tier: equal rows, equal claims, and it goes on."""

import asyncio
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from databases import fresh_database, server_url
from test_retention import DAY, audit, drop, ids, store, three_days

from crypto_quant.errors import StoreUnavailable
from crypto_quant.seams import Table
from crypto_quant.store import policy, rollups
from crypto_quant.store.embedded import packaged_binaries
from crypto_quant.store.migrate import EXPECTED, check, migrate
from crypto_quant.store.policy import Rule
from crypto_quant.store.timescale import connect

COMMUNITY = Path(__file__).resolve().parents[2] / "scripts" / "community-database"


async def run(program: str, *arguments: str) -> str:
    """Run one of PostgreSQL's client programs; return what it said on stderr."""
    done = await asyncio.to_thread(
        subprocess.run, [packaged_binaries().program(program), *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


async def content(connection: asyncpg.Connection) -> dict[str, list[tuple[Any, ...]]]:
    """Return every row of every table of ours, and of the candles made of trades."""
    told = {}
    for table in (*EXPECTED, "crypto_quant_schema", *(each.name for each in rollups.ROLLUPS)):
        rows = await connection.fetch(f"SELECT each::text FROM {table} AS each ORDER BY 1")
        told[table] = [tuple(row) for row in rows]
    return told


async def fill(connection: asyncpg.Connection) -> None:
    """Leave something in each table that matters: rows, claims, a day dropped on purpose, a rule, rollups."""
    await migrate(connection)
    await three_days(connection)
    await drop(connection, 1)
    await policy.declare(connection, Rule(Table.TRADES, drop_after=timedelta(days=3000)))
    await rollups.create(connection)


async def goes_on(connection: asyncpg.Connection, before: dict[str, list[tuple[Any, ...]]]) -> None:
    """It is what it was, takes new rows, refuses known ones, and an audit finds nothing."""
    await check(connection)
    assert await content(connection) == before
    await store(connection, DAY + timedelta(days=2, hours=5), [31])
    with pytest.raises(asyncpg.UniqueViolationError):
        await store(connection, DAY + timedelta(days=2, hours=5), [31])
    assert await ids(connection) == list(range(11, 32))
    report = await audit(connection, deep=True)
    assert report.complete
    assert report.totals()["dropped"] == 10


@pytest.mark.parametrize("server", ["timescaledb", "postgresql"])
async def test_dump_and_restore(server: str, tmp_path: Path) -> None:
    async with fresh_database(server) as url, fresh_database(server) as other:
        connection = await connect(url)
        await fill(connection)
        before = await content(connection)
        await connection.close()

        file = str(tmp_path / "market.dump")
        await run("pg_dump", "--format=custom", f"--file={file}", f"--dbname={url}")
        restored = await connect(other)
        if server == "timescaledb":
            await restored.execute("CREATE EXTENSION timescaledb")
            await restored.execute("SELECT timescaledb_pre_restore()")
        await run("pg_restore", "--no-owner", "--exit-on-error", f"--dbname={other}", file)
        if server == "timescaledb":
            await restored.execute("SELECT timescaledb_post_restore()")
        await restored.close()

        restored = await connect(other)
        await goes_on(restored, before)
        await restored.close()


@asynccontextmanager
async def community_server() -> AsyncIterator[str]:
    """A server of the Community edition of this test's own: its one session outlives whoever uses it."""
    server_url("community")  # or skip
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        "node", "server.mjs", str(port), cwd=COMMUNITY, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        assert process.stdout is not None
        assert b"ready" in await process.stdout.readline()
        yield f"postgresql://postgres:postgres@127.0.0.1:{port}/postgres?sslmode=disable"
    finally:
        process.kill()
        await process.wait()


async def connect_again(url: str, within_s: float = 120.0) -> asyncpg.Connection:
    """Connect to a server that is still at work for the one that has just left."""
    deadline = asyncio.get_running_loop().time() + within_s
    while True:
        try:
            return await connect(url)
        except StoreUnavailable:
            if asyncio.get_running_loop().time() > deadline:
                raise


async def test_dump_and_restore_with_columns_and_continuous_aggregates(tmp_path: Path) -> None:
    file = str(tmp_path / "market.sql")
    async with community_server() as url:
        connection = await connect(url)
        await fill(connection)
        await policy.declare(connection, Rule(Table.TRADES, timedelta(days=7), timedelta(days=3000)))
        await rollups.refresh(connection)
        await connection.execute("SELECT compress_chunk(c) FROM show_chunks('trades') AS c LIMIT 1")
        before = await content(connection)
        await connection.close()
        # INSERT, because this server takes no COPY, and many rows in each, because rows of one catalogue refer to each
        # other; elsewhere the custom format is right here too
        await run("pg_dump", "--rows-per-insert=100", f"--file={file}", f"--dbname={url}")
    async with community_server() as url:
        await run(
            "psql",
            "--no-psqlrc",
            "--quiet",
            "--set=ON_ERROR_STOP=1",
            f"--dbname={url}",
            "--command=SELECT timescaledb_pre_restore()",
            "--command=SET timescaledb.restoring = on",  # elsewhere the next session has it from the line before
            f"--file={file}",
            "--command=SET search_path = public",
            "--command=SELECT timescaledb_post_restore()",
        )
        restored = await connect_again(url)
        await goes_on(restored, before)
        columns = "SELECT count(*) FROM timescaledb_information.chunks WHERE is_compressed"
        assert await restored.fetchval(columns) == 1
        jobs = "SELECT count(*) FROM timescaledb_information.jobs WHERE proc_name LIKE 'policy_%' AND job_id >= 1000"
        assert await restored.fetchval(jobs) == 5
        await restored.close()
