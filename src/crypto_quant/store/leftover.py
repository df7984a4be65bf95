"""Rows that could not be stored before the end: files that ``psql`` or ``load_leftover`` bring in later.

A file is COPY text whose first line names the columns (PostgreSQL 15 and newer read and check it: HEADER MATCH).
"""

import os
import shlex
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import msgspec

from crypto_quant.errors import ConfigError
from crypto_quant.seams import COLUMNS, Batch, Receipt, Sink, Table

_ROWS_AT_ONCE = 1000


class Leftover(msgspec.Struct, frozen=True):
    """One file of rows, and the ``psql`` command that loads it; loading it twice changes nothing."""

    table: Table
    path: Path
    rows: int

    @property
    def psql(self) -> str:
        """A command for a shell; ``$DATABASE_URL`` stands for the database. Needs psql and a server from 15 on."""
        columns = ", ".join(COLUMNS[self.table])
        path = str(self.path).replace("'", "''")
        steps = (
            f"CREATE TEMP TABLE leftover (LIKE {self.table})",
            f"\\copy leftover ({columns}) FROM '{path}' WITH (FORMAT text, HEADER MATCH)",
            f"INSERT INTO {self.table} ({columns}) {self._new_rows(columns)} ON CONFLICT DO NOTHING",
        )
        commands = " ".join(f"-c {shlex.quote(step)}" for step in steps)
        return f'psql "$DATABASE_URL" -v ON_ERROR_STOP=1 {commands}'

    def _new_rows(self, columns: str) -> str:
        if self.table is not Table.TRADES:
            return f"SELECT {columns} FROM leftover"  # noqa: S608
        # a trade that the exchange has told under two times would pass the unique key: the first one stays
        same = "t.venue = l.venue AND t.symbol = l.symbol AND t.trade_id = l.trade_id"
        near = "t.time BETWEEN l.time - interval '1 day' AND l.time + interval '1 day'"
        return (
            f"SELECT DISTINCT ON (venue, symbol, trade_id) {columns} FROM leftover l"  # noqa: S608
            f" WHERE NOT EXISTS (SELECT FROM trades t WHERE {same} AND {near})"
            " ORDER BY venue, symbol, trade_id, l.ctid"
        )


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


async def load_leftover(sink: Sink, path: Path) -> Receipt:
    """Store the rows of a leftover file; what is there already is only counted.

    ``conflicting`` of the receipt are places in the file, from 0 behind its first line. The rows are proven by nothing
    yet: ``coverage`` learns of them when somebody looks, or fetches the gap that they stand in.
    Raises ConfigError when the file is not one of ours or its end is missing, and what ``Sink.write`` raises: then
    a part of the rows may be stored, and loading the file again stores the rest.
    """
    written = duplicates = read = 0
    conflicting: list[int] = []
    with path.open("rb") as file:
        table = _table_of(file.readline(), path)
        while rows := list(islice(file, _ROWS_AT_ONCE)):
            if not rows[-1].endswith(b"\n"):
                raise ConfigError("the file ends in the middle of a row", subject=str(path))
            receipt = await sink.write(Batch(table=table, rows=rows))
            written += receipt.written
            duplicates += receipt.duplicates
            conflicting += (read + place for place in receipt.conflicting)
            read += len(rows)
    return Receipt(written=written, duplicates=duplicates, conflicting=tuple(conflicting))


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
