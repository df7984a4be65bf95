"""Databases for tests: a fresh one for each test, on every server that is at hand.

A server is given by its URL (``scripts/test-databases`` starts them and prints these variables):
CRYPTO_QUANT_TEST_TIMESCALE_URL, CRYPTO_QUANT_TEST_POSTGRES_URL and CRYPTO_QUANT_TEST_COMMUNITY_URL. A test whose
server is missing is skipped with that reason; with CRYPTO_QUANT_REQUIRE_DATABASES=1 it fails.
"""

import fcntl
import os
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from crypto_quant.store.migrate import EXPECTED
from crypto_quant.store.rollups import ROLLUPS

_VARIABLES = {
    "timescaledb": "CRYPTO_QUANT_TEST_TIMESCALE_URL",
    "postgresql": "CRYPTO_QUANT_TEST_POSTGRES_URL",
    "community": "CRYPTO_QUANT_TEST_COMMUNITY_URL",
}
_COMMUNITY = Path(__file__).resolve().parents[1] / "scripts" / "community-database" / "server.mjs"


def server_url(server: str) -> str:
    """Return the URL of a server; skip the test, or fail it where databases are required, when there is none."""
    variable = _VARIABLES[server]
    url = os.environ.get(variable, "")
    if not url:
        why = os.environ.get(variable.replace("_URL", "_SKIPPED")) or f"{variable} is not set"
        reason = f"no {server} server: {why} (see scripts/test-databases)"
        if os.environ.get("CRYPTO_QUANT_REQUIRE_DATABASES") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return url


@asynccontextmanager
async def fresh_database(server: str) -> AsyncIterator[str]:
    """Create an empty database on a server, lend its URL, drop it."""
    admin = server_url(server)
    name = f"cq_test_{uuid.uuid4().hex[:12]}"
    connection = await asyncpg.connect(admin)
    try:
        await connection.execute(f"CREATE DATABASE {name} ENCODING 'UTF8' TEMPLATE template0")
        try:
            yield urlunsplit(urlsplit(admin)._replace(path=f"/{name}"))
        finally:
            if connection.is_closed():  # a test that restarts the server
                connection = await asyncpg.connect(admin)
            await connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    finally:
        await connection.close()


@asynccontextmanager
async def emptied_community() -> AsyncIterator[str]:
    """Lend the Community edition's one database, with nothing of ours in it; one test at a time has it."""
    url = server_url("community")
    with _COMMUNITY.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # tests run in several processes
        connection = await asyncpg.connect(url, statement_cache_size=0)
        try:
            for rollup in reversed(ROLLUPS):
                await connection.execute(f"DROP MATERIALIZED VIEW IF EXISTS {rollup.name}")
            for table in (*EXPECTED, "crypto_quant_schema"):  # a hypertable is dropped alone or not at all
                await connection.execute(f"DROP TABLE IF EXISTS {table} CASCADE")
        finally:
            await connection.close()
        yield url
