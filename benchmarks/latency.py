"""From a frame's arrival to its row being visible to another connection, as an outside observer sees it.

Run it where the test databases are: ``scripts/with-databases .venv/bin/python benchmarks/latency.py``. A simulated
exchange, the recorder with its default settings, and TimescaleDB are processes of their own. The observer asks the
table again and again for what is new; ``received_at`` says when each row's frame had arrived, by the same clock.
"""

import argparse
import asyncio
import json
import os
import statistics
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
from outage import Program
from run import fresh_database

# One symbol's rows become visible in the order of their ids, and the simulated exchange's times rise with the ids: the
# bound on time lets the index find what is new, so that looking costs next to nothing.
_NEW = """
SELECT trade_id, received_at, time FROM trades
WHERE time >= $2 AND venue = 'spot' AND symbol = 'btcusdt' AND trade_id > $1 ORDER BY trade_id"""

# raw trades to one aggregate trade, about, when one symbol has them all
_RAW = 1.1
# what a start costs (the first chunk of the table, the first statement of each kind) is not looked at
_START_S = 2.0


async def observe(url: str, seconds: float) -> list[float]:
    """Return the lag in ms of every row that became visible within so many seconds."""
    connection = await asyncpg.connect(url)
    newest, since = -1, datetime.now(UTC) - timedelta(seconds=5)
    lags: list[float] = []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        rows = await connection.fetch(_NEW, newest, since)
        now = datetime.now(UTC)
        if newest >= 0:  # what was there before is not looked at
            lags += [(now - received_at).total_seconds() * 1e3 for _, received_at, _ in rows]
        if rows:
            newest, _, since = rows[-1]
        await asyncio.sleep(0.002)
    await connection.close()
    return lags


async def trial(admin_url: str, rate: float, seconds: float, port: int) -> dict[str, float]:
    """Record at ``rate`` aggregate trades a second; return what the observer and the recorder say, in ms."""
    url = await fresh_database(admin_url)
    exchange = Program("simulate", "--symbol", "btcusdt", "--rate", str(rate * _RAW), "--port", str(port))
    await asyncio.sleep(2)
    recorder = Program(
        "record", "btcusdt", "--ws-url", f"ws://127.0.0.1:{port}", "--log-format", "json", "--database-url", url,
        "--stats-interval", str(seconds),
    )  # fmt: skip
    try:
        while not recorder.last("Subscribed"):
            await asyncio.sleep(0.05)
        await asyncio.sleep(_START_S)
        lags = await observe(url, seconds)
        while not recorder.last("Pipeline statistics"):
            await asyncio.sleep(0.05)
        told = recorder.last("Pipeline statistics")
        cpu_s = recorder.cpu_s()
    finally:
        recorder.end()
        exchange.end()
    cuts = statistics.quantiles(lags, n=100)
    return {
        "rate": len(lags) / seconds,
        "observed_p50": cuts[49],
        "observed_p99": cuts[98],
        "observed_most": max(lags),
        "told_p50": told["commit_lag_ms_p50"],
        "told_p99": told["commit_lag_ms_p99"],
        "recorder_cpu_s": cpu_s,
    }


async def main(admin_url: str, rates: list[float], seconds: float, port: int, output: Path | None) -> None:
    """Measure one rate after the other and print a table."""
    trials = []
    print(
        f"{'trades/s':>10}{'rows seen':>12}{'observed p50':>15}{'p99':>9}{'told p50':>12}{'p99':>9}{'CPU s':>8}   (ms)"
    )
    with tempfile.TemporaryDirectory() as data_dir:
        os.environ["CRYPTO_QUANT_DATA_DIR"] = data_dir
        for rate in rates:
            found = await trial(admin_url, rate, seconds, port)
            print(
                f"{found['rate']:>10,.0f}{found['observed_p50']:>15.1f}{found['observed_p99']:>9.1f}"
                f"{found['told_p50']:>12.1f}{found['told_p99']:>9.1f}{found['recorder_cpu_s']:>8.1f}",
                flush=True,
            )
            trials.append(found)
    if output is not None:
        output.write_text(json.dumps({"date": datetime.now(UTC).isoformat(), "trials": trials}, indent=1) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rates", type=float, nargs="+", default=[10, 500, 5000], help="aggregate trades a second")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--port", type=int, default=19444)
    parser.add_argument("--json", type=Path, dest="output")
    args = parser.parse_args()
    url = os.environ["CRYPTO_QUANT_TEST_TIMESCALE_URL"]
    asyncio.run(main(url, args.rates, args.seconds, args.port, args.output))
