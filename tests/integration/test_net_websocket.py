"""The picows connector against small servers of our own on loopback, frame by frame, on both event loops."""

import asyncio
import base64
import hashlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvloop
from flow_doubles import until

from crypto_quant.errors import CryptoQuantError, LinkLost, Throttled
from crypto_quant.net import websocket as websocket_module
from crypto_quant.net.websocket import PicowsConnector

Run = Callable[[Coroutine[Any, Any, None]], None]
Script = Callable[["Peer"], Awaitable[None]]
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    factory = uvloop.new_event_loop if request.param == "uvloop" else None

    def running(scenario: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(asyncio.wait_for(scenario, 60))

    return running


class Peer:
    """The server's side of one link."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def frame(self, kind: int, payload: bytes, *, fin: bool = True) -> None:
        size = len(payload)
        head = bytes([(0x80 if fin else 0) | kind])
        if size < 126:
            head += bytes([size])
        elif size < 65_536:
            head += bytes([126]) + struct.pack("!H", size)
        else:
            head += bytes([127]) + struct.pack("!Q", size)
        self.writer.write(head + payload)

    async def hear(self) -> tuple[int, bytes]:
        """Return the client's next frame."""
        head = await self.reader.readexactly(2)
        size = head[1] & 0x7F
        if size == 126:
            (size,) = struct.unpack("!H", await self.reader.readexactly(2))
        mask = await self.reader.readexactly(4)
        body = await self.reader.readexactly(size)
        return head[0] & 0x0F, bytes(byte ^ mask[at % 4] for at, byte in enumerate(body))


@asynccontextmanager
async def serving(script: Script, answer: bytes | None = None, delay_s: float = 0.0) -> AsyncIterator[str]:
    """Serve WebSockets that run ``script``, or give every handshake the same HTTP ``answer``, after ``delay_s``."""
    peers: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        peers.add(task)
        try:
            request = await reader.readuntil(b"\r\n\r\n")
            await asyncio.sleep(delay_s)
            if answer is not None:
                writer.write(answer)
                await writer.drain()
                return
            key = next(line[19:] for line in request.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key"))
            digest = hashlib.sha1(key.strip() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()  # noqa: S324
            writer.write(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n\r\n"
            )
            await script(Peer(reader, writer))
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/stream"
    finally:
        server.close()
        for task in peers:
            task.cancel()
        await asyncio.gather(*peers, return_exceptions=True)
        await server.wait_closed()


class Ears:
    """A handler that remembers."""

    def __init__(self) -> None:
        self.texts: list[bytes] = []
        self.pings: list[bytes] = []
        self.ends: list[tuple[int, str]] = []

    def on_texts(self, payloads: Sequence[bytes]) -> None:
        self.texts += payloads

    def on_ping(self, payload: bytes) -> None:
        self.pings.append(payload)

    def on_closed(self, code: int, reason: str) -> None:
        self.ends.append((code, reason))


async def stay(peer: Peer) -> None:
    """Do nothing until the client goes."""
    while await peer.reader.read(1000):
        pass


def test_texts_arrive_whole_and_in_order_from_the_first_byte(run: Run) -> None:
    async def talk(peer: Peer) -> None:
        # at once after the handshake, in one piece
        for number in range(200):
            peer.frame(TEXT, b"%d" % number)
        peer.frame(TEXT, "币安人生".encode() * 50_000)
        peer.frame(TEXT, b"")
        await stay(peer)

    async def scenario() -> None:
        ears = Ears()
        async with serving(talk) as url:
            link = await PicowsConnector().connect(url, ears)
            await until(lambda: len(ears.texts) == 202)
            link.abort()
            await until(lambda: ears.ends)
        assert ears.texts[:200] == [b"%d" % number for number in range(200)]
        assert ears.texts[200].decode() == "币安人生" * 50_000
        assert ears.texts[201] == b""

    run(scenario())


def test_fragments_are_joined_and_control_frames_may_come_between(run: Run) -> None:
    async def talk(peer: Peer) -> None:
        peer.frame(TEXT, b'{"a":', fin=False)
        peer.frame(PING, b"between")
        peer.frame(0, b"", fin=False)
        peer.frame(0, b"1}")
        for _ in range(20_000):
            peer.frame(0 if _ else TEXT, b"x", fin=False)
        peer.frame(0, b"y")
        peer.frame(TEXT, b"next")
        await stay(peer)

    async def scenario() -> None:
        ears = Ears()
        async with serving(talk) as url:
            link = await PicowsConnector().connect(url, ears)
            await until(lambda: len(ears.texts) == 3)
            assert ears.texts == [b'{"a":1}', b"x" * 20_000 + b"y", b"next"]
            assert ears.pings == [b"between"]
            link.abort()

    run(scenario())


def test_binary_is_handed_on_for_the_decoder_to_judge(run: Run) -> None:
    async def talk(peer: Peer) -> None:
        peer.frame(BINARY, b"\x00\x01")
        await stay(peer)

    async def scenario() -> None:
        ears = Ears()
        async with serving(talk) as url:
            link = await PicowsConnector().connect(url, ears)
            await until(lambda: ears.texts == [b"\x00\x01"])
            link.abort()

    run(scenario())


def test_a_pong_carries_the_pings_own_payload_and_is_sent_once(run: Run) -> None:
    heard: list[tuple[int, bytes]] = []

    async def talk(peer: Peer) -> None:
        peer.frame(PING, b"1790856000000")
        peer.frame(PING, b"")
        for _ in range(3):
            heard.append(await peer.hear())  # noqa: PERF401  # they come one by one

    async def scenario() -> None:
        ears = Ears()
        async with serving(talk) as url:
            link = await PicowsConnector().connect(url, ears)
            await until(lambda: len(ears.pings) == 2)
            for payload in ears.pings:
                link.pong(payload)
            link.send(b'{"method":"SUBSCRIBE"}')
            await until(lambda: len(heard) == 3)
            link.abort()
        # nothing but what we sent: picows neither pings nor pongs by itself
        assert heard == [(PONG, b"1790856000000"), (PONG, b""), (TEXT, b'{"method":"SUBSCRIBE"}')]

    run(scenario())


@pytest.mark.parametrize(("payload", "code", "reason"), [
    (struct.pack("!H", 1000), 1000, ""),
    (struct.pack("!H", 1008) + b"Pong timeout", 1008, "Pong timeout"),
    (struct.pack("!H", 4321) + "zu früh".encode(), 4321, "zu früh"),
    (struct.pack("!H", 1001) + b"\xff", 1006, ""),  # a goodbye that is no UTF-8 is a broken link
    (b"", 1005, ""),
])  # fmt: skip
def test_the_peers_goodbye_is_told_with_its_code_and_answered(run: Run, payload: bytes, code: int, reason: str) -> None:
    answered: list[int] = []

    async def talk(peer: Peer) -> None:
        peer.frame(TEXT, b"last")
        peer.frame(CLOSE, payload)
        answered.append((await peer.hear())[0])

    async def scenario() -> None:
        ears = Ears()
        async with serving(talk) as url:
            await PicowsConnector().connect(url, ears)
            await until(lambda: ears.ends and answered)
        assert ears.texts == [b"last"]
        assert ears.ends == [(code, reason)]
        assert answered == [CLOSE]

    run(scenario())


def test_our_goodbye_is_sent_and_its_answer_ends_the_link(run: Run) -> None:
    heard: list[tuple[int, bytes]] = []

    async def talk(peer: Peer) -> None:
        heard.append(await peer.hear())
        peer.frame(CLOSE, heard[0][1])

    async def scenario() -> None:
        ears = Ears()
        async with serving(talk) as url:
            link = await PicowsConnector().connect(url, ears)
            link.close()
            await until(lambda: ears.ends)
        assert heard[0] == (CLOSE, struct.pack("!H", 1000))
        assert ears.ends == [(1000, "")]

    run(scenario())


@pytest.mark.parametrize("graceless", ["eof", "reset"])
def test_an_end_without_goodbye_is_1006(run: Run, graceless: str) -> None:
    async def talk(peer: Peer) -> None:
        peer.frame(TEXT, b"x")
        await peer.writer.drain()
        if graceless == "reset":
            sock = peer.writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    async def scenario() -> None:
        ears = Ears()
        async with serving(talk) as url:
            await PicowsConnector().connect(url, ears)
            await until(lambda: ears.ends)
        assert ears.ends == [(1006, "")]

    run(scenario())


def test_after_the_end_every_call_does_nothing(run: Run) -> None:
    async def talk(peer: Peer) -> None:
        await peer.hear()

    async def scenario() -> None:
        ears = Ears()
        async with serving(talk) as url:
            link = await PicowsConnector().connect(url, ears)
            link.abort()
            for _ in range(3):  # in the same turn, in the next ones, and long after
                link.send(b"x")
                link.pong(b"x")
                link.pause_reading()
                link.resume_reading()
                link.close()
                link.abort()
                await asyncio.sleep(0.01)
            assert len(ears.ends) == 1

    run(scenario())


def test_pausing_stops_delivery_and_resuming_loses_nothing(run: Run) -> None:
    sent = 0

    async def talk(peer: Peer) -> None:
        nonlocal sent
        for number in range(3000):
            peer.frame(TEXT, b"%d " % number + b"x" * 5000)
            await peer.writer.drain()
            sent += 1
        await stay(peer)

    async def scenario() -> None:
        ears = Ears()
        async with serving(talk) as url:
            link = await PicowsConnector().connect(url, ears)
            await until(lambda: ears.texts)
            link.pause_reading()
            received, stalled = len(ears.texts), -1
            while sent != stalled:  # what the sockets hold is soon full
                stalled = sent
                await asyncio.sleep(0.2)
            assert len(ears.texts) == received  # nothing is delivered,
            assert sent < 3000  # and the sender feels it
            link.resume_reading()
            await until(lambda: len(ears.texts) == 3000)
            link.abort()
        assert [int(text.split()[0]) for text in ears.texts] == list(range(3000))

    run(scenario())


def test_a_flood_leaves_everything_else_its_turn(run: Run) -> None:
    messages, kilobyte = 20_000, b"x" * 1000

    async def talk(peer: Peer) -> None:
        for number in range(messages):
            peer.frame(TEXT, b"%d " % number + kilobyte)
        await stay(peer)

    class Counting(Ears):
        def __init__(self) -> None:
            super().__init__()
            self.together: list[tuple[int, int]] = []  # the turn of the event loop, and how many messages came in it
            self.turn = 0

        def on_texts(self, payloads: Sequence[bytes]) -> None:
            super().on_texts(payloads)
            self.together.append((self.turn, len(payloads)))

    async def scenario() -> None:
        ears = Counting()
        async with serving(talk) as url:
            link = await PicowsConnector().connect(url, ears)
            while len(ears.texts) < messages:
                ears.turn += 1
                await asyncio.sleep(0)
            link.abort()
        assert [int(text.split()[0]) for text in ears.texts] == list(range(messages))
        turns = [turn for turn, _ in ears.together]
        assert len(set(turns)) == len(turns) >= messages / websocket_module._TOGETHER
        assert max(count for _, count in ears.together) == websocket_module._TOGETHER

    run(scenario())


@pytest.mark.skipif(not hasattr(socket, "TCP_WINDOW_CLAMP"), reason="Linux alone has it")
def test_what_the_system_takes_in_unread_is_bounded(run: Run) -> None:
    taken = 0

    async def talk(peer: Peer) -> None:
        nonlocal taken
        for _ in range(1000):
            peer.frame(TEXT, b"x" * 60_000)
            await peer.writer.drain()
            taken += 60_000
        await stay(peer)

    async def scenario() -> None:
        async with serving(talk) as url:
            link = await PicowsConnector().connect(url, Ears())
            link.pause_reading()
            stalled = -1
            while taken != stalled:
                stalled = taken
                await asyncio.sleep(0.2)
            # beside what waits on the sender's side: its own buffer, by default up to 4 MiB
            assert taken < websocket_module._WINDOW_BYTES + 6 * 1024 * 1024
            link.abort()

    run(scenario())


def test_a_message_that_grows_without_end_ends_the_link(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket_module, "_MAX_FRAME", 10_000)

    async def talk(peer: Peer) -> None:
        peer.frame(TEXT, b"x" * 4000, fin=False)
        for _ in range(5):
            peer.frame(0, b"x" * 4000, fin=False)
        await stay(peer)

    async def scenario() -> None:
        ears = Ears()
        async with serving(talk) as url:
            await PicowsConnector().connect(url, ears)
            await until(lambda: ears.ends)
        assert ears.ends == [(1006, "message too large")]
        assert ears.texts == []

    run(scenario())


@pytest.mark.parametrize("garbage", [b"\xff" * 100, b"HTTP/1.1 200 OK\r\n\r\n", b"\x83\x00" * 20])
def test_bytes_that_are_no_frames_end_the_link(run: Run, garbage: bytes) -> None:
    async def talk(peer: Peer) -> None:
        peer.writer.write(garbage)
        await stay(peer)

    async def scenario() -> None:
        ears = Ears()
        async with serving(talk) as url:
            await PicowsConnector().connect(url, ears)
            await until(lambda: ears.ends, within_s=30)
        assert len(ears.ends) == 1

    run(scenario())


# -- no link at all ---------------------------------------------------------------------------------------


def status(code: int, *headers: str, body: bytes = b"") -> bytes:
    lines = [f"HTTP/1.1 {code} X", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


@pytest.mark.parametrize(("answer", "kind", "says"), [
    (status(429, "Retry-After: 7"), Throttled, "HTTP 429"),
    (status(418, "Retry-After: 3600"), Throttled, "HTTP 418"),
    (status(429), Throttled, "HTTP 429"),
    (status(429, "Retry-After: Wed, 21 Oct 2026 07:28:00 GMT"), Throttled, "HTTP 429"),
    (status(429, "Retry-After: ²"), Throttled, "HTTP 429"),
    (status(429, f"Retry-After: {'9' * 400}"), Throttled, "HTTP 429"),
    (status(451), LinkLost, "Restricted location"),
    (status(404, body=b"not here"), LinkLost, "HTTP 404"),
    (status(500), LinkLost, "HTTP 500"),
    (status(200, body=b"hello"), LinkLost, "HTTP 200"),
    (b"garbage\r\n\r\n", LinkLost, ""),
    (b"", LinkLost, ""),
])  # fmt: skip
def test_a_handshake_that_is_refused_says_how(run: Run, answer: bytes, kind: type[CryptoQuantError], says: str) -> None:
    async def scenario() -> None:
        async with serving(stay, answer) as url:
            with pytest.raises(kind) as caught:
                await PicowsConnector(handshake_timeout_s=1).connect(url, Ears())
        assert says in str(caught.value)
        assert "127.0.0.1" in str(caught.value)
        if isinstance(caught.value, Throttled):
            wanted = {b"Retry-After: 7": 7.0, b"Retry-After: 3600": 3600.0, b"9" * 400: 3 * 86_400.0}
            expected = [seconds for header, seconds in wanted.items() if header + b"\r" in answer] or [60.0]
            assert caught.value.retry_after_s == expected[0]

    run(scenario())


def test_a_handshake_that_is_not_answered_is_given_up(run: Run) -> None:
    async def scenario() -> None:
        async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()

        server = await asyncio.start_server(silent, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(LinkLost):
            await PicowsConnector(handshake_timeout_s=0.1).connect(f"ws://127.0.0.1:{port}", Ears())
        server.close()
        await server.wait_closed()

    run(scenario())


def closed_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "no-such-host.invalid", "a" * 70 + ".invalid", "a..b"])
def test_a_host_that_is_not_there_is_a_lost_link(run: Run, host: str) -> None:
    async def scenario() -> None:
        with pytest.raises(LinkLost) as caught:
            await PicowsConnector().connect(f"ws://{host.format(port=closed_port())}/stream", Ears())
        assert "ws://" in str(caught.value)

    run(scenario())


def test_a_lost_link_is_told_without_the_urls_password(run: Run) -> None:
    async def scenario() -> None:
        with pytest.raises(LinkLost) as caught:
            await PicowsConnector().connect(f"ws://me:secret@127.0.0.1:{closed_port()}/stream", Ears())
        assert "ws://me:***@127.0.0.1" in str(caught.value)
        assert "secret" not in str(caught.value)

    run(scenario())


def test_tls_with_a_server_that_does_not_speak_it_is_a_lost_link(run: Run) -> None:
    async def scenario() -> None:
        async with serving(stay, status(400)) as url:
            with pytest.raises(LinkLost):
                await PicowsConnector(0.2, ssl.create_default_context()).connect(url.replace("ws:", "wss:"), Ears())

    run(scenario())


def test_a_cancelled_handshake_is_dropped_with_its_timeout_and_never_heard(run: Run) -> None:
    async def scenario() -> None:
        gone = asyncio.Event()
        ears = Ears()

        async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()
            gone.set()

        server = await asyncio.start_server(silent, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        connector = PicowsConnector(handshake_timeout_s=0.2)
        task = asyncio.create_task(connector.connect(f"ws://127.0.0.1:{port}", ears))
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled()
        await asyncio.wait_for(gone.wait(), 30)  # the server sees the end of the connection
        assert ears.ends == []
        server.close()
        await server.wait_closed()

    run(scenario())


def test_a_handshake_that_completes_after_its_cancelling_is_dropped_unheard(run: Run) -> None:
    async def talk(peer: Peer) -> None:
        for _ in range(50):
            peer.frame(TEXT, b"late")
        await stay(peer)

    async def scenario() -> None:
        ears = Ears()
        dropped = asyncio.Event()

        async def late(peer: Peer) -> None:
            try:
                await talk(peer)
            finally:
                dropped.set()

        async with serving(late, delay_s=0.1) as url:
            task = asyncio.create_task(PicowsConnector().connect(url, ears))
            await asyncio.sleep(0.05)
            task.cancel()
            await asyncio.wait({task})
            await asyncio.wait_for(dropped.wait(), 30)
        assert (ears.texts, ears.ends) == ([], [])

    run(scenario())
