"""Rows on their way: record batches, one after the other, that are counted against what is known of them."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa

from crypto_quant.completeness import Lack
from crypto_quant.errors import CryptoQuantError
from crypto_quant.evidence import Span
from crypto_quant.market import NS_PER_US, Timeframe


class _Left(Exception):
    """The reader has left before the end."""


class Batches(Iterator[pa.RecordBatch]):
    """Record batches of one range, in order and in bounded memory, as of one moment.

    Iterate over it once, or hand it to whatever takes an Arrow stream (``polars.from_arrow``, DuckDB, a Parquet
    writer, ``reader()``). ``lacks`` is what is missing of it; what turns out to be gone joins it behind the last batch.
    Leaving it early: ``close()``, or use it as a context.
    """

    def __init__(
        self,
        schema: pa.Schema,
        batches: Generator[pa.RecordBatch, None, None],
        lacks: Sequence[Lack],
        span: Span,
        close: ExitStack,
    ) -> None:
        self.schema = schema
        self._lacks = lacks
        self.span = span
        self._batches = batches
        self._close = close

    @property
    def lacks(self) -> tuple[Lack, ...]:
        """What is missing, as far as it is known by now."""
        return tuple(self._lacks)

    def __next__(self) -> pa.RecordBatch:
        try:
            return next(self._batches)
        except StopIteration:
            self._close.close()
            raise
        except Exception as problem:
            # whoever lends the connection says in our words what the driver has said
            self._close.pop_all().__exit__(type(problem), problem, problem.__traceback__)
            raise
        except BaseException:
            self.close()
            raise

    def reader(self) -> pa.RecordBatchReader:
        """Return the same as pyarrow's reader."""
        return pa.RecordBatchReader.from_batches(self.schema, self)

    def read_all(self) -> pa.Table:
        """Return all that is left as one table."""
        with self:
            return pa.Table.from_batches(list(self), self.schema)

    def close(self) -> None:
        """Stop reading; idempotent. What was not read yet is not fetched any more."""
        self._batches.close()
        stack = self._close.pop_all()
        # a connection that was left in the middle of an answer is of no further use, and what it says about it either
        with suppress(CryptoQuantError):
            stack.__exit__(_Left, _Left(), None)

    def __del__(self) -> None:
        # one that was never finished; at the end of the interpreter nothing is there any more
        with suppress(Exception):
            self.close()

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.reader().__arrow_c_stream__(requested_schema)

    def __enter__(self) -> "Batches":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Batches of {', '.join(self.schema.names)}>"


def runs_of(numbers: Any) -> list[tuple[int, int]]:  # noqa: ANN401 - a numpy array of integers
    """Return the inclusive ranges that an array of ids makes up, in its order; nearly always one."""
    if not len(numbers):
        return []
    cuts = np.flatnonzero(np.diff(numbers) != 1)
    firsts = numbers[np.concatenate(([0], cuts + 1))].tolist()
    lasts = numbers[np.concatenate((cuts, [len(numbers) - 1]))].tolist()
    return list(zip(firsts, lasts, strict=True))


def slots_of(times: pa.Array, frame: Timeframe) -> Any:  # noqa: ANN401 - a numpy array of integers
    """Return the slots of candles that open at these times."""
    opens_us = times.cast(pa.int64()).to_numpy()
    if frame.length_s is None:
        return np.array([frame.slot(each * NS_PER_US) for each in opens_us.tolist()], dtype=np.int64)
    return (opens_us - frame.slot_base_s * 1_000_000) // (frame.length_s * 1_000_000)
