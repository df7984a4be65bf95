"""Decimals no wider than their values need: Arrow gives a product the digits of both types, and fails beyond 76."""

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

DIGITS_128, DIGITS_MAX = 38, 76
# Two of them multiply and divide within 38 digits; two of the wide ones within 76.
_NARROW, _WIDE = 18, 37


def decimal_type(precision: int, scale: int, *, wide: bool = False) -> pa.DataType:
    """Return the decimal type of so many digits, of 128 bits where they suffice and ``wide`` does not ask for 256."""
    precision = max(precision, scale, 1)
    return pa.decimal256(precision, scale) if wide or precision > DIGITS_128 else pa.decimal128(precision, scale)


def digits_of(values: Any) -> int:  # noqa: ANN401 - a column, or a scalar
    """Return how many digits the values of a column of decimals need at its scale; 1 at least."""
    scale = values.type.scale
    if isinstance(values, pa.Scalar):
        ends = [values.as_py()]
    else:
        found = pc.min_max(values)
        ends = [found["min"].as_py(), found["max"].as_py()]
    # by their exponents: Python's arithmetic would round what has more than 28 digits
    return max((each.adjusted() + 1 + scale for each in ends if each), default=1) if any(ends) else 1


def narrowed(table: pa.Table) -> pa.Table:
    """Return a table whose decimals can be multiplied and divided: of 18 digits where the values fit, else of 37."""
    for at, field in enumerate(table.schema):
        if pa.types.is_decimal(field.type) and field.type.precision > _NARROW:
            column = table.column(at)
            digits = max(digits_of(column), field.type.scale)
            width = _NARROW if digits <= _NARROW else max(_WIDE, digits)
            kind = decimal_type(width, field.type.scale, wide=digits > _NARROW)
            table = table.set_column(at, field.with_type(kind), column.cast(kind))
    return table
