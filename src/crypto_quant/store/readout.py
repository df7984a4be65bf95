"""The way out: a store's rows for those who work with them, on connections that can only read.

A ``Snapshot`` sees one moment, however long its reader takes. Rows leave it by COPY, as blocks of the server's own
text or binary, which another room makes tables of; what is known about them comes as values. Every statement names
its span of time, so that the planner leaves out all other partitions or chunks.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from decimal import Decimal
from typing import Any, NamedTuple

import asyncpg
from asyncpg.transaction import Transaction

from crypto_quant.errors import ConfigError, CryptoQuantError
from crypto_quant.evidence import Span
from crypto_quant.market import DAY_NS, NS_PER_US
from crypto_quant.store import faults
from crypto_quant.store.moments import moment, ns_of, us
from crypto_quant.store.timescale import CLOSE_TIMEOUT_S, connect
from crypto_quant.store.url import redact

# a reader may take its time over each block
STATEMENT_TIMEOUT_S = 24 * 3600.0
# so many bytes are handed over at once: some 50,000 trades
BLOCK_BYTES = 1 << 22
# a second connection is for speed alone: it is not waited for
_BESIDE_S = 2.0
_ON_ONE_CORE = "SET LOCAL max_parallel_workers_per_gather = 0"

Send = Callable[[bytearray], Awaitable[None]]

_OF_SYMBOL = 'venue = $1 AND symbol = $2 AND "time" >= $3 AND "time" < $4'
_OF_SERIES = 'venue = $1 AND symbol = $2 AND timeframe = $3 AND "time" >= $4 AND "time" < $5'
_US = us('"time"')
# the ids and times of those of some trades ($5) that a span has
TIMES = f"SELECT trade_id, {_US} FROM trades WHERE {_OF_SYMBOL} AND trade_id = ANY ($5::bigint[])"  # noqa: S608


class Row(NamedTuple):
    """One stored trade: its id, its time in ns."""

    trade_id: int
    time_ns: int


class TooWide(Exception):
    """A number does not fit the type that it is to be sent as."""


class Claimed(NamedTuple):
    """A range of ids or slots, both inclusive, with the coverage's source, or ``absent``."""

    first: int
    last: int
    source: str
    recorded_ns: int | None = None
    updated_ns: int | None = None


class Recorded(NamedTuple):
    """What coverage says of a symbol: ``kind`` is ``trades`` or a timeframe; ``proven`` counts rows in ``ranges``."""

    venue: str
    symbol: str
    kind: str
    proven: int
    ranges: int
    since_ns: int
    until_ns: int


def trades_query(columns: Sequence[str]) -> str:
    """Return the query for ``columns`` of a symbol's trades in the order (time, trade_id); see ``span_values``."""
    return f'SELECT {", ".join(columns)} FROM trades WHERE {_OF_SYMBOL} ORDER BY "time", trade_id'  # noqa: S608


def candles_query(columns: Sequence[str]) -> str:
    """Return the query for ``columns`` of a series' candles by open time."""
    return f'SELECT {", ".join(columns)} FROM candles WHERE {_OF_SERIES} ORDER BY "time"'  # noqa: S608


class Readout:
    """Connections to one database for reading alone; those that were lent are kept for the next snapshot."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.database = redact(url)
        self._idle: list[asyncpg.Connection] = []
        self._shares = True  # as far as is known, a second connection can be had and sees what the first one sees

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator["Snapshot"]:
        """Lend a view of one moment, in a transaction that cannot write.

        Raises ConfigError (the URL, or nothing of ours is there), StoreUnavailable, StoreDenied.
        """
        async with self._lent(await self._take()) as snapshot:
            yield snapshot

    @asynccontextmanager
    async def beside(self, snapshot: "Snapshot") -> AsyncIterator["Snapshot | None"]:
        """Lend a second view of a snapshot's moment on a connection of its own; None where none is to be had.

        Leave it before the first one. Raises StoreUnavailable when the moment cannot be shared, which ends the first
        one, too; a next call then tries no more.
        """
        async with AsyncExitStack() as stack:
            second: Snapshot | None = None
            if self._shares:
                # a server may take one connection alone, and the next address of the URL may be another server
                self._shares = False
                moment = await snapshot.shared()
                with suppress(TimeoutError, CryptoQuantError):
                    async with asyncio.timeout(_BESIDE_S):
                        connection = await self._take()
                    second = await stack.enter_async_context(self._lent(connection, moment))
                    self._shares = True
            yield second

    @asynccontextmanager
    async def _lent(self, connection: asyncpg.Connection, moment: str | None = None) -> AsyncIterator["Snapshot"]:
        """Lend a view of this moment, or of that which another one shares."""
        snapshot = Snapshot(connection)
        transaction = connection.transaction(isolation="repeatable_read", readonly=True)
        try:
            async with _translated(self.database):
                await transaction.start()
                if moment is not None:
                    await connection.execute(f"SET TRANSACTION SNAPSHOT '{moment}'")
                    await connection.execute(_ON_ONE_CORE)
                await connection.execute("SET LOCAL datestyle = 'ISO'")  # COPY writes times as it says
                yield snapshot
        finally:
            await self._give_back(connection, transaction, stuck=snapshot.stuck)

    async def _give_back(self, connection: asyncpg.Connection, transaction: Transaction, *, stuck: bool) -> None:
        """End the transaction and keep the connection, or end that when it is of no further use."""
        if not stuck:
            with suppress(TimeoutError, *faults.DRIVER_ERRORS):
                await asyncio.wait_for(transaction.rollback(), CLOSE_TIMEOUT_S)
                self._idle.append(connection)
                return
        connection.terminate()

    async def _take(self) -> asyncpg.Connection:
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
        connection = await connect(self._url, command_timeout_s=STATEMENT_TIMEOUT_S)
        there = False
        try:
            async with _translated(self.database):
                there = await connection.fetchval("SELECT to_regclass('trades') IS NOT NULL")
        finally:
            if not there:
                await _end(connection)
        if not there:
            raise faults.nothing_recorded(self.database)
        return connection

    async def close(self) -> None:
        """Close every idle connection."""
        while self._idle:
            await _end(self._idle.pop())


class Snapshot:
    """What a database holds at one moment; made by ``Readout.snapshot``."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        # whether the connection stands in the midst of an answer that nobody took to its end
        self.stuck = False

    async def shared(self) -> str:
        """Return the name under which other transactions can see this moment, as long as this one lasts.

        From here on the server works for this one on one core: the others are for those who share the moment.
        """
        await self._connection.execute(_ON_ONE_CORE)
        return str(await self._connection.fetchval("SELECT pg_export_snapshot()"))

    async def copy_fixed(self, query: str, values: Sequence[object], send: Send) -> None:
        """Send rows as ``copy`` does, in COPY's binary format.

        Raises TooWide when a number does not fit its type; the snapshot then still stands.
        """
        try:
            async with self._connection.transaction():  # a savepoint
                await self.copy(query, values, send, binary=True)
        except asyncpg.NumericValueOutOfRangeError as error:
            raise TooWide from error

    async def copy(self, query: str, values: Sequence[object], send: Send, *, binary: bool = False) -> None:
        """Send the rows of ``query`` in blocks of some ``BLOCK_BYTES``, as COPY's CSV; rows may be cut.

        The next rows are fetched only when ``send`` has returned. Cancelling is safe: the snapshot then ends.
        """
        block = bytearray()

        async def take(data: bytes) -> None:
            nonlocal block
            block += data
            if len(block) >= BLOCK_BYTES:
                full, block = block, bytearray()
                self.stuck = True
                await send(full)
                self.stuck = False

        await self._connection.copy_from_query(query, *values, output=take, format="binary" if binary else "csv")
        if block:
            await send(block)

    # -- trades -------------------------------------------------------------------------------------------

    async def edges(self, venue: str, symbol: str, span: Span) -> tuple[Row, Row] | None:
        """Return the first and the last trade of the span, by time; None when it has none."""
        first = await self.nearest(venue, symbol, span, newest=False)
        if first is None:
            return None
        last = await self.nearest(venue, symbol, span, newest=True)
        return first, last or first

    async def nearest(self, venue: str, symbol: str, span: Span, *, newest: bool) -> Row | None:
        """Return the last (``newest``) or the first trade of the span, by time; None when it has none."""
        row = await self._connection.fetchrow(nearest_query(newest=newest), *_of(venue, symbol, span))
        return Row(row[0], row[1] * NS_PER_US) if row else None

    async def price_before(self, venue: str, symbol: str, time_ns: int) -> Decimal | None:
        """Return the price of the last trade before a time; None when there is none in the week before it."""
        price: Decimal | None = await self._connection.fetchval(
            f'SELECT price FROM trades WHERE {_OF_SYMBOL} ORDER BY "time" DESC, trade_id DESC LIMIT 1',  # noqa: S608
            *_of(venue, symbol, Span(time_ns - 7 * DAY_NS, time_ns)),
        )
        return price

    async def count(self, venue: str, symbol: str, span: Span) -> int:
        """Return how many trades the span has; reads its part of the index."""
        return int(
            await self._connection.fetchval(
                f"SELECT count(*) FROM trades WHERE {_OF_SYMBOL}",  # noqa: S608
                *_of(venue, symbol, span),
            )
        )

    async def runs(self, venue: str, symbol: str, span: Span, first: int, last: int) -> list[tuple[int, int]]:
        """Return the unbroken runs of stored ids between two ids, all inclusive, read row by row."""
        rows = await self._connection.fetch(
            "SELECT min(trade_id), max(trade_id) FROM (SELECT trade_id,"  # noqa: S608
            " trade_id - dense_rank() OVER (ORDER BY trade_id) AS island"
            f" FROM trades WHERE {_OF_SYMBOL} AND trade_id BETWEEN $5 AND $6) AS numbered GROUP BY island ORDER BY 1",
            *_of(venue, symbol, span),
            first,
            last,
        )
        return [(row[0], row[1]) for row in rows]

    async def times(self, venue: str, symbol: str, span: Span, ids: Sequence[int]) -> dict[int, int]:
        """Return the times (ns) of those of these ids that are stored in the span."""
        rows = await self._connection.fetch(TIMES, *_of(venue, symbol, span), ids)
        return {row[0]: row[1] * NS_PER_US for row in rows}

    async def claims(self, venue: str, symbol: str) -> list[Claimed]:
        """Return what ``coverage`` and ``absences`` say of a symbol, lowest first; nothing where they are missing."""
        return await self._claims("coverage", "absences", "id", (venue, symbol))

    async def dropped(self, venue: str, symbol: str) -> list[tuple[int, int]]:
        """Return the ids that were dropped on purpose, fetched again or not, as inclusive ranges, lowest first."""
        return await self._dropped("dropped", "id", (venue, symbol))

    async def pair(self, venue: str, symbol: str) -> tuple[str, str] | None:
        """Return base and quote asset of a symbol as exchangeInfo had them; None: it was not recorded what they are."""
        if not await self._exists("symbols"):
            return None
        row = await self._connection.fetchrow(
            "SELECT base, quote FROM symbols WHERE venue = $1 AND symbol = $2", venue, symbol
        )
        return None if row is None else (row[0], row[1])

    async def recorded(self) -> list[Recorded]:
        """Return what coverage knows of, by venue, symbol and kind."""
        found = []
        for table, kind, unit in (("coverage", "'trades'", "id"), ("candle_coverage", "timeframe", "slot")):
            if await self._exists(table):
                rows = await self._connection.fetch(
                    f"SELECT venue, symbol, {kind}, sum(last_{unit} - first_{unit} + 1)::bigint, count(*),"  # noqa: S608
                    f" min(recorded_at), max(updated_at) FROM {table} WHERE source <> 'void' GROUP BY 1, 2, 3",
                )
                found += [
                    Recorded(row[0], row[1], row[2], row[3], row[4], ns_of(row[5]), ns_of(row[6])) for row in rows
                ]
        return sorted(found)

    # -- candles ------------------------------------------------------------------------------------------

    async def candle_claims(self, venue: str, symbol: str, timeframe: str) -> list[Claimed]:
        """Return what ``candle_coverage`` and ``candle_absences`` say of a series, lowest first."""
        return await self._claims("candle_coverage", "candle_absences", "slot", (venue, symbol, timeframe))

    async def candle_dropped(self, venue: str, symbol: str, timeframe: str) -> list[tuple[int, int]]:
        """Return the slots of a series that were dropped on purpose, as ``dropped`` does."""
        return await self._dropped("candle_dropped", "slot", (venue, symbol, timeframe))

    async def candle_edges(self, venue: str, symbol: str, timeframe: str, span: Span) -> tuple[int, int] | None:
        """Return the open times (ns) of the first and the last candle that opens in the span; None when it has none."""
        row = await self._connection.fetchrow(
            f'SELECT min("time"), max("time") FROM candles WHERE {_OF_SERIES}',  # noqa: S608
            *_of_series(venue, symbol, timeframe, span),
        )
        return (ns_of(row[0]), ns_of(row[1])) if row and row[0] is not None else None

    async def candle_opens(self, venue: str, symbol: str, timeframe: str, span: Span) -> list[int]:
        """Return the open times (ns) of the candles that open in the span, in order."""
        rows = await self._connection.fetch(
            f'SELECT {_US} FROM candles WHERE {_OF_SERIES} ORDER BY "time"',  # noqa: S608
            *_of_series(venue, symbol, timeframe, span),
        )
        return [row[0] * NS_PER_US for row in rows]

    # -- what an export asks besides ----------------------------------------------------------------------

    async def proofs_of_absence(self, *series: str) -> list[tuple[int, int, str]]:
        """Return what is proven not to exist of a series (venue, symbol, and of candles timeframe), with the proof."""
        table, unit = ("absences", "id") if len(series) == 2 else ("candle_absences", "slot")
        if not await self._exists(table):
            return []
        rows = await self._connection.fetch(
            f"SELECT first_{unit}, last_{unit}, proof FROM {table} WHERE {_of_key(series)} ORDER BY 1",  # noqa: S608
            *series,
        )
        return [(row[0], row[1], row[2]) for row in rows]

    async def scales(self, venue: str, symbol: str, span: Span, timeframe: str | None) -> tuple[int, int]:
        """Return how many decimals the prices and the quantities (of candles: volumes) of a span need; reads it all."""
        price, quantity = "price", "quantity"
        if timeframe is not None:
            price, quantity = "unnest(ARRAY[open, high, low, close])", "volume"
        columns = f"{price} AS price, {quantity} AS quantity"
        table, of_rows = ("trades", _OF_SYMBOL) if timeframe is None else ("candles", _OF_SERIES)
        row = await self._connection.fetchrow(
            f"SELECT max(min_scale(price)), max(min_scale(quantity)) FROM (SELECT {columns} FROM {table}"  # noqa: S608
            f" WHERE {of_rows}) AS given",
            *span_values(venue, symbol, span, timeframe),
        )
        return (row[0] or 0, row[1] or 0) if row else (0, 0)

    # -- anything -----------------------------------------------------------------------------------------

    async def columns(self, query: str) -> list[tuple[str, str]]:
        """Return the name and the type of each column that a query would return; nothing of it is run.

        Raises ConfigError for what is no query.
        """
        try:
            statement = await self._connection.prepare(query)
        except asyncpg.PostgresError as error:
            raise _not_run(error) from error
        return [(each.name, each.type.name) for each in statement.get_attributes()]

    async def copy_of(self, query: str, values: Sequence[object], send: Send) -> None:
        """Send the rows of anybody's query as ``copy`` does. Raises ConfigError when it writes, or cannot be run."""
        try:
            await self.copy(query, values, send)
        except (asyncpg.PostgresError, asyncpg.DataError, asyncpg.InterfaceError) as error:
            if isinstance(error, asyncpg.PostgresConnectionError):
                raise
            raise _not_run(error) from error

    async def rows_of(self, query: str, values: Sequence[object]) -> list[list[Any]]:
        """Return the rows of a statement that COPY does not take, as EXPLAIN and SHOW. Raises ConfigError as above."""
        try:
            return [list(row) for row in await self._connection.fetch(query, *values)]
        except (asyncpg.PostgresError, asyncpg.DataError) as error:
            if isinstance(error, asyncpg.PostgresConnectionError):
                raise
            raise _not_run(error) from error

    async def _claims(self, covered: str, absent: str, unit: str, series: tuple[str, ...]) -> list[Claimed]:
        of_series = _of_key(series)
        found = []
        if await self._exists(covered):
            rows = await self._connection.fetch(
                f"SELECT first_{unit}, last_{unit}, source, recorded_at, updated_at FROM {covered}"  # noqa: S608
                f" WHERE {of_series}",
                *series,
            )
            found += [Claimed(row[0], row[1], row[2], ns_of(row[3]), ns_of(row[4])) for row in rows]
        if await self._exists(absent):
            rows = await self._connection.fetch(
                f"SELECT first_{unit}, last_{unit}, proven_at FROM {absent} WHERE {of_series}",  # noqa: S608
                *series,
            )
            found += [Claimed(row[0], row[1], "absent", ns_of(row[2]), ns_of(row[2])) for row in rows]
        return sorted(found)

    async def _dropped(self, table: str, unit: str, series: tuple[str, ...]) -> list[tuple[int, int]]:
        if not await self._exists(table):  # a record that no newer recorder has opened yet
            return []
        rows = await self._connection.fetch(
            f"SELECT first_{unit}, last_{unit} FROM {table} WHERE {_of_key(series)} ORDER BY 1",  # noqa: S608
            *series,
        )
        return [(row[0], row[1]) for row in rows]

    async def _exists(self, table: str) -> bool:
        return bool(await self._connection.fetchval("SELECT to_regclass($1) IS NOT NULL", table))


def _not_run(error: Exception) -> ConfigError:
    """Return our error for a query that the server refuses."""
    said = " ".join(str(error).split())
    if isinstance(error, asyncpg.ReadOnlySQLTransactionError):
        return ConfigError(
            "this query writes, and nothing is written here",
            subject=said,
            hint="Use psql for it: `crypto-quant db psql` opens it on the embedded database",
        )
    hint = getattr(error, "hint", None)
    return ConfigError("the query cannot be run", subject=said, hint=hint or "")


@asynccontextmanager
async def _translated(database: str) -> AsyncIterator[None]:
    try:
        yield
    except faults.DRIVER_ERRORS as error:
        raise faults.translate(error, operation="reading", subject=database) from error


async def _end(connection: asyncpg.Connection) -> None:
    """Close a connection; what it was still asked is cancelled."""
    try:
        await connection.close(timeout=CLOSE_TIMEOUT_S)
    except (TimeoutError, *faults.DRIVER_ERRORS):
        connection.terminate()


def nearest_query(*, newest: bool) -> str:
    """Return the query for the id and the time of a span's first trade, or of its last one."""
    order = "DESC" if newest else "ASC"
    return f'SELECT trade_id, {_US} FROM trades WHERE {_OF_SYMBOL} ORDER BY "time" {order}, trade_id {order} LIMIT 1'  # noqa: S608


def span_values(venue: str, symbol: str, span: Span, timeframe: str | None = None) -> tuple[object, ...]:
    """Return the values of a query on trades of a span, or with a timeframe of ``candles_query``."""
    return _of(venue, symbol, span) if timeframe is None else _of_series(venue, symbol, timeframe, span)


def _of(venue: str, symbol: str, span: Span) -> tuple[object, ...]:
    return venue, symbol, moment(span.start), moment(span.end)


def _of_series(venue: str, symbol: str, timeframe: str, span: Span) -> tuple[object, ...]:
    return venue, symbol, timeframe, moment(span.start), moment(span.end)


def _of_key(series: tuple[str, ...]) -> str:
    names = ("venue", "symbol", "timeframe")[: len(series)]
    return " AND ".join(f"{name} = ${at}" for at, name in enumerate(names, 1))
