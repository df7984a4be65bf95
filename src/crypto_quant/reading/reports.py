"""What is known about the rows, as tables: gaps, coverage, symbols."""

from collections.abc import Sequence

import pyarrow as pa

from crypto_quant.completeness import Lack
from crypto_quant.market import NS_PER_US, Timeframe
from crypto_quant.reading.decode import TIME
from crypto_quant.store.readout import Claimed, Recorded


def gaps(lacks: Sequence[Lack], *, candles: bool) -> pa.Table:
    """Return a row a gap; of candles ``first`` and ``last`` are what opens first and last in it."""
    return pa.table(
        {
            "start": _times([each.start for each in lacks]),
            "end": _times([each.end for each in lacks]),
            **({} if candles else {
                "first": pa.array([each.first for each in lacks], pa.int64()),
                "last": pa.array([each.last for each in lacks], pa.int64()),
            }),
            "missing": pa.array([each.size for each in lacks], pa.int64()),
            "why": pa.array([each.why for each in lacks], pa.string()),
        }
    )  # fmt: skip


def coverage(claims: Sequence[Claimed], frame: Timeframe | None) -> pa.Table:
    """Return a row a range that is proven; of candles its bounds are open times."""

    def bounds(numbers: list[int]) -> pa.Array:
        return (
            pa.array(numbers, pa.int64()) if frame is None else _times([frame.slot_open_ns(each) for each in numbers])
        )

    return pa.table({
        "first": bounds([each.first for each in claims]),
        "last": bounds([each.last for each in claims]),
        "source": pa.array([each.source for each in claims], pa.string()),
        "recorded_at": _times([each.recorded_ns for each in claims]),
        "updated_at": _times([each.updated_ns for each in claims]),
    })  # fmt: skip


def symbols(recorded: Sequence[Recorded]) -> pa.Table:
    """Return a row a venue, symbol and kind."""
    return pa.table({
        "venue": pa.array([each.venue for each in recorded], pa.string()),
        "symbol": pa.array([each.symbol for each in recorded], pa.string()),
        "kind": pa.array([each.kind for each in recorded], pa.string()),
        "proven": pa.array([each.proven for each in recorded], pa.int64()),
        "ranges": pa.array([each.ranges for each in recorded], pa.int64()),
        "since": _times([each.since_ns for each in recorded]),
        "until": _times([each.until_ns for each in recorded]),
    })  # fmt: skip


def _times(moments_ns: Sequence[int | None]) -> pa.Array:
    return pa.array([None if each is None else each // NS_PER_US for each in moments_ns], pa.int64()).cast(TIME)
