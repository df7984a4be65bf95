"""How fast stored trades become a table, side by side in one run: ours, ADBC's driver, and a bare COPY of the rows.

Run it where a database is: ``scripts/with-databases .venv/bin/python benchmarks/reading.py``. Interleaved
repetitions, medians; the rows are a day of one symbol among others.
"""

import argparse
import asyncio
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import adbc_driver_postgresql.dbapi as adbc
import asyncpg
import pyarrow as pa

import crypto_quant as cq
from crypto_quant.reading.decode import PRICE
from crypto_quant.seams import Table
from crypto_quant.store.as_text import recreate_database
from crypto_quant.store.migrate import migrate
from crypto_quant.store.partitions import create_partition, partition_of
from crypto_quant.store.tier import Tier
from crypto_quant.store.timescale import connect

DAY = datetime(2024, 8, 8, tzinfo=UTC)
COLUMNS = "time, trade_id, price, quantity, first_trade_id, last_trade_id, is_buyer_maker, received_at"
ROWS = (
    f"SELECT {COLUMNS} FROM trades WHERE venue = 'spot' AND symbol = 'btcusdt'"  # noqa: S608
    " AND time >= '2024-08-08Z' AND time < '2024-08-09Z' ORDER BY time, trade_id"
)
NEXT_DAY = datetime(2024, 8, 9, tzinfo=UTC)


async def prepare(url: str, trades: int) -> str:
    """Return the URL of a new database with a day of two symbols, so many trades each."""
    parts = urlsplit(await recreate_database(url, "cq_bench_reading"))
    target = urlunsplit(parts)
    connection = await connect(target, command_timeout_s=600)
    try:
        state = await migrate(connection)
        if state.tier is Tier.POSTGRESQL:
            for day in (DAY, NEXT_DAY):
                await create_partition(connection, partition_of(Table.TRADES, day.date()))
        await connection.execute(
            # behind the day's end one trade more proves that it is whole
            "INSERT INTO trades SELECT CASE WHEN n = $2 THEN $1::timestamptz + interval '1 day'"
            " ELSE $1::timestamptz + n * interval '1 us' * (86399000000 / $2::bigint) END,"
            " 'spot', s || 'usdt', n, 57000 + (n * 7919 % 100000) * 0.01, (n * 104729 % 1000000) * 0.00001, n * 2,"
            " n * 2 + n % 2, n % 3 = 0, CASE WHEN n % 10 < 9 THEN $1::timestamptz + n * interval '1 us' END"
            " FROM generate_series(0, $2::bigint) AS n, unnest(ARRAY['btc', 'eth']) AS s ORDER BY n",
            DAY,
            trades,
        )
        await connection.execute(
            "INSERT INTO coverage (venue, symbol, first_id, last_id, source, newest)"
            " SELECT 'spot', s || 'usdt', 0, $1, 'stream', true FROM unnest(ARRAY['btc', 'eth']) AS s",
            trades,
        )
        await connection.execute("VACUUM ANALYZE trades")
    finally:
        await connection.close()
    return target


def contestants(url: str, trades: int) -> dict[str, Callable[[], int]]:
    """Return what is measured: each returns how many rows it had."""

    def bare(form: str) -> Callable[[], int]:
        async def copy() -> int:
            async def nowhere(_data: bytes) -> None:
                pass

            connection = await asyncpg.connect(url)
            try:
                status = await connection.copy_from_query(ROWS, output=nowhere, format=form)
                return int(status.split()[1])
            finally:
                await connection.close()

        return lambda: asyncio.run(copy())

    def by_adbc(*, decimals: bool) -> Callable[[], int]:
        def read() -> int:
            with adbc.connect(url) as connection, connection.cursor() as cursor:
                cursor.execute(ROWS)
                table = cursor.fetch_arrow_table()
            if decimals:
                for name in ("price", "quantity"):
                    at = table.schema.get_field_index(name)
                    column = table.column(at)
                    text = pa.chunked_array([getattr(each, "storage", each) for each in column.chunks])
                    table = table.set_column(at, name, text.cast(PRICE))
            return int(table.num_rows)

        return read

    def ours(**choices: str) -> Callable[[], int]:
        def read() -> int:
            with cq.connect(url) as db:
                return len(db.trades("btcusdt", DAY, NEXT_DAY, **choices))

        return read

    def candles() -> int:
        with cq.connect(url) as db:
            assert db.candles("btcusdt", "1m", DAY, NEXT_DAY, source="trades").num_rows == 1440
        return trades

    return {
        "bare COPY, text": bare("text"),
        "bare COPY, binary": bare("binary"),
        "ADBC, NUMERIC as text": by_adbc(decimals=False),
        "ADBC, cast to decimal": by_adbc(decimals=True),
        "ours, Arrow": ours(),
        "ours, polars": ours(as_="polars"),
        "ours, pandas": ours(as_="pandas"),
        "ours, float64 polars": ours(as_="polars", decimals="float64"),
        "1m candles of them": candles,
    }


def main(url: str, trades: int, repetitions: int, output: Path | None) -> None:
    """Run the contestants in turn and print what they did."""
    target = asyncio.run(prepare(url, trades))
    taking_part = contestants(target, trades)
    took: dict[str, list[float]] = {name: [] for name in taking_part}
    for repetition in range(-1, repetitions):  # the first round fills the caches
        for name, contestant in taking_part.items():
            begun = time.perf_counter()
            rows = contestant()
            seconds = time.perf_counter() - begun
            assert rows == trades, f"{name}: {rows} rows"
            if repetition >= 0:
                took[name].append(seconds)
        print(f"  {repetition + 1}/{repetitions}", file=sys.stderr)
    base = statistics.median(took["bare COPY, text"])
    print(
        f"\n{trades:,} trades of a day, {repetitions} repetitions, medians; "
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, Python {platform.python_version()}\n"
    )
    print(f"{'':26}{'seconds':>9}{'range':>18}{'rows/s':>13}{'of bare COPY':>14}")
    for name, seconds_each in took.items():
        median = statistics.median(seconds_each)
        between = f"{min(seconds_each):.2f} – {max(seconds_each):.2f}"
        print(f"{name:26}{median:>9.2f}{between:>18}{trades / median:>13,.0f}{base / median:>14.2f}")
    if output is not None:
        document = {
            "date": datetime.now(UTC).isoformat(),
            "trades": trades,
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "seconds": took,
        }
        output.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trades", type=int, default=1_000_000)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--server", choices=["TIMESCALE", "POSTGRES"], default="TIMESCALE")
    parser.add_argument("--json", type=Path, dest="output", help="write the figures into this file")
    arguments = parser.parse_args()
    server = os.environ.get(f"CRYPTO_QUANT_TEST_{arguments.server}_URL") or sys.exit("no database: see docs/testing.md")
    main(server, arguments.trades, arguments.repetitions, arguments.output)
