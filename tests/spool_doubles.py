"""The simulated world's disk for tests that step through calls: it fails on demand, and is cut off at any of them."""

import errno
import random
from collections.abc import Callable, Mapping

from crypto_quant.sim.world.volume import Volume


class PowerCut(BaseException):
    """The machine has gone down in the middle of a call."""


class ForgetfulDisk(Volume):
    """The contents of one directory, as a program sees them and as a crash leaves them.

    ``calls`` counts every call that changes something; ``cut_at`` is the number of the call in which the power goes,
    ``fails(number, call)`` says which calls raise ENOSPC, after having written a part.
    """

    def __init__(self, rng: random.Random | None = None, files: Mapping[str, bytes] | None = None) -> None:
        super().__init__(files)
        self.rng = rng or random.Random(1)  # noqa: S311
        self.calls = 0
        self.cut_at: int | None = None
        self.fails: Callable[[int, str], bool] = lambda _number, _call: False
        self.open = 0

    def after_crash(self) -> "ForgetfulDisk":
        """Return the disk as the next start finds it: any part of what was not synced may be missing or torn."""
        return ForgetfulDisk(self.rng, self.survivors(self.rng))

    def step(self, call: str) -> bool:
        """Count a call; return whether it is to fail, or cut the power."""
        self.calls += 1
        if self.calls == self.cut_at:
            raise PowerCut
        return self.fails(self.calls, call)


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
        self._refuse("read")
        return bytes(self.disk.names[name].content)

    async def write(self, name: str, offset: int, data: bytes) -> None:
        disk = self.disk
        try:
            failing = disk.step("write")
        except PowerCut:
            disk.write(name, offset, data[: disk.rng.randrange(len(data) + 1)])
            raise
        if failing:
            disk.write(name, offset, data[: disk.rng.randrange(len(data))])
            raise OSError(errno.ENOSPC, "No space left on device")
        disk.write(name, offset, data)

    async def truncate(self, name: str, size: int) -> None:
        self._refuse("truncate")
        self.disk.truncate(name, size)

    async def sync(self, name: str) -> None:
        failing = self.disk.step("sync")
        self.disk.sync(name, fails=failing)
        if failing:
            raise OSError(errno.EIO, "Input/output error")

    async def rename(self, name: str, new_name: str) -> None:
        self._refuse("rename")
        self.disk.rename(name, new_name)

    async def remove(self, name: str) -> None:
        self._refuse("remove")
        self.disk.remove(name)

    async def sync_names(self) -> None:
        self._refuse("sync_names")
        self.disk.sync_names()

    async def close(self) -> None:
        self.closed += 1

    def _refuse(self, call: str) -> None:
        if self.disk.step(call):
            raise OSError(errno.EIO, "Input/output error")
