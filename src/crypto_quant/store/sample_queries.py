"""The rows of a sample, exactly as they are stored."""

from collections.abc import Sequence

import asyncpg

from crypto_quant.market import NS_PER_US, Timeframe
from crypto_quant.sampling import Fields, Sample
from crypto_quant.seals import TRADES, timeframe_of
from crypto_quant.store.moments import moment, us

_TRADES = f"""
SELECT trade_id, {us('"time"')} AS time, price, quantity, first_trade_id, last_trade_id, is_buyer_maker
FROM trades WHERE venue = $1 AND symbol = $2 AND trade_id BETWEEN $3 AND $4
  AND "time" >= $5 AND "time" < $6"""  # noqa: S608 - constants alone

_CANDLES = f"""
SELECT {us('"time"')} AS time, open, high, low, close, volume, quote_volume, trade_count, taker_buy_volume,
       taker_buy_quote_volume
FROM candles WHERE venue = $1 AND symbol = $2 AND timeframe = $3 AND "time" >= $4 AND "time" < $5"""  # noqa: S608


class SampleRows:
    """Reads the rows of samples on one connection."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def rows(self, sample: Sample, span: tuple[int, int] | None) -> dict[int, list[Fields]]:
        """Return the rows of a sample by position; of trades those within ``span`` (ns, the end exclusive)."""
        venue, symbol, stream = sample.key
        found: dict[int, list[Fields]] = {}
        if stream == TRADES:
            start, end = span or (-(10**30), 10**30)
            given = (venue, symbol, sample.first, sample.last, moment(start), moment(end))
            for row in await self._connection.fetch(_TRADES, *given):
                found.setdefault(row["trade_id"], []).append(dict(row))
            return found
        frame = Timeframe(timeframe_of(stream))
        ends = frame.slot_open_ns(sample.first), frame.slot_open_ns(sample.last + 1)
        for row in await self._connection.fetch(_CANDLES, venue, symbol, frame.value, *map(moment, ends)):
            found.setdefault(frame.slot(row["time"] * NS_PER_US), []).append(dict(row))
        return found

    async def around(self, samples: Sequence[Sample]) -> dict[Sample, tuple[int, int]]:
        """Return the time (ns, the end exclusive) in which the ids of each sample of trades lie, as seals tell.

        Of what is not sealed nothing is returned.
        """
        found: dict[Sample, tuple[int, int]] = {}
        if not await self._connection.fetchval("SELECT to_regclass('seals') IS NOT NULL"):
            return found
        for sample in samples:
            row = await self._connection.fetchrow(
                f"SELECT {us('min(first_time)')}, {us('max(last_time)')}, min(first), max(last) FROM seals"  # noqa: S608
                " WHERE venue = $1 AND symbol = $2 AND stream = $3 AND first <= $5 AND last >= $4 AND rows > 0",
                *sample.key,
                sample.first,
                sample.last,
            )
            if row[2] is not None and row[2] <= sample.first and sample.last <= row[3]:
                found[sample] = (row[0] * NS_PER_US, row[1] * NS_PER_US + NS_PER_US)
        return found
