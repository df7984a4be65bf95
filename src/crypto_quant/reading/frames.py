"""Tables as the caller wants them: Arrow, polars or pandas; decimals exact or as float64."""

import importlib
from typing import Any

import pyarrow as pa

from crypto_quant import commands
from crypto_quant.errors import MissingExtra
from crypto_quant.reading.asked import choice_of
from crypto_quant.reading.narrow import narrowed
from crypto_quant.reading.nearest import nearest_floats

KINDS = ("arrow", "polars", "pandas")
DECIMALS = ("exact", "float64")


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
        if decimals == "float64":
            return table.to_pandas()
        exact = importlib.import_module("crypto_quant.reading.exact_pandas").ExactDtype
        # Arrow's own memory: decimals stay decimals, at a fraction of the size of Python's
        return table.to_pandas(
            types_mapper=lambda kind: exact(kind) if pa.types.is_decimal(kind) else pandas.ArrowDtype(kind)
        )
    return narrowed(table)


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
            chunks = [nearest_floats(chunk) for chunk in table.column(at).chunks]
            column = pa.chunked_array(chunks, type=pa.float64())
            table = table.set_column(at, pa.field(field.name, pa.float64(), field.nullable), column)
    return table
