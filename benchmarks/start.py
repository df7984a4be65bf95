"""From the start of the process to the first committed row, with 1,000 symbols and three streams of each.

Run it where the test databases are: ``scripts/with-databases .venv/bin/python benchmarks/start.py``. The recorder is
``crypto-quant record`` with its default settings, so it checks its symbols over REST and subscribes to every stream;
exchange, recorder and TimescaleDB are processes of their own. The clock starts before the process is made and stops
when another connection sees a row. Half of the starts find an empty database and make the schema, the other half find
it made.
"""

import argparse
import asyncio
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
from outage import RAW, Program
from run import fresh_database

from crypto_quant.sim.symbols import first_names
from crypto_quant.store.timescale import open_sink

STREAMS = ("aggTrade", "kline_1m", "kline_5m")


async def first_row(connection: asyncpg.Connection) -> float:
    """Return when (monotonic) the first row of ``trades`` was seen."""
    while True:
        try:
            if await connection.fetchval("SELECT EXISTS (SELECT FROM trades)"):
                return time.monotonic()
        except asyncpg.UndefinedTableError:
            pass
        await asyncio.sleep(0.002)


async def start(admin_url: str, symbols: list[str], port: int, *, new: bool) -> dict[str, float]:
    """Start the recorder once; return seconds to the first row, to each step on the way, and CPU seconds."""
    url = await fresh_database(admin_url)
    if not new:
        await (await open_sink(url)).close()
    connection = await asyncpg.connect(url, statement_cache_size=0)
    streams = [word for stream in STREAMS for word in ("--stream", stream)]
    with tempfile.TemporaryDirectory() as data_dir:
        os.environ["CRYPTO_QUANT_DATA_DIR"] = data_dir
        began, wall = time.monotonic(), time.time()
        recorder = Program(
            "record", *symbols, *streams, "--ws-url", f"ws://127.0.0.1:{port}", "--log-format", "json",
            "--database-url", url,
        )  # fmt: skip
        try:
            took = await asyncio.wait_for(first_row(connection), 60) - began
            cpu_s = recorder.cpu_s()
            while sum(line["streams"] for line in _told(recorder, "Subscribed")) < len(symbols) * len(STREAMS):
                await asyncio.sleep(0.01)
            steps = {
                "store_ready": _at(_told(recorder, "Store ready")[0]) - wall,
                "link_opened": _at(_told(recorder, "Link opened")[0]) - wall,
                "all_subscribed": _at(_told(recorder, "Subscribed")[-1]) - wall,
            }
        finally:
            recorder.end()
            await connection.close()
    return {"new": new, "first_row": took, "cpu": cpu_s, **steps}


def _told(recorder: Program, event: str) -> list[dict[str, Any]]:
    return [line for line in recorder.lines if line["event"] == event]


def _at(line: dict[str, Any]) -> float:
    return datetime.fromisoformat(line["timestamp"]).timestamp()


async def main(admin_url: str, count: int, rate: float, repetitions: int, port: int, output: Path | None) -> None:
    """Start it again and again and print what it took."""
    symbols = [name.lower() for name in first_names(count)]
    exchange = Program("simulate", "--symbols", str(count), "--rate", str(rate * RAW), "--port", str(port))
    results = []
    try:
        await asyncio.sleep(3)
        for _ in range(repetitions):
            for new in (False, True):
                results.append(await start(admin_url, symbols, port, new=new))
                print(json.dumps(results[-1]), file=sys.stderr)
    finally:
        exchange.end()
    print(
        f"{count:,} symbols × {', '.join(STREAMS)}; {repetitions} repetitions, medians in s; "
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, Python {platform.python_version()}"
    )
    for new, what in ((False, "schema there"), (True, "new database")):
        ours = [one for one in results if one["new"] == new]
        median = {name: statistics.median(one[name] for one in ours) for name in ours[0]}
        rows = [one["first_row"] for one in ours]
        print(
            f"{what}: first row {median['first_row']:.2f} ({min(rows):.2f} – {max(rows):.2f}), all streams told "
            f"{median['all_subscribed']:.2f}; store ready {median['store_ready']:.2f}, link open "
            f"{median['link_opened']:.2f}, CPU to the first row {median['cpu']:.2f}"
        )
    if output is not None:
        output.write_text(json.dumps({"date": datetime.now(UTC).isoformat(), "starts": results}, indent=1) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--symbols", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=2000, help="aggregate trades a second")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--port", type=int, default=19445)
    parser.add_argument("--json", type=Path, dest="output")
    args = parser.parse_args()
    url = os.environ["CRYPTO_QUANT_TEST_TIMESCALE_URL"]
    asyncio.run(main(url, args.symbols, args.rate, args.repetitions, args.port, args.output))
