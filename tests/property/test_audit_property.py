"""The audit's SQL against a naive model, and the bound of a candle's quote volume against the exchange's own way."""

import random
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_DOWN, Decimal

import asyncpg
from hypothesis import given
from hypothesis import strategies as st

from crypto_quant.continuity import RangeSet
from crypto_quant.evidence import FromTrades, Pair, Scope
from crypto_quant.flow.audit import Auditor
from crypto_quant.judgement import differences
from crypto_quant.store.audit_queries import open_reader
from crypto_quant.store.timescale import open_sink

UNIT = Decimal("0.00000001")
CASES = 60


def cut(value: Decimal) -> Decimal:
    return value.quantize(UNIT, ROUND_DOWN)


def numbers(most: int) -> st.SearchStrategy[Decimal]:
    return st.integers(1, most).map(lambda units: units * UNIT)


@given(st.lists(st.tuples(numbers(10**12), st.lists(numbers(10**10), min_size=1, max_size=6)), min_size=1, max_size=8))
def test_the_exchanges_own_sum_is_always_within_the_bound(aggregates: list[tuple[Decimal, list[Decimal]]]) -> None:
    exchange = sum((cut(price * each) for price, singles in aggregates for each in singles), Decimal(0))
    derived = sum((cut(price * sum(singles)) for price, singles in aggregates), Decimal(0))
    count = sum(len(singles) for _, singles in aggregates)
    one = Decimal(1)
    trades = FromTrades(
        1, len(aggregates), len(aggregates), one, one, one, one, one, derived, one, derived, count, len(aggregates),
        count, 1, count,
    )  # fmt: skip
    pair = Pair("spot", "x", "1m", 0, one, one, one, one, one, exchange, count, one, exchange, 1, count, trades)
    assert differences(pair) == []


async def test_runs_holes_and_doubles_are_those_of_a_naive_model(database_url: str) -> None:
    """Random records over three days: ids lost, ids doubled on the same day and on another."""
    rng = random.Random(20261121)  # noqa: S311
    days = [date(2026, 10, 1) + timedelta(days=number) for number in range(3)]
    await (await open_sink(database_url)).close()
    connection = await asyncpg.connect(database_url)
    for each in days:  # on plain PostgreSQL a day needs its partition
        await ensure_day(connection, each)
    for case in range(CASES):
        await connection.execute("DELETE FROM trades")
        rows: list[tuple[datetime, int]] = []
        size = rng.randint(1, 40)
        for number in range(size):
            if rng.random() < rng.choice((0.0, 0.3)):
                continue
            second = number * 3 * 86_400 // size
            rows.append((datetime(2026, 10, 1, tzinfo=UTC) + timedelta(seconds=second), number))
            if rng.random() < 0.15:
                rows.append((datetime(2026, 10, rng.randint(1, 3), 23, 59, 59, number, tzinfo=UTC), number))
        if not rows:
            continue
        await connection.executemany(
            "INSERT INTO trades (time, venue, symbol, trade_id, price, quantity, first_trade_id, last_trade_id,"
            " is_buyer_maker) VALUES ($1, 'spot', 'btcusdt', $2, 1, 1, $2, $2, true)",
            rows,
        )
        async with open_reader(database_url) as reader:
            report = await Auditor(reader, Scope(), deep=True).run(database="", now_ns=0, version="0")
        [symbol] = report.symbols
        ids = Counter(number for _, number in rows)
        missing = [number for number in range(min(ids), max(ids) + 1) if number not in ids]
        told = RangeSet((each.first, each.last) for each in symbol.holes)
        assert told == RangeSet((number, number) for number in missing), case
        assert symbol.missing == sum(each.missing for each in symbol.days) == len(missing), case
        assert symbol.duplicates == sum(ids.values()) - len(ids), case
        doubled = RangeSet((each.first, each.last) for each in symbol.doubled)
        assert doubled == RangeSet((number, number) for number, count in ids.items() if count > 1), case
        by_day = Counter(moment.date().isoformat() for moment, _ in rows)
        assert {each.day: each.rows for each in symbol.days} == by_day, case
        for each in symbol.days:
            of_day = [number for moment, number in rows if moment.date().isoformat() == each.day]
            assert (each.first_id, each.last_id) == (min(of_day), max(of_day)), case
    await connection.close()


async def ensure_day(connection: asyncpg.Connection, day: date) -> None:
    """Make the partition of a day, where the tables are partitioned."""
    from crypto_quant.seams import Table
    from crypto_quant.store.partitions import create_partition, partition_of
    from crypto_quant.store.tier import Tier, table_tier

    if await table_tier(connection) is Tier.POSTGRESQL:
        await create_partition(connection, partition_of(Table.TRADES, day))
