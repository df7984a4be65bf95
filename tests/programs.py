"""``crypto-quant record`` as a process of its own, watched through its log, and what must hold afterwards."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from ssl import SSLContext
from typing import Any

from recording import assert_trades_equal

from crypto_quant.sim.server import SimulatedExchange
from crypto_quant.sim.symbols import invented
from crypto_quant.sim.synthetic import SyntheticTape
from crypto_quant.store.as_text import candles_as_text, trades_as_text

START_US = 1_790_856_000_000_000
SYMBOLS = ("btcusdt", "ethusdt")
MEMORY_MOST_MB = 200
_MODULE = ("-m", "crypto_quant")


@asynccontextmanager
async def market(rate: float) -> AsyncIterator[SimulatedExchange]:
    """An exchange in this process that prints so many trades a second, from the first subscription on."""
    tape = SyntheticTape(invented(["BTCUSDT", "ETHUSDT"]), rate=rate, seed=11, start_us=START_US)
    async with SimulatedExchange(tape, hold_until_subscribed=True) as exchange:
        yield exchange


class Program:
    """``crypto-quant record`` as a process of its own, its log read while it runs."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.lines: list[dict[str, Any]] = []
        self.reading = asyncio.create_task(asyncio.to_thread(self._read))

    def _read(self) -> None:
        assert self.process.stderr is not None
        # under coverage a process that may not write large files cannot save its measurements, and prints so at its end
        for line in self.process.stderr:
            if line.startswith("{"):
                self.lines.append(json.loads(line))  # others look at them while they come

    def of(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["event"] == event]

    @property
    def stats(self) -> dict[str, Any]:
        return (self.of("Pipeline statistics") or [{}])[-1]

    @property
    def memory_mb(self) -> float:
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGESIZE") / 1e6

    async def until(self, condition: Callable[[], object], within_s: float = 60.0) -> None:
        deadline = asyncio.get_running_loop().time() + within_s
        while not condition():
            assert asyncio.get_running_loop().time() < deadline, self.lines[-4:]
            assert self.process.poll() is None, self.lines[-4:]
            await asyncio.sleep(0.05)

    async def end(self, number: signal.Signals = signal.SIGINT) -> int:
        """Send a signal; return the exit code."""
        self.process.send_signal(number)
        return await self.ended()

    async def ended(self) -> int:
        """Wait for the end; return the exit code."""
        code = await asyncio.to_thread(self.process.wait)
        await self.reading
        assert self.process.stderr is not None
        self.process.stderr.close()
        return code


def patient_for(silence_s: float) -> tuple[str, str]:
    """Return, in place of ``-m crypto_quant``, the same program with links that believe in so long a silence."""
    return "-c", (
        "from functools import partial; from crypto_quant import compose\n"
        "from crypto_quant.binance.session import SessionLimits\n"
        f"limits = SessionLimits(silence_s={silence_s})\n"
        "compose.open_recorder = partial(compose.open_recorder, limits=limits)\n"
        "from crypto_quant.cli import main; main()"
    )


@asynccontextmanager
async def program(
    url: str,
    exchange: SimulatedExchange | tuple[str, str],
    data_dir: Path,
    *more: str,
    python: Sequence[str] = _MODULE,
    before: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> AsyncIterator[Program]:
    """Lend a recorder that stores; ``exchange`` may be its two URLs, ``before`` is a command that runs the program."""
    urls = exchange if isinstance(exchange, tuple) else (exchange.ws_url, exchange.rest_url)
    command = [
        *before, sys.executable, *python, "record", *SYMBOLS, "--stream", "aggTrade", "--stream", "kline_1s",
        "--database-url", url, "--ws-url", urls[0], "--rest-url", urls[1],
        "--stats-interval", "0.25", "--candle-grace", "2", "--log-format", "json", *more,
    ]  # fmt: skip
    variables = {**os.environ, "CRYPTO_QUANT_DATA_DIR": str(data_dir), **(environment or {})}
    running = Program(subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=variables))  # noqa: ASYNC220
    try:
        await running.until(lambda: running.stats.get("trades_written", 0) > 100)
        yield running
    finally:
        if running.process.poll() is None:
            running.process.kill()
        await running.ended()


async def assert_all_stored(url: str, exchange: SimulatedExchange) -> int:
    """Hold both tables against the tape: equal rows, once each, and no hole between the first and the last."""
    total = 0
    for symbol in SYMBOLS:
        total += await assert_trades_equal(url, exchange, symbol, whole=False)
        ids = [int(row[0]) for row in await trades_as_text(url, "spot", symbol)]
        assert sorted(ids) == list(range(min(ids), max(ids) + 1))
    return total


async def settled(url: str, run: Program, within_s: float = 120.0) -> None:
    """Wait until the recorder stores live trades again and nothing is missing behind them; its memory is bounded."""
    deadline = asyncio.get_running_loop().time() + within_s
    written = run.stats["trades_written"]
    while True:
        missing = 0
        for symbol in SYMBOLS:
            ids = [int(row[0]) for row in await trades_as_text(url, "spot", symbol)]
            opens = [int(row[0]) // 1_000_000 for row in await candles_as_text(url, "spot", symbol, "1s")]
            for had in (ids, opens):
                missing += had[-1] - had[0] + 1 - len(had) if had else 1
        stats = run.stats
        waits = stats["trades_missing"] or stats["spooled_rows"] - stats["replayed_rows"]
        if not missing and not waits and stats["trades_written"] > written:
            break
        assert run.process.poll() is None, run.lines[-4:]
        assert asyncio.get_running_loop().time() < deadline, (missing, stats)
        await asyncio.sleep(0.3)
    assert run.memory_mb < MEMORY_MOST_MB


async def assert_verified(url: str, data_dir: Path) -> None:
    """Let the audit read every row."""
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "crypto_quant", "verify", "--deep", "--database-url", url],
        env={**os.environ, "CRYPTO_QUANT_DATA_DIR": str(data_dir)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "COMPLETE" in done.stdout


async def assert_nothing_lost(url: str, exchange: SimulatedExchange, run: Program, data_dir: Path) -> dict[str, Any]:
    """Wait until all is filled, drain, hold the table against tape and audit; return the final statistics."""
    await settled(url, run)
    assert await run.end() == 0, run.lines[-4:]
    assert await assert_all_stored(url, exchange) > 0
    await assert_verified(url, data_dir)
    return run.lines[-1]


@asynccontextmanager
async def cut(port: int, *, ssl: SSLContext | None = None) -> AsyncIterator[tuple[int, list[asyncio.StreamWriter]]]:
    """Stand between client and server; yield the port to connect to and the open connections, to be aborted.

    With ``ssl`` the client's side speaks TLS.
    """
    ends: list[asyncio.StreamWriter] = []

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        ends.extend((writer, far_writer))
        await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=ssl)
    try:
        yield server.sockets[0].getsockname()[1], ends
    finally:
        for end in ends:
            end.transport.abort()
        server.close()
