"""What a trade costs on disk on each tier, and which key of ``trades`` is best for writing and for asking.

    CRYPTO_QUANT_TEST_FSYNC=on scripts/with-databases .venv/bin/python benchmarks/storage.py --json storage.json
    … benchmarks/storage.py --only keys --days 1 --rows-a-day 6000000 --key time-symbol --key symbol-time

``sizes`` fills one day on every tier; ``keys`` fills many days by COPY, once for each order of the key and each
index, and asks the common questions; ``columnstore`` asks them before and after on the Community edition, which runs
in WebAssembly here: its times say something beside each other alone. Databases are made anew and dropped.
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
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg

from crypto_quant.store.as_text import recreate_database

sys.path.insert(0, str(Path(__file__).parent))
from storage_tape import FIRST_DAY, GONE, IDS_A_DAY, Tape

SERVERS = {"hypertable": "TIMESCALE", "partitions": "POSTGRES", "community": "COMMUNITY"}
BATCH = 20_000

_COLUMNS = """time TIMESTAMPTZ NOT NULL, venue TEXT NOT NULL, symbol TEXT NOT NULL, trade_id BIGINT NOT NULL,
price NUMERIC(20,8) NOT NULL, quantity NUMERIC(20,8) NOT NULL, first_trade_id BIGINT NOT NULL,
last_trade_id BIGINT NOT NULL, is_buyer_maker BOOLEAN NOT NULL, received_at TIMESTAMPTZ"""

# name -> the unique key, further indexes from the start, further indexes on days that are over
KEYS: dict[str, tuple[str, list[str], list[str]]] = {
    "time-symbol": ("time, symbol, trade_id, venue", [], []),
    "symbol-time": ("symbol, time, trade_id, venue", [], []),
    "symbol-id": ("symbol, trade_id, time, venue", [], []),
    "time-symbol + index": ("time, symbol, trade_id, venue", ["symbol, time"], []),
    "time-symbol + late index": ("time, symbol, trade_id, venue", [], ["symbol, time"]),
}
SEGMENTS = ("venue, symbol", "symbol")
ORDERS = ("time, trade_id", "trade_id, time")


# a symbol's share falls with its rank as in ``storage_tape``: the power of a uniform number is as good as Zipf
_MADE = """
INSERT INTO trades
SELECT at, 'spot',
       CASE WHEN {base} = {first} AND n % 997 = 3 THEN '{gone}' ELSE 'sym' || lpad(s::text, 4, '0') || 'usdt' END,
       {base} + row_number() OVER one, greatest(1, start + sum(step) OVER one) / 100.0, quantity / 100000.0,
       {base} + sum(singles) OVER one - singles + 1, {base} + sum(singles) OVER one, maker, at + delay
FROM (
    SELECT n, floor(power({symbols}, random()))::int - 1 AS s, floor(random() * 3 - 1)::int AS step,
           CASE WHEN random() < 0.5 THEN floor(random() * 50 + 1) * 1000 ELSE floor(random() * 9999999 + 1) END::numeric
               AS quantity,
           floor(random() * 2.2 + 1)::int AS singles, random() < 0.5 AS maker,
           timestamptz '{begin} 00:00+00' + (n * 86000000000::bigint / {rows} + floor(random() * 200)::int)
               * interval '1 microsecond' AS at,
           floor(random() * 6000 + 3000) * interval '1 microsecond' AS delay
    FROM generate_series(0, {rows} - 1) AS n) AS drawn
CROSS JOIN LATERAL (SELECT 1000 + (s * 7919 + 100) % 9000000 AS start) AS begun
WINDOW one AS (PARTITION BY s ORDER BY n)
ORDER BY n"""


# -- tables ---------------------------------------------------------------------------------------------------


async def make_table(connection: asyncpg.Connection, key: str, days: int, *, hypertable: bool) -> None:
    """Make ``trades`` anew with this unique key, with room for so many days."""
    if hypertable:
        await connection.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
    await connection.execute("DROP TABLE IF EXISTS trades CASCADE")
    split = "" if hypertable else "PARTITION BY RANGE (time)"
    await connection.execute(f"CREATE TABLE trades ({_COLUMNS}, UNIQUE ({key})) {split}")
    if hypertable:
        await connection.execute(
            "SELECT create_hypertable('trades', by_range('time', INTERVAL '1 day'), create_default_indexes => FALSE)"
        )
        return
    for number in range(days + 1):
        day = FIRST_DAY + timedelta(days=number)
        await connection.execute(
            f"CREATE TABLE trades_p{day:%Y%m%d} PARTITION OF trades"
            f" FOR VALUES FROM ('{day} 00:00+00') TO ('{day + timedelta(days=1)} 00:00+00')"
        )


async def chunks(connection: asyncpg.Connection) -> list[str]:
    """Return the chunks or partitions of ``trades`` that hold rows, the oldest first."""
    found = await connection.fetch(
        "SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = 'trades'::regclass"
        " AND pg_table_size(inhrelid) > 8192 ORDER BY inhrelid"
    )
    return [row["name"] for row in found]


async def sizes_of(connection: asyncpg.Connection, rows: int) -> dict[str, float]:
    """Return the bytes a row of ``trades``, of the heap and of the indexes."""
    heap, index = await connection.fetchrow(
        "SELECT sum(pg_table_size(inhrelid)), sum(pg_indexes_size(inhrelid)) FROM pg_inherits"
        " WHERE inhparent = 'trades'::regclass"
    )
    return {"heap": round(int(heap) / rows, 1), "index": round(int(index) / rows, 1)}


async def copy_in(connection: asyncpg.Connection, batches: list[bytes]) -> float:
    """Store the batches by COPY, a commit each; return the seconds."""
    started = time.perf_counter()
    for batch in batches:
        await connection.copy_to_table("trades", source=_once(batch), format="text")
    return time.perf_counter() - started


async def _once(data: bytes):
    yield data


async def make_day(connection: asyncpg.Connection, day: int, rows: int, symbols: int) -> None:
    """Store one made day by a statement alone: the server in WebAssembly takes no COPY, and no large message."""
    begin = FIRST_DAY + timedelta(days=day)
    await connection.execute("SELECT setseed(0.5)")
    await connection.execute(
        _MADE.format(begin=begin, base=(day + 1) * IDS_A_DAY, rows=rows, symbols=symbols, gone=GONE, first=IDS_A_DAY)
    )


# -- questions ------------------------------------------------------------------------------------------------


def questions(tape: Tape, days: int) -> dict[str, str]:
    """Return the common questions; ``busy``, ``rare`` and ``gone`` are symbols, an old day is a third of the way."""
    busy, rare = tape.names[0], tape.names[-1]
    old, newest = FIRST_DAY + timedelta(days=days // 3), FIRST_DAY + timedelta(days=days - 1)
    last_of = "SELECT * FROM trades WHERE venue = 'spot' AND symbol = '{}' {} ORDER BY time DESC LIMIT 100"
    of = "SELECT * FROM trades WHERE venue = 'spot' AND symbol = '{}' AND time >= '{}+00' AND time < '{}+00'"
    by_id = "SELECT * FROM trades WHERE venue = 'spot' AND symbol = '{}' AND trade_id BETWEEN {} AND {} {}"
    first = (days // 3 + 1) * IDS_A_DAY
    within_day = f"AND time >= '{old} 00:00+00' AND time < '{old + timedelta(days=1)} 00:00+00'"
    return {
        "last 100 of the busiest, no time": last_of.format(busy, ""),
        "last 100 of the rarest, no time": last_of.format(rare, ""),
        "last 100 of one that is gone, no time": last_of.format(GONE, ""),
        "last 100 of one that is gone, bounded": last_of.format(
            GONE, f"AND time >= '{FIRST_DAY} 00:00+00' AND time < '{FIRST_DAY + timedelta(days=1)} 00:00+00'"
        ),
        "5 minutes of the busiest, old": of.format(busy, f"{old} 12:00", f"{old} 12:05"),
        "5 minutes of the rarest, old": of.format(rare, f"{old} 12:00", f"{old} 12:05"),
        "a day of the busiest, old": of.format(busy, f"{old} 00:00", f"{old + timedelta(days=1)} 00:00"),
        "a day of the rarest, old": of.format(rare, f"{old} 00:00", f"{old + timedelta(days=1)} 00:00"),
        "the last minute of all": f"SELECT * FROM trades WHERE time >= '{newest} 23:52+00'",  # noqa: S608
        "101 ids of the busiest, no time": by_id.format(busy, first + 50, first + 150, ""),
        "101 ids of the busiest, its day named": by_id.format(busy, first + 50, first + 150, within_day),
    }


async def ask(connection: asyncpg.Connection, tape: Tape, days: int) -> dict[str, float]:
    """Return the milliseconds of each question: the median of five, after one that warms up."""
    told = {}
    for name, query in questions(tape, days).items():
        took = []
        for _ in range(6):
            started = time.perf_counter()
            await connection.fetch(query)
            took.append(time.perf_counter() - started)
        told[name] = round(statistics.median(took[1:]) * 1000, 2)
    return told


# -- the three parts ------------------------------------------------------------------------------------------


async def sizes(urls: dict[str, str], rows: int, symbols: int) -> dict[str, Any]:
    """Return bytes a trade on each tier, as it is and without the columns that are ours."""
    told: dict[str, Any] = {}
    ours: dict[str, Callable[[asyncpg.Connection], Any]] = {
        "as recorded": lambda _: asyncio.sleep(0),
        "backfilled (received_at NULL)": lambda c: c.execute("UPDATE day SET received_at = NULL"),
        "without received_at": lambda c: c.execute("ALTER TABLE day DROP COLUMN received_at"),
        "without both": lambda c: c.execute("ALTER TABLE day DROP COLUMN venue"),
    }
    for server, url in urls.items():
        connection = await asyncpg.connect(url, statement_cache_size=0)
        try:
            told[server] = await _sizes_on(connection, rows, symbols, ours, server)
            if server == "community":
                told["columnstore"] = await _columnstore_sizes(connection, rows)
        finally:
            await connection.close()
    return told


async def _sizes_on(connection, rows: int, symbols: int, ours, server: str) -> dict[str, Any]:
    key, _, _ = KEYS["time-symbol"]
    await make_table(connection, key, 1, hypertable=server != "partitions")
    await make_day(connection, 0, rows, symbols)
    told = {}
    await connection.execute("DROP TABLE IF EXISTS day; CREATE TABLE day (LIKE trades)")
    await connection.execute("INSERT INTO day SELECT * FROM trades")
    for name, change in ours.items():
        await change(connection)
        # a table that was never wider: what a dropped column leaves behind would be counted
        await connection.execute("DROP TABLE IF EXISTS plain; CREATE TABLE plain AS SELECT * FROM day ORDER BY time")
        venue = ", venue" if name != "without both" else ""
        await connection.execute(f"CREATE UNIQUE INDEX ON plain (time, symbol, trade_id{venue})")
        heap, index = await connection.fetchrow("SELECT pg_table_size('plain'), pg_indexes_size('plain')")
        told[name] = {"heap": round(heap / rows, 1), "index": round(index / rows, 1)}
    await connection.execute("DROP TABLE day, plain")
    return {"in the table": await sizes_of(connection, rows), **told}


async def _columnstore_sizes(connection: asyncpg.Connection, rows: int) -> dict[str, float]:
    told = {}
    for segment in SEGMENTS:
        for order in ORDERS:
            bytes_after = await _to_columnstore(connection, segment, order)
            told[f"segments by {segment}; ordered by {order}"] = round(bytes_after / rows, 1)
            await connection.execute("SELECT decompress_chunk(c) FROM show_chunks('trades') c")
            await connection.execute("ALTER TABLE trades SET (timescaledb.compress = false)")
    return told


async def _to_columnstore(connection: asyncpg.Connection, segment: str, order: str) -> int:
    # the names of before 2.18, which every version understands
    rest = ", venue" if "venue" not in segment else ""
    await connection.execute(
        "ALTER TABLE trades SET (timescaledb.compress,"
        f" timescaledb.compress_segmentby = '{segment}', timescaledb.compress_orderby = '{order}{rest}')"
    )
    await connection.execute("SELECT compress_chunk(c) FROM show_chunks('trades') c")
    return int(
        await connection.fetchval("SELECT after_compression_total_bytes FROM hypertable_compression_stats('trades')")
    )


class Contender:
    """One key with its table, in a schema of its own."""

    def __init__(self, name: str, connection: asyncpg.Connection) -> None:
        self.name = name
        self.connection = connection
        self.rates: list[float] = []
        self.cpu_us: list[float] = []

    async def store(self, batches: list[bytes], rows: int) -> None:
        """Store the batches, and note the rows a second and the server's CPU a row."""
        before = _cpu_s(self.connection.get_server_pid())
        self.rates.append(rows / await copy_in(self.connection, batches))
        self.cpu_us.append((_cpu_s(self.connection.get_server_pid()) - before) / rows * 1e6)


def _cpu_s(pid: int) -> float:
    """Return the CPU seconds of a process of this machine; a server elsewhere has none that we could see."""
    try:
        ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    except OSError:
        return float("nan")
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


async def keys(
    url: str, tape: Tape, days: int, rows: int, wanted: list[str], *, hypertable: bool
) -> dict[str, dict[str, Any]]:
    """Return, for each key, what storing by COPY took, bytes a row and the questions' ms.

    The contenders store each day in turn, a quarter at a time and each time in another order: what slows the machine
    slows all of them. The server's CPU a row hardly depends on other work.
    """
    contenders = []
    for at, name in enumerate(wanted):
        connection = await asyncpg.connect(url)
        if hypertable:
            await connection.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
        await connection.execute(f"CREATE SCHEMA key{at}; SET search_path = key{at}, public")
        key, indexes, _ = KEYS[name]
        await make_table(connection, key, days, hypertable=hypertable)
        for index in indexes:
            await connection.execute(f"CREATE INDEX ON trades ({index})")
        contenders.append(Contender(name, connection))
    turn = 0
    for day in range(days):
        batches = tape.copies(day, BATCH)
        step = max(1, len(batches) // 4)
        for at in range(0, len(batches), step):
            part = batches[at : at + step]
            turn += 1
            for place in range(len(contenders)):
                count = sum(each.count(b"\n") for each in part)
                await contenders[(place + turn) % len(contenders)].store(part, count)
    told = {}
    for each in contenders:
        late_s = await _index_late(each.connection, KEYS[each.name][2])
        await each.connection.execute("VACUUM ANALYZE trades")
        quarter = max(1, len(each.rates) // 4)
        told[each.name] = {
            "rows_per_second": round(statistics.median(each.rates)),
            "rows_per_second_range": [round(min(each.rates)), round(max(each.rates))],
            "rows_per_second_last_quarter": round(statistics.median(each.rates[-quarter:])),
            "server_cpu_us_a_row": round(statistics.median(each.cpu_us), 2),
            "server_cpu_us_a_row_last_quarter": round(statistics.median(each.cpu_us[-quarter:]), 2),
            "late_index_seconds_a_day": late_s,
            "bytes_a_row": await sizes_of(each.connection, days * rows),
            "ms": await ask(each.connection, tape, days),
        }
        print(f"  {each.name}: {json.dumps(told[each.name])}", file=sys.stderr)
        await each.connection.execute("DROP TABLE trades CASCADE")
        await each.connection.close()
    return told


async def _index_late(connection: asyncpg.Connection, wanted: list[str]) -> float | None:
    """Index the days that are over, chunk by chunk; return the seconds a day."""
    if not wanted:
        return None
    over = (await chunks(connection))[:-1]
    started = time.perf_counter()
    for chunk in over:
        for index in wanted:
            await connection.execute(f"CREATE INDEX ON {chunk} ({index})")
    return round((time.perf_counter() - started) / max(1, len(over)), 2)


async def columnstore(url: str, tape: Tape, days: int, rows: int) -> dict[str, Any]:
    """Return the questions' ms on the Community edition before and after its days but the newest are columns."""
    connection = await asyncpg.connect(url, statement_cache_size=0)
    try:
        key, _, _ = KEYS["time-symbol"]
        await make_table(connection, key, days, hypertable=True)
        for day in range(days):
            await make_day(connection, day, rows, len(tape.names))
        await connection.execute("ANALYZE trades")
        told: dict[str, Any] = {"rows": {"ms": await ask(connection, tape, days)}}
        for order in ORDERS:
            await connection.execute(
                "ALTER TABLE trades SET (timescaledb.compress, timescaledb.compress_segmentby = 'venue, symbol',"
                f" timescaledb.compress_orderby = '{order}')"
            )
            over = (await chunks(connection))[:-1]
            started = time.perf_counter()
            for chunk in over:
                await connection.execute("SELECT compress_chunk($1::regclass)", chunk)
            took = time.perf_counter() - started
            told[order] = {"rows_per_second": round(rows * len(over) / took), "ms": await ask(connection, tape, days)}
            for chunk in over:
                await connection.execute("SELECT decompress_chunk($1::regclass)", chunk)
            await connection.execute("ALTER TABLE trades SET (timescaledb.compress = false)")
        await connection.execute("DROP TABLE trades CASCADE")
        return told
    finally:
        await connection.close()


# -- the whole ------------------------------------------------------------------------------------------------


def show(told: dict[str, Any]) -> None:
    """Print the tables."""
    if "sizes" in told:
        print("\nbytes a trade: heap + index")
        for server, cells in told["sizes"].items():
            for name, cell in cells.items():
                text = f"{cell['heap']} + {cell['index']}" if isinstance(cell, dict) else f"{cell}"
                print(f"  {server:12} {name:50} {text}")
    for part in ("keys", "columnstore"):
        if part in told:
            columns_ = told[part]
            print(f"\n{part}: " + " | ".join(columns_))
            for question in next(iter(columns_.values()))["ms"]:
                print(f"  {question:42}" + "".join(f"{each['ms'][question]:>12.2f}" for each in columns_.values()))
            for fact in sorted({fact for each in columns_.values() for fact in each if fact != "ms"}):
                print(f"  {fact:42}" + "".join(f"  {each.get(fact)}" for each in columns_.values()))


async def main(args: argparse.Namespace) -> None:
    """Run the parts that were asked for, print what they told, and write it."""
    given = {server: os.environ.get(f"CRYPTO_QUANT_TEST_{name}_URL") for server, name in SERVERS.items()}
    urls = {server: url for server, url in given.items() if url}
    own = {  # the Community edition has one database and keeps it
        server: url if server == "community" else await recreate_database(url, "crypto_quant_bench_storage")
        for server, url in urls.items()
    }
    told: dict[str, Any] = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"), "cores": os.cpu_count(), "machine": platform.machine(),
        "days": args.days, "rows_a_day": args.rows_a_day, "symbols": args.symbols,
    }  # fmt: skip
    if args.only in (None, "sizes"):
        told["sizes"] = await sizes(own, args.rows_a_day, args.symbols)
    if args.only in (None, "keys") and args.server in own:
        connection = await asyncpg.connect(own[args.server])
        told["server"] = {
            name: await connection.fetchval(f"SHOW {name}") for name in ("server_version", "shared_buffers", "fsync")
        }
        await connection.close()
        tape = Tape(args.rows_a_day, args.symbols)
        told["keys"] = await keys(
            own[args.server], tape, args.days, args.rows_a_day, args.key or list(KEYS),
            hypertable=args.server == "hypertable",
        )  # fmt: skip
    if args.only in (None, "columnstore") and "community" in own:
        rows = args.rows_a_day // 4
        told["columnstore"] = await columnstore(own["community"], Tape(rows, args.symbols), min(args.days, 6), rows)
    show(told)
    if args.output is not None:
        args.output.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=["sizes", "keys", "columnstore"])
    parser.add_argument(
        "--server", choices=["hypertable", "partitions"], default="hypertable", help="where keys are compared"
    )
    parser.add_argument("--key", action="append", choices=list(KEYS), help="of these keys alone")
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--rows-a-day", type=int, default=200_000)
    parser.add_argument("--symbols", type=int, default=1000)
    parser.add_argument("--json", type=Path, dest="output")
    asyncio.run(main(parser.parse_args()))
