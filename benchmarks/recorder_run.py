"""One recording of the generator's tape in a process of its own: rate, CPU and memory are the recorder's alone.

``run.py`` starts it. The settings are those of ``crypto-quant record``; the two switches leave something out to show
what it costs.
"""

import argparse
import asyncio
import gc
import json
import re
import sys
import time
from pathlib import Path

import uvloop

from crypto_quant.compose import open_recorder
from crypto_quant.config import Settings
from crypto_quant.flow.chunk import AllSeries
from crypto_quant.seams import Batch, Receipt
from crypto_quant.store.timescale import TimescaleSink

sys.path.insert(0, str(Path(__file__).parent))
import generator  # the load generator stands beside this file


def leave_out(*, coverage: bool, database: bool) -> None:
    """Take a part out of this process's recorder."""

    async def discard(_self: TimescaleSink, batch: Batch) -> Receipt:
        await asyncio.sleep(0)
        return Receipt(len(batch.rows), 0)

    if coverage:
        AllSeries.covered_by = lambda _self, _chunks: []  # type: ignore[method-assign]
    if database:
        TimescaleSink.write = discard  # type: ignore[method-assign]


async def record(url: str, port: int, trades: int, symbols: int) -> dict[str, float]:
    """Record so many trades; return seconds and CPU seconds from the first frame to the last commit, and peak MB."""
    settings = Settings(
        symbols=tuple(generator.symbols(symbols)),
        database_url=url,
        ws_url=f"ws://127.0.0.1:{port}",
        rest_url=f"http://127.0.0.1:{port}",
    )
    async with open_recorder(settings, lambda _event: None) as whole:
        gc.collect()
        gc.freeze()
        stats = whole.pipeline.stats
        running = asyncio.create_task(whole.pipeline.run())
        while not stats.trades_received:
            await asyncio.sleep(0.0005)
        began, cpu = time.perf_counter(), time.process_time()
        while stats.trades_written < trades:
            await asyncio.sleep(0.01)
            if running.done():
                raise RuntimeError("the recorder ended early")
        took, cpu = time.perf_counter() - began, time.process_time() - cpu
        whole.pipeline.stop()
        await running
    # not getrusage: its peak is inherited from whoever started this process
    peak_mb = int(re.findall(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text())[0]) / 1024
    return {
        "seconds": took,
        "cpu": cpu,
        "peak_mb": peak_mb,
        "batches": stats.batches_written,
        "spooled": stats.spooled_rows,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database-url", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--trades", type=int, required=True)
    parser.add_argument("--symbols", type=int, required=True)
    parser.add_argument("--without-coverage", action="store_true")
    parser.add_argument("--discard", action="store_true", help="throw the rows away instead of storing them")
    args = parser.parse_args()
    leave_out(coverage=args.without_coverage, database=args.discard)
    print(json.dumps(uvloop.run(record(args.database_url, args.port, args.trades, args.symbols))))
