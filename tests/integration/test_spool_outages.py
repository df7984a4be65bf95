"""Outages of a real database under load: nothing lost, nothing twice, memory flat, and the spool empty afterwards.

Most of them stop and start the server itself: it is the test's own.
"""

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import asyncpg
import pytest
from own_servers import OwnServer, own_server
from programs import SYMBOLS, assert_all_stored, market, program
from recording import assert_candles_equal, assert_trades_equal, recording

from crypto_quant import events
from crypto_quant.spoolformat import decode, scan
from crypto_quant.store.as_text import trades_as_text


@pytest.fixture
async def server() -> AsyncIterator[OwnServer]:
    """A server that a test may stop."""
    async with own_server() as lent:
        yield lent


@pytest.fixture
def url(server: OwnServer) -> str:
    """The empty database on the server that a test may stop."""
    return server.url


def spooled(data_dir: Path) -> list[bytes]:
    """Return the rows of trades that lie in the spools below ``data_dir``, as a reader after a crash finds them."""
    rows = []
    for path in sorted((data_dir / "spool").glob("*/*.spool")):
        data = path.read_bytes()
        rows += [row for each in scan(data)[0] for row in decode(data, each).rows if each.table == "trades"]
    return rows


# -- the server goes ---------------------------------------------------------------------------------------


async def test_a_crash_of_the_server_under_load(server: OwnServer, url: str, tmp_path: Path) -> None:
    async with market(2000) as exchange, recording(
        url, exchange.ws_url, exchange.rest_url, tmp_path, symbols=SYMBOLS, streams=("aggTrade", "kline_1s")
    ) as run:  # fmt: skip
        await run.until(lambda: run.stats.trades_written > 1000)
        await server.halt("immediate")
        await server.launch()
        await server.halt("immediate")
        await run.until(lambda: run.told.of(events.StoreLost))
        await run.until(lambda: run.stats.spooled_rows > 1000)
        await server.launch()
        await run.until(lambda: run.told.of(events.SpoolReplayed))
        await run.until(lambda: run.told.of(events.StoreBack))
        seen = run.stats.trades_written
        await run.until(lambda: run.stats.trades_written > seen + 1000)
        final = await run.stop()
        assert final["pending_trades"] == final["pending_candles"] == final["trades_set_aside"] == 0
        assert final["spool_bytes"] == final["spool_records"] == 0
        assert final["replayed_rows"] == final["spooled_rows"] > 1000
        # a commit whose answer was lost is a duplicate of ourselves
        assert final["trades_written"] + final["trades_duplicate"] == final["trades_received"]
        assert await assert_all_stored(url, exchange) == final["trades_received"]
        for symbol in SYMBOLS:
            assert await assert_candles_equal(url, exchange, symbol, "1s")


async def test_memory_stays_flat_while_the_database_is_away(server: OwnServer, url: str, tmp_path: Path) -> None:
    """Some twenty seconds at 2,000 trades a second: all of it on disk, none in memory, and stored in the end."""
    # of two fills of one order the exchange makes one aggregate trade: this many print some 2,000 a second
    async with market(3400) as exchange, program(url, exchange, tmp_path) as run:
        await asyncio.sleep(1.0)
        await server.halt()
        await run.until(lambda: run.stats["spooled_rows"] > 2000)
        before_mb = run.memory_mb
        since = len(run.lines)
        await run.until(lambda: run.stats["spooled_rows"] > 25_000)
        grown_mb = run.memory_mb - before_mb
        assert grown_mb < 10
        assert run.memory_mb < 200
        # a line now and then, not one for every try
        assert len([line for line in run.lines[since:] if line["event"] == "Store unavailable"]) <= 8
        assert run.stats["pending_trades"] > 25_000
        await server.launch()
        await run.until(lambda: run.of("Spool replayed"))
        assert await run.end() == 0
        final = run.lines[-1]
        assert final["event"] == "Final statistics"
        assert final["pending_trades"] == 0
        assert final["trades_written"] + final["trades_duplicate"] == final["trades_received"]
        assert await assert_all_stored(url, exchange) == final["trades_received"]


async def test_a_recorder_that_is_killed_during_the_outage_loses_nothing_that_was_spooled(
    server: OwnServer, url: str, tmp_path: Path
) -> None:
    async with market(2000) as exchange:
        async with program(url, exchange, tmp_path) as run:
            await server.halt("immediate")
            await run.until(lambda: run.stats["spooled_rows"] > 4000)
            counted = run.stats  # a quarter of a second old at most
            await asyncio.sleep(0.5)
            await run.end(signal.SIGKILL)
        kept = spooled(tmp_path)
        # half a second after it was received, every row is committed or on the disk
        assert len(kept) + counted["trades_written"] + counted["trades_duplicate"] >= counted["trades_received"]
        await server.launch()
        async with program(url, exchange, tmp_path) as again:
            await again.until(lambda: again.of("Spool replayed"))
            found = again.of("Spool found")[0]
            assert found["rows"] >= len(kept)
            assert again.stats["trades_taken_over"] == len(kept)
            assert await again.end() == 0
            final = again.lines[-1]
            assert final["pending_trades"] == 0
        for symbol in SYMBOLS:
            await assert_trades_equal(url, exchange, symbol, whole=False)
            stored = {int(row[0]) for row in await trades_as_text(url, "spot", symbol)}
            fields = [row.decode().split("\t") for row in kept]
            expected = {int(each[3]) for each in fields if each[2] == symbol}
            assert expected <= stored
            gaps = [(gap["first"], gap["last"]) for gap in again.of("Gap found") if gap["symbol"] == symbol]
            # the time between the two runs is one; what waited in the spool is none
            assert gaps
            assert not [number for number in expected for first, last in gaps if first <= number <= last]
        assert spooled(tmp_path) == []


async def test_a_server_that_stands_still(server: OwnServer, url: str, tmp_path: Path) -> None:
    """No error comes from a stopped process: after five seconds without an answer the rows go to the disk."""
    async with market(1000) as exchange, recording(
        url, exchange.ws_url, exchange.rest_url, tmp_path, symbols=SYMBOLS
    ) as run:  # fmt: skip
        await run.until(lambda: run.stats.trades_written > 500)
        with frozen(server.pid):
            await run.until(lambda: run.stats.spooled_rows > 5000)
            assert "no answer within 5 s" in run.told.of(events.StoreLost)[0].cause
        await run.until(lambda: run.told.of(events.SpoolReplayed))
        final = await run.stop()
        assert final["pending_trades"] == 0
        assert final["trades_written"] + final["trades_duplicate"] == final["trades_received"]
        assert await assert_all_stored(url, exchange) == final["trades_received"]


class frozen:  # noqa: N801  # reads as a verb
    """Stop a server and all its processes (SIGSTOP) for the length of the block."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.stopped: list[int] = []

    def __enter__(self) -> None:
        for status in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                parent = int(status.read_text().rpartition(")")[2].split()[1])
                if self.pid in (parent, int(status.parent.name)):
                    os.kill(int(status.parent.name), signal.SIGSTOP)
                    self.stopped.append(int(status.parent.name))

    def __exit__(self, *_: object) -> None:
        for pid in self.stopped:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


# -- the database refuses ----------------------------------------------------------------------------------


READ_ONLY = (
    "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I {} default_transaction_read_only {}', current_database()); END $$"
)


@pytest.mark.parametrize(("harm", "remedy", "hint"), [
    (["ALTER TABLE trades RENAME TO elsewhere"], ["ALTER TABLE elsewhere RENAME TO trades"], "A table is missing"),
    (
        [READ_ONLY.format("SET", "= on")],
        ["SET default_transaction_read_only = off", READ_ONLY.format("RESET", "")],
        "The database is read-only",
    ),
], ids=["a table is missing", "read-only mode"])  # fmt: skip
async def test_what_a_person_must_mend_is_told_and_waited_for(
    timescale_url: str, tmp_path: Path, harm: list[str], remedy: list[str], hint: str
) -> None:
    async with market(500) as exchange, recording(
        timescale_url, exchange.ws_url, exchange.rest_url, tmp_path, symbols=SYMBOLS
    ) as run:  # fmt: skip
        await run.until(lambda: run.stats.trades_written > 200)
        await by_hand(timescale_url, harm)
        await run.until(lambda: run.stats.spooled_rows > 500)
        # the session that is sent away may be heard of first; the remedy follows, and it is not told for every try
        await run.until(lambda: any(hint in told.cause for told in run.told.of(events.StoreLost)))
        assert len(run.told.of(events.StoreLost)) <= 3
        await by_hand(timescale_url, remedy)
        await run.until(lambda: run.told.of(events.SpoolReplayed))
        final = await run.stop()
        assert final["pending_trades"] == final["trades_set_aside"] == 0
        assert await assert_all_stored(timescale_url, exchange) == final["trades_received"]


async def by_hand(url: str, statements: list[str]) -> None:
    """Do what an operator does, and send every session of the recorder away, as new settings need."""
    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            await connection.execute(statement)
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    finally:
        await connection.close()


# -- the spool's own bounds --------------------------------------------------------------------------------


async def test_a_full_spool_pauses_the_socket_and_drops_nothing(server: OwnServer, url: str, tmp_path: Path) -> None:
    async with market(2000) as exchange, recording(
        url, exchange.ws_url, exchange.rest_url, tmp_path, symbols=SYMBOLS, spool_limit=1_048_576, pending_limit=2000
    ) as run:  # fmt: skip
        await run.until(lambda: run.stats.trades_written > 500)
        await server.halt()
        await run.until(lambda: run.told.of(events.ReadingPaused))
        (refused,) = run.told.of(events.SpoolRefused)
        assert "the spool is full" in refused.cause
        received = run.stats.trades_received
        await asyncio.sleep(1.0)
        assert run.stats.trades_received == received
        size = sum(path.stat().st_size for path in (tmp_path / "spool").glob("*/*.spool"))
        assert 500_000 < size <= 1_048_576
        await server.launch()
        await run.until(lambda: run.told.of(events.ReadingResumed))
        await run.until(lambda: run.stats.pending_trades < 1000)
        final = await run.stop()
        assert final["pending_trades"] == 0
        assert final["trades_written"] + final["trades_duplicate"] == final["trades_received"]
        # what the exchange did not keep for us is a known gap, never a silent one
        total = sum([await assert_trades_equal(url, exchange, symbol, whole=False) for symbol in SYMBOLS])
        assert total == final["trades_received"]


async def test_a_disk_that_writes_no_more_is_told_and_the_rows_wait_in_memory(
    server: OwnServer, url: str, tmp_path: Path
) -> None:
    """The limit on the size of a file stands for the full disk: the kernel itself refuses the write."""
    async with market(2000) as exchange, program(url, exchange, tmp_path) as run:
        # long enough for the log, far too short for a segment
        subprocess.run(["prlimit", "--pid", str(run.process.pid), "--fsize=100000:unlimited"], check=True)  # noqa: ASYNC221
        await server.halt()
        await run.until(lambda: run.of("Spool takes no more"))
        assert "File too large" in run.of("Spool takes no more")[0]["cause"]
        await asyncio.sleep(1.0)
        await server.launch()
        await run.until(lambda: run.stats["pending_trades"] < 500 and run.of("Store available again"))
        assert await run.end() == 0
        final = run.lines[-1]
        assert final["trades_written"] + final["trades_duplicate"] == final["trades_received"]
        assert await assert_all_stored(url, exchange) == final["trades_received"]


# -- the end -----------------------------------------------------------------------------------------------


async def test_a_drain_that_runs_out_of_time_leaves_the_rows_to_the_next_run(
    server: OwnServer, url: str, tmp_path: Path
) -> None:
    async with market(1000) as exchange:
        async with program(url, exchange, tmp_path, "--drain-deadline", "1") as run:
            await server.halt()
            await run.until(lambda: run.stats["spooled_rows"] > 500)
            assert await run.end() == 1
            (left,) = run.of("Rows left in the spool")
            assert "the next `crypto-quant record`" in left["hint"]
            assert run.of("Rows not stored") == []
            final = run.lines[-1]
            assert len(spooled(tmp_path)) == final["pending_trades"] > 500
        await server.launch()
        async with program(url, exchange, tmp_path, "--duration", "2") as again:
            assert await again.ended() == 0
            assert again.lines[-1]["trades_taken_over"] == final["pending_trades"]
        total = sum([await assert_trades_equal(url, exchange, symbol, whole=False) for symbol in SYMBOLS])
        assert total >= final["trades_received"]


async def test_a_second_interrupt_leaves_the_rows_to_the_next_run(timescale_url: str, tmp_path: Path) -> None:
    """With the tables locked the drain cannot end; a second Ctrl-C ends it at once."""
    async with market(500) as exchange:
        async with program(timescale_url, exchange, tmp_path) as run:
            lock = await asyncpg.connect(timescale_url)
            transaction = lock.transaction()
            await transaction.start()
            await lock.execute("LOCK TABLE trades, candles IN ACCESS EXCLUSIVE MODE")
            await asyncio.sleep(1.0)
            run.process.send_signal(signal.SIGINT)
            await run.until(lambda: run.of("Drain"))
            assert await run.end() == 130
            await transaction.rollback()
            await lock.close()
            final = run.lines[-1]
            assert len(spooled(tmp_path)) == final["pending_trades"] > 100
        async with program(timescale_url, exchange, tmp_path) as again:
            await again.until(lambda: again.of("Spool replayed"))
            assert await again.end() == 0
        total = sum([await assert_trades_equal(timescale_url, exchange, symbol, whole=False) for symbol in SYMBOLS])
        assert total >= final["trades_received"]
