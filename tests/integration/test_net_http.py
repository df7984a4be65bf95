"""The aiohttp client against small real servers on loopback."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from crypto_quant.errors import ExchangeUnavailable
from crypto_quant.net.http import AiohttpClient


@pytest.fixture
async def client() -> AsyncIterator[AiohttpClient]:
    client = AiohttpClient(timeout_s=2.0)
    yield client
    await client.close()


@pytest.fixture
async def base() -> AsyncIterator[str]:
    """Serve a handful of answers on loopback."""

    async def echo(request: web.Request) -> web.Response:
        told = {"query": dict(request.query), "header": request.headers.get("X-Test", "")}
        return web.json_response(told, headers={"X-MBX-USED-WEIGHT-1M": "42"})

    async def slow(request: web.Request) -> web.Response:
        await asyncio.sleep(30)
        return web.Response()

    async def broken(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Length": "1000"})
        await answer.prepare(request)
        await answer.write(b"half")
        assert request.transport is not None
        request.transport.abort()
        return answer

    async def status(request: web.Request) -> web.Response:
        number = int(request.match_info["code"])
        return web.Response(status=number, headers={"Retry-After": "7"}, text='{"code":-1003,"msg":"slow"}')

    async def lies(request: web.Request) -> web.Response:
        return web.Response(body=b"not gzip", headers={"Content-Encoding": "gzip"})

    app = web.Application()
    app.router.add_get("/echo", echo)
    app.router.add_get("/slow", slow)
    app.router.add_get("/broken", broken)
    app.router.add_get("/lies", lies)
    app.router.add_get("/status/{code}", status)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def test_parameters_and_headers_go_out_and_names_come_back_in_lower_case(
    client: AiohttpClient, base: str
) -> None:
    answer = await client.get(f"{base}/echo", {"symbol": "币安人生USDT", "a": "x y&z=1+2"}, {"X-Test": "yes"})
    assert answer.status == 200
    assert answer.headers["x-mbx-used-weight-1m"] == "42"
    text = answer.body.decode("unicode_escape")
    assert "币安人生USDT" in text
    assert "x y&z=1+2" in text
    assert '"header": "yes"' in text


@pytest.mark.parametrize("code", [400, 404, 418, 429, 451, 500, 503])
async def test_a_refusal_is_an_answer(client: AiohttpClient, base: str, code: int) -> None:
    answer = await client.get(f"{base}/status/{code}", {}, {})
    assert (answer.status, answer.headers["retry-after"]) == (code, "7")
    assert b"-1003" in answer.body


@pytest.mark.parametrize(("path", "says"), [("/slow", "timed out"), ("/broken", ""), ("/lies", "")])
async def test_half_an_answer_is_none(client: AiohttpClient, base: str, path: str, says: str) -> None:
    impatient = AiohttpClient(timeout_s=0.2)
    try:
        with pytest.raises(ExchangeUnavailable, match=f"no answer.*{says}") as caught:
            await impatient.get(f"{base}{path}", {}, {})
        assert path in str(caught.value)
    finally:
        await impatient.close()


def closed_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@pytest.mark.parametrize("url", [
    "http://127.0.0.1:{port}/x", "http://no-such-host.invalid/x", "http://a..b/x", "http:///x",
    "http://" + "a" * 70 + ".invalid/x", "http://127.0.0.1:99999/x",
])  # fmt: skip
async def test_a_host_that_is_not_there_gives_no_answer(client: AiohttpClient, url: str) -> None:
    with pytest.raises(ExchangeUnavailable, match="no answer"):
        await client.get(url.format(port=closed_port()), {}, {})


async def test_tls_with_a_server_that_does_not_speak_it_gives_no_answer(client: AiohttpClient, base: str) -> None:
    with pytest.raises(ExchangeUnavailable):
        await client.get(base.replace("http:", "https:"), {}, {})


async def test_closing_twice_and_asking_again_is_allowed(client: AiohttpClient, base: str) -> None:
    await client.close()
    assert (await client.get(f"{base}/echo", {}, {})).status == 200
    await client.close()
    await client.close()


async def test_a_request_can_be_cancelled(client: AiohttpClient, base: str) -> None:
    task = asyncio.create_task(client.get(f"{base}/slow", {}, {}))
    await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()
    assert (await client.get(f"{base}/echo", {}, {})).status == 200


@pytest.mark.parametrize("url", ["http://me:secret@127.0.0.1:1/", "http://me:secret@127.0.0.1:port/"])
async def test_no_answer_is_told_without_the_urls_password(client: AiohttpClient, url: str) -> None:
    with pytest.raises(ExchangeUnavailable) as caught:
        await client.get(url, {}, {})
    assert "http://me:***@127.0.0.1" in str(caught.value)
    assert "secret" not in str(caught.value)
