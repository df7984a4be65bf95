"""What an outage of the database costs: memory while it lasts, and how fast the spool is emptied afterwards.

Run it where the test databases are: ``scripts/with-databases .venv/bin/python benchmarks/outage.py --seconds 60``.
A simulated exchange, the recorder and TimescaleDB are processes of their own; the server is stopped and started again.
"""

# ruff: noqa: S603  # it runs programs for a living

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

# raw trades to one aggregate trade, about: the simulated exchange is told the former
RAW = 1.65


class Program:
    """A process whose JSON log is read while it runs."""

    def __init__(self, *arguments: str) -> None:
        self.lines: list[dict[str, Any]] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "crypto_quant", *arguments], stderr=subprocess.PIPE, text=True
        )
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if line.startswith("{"):
                self.lines.append(json.loads(line))

    def last(self, event: str) -> dict[str, Any]:
        return ([line for line in self.lines if line["event"] == event] or [{}])[-1]

    def wait_for(self, event: str, **least: int) -> dict[str, Any]:
        while True:
            found = self.last(event)
            if found and all(found[name] >= value for name, value in least.items()):
                return found
            assert self.process.poll() is None, self.lines[-3:]
            time.sleep(0.05)

    def memory_mb(self) -> float:
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGESIZE") / 1e6

    def cpu_s(self) -> float:
        ticks = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
        return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")

    def end(self) -> None:
        self.process.terminate()
        self.process.wait()
        self._reading.join()


def control(*words: str) -> None:
    subprocess.run([*shlex.split(os.environ["CRYPTO_QUANT_TEST_TIMESCALE_CONTROL"]), *words], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=5000, help="trades a second")
    parser.add_argument("--seconds", type=float, default=60, help="length of the outage")
    parser.add_argument("--port", type=int, default=19443)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as data_dir:
        os.environ["CRYPTO_QUANT_DATA_DIR"] = data_dir
        exchange = Program(
            "simulate", "--symbol", "btcusdt", "--symbol", "ethusdt",
            "--rate", str(options.rate * RAW), "--port", str(options.port),
        )  # fmt: skip
        time.sleep(2)
        recorder = Program(
            "record", "btcusdt", "ethusdt", "--ws-url", f"ws://127.0.0.1:{options.port}", "--log-format", "json",
            "--database-url", os.environ["CRYPTO_QUANT_TEST_TIMESCALE_URL"], "--stats-interval", "0.5",
        )  # fmt: skip
        try:
            recorder.wait_for("Pipeline statistics", trades_written=int(5 * options.rate))
            live_mb = recorder.memory_mb()
            control("stop", "-m", "fast")
            recorder.wait_for("Pipeline statistics", spooled_rows=1)
            began, before = time.monotonic(), recorder.last("Pipeline statistics")["spooled_rows"]
            samples = []
            while time.monotonic() - began < options.seconds:
                samples.append(recorder.memory_mb())
                time.sleep(0.5)
            spooled = recorder.last("Pipeline statistics")
            filled_per_s = (spooled["spooled_rows"] - before) / (time.monotonic() - began)
            control("start")
            replayed = recorder.wait_for("Spool replayed")
            back = recorder.last("Store available again")
            first = next(line for line in recorder.lines if line["event"] == "Store available again")
            took_s = _seconds(replayed["timestamp"]) - _seconds(first["timestamp"])
            after_mb = recorder.memory_mb()
        finally:
            recorder.end()
            exchange.end()
    emptied_per_s = replayed["rows"] / max(took_s, 0.001)
    print(f"outage {options.seconds:.0f} s, filled at {filled_per_s:,.0f} rows/s to {spooled['spool_bytes']:,} bytes")
    print(f"memory: live {live_mb:.0f} MB, outage {samples[0]:.0f} to {samples[-1]:.0f} MB (most {max(samples):.0f}), "
          f"after {after_mb:.0f} MB")  # fmt: skip
    print(f"replayed {replayed['rows']:,} rows in {took_s:.2f} s: {emptied_per_s:,.0f} rows/s, "
          f"{emptied_per_s / filled_per_s:.1f} times as fast as they came; away {back['away_s']} s")  # fmt: skip
    print(f"at the end: {recorder.last('Final statistics')}")


def _seconds(timestamp: str) -> float:
    hours, minutes, seconds = timestamp[11:-1].split(":")
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)


if __name__ == "__main__":
    main()
