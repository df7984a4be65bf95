"""What is read again, from REST or an archive, on its way into the store, with the ids and slots that it proves."""

import asyncio
import random
from collections.abc import Sequence

from crypto_quant import events
from crypto_quant.binance.archive import candle_rows
from crypto_quant.continuity import Gap, runs, slot_opened, without
from crypto_quant.errors import StoreDenied, StoreRejected, StoreUnavailable
from crypto_quant.market import Candle, Venue
from crypto_quant.seams import Batch, Covered, Emit, Quarantine, Receipt, Sink, Source, Table

_FIRST_RETRY_S = 0.2
_LAST_RETRY_S = 5.0


class Delivery:
    """Stores backfilled rows; repeating them changes nothing.

    While the store is away they are tried again: for ever, or with ``patience_s`` until that time has passed without
    a success; then StoreUnavailable (or StoreDenied) is raised. A row that the store refuses is set aside, and its
    id is not claimed as proven.
    """

    def __init__(
        self,
        sink: Sink,
        venue: Venue,
        *,
        quarantine: Quarantine,
        emit: Emit,
        rng: random.Random,
        patience_s: float | None = None,
    ) -> None:
        self._sink = sink
        self._venue = venue.value
        self._quarantine = quarantine
        self._emit = emit
        self._rng = rng
        self._patience_s = patience_s

    async def trades(
        self, symbol: str, ids: Sequence[int], rows: Sequence[bytes], proven: Sequence[Gap], source: Source
    ) -> Receipt:
        """Store rows of ``trades`` (``ids`` stand beside them) and record ``proven`` in the same transaction.

        ``ids`` rise. ``proven`` may hold ids without a row: those that the exchange has neutralised.
        """
        if not proven and not rows:
            return Receipt(0, 0)
        voids: list[Gap] = []
        held = proven
        if sum(gap.size for gap in proven) != len(ids):
            held = [part for run in runs(ids) for part in _common(run, proven)]
            voids = [part for gap in proven for part in without(gap, held)]
        covered = [Covered(self._venue, symbol, gap.first, gap.last, source) for gap in held]
        covered += [Covered(self._venue, symbol, gap.first, gap.last, Source.VOID) for gap in voids]
        try:
            receipt = await self._insist(Batch(Table.TRADES, rows, covered))
            if receipt.conflicting:
                self._keep_conflicting([rows[place] for place in receipt.conflicting])
            return receipt
        except StoreRejected as refusal:
            if len(rows) == 1:
                self._set_aside(Table.TRADES, rows[0], refusal)
                rest = [left for gap in proven for left in without(gap, [(ids[0], ids[0])])]
                return await self.trades(symbol, [], [], rest, source)
            middle = len(rows) // 2
            cut = ids[middle]
            low = [Gap(gap.first, min(gap.last, cut - 1)) for gap in proven if gap.first < cut]
            high = [Gap(max(gap.first, cut), gap.last) for gap in proven if gap.last >= cut]
            first = await self.trades(symbol, ids[:middle], rows[:middle], low, source)
            second = await self.trades(symbol, ids[middle:], rows[middle:], high, source)
            return Receipt(
                first.written + second.written,
                first.duplicates + second.duplicates,
                (*first.conflicting, *(place + middle for place in second.conflicting)),
            )

    async def candles(self, candles: Sequence[Candle], source: Source) -> Receipt:
        """Store candles and record their slots as proven in the same transaction."""
        if not candles:
            return Receipt(0, 0)
        covered = [
            Covered(self._venue, each.symbol, slot, slot, source, each.timeframe.value)
            for each in candles
            if (slot := slot_opened(each.timeframe, each.open_ns)) is not None
        ]
        rows = candle_rows(candles)
        try:
            return await self._insist(Batch(Table.CANDLES, rows, covered))
        except StoreRejected as refusal:
            if len(rows) == 1:
                self._set_aside(Table.CANDLES, rows[0], refusal)
                return Receipt(0, 0)
            middle = len(rows) // 2
            first = await self.candles(candles[:middle], source)
            second = await self.candles(candles[middle:], source)
            return Receipt(first.written + second.written, first.duplicates + second.duplicates)

    async def _insist(self, batch: Batch) -> Receipt:
        delay_s = _FIRST_RETRY_S
        loop = asyncio.get_running_loop()
        since = loop.time()
        lost = False
        while True:
            try:
                receipt = await self._sink.write(batch)
            except (StoreUnavailable, StoreDenied) as problem:
                if self._patience_s is not None and loop.time() - since > self._patience_s:
                    raise
                lost = True
                pause_s = self._rng.uniform(delay_s / 2, delay_s)
                self._emit(
                    events.StoreLost(
                        table=batch.table.value,
                        cause=str(problem),
                        pending=len(batch.rows),
                        retry_in_s=round(pause_s, 3),
                    )
                )
                await asyncio.sleep(pause_s)
                delay_s = min(delay_s * 2, _LAST_RETRY_S)
            else:
                if lost:
                    self._emit(events.StoreBack(table=batch.table.value, away_s=round(loop.time() - since, 3)))
                return receipt

    def _keep_conflicting(self, rows: Sequence[bytes]) -> None:
        """Keep rows whose ids are stored with another content: the first version stays in the table."""
        for row in rows:
            self._quarantine.keep("row", row, "trades: another trade of this id is stored")
        text = rows[0].decode("utf-8", "replace").rstrip("\n")
        self._emit(events.TradesConflicting(rows=len(rows), row=text[:400]))

    def _set_aside(self, table: Table, row: bytes, refusal: StoreRejected) -> None:
        self._quarantine.keep("row", row, f"{table.value}: {refusal}")
        text = row.decode("utf-8", "replace").rstrip("\n")
        self._emit(events.RowSetAside(table=table.value, reason=str(refusal), row=text[:400]))


def _common(run: Gap, ranges: Sequence[Gap]) -> list[Gap]:
    """Return the parts of ``run`` that are in one of ``ranges``."""
    cut = ((max(run.first, gap.first), min(run.last, gap.last)) for gap in ranges)
    return [Gap(first, last) for first, last in cut if first <= last]
