"""Rows as the exchange would write them, for holding a table against the exchange; and databases made anew."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from crypto_quant.store import faults
from crypto_quant.store.timescale import connect
from crypto_quant.store.url import redact

_TRADES = """
    SELECT trade_id::text, price::text, quantity::text, first_trade_id::text, last_trade_id::text,
           (extract(epoch FROM time) * 1000000)::bigint::text, CASE WHEN is_buyer_maker THEN 't' ELSE 'f' END
    FROM trades WHERE venue = $1 AND symbol = $2 ORDER BY trades.trade_id
"""
_CANDLES = """
    SELECT (extract(epoch FROM time) * 1000000)::bigint::text, open::text, high::text, low::text, close::text,
           volume::text, quote_volume::text, trade_count::text, taker_buy_volume::text, taker_buy_quote_volume::text
    FROM candles WHERE venue = $1 AND symbol = $2 AND timeframe = $3 ORDER BY time
"""


async def trades_as_text(url: str, venue: str, symbol: str) -> list[tuple[str, ...]]:
    """Return a symbol's trades by id: id, price, quantity, first and last id, time in µs, ``t`` or ``f``."""
    return await _fetch(url, _TRADES, venue, symbol)


async def candles_as_text(url: str, venue: str, symbol: str, timeframe: str) -> list[tuple[str, ...]]:
    """Return a series' candles by time, columns as in REST's klines without the close time, times in µs."""
    return await _fetch(url, _CANDLES, venue, symbol, timeframe)


async def recreate_database(url: str, name: str) -> str:
    """Drop the database ``name`` on the server of ``url``, whoever uses it, make it anew and return its URL."""
    parts = urlsplit(url)
    async with _connection(url) as connection:
        quoted = '"' + name.replace('"', '""') + '"'
        await connection.execute(f"DROP DATABASE IF EXISTS {quoted} WITH (FORCE)")
        await connection.execute(f"CREATE DATABASE {quoted}")
    return urlunsplit((parts.scheme, parts.netloc, f"/{name}", parts.query, parts.fragment)).replace(
        f"{parts.scheme}:/{name}", f"{parts.scheme}:///{name}"
    )


async def _fetch(url: str, query: str, *values: str) -> list[tuple[str, ...]]:
    async with _connection(url) as connection:
        return [tuple(row) for row in await connection.fetch(query, *values)]


@asynccontextmanager
async def _connection(url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await connect(url)
    try:
        yield connection
    except asyncpg.PostgresError as error:
        raise faults.translate(error, operation="asking the database", subject=redact(url)) from error
    finally:
        await connection.close()
