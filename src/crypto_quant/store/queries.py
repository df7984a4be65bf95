"""Small questions to the tables, for people and for tests. Every value is a parameter."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol

import msgspec

from crypto_quant.seams import Table


class Reading(Protocol):
    """What a query needs of a connection; ``TimescaleSink.reading()`` lends one."""

    async def fetch(self, query: str, *args: object) -> list[Any]:
        """Return the rows."""
        ...

    async def fetchval(self, query: str, *args: object) -> Any:  # noqa: ANN401 - what the driver decodes
        """Return the first column of the first row."""
        ...


class SymbolTrades(msgspec.Struct, frozen=True):
    """What is stored of one symbol's trades. Ids and times are inclusive.

    ``missing`` is how many ids between first and last are not stored: aggregate ids have no holes of their own.
    """

    venue: str
    symbol: str
    trades: int
    first_id: int
    last_id: int
    first_time: datetime
    last_time: datetime

    @property
    def missing(self) -> int:
        """How many ids between the first and the last are not stored."""
        return self.last_id - self.first_id + 1 - self.trades


class StoredCandle(msgspec.Struct, frozen=True):
    """One closed candle as it is stored; ``time`` is its open time (UTC)."""

    time: datetime
    venue: str
    symbol: str
    timeframe: str
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    quote_volume: Decimal | None
    trade_count: int | None


_COUNT: Mapping[Table, str] = {
    Table.TRADES: "SELECT count(*) FROM trades",
    Table.CANDLES: "SELECT count(*) FROM candles",
}


async def counts(connection: Reading) -> dict[Table, int]:
    """Return the exact number of rows of each table; reads all of them."""
    return {table: int(await connection.fetchval(query)) for table, query in _COUNT.items()}


async def symbol_trades(
    connection: Reading, *, since: datetime | None = None, until: datetime | None = None
) -> list[SymbolTrades]:
    """Return per venue and symbol what is stored from ``since`` (inclusive) to ``until`` (exclusive)."""
    rows = await connection.fetch(
        "SELECT venue, symbol, count(*), min(trade_id), max(trade_id), min(time), max(time) FROM trades"
        " WHERE time >= coalesce($1::timestamptz, '-infinity') AND time < coalesce($2::timestamptz, 'infinity')"
        " GROUP BY venue, symbol ORDER BY venue, symbol",
        since,
        until,
    )
    return [SymbolTrades(*row) for row in rows]


async def latest_candles(
    connection: Reading, *, limit: int = 10, symbol: str | None = None, timeframe: str | None = None
) -> list[StoredCandle]:
    """Return the candles that opened last, newest first; of one symbol and timeframe when they are given."""
    rows = await connection.fetch(
        "SELECT time, venue, symbol, timeframe, open, high, low, close, volume, quote_volume, trade_count"
        " FROM candles WHERE ($2::text IS NULL OR symbol = $2) AND ($3::text IS NULL OR timeframe = $3)"
        " ORDER BY time DESC, venue, symbol, timeframe LIMIT $1",
        limit,
        symbol,
        timeframe,
    )
    return [StoredCandle(*row) for row in rows]


async def candle_counts(connection: Reading) -> dict[tuple[str, str, str], int]:
    """Return the number of stored candles by venue, symbol and timeframe."""
    rows = await connection.fetch(
        "SELECT venue, symbol, timeframe, count(*) FROM candles GROUP BY venue, symbol, timeframe"
        " ORDER BY venue, symbol, timeframe"
    )
    return {(row[0], row[1], row[2]): int(row[3]) for row in rows}
