"""Old rows dropped on purpose, chunk by chunk, without a claim left behind.

Before a chunk or partition goes, its ids and slots are taken out of ``coverage`` and written into ``dropped``, a
series a transaction, so that no recorder waits; then it is dropped, unless something of it was stored again meanwhile.
Whatever ends this in between, coverage claims nothing that is not stored, and the next run goes on.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

import asyncpg
import msgspec

from crypto_quant.continuity import RangeSet
from crypto_quant.seams import Table
from crypto_quant.store import coverage, faults, rollups
from crypto_quant.store.migrate import reach_extension
from crypto_quant.store.policy import declared
from crypto_quant.store.ranges import Series
from crypto_quant.store.tier import Tier, table_tier

# one number for every crypto-quant: two that drop at once would only wait for each other
DROP_LOCK = 0x63715F64726F70
# how long writers may be held up by a drop that waits for somebody's long query; on native partitions all of them,
# because the last one is taken from the parent as well
_LOCK_TIMEOUT = "2s"

_CHUNKS = """
SELECT format('%I.%I', chunk_schema, chunk_name), range_start, range_end FROM timescaledb_information.chunks
WHERE format('%I.%I', hypertable_schema, hypertable_name)::regclass = $1::text::regclass ORDER BY range_start"""

# a default partition, and one without an end, is nobody's to drop
_PARTITIONS = r"""
SELECT name, ends[1]::timestamptz, ends[2]::timestamptz
FROM (SELECT inhrelid::regclass::text AS name,
             regexp_match(pg_get_expr(relpartbound, oid), 'FROM \(''([^'']+)''\) TO \(''([^'']+)''\)') AS ends
      FROM pg_catalog.pg_inherits JOIN pg_catalog.pg_class ON oid = inhrelid
      WHERE inhparent = to_regclass($1)) AS bound
WHERE ends IS NOT NULL ORDER BY 2"""

_COUNTED = """
SELECT venue, symbol, min(trade_id), max(trade_id), count(*) FROM trades
WHERE "time" >= $1 AND "time" < $2 AND trade_id >= 0 GROUP BY 1, 2 ORDER BY 1, 2"""

_ISLANDS = """
SELECT venue, symbol, min(trade_id), max(trade_id)
FROM (SELECT venue, symbol, trade_id,
             trade_id - dense_rank() OVER (PARTITION BY venue, symbol ORDER BY trade_id) AS island
      FROM trades JOIN unnest($3::text[], $4::text[]) AS given (venue, symbol) USING (venue, symbol)
      WHERE "time" >= $1 AND "time" < $2 AND trade_id >= 0) AS numbered
GROUP BY venue, symbol, island ORDER BY 1, 2, 3"""

_COUNTED_CANDLES = """
SELECT venue, symbol, timeframe, count(*) FROM candles WHERE "time" >= $1 AND "time" < $2 GROUP BY 1, 2, 3"""

Ranges = Mapping[Series, Sequence[tuple[int, int]]]


class Piece(msgspec.Struct, frozen=True):
    """A chunk or partition: ``start`` inclusive, ``end`` exclusive."""

    table: Table
    name: str
    start: datetime
    end: datetime


class Fate(msgspec.Struct, frozen=True):
    """What became of a piece: ``rows`` were dropped, or it is ``kept`` for this reason."""

    piece: Piece
    rows: int
    kept: str = ""


# Says why a piece with these ids (of candles: slots) must stay, as inclusive ranges by series; empty: it may go.
Gate = Callable[[Piece, Ranges], str]
Progress = Callable[[int, int, str], None]


def _no_gate(_piece: Piece, _ranges: Ranges) -> str:
    return ""


async def pieces(connection: asyncpg.Connection, table: Table) -> list[Piece]:
    """Return the chunks or partitions of a table with both ends, the oldest first."""
    query = _PARTITIONS if await table_tier(connection) is Tier.POSTGRESQL else _CHUNKS
    rows = await connection.fetch(query, table.value)
    return [Piece(table, *row) for row in rows]


async def drop_before(
    connection: asyncpg.Connection,
    table: Table,
    moment: datetime,
    *,
    source: str,
    gate: Gate = _no_gate,
    progress: Progress = lambda _done, _total, _what: None,
) -> list[Fate]:
    """Drop what ended at or before ``moment``, the oldest first; ``source`` is ``policy`` or ``hand``.

    ``progress`` hears how many chunks or partitions are done, of how many, and which comes next.
    Call it outside a transaction, with the session in UTC. Raises StoreDenied, StoreUnavailable.
    """
    try:
        if not await connection.fetchval("SELECT pg_try_advisory_lock($1)", DROP_LOCK):
            return []
        try:
            found = [piece for piece in await pieces(connection, table) if piece.end <= moment]
            fates: list[Fate] = []
            for piece in found:
                progress(len(fates), len(found), f"{piece.table} {piece.start:%Y-%m-%d}")
                fates.append(await _drop(connection, piece, source, gate))
            if table is Table.TRADES and any(not fate.kept for fate in fates):
                async with connection.transaction():
                    await reach_extension(connection)
                    await rollups.schedule(connection)
            return fates
        finally:
            await connection.execute("SELECT pg_advisory_unlock($1)", DROP_LOCK)
    except faults.DRIVER_ERRORS as error:
        raise faults.translate(error, operation="dropping old rows", subject=table) from error


async def keep_rules(
    connection: asyncpg.Connection,
    now: datetime,
    gate_of: Callable[[str], Gate] | None = None,
    progress: Progress = lambda _done, _total, _what: None,
) -> list[Fate]:
    """Drop what the declared rules say; ``gate_of`` makes the gate of an export directory."""
    fates = []
    for rule in await declared(connection):
        if rule.drop_after is not None:
            gate = gate_of(rule.export_directory) if rule.export_directory is not None and gate_of else _no_gate
            fates += await drop_before(
                connection, rule.table, now - rule.drop_after, source="policy", gate=gate, progress=progress
            )
    return fates


async def _drop(connection: asyncpg.Connection, piece: Piece, source: str, gate: Gate) -> Fate:
    rows, ranges = await _held(connection, piece)
    reason = gate(piece, ranges)
    if reason:
        return Fate(piece, rows, reason)
    for series, each in ranges.items():
        async with connection.transaction(isolation="read_committed"):
            await coverage.drop(connection, series, each, source)
    try:
        async with connection.transaction(isolation="read_committed"):
            await connection.execute(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'")
            # whoever has stored rows here has committed once this lock is had, and with the rows what they prove
            await connection.execute(f"LOCK TABLE {piece.name} IN ACCESS EXCLUSIVE MODE")
            if await _claimed(connection, piece.table, ranges):
                return Fate(piece, rows, "rows were stored in it meanwhile")
            await _drop_piece(connection, piece)
    except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
        return Fate(piece, rows, "somebody reads it or writes to it")
    return Fate(piece, rows)


async def _held(connection: asyncpg.Connection, piece: Piece) -> tuple[int, Ranges]:
    """Return how many rows a piece has, and their ids or slots, as inclusive ranges by series."""
    if piece.table is Table.CANDLES:
        counted = await connection.fetch(_COUNTED_CANDLES, piece.start, piece.end)
        slots = await coverage.candle_ranges(connection, [tuple(row[:3]) for row in counted], piece.start, piece.end)
        return sum(row[3] for row in counted), slots
    counted = await connection.fetch(_COUNTED, piece.start, piece.end)
    ranges: dict[Series, list[tuple[int, int]]] = {}
    broken = []
    for venue, symbol, first, last, rows in counted:
        if rows == last - first + 1:
            ranges[venue, symbol] = [(first, last)]
        else:
            broken.append((venue, symbol))
    if broken:
        given = [[series[at] for series in broken] for at in (0, 1)]
        for venue, symbol, first, last in await connection.fetch(_ISLANDS, piece.start, piece.end, *given):
            ranges.setdefault((venue, symbol), []).append((first, last))
    return sum(row[4] for row in counted), ranges


async def _claimed(connection: asyncpg.Connection, table: Table, ranges: Ranges) -> bool:
    """Tell whether coverage claims any of these ranges."""
    claims = await coverage.claims(connection, table, list(ranges))
    return any(
        RangeSet((first, last) for first, last, source in claims.get(series, ()) if source != "void").within(*each)
        for series, wanted in ranges.items()
        for each in wanted
    )


async def _drop_piece(connection: asyncpg.Connection, piece: Piece) -> None:
    if await table_tier(connection) is Tier.POSTGRESQL:
        await connection.execute(f"DROP TABLE {piece.name}")
        return
    await reach_extension(connection)
    await connection.fetch(
        "SELECT drop_chunks($1::text::regclass, older_than => $2::timestamptz, newer_than => $3::timestamptz)",
        piece.table.value,
        piece.end,
        piece.start,
    )
