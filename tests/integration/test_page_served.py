"""The page as the watching process serves it: behind the token, with the probes beside it, ending in time."""

import asyncio
from pathlib import Path

from watched import ask, fresh, shown, watching

from crypto_quant.web.page import HEADERS

TOKEN = "0123456789abcdef0123"


async def test_the_page_wants_the_token_once(tmp_path: Path) -> None:
    with shown(tmp_path, fresh()):
        async with watching(tmp_path, token=TOKEN) as service:
            for path in ("/", "/events", "/api/series", "/static/app.js"):
                status, headers, _ = await ask(service.page, path)
                assert status == 401, path
                # not even the refusal may be framed
                assert headers["content-security-policy"] == HEADERS["Content-Security-Policy"]
            status, headers, _ = await ask(service.page, f"/?symbol=ethusdt&token={TOKEN}")
            assert (status, headers["location"]) == (303, "/?symbol=ethusdt")
            cookie = headers["set-cookie"]
            assert "HttpOnly" in cookie
            assert "SameSite=Strict" in cookie
            status, _, body = await ask(service.page, "/", f"Cookie: {cookie.partition(';')[0]}")
            assert status == 200
            assert "<title>crypto-quant</title>" in body


async def test_the_page_stands_beside_the_probes(tmp_path: Path) -> None:
    with shown(tmp_path, fresh()):
        async with watching(tmp_path) as service:
            assert (await ask(service.page, "/"))[0] == 200
            assert (await ask(service.page, "/livez"))[0] == 200
            # the metrics' port has no page
            assert (await ask(service.metrics, "/"))[0] == 404
            status, _, body = await ask(service.page, "/api/tables")
            assert status == 400
            assert "no database to read from" in body
            # a name that somebody else has made point here
            assert (await ask(service.page, "/", named="evil.example"))[0] == 403


async def test_it_ends_while_streams_are_open(tmp_path: Path) -> None:
    with shown(tmp_path, fresh()):
        async with watching(tmp_path) as service:
            reader, writer = await asyncio.open_connection("127.0.0.1", service.page)
            writer.write(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await reader.readuntil(b"event: state")
            service.ended.set()
            await asyncio.wait_for(service.task, 10)
            assert (await reader.read()).endswith(b"0\r\n\r\n")  # in order, not cut
            writer.close()
