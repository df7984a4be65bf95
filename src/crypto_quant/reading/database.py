"""What ``connect`` returns: a record, to be read as tables."""

import warnings
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack
from types import TracebackType

import pyarrow as pa

from crypto_quant.completeness import Lack, Tally
from crypto_quant.errors import Incomplete
from crypto_quant.market import Timeframe
from crypto_quant.reading import decode
from crypto_quant.reading.asked import When, choice_of, span_of, symbol_of, venue_of
from crypto_quant.reading.batches import Batches, runs_of, slots_of
from crypto_quant.reading.stretch import gone_candles, gone_trades, stretch_of_candles, stretch_of_trades
from crypto_quant.reading.worker import Worker
from crypto_quant.store.readout import Readout, Snapshot, candles_query, span_values, trades_query

ON_GAP = ("raise", "warn", "ignore")
DECIMALS = ("exact", "float64")
# so many of what lacks are named in a message
_NAMED_MAX = 5


class IncompleteWarning(UserWarning):
    """What was read is not whole."""


class Database:
    """A record, open for reading alone; made by ``crypto_quant.connect``.

    Every call sees one moment and blocks until it is done; it may be made from any thread, and from within a running
    event loop. Times are UTC, ``start`` is inclusive and ``end`` exclusive, and None is as far as the record goes.
    """

    def __init__(self, url: str) -> None:
        self._readout = Readout(url)
        self._worker = Worker()

    # -- streams ------------------------------------------------------------------------------------------

    def trade_batches(
        self,
        symbol: str,
        start: When | None = None,
        end: When | None = None,
        venue: str = "spot",
        *,
        columns: Sequence[str] | None = None,
        on_gap: str = "raise",
    ) -> Batches:
        """Return the trades of a range as record batches, in the order (time, trade_id), in bounded memory.

        What is known to be missing is told at once, what turns out to be gone when the last batch was read: by an
        error (``on_gap="raise"``), by a warning, or not at all (``"ignore"``). Raises Incomplete, ConfigError, and the
        store's errors.
        """
        symbol, venue, span = symbol_of(symbol), venue_of(venue), span_of(start, end)
        choice_of(on_gap, "on_gap", ON_GAP)
        schema = decode.chosen(decode.TRADES, columns, kind="trades", venue=venue, symbol=symbol)
        what = f"trades of {symbol} ({venue})"
        with ExitStack() as stack:
            snapshot = stack.enter_context(self._worker.entered(self._readout.snapshot()))
            stretch = self._worker.run(stretch_of_trades(snapshot, venue, symbol, span))
            self._judge(stretch.lacks, what, on_gap)

            def checked() -> Generator[pa.RecordBatch, None, None]:
                tally = Tally()
                wanted = list(dict.fromkeys([*schema.names, "trade_id"]))
                read = decode.chosen(decode.TRADES, wanted)
                values = span_values(venue, symbol, stretch.span)
                for batch in decode.from_csv(self._blocks(snapshot, trades_query(wanted), values), read):
                    tally.add(runs_of(batch.column("trade_id").to_numpy()), batch.num_rows)
                    yield _picked(batch, schema)
                gone = self._worker.run(gone_trades(snapshot, venue, symbol, stretch, tally))
                self._judge(gone, what, on_gap)

            return Batches(schema, checked(), stretch.lacks, stretch.span, stack.pop_all())
        raise AssertionError("unreachable")

    def candle_batches(
        self,
        symbol: str,
        timeframe: str,
        start: When | None = None,
        end: When | None = None,
        venue: str = "spot",
        *,
        columns: Sequence[str] | None = None,
        on_gap: str = "raise",
    ) -> Batches:
        """Return the stored candles that open in a range as record batches, in the order of time; else as above."""
        symbol, venue, span = symbol_of(symbol), venue_of(venue), span_of(start, end)
        choice_of(on_gap, "on_gap", ON_GAP)
        frame = Timeframe.parse(timeframe)
        schema = decode.chosen(
            decode.CANDLES, columns, kind="candles", venue=venue, symbol=symbol, timeframe=frame.value
        )
        what = f"{frame} candles of {symbol} ({venue})"
        with ExitStack() as stack:
            snapshot = stack.enter_context(self._worker.entered(self._readout.snapshot()))
            stretch = self._worker.run(stretch_of_candles(snapshot, venue, symbol, frame, span))
            self._judge(stretch.lacks, what, on_gap)

            def checked() -> Generator[pa.RecordBatch, None, None]:
                tally = Tally()
                wanted = list(dict.fromkeys([*schema.names, "time"]))
                read = decode.chosen(decode.CANDLES, wanted)
                values = span_values(venue, symbol, stretch.span, frame.value)
                for batch in decode.from_csv(self._blocks(snapshot, candles_query(wanted), values), read):
                    tally.add(runs_of(slots_of(batch.column("time"), frame)), batch.num_rows)
                    yield _picked(batch, schema)
                self._judge(gone_candles(frame, stretch, tally), what, on_gap)

            return Batches(schema, checked(), stretch.lacks, stretch.span, stack.pop_all())
        raise AssertionError("unreachable")

    # -- what is missing ----------------------------------------------------------------------------------

    def lacks(
        self,
        symbol: str,
        start: When | None = None,
        end: When | None = None,
        venue: str = "spot",
        *,
        timeframe: str | None = None,
    ) -> list[Lack]:
        """Return what is missing of a range of trades, or with ``timeframe`` of stored candles; nothing: it is whole.

        The rows are counted against what is proven, so that rows which are gone are found.
        """
        symbol, venue, span = symbol_of(symbol), venue_of(venue), span_of(start, end)
        frame = None if timeframe is None else Timeframe.parse(timeframe)
        with self._worker.entered(self._readout.snapshot()) as snapshot:
            if frame is None:
                return list(self._worker.run(stretch_of_trades(snapshot, venue, symbol, span, count=True)).lacks)
            return list(self._worker.run(stretch_of_candles(snapshot, venue, symbol, frame, span, count=True)).lacks)

    # -- the inside ---------------------------------------------------------------------------------------

    def _blocks(self, snapshot: Snapshot, query: str, values: Sequence[object]) -> Iterator[bytearray]:
        return self._worker.blocks(lambda send: snapshot.copy(query, values, send))

    def _judge(self, lacks: Sequence[Lack], what: str, on_gap: str) -> None:
        if not lacks or on_gap == "ignore":
            return
        named = "; ".join(map(str, lacks[:_NAMED_MAX]))
        more = f"; and {len(lacks) - _NAMED_MAX} more" if len(lacks) > _NAMED_MAX else ""
        hint = (
            "Ask gaps() for all of it; `crypto-quant repair` or `backfill` fetches what can be had;"
            " on_gap='warn' or 'ignore' reads what there is"
        )
        problem = Incomplete(f"not all {what} are there", subject=named + more, hint=hint)
        if on_gap == "raise":
            raise problem
        warnings.warn(str(problem), IncompleteWarning, stacklevel=3)

    def close(self) -> None:
        """Close the connections; idempotent. Should another call follow, it opens one again."""
        self._worker.run(self._readout.close())
        self._worker.close()

    def __enter__(self) -> "Database":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<crypto_quant.Database {self._readout.database}>"


def _picked(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Return the columns of ``schema``."""
    return pa.RecordBatch.from_arrays([batch.column(name) for name in schema.names], schema=schema)
