"""Tables as the caller wants them: Arrow, polars or pandas; decimals exact or as float64."""

import importlib
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from crypto_quant import commands
from crypto_quant.errors import MissingExtra
from crypto_quant.reading.asked import choice_of

KINDS = ("arrow", "polars", "pandas")
DECIMALS = ("exact", "float64")
# below it an integer is exactly a float64, so that one division rounds once
_FLOAT_EXACT = 2**53


def checked(as_: str, decimals: str) -> None:
    """Check both choices before anything is read. Raises ConfigError, and MissingExtra where a library is missing."""
    choice_of(as_, "as_", KINDS)
    choice_of(decimals, "decimals", DECIMALS)
    if as_ != "arrow":
        imported(as_)


def framed(table: pa.Table, as_: str, decimals: str) -> Any:  # noqa: ANN401 - whatever was asked for
    """Return a table as it was asked for."""
    if decimals == "float64":
        table = with_floats(table)
    if as_ == "polars":
        return imported("polars").from_arrow(table)
    if as_ == "pandas":
        pandas = imported("pandas")
        # Arrow's own types: decimals stay decimals, at a fraction of the memory of Python's
        return table.to_pandas(types_mapper=pandas.ArrowDtype if decimals == "exact" else None)
    return table


def imported(name: str) -> Any:  # noqa: ANN401 - a module
    """Return an optional library. Raises MissingExtra with the command that installs it."""
    try:
        return importlib.import_module(name)
    except ImportError as problem:
        raise MissingExtra(f"{name} is not installed", hint=f"Install it with: {commands.install(name)}") from problem


def with_floats(table: pa.Table) -> pa.Table:
    """Return a table with each decimal as the float64 that is nearest to it."""
    for at, field in enumerate(table.schema):
        if pa.types.is_decimal(field.type):
            chunks = [_floats(chunk) for chunk in table.column(at).chunks]
            column = pa.chunked_array(chunks, type=pa.float64())
            table = table.set_column(at, pa.field(field.name, pa.float64(), field.nullable), column)
    return table


def _floats(array: pa.Array) -> pa.Array:
    scale = array.type.scale
    if pa.types.is_decimal128(array.type):
        # two little-endian words a value: the low one is the value as long as the high one only repeats its sign
        words = np.frombuffer(array.buffers()[1], dtype="<i8").reshape(-1, 2)[array.offset :][: len(array)]
        low, high = words[:, 0], words[:, 1]
        if bool(((low >> 63) == high).all()) and bool((np.abs(low) < _FLOAT_EXACT).all()) and scale <= 22:
            mask = None if not array.null_count else pc.is_null(array).to_numpy(zero_copy_only=False)
            return pa.array(low / np.float64(10**scale), mask=mask)
    return pa.array([None if each is None else _nearest(each) for each in array.to_pylist()], pa.float64())


def _nearest(value: Decimal) -> float:
    return float(value)
