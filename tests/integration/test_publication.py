"""A publication of all tables, as Debezium, Supabase and blue/green upgrades make one, hinders nothing."""

import re

import asyncpg
import pytest

from crypto_quant.evidence import Scope
from crypto_quant.seams import Batch, Covered, Source, Table
from crypto_quant.store import coverage
from crypto_quant.store.inspection import open_inspection
from crypto_quant.store.migrate import migrations
from crypto_quant.store.seal_store import SealStore
from crypto_quant.store.timescale import open_sink
from crypto_quant.upkeep import seal

ROW = b"2026-10-%02d 12:00:00+00\tspot\tbtcusdt\t%d\t1.5\t2\t%d\t%d\tt\t\\N\n"


async def store(url: str, day: int, first: int, last: int) -> int:
    """Store trades with what they prove; return how many were new."""
    sink = await open_sink(url)
    try:
        rows = [ROW % (day, number, number, number) for number in range(first, last + 1)]
        receipt = await sink.write(
            Batch(Table.TRADES, rows, covered=[Covered("spot", "btcusdt", first, last, Source.STREAM)])
        )
        return receipt.written
    finally:
        await sink.close()


async def publish(url: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE PUBLICATION everything FOR ALL TABLES")
    await connection.close()


@pytest.mark.parametrize("before", [True, False])
async def test_everything_is_stored_claimed_dropped_and_sealed(database_url: str, before: bool) -> None:
    if before:
        await publish(database_url)
    assert await store(database_url, 1, 1, 5) == 5
    if not before:
        await publish(database_url)
    assert await store(database_url, 1, 6, 9) == 4  # the range grows in place
    assert await store(database_url, 2, 20, 22) == 3  # a partition of its own, and a range of its own
    assert await store(database_url, 2, 10, 19) == 10  # which close up: one is updated and one deleted
    connection = await asyncpg.connect(database_url)
    try:
        assert [tuple(row) for row in await connection.fetch("SELECT first_id, last_id FROM coverage")] == [(1, 22)]
        async with connection.transaction(isolation="read_committed"):
            await coverage.retract(connection, "spot", "btcusdt", [(20, 22)])
            await coverage.drop(connection, ("spot", "btcusdt"), [(1, 9)], "hand")
            await coverage.drop(connection, ("spot", "btcusdt"), [(10, 11)], "hand")
        assert (await seal(database_url, Scope())).seals > 0
        assert await SealStore(connection).kept()
    finally:
        await connection.close()
    async with open_inspection(database_url) as look:
        assert await look.publications() == {}


async def test_doctor_names_what_an_older_schema_lacks(database_url: str) -> None:
    assert await store(database_url, 1, 1, 5) == 5
    await publish(database_url)
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute("ALTER TABLE coverage REPLICA IDENTITY DEFAULT")
        await connection.execute("ALTER TABLE dropped REPLICA IDENTITY DEFAULT")
        with pytest.raises(asyncpg.PostgresError, match="replica identity"):
            await connection.execute("UPDATE coverage SET last_id = 6")
    finally:
        await connection.close()
    async with open_inspection(database_url) as look:
        assert await look.publications() == {"everything": ["coverage", "dropped"]}


def test_every_table_with_a_deferrable_key_has_an_identity() -> None:
    """Such a key is none: whoever adds such a table adds an identity."""
    sql = "\n".join(each.sql for each in migrations())
    made = re.findall(r"CREATE TABLE (\w+) \((.*?)\n\)", sql, re.DOTALL)
    deferrable = {name for name, columns in made if re.search(r"PRIMARY KEY \([^)]*\) DEFERRABLE", columns)}
    assert "coverage" in deferrable
    assert deferrable == set(re.findall(r"ALTER TABLE (\w+) REPLICA IDENTITY FULL", sql))
