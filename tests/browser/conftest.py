"""A real browser, and the page served to it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
from aiohttp import web
from browsers import chromium
from playwright.async_api import Browser, Page, async_playwright, expect

expect.set_options(timeout=15_000)

_FLAGS = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--no-first-run",
          "--js-flags=--expose-gc", "--enable-precise-memory-info"]  # fmt: skip


# the origins whose servers have ended: their pages complain until they are closed
_ended: set[str] = set()


class Looker:
    """A page of the browser that takes down whatever a page of ours must never do."""

    def __init__(self, page: Page, origin: str) -> None:
        self.page = page
        self.origin = origin
        self.problems: list[str] = []
        # while its server is away a browser complains, rightly; so it does of answers that there is no database
        self.away = False
        self.without_database = False
        page.on("console", lambda message: self._said(message.type, message.text))
        page.on("pageerror", lambda error: self.problems.append(f"error: {error}"))
        page.on("request", lambda request: self._asked(request.url))
        page.on("dialog", lambda dialog: self.problems.append(f"dialog: {dialog.message}"))

    def _said(self, kind: str, text: str) -> None:
        away = self.away or self.origin in _ended
        forgiven = (away and "net::ERR" in text) or (self.without_database and "status of 400" in text)
        if kind in ("error", "warning") and not forgiven:
            self.problems.append(f"{kind}: {text}")

    def _asked(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("data", "blob") and f"{parts.scheme}://{parts.netloc}" != self.origin:
            self.problems.append(f"a request to another origin: {url}")


Look = Callable[..., Awaitable[Looker]]


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """Chromium without a window. Where there is none a test is skipped, unless it is required."""
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=chromium(), args=_FLAGS)
        yield launched
        await launched.close()


@pytest.fixture
async def look(browser: Browser) -> AsyncIterator[Look]:
    """Open a page of a server of ours; at the end of the test none may have misbehaved."""
    lookers: list[Looker] = []

    async def look(address: str, *, database: bool = True, **context: Any) -> Looker:
        page = await browser.new_page(**{"viewport": {"width": 1440, "height": 900}, **context})
        page.set_default_timeout(15_000)
        looker = Looker(page, address)
        looker.without_database = not database
        lookers.append(looker)
        await page.goto(f"{address}/")
        return looker

    yield look
    assert [looker.problems for looker in lookers if looker.problems] == []


@asynccontextmanager
async def serving(app: web.Application, port: int = 0) -> AsyncIterator[str]:
    """Serve an application on loopback; yield its origin."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    origin = f"http://127.0.0.1:{runner.addresses[0][1]}"
    _ended.discard(origin)
    try:
        yield origin
    finally:
        _ended.add(origin)
        await runner.cleanup()
