"""Confirmed commits that are gone: a standby takes over without them, or the server forgets them in a crash.

The servers are the test's own, so that one can be lost for good.
"""

import socket
from pathlib import Path

import asyncpg
import pytest
from own_servers import own_server, standby_of
from programs import assert_nothing_lost, market, program

from crypto_quant.errors import StoreUnavailable
from crypto_quant.store import timescale


async def test_a_failover_that_loses_commits(tmp_path: Path) -> None:
    """Replication stands still for seconds, then the primary is lost: what it had confirmed is fetched again."""
    async with own_server() as primary, standby_of(primary) as standby, market(1500) as exchange:
        path = primary.url.rpartition("/")[2]
        login = primary.url.rpartition("@")[0]
        both = f"{login}@{primary.address},{standby.address}/{path}"
        async with program(both, exchange, tmp_path) as run:
            await run.until(lambda: run.stats["trades_written"] > 1000)
            await standby.sql("ALTER SYSTEM SET primary_conninfo = ''", "SELECT pg_reload_conf()")
            before = run.stats["trades_written"]
            await run.until(lambda: run.stats["trades_written"] > before + 2000)
            await primary.halt("immediate")
            await run.until(lambda: run.stats["spooled_rows"] > 500)
            await standby.promote()
            await run.until(lambda: run.of("Stored trades are gone"))
            final = await assert_nothing_lost(standby.url, exchange, run, tmp_path)
        lost = sum(line["trades"] for line in run.of("Stored trades are gone"))
        assert lost > 1500
        assert final["trades_backfilled"] >= lost
        assert run.of("Stored candles are gone")


async def test_a_crash_that_forgets_what_was_confirmed(tmp_path: Path) -> None:
    """With ``synchronous_commit`` off a crash takes the last commits, though it is the same server that comes back."""
    lazy = {"wal_writer_delay": "10s", "wal_writer_flush_after": "16MB", "wal_buffers": "16MB"}
    async with (
        own_server(**lazy) as server,
        market(1500) as exchange,
        program(server.url, exchange, tmp_path) as run,
    ):
        # not before: the tables themselves would be forgotten
        await server.sql("ALTER SYSTEM SET synchronous_commit = off", "SELECT pg_reload_conf()")
        before = run.stats["trades_written"]
        await run.until(lambda: run.stats["trades_written"] > before + 1500)
        await server.halt("immediate")
        await server.launch()
        await run.until(lambda: run.of("Stored trades are gone"))
        await assert_nothing_lost(server.url, exchange, run, tmp_path)


async def test_a_primary_that_answers_nothing_does_not_keep_the_standby_from_being_asked(
    timescale_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that is off, or cut off: the connection is taken (here by the kernel), and no word comes."""
    monkeypatch.setattr(timescale, "CONNECT_TIMEOUT_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        login, _, place = timescale_url.rpartition("@")
        both = f"{login}@127.0.0.1:{silent.getsockname()[1]},{place}"
        connection = await timescale.connect(both)
        try:
            assert await connection.fetchval("SHOW transaction_read_only") == "off"
        finally:
            await connection.close()


@pytest.mark.parametrize("named", ["target_session_attrs=any", "target_session_attrs=primary", ""])
async def test_a_database_that_only_reads_is_passed_over(timescale_url: str, named: str) -> None:
    setting = "ALTER DATABASE {} SET default_transaction_read_only = on"
    name = timescale_url.rpartition("/")[2]
    connection = await asyncpg.connect(timescale_url)
    await connection.execute(setting.format(name))
    await connection.close()
    login, _, place = timescale_url.rpartition("@")
    both = f"{login}@{place.replace('/', ',')}".replace(f",{name}", f",{place}") + f"?{named}"
    if named:  # whoever says which kind is wanted gets it
        connection = await timescale.connect(both)
        await connection.close()
    else:
        with pytest.raises(StoreUnavailable, match="not the kind of server that is wanted"):
            await timescale.connect(both)
