"""The result of any query as an Arrow table: every type of the server's that Arrow has, the others as its text."""

import re
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa

from crypto_quant.reading import decode

_TYPES = {
    "int2": pa.int64(), "int4": pa.int64(), "int8": pa.int64(), "oid": pa.int64(),
    "float4": pa.float64(), "float8": pa.float64(), "bool": pa.bool_(),
    "timestamptz": decode.TIME, "timestamp": pa.timestamp("us"), "date": pa.date32(),
}  # fmt: skip
# what Arrow's decimals hold at most
_DIGITS_MAX = 76


def copyable(query: str) -> bool:
    """Tell whether COPY takes a statement: it takes those that return a table."""
    return bool(re.match(r"[\s(]*(select|with|values|table)\b", query, re.IGNORECASE))


def table_of(columns: Sequence[tuple[str, str]], blocks: Iterable[bytearray]) -> pa.Table:
    """Return the rows of COPY's CSV as a table; ``columns`` are names and types as the server calls them.

    A NUMERIC gets as many decimals as the value that has the most.
    """
    # two columns may have one name
    numbered = pa.schema([(str(at), _TYPES.get(kind, pa.string())) for at, (_, kind) in enumerate(columns)])
    table = pa.Table.from_batches(decode.from_csv(blocks, numbered), numbered)
    arrays = [
        _decimals(column) if kind == "numeric" else column
        for column, (_, kind) in zip(table.columns, columns, strict=True)
    ]
    return pa.Table.from_arrays(arrays, names=[name for name, _ in columns])


def table_of_rows(columns: Sequence[tuple[str, str]], rows: Sequence[Sequence[Any]]) -> pa.Table:
    """Return rows of text, as EXPLAIN and SHOW give them, as a table."""
    arrays = [pa.array([None if row[at] is None else str(row[at]) for row in rows], pa.string())
              for at in range(len(columns))]  # fmt: skip
    return pa.Table.from_arrays(arrays, names=[name for name, _ in columns])


def _decimals(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return numbers in text as decimals; as they are when Arrow's cannot hold one of them (NaN, 100 digits)."""
    values = [None if each is None else Decimal(each) for each in column.to_pylist()]
    whole, scale = 1, 0
    for value in values:
        if value is not None:
            _, digits, exponent = value.as_tuple()
            if not isinstance(exponent, int):
                return column
            whole, scale = max(whole, len(digits) + exponent), max(scale, -exponent)
    precision = whole + scale
    if precision > _DIGITS_MAX:
        return column
    kind = pa.decimal128(38, scale) if precision <= 38 else pa.decimal256(_DIGITS_MAX, scale)
    return pa.chunked_array([pa.array(values, kind)])
