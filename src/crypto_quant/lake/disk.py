"""Files that are there whole or not at all: a temporary name, fsync, then the final one; and their checksums."""

import fcntl
import hashlib
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from crypto_quant.errors import ConfigError, CryptoQuantError

_BLOCK = 1 << 20


class LakeRefused(CryptoQuantError):
    """Files cannot be written where they should go, or not over what is there."""


class Draft(io.RawIOBase):
    """A file under a temporary name, hashed as it is written; made by ``draft``."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.size = 0
        self._hash = hashlib.sha256()
        self._file = path.open("wb", buffering=0)

    def write(self, data: object, /) -> int:
        """Write all of ``data``; raises OSError."""
        left = memoryview(data).cast("B")  # type: ignore[arg-type]
        length = len(left)
        while left:
            done = self._file.write(left)
            self._hash.update(left[:done])
            left = left[done:]
        self.size += length
        return length

    def writable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """Return how many bytes were written."""
        return self.size

    @property
    def sha256(self) -> str:
        """The checksum of what was written."""
        return self._hash.hexdigest()

    def finish(self, path: Path) -> None:
        """Put the file under its final name, on disk when this returns."""
        os.fsync(self._file.fileno())
        self._file.close()
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path.replace(path)
        sync_directory(path.parent)

    def discard(self) -> None:
        """Leave nothing of it; does nothing to one that is finished."""
        if not self._file.closed:
            self._file.close()
            self.path.unlink(missing_ok=True)


@contextmanager
def draft(folder: Path, name: str) -> Iterator[Draft]:
    """Lend a file to be written and then finished; whatever happens, no half of it stays. Raises LakeRefused."""
    path = folder / f".{name}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        new = Draft(path)
    except OSError as problem:
        raise refused(problem, path) from problem
    try:
        yield new
    except OSError as problem:
        raise refused(problem, path) from problem
    finally:
        new.discard()


def write_whole(path: Path, data: bytes) -> None:
    """Put a small file in its place in one step. Raises LakeRefused."""
    with draft(path.parent, path.name) as file:
        file.write(data)
        file.finish(path)


def checksum(path: Path) -> tuple[int, str]:
    """Return the size and the SHA-256 of a file. Raises OSError."""
    found, size = hashlib.sha256(), 0
    with path.open("rb", buffering=0) as file:
        while block := file.read(_BLOCK):
            found.update(block)
            size += len(block)
    return size, found.hexdigest()


def sync_directory(path: Path) -> None:
    """Return once the names in a directory outlive a crash of the machine."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def held(directory: Path) -> Iterator[None]:
    """Have a directory, made if need be, for ourselves; one that was made and stays empty goes again.

    Raises ConfigError when it is none, LakeRefused when another export has it.
    """
    was_there = directory.exists()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        handle = os.open(directory, os.O_RDONLY)
    except (FileExistsError, NotADirectoryError) as problem:
        raise ConfigError(
            "this is no directory", subject=str(directory), hint="Give one, or a name that is free"
        ) from problem
    except OSError as problem:
        raise refused(problem, directory) from problem
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as problem:
            raise LakeRefused(
                "another export writes here", subject=str(directory), hint="Let it end, or give another directory"
            ) from problem
        yield
    finally:
        os.close(handle)
        if not was_there:
            with suppress(OSError):  # something is in it
                directory.rmdir()


def refused(problem: OSError, path: Path) -> LakeRefused:
    """Return our error for the system's."""
    hint = "What was finished stays; the same command goes on from there"
    return LakeRefused(f"cannot write: {problem.strerror or problem}", subject=str(path), hint=hint)
