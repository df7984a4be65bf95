"""Tables that fit the terminal without a digit cut: columns are left out, or a row is stacked, never shortened."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from rich.cells import cell_len

_GAP = "  "


class Column(NamedTuple):
    """A column: what stands to the ``right`` are numbers; ``drop``: the higher, the sooner it is left out; 0: never.

    A column that is left out is one of which each row says the same, if there are such; ``quiet`` is a value that says
    nothing, so that a column with any other value is kept.
    """

    name: str
    right: bool = True
    drop: int = 0
    quiet: str | None = None


class Fitted(NamedTuple):
    """The lines of each row, under a ``head`` (empty where rows are stacked), and the columns that were left out."""

    head: str
    rows: list[list[str]]
    left_out: list[str]


def fit(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int | None) -> Fitted:
    """Return a table of at most ``width`` characters a line (None: as wide as it is), every value whole.

    Where the columns that must be shown do not fit, a row becomes a line a column.
    """
    widths = [max([cell_len(column.name), *(cell_len(row[at]) for row in rows)]) for at, column in enumerate(columns)]
    shown = list(range(len(columns)))
    left_out: list[str] = []
    for at in _droppable(columns, rows):
        if width is None or _total(widths, shown) <= width:
            break
        shown.remove(at)
        left_out.append(columns[at].name)
    if width is not None and _total(widths, shown) > width:
        return Fitted("", [_stacked(columns, row) for row in rows], [])
    head = _line([columns[at].name for at in shown], shown, columns, widths)
    lines = [[_line([row[at] for at in shown], shown, columns, widths)] for row in rows]
    return Fitted(head, lines, left_out)


def _droppable(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> Iterable[int]:
    """Return the columns that may be left out, in that order."""
    found = [
        at
        for at, column in enumerate(columns)
        if column.drop and (column.quiet is None or all(row[at] == column.quiet for row in rows))
    ]
    return sorted(found, key=lambda at: -columns[at].drop)


def _total(widths: Sequence[int], shown: Sequence[int]) -> int:
    return sum(widths[at] for at in shown) + len(_GAP) * (len(shown) - 1)


def _line(cells: Sequence[str], shown: Sequence[int], columns: Sequence[Column], widths: Sequence[int]) -> str:
    padded = []
    for cell, at in zip(cells, shown, strict=True):
        room = " " * (widths[at] - cell_len(cell))  # a symbol may have letters that are two columns wide
        padded.append(room + cell if columns[at].right else cell + room)
    return _GAP.join(padded).rstrip()


def _stacked(columns: Sequence[Column], row: Sequence[str]) -> list[str]:
    names = max(len(column.name) for column in columns)
    lines = [f"{column.name.ljust(names)}{_GAP}{value}" for column, value in zip(columns, row, strict=True) if value]
    return [*lines, ""]
