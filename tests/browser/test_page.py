"""The page in a browser: hostile names, keys, colours, many streams, and an hour of updates without a leak."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from boards import Boards
from playwright.async_api import expect
from records import record_on, trade
from snapshots import later, snapshot, stream

from crypto_quant.snapshot import GapView, Happening, LinkState, LinkView, StoreView, StreamState
from crypto_quant.web.feed import Feed
from crypto_quant.web.page import HEADERS, STATIC, page_app
from crypto_quant.web.readings import Readings

from .conftest import Look, serving

HOSTILE = "<img src=x onerror=alert(1)>\u202egnp\u0000"
SHOWN = "<img src=x onerror=alert(1)>\\u202egnp\\u0000"


class Turning(Boards):
    """Boards whose watchers wait, as those of the real follower do."""

    async def changed(self, since: int) -> int:
        while self.version <= since:  # noqa: ASYNC110 - the follower itself looks now and then
            await asyncio.sleep(0.02)
        return self.version


async def test_hostile_names_and_causes_are_only_ever_text(look: Look) -> None:
    boards = Turning()
    boards.show(
        snapshot(
            store=StoreView(database=HOSTILE, away_since_ns=1, cause=HOSTILE, tier=HOSTILE),
            links=(LinkView(link=1, state=LinkState.WAITING, since_ns=0, streams=1, attempt=1, cause=HOSTILE),),
            streams=(stream(HOSTILE, state=StreamState.QUIET, gaps=1, missing=2),),
            gaps=(GapView(symbol=HOSTILE, first=1, last=2**63 - 1, note=HOSTILE),),
            happenings=(Happening(at_ns=1, level="error", message=HOSTILE, fields={HOSTILE: HOSTILE}),),
            venue=HOSTILE,
        )
    )  # fmt: skip
    async with record_on("timescaledb") as record:
        name = HOSTILE.replace("\u0000", "")  # which no database would take
        await record.trades([trade(number) for number in range(20) if number != 7], symbol=name)
        async with serving(page_app(boards, Readings(record.url))) as address:
            page = (await look(address)).page
            await expect(page.locator("#streams .rows .c-symbol")).to_have_text(SHOWN)
            await expect(page.locator("#detail .gap b")).to_have_text(SHOWN)
            # an id that JavaScript's numbers do not hold
            await expect(page.locator("#detail .ids")).to_contain_text("9 223 372 036 854 775 807")
            await expect(page.locator("#warnings b")).to_have_text(SHOWN)
            await expect(page.locator("#links .cause")).to_contain_text(SHOWN)
            await expect(page.locator("#ailments")).to_contain_text(SHOWN)
            await expect(page.locator("#heat .heat-rows .heat-name")).to_have_text(SHOWN.replace("\\u0000", ""))
            hole = page.locator("#heat .heat-rows .cell[data-s='h']")
            await hole.click()
            await expect(page.locator("#detail code")).to_contain_text("crypto-quant repair '<img src=x")
            await expect(page.locator("#symbol option")).to_have_text(SHOWN.replace("\\u0000", ""))
            assert await page.locator("img").count() == 0


async def test_keys_alone_are_enough(look: Look) -> None:
    boards = Turning()
    boards.show(snapshot(streams=tuple(stream(f"s{number}usdt", rate=float(number)) for number in range(50))))
    async with record_on("timescaledb") as record:
        for symbol in ("s1usdt", "s2usdt", "s3usdt"):
            await record.trades([trade(number) for number in range(20)], symbol=symbol)
        async with serving(page_app(boards, Readings(record.url))) as address:
            page = (await look(address)).page
            await expect(page.locator("#heat .heat-rows .cell[data-s='c']")).to_have_count(3)
            await page.keyboard.press("Tab")
            await expect(page.locator(".skip")).to_be_focused()
            await page.keyboard.press("c")
            focused = page.locator("#heat .cell:focus")
            await expect(focused).to_have_attribute("aria-label", "s1usdt 2024-08-08: complete, 20 rows, up to 00:01")
            await page.keyboard.press("ArrowDown")
            await expect(focused).to_have_attribute("aria-label", "s2usdt 2024-08-08: complete, 20 rows, up to 00:01")
            await page.keyboard.press("ArrowLeft")
            await expect(focused).to_have_attribute("aria-label", "s2usdt 2024-08-07: nothing recorded")
            await page.keyboard.press("End")
            await page.keyboard.press("Enter")
            await expect(page.locator("#detail-title")).to_have_text("s2usdt")
            await expect(page.locator("#detail")).to_contain_text("Nothing was ever missing on this day.")
            await page.keyboard.press("Escape")
            await expect(page.locator("#detail-title")).to_have_text("Gaps")
            await page.keyboard.press("?")
            await expect(page.locator("#help")).to_be_visible()
            await page.keyboard.press("Escape")
            await expect(page.locator("#help")).to_be_hidden()
            await page.keyboard.press("/")
            await page.keyboard.type("s4")
            await expect(page.locator("#streams-note")).to_have_text("11 of 50")
            await page.keyboard.press("Escape")  # which empties the filter as well
            await page.keyboard.press("s")
            await expect(page.locator("#streams .row:focus .c-symbol")).to_have_text("s0usdt")
            await page.keyboard.press("PageDown")
            await expect(page.locator("#streams .row:focus .c-symbol")).to_have_text("s13usdt")
            await page.keyboard.press("End")
            await expect(page.locator("#streams .row:focus .c-symbol")).to_have_text("s49usdt")


async def test_colours_follow_the_system_until_one_chooses(look: Look) -> None:
    boards = Turning()
    boards.show(snapshot())
    async with serving(page_app(boards, Readings(None))) as address:
        page = (await look(address, database=False, color_scheme="dark")).page
        await expect(page.locator("#title")).to_have_text("Complete · live")
        body = page.locator("body")
        await expect(body).to_have_css("background-color", "rgb(13, 16, 18)")
        await page.emulate_media(color_scheme="light")
        await expect(body).to_have_css("background-color", "rgb(244, 245, 246)")
        await page.keyboard.press("t")  # light
        await page.keyboard.press("t")  # dark
        await expect(body).to_have_css("background-color", "rgb(13, 16, 18)")
        await page.reload()
        await expect(body).to_have_css("background-color", "rgb(13, 16, 18)")
        await expect(page.locator("#theme")).to_have_attribute("aria-label", "Colours: dark")


async def test_three_thousand_streams_on_a_phone(look: Look) -> None:
    boards = Turning()
    boards.show(
        snapshot(streams=tuple(stream(f"s{number}usdt", rate=float(number)) for number in range(3000)), symbols=3000)
    )
    async with serving(page_app(boards, Readings(None))) as address:
        page = (await look(address, database=False, viewport={"width": 390, "height": 844})).page
        await expect(page.locator("#streams-note")).to_have_text("3,000 streams")
        assert await page.locator("#streams .rows .row").count() < 40
        rates = page.locator("#streams .head .c-rate button")
        await rates.click()
        await expect(page.locator("#streams .rows .c-symbol").first).to_have_text("s2999usdt")
        # nothing is wider than the screen
        overflow = await page.evaluate("() => document.documentElement.scrollWidth - window.innerWidth")
        assert overflow <= 0


async def test_two_recorders_are_a_choice_and_the_worst_is_told(look: Look) -> None:
    boards = Turning()
    boards.show(snapshot())
    boards.show(snapshot(pid=78, venue="usdm", counts={"gaps_open": 2, "trades_missing": 9}), name="78")
    async with serving(page_app(boards, Readings(None))) as address:
        page = (await look(address, database=False)).page
        await expect(page.locator(".recorder")).to_have_count(2)
        await expect(page).to_have_title("! 9 trades missing — crypto-quant")
        await page.locator(".recorder[data-key='77']").click()
        await expect(page.locator("#title")).to_have_text("Complete · live")
        await expect(page).to_have_title("! 9 trades missing — crypto-quant")
        await page.locator(".recorder[data-key='78']").click()
        await expect(page.locator("#title")).to_have_text("9 trades missing")


WARM, HOUR = 600, 3600
# what an hour may cost: caches of the browser's own fill up at first
GROWTH_MAX_BYTES = 1_500_000


@asynccontextmanager
async def hurried(boards: Boards, turn: Any) -> AsyncIterator[tuple[str, asyncio.Event]]:
    """Serve the page with an event stream that sends ``WARM`` updates, and then an hour's, as fast as can be."""
    feed = Feed(boards, _Clock())
    go_on = asyncio.Event()

    async def events(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        seen = None
        for number in range(WARM + HOUR):
            if number == WARM:
                await go_on.wait()
                go_on.clear()
            turn(number)
            feed.look()
            kind, text, seen = feed.message(seen, None)
            await response.write(b"event: %s\ndata: %s\n\n" % (kind.encode(), text))
            if number % 20 == 0:
                await asyncio.sleep(0.01)
        await go_on.wait()
        return response

    async def page(_request: web.Request) -> web.StreamResponse:
        return web.FileResponse(STATIC / "index.html", headers=HEADERS)

    async def nothing(_request: web.Request) -> web.StreamResponse:
        return web.json_response({"error": "no database"}, status=400)

    app = web.Application()
    app.router.add_get("/", page)
    app.router.add_get("/events", events)
    app.router.add_get("/api/{what}", nothing)
    app.router.add_static("/static", STATIC)
    async with serving(app) as address:
        yield address, go_on


class _Clock:
    def now_ns(self) -> int:
        return 0


async def test_an_hour_of_updates_leaves_nothing_behind(look: Look) -> None:
    """An hour of updates grows neither heap nor document by anything that counts."""
    boards = Boards()
    shown = snapshot(streams=tuple(stream(f"s{number}usdt") for number in range(40)))

    def turn(number: int) -> None:
        nonlocal shown
        streams = tuple(stream(f"s{each}usdt", last=number * 100 + each, rate=float(number % 50)) for each in range(40))
        happened = tuple(Happening(at_ns=number + each, level="warning", message=f"m{number}") for each in range(5))
        shown = later(shown, 1, streams=streams, rate=float(number % 97), happenings=happened)
        boards.show(shown)

    async with hurried(boards, turn) as (address, go_on):
        page = (await look(address, database=False)).page
        session = await page.context.new_cdp_session(page)

        async def settled(number: int) -> tuple[int, int]:
            """Return the bytes on the heap and the nodes of the document once update ``number`` is drawn."""
            await expect(page.locator("#streams .rows .row").filter(has_text="s39usdt").or_(
                page.locator("#warnings b").first)).to_be_visible(timeout=60_000)  # fmt: skip
            await expect(page.locator("#warnings b").first).to_have_text(f"m{number}", timeout=60_000)
            for _ in range(3):
                await session.send("HeapProfiler.collectGarbage")
            used = await session.send("Runtime.getHeapUsage")
            counters = await session.send("Memory.getDOMCounters")
            return int(used["usedSize"]), int(counters["nodes"])

        bytes_before, nodes_before = await settled(WARM - 1)
        go_on.set()
        bytes_after, nodes_after = await settled(WARM + HOUR - 1)
        assert bytes_after - bytes_before < GROWTH_MAX_BYTES, (bytes_before, bytes_after)
        assert nodes_after - nodes_before < 500, (nodes_before, nodes_after)
        go_on.set()
