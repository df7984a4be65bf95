"""The spool's files on a real disk: whose they are, and the calls that make bytes outlive a crash."""

import asyncio
import fcntl
import os
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from crypto_quant.spoolformat import SUFFIX
from crypto_quant.store.url import hosts_of, parameters_of

_LOCK = "lock"
_TARGET = "target"
_DEFAULT_PORT = 5432


class Elsewhere(msgspec.Struct, frozen=True):
    """A spool with rows for another database."""

    directory: Path
    target: str
    size_bytes: int


class DirectoryFiles:
    """A ``seams.SpoolFiles`` in a directory that is locked for as long as this lives; made by ``claim``.

    Each call runs in a thread, because a disk may take seconds to answer.
    """

    def __init__(self, directory: Path, lock: int) -> None:
        self.directory = str(directory)
        self._path = directory
        self._lock = lock

    async def sizes(self) -> dict[str, int]:
        """Return the name and the size in bytes of every segment, in the order of the names."""
        return await asyncio.to_thread(_segments, self._path)

    async def read(self, name: str) -> bytes:
        """Return the whole file."""
        return await asyncio.to_thread((self._path / name).read_bytes)

    async def write(self, name: str, offset: int, data: bytes) -> None:
        """Put ``data`` at ``offset``; the file is made when it is not there."""
        await asyncio.to_thread(_write, self._path / name, offset, data)

    async def truncate(self, name: str, size: int) -> None:
        """Cut the file back to ``size`` bytes."""
        await asyncio.to_thread(os.truncate, self._path / name, size)

    async def sync(self, name: str) -> None:
        """Return once the content of the file is on the disk."""
        await asyncio.to_thread(_sync, self._path / name)

    async def rename(self, name: str, new_name: str) -> None:
        """Give the file another name."""
        await asyncio.to_thread(os.rename, self._path / name, self._path / new_name)

    async def remove(self, name: str) -> None:
        """Delete the file."""
        await asyncio.to_thread(os.unlink, self._path / name)

    async def sync_names(self) -> None:
        """Return once the directory is on the disk."""
        await asyncio.to_thread(_sync, self._path)

    async def close(self) -> None:
        """Let others have the directory."""
        self.unlock()

    def unlock(self) -> None:
        """Do what ``close`` does, at once."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def target_of(url: str) -> str:
    """Return what a spool's rows are meant for: the address of a database, without user, password and options.

    Of several servers all are named, in the order of their names: whichever is the primary, it is one database.
    """
    options = parameters_of(url)
    hosts = sorted(f"{_known_as(host)}:{port or _DEFAULT_PORT}" for host, port in hosts_of(url))
    name = options.get("dbname", options.get("database", urlsplit(url).path.strip("/")))
    return f"{','.join(hosts) or ':' + options.get('port', str(_DEFAULT_PORT))}/{name}"


def _known_as(host: str) -> str:
    return host if host.startswith("/") else host.lower()


def spools_of(root: Path, target: str) -> list[Path]:
    """Return the spools below ``root`` that are for ``target``, in their order. Nothing is locked. Raises OSError."""
    try:
        numbered = sorted((path for path in root.iterdir() if path.name.isdecimal()), key=lambda path: int(path.name))
    except FileNotFoundError:
        return []
    return [path for path in numbered if _read_target(path) == target]


def segments_of(directory: Path) -> list[Path]:
    """Return the segments of a spool, oldest first. Raises OSError."""
    return sorted(path for path in directory.iterdir() if path.suffix == SUFFIX and path.stem.isdecimal())


def claim(root: Path, target: str) -> tuple[DirectoryFiles, list[Elsewhere]]:
    """Return a spool of our own below ``root`` for ``target``, and the spools there that are for other databases.

    Spools are the directories ``1``, ``2``, … Each has one writer at a time: a lock, which the system lets go of
    when its process ends in whatever way. What dead recorders have left for the same target is moved into ours.
    Raises OSError.
    """
    root.mkdir(parents=True, exist_ok=True)
    present = sorted(int(path.name) for path in root.iterdir() if path.name.isdecimal())
    held: list[DirectoryFiles] = []
    elsewhere = []
    own: DirectoryFiles | None = None
    try:
        for number in present:
            directory = root / str(number)
            lock = _locked(directory)
            if lock is None:
                continue
            held.append(DirectoryFiles(directory, lock))
            meant_for, sizes = _read_target(directory), _segments(directory)
            if sizes and meant_for != target:
                elsewhere.append(Elsewhere(directory, meant_for, sum(sizes.values())))
            elif own is None:
                own = held[-1]
                _write_target(directory, target)
            else:
                _move(directory, Path(own.directory))
        number = 0
        while own is None:
            number += 1
            if number in present:
                continue
            directory = root / str(number)
            directory.mkdir(exist_ok=True)
            lock = _locked(directory)
            if lock is None:  # somebody else has made it in the same moment
                continue
            held.append(DirectoryFiles(directory, lock))
            if not _segments(directory):
                own = held[-1]
                _write_target(directory, target)
                _sync(root)
    except BaseException:
        own = None
        raise
    finally:
        for each in held:
            if each is not own:
                each.unlock()
    return own, elsewhere


def _locked(directory: Path) -> int | None:
    """Return the handle that holds the directory's lock, None when another recorder has it."""
    handle = os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    except BaseException:
        os.close(handle)
        raise
    return handle


def _read_target(directory: Path) -> str:
    try:
        return (directory / _TARGET).read_text("utf-8").strip()
    except FileNotFoundError:
        return ""


def _write_target(directory: Path, target: str) -> None:
    if _read_target(directory) == target:
        return
    part = directory / f"{_TARGET}.part"
    part.write_text(f"{target}\n", "utf-8")
    _sync(part)
    part.replace(directory / _TARGET)
    _sync(directory)


def _move(source: Path, destination: Path) -> None:
    """Move the segments behind those of another spool, each whole or not at all."""
    names = _segments(source)
    if not names:
        return
    last = max((int(Path(name).stem) for name in _segments(destination)), default=0)
    for number, name in enumerate(names, last + 1):
        (source / name).rename(destination / f"{number:08}{SUFFIX}")
    # the new names first: a crash in between may leave a file in both places, which changes nothing, or in one
    _sync(destination)
    _sync(source)


def _segments(directory: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in segments_of(directory)}


def _write(path: Path, offset: int, data: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        rest = memoryview(data)
        while rest:
            written = os.pwrite(handle, rest, offset)
            rest, offset = rest[written:], offset + written
    finally:
        os.close(handle)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
