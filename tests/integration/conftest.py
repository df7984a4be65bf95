"""Fixtures of the tests on real databases."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from crypto_quant.store.migrate import migrate
from crypto_quant.store.timescale import TimescaleSink, connect, open_sink


@pytest.fixture
async def sink(database_url: str) -> AsyncIterator[TimescaleSink]:
    opened = await open_sink(database_url)
    yield opened
    await opened.close()


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    opened = await connect(database_url)
    yield opened
    await opened.close()


@pytest.fixture
async def migrated(tier_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A migrated database of each tier, one connection."""
    opened = await connect(tier_url)
    try:
        await migrate(opened)
        yield opened
    finally:
        await opened.close()
