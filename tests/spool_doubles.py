"""A disk in memory that forgets what was not synced, fails on demand, and can be cut off at any call."""

import errno
import random
from collections.abc import Callable


class PowerCut(BaseException):
    """The machine has gone down in the middle of a call."""


class _Inode:
    def __init__(self) -> None:
        self.content = bytearray()
        self.synced = b""
        self.unsynced: list[tuple[int, bytes]] = []  # writes since the last sync; a cut is one of no bytes


class ForgetfulDisk:
    """The contents of one directory, as a program sees them and as a crash leaves them.

    ``calls`` counts every call that changes something; ``cut_at`` is the number of the call in which the power goes,
    ``fails(number, call)`` says which calls raise ENOSPC, after having written a part.
    """

    def __init__(self, rng: random.Random | None = None) -> None:
        self.names: dict[str, _Inode] = {}
        self.synced_names: dict[str, _Inode] = {}
        self.rng = rng or random.Random(1)  # noqa: S311
        self.calls = 0
        self.cut_at: int | None = None
        self.fails: Callable[[int, str], bool] = lambda _number, _call: False
        self.open = 0

    def after_crash(self) -> "ForgetfulDisk":
        """Return the disk as the next start finds it: any part of what was not synced may be missing or torn."""
        disk = ForgetfulDisk(self.rng)
        changed = {name for name in {*self.names, *self.synced_names}
                   if self.names.get(name) is not self.synced_names.get(name)}  # fmt: skip
        after = dict(self.synced_names)
        for name in sorted(changed):
            if self.rng.random() < 0.5:
                if name in self.names:
                    after[name] = self.names[name]
                else:
                    after.pop(name, None)
        for name, inode in after.items():
            kept = _Inode()
            kept.content = bytearray(self._torn(inode))
            kept.synced = bytes(kept.content)
            disk.names[name] = disk.synced_names[name] = kept
        return disk

    def _torn(self, inode: _Inode) -> bytes:
        content = bytearray(inode.synced)
        for offset, data in inode.unsynced:
            match self.rng.randrange(4):
                case 0:  # not a byte of it
                    pass
                case 1:  # all of it
                    _apply(content, offset, data)
                case 2:  # its beginning
                    _apply(content, offset, data[: self.rng.randrange(len(data) + 1)])
                case 3:  # the size has grown and the blocks were never written
                    _apply(content, offset, data[: self.rng.randrange(len(data) + 1)] + bytes(self.rng.randrange(64)))
        return bytes(content)

    def step(self, call: str) -> bool:
        """Count a call; return whether it is to fail, or cut the power."""
        self.calls += 1
        if self.calls == self.cut_at:
            raise PowerCut
        return self.fails(self.calls, call)


def _apply(content: bytearray, offset: int, data: bytes) -> None:
    content.extend(bytes(max(0, offset - len(content))))
    content[offset : offset + len(data)] = data


class ForgetfulFiles:
    """``seams.SpoolFiles`` on a ``ForgetfulDisk``."""

    directory = "/spool/1"

    def __init__(self, disk: ForgetfulDisk) -> None:
        self.disk = disk
        self.closed = 0
        disk.open += 1

    async def sizes(self) -> dict[str, int]:
        names = sorted(name for name in self.disk.names if name.endswith(".spool"))
        return {name: len(self.disk.names[name].content) for name in names}

    async def read(self, name: str) -> bytes:
        if self.disk.step("read"):
            raise OSError(errno.EIO, "Input/output error")
        return bytes(self.disk.names[name].content)

    async def write(self, name: str, offset: int, data: bytes) -> None:
        disk = self.disk
        try:
            failing = disk.step("write")
        except PowerCut:
            self._write(name, offset, data[: disk.rng.randrange(len(data) + 1)])
            raise
        if failing:
            self._write(name, offset, data[: disk.rng.randrange(len(data))])
            raise OSError(errno.ENOSPC, "No space left on device")
        self._write(name, offset, data)

    def _write(self, name: str, offset: int, data: bytes) -> None:
        inode = self.disk.names.setdefault(name, _Inode())
        inode.unsynced.append((offset, data))
        _apply(inode.content, offset, data)

    async def truncate(self, name: str, size: int) -> None:
        if self.disk.step("truncate"):
            raise OSError(errno.EIO, "Input/output error")
        del self.disk.names[name].content[size:]

    async def sync(self, name: str) -> None:
        inode = self.disk.names[name]
        pending, failing = inode.unsynced, self.disk.step("sync")
        inode.unsynced = []
        if failing:
            # as Linux does it: what could not be written is forgotten, and the next sync says that all is well
            raise OSError(errno.EIO, "Input/output error")
        content = bytearray(inode.synced)
        for offset, data in pending:
            _apply(content, offset, data)
        inode.synced = bytes(content)

    async def rename(self, name: str, new_name: str) -> None:
        if self.disk.step("rename"):
            raise OSError(errno.EIO, "Input/output error")
        self.disk.names[new_name] = self.disk.names.pop(name)

    async def remove(self, name: str) -> None:
        if self.disk.step("remove"):
            raise OSError(errno.EIO, "Input/output error")
        if name not in self.disk.names:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", name)
        del self.disk.names[name]

    async def sync_names(self) -> None:
        if self.disk.step("sync_names"):
            raise OSError(errno.EIO, "Input/output error")
        self.disk.synced_names = dict(self.disk.names)

    async def close(self) -> None:
        self.closed += 1
