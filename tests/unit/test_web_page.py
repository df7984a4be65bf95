"""The page over HTTP: what every answer forbids, streams that go on, clients that stop reading or just go."""

import asyncio
import itertools
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from boards import Boards
from snapshots import later, snapshot, stream

from crypto_quant.web import page
from crypto_quant.web.page import page_app
from crypto_quant.web.readings import Readings


class Turning(Boards):
    """Boards that wake whoever waits."""

    def __init__(self) -> None:
        super().__init__()
        self._news = asyncio.Event()

    def show(self, *shown: Any, **more: Any) -> None:
        super().show(*shown, **more)
        self._news.set()
        self._news = asyncio.Event()

    async def changed(self, since: int) -> int:
        while self.version <= since:
            await self._news.wait()
        return self.version


@asynccontextmanager
async def served(
    boards: Boards, connections: list[Any] | None = None
) -> AsyncIterator[tuple[str, aiohttp.ClientSession]]:
    """Serve the page; ``connections`` is shown those that are open."""
    runner = web.AppRunner(page_app(boards, Readings(None)), access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    if connections is not None:
        connections.append(runner.server)
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{runner.addresses[0][1]}") as client:
            yield f"127.0.0.1:{runner.addresses[0][1]}", client
    finally:
        await runner.cleanup()


async def event(response: aiohttp.ClientResponse) -> tuple[str, str, dict[str, Any]]:
    """Return the id, the kind and the data of the next event."""
    fields: dict[str, str] = {}
    async with asyncio.timeout(10):
        while True:
            line = (await response.content.readline()).decode().rstrip("\n")
            if not line and "data" in fields:
                return fields["id"], fields["event"], json.loads(fields["data"])
            name, _, value = line.partition(": ")
            fields[name] = value


@pytest.fixture
def boards() -> Turning:
    lent = Turning()
    lent.show(snapshot())
    return lent


@pytest.mark.parametrize(
    "path",
    ["/", "/static/app.js", "/static/vendor/uplot-1.6.32.js", "/events", "/api/tables", "/api/candles", "/nothing",
     "/static/none.js"],
)  # fmt: skip
async def test_every_answer_forbids_what_a_page_must_not_do(boards: Turning, path: str) -> None:
    async with served(boards) as (_, client), client.get(path) as response:
        policy = response.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Referrer-Policy"] == "no-referrer"
        kept = response.headers["Cache-Control"]
        assert kept == ("max-age=31536000, immutable" if "vendor" in path else kept)
        assert kept in ("no-store", "no-cache") or "vendor" in path


@pytest.mark.parametrize("path", ["/", "/events", "/api/tables", "/static/app.js"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
async def test_nothing_can_be_changed(boards: Turning, path: str, method: str) -> None:
    async with served(boards) as (_, client), client.request(method, path) as response:
        assert response.status == 405


@pytest.mark.parametrize(
    "path", ["/static/../page.py", "/static/%2e%2e/page.py", "/static/..%2fpage.py", "/static//etc/passwd"]
)
async def test_no_other_file_is_served(boards: Turning, path: str) -> None:
    async with served(boards) as (host, _):
        reader, writer = await asyncio.open_connection(*host.split(":"))
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        answer = await reader.read()
        writer.close()
        assert answer.split()[1] in (b"403", b"404")


async def test_a_question_that_makes_no_sense_is_told_why(boards: Turning) -> None:
    async with served(boards) as (_, client):
        async with client.get("/api/candles?venue=spot&symbol=x&timeframe=2m") as response:
            assert response.status == 400
            assert (await response.json())["error"] == "unknown timeframe"
        async with client.get("/api/candles?venue=spot") as response:
            assert response.status == 400
        async with client.get(
            "/api/candles", params={"venue": "spot", "symbol": "x" * 5000, "timeframe": "1m"}
        ) as response:
            assert response.status == 400
        async with client.get("/api/candles?venue=spot&symbol=x%00&timeframe=1m") as response:
            assert response.status == 400
            assert "is no name" in await response.text()
        for day in ("9999-12-31", "0001-01-01", "1969-12-31", "2262-04-12", "2026-02-30"):
            async with client.get(f"/api/gaps?venue=spot&symbol=x&day={day}&kind=1M") as response:
                assert response.status == 400
                assert (await response.json())["error"] == "not a day"


async def test_a_stream_that_is_taken_up_again_goes_on(boards: Turning, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "_PACE_S", 0.01)
    async with served(boards) as (_, client):
        async with client.get("/events") as response:
            first, kind, message = await event(response)
            assert kind == "state"
            assert message["parts"]["head"]["rate"] == 1234.0
            boards.show(later(snapshot(), 1, rate=13.0))
            while "head" not in message["parts"] or message["parts"]["head"]["rate"] != 13.0:
                _, kind, message = await event(response)
            assert kind == "tick"
        async with client.get("/events", headers={"Last-Event-ID": first}) as response:
            _, kind, message = await event(response)
            assert kind == "tick"
            assert message["parts"]["head"]["rate"] == 13.0
        # what another process has given, or nonsense
        for told in ("0" * 8 + first[8:], "x", "..", first.partition(".")[0] + ".99999999999999999999.77"):
            async with client.get("/events", headers={"Last-Event-ID": told}) as response:
                assert (await event(response))[1] == "state", told


async def test_who_takes_nothing_is_dropped_and_holds_up_nobody(
    boards: Turning, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "_PACE_S", 0.0)
    monkeypatch.setattr(page, "_PATIENCE_S", 0.3)
    server: list[Any] = []
    async with served(boards, server) as (host, client):
        # a window of a few packets, so that little is on its way
        stuck = socket.socket()
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await asyncio.to_thread(stuck.connect, ("127.0.0.1", int(host.split(":")[1])))
        stuck.sendall(f"GET /events HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        async with client.get("/events") as response:
            await event(response)
            assert len(server[0].connections) == 2
            async with asyncio.timeout(30):
                for second in itertools.count():
                    rows = tuple(stream(f"s{number}usdt", last=second) for number in range(1000))
                    boards.show(later(snapshot(), second, streams=rows, rate=float(second)))
                    message: dict[str, Any] = {}
                    # whoever reads hears of each
                    while message.get("parts", {}).get("head", {}).get("rate") != float(second):
                        message = (await event(response))[2]
                    if len(server[0].connections) == 1:
                        break
        stuck.close()


async def test_a_thousand_that_come_and_go_leave_nothing_behind(boards: Turning) -> None:
    server: list[Any] = []
    async with served(boards, server) as (host, client):
        for _ in range(10):
            opened = await asyncio.gather(*(asyncio.open_connection(*host.split(":")) for _ in range(100)))
            for _, writer in opened:
                writer.write(f"GET /events HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            await asyncio.gather(*(reader.readline() for reader, _ in opened))
            for _, writer in opened:
                writer.transport.abort()
        async with client.get("/events") as response:
            assert (await event(response))[1] == "state"
            async with asyncio.timeout(20):
                while len(server[0].connections) > 1:
                    await event(response)
            # a handler of each would be a task that waits
            waiting = [task for task in asyncio.all_tasks() if "start" in getattr(task.get_coro(), "__name__", "")]
            assert len(waiting) <= 1


async def test_it_ends_with_streams_open(boards: Turning) -> None:
    app = page_app(boards, Readings(None))
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=30)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with aiohttp.ClientSession(f"http://127.0.0.1:{runner.addresses[0][1]}") as client:
        responses = [await client.get("/events") for _ in range(20)]
        for response in responses:
            await event(response)
        # far less than it would wait for handlers that do not end by themselves
        async with asyncio.timeout(10):
            await runner.cleanup()
            # each was brought to its end, and not cut
            for response in responses:
                await response.content.read()
