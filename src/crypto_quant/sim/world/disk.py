"""The disk of the recorder's machine: the spool, what was set aside, and what a drain has left.

A process that is killed leaves everything that it had written; a power cut leaves what was synced, and of the rest any
part. Calls of the spool take virtual time, in pieces, so that either can happen in the midst of one.
"""

import asyncio
import contextlib
import errno
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random

from crypto_quant import events
from crypto_quant.seams import Batch, Table
from crypto_quant.sim.world.exchange import Exchange
from crypto_quant.sim.world.volume import Inode, Volume

_SPOOL = ".spool"
_LEFT = ".copy"
# while the disk fails, so many of its calls do
_FAILING = 0.7


class Disk:
    """Three directories, and the health of the disk that they are on. Times are loop time.

    ``archive`` is a directory of the real disk, for files of the archive.
    """

    def __init__(self, exchange: Exchange, archive: Path, machine: str) -> None:
        self.archive = archive
        self.spool = Volume()
        self.full_until_s = self.failing_until_s = self.slow_until_s = 0.0
        # what could not be kept because the disk refused: rows of a drain, things to set aside
        self.save_refused = self.set_aside_refused = 0
        self.dice = Random(f"disk of {machine} {exchange.plan.seed}")  # noqa: S311
        self.rotten: list[Inode] = []
        # called when a record is half written
        self.in_write: Callable[[], None] | None = None
        self._aside = Volume()
        self._left = Volume()
        self._files_left = 0
        self._exchange = exchange

    # -- what happens to it ------------------------------------------------------------------------------

    def strike(self, kind: str, for_s: float) -> None:
        """Let a misfortune of ``diskplan.KINDS`` happen."""
        until_s = self._exchange.loop.time() + for_s
        if kind == "disk full":
            self.full_until_s = until_s
        elif kind == "disk fails":
            self.failing_until_s = until_s
        elif kind == "disk slow":
            self.slow_until_s = until_s
        elif kind == "disk rots":
            self._rot()
        else:
            self.power_cut()

    def heal(self) -> None:
        """Let every misfortune be over."""
        self.full_until_s = self.failing_until_s = self.slow_until_s = 0.0

    def power_cut(self) -> None:
        """Forget what was not synced, or a part of it."""
        self.spool, self._aside, self._left = (
            Volume(volume.survivors(self.dice)) for volume in (self.spool, self._aside, self._left)
        )
        sizes = {name: len(inode.content) for name, inode in sorted(self.spool.names.items())}
        self._exchange.trace("disk", f"the power was cut; left of the spool: {sizes}")

    def _rot(self) -> None:
        """Turn one digit of a file of the spool into another; checksums alone can tell."""
        at_rest = (name for name, inode in self.spool.names.items() if name.endswith(_SPOOL) and not inode.unsynced)
        names = sorted(at_rest)
        if not names:
            return
        inode = self.spool.names[self.dice.choice(names)]
        places = [at for at, byte in enumerate(inode.content) if 0x30 <= byte <= 0x39]
        if places:
            at = self.dice.choice(places)
            inode.content[at] = 0x30 + (inode.content[at] - 0x30 + self.dice.randint(1, 9)) % 10
            inode.synced = bytes(inode.content)
            self.rotten.append(inode)
            self._exchange.trace("disk", f"byte {at} of a file of the spool has rotted")

    # -- what programs do with it ------------------------------------------------------------------------

    def health(self, *, growing: bool = False) -> None:
        """Raise what a call would raise now."""
        now_s = self._exchange.loop.time()
        if now_s < self.failing_until_s and self.dice.random() < _FAILING:
            raise OSError(errno.EIO, "Input/output error")
        if growing and now_s < self.full_until_s:
            raise OSError(errno.ENOSPC, "No space left on device")

    async def busy(self) -> None:
        """Let the time of a call pass."""
        slow = self._exchange.loop.time() < self.slow_until_s
        await asyncio.sleep(self.dice.uniform(0.05, 3.0) if slow else self.dice.uniform(0.00002, 0.002))

    def keep(self, kind: str, raw: bytes, reason: str) -> bool:
        """Append what is set aside to a file, unsynced, as the recorder does; tell whether the disk has taken it."""
        line = f"{kind}\t{reason}\t{raw.hex()}\n".encode()
        inode = self._aside.names.get(kind)
        end = len(inode.content) if inode else 0
        if inode and end and inode.content[-1:] != b"\n":
            line = b"\n" + line
        try:
            self.health(growing=True)
        except OSError:
            self.set_aside_refused += 1
            self._aside.write(kind, end, line[: self.dice.randrange(len(line))])
            return False
        self._aside.write(kind, end, line)
        return True

    def rows_aside(self) -> Iterator[bytes]:
        """Yield the rows that were set aside and are still there."""
        inode = self._aside.names.get("row")
        for line in bytes(inode.content).split(b"\n") if inode else ():
            # the beginning of a line that was cut off stands alone, and is no row
            with contextlib.suppress(ValueError):
                raw = bytes.fromhex(line.split(b"\t")[-1].decode())
                if raw.endswith(b"\n"):
                    yield raw

    def save(self, batches: Sequence[Batch]) -> list[events.RowsLeft]:
        """Save what the drain could not store, whole or not at all. Raises OSError."""
        told = []
        for table in Table:
            rows = [row for batch in batches if batch.table is table for row in batch.rows]
            if rows:
                self._files_left += 1
                name = f"{self._files_left:08}-{table}"
                try:
                    self._save(name, b"".join(rows))
                except OSError:
                    self.save_refused += 1
                    raise
                told.append(events.RowsLeft(rows=len(rows), file=name + _LEFT, hint=""))
        return told

    def _save(self, name: str, content: bytes) -> None:
        self.health(growing=True)
        self._left.write(name + ".part", 0, content)
        try:
            self.health()
        except OSError:
            self._left.sync(name + ".part", fails=True)
            raise
        self._left.sync(name + ".part")
        self._left.rename(name + ".part", name + _LEFT)
        self._left.sync_names()

    def take_left(self) -> list[Batch]:
        """Return what drains have left, and delete the files."""
        batches = []
        for name in sorted(self._left.names):
            stem, dot, _ = name.partition(_LEFT)
            if dot:
                lines = bytes(self._left.names[name].content).splitlines(keepends=True)
                batches.append(Batch(Table(stem.partition("-")[2]), lines))
                self._left.remove(name)
        self._left.sync_names()
        return batches


class WorldFiles:
    """``SpoolFiles`` of the process in whose context it is called."""

    directory = "spool/1"

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    async def sizes(self) -> dict[str, int]:
        """Return name and size of every segment, in the order of the names."""
        await self._call()
        names = self._disk.spool.names
        return {name: len(names[name].content) for name in sorted(names) if name.endswith(_SPOOL)}

    async def read(self, name: str) -> bytes:
        """Return the whole file."""
        await self._call()
        if name not in self._disk.spool.names:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", name)
        return bytes(self._disk.spool.names[name].content)

    async def write(self, name: str, offset: int, data: bytes) -> None:
        """Put the data there, piece by piece."""
        disk = self._disk
        cut = disk.dice.randrange(len(data) + 1)
        await disk.busy()
        disk.spool.write(name, offset, data[:cut])
        if disk.in_write is not None:
            disk.in_write()
        await disk.busy()
        disk.health(growing=True)
        disk.spool.write(name, offset + cut, data[cut:])

    async def truncate(self, name: str, size: int) -> None:
        """Cut the file back."""
        await self._call()
        self._disk.spool.truncate(name, size)

    async def sync(self, name: str) -> None:
        """Bring the content to safety, after a while."""
        disk = self._disk
        await disk.busy()
        try:
            disk.health()
        except OSError:
            disk.spool.sync(name, fails=True)
            raise
        disk.spool.sync(name)
        await disk.busy()

    async def rename(self, name: str, new_name: str) -> None:
        """Give the file another name."""
        await self._call()
        self._disk.spool.rename(name, new_name)

    async def remove(self, name: str) -> None:
        """Delete the file."""
        await self._call()
        self._disk.spool.remove(name)

    async def sync_names(self) -> None:
        """Bring the names to safety."""
        await self._call()
        self._disk.spool.sync_names()
        await self._disk.busy()

    async def close(self) -> None:
        """Let others have the directory; there is one recorder at a time."""

    async def _call(self) -> None:
        await self._disk.busy()
        self._disk.health()
