"""The server itself dies while batches are on their way: nothing half, nothing twice, and it goes on by itself."""

import asyncio
import os
import shlex
import subprocess
from urllib.parse import urlsplit

import asyncpg
import pytest
from databases import fresh_database

from crypto_quant.errors import StoreUnavailable
from crypto_quant.seams import Batch, Receipt, Table
from crypto_quant.store.ledger import StoreLedger
from crypto_quant.store.timescale import TimescaleSink, connect, open_sink

_CONTROL = {"timescaledb": "CRYPTO_QUANT_TEST_TIMESCALE_CONTROL", "postgresql": "CRYPTO_QUANT_TEST_POSTGRES_CONTROL"}
ROWS = 500


def batch(number: int) -> Batch:
    row = "2024-08-08 12:00:00+00\tspot\tbtcusdt\t{}\t1\t1\t1\t1\tt\t\\N\n"
    return Batch(Table.TRADES, [row.format(number * ROWS + each).encode() for each in range(ROWS)])


async def control(command: str, *words: str) -> None:
    done = await asyncio.to_thread(subprocess.run, [*shlex.split(command), *words], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


class Writing:
    """Writes batch after batch, each until it is stored; notes what was told on the way."""

    def __init__(self, sink: TimescaleSink) -> None:
        self._sink = sink
        self.receipts: list[Receipt] = []
        self.faults: list[StoreUnavailable] = []
        self.end = asyncio.Event()

    async def run(self, lane: int, lanes: int) -> None:
        number = lane
        while not self.end.is_set():
            while True:
                try:
                    self.receipts.append(await self._sink.write(batch(number)))
                    break
                except StoreUnavailable as error:  # any other error ends the test
                    self.faults.append(error)
                    await asyncio.sleep(0.02)
            number += lanes

    async def grow(self, batches: int) -> None:
        """Return when so many more batches are stored."""
        goal = len(self.receipts) + batches
        async with asyncio.timeout(30):
            while len(self.receipts) < goal:  # noqa: ASYNC110 - two writers, one who waits
                await asyncio.sleep(0.01)


@pytest.mark.parametrize("server", _CONTROL)
@pytest.mark.parametrize("accident", ["a backend is killed", "the server stops at once and starts again"])
async def test_the_server_dies_in_mid_write(server: str, accident: str) -> None:
    command = os.environ.get(_CONTROL[server])
    if accident != "a backend is killed" and not command:
        pytest.skip(f"this {server} server cannot be stopped by a test: {_CONTROL[server]} is not set")
    async with fresh_database(server) as url:
        sink = await open_sink(url, pool_size=2, command_timeout_s=10)
        writing = Writing(sink)
        async with asyncio.TaskGroup() as group:
            for lane in range(2):
                group.create_task(writing.run(lane, 2))
            await writing.grow(10)
            if accident == "a backend is killed":
                await kill_backend(url)
            else:
                assert command
                await control(command, "stop", "-m", "immediate")
                await asyncio.sleep(0.2)
                await control(command, "start")
            await writing.grow(10)
            writing.end.set()
        assert writing.faults, "the accident was not noticed"
        async with sink.reading() as connection:
            stored = await connection.fetchval("SELECT count(*) FROM trades")
            distinct = await connection.fetchval("SELECT count(DISTINCT trade_id) FROM trades")
        # a commit whose answer was lost counts as duplicates when it is tried again
        assert stored == distinct == ROWS * len(writing.receipts)
        assert sum(receipt.written + receipt.duplicates for receipt in writing.receipts) == stored
        await sink.close()


@pytest.mark.parametrize("server", _CONTROL)
async def test_the_name_of_a_server_tells_one_run_from_the_next(server: str) -> None:
    """A restart and a recovery give it another name, though no write has noticed either; nothing else does."""
    command = os.environ.get(_CONTROL[server])
    async with fresh_database(server) as url:
        sink = await open_sink(url, pool_size=2, command_timeout_s=10)
        names = []
        for accident in (lambda: asyncio.sleep(0), lambda: kill_backend(url), lambda: restart(command)):
            names += [await asked(sink), await asked(sink)]
            await accident()
        names.append(await asked(sink))
        await sink.close()
    assert names[0] == names[1] == names[2] == names[3]
    assert names[3] != names[4] == names[5] != names[6]


async def restart(command: str | None) -> None:
    if not command:
        pytest.skip("this server cannot be stopped by a test")
    await control(command, "restart", "-m", "fast")


async def asked(sink: TimescaleSink) -> str:
    """Ask for the server's name until it answers."""
    async with asyncio.timeout(30):
        while True:
            try:
                return await StoreLedger(sink).server()
            except StoreUnavailable:
                await asyncio.sleep(0.05)


async def kill_backend(url: str) -> None:
    """End a backend of the sink as the kernel would (SIGKILL): the server throws all out and recovers."""
    host = urlsplit(url).hostname
    connection = await connect(url)
    try:
        directory = await connection.fetchval("SHOW data_directory")
        pid = await connection.fetchval(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            " AND application_name = 'crypto-quant'"
        )
    except asyncpg.InsufficientPrivilegeError:
        pytest.skip("this user of the server may not see where it runs")
    finally:
        await connection.close()
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:  # noqa: ASYNC230, PTH123 - one short read
            title = file.read()
    except OSError:
        title = b""
    if b"postgres" not in title or urlsplit(url).path[1:].encode() not in title:
        pytest.skip(f"the server on {host} ({directory}) does not run where this test can reach its processes")
    os.kill(pid, 9)
