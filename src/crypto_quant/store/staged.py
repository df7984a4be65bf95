"""The careful way of a batch: through a temporary table, where rows that are there already are found and compared.

Runs within the caller's transaction. The first version of a trade is kept: one that comes again with another content
is not stored, and the caller is told which rows these were.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from crypto_quant.errors import StoreRejected
from crypto_quant.seams import COLUMNS, Batch, Covered, Receipt, Table
from crypto_quant.store.copytext import CopyText

_STAGE = "crypto_quant_stage"
# The same trade told with another time is looked for this far around the batch: units that were mistaken and clocks
# that were set differ by less, and without a time the search would read every index that there is.
_TWIN_REACH = timedelta(days=1)


def _quoted(columns: tuple[str, ...]) -> str:
    return ", ".join(f'"{column}"' for column in columns)


def _statements(table: Table, key: str) -> tuple[str, str]:
    """Return the two statements around the COPY. Rows are inserted in the key's order, so that two recorders which
    store the same rows wait for each other instead of deadlocking; of rows with one key the batch's first wins."""
    # every name in them is a constant of ours
    columns = _quoted(COLUMNS[table])
    create = f"CREATE TEMPORARY TABLE {_STAGE} ON COMMIT DROP AS SELECT {columns} FROM {table} WITH NO DATA"  # noqa: S608
    select = f"SELECT {columns} FROM pg_temp.{_STAGE} WHERE ctid <> ALL ($1::tid[]) ORDER BY {key}, ctid"  # noqa: S608
    return create, f"INSERT INTO {table} ({columns}) {select} ON CONFLICT DO NOTHING"


_STAGED: Mapping[Table, tuple[str, str]] = {
    Table.TRADES: _statements(Table.TRADES, '"time", symbol, trade_id, venue'),
    Table.CANDLES: _statements(Table.CANDLES, 'venue, symbol, timeframe, "time"'),
}

# A fresh temporary table lies in the order of its COPY: the number of a row there is its place in the batch, from 1.
_NUMBERED = f"(SELECT ctid AS place, row_number() OVER (ORDER BY ctid) AS number, * FROM pg_temp.{_STAGE}) AS s"  # noqa: S608

# Which candles are new is for the database to say: another recorder may store the same ones now. Of the rows of one
# key it is the first.
_INSERT_CANDLES = f"""
WITH new AS ({_STAGED[Table.CANDLES][1]} RETURNING venue, symbol, timeframe, "time")
SELECT min(s.number) AS number FROM new JOIN {_NUMBERED} USING (venue, symbol, timeframe, "time")
GROUP BY "time", venue, symbol, timeframe"""  # noqa: S608

_BOUNDS = f'SELECT min("time"), max("time") FROM pg_temp.{_STAGE}'  # noqa: S608

# Rows that look new by their key although coverage says that their id is stored.
_SUSPECTS = f"""
SELECT s.number, s.place, s.venue, s.symbol, s.trade_id FROM {_NUMBERED}
WHERE s.trade_id <= (SELECT c.last_id FROM coverage c
                     WHERE c.venue = s.venue AND c.symbol = s.symbol AND c.first_id <= s.trade_id AND c.source <> 'void'
                     ORDER BY c.first_id DESC LIMIT 1)
  AND NOT EXISTS (SELECT FROM trades t WHERE t."time" = s."time" AND t.symbol = s.symbol AND t.trade_id = s.trade_id
                  AND t.venue = s.venue AND t."time" BETWEEN $1 AND $2)"""  # noqa: S608

# Rows that tell an id under another time than the batch's first row of that id does.
_TWINS_WITHIN = f"""
SELECT place, number, venue, symbol, trade_id FROM (
    SELECT s.*, first_value(s."time") OVER (PARTITION BY s.venue, s.symbol, s.trade_id ORDER BY s.number) AS first_time
    FROM {_NUMBERED}) AS told
WHERE "time" <> first_time
  AND NOT EXISTS (SELECT FROM trades t WHERE t."time" = told."time" AND t.symbol = told.symbol
                  AND t.trade_id = told.trade_id AND t.venue = told.venue AND t."time" BETWEEN $1 AND $2)"""  # noqa: S608

_TWINS = """
SELECT DISTINCT t.venue, t.symbol, t.trade_id
FROM unnest($1::text[], $2::text[], $3::bigint[]) AS s (venue, symbol, trade_id)
JOIN trades t ON t.venue = s.venue AND t.symbol = s.symbol AND t.trade_id = s.trade_id
WHERE t."time" BETWEEN $4 AND $5"""

# Rows whose key is there with another content; received_at is ours, not the trade's.
_DIFFERENT = f"""
SELECT s.number FROM {_NUMBERED}
JOIN trades t ON t."time" = s."time" AND t.symbol = s.symbol AND t.trade_id = s.trade_id AND t.venue = s.venue
WHERE t."time" BETWEEN $1 AND $2
  AND (t.price, t.quantity, t.first_trade_id, t.last_trade_id, t.is_buyer_maker)
      IS DISTINCT FROM (s.price, s.quantity, s.first_trade_id, s.last_trade_id, s.is_buyer_maker)"""  # noqa: S608


async def store_staged(connection: PoolConnectionProxy, batch: Batch, data: CopyText) -> Receipt:
    """Store the rows that are not there yet; ``data`` is the batch's rows, joined. Call it in a transaction.

    Raises StoreRejected when a row is not one line, and the driver's errors.
    """
    create, insert = _STAGED[batch.table]
    await connection.execute(create)
    status = await connection.copy_to_table(_STAGE, source=data, columns=COLUMNS[batch.table], format="text")
    if count_of(status) != len(batch.rows):
        raise StoreRejected(
            f"{len(batch.rows)} rows were given and the database read {count_of(status)}",
            subject=batch.table,
            hint="A row is not exactly one line",
        )
    if batch.table is not Table.TRADES:
        new = {row["number"] - 1 for row in await connection.fetch(_INSERT_CANDLES, [])}
        repeated = tuple(place for place in range(len(batch.rows)) if place not in new)
        return Receipt(written=len(new), duplicates=len(repeated), repeated=repeated)
    bounds = await connection.fetchrow(_BOUNDS)
    assert bounds is not None  # noqa: S101 - an aggregate without GROUP BY has one row
    earliest, latest = bounds
    twins = await _twins(connection, earliest, latest)
    if tells_twice(batch.covered):
        known = {row["number"] for row in twins}
        within = await connection.fetch(_TWINS_WITHIN, earliest, latest)
        twins += [row for row in within if row["number"] not in known]
    written = count_of(await connection.execute(insert, [row["place"] for row in twins]))
    conflicting = [row["number"] - 1 for row in twins]
    if written + len(twins) < len(batch.rows):
        conflicting += [row["number"] - 1 for row in await connection.fetch(_DIFFERENT, earliest, latest)]
    return Receipt(
        written=written,
        duplicates=len(batch.rows) - written - len(conflicting),
        conflicting=tuple(sorted(conflicting)),
    )


def tells_twice(covered: Sequence[Covered]) -> bool:
    """Tell whether some id is in more than one of the ranges: then the batch holds it more than once."""
    if len({each.symbol for each in covered}) == len(covered):
        return False  # one range a symbol, as nearly always with trades
    if len({(each.venue, each.symbol, each.timeframe) for each in covered}) == len(covered):
        return False
    ranges = sorted((each.venue, each.symbol, each.timeframe or "", each.first, each.last) for each in covered)
    return any(a[:3] == b[:3] and b[3] <= a[4] for a, b in pairwise(ranges))


async def _twins(connection: PoolConnectionProxy, earliest: datetime, latest: datetime) -> list[asyncpg.Record]:
    """Return the staged rows whose trade is stored under another time."""
    suspects = await connection.fetch(_SUSPECTS, earliest, latest)
    if not suspects:
        return []
    keys = [(row["venue"], row["symbol"], row["trade_id"]) for row in suspects]
    found = await connection.fetch(
        _TWINS, *(list(column) for column in zip(*keys, strict=True)), earliest - _TWIN_REACH, latest + _TWIN_REACH
    )
    stored = {tuple(row) for row in found}
    return [row for row, key in zip(suspects, keys, strict=True) if key in stored]


def count_of(status: str) -> int:
    """Return the rows of a command's status, ``COPY 1000`` or ``INSERT 0 993``."""
    return int(status.rpartition(" ")[2])
