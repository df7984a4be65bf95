"""Fixtures of the tests of the simulated exchange."""

from collections.abc import AsyncIterator

import aiohttp
import pytest
from sim_world import Client


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with aiohttp.ClientSession() as session:
        opened = Client(session)
        yield opened
        await opened.close()
