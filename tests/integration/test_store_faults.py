"""What goes wrong between recorder and database, on real ones: each fault has its class and says what to do."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from crypto_quant.errors import ConfigError, StoreDenied, StoreRejected, StoreUnavailable
from crypto_quant.seams import Batch, Receipt, Table
from crypto_quant.store import timescale
from crypto_quant.store.timescale import TimescaleSink, open_sink


def trades(first: int, last: int) -> Batch:
    row = "2024-08-08 12:00:00+00\tspot\tbtcusdt\t{}\t1\t1\t1\t1\tt\t\\N\n"
    return Batch(Table.TRADES, [row.format(number).encode() for number in range(first, last + 1)])


def changed(url: str, *, user: str | None = None, path: str | None = None, port: int | None = None) -> str:
    parts = urlsplit(url)
    account = user or parts.netloc.rpartition("@")[0]
    return urlunsplit(
        parts._replace(netloc=f"{account}@{parts.hostname}:{port or parts.port}", path=path or parts.path)
    )


@pytest.fixture
async def admin(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@asynccontextmanager
async def opened(url: str, **settings: object) -> AsyncIterator[TimescaleSink]:
    sink = await open_sink(url, **settings)  # type: ignore[arg-type]
    try:
        yield sink
    finally:
        await sink.close()


async def end_sessions(admin: asyncpg.Connection) -> int:
    return len(
        await admin.fetch(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'crypto-quant' AND datname = current_database()"
        )
    )


async def until_waiting(admin: asyncpg.Connection) -> None:
    """Return once a session of the sink waits for a lock."""
    for _ in range(500):
        if await admin.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'crypto-quant'"
            " AND datname = current_database() AND wait_event_type = 'Lock'"
        ):
            return
        await asyncio.sleep(0.01)
    pytest.fail("the sink never waited")


async def test_a_wrong_password(database_url: str) -> None:
    with pytest.raises(StoreDenied, match=r"password authentication failed.*Check user and password") as caught:
        await open_sink(changed(database_url, user="postgres:not-the-password"))
    assert "not-the-password" not in str(caught.value)


async def test_an_unknown_user(database_url: str) -> None:
    with pytest.raises(StoreDenied, match="Check user and password"):
        await open_sink(changed(database_url, user="nobody_of_that_name:x"))


async def test_a_missing_database(database_url: str) -> None:
    with pytest.raises(StoreDenied, match=r"does not exist.*createdb"):
        await open_sink(changed(database_url, path="/no_such_database"))


async def test_a_server_that_is_down() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: nobody else can answer there
        with pytest.raises(StoreUnavailable, match="Is the database running") as caught:
            await open_sink(f"postgresql://u:secret@127.0.0.1:{taken.getsockname()[1]}/x")
    assert "secret" not in str(caught.value)


async def test_a_host_that_does_not_exist() -> None:
    with pytest.raises(StoreUnavailable, match="Is the database running"):
        await open_sink("postgresql://u:p@no-such-host.invalid/x")


async def test_a_server_that_is_no_database() -> None:
    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(StoreUnavailable, match="connecting failed"):
        await open_sink(f"postgresql://u:p@127.0.0.1:{port}/x?sslmode=disable")
    server.close()
    await server.wait_closed()


async def test_a_setting_that_no_server_knows(database_url: str) -> None:
    with pytest.raises(ConfigError, match=r"conect_timeout.*Check what follows the '\?'"):
        await open_sink(f"{database_url}?conect_timeout=5")


async def test_a_session_that_is_ended_in_mid_write(database_url: str, admin: asyncpg.Connection) -> None:
    async with opened(database_url) as sink:
        async with admin.transaction():
            await admin.execute("LOCK TABLE trades IN ACCESS EXCLUSIVE MODE")
            write = asyncio.create_task(sink.write(trades(1, 100)))
            await until_waiting(admin)
            assert await end_sessions(admin) >= 1
            with pytest.raises(StoreUnavailable):
                await write
        assert await admin.fetchval("SELECT count(*) FROM trades") == 0
        assert await sink.write(trades(1, 100)) == Receipt(written=100, duplicates=0)


async def test_idle_sessions_that_were_ended_are_replaced(database_url: str, admin: asyncpg.Connection) -> None:
    async with opened(database_url) as sink:
        await asyncio.gather(*(sink.write(trades(i, i)) for i in range(8)))
        assert await end_sessions(admin) >= 1
        for _ in range(10):  # one write may still meet a dead connection; then it is told and another comes
            try:
                await sink.write(trades(100, 200))
            except StoreUnavailable:
                continue
            break
        assert await admin.fetchval("SELECT count(*) FROM trades WHERE trade_id >= 100") == 101


async def test_a_write_that_takes_too_long(database_url: str, admin: asyncpg.Connection) -> None:
    await (await open_sink(database_url)).close()  # the schema takes as long as it takes
    async with opened(database_url, command_timeout_s=2.0, pool_size=1) as sink:
        async with admin.transaction():
            await admin.execute("LOCK TABLE trades IN ACCESS EXCLUSIVE MODE")
            # the second waits for the only connection
            results = await asyncio.gather(
                sink.write(trades(1, 10)), sink.write(trades(11, 20)), return_exceptions=True
            )
        assert [type(result) for result in results] == [StoreUnavailable] * 2, results
        assert await sink.write(trades(1, 20)) == Receipt(written=20, duplicates=0)
        assert sink.pool_use().busy == 0


async def test_a_write_cancelled_while_it_waits(database_url: str, admin: asyncpg.Connection) -> None:
    async with opened(database_url, pool_size=1) as sink:
        async with admin.transaction():
            await admin.execute("LOCK TABLE trades IN ACCESS EXCLUSIVE MODE")
            write = asyncio.create_task(sink.write(trades(1, 10)))
            await until_waiting(admin)
            write.cancel()
            with pytest.raises(asyncio.CancelledError):
                await write
        assert await admin.fetchval("SELECT count(*) FROM trades") == 0
        assert await sink.write(trades(1, 10)) == Receipt(written=10, duplicates=0)


async def test_a_read_only_database(database_url: str, admin: asyncpg.Connection) -> None:
    async with opened(database_url) as sink:
        await sink.write(trades(1, 1))
        await admin.execute(
            f'ALTER DATABASE "{urlsplit(database_url).path[1:]}" SET default_transaction_read_only = on'
        )
        await end_sessions(admin)
        await asyncio.sleep(0.05)
        with pytest.raises(StoreUnavailable, match="read-only"):
            await sink.write(trades(2, 2))


async def test_a_server_without_a_free_connection(database_url: str, admin: asyncpg.Connection) -> None:
    role = urlsplit(database_url).path[1:] + "_limited"
    await admin.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'pw' CONNECTION LIMIT 0")
    try:
        with pytest.raises(StoreUnavailable, match="no connection left"):
            await open_sink(changed(database_url, user=f"{role}:pw"))
    finally:
        await admin.execute(f"DROP ROLE {role}")


async def test_a_table_that_was_dropped(database_url: str, admin: asyncpg.Connection) -> None:
    async with opened(database_url) as sink:
        await sink.write(trades(1, 1))
        await admin.execute("DROP TABLE trades")
        with pytest.raises(StoreUnavailable, match="restore it under its name"):
            await sink.write(trades(2, 2))
        # the other table is unharmed
        row = b"2024-08-08 12:00:00+00\tspot\tbtcusdt\t5m\t1\t1\t1\t1\t1" + b"\t\\N" * 6 + b"\n"
        assert await sink.write(Batch(Table.CANDLES, [row])) == Receipt(written=1, duplicates=0)


async def test_a_row_that_would_end_the_copy_loses_no_neighbour(database_url: str) -> None:
    batch = trades(1, 3)
    rows = [batch.rows[0], b"\\.\n", *batch.rows[1:]]
    async with opened(database_url) as sink:
        with pytest.raises(StoreRejected):
            await sink.write(Batch(Table.TRADES, rows))
        for row in rows:  # as the writer's bisection ends
            try:
                await sink.write(Batch(Table.TRADES, [row]))
            except StoreRejected:
                assert row == b"\\.\n"
        async with sink.reading() as connection:
            assert await connection.fetchval("SELECT count(*) FROM trades") == 3


async def test_after_a_replay_new_rows_are_copied_straight_again(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ways: list[str] = []
    staged = timescale.store_staged

    async def noting(*args: object) -> Receipt:
        ways.append("staged")
        return await staged(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(timescale, "store_staged", noting)
    async with opened(database_url) as sink:
        await sink.write(trades(1, 10))
        assert ways == []
        for _ in range(3):
            await sink.write(trades(1, 10))
        assert len(ways) == 3
        await sink.write(trades(11, 20))  # still careful, and finds nothing repeated
        assert len(ways) == 4
        await sink.write(trades(21, 30))
        assert len(ways) == 4


async def test_a_deadlock_is_resolved_within_the_write(database_url: str, admin: asyncpg.Connection) -> None:
    async with opened(database_url) as sink:
        await sink.write(trades(0, 0))  # the partition or chunk exists
        insert = (
            "INSERT INTO trades (time, symbol, trade_id, price, quantity, first_trade_id, last_trade_id,"
            " is_buyer_maker) VALUES ('2024-08-08 12:00:00+00', 'btcusdt', $1, 1, 1, 1, 1, true)"
        )
        async with admin.transaction():
            await admin.execute("SET LOCAL deadlock_timeout = '1h'")  # so that the sink is the one to give way
            await admin.execute(insert, 2)
            write = asyncio.create_task(sink.write(trades(1, 2)))
            await until_waiting(admin)
            await admin.execute(insert, 1)
        assert await write == Receipt(written=0, duplicates=2)


async def test_a_constraint_of_the_user_refuses_a_row(database_url: str, admin: asyncpg.Connection) -> None:
    async with opened(database_url) as sink:
        await admin.execute("ALTER TABLE trades ADD CONSTRAINT mine CHECK (trade_id < 100)")
        with pytest.raises(StoreRejected, match="mine"):
            await sink.write(trades(99, 101))
        assert await sink.write(trades(98, 99)) == Receipt(written=2, duplicates=0)


async def test_closing_cuts_off_a_write_that_hangs(
    database_url: str, admin: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timescale, "CLOSE_TIMEOUT_S", 0.2)
    async with opened(database_url) as sink, admin.transaction():
        await admin.execute("LOCK TABLE trades IN ACCESS EXCLUSIVE MODE")
        write = asyncio.create_task(sink.write(trades(1, 10)))
        await until_waiting(admin)
        async with asyncio.timeout(60):
            await sink.close()
            with pytest.raises(StoreUnavailable):
                await write
    # the server has the rows by then, and may store them when the lock is gone: all or none, and never twice
    async with opened(database_url) as sink:
        again = await sink.write(trades(1, 10))
        assert again.written in {0, 10}
        assert again.written + again.duplicates == 10
    assert await admin.fetchval("SELECT count(*) FROM trades") == 10
