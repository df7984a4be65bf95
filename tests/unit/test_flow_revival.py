"""The embedded database is started again while it is away, and left alone while it takes its batches."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from flow_doubles import Journal, until

from crypto_quant import events
from crypto_quant.errors import EmbeddedDatabaseError
from crypto_quant.flow import revival
from crypto_quant.flow.revival import Revival

LOST = events.StoreLost(table="trades", cause="gone", pending=1, retry_in_s=1.0)
BACK = events.StoreBack(table="trades", away_s=1.0)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revival, "_FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(revival, "_LAST_PAUSE_S", 0.002)


@asynccontextmanager
async def reviving(revive: Callable[[], Awaitable[bool]]) -> AsyncIterator[tuple[Revival, Journal]]:
    journal = Journal()
    hears = Revival(journal, revive, "/data", "crypto-quant db start")
    hears.begin()
    try:
        yield hears, journal
    finally:
        await hears.close()


async def test_a_server_that_died_is_started_again() -> None:
    async def revive() -> bool:
        return True

    async with reviving(revive) as (hears, journal):
        await asyncio.sleep(0.01)
        assert journal.events == [], "nothing is away"
        hears(LOST)
        await until(lambda: journal.of(events.DatabaseRevived))
        assert journal.events[0] == LOST
        assert journal.of(events.DatabaseRevived)[0].directory == "/data"


async def test_it_is_tried_until_the_database_is_back_and_then_no_more() -> None:
    asked = 0

    async def revive() -> bool:
        nonlocal asked
        asked += 1
        if asked < 4:
            raise EmbeddedDatabaseError("did not start", subject="No space left on device", hint="Free some space")
        return False  # somebody else has started it

    async with reviving(revive) as (hears, journal):
        hears(LOST)
        hears(events.StoreLost(table="candles", cause="gone", pending=1, retry_in_s=1.0))
        await until(lambda: asked > 4)
        refused = journal.of(events.DatabaseNotRevived)
        assert len(refused) == 3
        assert "No space left on device" in refused[0].cause
        assert "Free some space" in refused[0].cause
        assert not journal.of(events.DatabaseRevived)
        hears(BACK)
        await asyncio.sleep(0.02)
        before = asked
        await until(lambda: asked > before)  # the other table is still away
        hears(events.StoreBack(table="candles", away_s=1.0))
        await asyncio.sleep(0.02)
        before = asked
        await asyncio.sleep(0.02)
        assert asked == before


async def test_a_mistake_of_ours_is_not_hidden() -> None:
    async def revive() -> bool:
        raise ZeroDivisionError

    hears = Revival(Journal(), revive, "/data", "")
    hears.begin()
    hears(LOST)
    await asyncio.sleep(0.01)
    with pytest.raises(ZeroDivisionError):
        await hears.close()
