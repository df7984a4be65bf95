"""Rows for whoever asked: a table for people; JSON, NDJSON and CSV for programs. All of them while the rows come.

Numbers that have to be exact (``numeric``) are strings in JSON: most of its readers would make a float of them.
"""

import re
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from crypto_quant.store.question import Column, Row
from crypto_quant.words import UNPRINTABLE

Write = Callable[[bytes], object]

# so many rows decide how wide the columns of a table are
_LOOKED_AT = 1000
_RIGHT = frozenset({"int2", "int4", "int8", "oid", "numeric", "float4", "float8", "money"})
_AS_IS = frozenset({"int2", "int4", "int8", "oid", "json", "jsonb"})
_FLOATS = frozenset({"float4", "float8"})
_TIME = re.compile(r"(\d{4,}-\d\d-\d\d) (\d\d:\d\d:\d\d(?:\.\d+)?)\+00")
_NOT_SHOWN = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class Form(Protocol):
    """A way of writing rows."""

    def rows(self, rows: Sequence[Row]) -> None:
        """Write some more."""
        ...

    def end(self) -> None:
        """Write what is left."""
        ...


class AsTable:
    """Columns as wide as their content; values of one line each."""

    def __init__(self, columns: Sequence[Column], write: Write) -> None:
        self._columns = columns
        self._write = write
        self._waiting: list[Row] | None = []
        self._widths: list[int] = []

    def rows(self, rows: Sequence[Row]) -> None:
        """Write them, once enough of them are known."""
        if self._waiting is None:
            self._put([self._shown(row) for row in rows])
            return
        self._waiting += rows
        if len(self._waiting) >= _LOOKED_AT:
            self._begin()

    def end(self) -> None:
        """Write what is left."""
        self._begin()

    def _begin(self) -> None:
        if self._waiting is None:
            return
        names = [each.name for each in self._columns]
        lines = [self._shown(row) for row in self._waiting]
        self._waiting = None
        self._widths = [max(map(len, column)) for column in zip(names, *lines, strict=True)]
        self._put([names, ["-" * width for width in self._widths], *lines])

    def _shown(self, row: Row) -> list[str]:
        # what is stored is not trusted with the terminal
        return ["" if value is None else _NOT_SHOWN.sub(UNPRINTABLE, value) for value in row]

    def _put(self, lines: Sequence[Sequence[str]]) -> None:
        text = []
        for line in lines:
            cells = [
                value.rjust(width) if column.type in _RIGHT else value.ljust(width)
                for value, width, column in zip(line, self._widths, self._columns, strict=True)
            ]
            text.append("  ".join(cells).rstrip() + "\n")
        self._write("".join(text).encode())


class AsJson:
    """An array of objects, or (``lines``) an object a line."""

    def __init__(self, columns: Sequence[Column], write: Write, *, lines: bool) -> None:
        self._write = write
        self._lines = lines
        self._begun = False
        encode = msgspec.json.encode
        self._names = [encode(each.name) for each in columns]
        self._values = [_json_of(each.type) for each in columns]

    def rows(self, rows: Sequence[Row]) -> None:
        """Write them."""
        if not rows:
            return
        objects = [
            b"{"
            + b",".join(
                name + b":" + (b"null" if value is None else encoded(value))
                for name, encoded, value in zip(self._names, self._values, row, strict=True)
            )
            + b"}"
            for row in rows
        ]
        if self._lines:
            self._write(b"\n".join(objects) + b"\n")
            return
        self._write((b",\n" if self._begun else b"[\n") + b",\n".join(objects))
        self._begun = True

    def end(self) -> None:
        """Close the array."""
        if not self._lines:
            self._write(b"\n]\n" if self._begun else b"[]\n")


def _json_of(kind: str) -> Callable[[str], bytes]:
    """Return what makes JSON of a text of PostgreSQL's of that type."""
    if kind in _AS_IS:
        return str.encode
    if kind == "bool":
        return lambda text: b"true" if text == "t" else b"false"
    if kind in _FLOATS:
        return lambda text: text.encode() if text[-1].isdigit() else msgspec.json.encode(text)  # NaN, Infinity
    if kind == "timestamptz":
        return lambda text: msgspec.json.encode(_TIME.sub(r"\1T\2Z", text))
    return msgspec.json.encode
