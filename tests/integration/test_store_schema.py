"""Migrations and tiers on real databases."""

import asyncio
from datetime import date
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
from databases import fresh_database

from crypto_quant import events
from crypto_quant.errors import SchemaMismatch, StoreDenied
from crypto_quant.seams import COLUMNS, Batch, Covered, Receipt, Source, Table
from crypto_quant.store import coverage, partitions, tier
from crypto_quant.store import migrate as migrating
from crypto_quant.store.migrate import EXPECTED, check, migrate, migrations
from crypto_quant.store.tier import Tier
from crypto_quant.store.timescale import connect, open_sink

NOW = len(migrations())
ROW = b"2024-08-08 12:00:00+00\tspot\tbtcusdt\t%d\t1\t1\t1\t1\tt\t\\N\n"


@pytest.fixture
async def connection(database_url: str):  # noqa: ANN201
    opened = await connect(database_url)
    yield opened
    await opened.close()


async def tables(connection: asyncpg.Connection) -> list[str]:
    rows = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
    return [row[0] for row in rows]


async def test_an_empty_database_is_made_ready_once(connection: asyncpg.Connection) -> None:
    first = await migrate(connection)
    assert first.version == len(migrations())
    assert first.applied == [f"{m.version:04}_{m.name}" for m in migrations()]
    second = await migrate(connection)
    assert (second.version, second.tier, second.applied) == (first.version, first.tier, [])
    assert await check(connection) == second


async def test_tables_hold_exactly_the_columns_of_a_row(connection: asyncpg.Connection) -> None:
    await migrate(connection)
    for table in Table:
        found = await connection.fetch(
            "SELECT column_name FROM information_schema.columns WHERE table_name = $1 AND table_schema = 'public'"
            " ORDER BY ordinal_position",
            table,
        )
        assert tuple(row[0] for row in found) == COLUMNS[table]
        assert tuple(EXPECTED[table]) == COLUMNS[table]


async def test_venue_is_spot_by_default(connection: asyncpg.Connection) -> None:
    await migrate(connection)
    assert await connection.fetchval(
        "SELECT count(*) FROM information_schema.columns WHERE column_name = 'venue'"
        " AND column_default LIKE '''spot''%'"
        " AND table_name IN ('trades', 'candles')"
    ) == len(Table)


async def test_hypertables_on_timescaledb(timescale_url: str) -> None:
    connection = await connect(timescale_url)
    assert (await migrate(connection)).tier is Tier.TIMESCALE_APACHE
    rows = await connection.fetch(
        "SELECT hypertable_name, column_name, time_interval FROM timescaledb_information.dimensions ORDER BY 1"
    )
    assert [(row[0], row[1], row[2].days) for row in rows] == [("candles", "time", 30), ("trades", "time", 1)]
    await connection.close()


async def test_native_partitions_on_postgresql(postgres_url: str) -> None:
    seen: list[object] = []
    sink = await open_sink(postgres_url, emit=seen.append)
    assert sink.tier is Tier.POSTGRESQL
    assert [type(event) for event in seen] == [events.PartitionCreated] * 4 + [events.StoreReady]
    seen.clear()
    await sink.write(Batch(Table.TRADES, [ROW % 1]))
    await sink.write(Batch(Table.TRADES, [(ROW % 2).replace(b"08-08", b"08-09")]))
    made = [event.partition for event in seen if isinstance(event, events.PartitionCreated)]
    assert made == ["trades_p20240808", "trades_p20240809", "trades_p20240810"]
    async with sink.reading() as connection:
        bounds = await connection.fetchval(
            "SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE relname = 'trades_p20240808'"
        )
        indexes = await connection.fetchval("SELECT count(*) FROM pg_indexes WHERE tablename = 'trades_p20240808'")
    assert bounds == "FOR VALUES FROM ('2024-08-08 00:00:00+00') TO ('2024-08-09 00:00:00+00')"
    assert indexes == 1
    await sink.close()


async def test_many_recorders_start_at_once(database_url: str) -> None:
    connections = await asyncio.gather(*(connect(database_url) for _ in range(6)))
    states = await asyncio.gather(*(migrate(connection) for connection in connections))
    assert sorted(name for state in states for name in state.applied) == [
        f"{m.version:04}_{m.name}" for m in migrations()
    ]
    assert len({state.tier for state in states}) == 1
    await asyncio.gather(*(connection.close() for connection in connections))


async def test_partitions_made_by_many_at_once_and_in_any_time_zone(postgres_url: str) -> None:
    connections = [await asyncpg.connect(postgres_url) for _ in range(4)]
    await migrate(connections[0])
    for connection, zone in zip(
        connections, ("UTC", "Asia/Shanghai", "America/New_York", "Asia/Kathmandu"), strict=True
    ):
        await connection.execute(f"SET TIME ZONE '{zone}'")
    partition = partitions.partition_of(Table.TRADES, date(2024, 8, 8))
    made = await asyncio.gather(*(partitions.create_partition(connection, partition) for connection in connections))
    assert sorted(made) == [False, False, False, True]
    bounds = await connections[0].fetchval(
        "SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE relname = 'trades_p20240808'"
    )
    assert bounds == "FOR VALUES FROM ('2024-08-08 00:00:00+00') TO ('2024-08-09 00:00:00+00')"
    await asyncio.gather(*(connection.close() for connection in connections))


async def test_making_a_partition_waits_for_no_reader(postgres_url: str) -> None:
    sink = await open_sink(postgres_url, command_timeout_s=3)
    await sink.write(Batch(Table.TRADES, [ROW % 1]))
    reader = await connect(postgres_url)
    async with reader.transaction():
        assert await reader.fetchval("SELECT count(*) FROM trades") == 1
        other_day = (ROW % 2).replace(b"2024-08-08", b"2019-01-01")
        assert await sink.write(Batch(Table.TRADES, [other_day])) == Receipt(written=1, duplicates=0)
    await reader.close()
    await sink.close()


async def test_a_partition_dropped_by_hand_is_made_again(postgres_url: str) -> None:
    sink = await open_sink(postgres_url)
    await sink.write(Batch(Table.TRADES, [ROW % 1]))
    async with sink.reading() as connection:
        await connection.execute("DROP TABLE trades_p20240808")
    assert await sink.write(Batch(Table.TRADES, [ROW % 1])) == Receipt(written=1, duplicates=0)
    await sink.close()


async def test_a_partition_made_by_hand_is_used(postgres_url: str) -> None:
    connection = await connect(postgres_url)
    await migrate(connection)
    await connection.execute(
        "CREATE TABLE mine PARTITION OF trades FOR VALUES FROM ('2024-01-01 00:00+00') TO ('2025-01-01 00:00+00')"
    )
    sink = await open_sink(postgres_url)
    assert await sink.write(Batch(Table.TRADES, [ROW % 1])) == Receipt(written=1, duplicates=0)
    assert await connection.fetchval("SELECT count(*) FROM mine") == 1
    await sink.close()
    await connection.close()


async def test_tables_stay_what_they_are_when_the_extension_comes_later(
    timescale_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def plain(_connection: asyncpg.Connection) -> Tier:
        return Tier.POSTGRESQL

    connection = await connect(timescale_url)
    with monkeypatch.context() as patch:
        patch.setattr(migrating, "prepare_tier", plain)
        assert (await migrate(connection)).tier is Tier.POSTGRESQL
    await connection.execute("CREATE EXTENSION timescaledb")
    await connection.close()
    sink = await open_sink(timescale_url)
    assert sink.tier is Tier.POSTGRESQL
    assert await sink.write(Batch(Table.TRADES, [ROW % 1])) == Receipt(written=1, duplicates=0)
    await sink.close()


async def test_a_timescaledb_that_loses_rows_is_refused(timescale_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def old(_connection: asyncpg.Connection) -> str:
        return "2.18.0"

    connection = await connect(timescale_url)
    monkeypatch.setattr(tier, "installed_version", old)
    with pytest.raises(SchemaMismatch, match=r"7672.*2\.18\.0.*ALTER EXTENSION timescaledb UPDATE"):
        await migrate(connection)
    assert await tables(connection) == []
    await connection.close()


async def test_a_newer_schema_is_refused(connection: asyncpg.Connection) -> None:
    await migrate(connection)
    await connection.execute(
        "INSERT INTO crypto_quant_schema (version, name, checksum) VALUES ($1, 'future', 'f')", len(migrations()) + 1
    )
    before = await tables(connection)
    for look in (migrate, check):
        with pytest.raises(SchemaMismatch, match=r"newer crypto-quant.*Upgrade"):
            await look(connection)
    assert await tables(connection) == before


async def test_a_schema_made_from_other_sql_is_refused(connection: asyncpg.Connection) -> None:
    await migrate(connection)
    await connection.execute("UPDATE crypto_quant_schema SET checksum = 'other' WHERE version = 1")
    with pytest.raises(SchemaMismatch, match="other SQL"):
        await migrate(connection)


async def test_check_changes_nothing(connection: asyncpg.Connection) -> None:
    with pytest.raises(SchemaMismatch, match=r"no crypto-quant tables.*crypto-quant db migrate"):
        await check(connection)
    assert await tables(connection) == []


async def test_a_foreign_table_is_named_and_left_alone(connection: asyncpg.Connection) -> None:
    await connection.execute("CREATE TABLE trades (time timestamptz, symbol text, price double precision)")
    for look in (migrate, check):
        with pytest.raises(SchemaMismatch, match=r"trades.*no column venue.*price is double precision instead of"):
            await look(connection)
    assert await tables(connection) == ["trades"]
    assert (
        await connection.fetchval("SELECT count(*) FROM pg_attribute WHERE attrelid='trades'::regclass AND attnum>0")
        == 3
    )


async def test_a_column_that_was_changed_is_named(connection: asyncpg.Connection) -> None:
    await migrate(connection)
    await connection.execute("ALTER TABLE trades DROP COLUMN received_at")
    with pytest.raises(SchemaMismatch, match=r"trades.*no column received_at"):
        await migrate(connection)


async def test_a_table_of_ours_that_is_gone_is_named(connection: asyncpg.Connection) -> None:
    await migrate(connection)
    await connection.execute("DROP TABLE candles")
    with pytest.raises(SchemaMismatch, match=r"candles.*it does not exist"):
        await check(connection)


async def test_an_older_schema_is_brought_up_with_its_rows(
    connection: asyncpg.Connection, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = await open_sink(database_url)
    await sink.write(Batch(Table.TRADES, [ROW % 1]))
    await sink.close()
    each = [f"CREATE TABLE {family} (a int);  -- on {family}" for family in ("timescaledb", "postgresql")]
    sql = "\n".join(["ALTER TABLE trades ADD COLUMN more text;", *each])
    longer = (*migrations(), migrating.Migration(version=NOW + 1, name="more", sql=sql))
    monkeypatch.setattr(migrating, "migrations", lambda: longer)
    with pytest.raises(SchemaMismatch, match=rf"version {NOW}, this program needs version {NOW + 1}.*db migrate"):
        await check(connection)
    state = await migrate(connection)
    assert state.applied == [f"{NOW + 1:04}_more"]
    assert [name for name in await tables(connection) if name in ("postgresql", "timescaledb")] == [state.tier.family]
    assert await connection.fetchval("SELECT count(*) FROM trades WHERE more IS NULL") == 1
    assert (await migrate(connection)).applied == []


async def test_a_database_of_the_first_version_is_brought_up(
    connection: asyncpg.Connection, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its rows are proven by nothing until somebody looks at them; recording goes on meanwhile."""
    first = migrations()[:1]
    with monkeypatch.context() as patch:
        patch.setattr(migrating, "migrations", lambda: first)
        patch.setattr(migrating, "EXPECTED", {table: EXPECTED[table] for table in Table})
        assert (await migrate(connection)).version == 1
    seen: list[object] = []
    sink = await open_sink(database_url, emit=seen.append)
    assert [event for event in seen if isinstance(event, events.SchemaOutdated)] == [
        events.SchemaOutdated(version=each.version, of=NOW, step=each.name) for each in migrations()[1:]
    ]
    await sink.write(Batch(Table.TRADES, [ROW % number for number in (1, 2, 3, 5, 9)]))
    await sink.write(Batch(Table.TRADES, [ROW % 10], [Covered("spot", "btcusdt", 10, 10, Source.STREAM)]))
    assert await coverage.load(connection, "spot") == {"btcusdt": [Covered("spot", "btcusdt", 10, 10, Source.STREAM)]}
    async with connection.transaction():
        assert await coverage.cover_stored(connection, "spot", "btcusdt") == [(1, 3), (5, 5), (9, 10)]
    assert await coverage.load(connection, "spot") == {
        "btcusdt": [
            Covered("spot", "btcusdt", 1, 3, Source.STORED),
            Covered("spot", "btcusdt", 5, 5, Source.STORED),
            Covered("spot", "btcusdt", 9, 9, Source.STORED),
            Covered("spot", "btcusdt", 10, 10, Source.STREAM),
        ]
    }
    assert await coverage.gaps(connection, "spot", "btcusdt") == [(4, 4), (6, 8)]
    await sink.close()


async def test_a_foreign_table_of_a_later_version_is_named_and_left_alone(
    connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = migrations()[:1]
    with monkeypatch.context() as patch:
        patch.setattr(migrating, "migrations", lambda: first)
        patch.setattr(migrating, "EXPECTED", {table: EXPECTED[table] for table in Table})
        await migrate(connection)
    await connection.execute("CREATE TABLE coverage (branch text, percent int)")
    for _ in range(2):
        with pytest.raises(SchemaMismatch, match=r"a table named coverage exists that crypto-quant did not make"):
            await migrate(connection)
    assert await connection.fetchval("SELECT count(*) FROM crypto_quant_schema") == 1


async def test_an_own_column_of_the_user_does_no_harm(database_url: str) -> None:
    sink = await open_sink(database_url)
    async with sink.reading() as connection:
        await connection.execute("ALTER TABLE trades ADD COLUMN note text")
    await sink.write(Batch(Table.TRADES, [ROW % 1]))
    assert await sink.write(Batch(Table.TRADES, [ROW % 1, ROW % 2])) == Receipt(written=1, duplicates=1)
    await sink.close()


async def test_a_migration_that_fails_leaves_nothing(
    connection: asyncpg.Connection, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = migrating.Migration(version=1, name="broken", sql="CREATE TABLE half (a int); SELECT 1/0;")
    with monkeypatch.context() as patch:
        patch.setattr(migrating, "migrations", lambda: (broken,))
        with pytest.raises(Exception, match="division by zero"):
            await migrate(connection)
    assert await tables(connection) == []
    # TimescaleDB wants its extension to be made by a new session, once making it was undone
    again = await connect(database_url)
    assert (await migrate(again)).version == len(migrations())
    await again.close()


@pytest.mark.parametrize("server", ["timescaledb", "postgresql"])
async def test_a_schema_of_ones_own(server: str) -> None:
    async with fresh_database(server) as url:
        connection = await asyncpg.connect(url)
        await connection.execute("CREATE SCHEMA market")
        sink = await open_sink(f"{url}?search_path=market")
        await sink.write(Batch(Table.TRADES, [ROW % 1]))
        assert await connection.fetchval("SELECT count(*) FROM market.trades") == 1
        assert await tables(connection) == []
        await sink.close()
        await connection.close()


async def test_a_database_that_is_not_utf8_is_refused(postgres_url: str) -> None:
    admin = await asyncpg.connect(postgres_url)
    name = urlsplit(postgres_url).path[1:] + "_ascii"
    await admin.execute(f"CREATE DATABASE {name} ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0")
    try:
        with pytest.raises(SchemaMismatch, match=r"SQL_ASCII.*ENCODING 'UTF8'"):
            await open_sink(urlunsplit(urlsplit(postgres_url)._replace(path=f"/{name}")))
    finally:
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await admin.close()


async def test_rights(database_url: str) -> None:
    """Who may not create is told which right lacks; who may only insert can record into a schema that is ready."""
    admin = await asyncpg.connect(database_url)
    parts = urlsplit(database_url)
    role = parts.path[1:] + "_role"
    await admin.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'pw'")
    url = urlunsplit(parts._replace(netloc=f"{role}:pw@{parts.hostname}:{parts.port}"))
    try:
        with pytest.raises(StoreDenied, match=r"permission denied.*GRANT"):
            await open_sink(url)
        state = await migrate(admin)
        with pytest.raises(StoreDenied, match=r"crypto_quant_schema.*GRANT SELECT, INSERT ON trades, candles"):
            await open_sink(url)
        await admin.execute(f"GRANT SELECT, INSERT ON trades, candles, crypto_quant_schema TO {role}")
        await admin.execute(f"GRANT SELECT ON coverage, absences TO {role}")
        if state.tier is Tier.POSTGRESQL:
            with pytest.raises(StoreDenied, match="made by the owner of the tables"):
                await open_sink(url)
            owner = await open_sink(database_url)  # makes the partitions ahead
            await owner.write(Batch(Table.TRADES, [ROW % 1]))
            await owner.close()
        sink = await open_sink(url)
        assert (await sink.write(Batch(Table.TRADES, [ROW % 1, ROW % 2]))).written >= 1
        proving = Batch(Table.TRADES, [ROW % 3], [Covered("spot", "btcusdt", 3, 3, Source.STREAM)])
        with pytest.raises(StoreDenied, match="GRANT SELECT, INSERT, UPDATE, DELETE ON coverage"):
            await sink.write(proving)
        await admin.execute(f"GRANT INSERT, UPDATE, DELETE ON coverage, absences TO {role}")
        assert (await sink.write(proving)).written == 1
        await sink.close()
    finally:
        await admin.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
        await admin.close()


async def test_the_schema_on_the_community_edition(community_url: str) -> None:
    connection = await connect(community_url)
    try:
        state = await migrate(connection)
        assert state.tier is Tier.TIMESCALE_COMMUNITY
        assert (await migrate(connection)).applied == []
        found = await connection.fetch("SELECT hypertable_name FROM timescaledb_information.hypertables ORDER BY 1")
        assert [row[0] for row in found] == ["candles", "trades"]
        with pytest.raises(asyncpg.UniqueViolationError):
            await connection.execute(
                "INSERT INTO trades (time, symbol, trade_id, price, quantity, first_trade_id, last_trade_id,"
                " is_buyer_maker) SELECT '2024-08-08 12:00+00', 'btcusdt', 1, 1, 1, 1, 1, true"
                " FROM generate_series(1, 2)"
            )
    finally:
        await connection.close()
