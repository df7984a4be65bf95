"""Real processes, sockets and databases, and violence: afterwards the table is the tape, and ``verify --deep`` says so.

Only the exchange is ours. What stops, restarts and freezes the database is in ``test_spool_outages.py``.
"""

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from programs import cut
from recording import assert_trades_equal

from crypto_quant.sim.server import SimulatedExchange
from crypto_quant.sim.symbols import invented
from crypto_quant.sim.synthetic import SyntheticTape
from crypto_quant.store.as_text import trades_as_text

SYMBOLS = ("btcusdt", "ethusdt")
KILLS = 30


@pytest.fixture
async def exchange() -> AsyncIterator[SimulatedExchange]:
    tape = SyntheticTape(invented(["BTCUSDT", "ETHUSDT"]), rate=1500, seed=11, start_us=1_790_856_000_000_000)
    async with SimulatedExchange(tape, hold_until_subscribed=True) as running:
        yield running


class Program:
    """``crypto-quant record`` as a program of its own, its log in a file."""

    def __init__(self, database_url: str, ws_url: str, rest_url: str, data_dir: Path) -> None:
        command = [
            sys.executable, "-m", "crypto_quant", "record", *SYMBOLS, "--database-url", database_url,
            "--ws-url", ws_url, "--rest-url", rest_url,
        ]  # fmt: skip
        self.log = data_dir / "record.log"
        data_dir.mkdir(exist_ok=True)
        with self.log.open("ab") as log:
            environment = {**os.environ, "CRYPTO_QUANT_DATA_DIR": str(data_dir)}
            self.process = subprocess.Popen(command, stderr=log, env=environment)

    def told(self, text: str) -> int:
        """Return how often the log has told ``text``."""
        return self.log.read_text().count(text)

    async def until(self, text: str, times: int, within_s: float = 60.0) -> None:
        """Wait until the log has told ``text`` so often."""
        deadline = asyncio.get_running_loop().time() + within_s
        while self.told(text) < times:
            assert self.process.poll() is None, self.log.read_text()[-2000:]
            assert asyncio.get_running_loop().time() < deadline, self.log.read_text()[-2000:]
            await asyncio.sleep(0.02)

    def kill(self) -> None:
        """As the kernel kills what has taken too much memory."""
        self.process.kill()
        self.process.wait()

    async def drain(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(self.process.wait, 120) == 0


async def settle_and_verify(database_url: str, exchange: SimulatedExchange, program: Program, data_dir: Path) -> None:
    """Let the last recorder fill what was missed, end it, and hold the table against tape and audit."""
    deadline = asyncio.get_running_loop().time() + 120
    while True:
        missing = 0
        for symbol in SYMBOLS:
            ids = [int(row[0]) for row in await trades_as_text(database_url, "spot", symbol)]
            missing += ids[-1] - ids[0] + 1 - len(ids) if ids else 1
        if not missing:
            break
        assert asyncio.get_running_loop().time() < deadline, f"{missing} trades are still missing"
        await asyncio.sleep(0.5)
    await program.drain()
    for symbol in SYMBOLS:
        await assert_trades_equal(database_url, exchange, symbol, whole=False)
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "crypto_quant", "verify", "--deep", "--database-url", database_url],
        env={**os.environ, "CRYPTO_QUANT_DATA_DIR": str(data_dir)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "COMPLETE" in done.stdout


async def test_killed_thirty_times(timescale_url: str, exchange: SimulatedExchange, tmp_path: Path) -> None:
    """kill -9 at random moments, from before the first frame to the middle of a commit: nothing is lost or doubled."""
    chance = random.Random(17)  # noqa: S311  # a repeatable draw
    data_dir = tmp_path / "data"
    for number in range(KILLS):
        program = Program(timescale_url, exchange.ws_url, exchange.rest_url, data_dir)
        if number % 3:  # a third of them anywhere in their beginning, the others at work
            await program.until('"Subscribed"', program.told('"Subscribed"') + 1)
        await asyncio.sleep(chance.uniform(0.1, 0.8))
        program.kill()
    program = Program(timescale_url, exchange.ws_url, exchange.rest_url, data_dir)
    await program.until('"Subscribed"', program.told('"Subscribed"') + 1)
    await asyncio.sleep(2.0)
    await settle_and_verify(timescale_url, exchange, program, data_dir)


async def test_connections_reset_again_and_again(
    timescale_url: str, exchange: SimulatedExchange, tmp_path: Path
) -> None:
    """Resets in the middle of frames, of REST answers and of the backfill's pages."""
    chance = random.Random(23)  # noqa: S311  # a repeatable draw
    data_dir = tmp_path / "data"
    async with cut(int(exchange.ws_url.rpartition(":")[2])) as (port, ends):
        program = Program(timescale_url, f"ws://127.0.0.1:{port}", f"http://127.0.0.1:{port}", data_dir)
        await program.until('"Subscribed"', 1)
        for round_ in range(6):
            await asyncio.sleep(chance.uniform(0.2, 1.2))
            for end in ends:
                end.transport.abort()
            ends.clear()
            await program.until('"Subscribed"', round_ + 2)
        await asyncio.sleep(2.0)
        await settle_and_verify(timescale_url, exchange, program, data_dir)
    assert program.told('"Gap found"') > 0
