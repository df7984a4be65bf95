"""The audit's questions as SQL: a ``evidence.Reader`` on one connection.

Every statement names its span of time, so that the planner leaves out all other partitions or chunks, and every value
is a parameter. Only ``trades`` and ``candles`` must exist: a database that something else has filled is read as well,
and one without ``coverage``, ``absences`` or ``verdicts`` gets the answers that are possible without them.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import asyncpg

from crypto_quant.evidence import (
    Absence,
    CandleAbsence,
    CandleFill,
    Digest,
    Fill,
    FromTrades,
    Pair,
    Run,
    Scope,
    Series,
    Span,
    Tally,
    Verdict,
)
from crypto_quant.market import DAY_S, NS_PER_S, NS_PER_US, Timeframe
from crypto_quant.seams import Table
from crypto_quant.store import faults
from crypto_quant.store.digests import CANDLE_DIGESTS, TRADE_DIGESTS, for_driver
from crypto_quant.store.moments import moment, ns_of, us
from crypto_quant.store.retention import pieces
from crypto_quant.store.timescale import connect
from crypto_quant.store.url import redact

# a statement reads at most a day of trades, or the candles of the whole span; on a slow disk that takes its time
STATEMENT_TIMEOUT_S = 6 * 3600.0

# what is claimed of trades and of candles and what excuses a missing row, with the schema's version that made it
CLAIM_TABLES = {
    "coverage": 2, "absences": 2, "candle_coverage": 4, "candle_absences": 4, "dropped": 5, "candle_dropped": 5,
    "seals": 6, "seal_heads": 6,
}  # fmt: skip

_WANTED = "($1::text IS NULL OR venue = $1) AND ($2::text[] IS NULL OR symbol = ANY ($2))"
_WITHIN = f'{_WANTED} AND "time" >= $3 AND "time" < $4'


# Gaps and islands: an id less its dense rank is the same along a run of ids, however often each is there.
_RUNS = f"""
SELECT venue, symbol, min(trade_id), max(trade_id), count(*), {us('min("time")')}, {us('max("time")')},
       count(*) FILTER (WHERE trade_id = id_before),
       count(*) FILTER (WHERE venue = 'spot' AND trade_id = id_before + 1 AND first_trade_id <> single_before + 1
                        AND first_trade_id >= 0 AND single_before >= 0),
       min(first_trade_id), max(last_trade_id)
FROM (SELECT venue, symbol, trade_id, "time", first_trade_id, last_trade_id,
             trade_id - dense_rank() OVER ids AS island,
             lag(trade_id) OVER ids AS id_before, lag(last_trade_id) OVER ids AS single_before
      FROM trades WHERE {_WITHIN} WINDOW ids AS (PARTITION BY venue, symbol ORDER BY trade_id)) AS numbered
GROUP BY venue, symbol, island ORDER BY 1, 2, 3"""  # noqa: S608 - constants alone

_COUNTED = f"""
SELECT venue, symbol, min(trade_id), max(trade_id), count(*), {us('min("time")')}, {us('max("time")')}
FROM trades WHERE {_WITHIN} GROUP BY venue, symbol ORDER BY 1, 2"""  # noqa: S608

_OF_RUN = '"time" >= $1 AND "time" < $2 AND venue = $3 AND symbol = $4 AND trade_id BETWEEN $5 AND $6'

_REPEATED = f"""
SELECT trade_id, array_agg({us('"time"')} ORDER BY "time") FROM trades WHERE {_OF_RUN}
GROUP BY trade_id HAVING count(*) > 1 ORDER BY trade_id LIMIT $7"""  # noqa: S608

_BROKEN = f"""
SELECT trade_id, single_before + 1, first_trade_id
FROM (SELECT trade_id, first_trade_id, lag(trade_id) OVER ids AS id_before, lag(last_trade_id) OVER ids AS single_before
      FROM trades WHERE {_OF_RUN} WINDOW ids AS (ORDER BY trade_id)) AS each
WHERE trade_id = id_before + 1 AND first_trade_id <> single_before + 1 AND first_trade_id >= 0 AND single_before >= 0
ORDER BY trade_id LIMIT $7"""  # noqa: S608

_FILLS = f"""
SELECT venue, symbol, first_id, last_id, source, {us("recorded_at")}, {us("updated_at")}
FROM %s WHERE {_WANTED} ORDER BY venue, symbol, first_id"""  # noqa: S608

_ABSENCES = f"""
SELECT venue, symbol, first_id, last_id, proof, {us("proven_at")}
FROM absences WHERE {_WANTED} ORDER BY venue, symbol, first_id"""  # noqa: S608

_CANDLE_FILLS = f"""
SELECT venue, symbol, timeframe, first_slot, last_slot, source, {us("recorded_at")}, {us("updated_at")}
FROM %s WHERE {_WANTED} ORDER BY venue, symbol, timeframe, first_slot"""  # noqa: S608

_CANDLE_ABSENCES = f"""
SELECT venue, symbol, timeframe, first_slot, last_slot, proof, {us("proven_at")}
FROM candle_absences WHERE {_WANTED} ORDER BY venue, symbol, timeframe, first_slot"""  # noqa: S608

_FRAMES = "unnest($5::text[], $6::interval[], $7::bigint[]) AS frames (timeframe, step, raster_s)"
_MISPLACED = 'count(*) FILTER (WHERE raster_s IS NOT NULL AND extract(epoch FROM "time") % raster_s <> 0)'

_COUNTED_CANDLES = f"""
SELECT venue, symbol, timeframe, count(*), {us('min("time")')}, {us('max("time")')}, {_MISPLACED}
FROM candles JOIN {_FRAMES} USING (timeframe)
WHERE {_WITHIN} GROUP BY venue, symbol, timeframe ORDER BY 1, 2, 3"""  # noqa: S608

_SERIES = f"""
SELECT venue, symbol, timeframe, count(*), {us('min("time")')}, {us('max("time")')},
       array_agg({us("before")} ORDER BY "time") FILTER (WHERE "time" > before + step),
       array_agg({us('"time"')} ORDER BY "time") FILTER (WHERE "time" > before + step),
       {_MISPLACED}
FROM (SELECT venue, symbol, timeframe, "time",
             lag("time") OVER (PARTITION BY venue, symbol, timeframe ORDER BY "time") AS before
      FROM candles WHERE {_WITHIN}) AS each
JOIN {_FRAMES} USING (timeframe)
GROUP BY venue, symbol, timeframe ORDER BY 1, 2, 3"""  # noqa: S608

_PAIR = (
    "open_us", "open", "high", "low", "close", "volume", "quote_volume", "trade_count", "taker_buy_volume",
    "taker_buy_quote_volume", "first_trade_id", "last_trade_id",
    "first_id", "last_id", "aggregates", "d_open", "d_high", "d_low", "d_close", "d_volume", "quote", "taker_volume",
    "taker_quote", "singles", "taker_aggregates", "taker_singles", "first_single", "last_single",
)  # fmt: skip
# candles that differ are each a group of one, so the least of a column is its value
_ONE_EACH = ", ".join(f"min({column})" for column in _PAIR)

# An array compares by its first element first, so its minimum carries the price of the lowest id without any sorting.
# A candle is cut to its base first, and the timeframes are made from that: the trades are read once for all of them.
_COMPARE = f"""
WITH base AS MATERIALIZED (
    SELECT venue, symbol, date_bin(make_interval(secs => $7), "time", $3) AS slot,
           min(ARRAY[trade_id, price]) AS opening, max(ARRAY[trade_id, price]) AS closing,
           count(*) AS aggregates, max(price) AS high, min(price) AS low, sum(quantity) AS volume,
           sum(trunc(price * quantity, 8)) AS quote,
           coalesce(sum(quantity) FILTER (WHERE NOT is_buyer_maker), 0) AS taker_volume,
           coalesce(sum(trunc(price * quantity, 8)) FILTER (WHERE NOT is_buyer_maker), 0) AS taker_quote,
           sum(last_trade_id - first_trade_id + 1) AS singles,
           count(*) FILTER (WHERE NOT is_buyer_maker) AS taker_aggregates,
           coalesce(sum(last_trade_id - first_trade_id + 1) FILTER (WHERE NOT is_buyer_maker), 0) AS taker_singles,
           min(first_trade_id) AS first_single, max(last_trade_id) AS last_single
    FROM trades WHERE {_WITHIN} AND venue = 'spot' GROUP BY 1, 2, 3),
derived AS (
    SELECT venue, symbol, timeframe, date_bin(make_interval(secs => seconds), slot, $3) AS "time",
           min(opening) AS opening, max(closing) AS closing, sum(aggregates)::bigint AS aggregates,
           max(high) AS high, min(low) AS low, sum(volume) AS volume, sum(quote) AS quote,
           sum(taker_volume) AS taker_volume, sum(taker_quote) AS taker_quote, sum(singles)::bigint AS singles,
           sum(taker_aggregates)::bigint AS taker_aggregates, sum(taker_singles)::bigint AS taker_singles,
           min(first_single) AS first_single, max(last_single) AS last_single
    FROM base CROSS JOIN unnest($5::text[], $6::float8[]) AS frames (timeframe, seconds)
    GROUP BY 1, 2, 3, 4),
pairs AS MATERIALIZED (
    SELECT venue, symbol, timeframe, {us('"time"')} AS open_us, c.open, c.high, c.low, c.close, c.volume,
           c.quote_volume, c.trade_count, c.taker_buy_volume, c.taker_buy_quote_volume, c.first_trade_id,
           c.last_trade_id, d.opening[1]::bigint AS first_id, d.closing[1]::bigint AS last_id, d.aggregates,
           d.opening[2] AS d_open, d.high AS d_high, d.low AS d_low, d.closing[2] AS d_close, d.volume AS d_volume,
           d.quote, d.taker_volume, d.taker_quote, d.singles, d.taker_aggregates, d.taker_singles, d.first_single,
           d.last_single, d.aggregates IS NULL AS alone
    FROM (SELECT * FROM candles WHERE {_WITHIN} AND venue = 'spot' AND timeframe = ANY ($5)) AS c
    LEFT JOIN derived AS d USING (venue, symbol, timeframe, "time")),
told AS (
    SELECT *, NOT alone AND open = d_open AND high = d_high AND low = d_low AND close = d_close AND volume = d_volume
        AND coalesce(quote_volume, quote) = quote AND coalesce(trade_count, singles) = singles
        AND coalesce(taker_buy_volume, taker_volume) = taker_volume
        AND coalesce(taker_buy_quote_volume, taker_quote) = taker_quote
        AND coalesce(first_trade_id, first_single) = first_single
        AND coalesce(last_trade_id, last_single) = last_single AS equal
    FROM pairs)
SELECT venue, symbol, timeframe, equal, alone, count(*), {_ONE_EACH} FROM told
GROUP BY venue, symbol, timeframe, equal, alone, CASE WHEN NOT equal AND NOT alone THEN open_us END
ORDER BY 1, 2, 3, min(open_us)"""  # noqa: S608

_KEEP = """
INSERT INTO verdicts (venue, symbol, timeframe, "time", field, stored, derived, checked_at)
SELECT *, $8 FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::text[], $6::text[], $7::text[])
ON CONFLICT ON CONSTRAINT verdicts_key
DO UPDATE SET stored = excluded.stored, derived = excluded.derived, checked_at = excluded.checked_at"""


@asynccontextmanager
async def open_reader(url: str) -> AsyncIterator["AuditReader"]:
    """Lend a reader on the database at ``url``, which is never altered but for ``verdicts``.

    Raises ConfigError (the URL, a database without the tables), StoreUnavailable, StoreDenied.
    """
    connection = await connect(url, command_timeout_s=STATEMENT_TIMEOUT_S)
    try:
        if not await connection.fetchval("SELECT to_regclass('trades') IS NOT NULL"):
            raise faults.nothing_recorded(redact(url))
        yield AuditReader(connection, redact(url))
    except faults.DRIVER_ERRORS as error:
        raise faults.translate(error, operation="reading", subject=redact(url)) from error
    finally:
        connection.terminate()


class AuditReader:
    """A ``evidence.Reader``; made by ``open_reader``. ``database`` is its URL without the password."""

    def __init__(self, connection: asyncpg.Connection, database: str) -> None:
        self._connection = self.connection = connection
        self.database = database

    @property
    def digest_sql(self) -> Mapping[str, str]:
        """The SQL behind ``digests``, by kind of series, for psql."""
        return {"trades": TRADE_DIGESTS, "candles": CANDLE_DIGESTS}

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[None]:
        """Let every question asked inside see the same moment."""
        async with self._connection.transaction(isolation="repeatable_read", readonly=True):
            yield

    async def extent(self, scope: Scope) -> Span | None:
        """Return the time from the first to just after the last row of the scope; None when there is none."""
        ends: list[datetime] = []
        for table in (Table.TRADES, Table.CANDLES):
            bounds = await self._parts(table)
            for order, parts in (("ASC", bounds), ("DESC", bounds[::-1])):
                if (moment := await self._outermost(table, scope, order, parts)) is not None:
                    ends.append(moment)
        return Span(ns_of(min(ends)), ns_of(max(ends)) + 1) if ends else None

    async def _parts(self, table: Table) -> list[tuple[datetime | None, datetime | None]]:
        """Return the bounds of each chunk or partition, the oldest first; no bounds where not all of them have both."""
        found = [(piece.start, piece.end) for piece in await pieces(self._connection, table)]
        there = await self._connection.fetchval(
            "SELECT count(*) FROM pg_catalog.pg_inherits WHERE inhparent = to_regclass($1)", table.value
        )
        return [*found] if found and len(found) == there else [(None, None)]

    async def _outermost(
        self, table: Table, scope: Scope, order: str, parts: Sequence[tuple[datetime | None, datetime | None]]
    ) -> datetime | None:
        """Return the first or last time of a scope, looking into one chunk or partition after the other.

        A question to all of them would lock each of nine years' days.
        """
        for start, end in parts:
            moment: datetime | None = await self._connection.fetchval(
                f'SELECT "time" FROM {table} WHERE {_WANTED} AND ($3::timestamptz IS NULL OR "time" >= $3)'  # noqa: S608
                f' AND ($4::timestamptz IS NULL OR "time" < $4) ORDER BY "time" {order} LIMIT 1',
                *_scope(scope),
                start,
                end,
            )
            if moment is not None:
                return moment
        return None

    async def missing_tables(self) -> list[str] | None:
        """Return the tables of claims that should be there and are not; None when this database keeps no claims."""
        there = {table: await self._exists(table) for table in CLAIM_TABLES}
        if not await self._exists("crypto_quant_schema"):
            return [] if any(there.values()) else None
        version = await self._connection.fetchval("SELECT max(version) FROM crypto_quant_schema") or 0
        return [table for table, since in CLAIM_TABLES.items() if version >= since and not there[table]]

    async def recorded(self) -> list[tuple[str, str]]:
        """Return every (venue, symbol) that is recorded; without claims it reads much."""
        claimed = await self._exists("coverage") and await self._exists("candle_coverage")
        tables = ("coverage", "candle_coverage") if claimed else ("trades", "candles")
        rows = await self._connection.fetch(
            f"SELECT venue, symbol FROM {tables[0]} UNION SELECT venue, symbol FROM {tables[1]} ORDER BY 1, 2"  # noqa: S608
        )
        return [(row[0], row[1]) for row in rows]

    async def runs(self, scope: Scope, span: Span) -> list[Run]:
        """Return the unbroken runs of ids, read row by row."""
        rows = await self._connection.fetch(_RUNS, *_within(scope, span))
        return [Run(*_in_ns(row, 5, 6)) for row in rows]

    async def counted(self, scope: Scope, span: Span) -> list[Run]:
        """Return one run a symbol, merely counted."""
        rows = await self._connection.fetch(_COUNTED, *_within(scope, span))
        return [Run(*_in_ns(row, 5, 6)) for row in rows]

    async def repeated(self, run: Run, span: Span, limit: int) -> list[tuple[int, list[int]]]:
        """Return the ids that a run brings more than once, with the times of their rows in ns."""
        rows = await self._connection.fetch(_REPEATED, *_of_run(run, span), limit)
        return [(row[0], [time_us * NS_PER_US for time_us in row[1]]) for row in rows]

    async def broken(self, run: Run, span: Span, limit: int) -> list[tuple[int, int, int]]:
        """Return where single trades do not continue: the id, the single expected, the single found."""
        return [tuple(row) for row in await self._connection.fetch(_BROKEN, *_of_run(run, span), limit)]

    async def fills(self, scope: Scope) -> list[Fill]:
        """Return what ``coverage`` claims, lowest first; empty where there is no such table."""
        return await self._ranges("coverage", scope)

    async def dropped(self, scope: Scope) -> list[Fill]:
        """Return the ids that were dropped on purpose, lowest first; empty where there is no such table."""
        return await self._ranges("dropped", scope)

    async def _ranges(self, table: str, scope: Scope) -> list[Fill]:
        if not await self._exists(table):
            return []
        rows = await self._connection.fetch(_FILLS % table, *_scope(scope))
        return [Fill(*_in_ns(row, 5, 6)) for row in rows]

    async def absences(self, scope: Scope) -> list[Absence]:
        """Return what is known to exist nowhere, lowest first; empty where there is no such table."""
        if not await self._exists("absences"):
            return []
        return [Absence(*_in_ns(row, 5)) for row in await self._connection.fetch(_ABSENCES, *_scope(scope))]

    async def candle_fills(self, scope: Scope) -> list[CandleFill]:
        """Return what ``candle_coverage`` claims, lowest first; empty where there is no such table."""
        return await self._slots("candle_coverage", scope)

    async def candle_dropped(self, scope: Scope) -> list[CandleFill]:
        """Return the candles that were dropped on purpose, lowest first; empty where there is no such table."""
        return await self._slots("candle_dropped", scope)

    async def _slots(self, table: str, scope: Scope) -> list[CandleFill]:
        if not await self._exists(table):
            return []
        rows = await self._connection.fetch(_CANDLE_FILLS % table, *_scope(scope))
        return [CandleFill(*_in_ns(row, 6, 7)) for row in rows]

    async def candle_absences(self, scope: Scope) -> list[CandleAbsence]:
        """Return the candles that are known to exist nowhere, lowest first; empty where there is no such table."""
        if not await self._exists("candle_absences"):
            return []
        rows = await self._connection.fetch(_CANDLE_ABSENCES, *_scope(scope))
        return [CandleAbsence(*_in_ns(row, 6)) for row in rows]

    async def counted_candles(self, scope: Scope, span: Span) -> list[Series]:
        """Return the stored candles, per series, merely counted."""
        rows = await self._connection.fetch(_COUNTED_CANDLES, *_within(scope, span), *_rasters())
        return [Series(*[*_in_ns(row[:6], 4, 5), (), row[6]]) for row in rows]

    async def series(self, scope: Scope, span: Span) -> list[Series]:
        """Return the stored candles, per series, read one by one."""
        rows = await self._connection.fetch(_SERIES, *_within(scope, span), *_rasters())
        found = []
        for row in rows:
            *head, before, after, misplaced = _in_ns(row, 4, 5)
            pairs = zip(before or (), after or (), strict=True)
            jumps = [(low * NS_PER_US, high * NS_PER_US) for low, high in pairs]
            found.append(Series(*[*head, jumps, misplaced]))
        return found

    async def compare(
        self, scope: Scope, span: Span, frames: Mapping[str, int], base_s: int
    ) -> tuple[list[Tally], list[Pair]]:
        """Hold the spot candles that open in the span against its trades; see ``evidence.Reader``."""
        rows = await self._connection.fetch(
            _COMPARE, *_within(scope, span), list(frames), list(map(float, frames.values())), base_s
        )
        tallies: dict[tuple[str, str, str], Tally] = {}
        pairs = []
        for venue, symbol, timeframe, equal, alone, count, open_us, *values in rows:
            if not equal and not alone:
                head = (venue, symbol, timeframe, open_us * NS_PER_US)
                pairs.append(Pair(*[*head, *values[:11], FromTrades(*values[11:])]))
                count = 0  # noqa: PLW2901  # the series is told of, even if nothing in it is equal
            key = (venue, symbol, timeframe)
            before = tallies.get(key, Tally(*key, 0, 0))
            tallies[key] = Tally(
                *key, before.equal + (count if equal else 0), before.without_trades + (count if alone else 0)
            )
        return list(tallies.values()), pairs

    async def keep_verdicts(self, scope: Scope, span: Span, verdicts: Sequence[Verdict], now_ns: int) -> bool:
        """Store the verdicts in place of all earlier ones of scope and span; False when it cannot be written."""
        if not await self._exists("verdicts"):
            return False
        columns = [
            [each.venue for each in verdicts], [each.symbol for each in verdicts],
            [each.timeframe for each in verdicts], [_from(each.open_ns) for each in verdicts],
            [each.field for each in verdicts], [each.stored for each in verdicts], [each.derived for each in verdicts],
        ]  # fmt: skip
        try:
            async with self._connection.transaction():
                await self._connection.execute(f"DELETE FROM verdicts WHERE {_WITHIN}", *_within(scope, span))  # noqa: S608
                if verdicts:
                    await self._connection.execute(_KEEP, *columns, _from(now_ns))
        except (asyncpg.InsufficientPrivilegeError, asyncpg.ReadOnlySQLTransactionError):
            return False  # whoever may only read, or asks a standby, is answered all the same
        return True

    async def digests(self, span: Span, bounds: Sequence[Digest]) -> list[Digest]:
        """Return the digest of each of these bounds, whatever theirs says; all in one UTC day, of one kind."""
        if not bounds:
            return []
        statement, names = for_driver(self.digest_sql[bounds[0].series])
        values = {
            "venues": [each.venue for each in bounds],
            "symbols": [each.symbol for each in bounds],
            "timeframes": [each.timeframe for each in bounds],
            "firsts": [each.first for each in bounds],
            "lasts": [each.last for each in bounds],
            "day": _from(span.start).date(),
        }
        rows = await self._connection.fetch(statement, *(values[name] for name in names))
        found = {(row[0], row[1], row[2]): (row[3], row[4]) for row in rows}
        return [
            Digest(
                each.series, each.venue, each.symbol, each.timeframe, each.day, each.first, each.last,
                *found.get((each.venue, each.symbol, each.timeframe), (0, "")),
            )
            for each in bounds
        ]  # fmt: skip

    async def _exists(self, table: str) -> bool:
        return bool(await self._connection.fetchval("SELECT to_regclass($1) IS NOT NULL", table))


def _scope(scope: Scope) -> tuple[str | None, list[str] | None]:
    return scope.venue, list(scope.symbols) or None


def _in_ns(row: Sequence[Any], *places: int) -> list[Any]:
    """Return the row's values, those in ``places`` turned from µs to ns."""
    return [value * NS_PER_US if at in places else value for at, value in enumerate(row)]


def _within(scope: Scope, span: Span) -> tuple[Any, ...]:
    return *_scope(scope), _from(span.start), _from(span.end)


def _of_run(run: Run, span: Span) -> tuple[Any, ...]:
    return _from(span.start), _from(span.end), run.venue, run.symbol, run.first, run.last


def _from(time_ns: int) -> datetime:
    """Return the first moment, in the database's microseconds, that is not before ``time_ns``."""
    return moment(time_ns + NS_PER_US - 1)


def _rasters() -> list[list[Any]]:
    return [list(column) for column in zip(*map(_raster, Timeframe), strict=True)]


def _raster(frame: Timeframe) -> tuple[str, timedelta, int | None]:
    """Return a timeframe, its step as an interval, and its length in s where the raster counts from the epoch.

    A month counts as 31 days here: from one open to the next but one it is always longer, to the next never.
    """
    step_s = (frame.next_open_ns(0)) // NS_PER_S if frame is not Timeframe.MO1 else 31 * DAY_S
    return frame.value, timedelta(seconds=step_s), step_s if step_s <= DAY_S else None
