"""Turns at the archive's files: of several processes that share a directory one works on a month, the others wait.

Who waits looks afterwards at what is proven, and finds the work done. A lock ends with its process, however that
ends.
"""

import asyncio
import errno
import fcntl
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from crypto_quant.binance.archive import ArchiveFile

_LOOK_AGAIN_S = 0.2
# a file system that knows no locks: there nothing can be kept apart, and one process alone needs none
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL)


class FileTurns:
    """Lends the months of a directory to one process at a time; the tasks of that process share what it has."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        # per month of a series: the lock that is held (None where locks are unknown), and by how many tasks
        self._held: dict[str, tuple[int | None, int]] = {}
        self._asking: dict[str, asyncio.Lock] = {}

    @asynccontextmanager
    async def hold(self, file: ArchiveFile, waiting: Callable[[], None]) -> AsyncIterator[None]:
        """Have the month of a file's series, with its days, for as long as the block lasts.

        ``waiting`` is called once when another process has it. Raises OSError when the directory cannot be written.
        """
        name = f"{file.venue.value}-{file.symbol}-{file.stream}-{file.first:%Y-%m}.lock"
        async with self._asking.setdefault(name, asyncio.Lock()):
            if name not in self._held:
                self._held[name] = await self._lock(self._directory / name, waiting), 0
            self._held[name] = self._held[name][0], self._held[name][1] + 1
        try:
            yield
        finally:
            handle, tasks = self._held.pop(name)
            if tasks > 1:
                self._held[name] = handle, tasks - 1
            elif handle is not None:
                with suppress(OSError):
                    # deleted while it is locked: who opened it before finds out by its number, and opens the new one
                    (self._directory / name).unlink()
                os.close(handle)

    async def _lock(self, path: Path, waiting: Callable[[], None]) -> int | None:
        self._directory.mkdir(parents=True, exist_ok=True)
        told = False
        while True:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _same(handle, path):
                    return handle
            except BlockingIOError:
                if not told:
                    told = True
                    waiting()
            except OSError as problem:
                os.close(handle)
                if problem.errno in _NO_LOCKS:
                    return None
                raise
            os.close(handle)
            await asyncio.sleep(_LOOK_AGAIN_S if told else 0)


def _same(handle: int, path: Path) -> bool:
    """Tell whether a locked file is still the one of that name."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False
