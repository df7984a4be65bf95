"""REST, archive and links through a real forward proxy; and what a netrc file has, which nobody may see."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme
from aiohttp import WSMsgType, web
from forward_proxy import forwarding
from programs import SYMBOLS, assert_all_stored, cut, market, program

from crypto_quant.errors import ConfigError, ExchangeUnavailable, LinkLost
from crypto_quant.net.http import AiohttpClient
from crypto_quant.net.proxies import Proxies
from crypto_quant.net.websocket import PicowsConnector


class Seen:
    """The heads of all requests that a server got."""

    def __init__(self) -> None:
        self.requests: list[web.Request] = []

    @property
    def credentials(self) -> list[str | None]:
        return [each.headers.get("Authorization") or each.headers.get("Proxy-Authorization") for each in self.requests]


@asynccontextmanager
async def exchange() -> AsyncIterator[tuple[int, Seen]]:
    """Serve a file, an answer and a WebSocket; yield the port and what was asked."""
    seen = Seen()

    async def answer(request: web.Request) -> web.StreamResponse:
        seen.requests.append(request)
        if request.path == "/ws":
            link = web.WebSocketResponse()
            await link.prepare(request)
            await link.send_str("hello")
            async for message in link:
                assert message.type is WSMsgType.TEXT
            return link
        return web.Response(text=f"{request.host}{request.path_qs}")

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield runner.addresses[0][1], seen
    finally:
        await runner.cleanup()


class Ears:
    def __init__(self) -> None:
        self.heard: asyncio.Queue[bytes] = asyncio.Queue()

    def on_texts(self, payloads: list[bytes]) -> None:
        for payload in payloads:
            self.heard.put_nowait(payload)

    def on_ping(self, payload: bytes) -> None: ...
    def on_closed(self, code: int, reason: str) -> None: ...


async def ask_all_ways(base: str, directory: Path, proxies: Proxies | None = None) -> list[str]:
    """Ask by REST, download and WebSocket; return what was answered."""
    http = AiohttpClient(timeout_s=20, proxies=proxies)
    ears = Ears()
    try:
        rest = await http.get(f"{base}/api", {"a": "1"}, {})
        await http.download(f"{base}/file", directory / "file")
        link = await PicowsConnector(proxies=proxies).connect(f"{base.replace('http', 'ws', 1)}/ws", ears)
        greeting = await asyncio.wait_for(ears.heard.get(), 20)
        link.abort()
    finally:
        await http.close()
    return [rest.body.decode(), (directory / "file").read_text(), greeting.decode()]


async def test_credentials_are_never_taken_from_netrc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\ndefault login me password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HOME", str(tmp_path))
    async with exchange() as (port, seen):
        assert await ask_all_ways(f"http://127.0.0.1:{port}", tmp_path)
        async with forwarding(port) as proxy:
            monkeypatch.setenv("HTTP_PROXY", f"127.0.0.1:{proxy.port}")
            assert await ask_all_ways("http://exchange.test", tmp_path)
            assert not [head for head in proxy.heads if "authorization" in head.lower()]
    assert seen.credentials == [None] * 6


async def test_every_way_goes_through_the_proxy(tmp_path: Path) -> None:
    async with exchange() as (port, seen), forwarding(port, credentials="me:p@ss") as proxy:
        proxies = Proxies({"http_proxy": f"me:p%40ss@127.0.0.1:{proxy.port}"})
        answers = await ask_all_ways("http://exchange.test:81", tmp_path, proxies)
    assert answers == ["exchange.test:81/api?a=1", "exchange.test:81/file", "hello"]
    assert proxy.asked == [
        ("GET", "http://exchange.test:81/api?a=1"),
        ("GET", "http://exchange.test:81/file"),
        ("CONNECT", "exchange.test:81"),
    ]
    # what the proxy may know is not for the exchange
    assert len(seen.requests) == 3


async def test_loopback_and_exceptions_are_reached_without_the_proxy(tmp_path: Path) -> None:
    async with exchange() as (port, _), forwarding(port) as proxy:
        proxies = Proxies({"HTTP_PROXY": f"127.0.0.1:{proxy.port}", "NO_PROXY": "exchange.test"})
        assert (await ask_all_ways(f"http://localhost:{port}", tmp_path, proxies))[2] == "hello"
        assert proxies.of("http://exchange.test/") is None
    assert proxy.asked == []


@pytest.fixture
def dead_port() -> Iterator[int]:
    """A port that nobody listens on, and nobody else gets."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


async def refusals(proxies: Proxies, url: str = "https://exchange.test/x") -> list[str]:
    """Return how REST and a link say that they got nowhere."""
    http = AiohttpClient(timeout_s=20, proxies=proxies)
    try:
        with pytest.raises(ExchangeUnavailable) as rest:
            await http.get(url, {}, {})
    finally:
        await http.close()
    with pytest.raises(LinkLost) as link:
        await PicowsConnector(proxies=proxies).connect(url.replace("http", "ws", 1), Ears())
    return [str(rest.value), str(link.value)]


@pytest.mark.parametrize(("refuse", "says"), [
    (None, "wants a name and a password: HTTP 407"),
    (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", "refuses the connection: HTTP 403"),
    (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", "refuses the connection: HTTP 502"),
    (b"SSH-2.0-nonsense\r\n\r\n", ""),
])  # fmt: skip
async def test_a_proxy_that_refuses_is_named_without_its_password(refuse: bytes | None, says: str) -> None:
    async with forwarding(1, credentials="me:right", refuse=refuse) as proxy:
        for text in await refusals(Proxies({"https_proxy": f"http://me:secret@127.0.0.1:{proxy.port}"})):
            assert says in text
            assert f"through the proxy http://me:***@127.0.0.1:{proxy.port} (https_proxy)" in text
            assert "secret" not in text


async def test_a_proxy_that_is_not_there_is_named(dead_port: int) -> None:
    for text in await refusals(Proxies({"ALL_PROXY": f"127.0.0.1:{dead_port}"})):
        assert f"through the proxy http://127.0.0.1:{dead_port} (ALL_PROXY)" in text


async def test_a_proxy_that_cannot_be_used_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="SOCKS is not supported"):
        await ask_all_ways("https://exchange.test", tmp_path, Proxies({"ALL_PROXY": "socks5h://127.0.0.1:9"}))


@pytest.mark.parametrize("speaks", ["http", "https"])
async def test_a_recording_over_tls_goes_through_a_proxy_whole(timescale_url: str, tmp_path: Path, speaks: str) -> None:
    """Every row, REST and links, through a proxy that speaks plainly or TLS itself; the exchange speaks TLS."""
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("exchange.test", "localhost").configure_cert(context)
    tls = context if speaks == "https" else None
    async with (
        market(800) as simulated,
        cut(int(simulated.ws_url.rpartition(":")[2]), ssl=context) as (port, _),
        forwarding(port, credentials="me:secret", tls=tls) as proxy,
    ):
        environment = {
            "SSL_CERT_FILE": str(tmp_path / "ca.pem"),
            "HTTPS_PROXY": f"{speaks}://me:secret@localhost:{proxy.port}",
            "NO_PROXY": "",
        }
        urls = "wss://exchange.test:9443", "https://exchange.test"
        async with program(timescale_url, urls, tmp_path, environment=environment) as run:
            await run.until(lambda: run.stats["candles_written"] > len(SYMBOLS))
            assert await run.end() == 0
        assert await assert_all_stored(timescale_url, simulated) > 0
    assert set(proxy.asked) == {("CONNECT", "exchange.test:9443"), ("CONNECT", "exchange.test:443")}
