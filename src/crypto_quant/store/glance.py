"""Small looks at a record for those who watch it: read only, bounded in time, and on a few connections.

A look gives up after its time rather than lean on a database that is busy with recording, and lets no other worker of
the server join in. What may be long (a day of trades) is asked for by day.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple

import asyncpg

from crypto_quant.evidence import Span
from crypto_quant.market import NS_PER_US
from crypto_quant.store import faults
from crypto_quant.store.candle_queries import BUILT_CANDLES
from crypto_quant.store.moments import moment, us
from crypto_quant.store.readout import TIMES, nearest_query, span_values
from crypto_quant.store.spoolfiles import target_of
from crypto_quant.store.timescale import CLOSE_TIMEOUT_S, connect
from crypto_quant.store.url import redact

CONNECTIONS = 2
# what the server is given above the statement's own time
_GRACE_S = 2.0

_TIME_US = us('"time"')


class Bar(NamedTuple):
    """One candle as it is drawn: its open time in ns, the rest decimal text."""

    open_ns: int
    open: str
    high: str
    low: str
    close: str
    volume: str


class DayCount(NamedTuple):
    """The trades of one symbol in one day: the outermost ids and times (ns), all inclusive, and how many rows."""

    first: int
    last: int
    rows: int
    first_ns: int
    last_ns: int


class Range(NamedTuple):
    """A range (inclusive ids, of candles slots) that ``coverage``, ``absences`` or ``dropped`` speaks of.

    ``source`` is that of the coverage, or ``absent``, or ``dropped``; ``note`` the proof of an absence.
    """

    venue: str
    symbol: str
    timeframe: str
    first: int
    last: int
    source: str
    since_ns: int
    until_ns: int
    note: str = ""


class TableSize(NamedTuple):
    """A table on disk: its bytes with indexes, its chunks or partitions, and how many of them are columns.

    ``before_bytes`` and ``after_bytes`` are of those: what they took as rows, and what they take now; None: unknown.
    """

    table: str
    bytes: int
    chunks: int
    columnar: int
    before_bytes: int | None
    after_bytes: int | None


class Glance:
    """Looks at one database, on so many ``connections`` at most; ``look`` lends one of them."""

    def __init__(self, url: str, connections: int = CONNECTIONS) -> None:
        self._url = url
        self.database = redact(url)
        # as a recorder names it on its board
        self.target = target_of(url)
        self._idle: list[asyncpg.Connection] = []
        self._places = asyncio.Semaphore(connections)

    @asynccontextmanager
    async def look(self, within_s: float) -> AsyncIterator["Look"]:
        """Lend a view of one moment, each statement of which may take so long.

        Raises ConfigError (the URL), StoreUnavailable (away, or it took too long), StoreDenied.
        """
        async with self._places:
            connection = self._idle.pop() if self._idle else None
            if connection is None or connection.is_closed():
                connection = await connect(self._url)
            done = False
            try:
                async with asyncio.timeout(None) as patience:
                    transaction = connection.transaction(isolation="repeatable_read", readonly=True)
                    await transaction.start()
                    await connection.execute(
                        f"SET LOCAL statement_timeout = {int(within_s * 1000)};"
                        "SET LOCAL max_parallel_workers_per_gather = 0"
                    )
                    yield Look(connection, within_s, patience)
                    patience.reschedule(asyncio.get_running_loop().time() + CLOSE_TIMEOUT_S)
                    await transaction.rollback()
                done = True
            except (TimeoutError, *faults.DRIVER_ERRORS) as error:
                raise faults.translate(error, operation="reading", subject=self.database) from error
            finally:
                if done:
                    self._idle.append(connection)
                else:
                    # it may stand in the midst of an answer
                    connection.terminate()

    async def close(self) -> None:
        """Close what is idle; who looks again gets a new connection."""
        while self._idle:
            connection = self._idle.pop()
            try:
                await connection.close(timeout=CLOSE_TIMEOUT_S)
            except (TimeoutError, *faults.DRIVER_ERRORS):
                connection.terminate()


class Look:
    """What can be asked of one moment; made by ``Glance.look``."""

    def __init__(self, connection: asyncpg.Connection, within_s: float, patience: asyncio.Timeout) -> None:
        self._connection = connection
        self._within_s = within_s
        self._patience = patience

    async def _fetch(self, query: str, *values: object) -> list[Any]:
        # the server's own timeout ends a statement; ours ends a server that does not answer
        self._patience.reschedule(asyncio.get_running_loop().time() + self._within_s + _GRACE_S)
        return list(await self._connection.fetch(query, *values))

    async def exists(self) -> bool:
        """Return whether anything of ours is there."""
        return bool((await self._fetch("SELECT to_regclass('trades') IS NOT NULL AS there"))[0][0])

    async def newest_ns(self) -> int | None:
        """Return the time of the newest trade of all; None when there is none."""
        rows = await self._fetch(f'SELECT {_TIME_US} FROM trades ORDER BY "time" DESC LIMIT 1')  # noqa: S608
        return rows[0][0] * NS_PER_US if rows else None

    async def oldest_ns(self) -> int | None:
        """Return the time of the oldest trade of all; None when there is none."""
        rows = await self._fetch(f'SELECT {_TIME_US} FROM trades ORDER BY "time" LIMIT 1')  # noqa: S608
        return rows[0][0] * NS_PER_US if rows else None

    async def stored_candles(self, venue: str, symbol: str, timeframe: str, limit: int) -> list[Bar]:
        """Return the newest stored candles of a series, oldest first."""
        rows = await self._fetch(
            f"SELECT {_TIME_US}, open::text, high::text, low::text, close::text, volume::text FROM candles"  # noqa: S608
            ' WHERE venue = $1 AND symbol = $2 AND timeframe = $3 ORDER BY "time" DESC LIMIT $4',
            venue,
            symbol,
            timeframe,
            limit,
        )
        return [Bar(row[0] * NS_PER_US, *row[1:]) for row in reversed(rows)]

    async def built_candles(self, venue: str, symbol: str, span: Span, length_s: int) -> list[Bar]:
        """Return the candles that the trades of a span make; it begins where one opens. Nothing traded: no candle."""
        rows = await self._fetch(
            f"SELECT {us('opens')}, open::text, high::text, low::text, close::text, volume::text"  # noqa: S608
            f" FROM ({BUILT_CANDLES}) AS built ORDER BY opens",
            *span_values(venue, symbol, span),
            float(length_s),
        )
        return [Bar(row[0] * NS_PER_US, *row[1:]) for row in rows]

    async def ends(self, venue: str, symbol: str, span: Span) -> tuple[int, int] | None:
        """Return the ids of the first and the last trade of a span, by time; None when it has none."""
        found = []
        for newest in (False, True):
            rows = await self._fetch(nearest_query(newest=newest), *span_values(venue, symbol, span))
            if not rows:
                return None
            found.append(rows[0][0])
        return min(found), max(found)

    async def times(self, venue: str, symbol: str, span: Span, ids: Sequence[int]) -> dict[int, int]:
        """Return the times (ns) of those of these trades that are stored in the span."""
        rows = await self._fetch(TIMES, *span_values(venue, symbol, span), ids)
        return {row[0]: row[1] * NS_PER_US for row in rows}

    async def counted(self, day: Span) -> dict[tuple[str, str], DayCount]:
        """Return what there is of every symbol in a day; reads the day's index."""
        rows = await self._fetch(
            f"""SELECT venue, symbol, min(trade_id), max(trade_id), count(*), {us('min("time")')},
                {us('max("time")')} FROM trades WHERE "time" >= $1 AND "time" < $2 GROUP BY venue, symbol""",  # noqa: S608
            moment(day.start),
            moment(day.end),
        )
        return {
            (row[0], row[1]): DayCount(row[2], row[3], row[4], row[5] * NS_PER_US, row[6] * NS_PER_US) for row in rows
        }

    async def ranges(self, *, candles: bool, symbol: str | None = None) -> list[Range]:
        """Return all that is claimed of trades, or of candles, lowest first within a series."""
        prefix, unit = ("candle_", "slot") if candles else ("", "id")
        timeframe = "timeframe" if candles else "''"
        found = []
        absent = "candle_absences" if candles else "absences"
        for table, source, times, note in (
            (f"{prefix}coverage", "source", ("recorded_at", "updated_at"), "''"),
            (f"{prefix}dropped", "'dropped'", ("recorded_at", "updated_at"), "source"),
            (absent, "'absent'", ("proven_at", "proven_at"), "proof"),
        ):
            if not (await self._fetch("SELECT to_regclass($1) IS NOT NULL", table))[0][0]:
                continue  # a record that no newer recorder has opened yet
            since, until = map(us, times)
            rows = await self._fetch(
                f"SELECT venue, symbol, {timeframe}, first_{unit}, last_{unit}, {source}, {since}, {until}, {note}"  # noqa: S608
                f" FROM {table} WHERE $1::text IS NULL OR symbol = $1 ORDER BY 1, 2, 3, 4",
                symbol,
            )
            for row in rows:
                venue, name, frame, first, last, kind, since_us, until_us, told = row
                times_ns = since_us * NS_PER_US, until_us * NS_PER_US
                found.append(Range(venue, name, frame, first, last, kind, *times_ns, told))
        return found

    async def sizes(self) -> list[TableSize]:
        """Return how large the two tables are."""
        hypertables = (await self._fetch("SELECT to_regclass('timescaledb_information.chunks') IS NOT NULL"))[0][0]
        found = []
        for table in ("trades", "candles"):
            if hypertables and (size := await self._of_hypertable(table)):
                found.append(size)
                continue
            (row,) = await self._fetch(
                "SELECT count(inhrelid), coalesce(sum(pg_total_relation_size(inhrelid)), 0)::bigint"
                " FROM pg_inherits WHERE inhparent = $1::text::regclass",
                table,
            )
            found.append(TableSize(table, row[1], row[0], 0, None, None))
        return found

    async def _of_hypertable(self, table: str) -> TableSize | None:
        (row,) = await self._fetch(
            "SELECT count(*), count(*) FILTER (WHERE is_compressed), hypertable_size($1::text::regclass)"
            " FROM timescaledb_information.chunks"
            " WHERE format('%I.%I', hypertable_schema, hypertable_name)::regclass = $1::text::regclass",
            table,
        )
        if row[2] is None:
            return None
        before = after = None
        if row[1]:
            with suppress(asyncpg.PostgresError):
                async with self._connection.transaction():
                    ((before, after),) = await self._fetch(
                        "SELECT before_compression_total_bytes, after_compression_total_bytes"
                        " FROM hypertable_compression_stats($1::text::regclass)",
                        table,
                    )
        return TableSize(table, row[2], row[0], row[1], before, after)
