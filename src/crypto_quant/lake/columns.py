"""What other tools want of a trade or a candle, made from the columns that we have."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_US_NS = 1000
_ONE = 10**8


def side(batch: pa.RecordBatch) -> pa.Array:
    """Return ``buy`` or ``sell``: what the taker did."""
    return pc.if_else(batch.column("is_buyer_maker"), "sell", "buy")


def nearest_floats(column: pa.Array) -> pa.Array:
    """Return decimals as the floats next to them; by way of their text, which is rounded once and rightly."""
    return column.cast(pa.string()).cast(pa.float64())


def plain_text(column: pa.Array) -> pa.Array:
    """Return decimals of eight places as text with all of them, ``0.00000001``; Arrow itself would write ``1E-8``."""
    filled = column.fill_null(0) if column.null_count else column
    halves = np.frombuffer(filled.buffers()[1], np.int64)[2 * filled.offset : 2 * (filled.offset + len(filled))]
    low, high = halves[0::2], halves[1::2]
    if (low < 0).any() or high.any():  # beyond 92 billion, or negative
        return pa.array([None if value is None else f"{value:f}" for value in column.to_pylist()], pa.string())
    whole, decimals = np.divmod(low, _ONE)
    text = pc.binary_join_element_wise(
        pa.array(whole).cast(pa.string()), pc.utf8_lpad(pa.array(decimals).cast(pa.string()), 8, "0"), "."
    )
    return pc.if_else(column.is_valid(), text, None) if column.null_count else text


def shortest_text(column: pa.Array) -> pa.Array:
    """Return decimals of eight places as text without the zeros at their ends: ``64321.1``, ``5``."""
    return pc.utf8_rtrim(pc.utf8_rtrim(plain_text(column), characters="0"), characters=".")


def micros(column: pa.Array) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    """Return times as µs since the epoch; where there is none, the least number."""
    least = np.iinfo(np.int64).min
    found: np.ndarray[tuple[int], np.dtype[np.int64]] = column.cast(pa.int64()).fill_null(least).to_numpy()
    return found


class Hearing:
    """When a listener has heard of trades, who hears them in their order; kept from one batch to the next.

    That is when the recorder received it; of a backfilled trade, which nobody received, the time of the trade; and
    never before the trade itself, or before the trade that precedes it. So both times rise, as the tools ask.
    """

    def __init__(self) -> None:
        self._latest = np.iinfo(np.int64).min

    def micros(self, batch: pa.RecordBatch) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
        """Return these times of a batch, in µs since the epoch."""
        heard = np.maximum(micros(batch.column("received_at")), micros(batch.column("time")))
        heard = np.maximum.accumulate(np.maximum(heard, self._latest))
        if len(heard):
            self._latest = heard[-1]
        return heard


def nanos(column: pa.Array) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    """Return times as ns since the epoch."""
    found: np.ndarray[tuple[int], np.dtype[np.int64]] = micros(column) * _US_NS
    return found
