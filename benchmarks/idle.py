"""The CPU of the recorder, from a market where nothing trades to a busy one: seconds a minute, and µs a trade.

Run it where the test databases are: ``scripts/with-databases .venv/bin/python benchmarks/idle.py``. Simulated exchange,
recorder (default settings) and TimescaleDB are processes of their own; the CPU is what the kernel has counted for the
recorder, all of its threads, after its start is over. Wake-ups are its voluntary context switches.
"""

import argparse
import asyncio
import json
import os
import platform
import re
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from outage import RAW, Program
from run import fresh_database

from crypto_quant.sim.symbols import first_names

_LEAST = 0.0001  # raw trades a second; the simulated exchange wants more than none
_STREAMS = ("aggTrade", "kline_1m", "kline_5m")


def wake_ups(program: Program) -> int:
    """Return how often the threads of a process have waited so far."""
    tasks = Path(f"/proc/{program.process.pid}/task").glob("*/status")
    return sum(int(re.findall(r"\nvoluntary_ctxt_switches:\s*(\d+)", task.read_text())[0]) for task in tasks)


def trial(url: str, count: int, rate: float, seconds: float, port: int) -> dict[str, float]:
    """Record ``count`` symbols at ``rate`` trades a second; return what ``seconds`` of it cost."""
    symbols = [name.lower() for name in first_names(count)]
    exchange = Program(
        "simulate", "--symbols", str(count), "--rate", str(max(_LEAST, rate * RAW)), "--port", str(port)
    )  # fmt: skip
    time.sleep(3)
    recorder = Program(
        "record", *symbols, *(word for stream in _STREAMS for word in ("--stream", stream)), "--log-format", "json",
        "--ws-url", f"ws://127.0.0.1:{port}", "--database-url", url, "--stats-interval", "5",
    )  # fmt: skip
    try:
        recorder.wait_for("Pipeline statistics", links=1)
        time.sleep(5)
        before = recorder.last("Pipeline statistics")
        cpu_s, woken, began = recorder.cpu_s(), wake_ups(recorder), time.monotonic()
        time.sleep(seconds)
        took = time.monotonic() - began
        cpu_s, woken = recorder.cpu_s() - cpu_s, wake_ups(recorder) - woken
        after = recorder.last("Pipeline statistics")
        memory_mb = recorder.memory_mb()
    finally:
        recorder.end()
        exchange.end()
    trades = after["trades_received"] - before["trades_received"]
    per_s = trades / (after["elapsed_seconds"] - before["elapsed_seconds"])
    return {
        "symbols": count,
        "trades_per_second": per_s,
        "cpu_s_per_minute": cpu_s / took * 60,
        "us_per_trade": cpu_s / took / per_s * 1e6 if trades else 0.0,
        "wake_ups_per_second": woken / took,
        "rows_per_commit": after["rows_per_batch"],
        "memory_mb": memory_mb,
    }


def main(url: str, args: argparse.Namespace) -> None:
    """Measure one pair of symbols and rate after the other; print a table."""
    print(f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(
        f"{'symbols':>8}{'trades/s':>10}{'CPU s/min':>11}{'µs/trade':>10}{'wake-ups/s':>12}{'rows/commit':>13}{'MB':>6}"
    )
    results = []
    for count in args.symbols:
        for rate in args.rates:
            with tempfile.TemporaryDirectory() as data_dir:
                os.environ["CRYPTO_QUANT_DATA_DIR"] = data_dir
                found = trial(asyncio.run(fresh_database(url)), count, rate, args.seconds, args.port)
            results.append(found)
            print(
                f"{count:>8,}{found['trades_per_second']:>10,.1f}{found['cpu_s_per_minute']:>11.2f}"
                f"{found['us_per_trade']:>10.1f}{found['wake_ups_per_second']:>12.1f}{found['rows_per_commit']:>13.0f}"
                f"{found['memory_mb']:>6.0f}",
                flush=True,
            )
    if args.output is not None:
        args.output.write_text(json.dumps({"date": datetime.now(UTC).isoformat(), "trials": results}, indent=1) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--symbols", type=int, nargs="+", default=[1, 1000])
    parser.add_argument("--rates", type=float, nargs="+", default=[0, 10, 500, 5000, 20_000], help="trades a second")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--port", type=int, default=19448)
    parser.add_argument("--json", type=Path, dest="output")
    main(os.environ["CRYPTO_QUANT_TEST_TIMESCALE_URL"], parser.parse_args())
