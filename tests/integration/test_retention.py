"""Old rows dropped on purpose, on every tier: nothing claimed that is gone, nothing gone that is called missing."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from crypto_quant.errors import ConfigError
from crypto_quant.evidence import Scope
from crypto_quant.flow.audit import Auditor
from crypto_quant.flow.report import Report
from crypto_quant.manifest import Manifest, Part, Proven, Series, encoded
from crypto_quant.seams import Batch, Covered, Source, Table
from crypto_quant.store import coverage, partitions, policy, retention, rollups
from crypto_quant.store.audit_queries import AuditReader
from crypto_quant.store.exported import export_gate
from crypto_quant.store.migrate import migrate
from crypto_quant.store.policy import Rule
from crypto_quant.store.retention import Fate, drop_before, keep_rules, pieces
from crypto_quant.store.tier import Tier, table_tier
from crypto_quant.store.timescale import connect, open_sink

DAY = datetime(2024, 8, 8, tzinfo=UTC)
NOW_NS = int(DAY.timestamp()) * 10**9
SYMBOL = ("spot", "btcusdt")


@pytest.fixture
def connection(migrated: asyncpg.Connection) -> asyncpg.Connection:
    return migrated


async def make_partition(connection: asyncpg.Connection, table: Table, day: date) -> None:
    if await table_tier(connection) is Tier.POSTGRESQL:
        await partitions.create_partition(connection, partitions.partition_of(table, day))


async def store(
    connection: asyncpg.Connection, moment: datetime, ids: Sequence[int], symbol: str = "btcusdt", *, prove: bool = True
) -> None:
    """Store trades of these ids from ``moment`` on, a second each, with what they prove."""
    await make_partition(connection, Table.TRADES, moment.date())
    async with connection.transaction(isolation="read_committed"):
        await connection.executemany(
            "INSERT INTO trades VALUES ($1, 'spot', $2, $3, $4, $4, $3, $3, true, NULL)",
            [(moment + timedelta(seconds=at), symbol, id_, Decimal("1.5")) for at, id_ in enumerate(ids)],
        )
        if prove:
            await coverage.extend(connection, [Covered("spot", symbol, id_, id_, Source.STREAM) for id_ in ids])


async def three_days(connection: asyncpg.Connection) -> None:
    """Ids 1 to 10, 11 to 20, 21 to 30 on three days."""
    for number in range(3):
        await store(connection, DAY + timedelta(days=number, hours=1), range(number * 10 + 1, number * 10 + 11))


async def claimed(connection: asyncpg.Connection, symbol: str = "btcusdt") -> list[tuple[int, int]]:
    found = (await coverage.load(connection, "spot", [symbol])).get(symbol, [])
    return [(each.first, each.last) for each in found]


async def noted(connection: asyncpg.Connection, symbol: str = "btcusdt") -> list[tuple[int, int, str]]:
    return (await coverage.load_dropped(connection, Table.TRADES, [("spot", symbol)])).get(("spot", symbol), [])


async def ids(connection: asyncpg.Connection, symbol: str = "btcusdt") -> list[int]:
    rows = await connection.fetch("SELECT trade_id FROM trades WHERE symbol = $1 ORDER BY trade_id", symbol)
    return [row[0] for row in rows]


async def drop(connection: asyncpg.Connection, days: int, **how: Any) -> list[Fate]:
    return await drop_before(connection, Table.TRADES, DAY + timedelta(days=days), source="hand", **how)


async def audit(connection: asyncpg.Connection, *, deep: bool = False, scope: Scope | None = None) -> Report:
    auditor = Auditor(AuditReader(connection, "here"), scope or Scope(), deep=deep)
    return await auditor.run(database="here", now_ns=NOW_NS, version="0")


async def test_what_is_dropped_is_claimed_no_more_and_noted(connection: asyncpg.Connection) -> None:
    await three_days(connection)
    assert [piece.start for piece in await pieces(connection, Table.TRADES)] == [
        DAY + timedelta(days=number) for number in range(3)
    ]
    fates = await drop(connection, 2)
    assert [(fate.piece.start, fate.piece.end, fate.rows, fate.kept) for fate in fates] == [
        (DAY, DAY + timedelta(days=1), 10, ""),
        (DAY + timedelta(days=1), DAY + timedelta(days=2), 10, ""),
    ]
    assert await ids(connection) == list(range(21, 31))
    assert await claimed(connection) == [(21, 30)]
    assert await noted(connection) == [(1, 20, "hand")]
    assert await drop(connection, 2) == []


async def test_a_day_that_is_not_over_stays(connection: asyncpg.Connection) -> None:
    await three_days(connection)
    moment = DAY + timedelta(days=1, hours=23)
    assert [fate.rows for fate in await drop_before(connection, Table.TRADES, moment, source="hand")] == [10]
    assert await claimed(connection) == [(11, 30)]


@pytest.mark.parametrize("deep", [False, True])
async def test_verify_names_it_as_dropped(connection: asyncpg.Connection, deep: bool) -> None:
    """A day in the midst is dropped: its ids are neither missing nor absent, and the record is complete."""
    await store(connection, DAY, range(1, 11))
    await store(connection, DAY + timedelta(days=9), range(21, 31))
    await store(connection, DAY + timedelta(days=1), range(11, 21))
    middle = (await pieces(connection, Table.TRADES))[1]
    assert (await retention._drop(connection, middle, "hand", lambda *_: "")).kept == ""
    report = await audit(connection, deep=deep)
    assert report.complete
    (symbol,) = report.symbols
    assert [(each.first, each.last, each.source) for each in symbol.dropped] == [(11, 20, "hand")]
    assert (symbol.missing, report.totals()["dropped"], report.totals()["absent"]) == (0, 10, 0)
    assert await coverage.gaps(connection, *SYMBOL) == []


async def test_what_was_fetched_again_and_is_lost_then_is_missing(connection: asyncpg.Connection) -> None:
    await three_days(connection)
    await drop(connection, 1)
    await store(connection, DAY + timedelta(hours=1), range(1, 11))
    assert await claimed(connection) == [(1, 30)]
    assert (await audit(connection)).symbols[0].dropped == []
    await connection.execute("DELETE FROM trades WHERE trade_id BETWEEN 4 AND 6")
    report = await audit(connection, deep=True)
    assert [(hole.first, hole.last) for hole in report.symbols[0].holes] == [(4, 6)]


async def test_ids_that_cross_midnight_are_told_apart(connection: asyncpg.Connection) -> None:
    """Ids 9 and 11 carry a time of the first day, 10 one of the second: it stays, and stays claimed."""
    await store(connection, DAY + timedelta(hours=1), range(1, 10))
    await store(connection, DAY + timedelta(days=1), [10, *range(12, 15)])
    await store(connection, DAY + timedelta(hours=23), [11])
    await drop(connection, 1)
    assert await ids(connection) == [10, 12, 13, 14]
    assert await claimed(connection) == [(10, 10), (12, 14)]
    assert await noted(connection) == [(1, 9, "hand"), (11, 11, "hand")]
    assert (await audit(connection)).complete


async def test_rows_that_nothing_had_proven_are_noted_too(connection: asyncpg.Connection) -> None:
    await store(connection, DAY, [1, 2, 3], prove=False)
    await store(connection, DAY + timedelta(days=1), [4, 5])
    await drop(connection, 1)
    assert (await claimed(connection), await noted(connection)) == ([(4, 5)], [(1, 3, "hand")])


async def test_an_end_in_the_midst_leaves_nothing_false(
    connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the note and the drop: rows are there and unclaimed, which no audit takes amiss."""
    await three_days(connection)

    async def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(retention, "_drop_piece", killed)
        with pytest.raises(KeyboardInterrupt):
            await drop(connection, 1)
    assert await ids(connection) == list(range(1, 31))
    assert await claimed(connection) == [(11, 30)]
    assert (await audit(connection)).complete
    assert [fate.rows for fate in await drop(connection, 1)] == [10]
    assert await ids(connection) == list(range(11, 31))
    assert await noted(connection) == [(1, 10, "hand")]


async def test_what_was_stored_again_meanwhile_stays(
    connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody's backfill commits between the note and the drop."""
    await three_days(connection)
    take = coverage.drop

    async def with_backfill(where: asyncpg.Connection, *how: Any) -> None:
        await take(where, *how)
        await coverage.extend(where, [Covered("spot", "btcusdt", 3, 4, Source.REST)])

    monkeypatch.setattr(coverage, "drop", with_backfill)
    (fate,) = await drop(connection, 1)
    assert fate.kept == "rows were stored in it meanwhile"
    assert await ids(connection) == list(range(1, 31))
    assert await claimed(connection) == [(3, 4), (11, 30)]
    monkeypatch.undo()
    assert [fate.kept for fate in await drop(connection, 1)] == [""]
    assert await claimed(connection) == [(11, 30)]


async def test_candles_too(connection: asyncpg.Connection) -> None:
    opens = [datetime(2024, month, 1, tzinfo=UTC) + timedelta(minutes=at) for month in (5, 6, 9) for at in range(3)]
    slots = [int(each.timestamp()) // 60 for each in opens]
    for each, slot in zip(opens, slots, strict=True):
        await make_partition(connection, Table.CANDLES, each.date())
        async with connection.transaction(isolation="read_committed"):
            await connection.execute(
                "INSERT INTO candles (time, symbol, timeframe, open, high, low, close, volume)"
                " VALUES ($1, 'btcusdt', '1m', 1, 1, 1, 1, 1)", each,
            )  # fmt: skip
            await coverage.extend(connection, [Covered("spot", "btcusdt", slot, slot, Source.STREAM, "1m")])
    series = ("spot", "btcusdt", "1m")
    fates = await drop_before(connection, Table.CANDLES, datetime(2024, 8, 15, tzinfo=UTC), source="policy")
    assert sum(fate.rows for fate in fates) == 6
    left = (await coverage.load_slots(connection, [series]))[series]
    assert [(each.first, each.last) for each in left] == [(slots[6], slots[8])]
    found = await coverage.load_dropped(connection, Table.CANDLES, [series])
    assert found[series] == [(slots[0], slots[2], "policy"), (slots[3], slots[5], "policy")]
    report = await audit(connection)
    assert report.complete
    assert report.totals()["candles_dropped"] == 6


async def test_a_rule_is_kept_and_cleared(connection: asyncpg.Connection) -> None:
    await three_days(connection)
    assert await keep_rules(connection, DAY + timedelta(days=400)) == []
    await policy.declare(connection, Rule(Table.TRADES, drop_after=timedelta(days=30)))
    await policy.declare(connection, Rule(Table.TRADES, drop_after=timedelta(days=10)))
    (rule,) = await policy.declared(connection)
    assert (rule.table, rule.drop_after, rule.columnstore_after) == (Table.TRADES, timedelta(days=10), None)
    fates = await keep_rules(connection, DAY + timedelta(days=11, hours=5))
    assert [fate.piece.start for fate in fates] == [DAY]
    assert await noted(connection) == [(1, 10, "policy")]
    assert await policy.clear(connection, Table.TRADES)
    assert not await policy.clear(connection, Table.TRADES)
    assert await keep_rules(connection, DAY + timedelta(days=400)) == []


async def test_rules_that_cannot_be_kept_are_refused(connection: asyncpg.Connection) -> None:
    with pytest.raises(ConfigError, match=r"too early to be dropped.*1 d.*2d or more"):
        await policy.declare(connection, Rule(Table.TRADES, drop_after=timedelta(days=1)))
    with pytest.raises(ConfigError, match="--drop-after"):
        await policy.declare(connection, Rule(Table.TRADES, export_directory="/"))
    if await table_tier(connection) is not Tier.TIMESCALE_COMMUNITY:
        with pytest.raises(ConfigError, match=r"no columnstore.*Community"):
            await policy.declare(connection, Rule(Table.TRADES, columnstore_after=timedelta(days=7)))
    assert await policy.declared(connection) == []


async def test_a_reader_holds_the_drop_up_only_for_a_moment(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "_LOCK_TIMEOUT", "100ms")
    connection, reader = await connect(database_url), await connect(database_url)
    await migrate(connection)
    await three_days(connection)
    async with reader.transaction():
        await reader.fetch("SELECT * FROM trades")
        (fate,) = await drop(connection, 1)
        assert fate.kept == "somebody reads it or writes to it"
        # writers are not behind it in a queue
        await store(connection, DAY + timedelta(days=2, hours=5), [31])
    assert [fate.kept for fate in await drop(connection, 1)] == [""]
    await reader.close()
    await connection.close()


async def test_two_that_drop_at_once_do_it_once(database_url: str) -> None:
    connection, other = await connect(database_url), await connect(database_url)
    await migrate(connection)
    await three_days(connection)
    await other.execute("SELECT pg_advisory_lock($1)", retention.DROP_LOCK)
    assert await drop(connection, 1) == []
    await other.execute("SELECT pg_advisory_unlock($1)", retention.DROP_LOCK)
    assert len(await drop(connection, 1)) == 1
    await other.close()
    await connection.close()


async def test_a_recorder_goes_on_in_a_day_that_was_dropped(database_url: str) -> None:
    """What is fetched on demand finds no partition, makes it, and is proven again."""
    sink = await open_sink(database_url)
    row = b"2024-08-08 12:00:00+00\tspot\tbtcusdt\t%d\t1\t1\t1\t1\tt\t\\N\n"
    batch = Batch(Table.TRADES, [row % 1, row % 2], [Covered("spot", "btcusdt", 1, 2, Source.STREAM)])
    await sink.write(batch)
    connection = await connect(database_url)
    await drop(connection, 1)
    assert (await ids(connection), await claimed(connection)) == ([], [])
    assert (await sink.write(batch)).written == 2
    assert (await ids(connection), await claimed(connection)) == ([1, 2], [(1, 2)])
    await connection.close()
    await sink.close()


# -- an export first ------------------------------------------------------------------------------------------


def write_export(root: Path, first: int, last: int, *, of: str = "btcusdt") -> Path:
    """Write a lake of one file, as an export writes it."""
    directory = root / "venue=spot" / "kind=trades" / f"symbol={of}"
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / f"{first}.parquet"
    file.write_bytes(f"{first} to {last}".encode())
    part = Part(
        day=f"2024-08-{first:02}",
        start="2024-08-08T00:00:00Z",
        end="2024-08-09T00:00:00Z",
        file=file.name,
        rows=last - first + 1,
        bytes=file.stat().st_size,
        sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
        first=first,
        last=last,
        missing=(),
        proven=(Proven(first, last, "stream"),),
    )
    told = Manifest(made_by="a test", format="parquet", series=Series("spot", "trades", of), parts=(part,))
    (directory / "manifest.json").write_bytes(encoded(told))
    return file


async def test_nothing_goes_that_is_not_exported(connection: asyncpg.Connection, tmp_path: Path) -> None:
    await three_days(connection)
    rule = Rule(Table.TRADES, drop_after=timedelta(days=10), export_directory=str(tmp_path))
    await policy.declare(connection, rule)

    async def run() -> list[str]:
        return [fate.kept for fate in await keep_rules(connection, DAY + timedelta(days=11), export_gate)]

    assert await run() == [f"spot btcusdt: {tmp_path} has no manifest of it"]
    write_export(tmp_path, 1, 9)
    assert await run() == [f"spot btcusdt: 10 to 10 are not exported to {tmp_path}"]
    file = write_export(tmp_path, 1, 12)
    said = file.read_bytes()
    file.write_bytes(said + b"!")
    assert await run() == [f"spot btcusdt: {file} is not what its manifest says"]
    file.unlink()
    assert await run() == [f"spot btcusdt: {file}: No such file or directory"]
    assert await claimed(connection) == [(1, 30)]
    file.write_bytes(said)
    assert await run() == [""]
    assert await claimed(connection) == [(11, 30)]


async def test_a_manifest_that_cannot_be_read_proves_nothing(connection: asyncpg.Connection, tmp_path: Path) -> None:
    await three_days(connection)
    write_export(tmp_path, 1, 30)
    for text in ("{", "[]", '{"what": "crypto-quant export", "version": 1, "format": "parquet"}', "null"):
        (tmp_path / "venue=spot/kind=trades/symbol=btcusdt/manifest.json").write_text(text)
        assert [fate.kept for fate in await drop(connection, 1, gate=export_gate(str(tmp_path)))] != [""]
    # one digit was altered, and the seal no longer fits
    file = write_export(tmp_path, 1, 9).parent / "manifest.json"
    file.write_text(file.read_text().replace('"last": 9', '"last": 30'))
    said = [f"spot btcusdt: {tmp_path} has no manifest of it"]
    assert [fate.kept for fate in await drop(connection, 1, gate=export_gate(str(tmp_path)))] == said
    with pytest.raises(ConfigError, match="no such directory"):
        export_gate(str(tmp_path / "nowhere"))


# -- the Community edition ------------------------------------------------------------------------------------


async def test_columns_on_the_community_edition(community_url: str) -> None:
    """Declared, changed and cleared as the database's own job; what is columns takes late rows, each once."""
    connection = await connect(community_url)
    jobs = (
        "SELECT config->>'compress_after' FROM timescaledb_information.jobs"
        " WHERE proc_name = 'policy_compression' AND hypertable_name = 'trades'"
    )
    try:
        await migrate(connection)
        await three_days(connection)
        for days in (9, 7):
            await policy.declare(connection, Rule(Table.TRADES, columnstore_after=timedelta(days=days)))
            assert [row[0] for row in await connection.fetch(jobs)] == [f"{days} days"]
        job = await connection.fetchval(jobs.replace("config->>'compress_after'", "job_id"))
        await connection.execute(f"CALL run_job({job})")
        columns = "SELECT count(*) FROM timescaledb_information.chunks WHERE is_compressed"
        assert await connection.fetchval(columns) == 3
        late = "INSERT INTO trades SELECT * FROM trades WHERE trade_id = 5 ON CONFLICT DO NOTHING"
        assert await connection.execute(late) == "INSERT 0 0"
        await store(connection, DAY + timedelta(hours=2), [31])
        assert await ids(connection) == list(range(1, 32))
        assert (await audit(connection, deep=True)).totals()["trades"] == 31
        await policy.declare(connection, Rule(Table.CANDLES, columnstore_after=timedelta(days=30)))
        assert [fate.kept for fate in await drop(connection, 1)] == [""]
        assert await ids(connection) == list(range(11, 31))
        assert await policy.clear(connection, Table.TRADES)
        assert await connection.fetch(jobs) == []
    finally:
        await connection.close()


async def test_a_retention_of_the_database_itself_is_told_of(community_url: str) -> None:
    connection = await connect(community_url)
    try:
        await migrate(connection)
        assert await policy.foreign_jobs(connection) == []
        await connection.execute("SELECT add_retention_policy('trades', INTERVAL '30 days')")
        assert await policy.foreign_jobs(connection) == ["trades"]
    finally:
        await connection.close()


async def test_candles_made_of_dropped_trades_stay(community_url: str) -> None:
    """A refresh of days whose trades are gone would remove their candles: none is asked for."""
    connection = await connect(community_url)
    try:
        await migrate(connection)
        for number in range(6):
            await store(connection, DAY + timedelta(days=number), [number + 1])
        await rollups.create(connection)
        await rollups.refresh(connection)
        await drop(connection, 2)
        await store(connection, DAY + timedelta(days=4, hours=1), [7])
        await rollups.refresh(connection)
        for job in await connection.fetch(
            "SELECT job_id FROM timescaledb_information.jobs WHERE proc_name LIKE '%continuous_agg%' ORDER BY 1"
        ):
            await connection.execute(f"CALL run_job({job[0]})")
        found = await connection.fetch('SELECT "time", row_count FROM trades_1d ORDER BY 1')
        assert [tuple(row) for row in found] == [
            (DAY + timedelta(days=number), 2 if number == 4 else 1) for number in range(6)
        ]
        # the first day is fetched again, changed; the second, which is still gone, keeps its candle
        await store(connection, DAY, [1, 8, 9])
        await rollups.refresh(connection)
        assert [row[0] for row in await connection.fetch("SELECT row_count FROM trades_1d ORDER BY time")] == [
            3, 1, 1, 1, 2, 1,
        ]  # fmt: skip
    finally:
        await connection.close()
