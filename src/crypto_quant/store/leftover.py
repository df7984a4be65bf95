"""Rows that could not be stored before the end: files that ``crypto-quant db load`` brings in later.

A file is COPY text whose first line names the columns.
"""

import os
import shlex
import time
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path

import msgspec

from crypto_quant.errors import ConfigError, StoreRejected
from crypto_quant.rows import trade_key
from crypto_quant.seams import COLUMNS, Batch, Covered, Sink, Source, Table

_ROWS_AT_ONCE = 1000


class Leftover(msgspec.Struct, frozen=True):
    """One file of rows."""

    table: Table
    path: Path
    rows: int

    @property
    def command(self) -> str:
        """What a person types to load it; doing it twice changes nothing."""
        return f"crypto-quant db load {shlex.quote(str(self.path))}"


class Loaded(msgspec.Struct, frozen=True):
    """What became of a file's rows; ``conflicting`` and ``refused`` are places in it, from 0 behind its first line."""

    written: int
    duplicates: int
    conflicting: Sequence[int] = ()
    refused: Sequence[int] = ()


def write_leftover(directory: Path, batches: Sequence[Batch]) -> list[Leftover]:
    """Write the rows of ``batches`` to one file a table and return the files; none when there are no rows.

    Each file appears whole or not at all, and is on the disk when this returns. Raises OSError.
    """
    directory.mkdir(parents=True, exist_ok=True)
    # the process id keeps two recorders that end in the same second apart
    stamp = f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{os.getpid()}"
    written = []
    for table in Table:
        rows = [row for batch in batches if batch.table is table for row in batch.rows]
        if rows:
            path = _unused(directory, f"leftover-{stamp}-{table}")
            _write_whole(path, b"\t".join(name.encode() for name in COLUMNS[table]) + b"\n" + b"".join(rows))
            written.append(Leftover(table=table, path=path.resolve(), rows=len(rows)))
    return written


async def load_leftover(
    sink: Sink, path: Path, progress: Callable[[int, int, str], None] = lambda _done, _total, _what: None
) -> Loaded:
    """Store the rows of a leftover file, and cover the ids of its trades; what is there already is only counted.

    ``progress`` hears how many bytes are stored, of how many.
    A trade that is stored with another content or time stays as it is; a row that the store refuses is left out.
    Raises ConfigError when the file is not one of ours or its end is missing, StoreUnavailable and StoreDenied: then
    a part of the rows may be stored, and loading the file again stores the rest.
    """
    parts: list[Loaded] = []
    read = 0
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        table = _table_of(file.readline(), path)
        while rows := list(islice(file, _ROWS_AT_ONCE)):
            if not rows[-1].endswith(b"\n"):
                raise ConfigError("the file ends in the middle of a row", subject=str(path))
            parts += await _store(sink, table, rows, read)
            read += len(rows)
            progress(file.tell(), size, path.name)
    return Loaded(
        written=sum(each.written for each in parts),
        duplicates=sum(each.duplicates for each in parts),
        conflicting=tuple(place for each in parts for place in each.conflicting),
        refused=tuple(place for each in parts for place in each.refused),
    )


async def _store(sink: Sink, table: Table, rows: list[bytes], first: int) -> list[Loaded]:
    """Store rows of which the first has the place ``first`` in its file; halve them while one of them is refused."""
    covered = _covered(rows) if table is Table.TRADES else ()
    try:
        receipt = await sink.write(Batch(table, rows, covered))
    except StoreRejected:
        if len(rows) == 1:
            return [Loaded(0, 0, refused=(first,))]
        middle = len(rows) // 2
        return [
            *await _store(sink, table, rows[:middle], first),
            *await _store(sink, table, rows[middle:], first + middle),
        ]
    conflicting = tuple(first + place for place in receipt.conflicting)
    return [Loaded(receipt.written, receipt.duplicates, conflicting)]


def _covered(rows: Sequence[bytes]) -> list[Covered]:
    """Return what rows of ``trades`` prove, or nothing when one of them cannot be read: the store refuses that one."""
    try:
        ids = [trade_key(row) for row in rows]
    except ValueError:
        return []
    return [Covered(venue, symbol, number, number, Source.STREAM) for venue, symbol, number in ids if number >= 0]


def _table_of(header: bytes, path: Path) -> Table:
    names = tuple(header.rstrip(b"\n").decode("utf-8", "replace").split("\t"))
    for table, columns in COLUMNS.items():
        if names == columns:
            return table
    raise ConfigError(
        "not a file of left-over rows", subject=str(path), hint="Its first line must name the columns of a table"
    )


def _unused(directory: Path, stem: str) -> Path:
    path = directory / f"{stem}.copy"
    number = 1
    while path.exists():
        number += 1
        path = directory / f"{stem}-{number}.copy"
    return path


def _write_whole(path: Path, content: bytes) -> None:
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    # the new name itself is data of the directory
    handle = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
