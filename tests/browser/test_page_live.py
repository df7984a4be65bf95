"""The page before the real thing: an exchange, a recorder, TimescaleDB; through a gap, a death and a restart."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from playwright.async_api import expect
from programs import market, program

from crypto_quant.ops import board
from crypto_quant.ops.companion import Plan
from crypto_quant.ops.listening import listen
from crypto_quant.web.service import watch

from .conftest import Look

SLOW_MS = 20_000


@asynccontextmanager
async def watching(data_dir: Path, url: str, port: int = 0) -> AsyncIterator[str]:
    """What ``serve`` runs."""
    plan = Plan(directory=str(data_dir / board.DIRECTORY), database_url=url)
    listening = listen("127.0.0.1", port)
    ended, started = asyncio.Event(), asyncio.Event()
    task = asyncio.create_task(watch(plan, listening, None, ended, started))
    try:
        await started.wait()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        ended.set()
        await task


async def test_an_hour_of_an_operator(timescale_url: str, tmp_path: Path, look: Look) -> None:
    async with market(rate=150) as exchange, watching(tmp_path, timescale_url) as address:
        port = int(address.rpartition(":")[2])
        looker = await look(address)
        page = looker.page
        verdict, title = page.locator("#verdict"), page.locator("#title")
        await expect(title).to_have_text("No recorder is running here")
        streams = page.locator("#streams .rows .row")

        async with program(timescale_url, exchange, tmp_path):
            # it renders what the recorder does, and goes on doing so
            await expect(title).to_have_text("Complete · live", timeout=SLOW_MS)
            await expect(verdict).to_have_attribute("data-level", "good")
            await expect(page).to_have_title("✓ Complete · live — crypto-quant")
            await expect(streams).to_have_count(4)
            await expect(page.locator("#links tbody tr")).to_contain_text("delivering")
            row = streams.filter(has_text="btcusdt").filter(has_text="trades")
            last = await row.locator(".c-last").text_content()
            await expect(row.locator(".c-last")).not_to_have_text(last or "")
            await expect(page.locator("#rate canvas")).to_be_visible()
            await expect(page.locator("#chart")).to_have_attribute("data-candles", re.compile("[1-9]"), timeout=SLOW_MS)
            await expect(page.locator("#heat .heat-rows .cell[data-s='c']")).to_have_count(2, timeout=SLOW_MS)

            # a gap appears: the exchange swallows events, and its REST answers nobody
            exchange.faults.rest_errors(status=503, seconds=3600)
            exchange.faults.skip(7, stream="btcusdt@aggTrade")
            await expect(title).to_have_text("7 trades missing: btcusdt", timeout=SLOW_MS)
            await expect(verdict).to_have_attribute("data-level", "warn")
            await expect(page).to_have_title(re.compile("^! 7 trades missing"))
            await expect(page.locator("#ailments")).to_contain_text("crypto-quant repair")
            await expect(page.locator("#detail .gap")).to_have_count(1)
            await expect(streams.first).to_have_attribute("data-state", "missing")
            await expect(page.locator("#chart")).to_have_attribute("data-open", "1", timeout=SLOW_MS)
            hole = page.locator("#heat .heat-rows .cell[data-s='h']")
            await expect(hole).to_have_count(1, timeout=SLOW_MS)
            await hole.click()
            await expect(page.locator("#detail .gap[data-state='open']")).to_contain_text("7 ids")
            await expect(page.locator("#detail code")).to_contain_text("crypto-quant repair btcusdt --from 2026-10-01")

            # and closes
            exchange.faults.clear()
            await expect(title).to_have_text("Complete · live", timeout=60_000)
            await expect(page.locator("#chart")).to_have_attribute("data-open", "0", timeout=SLOW_MS)
            await expect(page.locator("#chart")).to_have_attribute("data-filled", "1")
            await expect(page.locator("#heat .heat-rows .cell[data-s='r']")).to_have_count(1, timeout=SLOW_MS)
            await expect(page.locator("#detail .gap[data-state='fetched']")).to_contain_text(
                "over REST", timeout=SLOW_MS
            )
        # the recorder was killed
        await expect(title).to_have_text("Recorder down", timeout=SLOW_MS)
        await expect(verdict).to_have_attribute("data-level", "bad")

        async with program(timescale_url, exchange, tmp_path) as second:
            await expect(title).to_have_text("Complete · live", timeout=SLOW_MS)
            await expect(page.locator("#process")).to_contain_text(str(second.process.pid))
    # the watching process has ended
    looker.away = True
    await expect(page.locator("#lost")).to_be_visible(timeout=SLOW_MS)
    await expect(page.locator("#lost")).to_contain_text("Connection lost, trying again")
    await expect(page).to_have_title("○ connection lost — crypto-quant")
    async with watching(tmp_path, timescale_url, port):
        await expect(page.locator("#lost")).to_be_hidden(timeout=SLOW_MS)
        await expect(page.locator("#connection")).to_have_attribute("data-state", "good")
