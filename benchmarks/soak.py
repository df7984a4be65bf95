"""Memory of the recorder over a long time: 1,000 symbols × (aggTrade, kline_1m, kline_5m) at 20,000 trades/s.

Run it where the test databases are: ``scripts/with-databases .venv/bin/python benchmarks/soak.py --minutes 20``. The
simulated exchange, the recorder with its default settings and TimescaleDB are processes of their own. The recorder's
resident memory is sampled each second; its slope is that of the least squares over what comes after the warm-up. It
takes some 250 bytes of disk a trade, and one and a half cores with the database.
"""

import argparse
import asyncio
import json
import os
import platform
import statistics
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from outage import RAW, Program
from run import fresh_database

from crypto_quant.sim.symbols import first_names

STREAMS = ("aggTrade", "kline_1m", "kline_5m")
_COUNTED = ("trades_received", "trades_written", "candles_written", "trades_missing", "reconnects", "spooled_rows")


def run(url: str, count: int, rate: float, minutes: float, warm_up: float, port: int) -> dict[str, object]:
    """Record for so many minutes; return the samples (seconds, resident MB, CPU seconds) and what came of them."""
    symbols = [name.lower() for name in first_names(count)]
    exchange = Program(
        "simulate", "--symbols", str(count), "--rate", str(rate * RAW), "--port", str(port), "--history", "1000"
    )
    time.sleep(3)
    recorder = Program(
        "record", *symbols, *(word for stream in STREAMS for word in ("--stream", stream)), "--log-format", "json",
        "--ws-url", f"ws://127.0.0.1:{port}", "--database-url", url,
    )  # fmt: skip
    samples: list[tuple[float, float, float]] = []
    began = time.monotonic()
    try:
        while (now := time.monotonic() - began) < minutes * 60:
            assert recorder.process.poll() is None, recorder.lines[-3:]
            samples.append((round(now, 2), round(recorder.memory_mb(), 2), round(recorder.cpu_s(), 2)))
            if len(samples) % 60 == 0:
                print(f"{now / 60:5.1f} min {samples[-1][1]:7.1f} MB {samples[-1][2]:7.1f} s of CPU", flush=True)
            time.sleep(max(0.0, began + len(samples) - time.monotonic()))
    finally:
        recorder.end()
        exchange.end()
    final = recorder.last("Final statistics")
    warm = [(at, mb) for at, mb, _ in samples if at >= warm_up * 60]
    slope, _ = statistics.linear_regression(*zip(*warm, strict=True))
    return {
        "symbols": count,
        "minutes": minutes,
        "trades_per_second": final["trades_received"] / final["elapsed_seconds"],
        "most_mb": max(mb for _, mb, _ in samples),
        "warm_mb": warm[0][1],
        "last_mb": warm[-1][1],
        "slope_mb_per_hour": slope * 3600,
        "cpu_us_per_trade": samples[-1][2] / final["trades_received"] * 1e6,
        "cpu_share": (samples[-1][2] - samples[0][2]) / (samples[-1][0] - samples[0][0]),
        "told": sorted({line["event"] for line in recorder.lines if line["level"] != "info"}),
        **{name: final[name] for name in _COUNTED},
        "samples": samples,
    }


def main(url: str, args: argparse.Namespace) -> None:
    """Run the soak, print what came of it and write it as JSON."""
    with tempfile.TemporaryDirectory() as data_dir:
        os.environ["CRYPTO_QUANT_DATA_DIR"] = data_dir
        found = run(
            asyncio.run(fresh_database(url)), args.symbols, args.rate, args.minutes, args.warm_up, args.port
        )  # fmt: skip
    print(f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, Python {platform.python_version()}")
    for name, value in found.items():
        if name != "samples":
            print(f"{name:20} {value:,.2f}" if isinstance(value, float) else f"{name:20} {value}")
    if args.output is not None:
        args.output.write_text(json.dumps({"date": datetime.now(UTC).isoformat(), **found}) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--symbols", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=20_000, help="aggregate trades a second")
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--warm-up", type=float, default=2, help="minutes that the slope leaves out")
    parser.add_argument("--port", type=int, default=19446)
    parser.add_argument("--json", type=Path, dest="output")
    main(os.environ["CRYPTO_QUANT_TEST_TIMESCALE_URL"], parser.parse_args())
