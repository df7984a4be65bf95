"""What waits in spools, as somebody sees it who neither locks nor changes them: a recorder may be at work there."""

from contextlib import suppress
from pathlib import Path

from crypto_quant.evidence import Spooled
from crypto_quant.seams import Table
from crypto_quant.spoolformat import FRAME_BYTES, HEAD, next_frame
from crypto_quant.store.spoolfiles import segments_of, spools_of


def waiting(root: Path, target: str) -> list[Spooled]:
    """Return what lies in the spools below ``root`` for ``target``, by the counts of the records alone.

    Rows that have just been stored are among them until their file is deleted. Raises OSError.
    """
    found = []
    for directory in spools_of(root, target):
        rows = dict.fromkeys(Table, 0)
        for path in segments_of(directory):
            with suppress(FileNotFoundError):  # all of it is stored meanwhile
                _count(path, rows)
        found.append(Spooled(str(directory), rows[Table.TRADES], rows[Table.CANDLES]))
    return [each for each in found if each.rows]


def _count(path: Path, rows: dict[Table, int]) -> None:
    with path.open("rb") as file:
        size = path.stat().st_size
        if file.read(len(HEAD)) != HEAD:
            return
        while frame := next_frame(file.read(FRAME_BYTES)):
            table, number, length = frame
            if file.tell() + length > size:  # a torn tail was never safe
                return
            rows[table] += number
            file.seek(length, 1)
