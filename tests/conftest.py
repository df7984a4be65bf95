"""Fixtures: fresh databases (see ``databases`` for the servers they need)."""

from collections.abc import AsyncIterator

import pytest
from databases import emptied_community, fresh_database


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
async def community_url() -> AsyncIterator[str]:
    """The one database of the Community edition, emptied; it takes one connection at a time and no COPY."""
    async with emptied_community() as url:
        yield url


@pytest.fixture(params=["timescaledb", "postgresql", "community"])
async def tier_url(request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """An empty database of each tier; take one connection at a time."""
    database = emptied_community() if request.param == "community" else fresh_database(request.param)
    async with database as url:
        yield url
