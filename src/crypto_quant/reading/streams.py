"""Streams of rows out of one snapshot, each held against what is known of it."""

import math
from collections.abc import Callable, Generator, Iterator, Sequence
from itertools import pairwise

import pyarrow as pa

from crypto_quant.completeness import Known, Lack, Tally
from crypto_quant.evidence import Span
from crypto_quant.market import Timeframe
from crypto_quant.reading import decode, fixed
from crypto_quant.reading.asked import Step, open_end, open_start
from crypto_quant.reading.batches import runs_of, slots_of
from crypto_quant.reading.building import BUILT, Filler, pieces
from crypto_quant.reading.stretch import (
    Stretch,
    gone_candles,
    gone_trades,
    stretch_of_candles,
    stretch_of_trades,
)
from crypto_quant.reading.worker import Worker
from crypto_quant.store.candle_queries import BUILT_CANDLES
from crypto_quant.store.moments import moment
from crypto_quant.store.readout import Snapshot, TooWide, candles_query, span_values, trades_query
from crypto_quant.store.sidebyside import copy_side_by_side

# From so many trades on a second connection is worth its making; and how many a piece is to have that one of them
# reads: enough that the plan is that of the whole, few enough to wait in memory.
_SIDE_BY_SIDE_ROWS = 200_000
_PIECE_ROWS = 200_000

Batch = Generator[pa.RecordBatch, None, None]
# hears what lacks; raises, warns, or lets it be
Judge = Callable[[Sequence[Lack]], None]


class Source:
    """A snapshot, and the worker that it lives on; ``beside`` gives a second one of the same moment, or None."""

    def __init__(
        self,
        worker: Worker,
        snapshot: Snapshot,
        venue: str,
        symbol: str,
        *,
        beside: Callable[[], Snapshot | None],
        judge: Judge,
    ) -> None:
        self._worker = worker
        self._snapshot = snapshot
        self._beside = beside
        self._venue = venue
        self._symbol = symbol
        self._judge = judge

    def trades(self, span: Span, schema: pa.Schema) -> tuple[Stretch, Batch]:
        """Return what there is of a span of trades, and their batches."""
        stretch = self._worker.run(stretch_of_trades(self._snapshot, self._venue, self._symbol, span))
        self._judge(stretch.lacks)
        rows = sum(last - first + 1 for first, last in stretch.stored())
        second = self._beside() if rows >= _SIDE_BY_SIDE_ROWS else None

        def batches() -> Batch:
            tally = Tally()
            wanted = decode.chosen(decode.TRADES, [*schema.names, "trade_id"])
            for batch in self._trades(stretch.span, wanted, second, rows):
                tally.add(runs_of(batch.column("trade_id").to_numpy()), batch.num_rows)
                yield decode.picked(batch, schema)
            self._judge(self._worker.run(gone_trades(self._snapshot, self._venue, self._symbol, stretch, tally)))

        return stretch, batches()

    def stored_candles(self, frame: Timeframe, span: Span, schema: pa.Schema) -> tuple[Stretch, Batch]:
        """Return what there is of a span of stored candles, and their batches."""
        stretch = self._worker.run(stretch_of_candles(self._snapshot, self._venue, self._symbol, frame, span))
        self._judge(stretch.lacks)

        def batches() -> Batch:
            tally = Tally()
            wanted = decode.chosen(decode.CANDLES, [*schema.names, "time"])
            values = span_values(self._venue, self._symbol, stretch.span, frame.value)
            for batch in decode.from_csv(self._blocks(candles_query(wanted.names), values), wanted):
                tally.add(runs_of(slots_of(batch.column("time"), frame)), batch.num_rows)
                yield decode.picked(batch, schema)
            self._judge(gone_candles(frame, stretch, tally))

        return stretch, batches()

    def built_candles(self, step: Step, span: Span, schema: pa.Schema) -> tuple[Stretch, Batch]:
        """Return what there is of the trades of a span of candles, and the candles that they make, as batches.

        Candles that open in the span, each with all of its trades; where the record ends, the last that is over.
        """
        whole = self._worker.run(_whole_candles(self._snapshot, self._venue, self._symbol, step, span))
        if whole.start >= whole.end:
            return Stretch(whole, Known.of(()), None, None, ()), _nothing()
        stretch = self._worker.run(stretch_of_trades(self._snapshot, self._venue, self._symbol, whole))
        self._judge(stretch.lacks)

        def batches() -> Batch:
            filler = Filler(
                lambda: self._worker.run(self._snapshot.price_before(self._venue, self._symbol, whole.start)),
                stretch.lacks,
            )
            rows = 0
            for piece, length_s in pieces(step, whole):
                values = (self._venue, self._symbol, moment(piece.start), moment(piece.end), float(length_s))
                found = pa.Table.from_batches(decode.from_csv(self._blocks(BUILT_CANDLES, values), BUILT), BUILT)
                rows += sum(found.column("aggregates").to_pylist())
                batch = pa.RecordBatch.from_arrays([each.combine_chunks() for each in found.columns], schema=BUILT)
                yield decode.picked(filler.filled(batch, piece, length_s), schema)
            if stretch.first is not None and rows != sum(b - a + 1 for a, b in stretch.stored()):
                counted = stretch_of_trades(self._snapshot, self._venue, self._symbol, whole, count=True)
                told = {(each.first, each.last) for each in stretch.lacks}
                lacks = self._worker.run(counted).lacks
                self._judge([each for each in lacks if (each.first, each.last) not in told])

        return stretch, batches()

    def _trades(
        self, span: Span, schema: pa.Schema, second: Snapshot | None, expected: int
    ) -> Iterator[pa.RecordBatch]:
        """Yield trades by the fast way, and from a number on that it cannot carry as text."""
        values = span_values(self._venue, self._symbol, span)
        query = trades_query(fixed.expressions(schema.names))
        snapshots = [self._snapshot] if second is None else [self._snapshot, second]
        number = 1 if second is None else 2 * math.ceil(expected / (2 * _PIECE_ROWS))
        pieces = [span_values(self._venue, self._symbol, piece) for piece in cut(span, number)]
        rows = 0
        try:
            for batch in fixed.from_binary(
                self._worker.blocks(lambda send: copy_side_by_side(snapshots, query, pieces, send)), schema
            ):
                rows += batch.num_rows
                yield batch
        except TooWide:
            # one moment and one order: what was had is as many rows from the start
            rest = f"{trades_query(schema.names)} OFFSET {rows}"
            yield from decode.from_csv(self._blocks(rest, values), schema)

    def _blocks(self, query: str, values: Sequence[object]) -> Iterator[bytearray]:
        return self._worker.blocks(lambda send: self._snapshot.copy(query, values, send))


def cut(span: Span, number: int) -> list[Span]:
    """Return a span as so many of the same length, one after the other."""
    bounds = [span.start + (span.end - span.start) * at // number for at in range(number + 1)]
    return [Span(start, end) for start, end in pairwise(bounds)]


def _nothing() -> Batch:
    yield from ()


async def _whole_candles(snapshot: Snapshot, venue: str, symbol: str, step: Step, span: Span) -> Span:
    """Return the time from the first to behind the last candle that opens in a span, its open ends closed."""
    first_ns, last_ns = span.start, span.end
    if open_start(span) or open_end(span):
        edges = await snapshot.edges(venue, symbol, span)
        if edges is None:  # the trades' own stretch says what is wrong
            return Span(span.start, span.end)
        first_ns, last_ns = edges[0].time_ns, edges[1].time_ns
    start = step.first_open_ns(first_ns if open_start(span) else span.start)
    # a candle is over when a trade came after it
    end = step.open_ns(last_ns) if open_end(span) else step.first_open_ns(span.end)
    return Span(start, end)
