"""What the store has confirmed to this run: a sink that remembers it, so that it can be held against what is stored."""

import asyncio
from collections.abc import Mapping
from datetime import datetime

from crypto_quant.continuity import RANGES_MAX, CandleClock, RangeSet
from crypto_quant.errors import StoreRejected
from crypto_quant.market import NS_PER_S, Timeframe
from crypto_quant.seams import Batch, PoolUse, Receipt, Sink, Table


class ConfirmedSink:
    """A ``Sink`` that passes everything on and remembers what was confirmed.

    ``trades`` are the proven ids of each symbol, ``candles`` the slots of each series by its clock in ``clocks``. Of
    what comes in very many pieces the lowest are forgotten. ``doubtful`` is set by the first success after a failure:
    whoever answers now need not be who has confirmed before.
    """

    def __init__(self, sink: Sink, clocks: Mapping[tuple[str, Timeframe], CandleClock]) -> None:
        self.trades: dict[str, RangeSet] = {}
        self.candles: dict[tuple[str, Timeframe], RangeSet] = {}
        self.doubtful = asyncio.Event()
        self._sink = sink
        self._clocks = clocks
        self._failed = False

    async def write(self, batch: Batch) -> Receipt:
        """Store the batch as the sink beneath does, and raise what that raises."""
        try:
            receipt = await self._sink.write(batch)
        except StoreRejected:
            raise
        except BaseException:  # a write that was given up is a failure, too
            self._failed = True
            raise
        if self._failed:
            self._failed = False
            self.doubtful.set()
        if batch.table is Table.TRADES:
            for each in batch.covered:
                self.confirm(each.symbol, each.first, each.last)
        else:
            for row in batch.rows:
                self._candle(row)
        return receipt

    def confirm(self, symbol: str, first: int, last: int) -> None:
        """Remember ids (inclusive) of a symbol as stored."""
        held = self.trades.get(symbol)
        if held is None:
            held = self.trades[symbol] = RangeSet()
        _add(held, first, last)

    def _candle(self, row: bytes) -> None:
        text, _, symbol, timeframe, _ = row.decode().split("\t", 4)
        key = symbol, Timeframe(timeframe)
        clock = self._clocks.get(key)
        if clock is not None:
            opens = datetime.fromisoformat(text)
            slot = clock.slot(int(opens.timestamp()) * NS_PER_S)
            _add(self.candles.setdefault(key, RangeSet()), slot, slot)

    def pool_use(self) -> PoolUse:
        """Return how many connections there are and how many are at work."""
        return self._sink.pool_use()

    async def close(self) -> None:
        """Close every connection; idempotent."""
        await self._sink.close()


def _add(ranges: RangeSet, first: int, last: int) -> None:
    ranges.add(first, last)
    if len(ranges) > RANGES_MAX:
        ranges.discard(*ranges.ranges()[0])
