"""Candles from trades: which spans are computed at once, and the candles in which nothing was traded."""

from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from crypto_quant.completeness import Lack
from crypto_quant.evidence import Span
from crypto_quant.market import DAY_NS, DAY_S, NS_PER_S, NS_PER_US
from crypto_quant.reading import decode
from crypto_quant.reading.asked import Step

# what the query returns: a candle, and how many aggregate trades it was made of
BUILT = decode.CANDLES.append(pa.field("aggregates", pa.int64()))


def pieces(step: Step, span: Span) -> Iterator[tuple[Span, int]]:
    """Yield the spans that are computed at once, with the length of their candles in seconds.

    ``span`` begins and ends where candles open. A piece is a day of candles at most, or one that is longer.
    """
    start = span.start
    while start < span.end:
        following = step.next_open_ns(start)
        length_s = (following - start) // NS_PER_S
        end = min(span.end, start // DAY_NS * DAY_NS + DAY_NS) if length_s <= DAY_S else following
        yield Span(start, end), length_s
        start = end


class Filler:
    """Adds the candles in which nothing was traded, as the exchange has them: the close before, and no volume.

    Where trades lack nobody knows that nothing was traded: no candle is made up there. ``price_before`` is asked for
    the price of the last trade before the first candle, when that is one of them; None: there is no such trade.
    """

    def __init__(self, price_before: Callable[[], Decimal | None], lacks: Sequence[Lack]) -> None:
        self._price_before = price_before
        self._close: Decimal | None = None
        self._begun = False
        self._lacks = lacks

    def filled(self, found: pa.RecordBatch, piece: Span, length_s: int) -> pa.RecordBatch:
        """Return the candles of a piece, given those that have trades."""
        length_us = length_s * 1_000_000
        opens = np.arange(piece.start // NS_PER_US, piece.end // NS_PER_US, length_us, dtype=np.int64)
        there = found.column("time").cast(pa.int64()).to_numpy()
        before = np.searchsorted(there, opens, side="right")  # how many opened until then
        traded = (before > 0) & np.isin(opens, there)
        known = np.ones(len(opens), dtype=bool)
        for lack in self._lacks:
            known &= ~((opens * NS_PER_US < lack.end) & ((opens + length_us) * NS_PER_US > lack.start))
        if not self._begun:
            self._begun = True
            self._close = None if traded[0] else self._price_before()
        keep = traded | (known & ((before > 0) | (self._close is not None)))
        closes = pa.concat_arrays([pa.array([self._close], decode.PRICE), found.column("close")])
        self._close = closes[-1].as_py()
        if bool(traded.all()):
            return found
        opens, before, traded = opens[keep], before[keep], traded[keep]
        last_close = closes.take(pa.array(before))
        rows = pa.array(np.where(traded, before - 1, 0), mask=~traded)
        columns = []
        for field in found.schema:
            column = found.column(field.name).take(rows)
            if field.name == "time":
                column = pa.array(opens).cast(decode.TIME)
            elif field.name in ("open", "high", "low", "close"):
                column = pc.if_else(pa.array(traded), column, last_close)
            else:
                column = pc.fill_null(column, pa.scalar(-1 if field.name.endswith("trade_id") else 0).cast(field.type))
            columns.append(column)
        return pa.RecordBatch.from_arrays(columns, schema=found.schema)
