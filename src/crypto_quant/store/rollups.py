"""Candles made of the stored trades, as relations to ask: ``trades_1m``, ``trades_5m``, ``trades_1h``, ``trades_1d``.

On the Community edition they are continuous aggregates, each made of the one before it, kept up to date by the
database and completed from the newest trades when they are read. On the other tiers they are views of the same
columns, made when they are read. Values are exact; open and close go by the order of ids, not by time.
"""

import hashlib
from collections.abc import Callable
from datetime import datetime, timedelta

import asyncpg
import msgspec

from crypto_quant.errors import SchemaMismatch
from crypto_quant.store import faults
from crypto_quant.store.migrate import MIGRATION_LOCK, reach_extension
from crypto_quant.store.tier import Tier, table_tier

_MARK = "crypto-quant rollup "
_DAY_S = 86_400


class Rollup(msgspec.Struct, frozen=True):
    """One relation: candles of ``length_s`` seconds. The database looks for what has changed every ``refresh_s``."""

    name: str
    length_s: int
    refresh_s: int


# each length is a whole multiple of the one before it, and divides a day
ROLLUPS = (
    Rollup("trades_1m", 60, 300),
    Rollup("trades_5m", 300, 300),
    Rollup("trades_1h", 3600, 1800),
    Rollup("trades_1d", _DAY_S, 3600),
)


class RollupState(msgspec.Struct, frozen=True):
    """One relation as it stands: ``view``, ``continuous aggregate`` or ``missing``.

    ``refreshed_to`` is the end of what the database has worked out ahead (exclusive); None for a view.
    """

    name: str
    kind: str
    current: bool
    refreshed_to: datetime | None


# Both spell out one definition. An array compares by its first element first, so the least of (id, price) carries the
# price of the lowest id.
_OF_TRADES = """
       (min(ARRAY[trade_id, price]))[2]::numeric(20, 8) AS open, max(price)::numeric(20, 8) AS high,
       min(price)::numeric(20, 8) AS low, (max(ARRAY[trade_id, price]))[2]::numeric(20, 8) AS close,
       sum(quantity)::numeric(38, 8) AS volume, sum(trunc(price * quantity, 8))::numeric(38, 8) AS quote_volume,
       sum(last_trade_id - first_trade_id + 1)::bigint AS trade_count,
       coalesce(sum(quantity) FILTER (WHERE NOT is_buyer_maker), 0)::numeric(38, 8) AS taker_buy_volume,
       coalesce(sum(trunc(price * quantity, 8)) FILTER (WHERE NOT is_buyer_maker), 0)::numeric(38, 8)
           AS taker_buy_quote_volume,
       min(first_trade_id) AS first_trade_id, max(last_trade_id) AS last_trade_id,
       count(*) AS row_count, min(trade_id) AS first_id, max(trade_id) AS last_id"""

# A policy wants room for some candles; where less is left of the trades, the next drop looks again.
_SCHEDULE = """
SELECT add_continuous_aggregate_policy($1::text::regclass, start_offset => now() - $2::timestamptz,
    end_offset => make_interval(secs => $3), schedule_interval => make_interval(secs => $4))
WHERE $2 IS NULL OR now() - $2 > make_interval(secs => 4 * $3)"""

# Chunks that follow each other; none where nothing was ever dropped.
_RUNS = """
SELECT min(range_start), max(range_end)
FROM (SELECT range_start, range_end, count(*) FILTER (WHERE range_start > before) OVER (ORDER BY range_start) AS run
      FROM (SELECT range_start, range_end, lag(range_end) OVER (ORDER BY range_start) AS before
            FROM timescaledb_information.chunks WHERE hypertable_name = 'trades') AS chunk
      WHERE EXISTS (SELECT FROM dropped)) AS numbered
GROUP BY run ORDER BY 1"""

_OF_CANDLES = """
       (min(ARRAY[first_id, open]))[2]::numeric(20, 8) AS open, max(high)::numeric(20, 8) AS high,
       min(low)::numeric(20, 8) AS low, (max(ARRAY[last_id, close]))[2]::numeric(20, 8) AS close,
       sum(volume)::numeric(38, 8) AS volume, sum(quote_volume)::numeric(38, 8) AS quote_volume,
       sum(trade_count)::bigint AS trade_count, sum(taker_buy_volume)::numeric(38, 8) AS taker_buy_volume,
       sum(taker_buy_quote_volume)::numeric(38, 8) AS taker_buy_quote_volume,
       min(first_trade_id) AS first_trade_id, max(last_trade_id) AS last_trade_id,
       sum(row_count)::bigint AS row_count, min(first_id) AS first_id, max(last_id) AS last_id"""


def definition(rollup: Rollup, tier: Tier) -> str:
    """Return the statement that makes a relation on this tier. ``time`` is the candle's open time."""
    step = f"interval '{rollup.length_s} seconds'"
    at = ROLLUPS.index(rollup)
    if tier is Tier.TIMESCALE_COMMUNITY:
        source, columns = ("trades", _OF_TRADES) if at == 0 else (ROLLUPS[at - 1].name, _OF_CANDLES)
        return (
            f"CREATE MATERIALIZED VIEW {rollup.name}"
            " WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS\n"
            f'SELECT time_bucket({step}, "time") AS "time", venue, symbol,{columns}\n'
            f"FROM {source} GROUP BY 1, 2, 3 WITH NO DATA"
        )
    # Times in front: a condition on the view's time and symbol then reaches the index of each candle's trades, and
    # days that it leaves out are not opened. Seconds, because a day of an interval goes by the session's time zone.
    ends = [
        f'(SELECT date_bin({step}, "time", \'epoch\') FROM trades ORDER BY "time" {way} LIMIT 1)'  # noqa: S608 - constants alone
        for way in ("ASC", "DESC")
    ]
    return f"""CREATE VIEW {rollup.name} AS
SELECT slots."time", made.*
FROM generate_series({ends[0]}, {ends[1]}, {step}) AS slots ("time")
CROSS JOIN LATERAL (SELECT venue, symbol,{_OF_TRADES}
    FROM trades WHERE trades."time" >= slots."time" AND trades."time" < slots."time" + {step}
    GROUP BY venue, symbol) AS made"""  # noqa: S608


async def create(connection: asyncpg.Connection) -> list[str]:
    """Make what is missing or was made by an earlier version; return the names of what was made.

    On the Community edition what is stored already is worked out by ``refresh`` or, from the newest on, by the
    database in the background; the answers are right before that. Raises SchemaMismatch for relations of these names
    that crypto-quant did not make.
    """
    try:
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", MIGRATION_LOCK)
            await reach_extension(connection)
            tier = await table_tier(connection)
            found = await _found(connection)
            stale = [each for each in ROLLUPS if each.name in found and found[each.name] != _mark(each, tier)]
            # what stands on a relation that is made anew is made anew
            begin = min((ROLLUPS.index(each) for each in stale), default=len(ROLLUPS))
            for rollup in reversed(ROLLUPS[begin:]):
                if rollup.name in found:
                    await _drop(connection, rollup)
            made = []
            for at, rollup in enumerate(ROLLUPS):
                if rollup.name not in found or at >= begin:
                    await connection.execute(definition(rollup, tier))
                    # a constant and a hash: no stranger's text
                    await connection.execute(f"COMMENT ON VIEW {rollup.name} IS '{_mark(rollup, tier)}'")
                    made.append(rollup.name)
            if tier is Tier.TIMESCALE_COMMUNITY:
                await schedule(connection)
            return made
    except faults.DRIVER_ERRORS as error:
        raise faults.translate(error, operation="making the rollups", subject="") from error


async def drop(connection: asyncpg.Connection) -> list[str]:
    """Remove them, and return the names of those that were there. Raises SchemaMismatch for strangers' relations."""
    try:
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", MIGRATION_LOCK)
            await reach_extension(connection)
            found = await _found(connection)
            there = [each for each in ROLLUPS if each.name in found]
            for rollup in reversed(there):
                await _drop(connection, rollup)
            return [each.name for each in there]
    except faults.DRIVER_ERRORS as error:
        raise faults.translate(error, operation="removing the rollups", subject="") from error


async def refresh(
    connection: asyncpg.Connection, progress: Callable[[int, int, str], None] = lambda _done, _total, _what: None
) -> list[str]:
    """Let the database work out now what has changed in stored days, a late repair above all; return the names.

    Empty on tiers where they are views, which are never behind. Call it outside a transaction. Candles of days whose
    trades were dropped are left as they are.
    """
    try:
        if await table_tier(connection) is not Tier.TIMESCALE_COMMUNITY:
            return []
        # its procedure takes no part in a transaction
        await reach_extension(connection, lasting=True)
        found = await _found(connection)
        stretches = await _there(connection)
        names = [each.name for each in ROLLUPS if each.name in found]
        for at, name in enumerate(names):
            for number, (begin, end) in enumerate(stretches):
                progress(at * len(stretches) + number, len(names) * len(stretches), name)
                await connection.execute(
                    "CALL refresh_continuous_aggregate($1::text::regclass, $2::timestamptz, $3::timestamptz)",
                    name,
                    begin,
                    end,
                )
        return names
    except faults.DRIVER_ERRORS as error:
        raise faults.translate(error, operation="refreshing the rollups", subject="") from error


async def state(connection: asyncpg.Connection) -> list[RollupState]:
    """Return each relation as it stands."""
    try:
        tier = await table_tier(connection)
        found = await _found(connection)
        kind = "continuous aggregate" if tier is Tier.TIMESCALE_COMMUNITY else "view"
        told = []
        for each in ROLLUPS:
            there = each.name in found
            told.append(
                RollupState(
                    each.name,
                    kind if there else "missing",
                    there and found[each.name] == _mark(each, tier),
                    await _refreshed_to(connection, each) if there and tier is Tier.TIMESCALE_COMMUNITY else None,
                )
            )
        return told
    except faults.DRIVER_ERRORS as error:
        raise faults.translate(error, operation="looking at the rollups", subject="") from error


async def schedule(connection: asyncpg.Connection) -> None:
    """Set what the database keeps up to date by itself: the days whose trades are there, back to the first gap.

    A refresh of a day whose trades were dropped would remove its candles. So this is called after each drop as well;
    it does nothing where there are no continuous aggregates. Call it in a transaction.
    """
    if await table_tier(connection) is not Tier.TIMESCALE_COMMUNITY:
        return
    begin = (await _there(connection))[-1][0]
    found = await _found(connection)
    for rollup in ROLLUPS:
        if rollup.name in found:
            await connection.execute(
                "SELECT remove_continuous_aggregate_policy($1::text::regclass, if_exists => true)", rollup.name
            )
            await connection.execute(_SCHEDULE, rollup.name, begin, rollup.length_s, rollup.refresh_s)


async def _there(connection: asyncpg.Connection) -> list[tuple[datetime | None, datetime | None]]:
    """Return the stretches of time whose trades are there, the oldest first: all of it unless some were dropped.

    None stands for no end. A dropped day between two that were fetched again parts them.
    """
    runs = [tuple(row) for row in await connection.fetch(_RUNS)]
    if not runs:
        return [(None, None)]
    return [*runs[:-1], (runs[-1][0], None)]


async def _refreshed_to(connection: asyncpg.Connection, rollup: Rollup) -> datetime | None:
    moment: datetime | None = await connection.fetchval(
        f'SELECT max("time") + $1 FROM {await _materialized(connection, rollup)}',  # noqa: S608 - the database's name
        timedelta(seconds=rollup.length_s),
    )
    return moment


async def _materialized(connection: asyncpg.Connection, rollup: Rollup) -> str:
    return str(
        await connection.fetchval(
            "SELECT format('%I.%I', materialization_hypertable_schema, materialization_hypertable_name)"
            " FROM timescaledb_information.continuous_aggregates WHERE view_name = $1",
            rollup.name,
        )
    )


async def _found(connection: asyncpg.Connection) -> dict[str, str]:
    """Return the relations of ours that are there, with their mark. Raises SchemaMismatch for strangers'."""
    rows = await connection.fetch(
        "SELECT relname, obj_description(oid, 'pg_class') AS said FROM pg_catalog.pg_class"
        " WHERE oid IN (SELECT to_regclass(name) FROM unnest($1::text[]) AS name)",
        [each.name for each in ROLLUPS],
    )
    found = {row["relname"]: row["said"] or "" for row in rows}
    strangers = sorted(name for name, said in found.items() if not said.startswith(_MARK))
    if strangers:
        raise SchemaMismatch(
            "relations of these names exist that crypto-quant did not make",
            subject=", ".join(strangers),
            hint="Rename them. Nothing was changed",
        )
    return found


async def _drop(connection: asyncpg.Connection, rollup: Rollup) -> None:
    # what it is now: an older version, or the tables' former tier, may have made another kind
    aggregate = await connection.fetchval(
        "SELECT to_regclass('_timescaledb_catalog.continuous_agg') IS NOT NULL"
    ) and await connection.fetchval(
        "SELECT EXISTS (SELECT FROM timescaledb_information.continuous_aggregates WHERE view_name = $1)", rollup.name
    )
    await connection.execute(f"DROP {'MATERIALIZED VIEW' if aggregate else 'VIEW'} {rollup.name}")


def _mark(rollup: Rollup, tier: Tier) -> str:
    return _MARK + hashlib.sha256(definition(rollup, tier).encode()).hexdigest()[:16]
