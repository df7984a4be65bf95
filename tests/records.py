"""Small records for the tests of reading, written without COPY so that every edition takes them."""

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import asyncpg
from databases import emptied_community, fresh_database

from crypto_quant.continuity import RangeSet
from crypto_quant.market import NS_PER_S, Timeframe
from crypto_quant.seams import Covered, Source, Table
from crypto_quant.store import coverage
from crypto_quant.store.migrate import migrate
from crypto_quant.store.partitions import create_partition, partition_of
from crypto_quant.store.retention import drop_before
from crypto_quant.store.tier import Tier
from crypto_quant.store.timescale import connect

DAY = datetime(2024, 8, 8, tzinfo=UTC)
SECOND = timedelta(seconds=1)

_AT_ONCE = 200

# time, trade_id, price, quantity, first_trade_id, last_trade_id, is_buyer_maker, received_at
Trade = tuple[datetime, int, Decimal, Decimal, int, int, bool, datetime | None]


def trade(number: int, at: datetime | None = None, **changed: object) -> Trade:
    """A trade: id ``number``, that many seconds after the day's midnight unless a time is given."""
    values = {
        "time": DAY + number * SECOND if at is None else at,
        "trade_id": number,
        "price": Decimal("57034.01") + number,
        "quantity": Decimal("0.00010000") * (number + 1),
        "first_trade_id": number * 2,
        "last_trade_id": number * 2 + 1,
        "is_buyer_maker": number % 3 == 0,
        "received_at": None,
    } | changed
    return tuple(values.values())  # type: ignore[return-value]


class Record:
    """A database with our tables. Each call has a connection of its own: the Community edition takes one at a time."""

    def __init__(self, url: str, tier: Tier) -> None:
        self.url = url
        self.tier = tier
        # called before each connection: whoever keeps one to this database gives it back
        self.release: Callable[[], None] = lambda: None

    async def trades(
        self, rows: Sequence[Trade], *, symbol: str = "btcusdt", venue: str = "spot", covered: bool = True
    ) -> None:
        """Store trades; with ``covered`` their ids are proven."""
        async with self.connection() as connection:
            await self._partitions(connection, Table.TRADES, (row[0] for row in rows))
            # a few in one statement: more are too much for the Community edition's server
            for some in range(0, len(rows), _AT_ONCE):
                await connection.execute(
                    "INSERT INTO trades (venue, symbol, time, trade_id, price, quantity, first_trade_id, last_trade_id,"
                    " is_buyer_maker, received_at) SELECT $1, $2, * FROM unnest($3::timestamptz[], $4::bigint[],"
                    " $5::numeric[], $6::numeric[], $7::bigint[], $8::bigint[], $9::boolean[], $10::timestamptz[])",
                    venue,
                    symbol,
                    *map(list, zip(*rows[some : some + _AT_ONCE], strict=True)),
                )
        if covered:
            await self.cover([(row[1], row[1]) for row in rows], symbol=symbol, venue=venue)

    async def candles(
        self,
        opens: Sequence[datetime],
        timeframe: str = "5m",
        *,
        symbol: str = "btcusdt",
        volume: str = "10",
        covered: bool = True,
    ) -> None:
        """Store candles that open at these times; with ``covered`` their slots are proven."""
        async with self.connection() as connection:
            await self._partitions(connection, Table.CANDLES, opens)
            await connection.executemany(
                "INSERT INTO candles (venue, symbol, timeframe, time, open, high, low, close, volume, quote_volume,"
                " trade_count, taker_buy_volume, taker_buy_quote_volume, first_trade_id, last_trade_id)"
                " VALUES ('spot', $1, $2, $3, 1, 2, 0.5, 1.5, $4, 15, 7, 4, 6, NULL, NULL)",
                [(symbol, timeframe, at, Decimal(volume)) for at in opens],
            )
        if covered:
            slots = [Timeframe(timeframe).slot(int(at.timestamp()) * NS_PER_S) for at in opens]
            await self.cover([(slot, slot) for slot in slots], symbol=symbol, timeframe=timeframe)

    async def cover(
        self,
        ranges: Iterable[tuple[int, int]],
        source: Source = Source.STREAM,
        *,
        symbol: str = "btcusdt",
        venue: str = "spot",
        timeframe: str | None = None,
    ) -> None:
        """Prove ids, or slots of candles."""
        covered = [Covered(venue, symbol, *each, source, timeframe) for each in RangeSet(ranges).ranges()]
        async with self.connection() as connection, connection.transaction(isolation="read_committed"):
            await coverage.extend(connection, covered)

    async def drop_before(self, moment: datetime, table: Table = Table.TRADES) -> None:
        """Drop on purpose what ended at or before ``moment``."""
        async with self.connection() as connection:
            fates = await drop_before(connection, table, moment, source="hand")
        assert fates, "nothing was there to be dropped"
        assert not any(fate.kept for fate in fates), fates

    async def execute(self, statement: str, *values: object) -> None:
        async with self.connection() as connection:
            await connection.execute(statement, *values)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[asyncpg.Connection]:
        self.release()
        connection = await connect(self.url)
        try:
            yield connection
        finally:
            await connection.close()

    async def _partitions(self, connection: asyncpg.Connection, table: Table, times: Iterable[datetime]) -> None:
        if self.tier is Tier.POSTGRESQL:
            for partition in {partition_of(table, at.date()) for at in times}:
                await create_partition(connection, partition)


SERVERS = ("timescaledb", "postgresql", "community")


@asynccontextmanager
async def record_on(server: str) -> AsyncIterator[Record]:
    """Lend an empty record on one of ``SERVERS``; the community's server has one database, which is emptied."""
    database = emptied_community() if server == "community" else fresh_database(server)
    async with database as url:
        connection = await connect(url)
        try:
            state = await migrate(connection)
        finally:
            await connection.close()
        yield Record(url, state.tier)
