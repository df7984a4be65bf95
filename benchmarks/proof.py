"""How fast a record is proven: `verify` by coverage and counts, sealing, `verify --deep`, beside bare COPY out.

    make bench ARGS="proof -- --trades 10000000 --symbols 20"

Trades of some days are made in the database, their ids claimed; then each step is timed once, a whole audit each.
Nothing else should run. Figures are rows a second; the ratio is to COPY of a trade's columns to nowhere.
"""

import argparse
import asyncio
import os
import time
from collections.abc import Awaitable

import asyncpg

from crypto_quant.evidence import Scope
from crypto_quant.flow.audit import Auditor
from crypto_quant.store.migrate import migrate
from crypto_quant.upkeep import open_audit, seal

FILL = """
INSERT INTO trades (time, venue, symbol, trade_id, price, quantity, first_trade_id, last_trade_id, is_buyer_maker)
SELECT '2026-10-01 00:00Z'::timestamptz + g * ($3 * interval '1 day') / $1, 'spot', 's' || (g % $2) || 'usdt', g / $2,
       64000.01 + g % 1000, 0.001 * (g % 77 + 1), g / $2 * 2, g / $2 * 2 + 1, g % 3 = 0
FROM generate_series($4::bigint, $5::bigint - 1) g"""
CLAIM = """
INSERT INTO coverage (venue, symbol, first_id, last_id, source, newest)
SELECT venue, symbol, min(trade_id), max(trade_id), 'stream', true FROM trades GROUP BY 1, 2"""
COPY = "SELECT symbol, time, trade_id, price, quantity, first_trade_id, last_trade_id, is_buyer_maker FROM trades"


async def timed(what: str, rows: int, work: Awaitable[object], beside: float | None = None) -> float:
    begun = time.perf_counter()
    await work
    took = time.perf_counter() - begun
    ratio = "" if beside is None else f"  {beside / took:5.2f} of COPY out"
    print(f"{what:28} {took:7.2f} s  {rows / took:12,.0f} rows/s{ratio}", flush=True)
    return took


async def audit(url: str, *, deep: bool) -> None:
    async with open_audit(url, Scope(), deep=deep) as (reader, seals):
        auditor = Auditor(reader, Scope(), deep=deep, seals=seals)
        report = await auditor.run(database="", now_ns=time.time_ns(), version="0")
    assert report.complete, report.totals()


async def copy_out(connection: asyncpg.Connection) -> None:
    async def nowhere(_data: bytes) -> None:
        pass

    await connection.copy_from_query(COPY, output=nowhere)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trades", type=int, default=10_000_000)
    parser.add_argument("--symbols", type=int, default=20)
    parser.add_argument("--days", type=int, default=2)
    given = parser.parse_args()
    admin_url = os.environ["CRYPTO_QUANT_TEST_TIMESCALE_URL"]
    admin = await asyncpg.connect(admin_url)
    await admin.execute("DROP DATABASE IF EXISTS cq_bench_proof WITH (FORCE)")
    await admin.execute("CREATE DATABASE cq_bench_proof TEMPLATE template0")
    url = admin_url.rsplit("/", 1)[0] + "/cq_bench_proof"
    try:
        connection = await asyncpg.connect(url)
        await migrate(connection)
        for first in range(0, given.trades, 500_000):
            last = min(first + 500_000, given.trades)
            await connection.execute(FILL, given.trades, given.symbols, given.days, first, last)
        await connection.execute(CLAIM)
        await connection.execute("VACUUM ANALYZE trades")
        copied = await timed("COPY out, one connection", given.trades, copy_out(connection))
        await timed("verify", given.trades, audit(url, deep=False), copied)
        await timed("verify --deep, unsealed", given.trades, audit(url, deep=True), copied)
        await timed("seal", given.trades, seal(url, Scope()), copied)
        await timed("verify --deep, sealed", given.trades, audit(url, deep=True), copied)
        await connection.close()
    finally:
        await admin.execute("DROP DATABASE IF EXISTS cq_bench_proof WITH (FORCE)")
        await admin.close()


if __name__ == "__main__":
    asyncio.run(main())
