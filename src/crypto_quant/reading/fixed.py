"""Trades by the fast way: COPY's binary rows of one length each, taken apart as columns.

Prices and quantities are sent as whole numbers of the eighth decimal, so that every field has its fixed place and a
block of rows is an array of records: a million of them in some 40 ms, where text takes ten times that. A number
beyond 92 billion does not fit; the server then says so, and the rest is read as text (``streams``).
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from crypto_quant.reading.decode import PRICE

_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER = b"\xff\xff"
# PostgreSQL counts from 2000-01-01, Arrow from 1970-01-01
_EPOCH_US = 946_684_800_000_000
_NEVER = -(2**63)


def expressions(columns: Sequence[str]) -> list[str]:
    """Return what to select for these columns of ``trades``: each of a fixed length, and none of them NULL."""
    of_their_own = {
        "price": "(price * 100000000)::bigint",
        "quantity": "(quantity * 100000000)::bigint",
        "received_at": "coalesce(received_at, '-infinity')",
    }
    return [of_their_own.get(name, f'"{name}"') for name in columns]


def from_binary(blocks: Iterable[bytearray], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Yield the rows of COPY's binary format, a batch or so a block; a block may end within a row.

    An empty block ends one COPY, and another may follow.
    """
    fields: list[tuple[str, str]] = [("count", ">i2")]
    for at, field in enumerate(schema):
        fields += [(f"length{at}", ">i4"), (f"value{at}", ">i1" if pa.types.is_boolean(field.type) else ">i8")]
    row = np.dtype(fields)
    rest = bytearray()
    begun = ended = False
    for block in blocks:
        rest += block
        if not block and begun:
            _ended(rest)
            rest.clear()
            begun, ended = False, True
            continue
        if not begun:
            if not rest.startswith(_HEADER):
                raise AssertionError("this is not COPY's binary format")
            del rest[: len(_HEADER)]
            begun = True
        # what is left at the very end is the trailer, shorter than any row
        count = len(rest) // row.itemsize
        if count:
            cut = count * row.itemsize
            data = bytes(memoryview(rest)[:cut])
            del rest[:cut]
            yield _batch(np.frombuffer(data, row), schema)
    if begun or not ended:
        _ended(rest)


def _ended(rest: bytearray) -> None:
    if bytes(rest) != _TRAILER:
        raise AssertionError("COPY has not ended its binary format")


def _batch(rows: Any, schema: pa.Schema) -> pa.RecordBatch:  # noqa: ANN401 - a numpy array of records
    columns = []
    sound = bool((rows["count"] == len(schema)).all())
    for at, field in enumerate(schema):
        value = rows[f"value{at}"]
        sound = sound and bool((rows[f"length{at}"] == value.dtype.itemsize).all())
        columns.append(_column(value, field))
    if not sound:
        raise AssertionError("a row is not of the length that was agreed upon")
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _column(value: Any, field: pa.Field) -> pa.Array:  # noqa: ANN401
    if pa.types.is_boolean(field.type):
        return pa.array(value == 1)
    numbers = value.astype("<i8")
    if field.type == PRICE:
        # 128 bits: the value, and its sign spread over the rest
        words = np.empty((len(numbers), 2), "<i8")
        words[:, 0] = numbers
        np.right_shift(numbers, 63, out=words[:, 1])
        return pa.Array.from_buffers(PRICE, len(numbers), [None, pa.py_buffer(words)])
    if pa.types.is_timestamp(field.type):
        never = numbers == _NEVER if field.nullable else None
        with np.errstate(over="ignore"):
            numbers += _EPOCH_US
        return pa.array(numbers, mask=never).cast(field.type)
    return pa.array(numbers)
