"""Wire → committed rows against a bare COPY of the same rows into the same table, and against cryptofeed, in one run.

``make bench`` runs it on the project's own test databases. Every repetition gets a fresh database; the contestants
take turns, so that a machine that slows down slows all of them. Prints a table and writes JSON. Where cryptofeed
cannot be had the rest is measured.
"""

import argparse
import asyncio
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import picows
import uvloop

from crypto_quant.market import Venue
from crypto_quant.rows import TimeText, key_text, trade_row
from crypto_quant.seams import COLUMNS, Table
from crypto_quant.store.timescale import open_sink

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE / "peers")]
import generator  # the load generator stands beside this file
from environment import TABLE, Unavailable, cryptofeed_python

RATE = 100_000
CRYPTOFEED = "cryptofeed 3.0.1"
# it has a part of the tape, so that a run does not last ten times as long; its rate is the same from end to end
CRYPTOFEED_SHARE = 5
Contestant = Callable[[str, int, int], Awaitable[float]]


async def fresh_database(admin_url: str) -> str:
    """Drop and make the benchmark's database; return its URL."""
    admin = await asyncpg.connect(admin_url)
    await admin.execute("DROP DATABASE IF EXISTS crypto_quant_bench WITH (FORCE)")
    await admin.execute("CREATE DATABASE crypto_quant_bench")
    await admin.close()
    base, _, query = admin_url.partition("?")
    return f"{base.rpartition('/')[0]}/crypto_quant_bench" + (f"?{query}" if query else "")


def start_generator(trades: int, symbols: int, unit: str = "us") -> tuple[subprocess.Popen[str], int]:
    """Start the load generator; return it and its port once its frames are built."""
    tape = [f"--trades={trades}", f"--symbols={symbols}", f"--rate={RATE}", f"--unit={unit}"]
    process = subprocess.Popen(  # noqa: S603
        [sys.executable, str(Path(generator.__file__)), *tape], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, int(process.stdout.readline())


async def bare_copy(url: str, trades: int, symbols: int) -> float:
    """COPY ready-made text into the table in chunks of 64 KiB, in one transaction; return rows a second."""
    names, times = generator.symbols(symbols), TimeText()
    received = times(generator.START_US)
    rows = []
    for number in range(trades):
        name, a, p, q, t, at, maker = generator.trade(number, names, RATE)
        rows.append(trade_row(times(at), key_text(Venue.SPOT, name.lower()), a, p, q, t, t, maker, received))
    text = b"".join(rows)
    chunks = [text[at : at + 65536] for at in range(0, len(text), 65536)]
    del rows, text
    sink = await open_sink(url)
    await sink.close()
    connection = await asyncpg.connect(url)
    await connection.execute("SET TIME ZONE 'UTC'")

    async def source():
        for chunk in chunks:
            yield chunk

    started = time.perf_counter()
    await connection.copy_to_table("trades", source=source(), columns=COLUMNS[Table.TRADES], format="text")
    took = time.perf_counter() - started
    await connection.close()
    return trades / took


def recorder(*how: str) -> Contestant:
    """Return the recorder as a contestant, trades a second from the first frame to the last commit."""

    async def contestant(url: str, trades: int, symbols: int) -> float:
        process, port = start_generator(trades, symbols)
        tape = ["--database-url", url, "--port", str(port), f"--trades={trades}", f"--symbols={symbols}"]
        try:
            done = subprocess.run(  # noqa: ASYNC221, S603
                [sys.executable, str(HERE / "recorder_run.py"), *tape, *how],
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            )
        finally:
            process.kill()
            process.wait()
        told = json.loads(done.stdout.splitlines()[-1])
        print(
            f"    CPU {told['cpu'] / trades * 1e6:.2f} µs a trade, peak {told['peak_mb']:.0f} MB,"
            f" {trades / told['batches']:,.0f} rows a commit",
            file=sys.stderr,
        )
        rate: float = trades / told["seconds"]
        return rate

    return contestant


async def null_client(_: str, trades: int, symbols: int) -> float:
    """Only count frames: what the generator can give; return frames a second."""
    process, port = start_generator(trades, symbols)
    done = asyncio.Event()

    class Counter(picows.WSListener):  # type: ignore[misc]
        seen = 0
        started = 0.0

        def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
            if not self.seen:
                self.started = time.perf_counter()
            self.seen += 1
            if self.seen == trades:
                done.set()

    counter = Counter()
    try:
        transport, _listener = await picows.ws_connect(lambda: counter, f"ws://127.0.0.1:{port}/stream")
        await done.wait()
        took = time.perf_counter() - counter.started
        transport.disconnect()
        return trades / took
    finally:
        process.kill()
        process.wait()


def cryptofeed(python: Path, *how: str) -> Contestant:
    """Return cryptofeed as a contestant, trades a second from the first one to the last commit.

    It has its own defaults but one: its queue of 10,000 makes the socket wait (overflow="block"), for by default it
    drops what the database does not take in time.
    """

    async def contestant(url: str, trades: int, symbols: int) -> float:
        trades //= CRYPTOFEED_SHARE
        connection = await asyncpg.connect(url)
        await connection.execute(TABLE.read_text(encoding="utf-8"))
        await connection.close()
        process, port = start_generator(trades, symbols, "ms")
        names = [f"{name.removesuffix('USDT')}-USDT" for name in generator.symbols(symbols)]
        tape = ["--port", str(port), "--count", str(trades), "--database-url", url, "--overflow", "block"]
        command = [str(python), str(HERE / "peers" / "cryptofeed_recorder.py"), *names, *tape, *how]
        try:
            with tempfile.TemporaryDirectory() as cache:
                environment = {**os.environ, "XDG_CACHE_HOME": cache}
                done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)  # noqa: ASYNC221, S603
        finally:
            process.kill()
            process.wait()
        told = json.loads(done.stdout.splitlines()[0])
        print(f"    cryptofeed CPU {told['cpu'] / trades * 1e6:.2f} µs a trade", file=sys.stderr)
        rate: float = trades / told["seconds"]
        return rate

    return contestant


def contestants() -> dict[str, Contestant]:
    """Return who takes part, by name."""
    all_of_them: dict[str, Contestant] = {
        "bare COPY": bare_copy,
        "recorder": recorder(),
        "  no coverage": recorder("--without-coverage"),
        "  no database": recorder("--discard"),
    }
    try:
        python = cryptofeed_python()
    except Unavailable as problem:
        print(f"without cryptofeed, which cannot be had here: {problem}", file=sys.stderr)
    else:
        all_of_them[CRYPTOFEED] = cryptofeed(python)
        all_of_them["  only received"] = cryptofeed(python, "--no-database")
    return all_of_them | {"generator alone": null_client}


def ratios(these: Sequence[float], those: Sequence[float]) -> list[float]:
    """Return the ratios of what was measured one after the other, the lowest first."""
    return sorted(this / that for this, that in zip(these, those, strict=True))


async def compete(url: str, trades: int, symbols: int, repetitions: int) -> dict[str, list[float]]:
    """Run the contestants in turn, print what they did and return it: for each its rates, in the order of the runs."""
    taking_part = contestants()
    results: dict[str, list[float]] = {name: [] for name in taking_part}
    for repetition in range(repetitions):
        for name, contestant in taking_part.items():
            rate = await contestant(await fresh_database(url), trades, symbols)
            results[name].append(rate)
            print(f"  {repetition + 1}/{repetitions} {name.strip()}: {rate:,.0f}/s", file=sys.stderr)
    print(
        f"\n{trades:,} aggregate trades of {symbols} symbols, {repetitions} repetitions, medians; "
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, Python {platform.python_version()}\n"
    )
    # ratios are of the same repetition: between two of them the machine may have become another
    print(f"{'':18}{'per second':>14}{'range':>26}{'of bare COPY':>14}{'range':>16}")
    for name, rates in results.items():
        span = f"{min(rates):,.0f} – {max(rates):,.0f}"
        shares = ratios(rates, results["bare COPY"])
        share, shares_span = statistics.median(shares), f"{shares[0]:.2f} – {shares[-1]:.2f}"
        print(f"{name:18}{statistics.median(rates):>14,.0f}{span:>26}{share:>14.2f}{shares_span:>16}")
    if CRYPTOFEED in results:
        times = ratios(results["recorder"], results[CRYPTOFEED])
        print(f"\nrecorder / cryptofeed: {statistics.median(times):.1f} ({times[0]:.1f} – {times[-1]:.1f})")
    return {name.strip(): rates for name, rates in results.items()}


async def main(url: str, trades: int, numbers: Sequence[int], repetitions: int, output: Path | None) -> None:
    """Let them compete for each number of symbols."""
    found = {str(symbols): await compete(url, trades, symbols, repetitions) for symbols in numbers}
    if output is not None:
        about = {
            "date": datetime.now(UTC).isoformat(),
            "trades": trades,
            "cores": os.cpu_count(),
            "python": platform.python_version(),
        }
        output.write_text(json.dumps(about | {"per_second_by_symbols": found}, indent=1) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--database-url",
        default=os.environ.get("CRYPTO_QUANT_TEST_TIMESCALE_URL"),
        help="an administrator's URL (default: CRYPTO_QUANT_TEST_TIMESCALE_URL)",
    )
    parser.add_argument("--trades", type=int, default=1_500_000)
    parser.add_argument("--symbols", type=int, nargs="+", default=[20, 1000])
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--json", type=Path, dest="output")
    args = parser.parse_args()
    if not args.database_url:
        parser.error("no database: give --database-url, or run `make bench`")
    uvloop.run(main(args.database_url, args.trades, args.symbols, args.repetitions, args.output))
