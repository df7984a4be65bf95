"""Fixtures of the tests on real databases."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

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
