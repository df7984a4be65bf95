"""The server itself dies while batches are on their way: nothing half, nothing twice, and it goes on by itself."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator

import pytest
from own_servers import OwnServer, own_server

from crypto_quant.errors import StoreUnavailable
from crypto_quant.seams import Batch, Receipt, Table
from crypto_quant.store.ledger import StoreLedger
from crypto_quant.store.timescale import TimescaleSink, connect, open_sink

ROWS = 500


def batch(number: int) -> Batch:
    row = "2024-08-08 12:00:00+00\tspot\tbtcusdt\t{}\t1\t1\t1\t1\tt\t\\N\n"
    return Batch(Table.TRADES, [row.format(number * ROWS + each).encode() for each in range(ROWS)])


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
        async with asyncio.timeout(60):
            while len(self.receipts) < goal:  # noqa: ASYNC110 - two writers, one who waits
                await asyncio.sleep(0.01)

    async def fail(self) -> None:
        """Return once a write has failed."""
        async with asyncio.timeout(60):
            while not self.faults:  # noqa: ASYNC110 - two writers, one who waits
                await asyncio.sleep(0.01)


@pytest.fixture(params=["timescaledb", "postgresql"])
async def server(request: pytest.FixtureRequest) -> AsyncIterator[OwnServer]:
    """A server that a test may crash."""
    async with own_server(plain=request.param == "postgresql") as lent:
        yield lent


@pytest.mark.parametrize("accident", ["a backend is killed", "the server stops at once and starts again"])
async def test_the_server_dies_in_mid_write(server: OwnServer, accident: str) -> None:
    sink = await open_sink(server.url, pool_size=2, command_timeout_s=10)
    writing = Writing(sink)
    async with asyncio.TaskGroup() as group:
        for lane in range(2):
            group.create_task(writing.run(lane, 2))
        await writing.grow(10)
        if accident == "a backend is killed":
            await kill_backend(server.url)
        else:
            await server.halt("immediate")
            await writing.fail()
            await server.launch()
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


async def test_the_name_of_a_server_tells_one_run_from_the_next(server: OwnServer) -> None:
    """A restart and a recovery give it another name, though no write has noticed either; nothing else does."""
    sink = await open_sink(server.url, pool_size=2, command_timeout_s=10)
    names = [await asked(sink), await asked(sink), await asked(sink), await asked(sink)]
    await kill_backend(server.url)
    names += [await asked(sink), await asked(sink)]
    await server.halt()
    await server.launch()
    names.append(await asked(sink))
    await sink.close()
    assert names[0] == names[1] == names[2] == names[3]
    assert names[3] != names[4] == names[5] != names[6]


async def asked(sink: TimescaleSink) -> str:
    """Ask for the server's name until it answers."""
    async with asyncio.timeout(60):
        while True:
            try:
                return await StoreLedger(sink).server()
            except StoreUnavailable:
                await asyncio.sleep(0.05)


async def kill_backend(url: str) -> None:
    """End a backend of the sink as the kernel would (SIGKILL): the server throws all out and recovers."""
    connection = await connect(url)
    try:
        pid = await connection.fetchval(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            " AND application_name = 'crypto-quant'"
        )
    finally:
        await connection.close()
    os.kill(pid, signal.SIGKILL)
