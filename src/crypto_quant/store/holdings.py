"""What a database holds, told from coverage alone: quickly, however much it is."""

from datetime import datetime

import msgspec

from crypto_quant.store import faults
from crypto_quant.store.timescale import TimescaleSink, connect
from crypto_quant.store.url import redact

_TIMEOUT_S = 5.0
_RECORDED = """
SELECT symbol FROM coverage WHERE venue = $1 UNION SELECT symbol FROM candle_coverage WHERE venue = $1"""
_HELD = """
SELECT venue, symbol, 'aggTrade' AS stream, sum(last_id - first_id + 1) FILTER (WHERE source <> 'void'),
       max(updated_at)
FROM coverage GROUP BY venue, symbol
UNION ALL
SELECT venue, symbol, 'kline_' || timeframe, sum(last_slot - first_slot + 1) FILTER (WHERE source <> 'void'),
       max(updated_at)
FROM candle_coverage GROUP BY venue, symbol, timeframe
ORDER BY venue, symbol, stream"""


class Holding(msgspec.Struct, frozen=True):
    """What is proven to be stored of one stream, and when some of it was stored last."""

    venue: str
    symbol: str
    stream: str
    rows: int
    stored_at: datetime


async def recorded_symbols(sink: TimescaleSink, venue: str) -> set[str]:
    """Return the symbols of which something was ever recorded. Raises StoreUnavailable, StoreDenied."""
    async with sink.reading() as connection:
        return {row[0] for row in await connection.fetch(_RECORDED, venue)}


async def holdings(url: str) -> list[Holding]:
    """Return what the database holds; empty when nothing was ever recorded in it. It is left as it is.

    Raises ConfigError (the URL), StoreUnavailable and StoreDenied, after some seconds at most for each server.
    """
    connection = await connect(url, command_timeout_s=_TIMEOUT_S)
    try:
        if await connection.fetchval("SELECT to_regclass('candle_coverage') IS NULL"):
            return []
        rows = await connection.fetch(_HELD)
    except faults.DRIVER_ERRORS as error:
        raise faults.translate(error, operation="looking at what is stored", subject=redact(url)) from error
    finally:
        connection.terminate()
    return [Holding(row[0], row[1], row[2], int(row[3] or 0), row[4]) for row in rows]
