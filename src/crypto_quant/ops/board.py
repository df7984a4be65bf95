"""Where a recorder puts its snapshots for those who watch: a file in a directory of the machine, one a recorder.

The writer never waits for a reader and a reader never for the writer. A file is written over in place, its head says
how long the snapshot is and carries its checksum, and who reads a torn one reads again. A lock that the system lets go
of when the process ends, in whatever way, tells living recorders from dead ones.
"""

import fcntl
import os
import platform
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from crypto_quant.snapshot import FORMAT, Snapshot

DIRECTORY = "boards"
SUFFIX = ".board"
_MAGIC = b"crypto-quant board"
_HEAD_SIZE = 64
_READS = 5

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Snapshot)


class Board:
    """A snapshot that was found: its file, whether its recorder lives, and what it showed last (None: nothing yet)."""

    def __init__(self, path: Path, alive: bool, snapshot: Snapshot | None) -> None:
        self.path = path
        self.alive = alive
        self.snapshot = snapshot

    @property
    def pid(self) -> str:
        """The process id that is in the file's name; also there when nothing sound stands in it."""
        return self.path.stem.rpartition("-")[2]


class BoardWriter:
    """The file of this process in ``directory``; made by ``put_up``. Its calls may block: call them from a thread."""

    def __init__(self, path: Path, file: int) -> None:
        self.path = path
        self._file = file

    def show(self, snapshot: Snapshot) -> None:
        """Replace what is shown. Raises OSError."""
        body = _encoder.encode(snapshot)
        os.pwrite(self._file, _head(body) + body, 0)

    def take_down(self) -> None:
        """Remove the file."""
        if self._file >= 0:
            with suppress(OSError):
                self.path.unlink(missing_ok=True)
            os.close(self._file)
            self._file = -1


def own_path(directory: Path) -> Path:
    """Return where the board of this process is; in containers that share a volume many a process is number 1."""
    host = "".join(letter if letter.isalnum() else "-" for letter in platform.node())
    return directory / f"{host}-{os.getpid()}{SUFFIX}"


def put_up(directory: Path) -> BoardWriter:
    """Return a board of our own in ``directory``; files that dead recorders have left there are removed.

    Raises OSError.
    """
    directory.mkdir(parents=True, exist_ok=True)
    for path in directory.glob(f"*{SUFFIX}"):
        with suppress(OSError):
            if not _is_alive(path):
                path.unlink()
    path = own_path(directory)
    # it gets its name when it is locked: nobody must take it for a dead recorder's
    unnamed = path.with_suffix(".new")
    unnamed.unlink(missing_ok=True)
    # others may look; only who owns it may write
    file = os.open(unnamed, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    unnamed.rename(path)
    return BoardWriter(path, file)


def boards(directory: Path) -> Iterator[Board]:
    """Yield what is shown in ``directory``, by host and process id; what cannot be read is left out."""
    for path in sorted(directory.glob(f"*{SUFFIX}"), key=lambda path: (len(path.name), path.name)):
        with suppress(OSError):
            yield read(path)


def read(path: Path) -> Board:
    """Return what a file shows; the snapshot is None while nothing sound stands in it. Raises OSError."""
    alive = _is_alive(path)
    for _ in range(_READS):
        snapshot = _sound(path.read_bytes())
        if snapshot is not None:
            return Board(path, alive, snapshot)
    return Board(path, alive, None)


def _head(body: bytes) -> bytes:
    return (b"%s %d %d %08x" % (_MAGIC, FORMAT, len(body), zlib.crc32(body))).ljust(_HEAD_SIZE - 1) + b"\n"


def _sound(raw: bytes) -> Snapshot | None:
    """Return the snapshot that a file holds; None when it is torn, empty, or of a format that we do not know."""
    head = raw[:_HEAD_SIZE].rsplit(maxsplit=3)
    if len(head) != 4 or head[0] != _MAGIC or not head[2].isdigit():
        return None
    body = raw[_HEAD_SIZE : _HEAD_SIZE + int(head[2])]
    if b"%08x" % zlib.crc32(body) != head[3]:
        return None
    with suppress(msgspec.DecodeError):
        snapshot = _decoder.decode(body)
        if snapshot.format == FORMAT:
            return snapshot
    return None


def _is_alive(path: Path) -> bool:
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False
