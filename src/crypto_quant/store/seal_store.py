"""Seals in the database: read, appended, and the digests of the rows that they answer for.

The canonical text of a row is its columns as PostgreSQL writes them (times in UTC), joined by commas; the rows of a
minute in the order of time and id, a line each, make a SHA-256, and the digests of the minutes in their order make
that of the stretch. It covers what the exchange said and not when it was received.
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from crypto_quant.evidence import Scope, Span
from crypto_quant.market import NS_PER_US, Timeframe
from crypto_quant.seals import (
    HOUR_NS,
    NOTHING,
    TRADES,
    Digested,
    Group,
    Head,
    Key,
    Seal,
    Wanted,
    head_of,
    stream_of,
    stretch_ns,
    timeframe_of,
)
from crypto_quant.store import faults
from crypto_quant.store.moments import moment, us
from crypto_quant.store.timescale import connect
from crypto_quant.store.url import redact

STATEMENT_TIMEOUT_S = 6 * 3600.0
# one number for every crypto-quant: two that seal at once would only wait for each other
SEAL_LOCK = 0x63715F7365616C

_TRADE_DIGESTS = f"""
WITH bounds AS (
    SELECT * FROM unnest($1::int[], $2::text[], $3::text[], $4::bigint[], $5::bigint[])
        AS given (at, venue, symbol, first_id, last_id)),
minutes AS (
    SELECT at, date_trunc('minute', "time" AT TIME ZONE 'UTC') AS minute, count(*) AS rows,
           sha256(convert_to(string_agg(
               concat_ws(',', "time" AT TIME ZONE 'UTC', trade_id, price, quantity, first_trade_id, last_trade_id,
                         is_buyer_maker), E'\\n' ORDER BY "time", trade_id), 'UTF8')) AS digest,
           min("time") AS first_time, max("time") AS last_time,
           min(first_trade_id) AS first_single, max(last_trade_id) AS last_single,
           sum(last_trade_id - first_trade_id + 1)::bigint AS singles
    FROM trades JOIN bounds USING (venue, symbol)
    WHERE "time" >= $6 AND "time" < $7 AND trade_id BETWEEN first_id AND last_id GROUP BY 1, 2)
SELECT at, sum(rows)::bigint, encode(sha256(string_agg(digest, ''::bytea ORDER BY minute)), 'hex'),
       {us("min(first_time)")}, {us("max(last_time)")}, min(first_single), max(last_single), sum(singles)::bigint
FROM minutes GROUP BY at"""  # noqa: S608 - constants alone

# First and last trade id come over the stream alone: they have a digest of their own beside that of all other columns.
_CANDLE_DIGESTS = f"""
WITH bounds AS (
    SELECT * FROM unnest($1::int[], $2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::timestamptz[])
        AS given (at, venue, symbol, timeframe, since, until)),
minutes AS (
    SELECT at, date_trunc('minute', "time" AT TIME ZONE 'UTC') AS minute, count(*) AS rows,
           sha256(convert_to(string_agg(
               concat_ws(',', "time" AT TIME ZONE 'UTC', open, high, low, close, volume,
                         coalesce(quote_volume::text, ''), coalesce(trade_count::text, ''),
                         coalesce(taker_buy_volume::text, ''), coalesce(taker_buy_quote_volume::text, '')),
               E'\\n' ORDER BY "time"), 'UTF8')) AS digest,
           sha256(convert_to(string_agg(
               concat_ws(',', "time" AT TIME ZONE 'UTC', coalesce(first_trade_id::text, ''),
                         coalesce(last_trade_id::text, '')), E'\\n' ORDER BY "time"), 'UTF8')) AS singles,
           min("time") AS first_time, max("time") AS last_time
    FROM candles JOIN bounds USING (venue, symbol, timeframe)
    WHERE "time" >= $7 AND "time" < $8 AND "time" >= since AND "time" < until GROUP BY 1, 2)
SELECT at, sum(rows)::bigint, encode(sha256(string_agg(digest, ''::bytea ORDER BY minute)), 'hex') || ' ' ||
       encode(sha256(string_agg(singles, ''::bytea ORDER BY minute)), 'hex'),
       {us("min(first_time)")}, {us("max(last_time)")}, 0, 0, 0
FROM minutes GROUP BY at"""  # noqa: S608

_WITHIN = (
    '($1::text IS NULL OR venue = $1) AND ($2::text[] IS NULL OR symbol = ANY ($2)) AND "time" >= $3 AND "time" < $4'
)

_HOUR = us("""date_trunc('hour', "time", 'UTC')""")

_TRADE_GROUPS = f"""
SELECT venue, symbol, {_HOUR}, min(trade_id), max(trade_id), {us('min("time")')}, {us('max("time")')}
FROM trades WHERE {_WITHIN} AND trade_id >= 0 GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"""  # noqa: S608

_CANDLE_GROUPS = f"""
SELECT venue, symbol, timeframe, {_HOUR}, {us('min("time")')}, {us('max("time")')}
FROM candles WHERE {_WITHIN} GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4"""  # noqa: S608

_COLUMNS = f"""venue, symbol, stream, number, first, last, {us("first_time")}, {us("last_time")}, rows, known, digest,
       replaces, reason, {us("sealed_at")}, before, seal"""

_CHAIN = f"SELECT {_COLUMNS} FROM seals WHERE venue = $1 AND symbol = $2 AND stream = $3 ORDER BY number"  # noqa: S608

_SEALS = f"""
SELECT {_COLUMNS} FROM seals
WHERE ($1::text IS NULL OR venue = $1) AND ($2::text[] IS NULL OR symbol = ANY ($2))
  AND first_time >= $3 AND first_time < $4
ORDER BY venue, symbol, stream, number"""  # noqa: S608

_SERIES = """
SELECT DISTINCT venue, symbol, stream FROM %s
WHERE ($1::text IS NULL OR venue = $1) AND ($2::text[] IS NULL OR symbol = ANY ($2)) ORDER BY 1, 2, 3"""

_HEADS = f"""
SELECT venue, symbol, stream, number, seal, reach, {us("until")} FROM seal_heads
WHERE ($1::text IS NULL OR venue = $1) AND ($2::text[] IS NULL OR symbol = ANY ($2)) ORDER BY 1, 2, 3"""  # noqa: S608

_APPEND = """
INSERT INTO seals (venue, symbol, stream, number, first, last, first_time, last_time, rows, known, digest, replaces,
                   reason, sealed_at, before, seal)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::timestamptz[],
                     $8::timestamptz[], $9::bigint[], $10::text[], $11::text[], $12::bigint[], $13::text[],
                     $14::timestamptz[], $15::text[], $16::text[])"""

_SET_HEADS = """
INSERT INTO seal_heads (venue, symbol, stream, number, seal, reach, until)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::bigint[], $7::timestamptz[])
ON CONFLICT ON CONSTRAINT seal_heads_key DO UPDATE SET number = excluded.number, seal = excluded.seal,
    reach = greatest(seal_heads.reach, excluded.reach), until = greatest(seal_heads.until, excluded.until)"""

# whoever changes what is claimed of a series holds these rows, so nothing changes while a seal is written
_LOCK_TRADES = """
SELECT 1 FROM unnest($1::text[], $2::text[]) AS given (venue, symbol)
JOIN coverage c USING (venue, symbol) WHERE c.newest
ORDER BY c.venue COLLATE "C", c.symbol COLLATE "C" FOR UPDATE OF c"""
_LOCK_CANDLES = """
SELECT 1 FROM unnest($1::text[], $2::text[], $3::text[]) AS given (venue, symbol, timeframe)
JOIN candle_coverage c USING (venue, symbol, timeframe) WHERE c.newest
ORDER BY c.venue COLLATE "C", c.symbol COLLATE "C", c.timeframe COLLATE "C" FOR UPDATE OF c"""


class SealStore:
    """The seals of a database, on one connection."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self.connection = connection

    async def kept(self) -> bool:
        """Tell whether this database keeps seals; an older schema, or another's, does not."""
        return await self._exists("seals")

    async def _exists(self, table: str) -> bool:
        return bool(await self.connection.fetchval("SELECT to_regclass($1) IS NOT NULL", table))

    @asynccontextmanager
    async def exclusive(self) -> AsyncIterator[bool]:
        """Be the only one who seals in this database; yield false when somebody else does."""
        had = bool(await self.connection.fetchval("SELECT pg_try_advisory_lock($1)", SEAL_LOCK))
        try:
            yield had
        finally:
            if had and not self.connection.is_closed():
                await self.connection.execute("SELECT pg_advisory_unlock($1)", SEAL_LOCK)

    async def heads(self, scope: Scope) -> dict[Key, Head]:
        """Return the head of each chain of the scope."""
        if not await self._exists("seal_heads"):
            return {}
        rows = await self.connection.fetch(_HEADS, *_scope(scope))
        return {(row[0], row[1], row[2]): Head(row[3], row[4], row[5], row[6] * NS_PER_US) for row in rows}

    async def series(self, scope: Scope) -> list[Key]:
        """Return the series of the scope that have seals."""
        return [tuple(row) for row in await self.connection.fetch(_SERIES % "seals", *_scope(scope))]

    async def chain(self, key: Key) -> list[Seal]:
        """Return the seals of one series, in the order of their numbers."""
        return [_seal(row) for row in await self.connection.fetch(_CHAIN, *key)]

    async def seals(self, scope: Scope, span: Span) -> dict[Key, list[Seal]]:
        """Return the seals whose first row lies in the span, by series, in the order of their numbers."""
        found: dict[Key, list[Seal]] = {}
        for row in await self.connection.fetch(_SEALS, *_scope(scope), moment(span.start), moment(span.end)):
            seal = _seal(row)
            found.setdefault(seal.key, []).append(seal)
        return found

    async def groups(self, scope: Scope, span: Span) -> dict[Key, list[tuple[int, Group]]]:
        """Return the rows of each series within the span, by hour or day: the last one's end in ns, and its bounds."""
        given = *_scope(scope), moment(span.start), moment(span.end)
        found: dict[Key, list[tuple[int, Group]]] = {}
        for venue, symbol, hour_us, first, last, *times in await self.connection.fetch(_TRADE_GROUPS, *given):
            group = Group(first, last, times[0] * NS_PER_US, times[1] * NS_PER_US)
            found.setdefault((venue, symbol, TRADES), []).append((hour_us * NS_PER_US + HOUR_NS, group))
        days: dict[tuple[Key, int], Group] = {}
        for venue, symbol, timeframe, hour_us, first_us, last_us in await self.connection.fetch(_CANDLE_GROUPS, *given):
            frame, length_ns = Timeframe(timeframe), stretch_ns(stream_of(timeframe))
            key = (venue, symbol, stream_of(timeframe))
            end_ns = (hour_us * NS_PER_US // length_ns + 1) * length_ns
            first_ns, last_ns = first_us * NS_PER_US, last_us * NS_PER_US
            group = Group(frame.slot(first_ns), frame.slot(last_ns), first_ns, last_ns)
            before = days.get((key, end_ns))
            days[key, end_ns] = group if before is None else before.with_(group)
        for (key, end_ns), group in days.items():
            found.setdefault(key, []).append((end_ns, group))
        return found

    async def digests(self, wanted: Sequence[Wanted]) -> list[Digested]:
        """Return the digest of each; all are of trades, or all of candles. Reads the union of their times once."""
        if not wanted:
            return []
        span = (
            moment(min(each.span.start for each in wanted)),
            moment(max(each.span.end for each in wanted) + NS_PER_US - 1),
        )
        if wanted[0].key[2] == TRADES:
            statement = _TRADE_DIGESTS
            bounds: list[tuple[Any, ...]] = [
                (at, *each.key[:2], low, high) for at, each in enumerate(wanted) for low, high in each.ranges
            ]
        else:
            statement = _CANDLE_DIGESTS
            bounds = []
            for at, each in enumerate(wanted):
                frame = Timeframe(timeframe_of(each.key[2]))
                opens = [(frame.slot_open_ns(low), frame.slot_open_ns(high + 1)) for low, high in each.ranges]
                bounds += [(at, *each.key[:2], frame.value, moment(since), moment(until)) for since, until in opens]
        columns = [list(column) for column in zip(*bounds, strict=True)]
        async with self.connection.transaction(isolation="repeatable_read", readonly=True):
            # what a digest is made of must not depend on how this server likes to write a date; and two connections
            # side by side are faster than workers of one, and leave more to a recorder
            await self.connection.execute(
                "SET LOCAL datestyle = 'ISO, YMD'; SET LOCAL max_parallel_workers_per_gather = 0;"
                " SET LOCAL work_mem = '64MB'; SET LOCAL jit = off"
            )
            rows = await self.connection.fetch(statement, *columns, *span)
        found = {
            row[0]: Digested(row[1], row[2], row[3] * NS_PER_US, row[4] * NS_PER_US, row[5], row[6], row[7])
            for row in rows
        }
        return [found.get(at, NOTHING) for at in range(len(wanted))]

    @asynccontextmanager
    async def holding(self, keys: Iterable[Key]) -> AsyncIterator[int]:
        """Keep the claims of these series as they are, for a moment; yield the database's time in ns."""
        trades = [key[:2] for key in keys if key[2] == TRADES]
        candles = [(*key[:2], timeframe_of(key[2])) for key in keys if key[2] != TRADES]
        async with self.connection.transaction(isolation="read_committed"):
            if trades:
                await self.connection.fetch(_LOCK_TRADES, *map(list, zip(*trades, strict=True)))
            if candles:
                await self.connection.fetch(_LOCK_CANDLES, *map(list, zip(*candles, strict=True)))
            yield await self.connection.fetchval(f"SELECT {us('clock_timestamp()')}") * NS_PER_US

    async def append(self, seals: Sequence[Seal]) -> None:
        """Store new seals and make them the heads of their chains; call it while ``holding`` their series."""
        times = ("first_ns", "last_ns", "sealed_ns")
        columns = [
            [moment(getattr(seal, name)) if name in times else getattr(seal, name) for seal in seals]
            for name in Seal.__struct_fields__
        ]
        await self.connection.execute(_APPEND, *columns)
        by_series: dict[Key, list[Seal]] = {}
        for seal in seals:
            by_series.setdefault(seal.key, []).append(seal)
        rows: list[tuple[Any, ...]] = []
        for key, mine in by_series.items():
            head = head_of(mine)
            rows.append((*key, head.number, head.seal, head.reach, moment(head.until_ns)))
        await self.connection.execute(_SET_HEADS, *map(list, zip(*rows, strict=True)))


def _scope(scope: Scope) -> tuple[str | None, list[str] | None]:
    return scope.venue, list(scope.symbols) or None


def _seal(row: Sequence[Any]) -> Seal:
    return Seal(*[value * NS_PER_US if at in (6, 7, 13) else value for at, value in enumerate(row)])


@asynccontextmanager
async def open_seals(url: str) -> AsyncIterator[SealStore]:
    """Lend the seals of the database at ``url``. Raises ConfigError, StoreUnavailable, StoreDenied."""
    connection = await connect(url, command_timeout_s=STATEMENT_TIMEOUT_S)
    try:
        yield SealStore(connection)
    except faults.DRIVER_ERRORS as error:
        raise faults.translate(error, operation="sealing", subject=redact(url)) from error
    finally:
        connection.terminate()
