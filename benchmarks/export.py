"""How fast a record becomes Parquet and comes back, beside bare COPY and beside DuckDB, on the same rows in one run.

    scripts/with-databases .venv/bin/python benchmarks/export.py --rows 1000000

The rows are made in the database; contestants take turns. Export and import run as the programs that they are, so that
their start is in the figure, and so is their memory: ``--memory 10000000`` exports so many trades once and tells its
peak. Prints a table and writes JSON.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import duckdb
import uvloop

from crypto_quant.seams import COLUMNS, Table
from crypto_quant.store.as_text import recreate_database
from crypto_quant.store.migrate import migrate
from crypto_quant.store.timescale import connect

FIRST = "2026-10-01"
DAYS = 5
# prices that wander and quantities of all sizes; every tenth trade came from a backfill
FILL = """
INSERT INTO trades (time, venue, symbol, trade_id, price, quantity, first_trade_id, last_trade_id, is_buyer_maker,
                    received_at)
SELECT at, 'spot', 'btcusdt', id, 64000 + round((900 * sin(id / 70000.0) + id % 700 / 100.0)::numeric, 2),
       (1 + abs(hashint8(id)) % 1000000) / 100000.0, 2 * id, 2 * id + abs(hashint8(id + 1)) % 2,
       hashint8(id) % 2 = 0, CASE WHEN id % 10 > 0 THEN at + interval '3 milliseconds' END
FROM (SELECT id, $1::timestamptz + id * $2 * interval '1 microsecond' AS at
      FROM generate_series(0::bigint, $3::bigint - 1) id) AS made"""


async def filled(admin: str, name: str, rows: int) -> str:
    """Return the URL of a database with so many trades of some days, proven."""
    url = await recreate_database(admin, name)
    connection = await connect(url, command_timeout_s=900)
    await migrate(connection)
    step_us = DAYS * 86_400_000_000 // rows
    first = datetime.fromisoformat(FIRST).replace(tzinfo=UTC)
    await connection.execute(FILL, first, step_us, rows)
    await connection.execute("INSERT INTO coverage VALUES ('spot', 'btcusdt', 0, $1, 'stream', true)", rows - 1)
    await connection.execute("ANALYZE trades")
    await connection.close()
    return url


async def empty(admin: str) -> str:
    """Return the URL of a database that has our tables and nothing in them."""
    url = await recreate_database(admin, "crypto_quant_bench_into")
    connection = await connect(url)
    await migrate(connection)
    await connection.close()
    return url


def program(*words: str) -> tuple[float, float]:
    """Run crypto-quant; return how long it took and the most memory that it had, in MB."""
    # compiled modules are kept, as they are on a user's machine
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    started = time.perf_counter()
    process = subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", "crypto_quant", *words], stdout=subprocess.DEVNULL, env=kept
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"crypto-quant {' '.join(words)} failed")
    return time.perf_counter() - started, usage.ru_maxrss / 1024


async def copy_to(url: str) -> float:
    """Return the seconds of a bare COPY TO of all rows as text, in order, into nothing."""

    async def nowhere(_: bytes) -> None: ...

    connection = await asyncpg.connect(url)
    started = time.perf_counter()
    columns = ", ".join(name for name in COLUMNS[Table.TRADES] if name not in ("venue", "symbol"))
    await connection.copy_from_query(f"SELECT {columns} FROM trades ORDER BY time, trade_id", output=nowhere)  # noqa: S608
    took = time.perf_counter() - started
    await connection.close()
    return took


async def copy_text(url: str) -> list[bytes]:
    """Return all rows as COPY's own text."""
    pieces: list[bytes] = []

    async def keep(data: bytes) -> None:
        pieces.append(data)

    connection = await asyncpg.connect(url)
    columns = ", ".join(COLUMNS[Table.TRADES])
    await connection.copy_from_query(f"SELECT {columns} FROM trades ORDER BY time, trade_id", output=keep)  # noqa: S608
    await connection.close()
    return pieces


async def copy_from(url: str, pieces: list[bytes]) -> float:
    """Return the seconds of a bare COPY of the same rows, as ready-made text, in one transaction."""
    text = b"".join(pieces)

    async def source():
        for at in range(0, len(text), 1 << 16):
            yield text[at : at + (1 << 16)]

    connection = await asyncpg.connect(url)
    started = time.perf_counter()
    await connection.copy_to_table("trades", source=source(), columns=COLUMNS[Table.TRADES])
    took = time.perf_counter() - started
    await connection.close()
    return took


def duckdb_reads(lake: Path) -> float:
    """Return the seconds in which DuckDB reads every value of the lake."""
    with duckdb.connect() as database:
        started = time.perf_counter()
        database.execute(
            f"SELECT count(*), max(time), sum(price), sum(quantity), max(first_trade_id), max(last_trade_id),"  # noqa: S608
            f" count(*) FILTER (is_buyer_maker), max(received_at) FROM '{lake}/**/*.parquet'"
        ).fetchall()
        return time.perf_counter() - started


def duckdb_writes(lake: Path, into: Path) -> float:
    """Return the seconds in which DuckDB writes the lake's rows as zstd Parquet again."""
    with duckdb.connect() as database:
        started = time.perf_counter()
        database.execute(f"COPY (FROM '{lake}/**/*.parquet') TO '{into}' (FORMAT parquet, COMPRESSION zstd)")
        return time.perf_counter() - started


async def main(admin: str, rows: int, repetitions: int, memory: int, output: Path | None) -> None:
    """Measure all of them in turn and print what they did."""
    results: dict[str, list[float]] = {}
    peaks: dict[str, float] = {}
    lake_bytes = 0

    def take(name: str, took: float) -> None:
        results.setdefault(name, []).append(rows / took)
        print(f"  {name}: {rows / took:,.0f}/s", file=sys.stderr)

    with tempfile.TemporaryDirectory() as place:
        url = await filled(admin, "crypto_quant_bench", rows)
        pieces = await copy_text(url)
        for _ in range(repetitions):
            lake = Path(place) / "lake"
            shutil.rmtree(lake, ignore_errors=True)
            take("COPY TO", await copy_to(url))
            take("export", program("export", "btcusdt", "--out", str(lake), "--database-url", url)[0])
            lake_bytes = sum(each.stat().st_size for each in lake.rglob("*.parquet"))
            take("DuckDB writes", duckdb_writes(lake, Path(place) / "again.parquet"))
            take("DuckDB reads", duckdb_reads(lake))
            take("COPY FROM", await copy_from(await empty(admin), pieces))
            take("import", program("import", str(lake), "--database-url", await empty(admin))[0])
        if memory:
            del pieces
            shutil.rmtree(lake)
            url = await filled(admin, "crypto_quant_bench", memory)
            lake = Path(place) / "large"
            took, peaks["export"] = program("export", "btcusdt", "--out", str(lake), "--database-url", url)
            print(f"  {memory:,} exported: {memory / took:,.0f}/s, {peaks['export']:.0f} MB", file=sys.stderr)
            took, peaks["import"] = program("import", str(lake), "--database-url", await empty(admin))
            print(f"  {memory:,} imported: {memory / took:,.0f}/s, {peaks['import']:.0f} MB", file=sys.stderr)
    report(rows, repetitions, results, lake_bytes, memory, peaks)
    if output is not None:
        told = {
            "date": datetime.now(UTC).isoformat(), "rows": rows, "cores": os.cpu_count(),
            "python": platform.python_version(), "per_second": results, "bytes_a_row": lake_bytes / rows,
            "memory": {"rows": memory, "peak_mb": peaks},
        }  # fmt: skip
        output.write_text(json.dumps(told, indent=1) + "\n")


def report(
    rows: int, repetitions: int, results: dict[str, list[float]], size: int, memory: int, peaks: dict[str, float]
) -> None:
    """Print the table."""
    print(
        f"\n{rows:,} trades of {DAYS} days, {repetitions} repetitions, medians; {datetime.now(UTC):%Y-%m-%d},"
        f" {os.cpu_count()} cores, Python {platform.python_version()}\n"
    )
    print(f"{'':16}{'rows a second':>14}{'range':>26}")
    for name, rates in results.items():
        spread = f"{min(rates):,.0f} – {max(rates):,.0f}"
        print(f"{name:16}{statistics.median(rates):>14,.0f}{spread:>26}")
    for ours, theirs in (("export", "COPY TO"), ("import", "COPY FROM")):
        ratios = [a / b for a, b in zip(results[ours], results[theirs], strict=True)]
        print(f"{ours} / {theirs}: {statistics.median(ratios):.2f} ({min(ratios):.2f} – {max(ratios):.2f})")
    print(f"{size / rows:.1f} bytes a row in the lake")
    if memory:
        print(f"{memory:,} trades: export had {peaks['export']:.0f} MB at most, import {peaks['import']:.0f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database-url", default=os.environ.get("CRYPTO_QUANT_TEST_TIMESCALE_URL"))
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--memory", type=int, default=0, help="also export so many trades once, and tell the memory")
    parser.add_argument("--json", type=Path, dest="output")
    args = parser.parse_args()
    if not args.database_url:
        parser.error("no database: give --database-url, or run it through scripts/with-databases")
    uvloop.run(main(args.database_url, args.rows, args.repetitions, args.memory, args.output))
