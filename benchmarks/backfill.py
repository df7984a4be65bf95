"""How fast a file of the archive becomes rows, beside a bare COPY of the same rows into the same table.

    CRYPTO_QUANT_TEST_FSYNC=on scripts/with-databases .venv/bin/python benchmarks/backfill.py --rows 1000000

Each repetition gets a fresh database, and the two take turns. The file is on the disk, without a network: zip, CSV,
checksum and coverage are the real ones, and the time goes from asking for the file to the last commit. The loader runs
in a process of its own, so that CPU and memory are its own; what reads and sends the finished rows of the bare COPY is
this process.
"""

import argparse
import hashlib
import json
import multiprocessing
import os
import platform
import random
import re
import shutil
import statistics
import sys
import tempfile
import time
import zipfile
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, date, datetime
from pathlib import Path

import asyncpg
import uvloop

from crypto_quant.binance.archive import TradeReader
from crypto_quant.binance.streams import Stream
from crypto_quant.binance.venues import StreamKind, venue_spec
from crypto_quant.flow.archives import ArchiveShelf
from crypto_quant.flow.delivery import Delivery
from crypto_quant.flow.history_run import HistoryRun
from crypto_quant.flow.loading import TradeLoader, Wanted
from crypto_quant.flow.loading_candles import CandleLoader
from crypto_quant.flow.rest import ExchangeRest
from crypto_quant.market import Venue
from crypto_quant.seams import COLUMNS, HttpAnswer, Table
from crypto_quant.store.as_text import recreate_database
from crypto_quant.store.ledger import StoreLedger
from crypto_quant.store.timescale import open_sink

DAY = date(2026, 9, 30)
BEGIN_US = 1_790_726_400_000_000


class Served:
    """An ``Http`` of one file on disk."""

    def __init__(self, path: Path, name: str) -> None:
        self._path = path
        with path.open("rb") as file:  # not read whole: the memory of this process is measured
            self._line = f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {name}\n".encode()

    async def get(self, url, params, headers):
        return HttpAnswer(200, {}, self._line)

    async def download(self, url, into):
        shutil.copyfile(self._path, into)
        return HttpAnswer(200, {}, b"")


class Nothing:
    """A ``Quarantine`` that must not be needed."""

    def keep(self, kind, raw, reason):
        raise RuntimeError(reason)


def lines(rows: int) -> str:
    """Return the CSV of a day of trades."""
    rng = random.Random(1)  # noqa: S311
    made, last = [], 8_100_000_000
    for number in range(rows):
        first, last = last + 1, last + rng.randint(1, 3)
        time_us = BEGIN_US + number * 86_400_000_000 // rows
        price, quantity = 6_425_000 + rng.randint(-50_000, 50_000), rng.randint(1, 500_000)
        made.append(
            f"{3_500_000_000 + number},{price // 100}.{price % 100:02d}000000,"
            f"{quantity // 10**5}.{quantity % 10**5:05d}000,"
            f"{first},{last},{time_us},{'True' if rng.random() < 0.5 else 'False'},True\n"
        )
    return "".join(made)


async def bare_copy(url: str, data: bytes) -> float:
    """Return the seconds of one COPY of finished rows."""
    connection = await asyncpg.connect(url)
    try:
        started = time.perf_counter()
        await connection.copy_to_table("trades", source=_pieces(data), columns=COLUMNS[Table.TRADES], format="text")
        return time.perf_counter() - started
    finally:
        await connection.close()


async def _pieces(data: bytes):
    for at in range(0, len(data), 1 << 16):
        yield data[at : at + (1 << 16)]


def loader(url: str, path: Path, directory: Path, rows: int) -> dict[str, float]:
    """Load the file, in a process of its own; return seconds, CPU seconds and the peak of its memory in MB."""
    sys.setswitchinterval(0.0002)  # as the verb sets it
    told = uvloop.run(load(url, path, directory, rows))
    # not getrusage: its peak is inherited from whoever started this process
    peak_mb = int(re.findall(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text())[0]) / 1024
    return {**told, "peak_mb": peak_mb}


async def load(url: str, path: Path, directory: Path, rows: int) -> dict[str, float]:
    """Return the seconds and the CPU seconds from asking for the file to the last commit."""
    emit = lambda _: None  # noqa: E731
    rng = random.Random(1)  # noqa: S311
    sink = await open_sink(url, pool_size=3, emit=emit)
    try:
        spec = venue_spec(Venue.USDM)  # futures: the day's bounds are not asked for over REST
        http = Served(path, "BTCUSDT-aggTrades-2026-09-30.zip")
        rest = ExchangeRest(spec, "http://nowhere", http, emit, rng)
        shelf = ArchiveShelf("http://nowhere", http, directory, emit, rng)
        delivery = Delivery(sink, spec.venue, quarantine=Nothing(), emit=emit, rng=rng)
        ledger = StoreLedger(sink)
        now_ns = (BEGIN_US + 2 * 86_400_000_000) * 1000
        trades = TradeLoader(
            rest, shelf, delivery, ledger, venue=spec.venue, now_ns=now_ns, quarantine=Nothing(), emit=emit
        )
        candles = CandleLoader(rest, shelf, delivery, ledger, venue=spec.venue, now_ns=now_ns, emit=emit)
        run = HistoryRun(trades, candles, shelf, jobs=1, report=lambda *_: None)
        started, cpu = time.perf_counter(), time.process_time()
        [outcome] = await run.run([Wanted("btcusdt", Stream(StreamKind.AGG_TRADE), DAY, DAY)])
        took, cpu = time.perf_counter() - started, time.process_time() - cpu
        if outcome.rows_written != rows or outcome.failures:
            raise RuntimeError(f"not loaded whole: {outcome}")
        return {"seconds": took, "cpu": cpu}
    finally:
        await sink.close()


async def main(url: str, rows: int, repetitions: int, output: Path | None) -> None:
    """Measure both in turn and print the rates."""
    text = lines(rows).encode()
    data = b"".join(TradeReader(Venue.USDM, "btcusdt").read(text).rows)
    bare: list[float] = []
    loaded: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place)
        path = directory / "made.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
            packed.writestr("BTCUSDT-aggTrades-2026-09-30.csv", text)
        del text
        for repetition in range(repetitions):
            bare.append(rows / await bare_copy(await _fresh(url), data))
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as own:
                loaded.append(own.submit(loader, await _fresh(url), path, directory / "shelf", rows).result())
            one = loaded[-1]
            print(
                f"  {repetition + 1}/{repetitions}: {bare[-1]:,.0f}, {rows / one['seconds']:,.0f};"
                f" CPU of the loader {one['cpu'] / rows * 1e6:.2f} µs a row, peak {one['peak_mb']:.0f} MB",
                file=sys.stderr,
            )
    rates = [rows / one["seconds"] for one in loaded]
    ratios = [ours / base for ours, base in zip(rates, bare, strict=True)]
    print(
        f"{rows:,} rows, {repetitions} repetitions, medians; {datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}\n"
        f"bare COPY     {statistics.median(bare):>10,.0f} rows/s  ({min(bare):,.0f} – {max(bare):,.0f})\n"
        f"archive file  {statistics.median(rates):>10,.0f} rows/s  ({min(rates):,.0f} – {max(rates):,.0f})\n"
        f"of it, repetition by repetition: {statistics.median(ratios):.2f} ({min(ratios):.2f} – {max(ratios):.2f})"
    )
    if output is not None:
        told = {
            "date": datetime.now(UTC).isoformat(), "cores": os.cpu_count(), "python": platform.python_version(),
            "rows": rows, "bare_copy_per_second": bare, "archive_per_second": rates, "ratios": ratios, "loader": loaded,
        }  # fmt: skip
        output.write_text(json.dumps(told, indent=1) + "\n")


async def _fresh(url: str) -> str:
    """Return the URL of a new database with the schema."""
    fresh = await recreate_database(url, "crypto_quant_bench")
    await (await open_sink(fresh, pool_size=1)).close()
    return fresh


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database-url", default=os.environ.get("CRYPTO_QUANT_TEST_TIMESCALE_URL"))
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--json", type=Path, dest="output")
    args = parser.parse_args()
    if not args.database_url:
        parser.error("no database: give --database-url, or run it through scripts/with-databases")
    uvloop.run(main(args.database_url, args.rows, args.repetitions, args.output))
