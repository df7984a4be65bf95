"""What is proven of a symbol's ids and candles, read and written for whoever fills the holes."""

from collections.abc import Mapping, Sequence
from contextlib import suppress

from crypto_quant.continuity import RangeSet
from crypto_quant.errors import StoreUnavailable
from crypto_quant.market import Timeframe
from crypto_quant.seams import KnownSlots, Table
from crypto_quant.store import coverage
from crypto_quant.store.timescale import TimescaleSink

_COVERED = """
SELECT greatest(first_id, $3::bigint), least(last_id, $4::bigint) FROM (
    SELECT first_id, last_id FROM coverage WHERE venue = $1 AND symbol = $2
    UNION ALL
    SELECT first_id, last_id FROM absences WHERE venue = $1 AND symbol = $2
) AS known
WHERE last_id >= $3 AND first_id <= $4 ORDER BY 1"""
_STORED = """
SELECT greatest(first_id, $3::bigint), least(last_id, $4::bigint) FROM coverage
WHERE venue = $1 AND symbol = $2 AND last_id >= $3 AND first_id <= $4 ORDER BY 1"""
_TIMES_AROUND = """
SELECT (SELECT (extract(epoch FROM "time") * 1000000)::bigint FROM trades
        WHERE venue = $1 AND symbol = $2 AND trade_id < $3 ORDER BY trade_id DESC LIMIT 1),
       (SELECT (extract(epoch FROM "time") * 1000000)::bigint FROM trades
        WHERE venue = $1 AND symbol = $2 AND trade_id > $4 ORDER BY trade_id LIMIT 1)"""
# rows of so many series are looked through in one statement, which must not take long
_SERIES_AT_ONCE = 50
# the oldest candle from a time on, and the newest of all
_ENDS = """
SELECT given.symbol, given.timeframe, (extract(epoch FROM oldest.time) * 1000000)::bigint,
       (extract(epoch FROM newest.time) * 1000000)::bigint
FROM unnest($2::text[], $3::text[], $4::bigint[]) AS given (symbol, timeframe, since_us)
CROSS JOIN LATERAL (
    SELECT time FROM candles
    WHERE venue = $1 AND symbol = given.symbol AND timeframe = given.timeframe ORDER BY time DESC LIMIT 1
) AS newest
LEFT JOIN LATERAL (
    SELECT time FROM candles
    WHERE venue = $1 AND symbol = given.symbol AND timeframe = given.timeframe
        AND time >= 'epoch'::timestamptz + given.since_us * interval '1 microsecond' ORDER BY time LIMIT 1
) AS oldest ON true"""
_OPENS = """
SELECT (extract(epoch FROM time) * 1000000)::bigint FROM candles
WHERE venue = $1 AND symbol = $2 AND timeframe = $3
AND time >= 'epoch'::timestamptz + $4::bigint * interval '1 microsecond'
AND time <= 'epoch'::timestamptz + $5::bigint * interval '1 microsecond' ORDER BY time"""
# A server that recovers from the crash of one of its processes goes on under the same start time, but begins its
# counters anew.
_SERVER = """
SELECT pg_is_in_recovery(), format('%s, started %s, counting since %s', inet_server_addr(), pg_postmaster_start_time(),
    (SELECT stats_reset FROM pg_stat_bgwriter))"""


class StoreLedger:
    """A ``seams.Ledger`` on the connections of a sink."""

    def __init__(self, sink: TimescaleSink) -> None:
        self._sink = sink

    async def covered(self, venue: str, symbol: str, first: int, last: int) -> Sequence[tuple[int, int]]:
        """Return the inclusive ranges proven within ``first`` to ``last``: stored, or known to be nowhere."""
        async with self._sink.reading() as connection:
            return [tuple(row) for row in await connection.fetch(_COVERED, venue, symbol, first, last)]

    async def stored(self, venue: str, symbol: str, first: int, last: int) -> Sequence[tuple[int, int]]:
        """Return the inclusive ranges proven to be stored within ``first`` to ``last``."""
        async with self._sink.reading() as connection:
            return [tuple(row) for row in await connection.fetch(_STORED, venue, symbol, first, last)]

    async def times_around(self, venue: str, symbol: str, first: int, last: int) -> tuple[int | None, int | None]:
        """Return the times (ns) of the stored trades next to some ids (inclusive), below and above; None: there is
        none."""
        async with self._sink.reading() as connection:
            before, after = await connection.fetchrow(_TIMES_AROUND, venue, symbol, first, last)
        return before and before * 1000, after and after * 1000

    async def record_absence(self, venue: str, symbol: str, first: int, last: int, proof: str) -> None:
        """Record that no source has these ids (inclusive), unless some of them have come meanwhile."""
        # a ValueError says that one of them is stored: what came meanwhile is not absent
        with suppress(ValueError):
            async with self._sink.reading() as connection, connection.transaction():
                await coverage.record_absence(connection, venue, symbol, first, last, proof)

    async def retract(
        self, venue: str, symbol: str, ranges: Sequence[tuple[int, int]], timeframe: str | None = None
    ) -> None:
        """Take ids (with a timeframe: slots; inclusive ranges) out of what is proven: their rows are gone."""
        async with self._sink.reading() as connection, connection.transaction(isolation="read_committed"):
            await coverage.retract(connection, venue, symbol, ranges, timeframe)

    async def dropped(
        self, venue: str, symbol: str, timeframe: str | None, first: int, last: int
    ) -> list[tuple[int, int]]:
        """Return what of ``first`` to ``last`` was dropped on purpose: ids, or with a timeframe slots; inclusive."""
        table, series = (
            (Table.TRADES, (venue, symbol)) if timeframe is None else (Table.CANDLES, (venue, symbol, timeframe))
        )
        async with self._sink.reading() as connection:
            found = (await coverage.load_dropped(connection, table, [series])).get(series, [])
        return RangeSet((low, high) for low, high, _ in found).within(first, last)

    async def held_slots(
        self, venue: str, symbol: str, timeframe: Timeframe, first_ns: int, end_ns: int
    ) -> list[tuple[int, int]]:
        """Return the candles that are stored, by their rows, or known to be nowhere: inclusive ranges of slots.

        Meant are those that open from ``first_ns`` (inclusive) to ``end_ns`` (exclusive). Rows that nothing has proven
        so far are proven by this.
        """
        series = (venue, symbol, timeframe.value)
        async with self._sink.reading() as connection, connection.transaction(isolation="read_committed"):
            stored = await coverage.cover_stored_candles(connection, venue, {(symbol, timeframe): (first_ns, end_ns)})
            absent = (await coverage.load_absent_slots(connection, [series])).get(series, ())
        held = RangeSet((each.first, each.last) for each in stored)
        for first, last in absent:
            held.add(first, last)
        bounds = timeframe.slot(first_ns), timeframe.slot(end_ns - 1)
        return held.within(*bounds)

    async def candle_opens(self, venue: str, symbol: str, timeframe: str, first_ns: int, last_ns: int) -> Sequence[int]:
        """Return the open times (ns) of the candles stored from ``first_ns`` to ``last_ns``, both inclusive."""
        async with self._sink.reading() as connection:
            rows = await connection.fetch(_OPENS, venue, symbol, timeframe, first_ns // 1000, last_ns // 1000)
        return [time_us * 1000 for (time_us,) in rows]

    async def server(self) -> str:
        """Name the server that answers and the time of its start. Raises StoreUnavailable for a standby."""
        async with self._sink.reading() as connection:
            standby, name = await connection.fetchrow(_SERVER)
        if standby:
            raise StoreUnavailable("a standby answers", subject=name, hint="Point the database URL at the primary")
        return str(name)

    async def known_slots(
        self, venue: str, since_ns: Mapping[tuple[str, Timeframe], int]
    ) -> dict[tuple[str, Timeframe], KnownSlots]:
        """Return what is known of each (symbol, timeframe) that has any candle.

        Candles that open at the given time or later, and lie before everything that is proven, are proven by this:
        those of a database from before there was ``candle_coverage``.
        """
        series = {(venue, symbol, frame.value): (symbol, frame) for symbol, frame in since_ns}
        columns = [symbol for symbol, _ in since_ns], [frame.value for _, frame in since_ns]
        async with self._sink.reading() as connection:
            since_us = [time_ns // 1000 for time_ns in since_ns.values()]
            ends = await connection.fetch(_ENDS, venue, *columns, since_us)
            covered = await coverage.load_slots(connection, list(series))
            spans = {}
            for symbol, name, oldest_us, newest_us in ends:
                key, ranges = (symbol, Timeframe(name)), covered.get((venue, symbol, name))
                until_ns = key[1].slot_open_ns(ranges[0].first) if ranges else newest_us * 1000 + 1000
                if oldest_us is not None and oldest_us * 1000 < until_ns:
                    spans[key] = oldest_us * 1000, until_ns
            unproven = list(spans.items())
            for at in range(0, len(unproven), _SERIES_AT_ONCE):
                async with connection.transaction(isolation="read_committed"):
                    await coverage.cover_stored_candles(connection, venue, dict(unproven[at : at + _SERIES_AT_ONCE]))
            if unproven:
                covered = await coverage.load_slots(connection, list(series))
            absent = await coverage.load_absent_slots(connection, list(series))
            for name, dropped in (await coverage.load_dropped(connection, Table.CANDLES, list(series))).items():
                absent.setdefault(name, []).extend((first, last) for first, last, _ in dropped)
        newest = {(venue, row[0], row[1]): row[3] * 1000 for row in ends}
        return {
            key: KnownSlots(
                [(each.first, each.last) for each in covered.get(name, ())], absent.get(name, ()), newest.get(name)
            )
            for name, key in series.items()
            if name in covered or name in newest
        }

    async def record_absent_slots(
        self, venue: str, symbol: str, timeframe: str, ranges: Sequence[tuple[int, int]], proof: str
    ) -> None:
        """Record that no source has these candles (inclusive ranges of slots), but for those that are stored."""
        async with self._sink.reading() as connection, connection.transaction():
            for first, last in ranges:
                with suppress(ValueError):  # stored meanwhile
                    await coverage.record_absent_slots(connection, (venue, symbol, timeframe), first, last, proof)
