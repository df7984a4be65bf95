"""Tables land in the schema that the URL asks for, or nowhere."""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import asyncpg
import pytest

from crypto_quant.errors import ConfigError
from crypto_quant.store.timescale import connect, open_sink


async def schemas(url: str) -> list[str]:
    """Return the schemas in which there is a table trades."""
    connection = await asyncpg.connect(url)
    try:
        rows = await connection.fetch("SELECT schemaname::text FROM pg_tables WHERE tablename = 'trades' ORDER BY 1")
        return [row[0] for row in rows]
    finally:
        await connection.close()


@asynccontextmanager
async def forgetful_proxy(url: str) -> AsyncIterator[str]:
    """Lend the URL of a proxy that ignores the startup parameter search_path, as a pgbouncer that was told to."""
    parts = urlsplit(url)

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            (size,) = struct.unpack("!I", await reader.readexactly(4))
            body = await reader.readexactly(size - 4)
            if struct.unpack("!I", body[:4])[0] != 80877103:  # a request for TLS
                break
            writer.write(b"N")
        words = body[4:].split(b"\0")
        pairs = [(name, value) for name, value in zip(words[::2], words[1::2], strict=False) if name]
        kept = b"".join(name + b"\0" + value + b"\0" for name, value in pairs if name != b"search_path")
        theirs, ours = await asyncio.open_connection(parts.hostname, parts.port)
        body = body[:4] + kept + b"\0"
        ours.write(struct.pack("!I", len(body) + 4) + body)
        await asyncio.gather(pipe(reader, ours), pipe(theirs, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield parts._replace(netloc=f"{parts.username}:{parts.password}@127.0.0.1:{port}").geturl()
    finally:
        server.close()


@pytest.mark.parametrize("query", ["search_path=market", "options=-csearch_path%3Dmarket", "search_path=market,public"])
async def test_the_schema_of_the_url(database_url: str, query: str) -> None:
    with pytest.raises(
        ConfigError, match=r"the schema market of the database URL's search_path does not exist.*CREATE"
    ):
        await open_sink(f"{database_url}?{query}")
    assert await schemas(database_url) == []
    connection = await asyncpg.connect(database_url)
    await connection.execute("CREATE SCHEMA market")
    await connection.close()
    await (await open_sink(f"{database_url}?{query}")).close()
    assert await schemas(database_url) == ["market"]


async def test_a_pooler_that_keeps_the_search_path_is_found_out(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    await connection.execute("CREATE SCHEMA market")
    await connection.close()
    async with forgetful_proxy(database_url) as through:
        with pytest.raises(ConfigError, match=r"asks for search_path market, and the session has .*public.*ALTER ROLE"):
            await open_sink(f"{through}?search_path=market")
        assert await schemas(database_url) == []
        # without it in the URL nothing is asked for, and nothing refused
        connection = await connect(through)
        connection.terminate()
