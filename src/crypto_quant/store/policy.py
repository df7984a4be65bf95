"""The declared rules of the tables: when rows become columns, and when they are dropped.

Columns are the Community edition's own background job. Dropping is ours on every tier (``retention``): a job of the
database would take rows from under ``coverage``, which must never claim what is not stored.
"""

from datetime import datetime, timedelta

import asyncpg
import msgspec

from crypto_quant.errors import ConfigError
from crypto_quant.seams import Table
from crypto_quant.store import faults
from crypto_quant.store.migrate import reach_extension
from crypto_quant.store.tier import Tier, table_tier

# what is younger is still written to, by the recorder and by whoever fills yesterday's holes
YOUNGEST = timedelta(days=2)

# A segment is read alone, in this order; the columns of the unique key must be among them.
_SEGMENTS = {Table.TRADES: ("venue, symbol", "time, trade_id"), Table.CANDLES: ("venue, symbol, timeframe", "time")}


class Rule(msgspec.Struct, frozen=True):
    """What is done with a table's rows; None: this is not done. Ages count from the end of a chunk or partition.

    ``export_directory``: drop only what an export there has (see ``exported``).
    """

    table: Table
    columnstore_after: timedelta | None = None
    drop_after: timedelta | None = None
    export_directory: str | None = None
    declared_at: datetime | None = None


async def declare(connection: asyncpg.Connection, rule: Rule) -> None:
    """Put the rule in the place of the table's former one. Raises ConfigError for one that cannot be kept."""
    for name, age in (("columns", rule.columnstore_after), ("dropped", rule.drop_after)):
        if age is not None and age < YOUNGEST:
            raise ConfigError(
                f"rows of the last {YOUNGEST.days} days are still written to: too early to be {name}",
                subject=f"{rule.table} after {age.days} d",
                hint=f"Give {YOUNGEST.days}d or more",
            )
    if rule.export_directory is not None and rule.drop_after is None:
        raise ConfigError("an export is required for a drop that is not declared", hint="Give --drop-after as well")
    try:
        tier = await table_tier(connection)
        if rule.columnstore_after is not None and tier is not Tier.TIMESCALE_COMMUNITY:
            raise ConfigError(
                "this database has no columnstore",
                subject=str(tier),
                hint="It needs TimescaleDB's Community edition; leave --columnstore-after out",
            )
        async with connection.transaction():
            await connection.execute(
                "INSERT INTO policies (table_name, columnstore_after, drop_after, export_directory)"
                " VALUES ($1, $2, $3, $4) ON CONFLICT ON CONSTRAINT policies_key DO UPDATE"
                " SET columnstore_after = excluded.columnstore_after, drop_after = excluded.drop_after,"
                " export_directory = excluded.export_directory, declared_at = now()",
                rule.table.value, rule.columnstore_after, rule.drop_after, rule.export_directory,
            )  # fmt: skip
            if tier is Tier.TIMESCALE_COMMUNITY:
                await _keep_columns(connection, rule)
    except faults.DRIVER_ERRORS as error:
        raise faults.translate(error, operation="declaring a policy", subject=rule.table) from error


async def clear(connection: asyncpg.Connection, table: Table) -> bool:
    """Forget the table's rule; True when there was one. What is columns stays columns, what was dropped is gone."""
    try:
        async with connection.transaction():
            if await table_tier(connection) is Tier.TIMESCALE_COMMUNITY:
                await _keep_columns(connection, Rule(table))
            gone = await connection.fetchval("DELETE FROM policies WHERE table_name = $1 RETURNING 1", table.value)
            return gone is not None
    except faults.DRIVER_ERRORS as error:
        raise faults.translate(error, operation="clearing a policy", subject=table) from error


async def declared(connection: asyncpg.Connection) -> list[Rule]:
    """Return the rules that hold, trades first."""
    try:
        rows = await connection.fetch(
            "SELECT table_name, columnstore_after, drop_after, export_directory, declared_at FROM policies"
        )
    except faults.DRIVER_ERRORS as error:
        raise faults.translate(error, operation="reading the policies", subject="policies") from error
    return sorted((Rule(Table(row[0]), *row[1:]) for row in rows), key=lambda rule: list(Table).index(rule.table))


async def foreign_jobs(connection: asyncpg.Connection) -> list[str]:
    """Return the tables of which a job of the database itself drops chunks: behind the back of coverage."""
    try:
        if await table_tier(connection) is not Tier.TIMESCALE_COMMUNITY:
            return []
        rows = await connection.fetch(
            "SELECT hypertable_name FROM timescaledb_information.jobs"
            " WHERE proc_name = 'policy_retention' AND hypertable_name = ANY ($1::text[]) ORDER BY 1",
            [table.value for table in Table],
        )
    except faults.DRIVER_ERRORS as error:
        raise faults.translate(error, operation="looking for jobs", subject="") from error
    return [row[0] for row in rows]


async def _keep_columns(connection: asyncpg.Connection, rule: Rule) -> None:
    """Make the database's own job what the rule says; the names are those that every version since 2.18 knows."""
    await reach_extension(connection)
    table = rule.table.value
    await connection.execute("SELECT remove_compression_policy($1::text::regclass, if_exists => true)", table)
    if rule.columnstore_after is None:
        return
    segment, order = _SEGMENTS[rule.table]
    enabled = await connection.fetchval(
        "SELECT compression_enabled FROM timescaledb_information.hypertables WHERE hypertable_name = $1", table
    )
    if not enabled:
        await connection.execute(
            f"ALTER TABLE {table} SET (timescaledb.compress,"
            f" timescaledb.compress_segmentby = '{segment}', timescaledb.compress_orderby = '{order}')"
        )
    await connection.execute(
        "SELECT add_compression_policy($1::text::regclass, compress_after => $2::interval)",
        table,
        rule.columnstore_after,
    )
