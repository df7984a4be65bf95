"""Fixtures: fresh databases (see ``databases`` for the servers they need). And how tests share the processors."""

import os
from collections.abc import AsyncIterator

import coverage
import pytest
from databases import emptied_community, fresh_database


def pytest_xdist_auto_num_workers() -> int:
    """Two processes a processor: most tests on real databases and sockets wait half of their time."""
    return min(2 * (os.cpu_count() or 1), 8)


def pytest_configure(config: pytest.Config) -> None:
    """Leave a worker the one tracer that ``no_cover`` stops.

    It gets that when its session starts, and has two by then: one as anyone's subprocess, one as if it had workers.
    """
    controller = getattr(config.pluginmanager.get_plugin("_cov"), "cov_controller", None)
    if hasattr(config, "workerinput") and controller is not None:
        controller.cov.stop()
        if begun := getattr(coverage.process_startup, "coverage", None):
            begun.stop()


@pytest.fixture(autouse=True)
def _no_cover_below(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test starts is traced no more than the test itself."""
    if request.node.get_closest_marker("no_cover"):
        monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)


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
