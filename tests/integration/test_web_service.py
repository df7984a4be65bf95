"""The watching process's service over real sockets: what it answers, to whom, and how it ends."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
from aiohttp import web
from watched import Watching, ask, free_port, fresh, shown, watching

from crypto_quant.errors import ConfigError
from crypto_quant.ops.listening import listen
from crypto_quant.snapshot import StoreView
from crypto_quant.web import service
from crypto_quant.web.access import Access, checked_token, is_loopback

TOKEN = "a-token-that-nobody-guesses"


@pytest.fixture
async def well(tmp_path: Path) -> AsyncIterator[Watching]:
    """A service that watches one recorder that is well."""
    with shown(tmp_path, fresh()):
        async with watching(tmp_path) as running:
            yield running


# -- what is answered -------------------------------------------------------------------------------------


async def test_both_ports_answer_the_probes(well: Watching) -> None:
    for port in (well.page, well.metrics):
        assert (await ask(port, "/livez"))[::2] == (200, "ok\n")
        assert (await ask(port, "/readyz"))[::2] == (200, "ok\n")
        status, headers, text = await ask(port, "/metrics")
        assert status == 200
        assert headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert headers["cache-control"] == "no-store"
        assert "server" not in headers
        assert "cryptoquant_up{" in text


@pytest.mark.parametrize(
    "accept", ["application/openmetrics-text; version=1.0.0", "text/html, application/openmetrics-text"]
)
async def test_openmetrics_is_given_to_who_asks_for_it(well: Watching, accept: str) -> None:
    status, headers, text = await ask(well.metrics, "/metrics", f"Accept: {accept}")
    assert (status, headers["content-type"].split(";")[0]) == (200, "application/openmetrics-text")
    assert text.endswith("# EOF\n")


@pytest.mark.parametrize("accept", ["", "nonsense;;version=x", "text/plain;version=99999999999999999999.x", "\x80"])
async def test_any_accept_header_is_answered(well: Watching, accept: str) -> None:
    assert (await ask(well.metrics, "/metrics", f"Accept: {accept}"))[0] == 200


async def test_head_404_and_405_are_plain(well: Watching) -> None:
    status, headers, body = await ask(well.metrics, "/metrics", method="HEAD")
    assert (status, body) == (200, "")
    assert int(headers["content-length"]) > 1000
    assert (await ask(well.metrics, "/nothing"))[0] == 404
    status, headers, _ = await ask(well.metrics, "/livez", method="POST")
    assert (status, headers["allow"]) == (405, "GET,HEAD")
    assert (await ask(well.metrics, "/livez", method="DELETE"))[0] == 405


async def test_a_scrape_while_the_database_is_away_is_answered_and_says_so(tmp_path: Path) -> None:
    away = StoreView(database="192.0.2.1:5432/nowhere", away_since_ns=1, cause="timed out")
    with shown(tmp_path, fresh(store=away)):
        async with watching(tmp_path, database_url="postgresql://u:secret@192.0.2.1:5432/nowhere") as running:
            assert "cryptoquant_store_up{" in (await ask(running.metrics, "/metrics"))[2]
            assert (await ask(running.metrics, "/livez"))[0] == 200
            status, _, text = await ask(running.metrics, "/readyz")
            assert status == 503
            assert "cannot reach its database 192.0.2.1:5432/nowhere: timed out" in text
            assert "secret" not in text


async def test_a_recorder_that_comes_and_goes_is_noticed(tmp_path: Path) -> None:
    async with watching(tmp_path) as running:
        assert (await ask(running.metrics, "/livez"))[::2] == (503, "no recorder runs here\n")
        with shown(tmp_path, fresh()):
            await until(running, "/readyz", 200)
        await until(running, "/livez", 503)
        assert "cryptoquant_recorders 0.0" in (await ask(running.metrics, "/metrics"))[2]


async def until(running: Watching, path: str, status: int) -> None:
    async with asyncio.timeout(20):
        while (await ask(running.metrics, path))[0] != status:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


# -- to whom ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.0.0.1:1", "LOCALHOST:8765", "[::1]:8765", "127.9.9.9"])
async def test_on_loopback_this_machine_is_answered(well: Watching, host: str) -> None:
    assert (await ask(well.page, "/livez", named=host))[0] == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8765", "localhost.evil.example", "192.168.0.1", "127.0.0.1.evil.example", ""]
)
async def test_a_name_that_was_pointed_here_is_refused(well: Watching, host: str) -> None:
    """DNS rebinding: a page of somebody else's asks its own name, which now means this machine."""
    for port in (well.page, well.metrics):
        if host:
            status, _, text = await ask(port, "/metrics", named=host)
        else:
            status, _, text = await ask(port, "/metrics", "Host:", named="x")
        assert status in (400, 403)
        assert "cryptoquant_" not in text


async def test_beyond_loopback_the_page_wants_the_token_and_metrics_do_not(tmp_path: Path) -> None:
    with shown(tmp_path, fresh()):
        async with watching(tmp_path, host="0.0.0.0", token=TOKEN) as running:  # noqa: S104
            assert (await ask(running.metrics, "/metrics", named="recorder:9464"))[0] == 200
            assert (await ask(running.page, "/livez", named="any.name"))[0] == 401
            status, headers, text = await ask(running.page, "/metrics", f"Authorization: Bearer {TOKEN}x")
            assert (status, headers["www-authenticate"]) == (401, "Bearer")
            assert "token is needed" in text
            assert TOKEN not in text
            assert (await ask(running.page, "/metrics", f"Authorization: Bearer {TOKEN}"))[0] == 200
            assert (await ask(running.page, "/metrics", f"Authorization: bearer  {TOKEN}"))[0] == 200


async def test_a_token_in_the_address_becomes_a_cookie_and_leaves_the_address(tmp_path: Path) -> None:
    with shown(tmp_path, fresh()):
        async with watching(tmp_path, token=TOKEN) as running:
            status, headers, _ = await ask(running.page, f"/livez?a=1&token={TOKEN}&b=2")
            assert (status, headers["location"]) == (303, "/livez?a=1&b=2")
            cookie = headers["set-cookie"]
            for part in ("HttpOnly", "SameSite=Strict", "Path=/"):
                assert part in cookie
            assert TOKEN not in cookie
            pair = cookie.split(";")[0]
            assert (await ask(running.page, "/livez", f"Cookie: {pair}"))[0] == 200
            assert (await ask(running.page, "/livez", f"Cookie: {pair}x"))[0] == 401
            assert (await ask(running.page, "/livez", "Cookie: nothing=1"))[0] == 401
            # the ticket in the cookie is no token
            ticket = pair.partition("=")[2]
            assert (await ask(running.page, "/livez", f"Authorization: Bearer {ticket}"))[0] == 401


@pytest.mark.parametrize("wrong", ["", "x", TOKEN[:-1], TOKEN + "x", "%C3%BC", "%ED%A0%80", TOKEN.upper()])
async def test_a_wrong_token_is_refused(tmp_path: Path, wrong: str) -> None:
    async with watching(tmp_path, token=TOKEN) as running:
        assert (await ask(running.page, f"/livez?token={wrong}"))[0] == 401


async def test_a_token_never_sends_anybody_to_another_host(tmp_path: Path) -> None:
    async with watching(tmp_path, token=TOKEN) as running:
        for path in ("//evil.example/", "/\\evil.example/", "///evil.example"):
            status, headers, _ = await ask(running.page, f"{path}?token={TOKEN}")
            assert status in (303, 400, 404)
            assert not headers.get("location", "/").startswith(("//", "/\\", "http"))


def test_a_token_that_could_be_guessed_is_refused() -> None:
    for bad in ("", "short", "with a space in the middle", "ümlaut-of-sixteen-letters", "new\nline-new-line-xx"):
        with pytest.raises(ConfigError, match="not a token"):
            checked_token(bad)
    assert checked_token(TOKEN) == TOKEN
    assert is_loopback("[::1]")
    assert not is_loopback("0.0.0.0")  # noqa: S104
    assert Access(None, loopback=True).middlewares


# -- clients that misbehave -------------------------------------------------------------------------------


async def test_a_thousand_clients_are_bounded_and_the_metrics_answer_all_the_while(tmp_path: Path) -> None:
    with shown(tmp_path, fresh()):
        async with watching(tmp_path) as running:
            gate = asyncio.Semaphore(100)

            async def come() -> tuple[bytes, asyncio.StreamWriter]:
                async with gate:
                    reader, writer = await asyncio.open_connection("127.0.0.1", running.page)
                    writer.write(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
                    return await reader.readline(), writer

            came = await asyncio.gather(*(come() for _ in range(1000)))
            heads = [line for line, _ in came]
            assert all(line.startswith((b"HTTP/1.1 200", b"HTTP/1.1 503")) for line in heads)
            answered = sum(b"200" in line for line in heads)
            # those that are being accepted together may be more
            assert service.CONNECTIONS_MAX <= answered <= service.CONNECTIONS_MAX + 128
            assert (await ask(running.metrics, "/metrics"))[0] == 200
            for _, writer in came:
                writer.close()
            async with asyncio.timeout(20):
                while (await ask(running.page, "/livez"))[0] != 200:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)


async def test_a_client_that_never_finishes_its_request_is_disconnected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "_REQUEST_S", 0.3)
    async with watching(tmp_path) as running:
        for beginning in (
            b"",
            b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nX-Slow: ",
            b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n",
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", running.metrics)
            writer.write(beginning)
            drip = asyncio.create_task(_drip(writer)) if beginning and not beginning.endswith(b"\r\n\r\n") else None
            with suppress(ConnectionResetError):  # what was dripping in when it closed
                await asyncio.wait_for(reader.read(), 20)  # to the end: the other side has closed
            if drip is not None:
                drip.cancel()
            writer.close()


async def _drip(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"x")
        await asyncio.sleep(0.02)


async def test_a_client_that_goes_in_mid_answer_harms_nobody(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with shown(tmp_path, fresh()):
        async with watching(tmp_path) as running:
            for _ in range(30):
                _, writer = await asyncio.open_connection("127.0.0.1", running.metrics)
                writer.write(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n" * 20)
                await writer.drain()
                writer.transport.abort()
            assert (await ask(running.metrics, "/metrics"))[0] == 200
    assert "Traceback" not in capfd.readouterr().err


async def test_nonsense_is_refused(well: Watching) -> None:
    for nonsense in (
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET\r\n\r\n",
        b"\0" * 100_000,
        b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 5000,
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", well.metrics)
        writer.write(nonsense + b"\r\n\r\n")
        try:
            head = await asyncio.wait_for(reader.readline(), 20)
        except ConnectionResetError:
            head = b""
        assert head == b"" or b" 40" in head or b" 431 " in head, head
        writer.close()
    assert (await ask(well.metrics, "/livez"))[0] == 200


# -- how it begins and ends -------------------------------------------------------------------------------


def served(data_dir: Path, *more: str, **environment: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "crypto_quant", "serve", "--log-format", "json", *more]
    variables = {**os.environ, "CRYPTO_QUANT_DATA_DIR": str(data_dir), **environment}
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=variables)


def heard(process: "subprocess.Popen[str]", *words: str) -> str:
    assert process.stderr is not None
    for line in process.stderr:
        if any(word in line for word in words):
            return line
    raise AssertionError(f"it ended without a word of {words}")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_serve_ends_at_once_though_clients_are_connected(tmp_path: Path, number: signal.Signals) -> None:
    port = free_port()
    with served(tmp_path, "--listen", f"{port}", "--metrics-port", "0") as process:
        await asyncio.to_thread(heard, process, "Watching started")
        _, idle = await asyncio.open_connection("127.0.0.1", port)
        _, half = await asyncio.open_connection("127.0.0.1", port)
        half.write(b"GET /metrics HTTP/1.1\r\n")
        await half.drain()
        process.send_signal(number)
        # left to itself the library would wait for them for a minute
        code = await asyncio.to_thread(process.wait, 30)
        idle.close()
        half.close()
        assert code == 0
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()


async def test_an_answer_that_never_ends_does_not_hold_up_the_end() -> None:
    """As the page's stream of events is."""
    asked = asyncio.Event()

    async def forever(_: web.Request) -> web.Response:
        asked.set()
        await asyncio.Event().wait()
        return web.Response()

    application = web.Application()
    application.router.add_get("/", forever)
    bound = listen("127.0.0.1", 0)
    async with asyncio.timeout(20):
        async with service._listening(application, bound):
            _, writer = await asyncio.open_connection(*bound.getsockname())
            writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await asked.wait()
    writer.close()


async def test_a_taken_port_is_a_clear_error(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with served(tmp_path, "--listen", str(port)) as process:
            _, told = await asyncio.to_thread(process.communicate, timeout=30)
    assert process.returncode == 1
    assert f"crypto-quant: the port is taken: 127.0.0.1:{port}." in told
    assert "Traceback" not in told


async def test_beyond_loopback_a_token_is_made_up_and_shown_once(tmp_path: Path) -> None:
    with served(tmp_path, "--listen", "0.0.0.0:0") as process:
        line = await asyncio.to_thread(heard, process, "?token=")
        token = line.strip().partition("?token=")[2]
        assert len(token) >= 32
        port = int(line.partition("?")[0].rstrip("/").rpartition(":")[2])
        assert token not in await asyncio.to_thread(heard, process, "Watching started")
        assert (await ask(port, "/livez"))[0] == 401
        assert (await ask(port, f"/livez?token={token}"))[0] == 303
        process.terminate()
        _, rest = await asyncio.to_thread(process.communicate, timeout=30)
        assert token not in rest


async def test_a_weak_token_is_refused(tmp_path: Path) -> None:
    with served(tmp_path, "--listen", "0", CRYPTO_QUANT_SERVE_TOKEN="1234") as process:
        _, told = await asyncio.to_thread(process.communicate, timeout=30)
    assert process.returncode == 2
    assert "not a token" in told
    assert "1234" not in told


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
async def test_ipv6_loopback(tmp_path: Path) -> None:
    with shown(tmp_path, fresh()):
        async with watching(tmp_path, host="::1") as running:
            assert (await ask(running.page, "/livez", host="::1", named=f"[::1]:{running.page}"))[0] == 200
            assert (await ask(running.page, "/livez", host="::1", named="evil.example"))[0] == 403
