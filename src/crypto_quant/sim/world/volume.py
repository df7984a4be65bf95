"""A directory of a disk that forgets: what was not synced may be lost when the power goes, wholly or torn at any byte.

Pure: no time passes in here, and the dice are handed in.
"""

from collections.abc import Mapping
from random import Random


class Inode:
    """One file's bytes: ``content`` is what programs read, ``synced`` what outlives a power cut for certain."""

    def __init__(self, content: bytes = b"") -> None:
        self.content = bytearray(content)
        self.synced = content
        # since the last sync, in order: bytes written at an offset, or (None) the file cut off there
        self.unsynced: list[tuple[int, bytes | None]] = []


class Volume:
    """The files of one directory, as programs see them and as a power cut leaves them.

    A process that dies changes nothing here. ``files`` are there from the beginning, synced. Calls raise
    FileNotFoundError where a file system does.
    """

    def __init__(self, files: Mapping[str, bytes] | None = None) -> None:
        self.names = {name: Inode(content) for name, content in (files or {}).items()}
        self._synced_names = dict(self.names)
        # changes of names since the last `sync_names`, in order: name -> file (None: gone); each holds whole or not
        self._changes: list[dict[str, Inode | None]] = []

    def write(self, name: str, offset: int, data: bytes) -> None:
        """Put ``data`` at ``offset``; the file is made when it is not there."""
        if name not in self.names:
            self._change({name: Inode()})
        inode = self.names[name]
        inode.unsynced.append((offset, data))
        _apply(inode.content, offset, data)

    def truncate(self, name: str, size: int) -> None:
        """Cut the file back to ``size`` bytes."""
        inode = self._inode(name)
        inode.unsynced.append((size, None))
        _apply(inode.content, size, None)

    def sync(self, name: str, *, fails: bool = False) -> None:
        """Bring the file's content to safety.

        One that ``fails`` does as Linux does: what could not be written is forgotten, and the next sync says that all
        is well.
        """
        inode = self._inode(name)
        pending, inode.unsynced = inode.unsynced, []
        if not fails:
            content = bytearray(inode.synced)
            for offset, data in pending:
                _apply(content, offset, data)
            inode.synced = bytes(content)

    def rename(self, name: str, new_name: str) -> None:
        """Give the file another name, at once or not at all."""
        self._change({name: None, new_name: self._inode(name)})

    def remove(self, name: str) -> None:
        """Delete the file."""
        self._inode(name)
        self._change({name: None})

    def sync_names(self) -> None:
        """Bring the names to safety."""
        self._synced_names = dict(self.names)
        self._changes.clear()

    def survivors(self, dice: Random) -> dict[str, bytes]:
        """Return the files after a power cut: of what was not synced any part may be missing or torn."""
        names = dict(self._synced_names)
        for change in self._changes:
            if dice.random() < 0.5:
                _rename(names, change)
        return {name: _torn(inode, dice) for name, inode in names.items()}

    def _inode(self, name: str) -> Inode:
        if name not in self.names:
            raise FileNotFoundError(2, "No such file or directory", name)
        return self.names[name]

    def _change(self, change: dict[str, Inode | None]) -> None:
        self._changes.append(change)
        _rename(self.names, change)


def _rename(names: dict[str, Inode], change: Mapping[str, Inode | None]) -> None:
    for name, inode in change.items():
        if inode is None:
            names.pop(name, None)
        else:
            names[name] = inode


def _torn(inode: Inode, dice: Random) -> bytes:
    content = bytearray(inode.synced)
    for offset, data in inode.unsynced:
        if data is None:
            if dice.random() < 0.5:
                _apply(content, offset, None)
            continue
        match dice.randrange(4):
            case 0:  # not a byte of it
                pass
            case 1:  # all of it
                _apply(content, offset, data)
            case 2:  # its beginning
                _apply(content, offset, data[: dice.randrange(len(data) + 1)])
            case 3:  # the size has grown and the blocks were never written
                _apply(content, offset, data[: dice.randrange(len(data) + 1)] + bytes(dice.randrange(64)))
    return bytes(content)


def _apply(content: bytearray, offset: int, data: bytes | None) -> None:
    if data is None:
        del content[offset:]
        return
    content.extend(bytes(max(0, offset - len(content))))
    content[offset : offset + len(data)] = data
