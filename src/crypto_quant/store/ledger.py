"""What is proven of a symbol's ids and stored of its candles, read and written for a backfill."""

from collections.abc import Sequence
from contextlib import suppress

from crypto_quant.errors import StoreUnavailable
from crypto_quant.store import coverage
from crypto_quant.store.timescale import TimescaleSink

_COVERED = """
SELECT greatest(first_id, $3::bigint), least(last_id, $4::bigint) FROM (
    SELECT first_id, last_id FROM coverage WHERE venue = $1 AND symbol = $2
    UNION ALL
    SELECT first_id, last_id FROM absences WHERE venue = $1 AND symbol = $2
) AS known
WHERE last_id >= $3 AND first_id <= $4 ORDER BY 1"""
_CANDLES = """
SELECT count(*) FROM candles WHERE venue = $1 AND symbol = $2 AND timeframe = $3
AND time >= to_timestamp($4::bigint) AND time < to_timestamp($5::bigint)"""
_LATEST = """
SELECT given.symbol, given.timeframe, (extract(epoch FROM latest.time) * 1000000)::bigint
FROM unnest($2::text[], $3::text[]) AS given (symbol, timeframe)
CROSS JOIN LATERAL (
    SELECT time FROM candles
    WHERE venue = $1 AND symbol = given.symbol AND timeframe = given.timeframe ORDER BY time DESC LIMIT 1
) AS latest"""
_OPENS = """
SELECT (extract(epoch FROM time) * 1000000)::bigint FROM candles
WHERE venue = $1 AND symbol = $2 AND timeframe = $3
AND time >= to_timestamp($4::bigint) AND time <= to_timestamp($5::bigint) ORDER BY time"""
# A server that recovers from the crash of one of its processes goes on under the same start time, but begins its
# counters anew.
_SERVER = """
SELECT pg_is_in_recovery(), format('%s, started %s, counting since %s', inet_server_addr(), pg_postmaster_start_time(),
    (SELECT stats_reset FROM pg_stat_bgwriter))"""
_NS_PER_S = 1_000_000_000


class StoreLedger:
    """A ``seams.Ledger`` on the connections of a sink."""

    def __init__(self, sink: TimescaleSink) -> None:
        self._sink = sink

    async def covered(self, venue: str, symbol: str, first: int, last: int) -> Sequence[tuple[int, int]]:
        """Return the inclusive ranges proven within ``first`` to ``last``: stored, or known to be nowhere."""
        async with self._sink.reading() as connection:
            return [tuple(row) for row in await connection.fetch(_COVERED, venue, symbol, first, last)]

    async def record_absence(self, venue: str, symbol: str, first: int, last: int, proof: str) -> None:
        """Record that no source has these ids (inclusive), unless some of them have come meanwhile."""
        # a ValueError says that one of them is stored: what came meanwhile is not absent
        with suppress(ValueError):
            async with self._sink.reading() as connection, connection.transaction():
                await coverage.record_absence(connection, venue, symbol, first, last, proof)

    async def retract(self, venue: str, symbol: str, ranges: Sequence[tuple[int, int]]) -> None:
        """Take ids (inclusive ranges) out of what is proven: their rows were found to be gone."""
        async with self._sink.reading() as connection, connection.transaction():
            await coverage.retract(connection, venue, symbol, ranges)

    async def candles_between(self, venue: str, symbol: str, timeframe: str, first_ns: int, end_ns: int) -> int:
        """Return how many candles are stored that open from ``first_ns`` (inclusive) to ``end_ns`` (exclusive)."""
        async with self._sink.reading() as connection:
            found: int = await connection.fetchval(
                _CANDLES, venue, symbol, timeframe, first_ns // _NS_PER_S, end_ns // _NS_PER_S
            )
            return found

    async def candle_opens(self, venue: str, symbol: str, timeframe: str, first_ns: int, last_ns: int) -> Sequence[int]:
        """Return the open times (ns) of the candles stored from ``first_ns`` to ``last_ns``, both inclusive."""
        async with self._sink.reading() as connection:
            rows = await connection.fetch(_OPENS, venue, symbol, timeframe, first_ns // _NS_PER_S, last_ns // _NS_PER_S)
        return [time_us * 1000 for (time_us,) in rows]

    async def server(self) -> str:
        """Name the server that answers and the time of its start. Raises StoreUnavailable for a standby."""
        async with self._sink.reading() as connection:
            standby, name = await connection.fetchrow(_SERVER)
        if standby:
            raise StoreUnavailable("a standby answers", subject=name, hint="Point the database URL at the primary")
        return str(name)

    async def latest_candles(self, venue: str, series: Sequence[tuple[str, str]]) -> dict[tuple[str, str], int]:
        """Return the open time (ns) of the newest candle of each (symbol, timeframe) that has any."""
        symbols, timeframes = [symbol for symbol, _ in series], [timeframe for _, timeframe in series]
        async with self._sink.reading() as connection:
            rows = await connection.fetch(_LATEST, venue, symbols, timeframes)
        return {(symbol, timeframe): time_us * 1000 for symbol, timeframe, time_us in rows}
