"""Coverage through crashes and restarts, on real databases and with whole recorders: it never claims too much."""

import asyncio
from contextlib import suppress

import asyncpg
import pytest

from crypto_quant.continuity import Gap, RangeSet
from crypto_quant.errors import StoreUnavailable
from crypto_quant.seams import Batch, Covered, Receipt, Source, Table
from crypto_quant.store import coverage
from crypto_quant.store.timescale import TimescaleSink

ROW = "2024-08-08 12:00:{:02}.123456+00\tspot\t{}\t{}\t57034.01\t0.0001\t{}\t{}\tt\t\\N\n"


def batch(first: int, last: int, *, symbols: int = 3) -> Batch:
    names = [f"s{number}usdt" for number in range(symbols)]
    rows = [ROW.format(i % 60, name, i, i, i).encode() for i in range(first, last + 1) for name in names]
    return Batch(Table.TRADES, rows, [Covered("spot", name, first, last, Source.STREAM) for name in names])


async def assert_coverage_is_the_rows(connection: asyncpg.Connection, venue: str = "spot") -> None:
    """Both are read in one snapshot."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        held = await coverage.load(connection, venue)
        rows = await connection.fetch("SELECT symbol, trade_id FROM trades WHERE venue = $1", venue)
    stored: dict[str, RangeSet] = {}
    for symbol, trade_id in rows:
        stored.setdefault(symbol, RangeSet()).add(trade_id, trade_id)
    claimed = {symbol: RangeSet((c.first, c.last) for c in ranges) for symbol, ranges in held.items()}
    assert claimed == stored


async def test_a_backend_that_is_killed_in_mid_write_leaves_coverage_equal_to_the_rows(
    sink: TimescaleSink, connection: asyncpg.Connection, database_url: str
) -> None:
    await sink.write(batch(0, 9))
    ended = 0
    for number in range(1, 25):
        write = asyncio.create_task(sink.write(batch(number * 400, number * 400 + 399)))
        await asyncio.sleep(0.0015 * (number % 12))
        killed = await connection.fetchval(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'"
        )
        with suppress(StoreUnavailable):
            await write
            killed = 0
        ended += killed > 0
        await assert_coverage_is_the_rows(connection)
    assert ended, "no write was cut short"
    receipts = [await sink.write(batch(number * 400, number * 400 + 399)) for number in range(1, 25)]
    assert all(receipt.written + receipt.duplicates == 1200 for receipt in receipts)
    await assert_coverage_is_the_rows(connection)


async def test_many_symbols_begin_together_and_go_on_after_a_break(
    sink: TimescaleSink, connection: asyncpg.Connection
) -> None:
    for first, last in ((0, 1), (2, 3), (7, 8), (9, 9), (4, 6)):
        assert await sink.write(batch(first, last, symbols=500)) == Receipt((last - first + 1) * 500, 0)
    assert {symbol: len(ranges) for symbol, ranges in (await coverage.load(connection, "spot")).items()} == {
        f"s{number}usdt": 1 for number in range(500)
    }
    await assert_coverage_is_the_rows(connection)


async def test_a_table_changed_by_hand_is_told_and_costs_no_row(
    sink: TimescaleSink, connection: asyncpg.Connection
) -> None:
    await sink.write(batch(0, 9))
    await connection.execute("UPDATE coverage SET newest = false")
    with pytest.raises(StoreUnavailable, match=r"coverage.*changed by hand"):
        await sink.write(batch(0, 12))
    await connection.execute("UPDATE coverage SET newest = true")
    assert await sink.write(batch(0, 12)) == Receipt(9, 30)
    await assert_coverage_is_the_rows(connection)


async def test_rows_that_are_gone_are_taken_out_and_stored_again(
    sink: TimescaleSink, connection: asyncpg.Connection
) -> None:
    await sink.write(batch(0, 99))
    await connection.execute("DELETE FROM trades WHERE trade_id BETWEEN 40 AND 49")
    # what coverage says does not keep a row away that is not there
    assert await sink.write(batch(40, 44)) == Receipt(15, 0)
    async with connection.transaction():
        for number in range(3):
            await coverage.retract(connection, "spot", f"s{number}usdt", [(45, 49)])
    await assert_coverage_is_the_rows(connection)
    assert await coverage.gaps(connection, "spot", "s0usdt") == [Gap(45, 49)]
    assert await sink.write(batch(45, 49)) == Receipt(15, 0)
    await assert_coverage_is_the_rows(connection)


async def test_an_absence_needs_a_proof_and_no_coverage(sink: TimescaleSink, connection: asyncpg.Connection) -> None:
    for first, last in ((10, 19), (30, 39), (50, 59)):
        await sink.write(batch(first, last))

    async def absent(first: int, last: int, proof: str = "GET aggTrades fromId=20 answered with 30") -> None:
        async with connection.transaction():
            await coverage.record_absence(connection, "spot", "s0usdt", first, last, proof)

    with pytest.raises(ValueError, match="proof"):
        await absent(20, 29, " ")
    with pytest.raises(ValueError, match="ids 30 to 31 are covered"):
        await absent(25, 31)
    assert await coverage.gaps(connection, "spot", "s0usdt") == [Gap(20, 29), Gap(40, 49)]
    await absent(20, 27)
    await absent(25, 29, "the archive of the day lacks them too")
    await absent(0, 9)
    assert await coverage.gaps(connection, "spot", "s0usdt") == [Gap(40, 49)]
    assert await coverage.load_absences(connection, "spot") == {"s0usdt": [(0, 9), (20, 27), (28, 29)]}
    assert await coverage.gaps(connection, "spot", "s1usdt") == [Gap(20, 29), Gap(40, 49)]
    assert await coverage.gaps(connection, "spot", "nothing") == []


@pytest.mark.parametrize(
    ("come", "left"),
    [
        # the newest range goes on: one statement in all
        ((20, 24), [(0, 9), (25, 29), (40, 44), (45, 49)]),
        ((20, 49), [(0, 9)]),
        ((3, 5), [(0, 2), (6, 9), (20, 29), (40, 44), (45, 49)]),
        ((0, 9), [(20, 29), (40, 44), (45, 49)]),
        ((25, 46), [(0, 9), (20, 24), (47, 49)]),
        ((30, 39), [(0, 9), (20, 29), (40, 44), (45, 49)]),
    ],
)
async def test_what_is_stored_is_absent_no_more(
    sink: TimescaleSink, connection: asyncpg.Connection, come: tuple[int, int], left: list[tuple[int, int]]
) -> None:
    await sink.write(batch(10, 19))
    async with connection.transaction():
        for first, last in ((0, 9), (20, 29), (40, 44), (45, 49)):
            for symbol in ("s0usdt", "s1usdt"):
                await coverage.record_absence(connection, "spot", symbol, first, last, f"asked for {first}")
    known = await connection.fetch("SELECT proof, proven_at FROM absences WHERE symbol = 's0usdt' ORDER BY first_id")
    await sink.write(batch(*come, symbols=1))
    assert await coverage.load_absences(connection, "spot", ["s0usdt"]) == {"s0usdt": left}
    # what is left keeps its proof, and other symbols keep all
    assert set(await connection.fetch("SELECT proof, proven_at FROM absences WHERE symbol = 's0usdt'")) <= set(known)
    others = await coverage.load_absences(connection, "spot", ["s1usdt"])
    assert others == {"s1usdt": [(0, 9), (20, 29), (40, 44), (45, 49)]}
    await assert_coverage_is_the_rows(connection)


async def test_where_a_range_came_from_is_kept(sink: TimescaleSink, connection: asyncpg.Connection) -> None:
    def of(source: Source, first: int, last: int) -> Batch:
        plain = batch(first, last, symbols=1)
        return Batch(plain.table, plain.rows, [Covered("spot", "s0usdt", first, last, source)])

    for source, first, last in (
        (Source.STREAM, 0, 9), (Source.STREAM, 30, 39), (Source.REST, 10, 14), (Source.REST, 15, 19),
        (Source.ARCHIVE, 18, 32), (Source.STREAM, 40, 45),
    ):  # fmt: skip
        await sink.write(of(source, first, last))
    assert await coverage.load(connection, "spot") == {
        "s0usdt": [
            Covered("spot", "s0usdt", 0, 9, Source.STREAM),
            Covered("spot", "s0usdt", 10, 19, Source.REST),
            Covered("spot", "s0usdt", 20, 29, Source.ARCHIVE),
            Covered("spot", "s0usdt", 30, 45, Source.STREAM),
        ]
    }
    async with connection.transaction():
        assert await coverage.cover_stored(connection, "spot", "s0usdt") == [(0, 45)]
    assert len((await coverage.load(connection, "spot"))["s0usdt"]) == 4
