"""A forward proxy on loopback: CONNECT and absolute URLs, each host led to a port of this machine, all of it noted."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from ssl import SSLContext
from urllib.parse import urlsplit


class ForwardProxy:
    """``asked`` are the request lines' methods and targets, ``heads`` all that came with them."""

    def __init__(self, lead_to: int, credentials: str | None, refuse: bytes | None) -> None:
        self.lead_to = lead_to
        self.port = 0
        self.asked: list[tuple[str, str]] = []
        self.heads: list[str] = []
        self._wanted = credentials and f"Basic {base64.b64encode(credentials.encode()).decode()}"
        self._refuse = refuse
        self._writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        with suppress(asyncio.IncompleteReadError, OSError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            method, target, _ = head.split(" ", 2)
            self.asked.append((method, target))
            self.heads.append(head)
            if self._refuse is not None or (self._wanted and f"Proxy-Authorization: {self._wanted}\r\n" not in head):
                writer.write(self._refuse or b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n")
                await writer.drain()
                return
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.lead_to)
            self._writers.append(far_writer)
            if method == "CONNECT":
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                parts = urlsplit(target)
                path = f"{parts.path}?{parts.query}" if parts.query else parts.path
                # one request a connection, for the next may be for another host
                far_writer.write(head.replace(target, path, 1).replace("\r\n", "\r\nConnection: close\r\n", 1).encode())
            await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))
        writer.close()

    def close(self) -> None:
        for writer in self._writers:
            writer.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


@asynccontextmanager
async def forwarding(
    lead_to: int, *, credentials: str | None = None, refuse: bytes | None = None, tls: SSLContext | None = None
) -> AsyncIterator[ForwardProxy]:
    """Lend a proxy that leads every host to the port ``lead_to``.

    It wants ``credentials`` (name:password) where given, or gives everybody the answer ``refuse``; with ``tls`` it
    speaks TLS itself.
    """
    proxy = ForwardProxy(lead_to, credentials, refuse)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0, ssl=tls)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        proxy.close()
        server.close()
