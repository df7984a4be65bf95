"""Fixtures: fresh databases (see ``databases`` for the servers they need)."""

from collections.abc import AsyncIterator

import asyncpg
import pytest
from databases import fresh_database, server_url


@pytest.fixture(params=["timescaledb", "postgresql"])
async def database_url(request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """A fresh database on TimescaleDB, then on plain PostgreSQL."""
    async with fresh_database(request.param) as url:
        yield url


@pytest.fixture
async def timescale_url() -> AsyncIterator[str]:
    """A fresh database on TimescaleDB, Apache edition."""
    async with fresh_database("timescaledb") as url:
        yield url


@pytest.fixture
async def postgres_url() -> AsyncIterator[str]:
    """A fresh database on plain PostgreSQL."""
    async with fresh_database("postgresql") as url:
        yield url


@pytest.fixture
async def community_url() -> str:
    """The one database of the Community edition, emptied; it takes one connection at a time and no COPY."""
    url = server_url("community")
    connection = await asyncpg.connect(url, statement_cache_size=0)
    try:
        for table in (
            "trades",
            "candles",
            "coverage",
            "absences",
            "crypto_quant_schema",
        ):  # a hypertable is dropped alone or not at all
            await connection.execute(f"DROP TABLE IF EXISTS {table} CASCADE")
    finally:
        await connection.close()
    return url
