"""The boards as they change: the latest snapshot of each recorder, and a way to wait for the next."""

import asyncio
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from crypto_quant.ops.board import Board, boards, read

POLL_S = 0.5
# so long a recorder that has ended, and has taken its board down, is still told of
REMEMBER_S = 60.0


class Follower:
    """Looks at every board in ``directory``, or at the one file ``only``, and tells of what has changed.

    ``boards`` has the latest of each by its file. One that is not ``alive`` is kept for as long as its file stands,
    which a recorder that was killed leaves behind until the next one starts; a recorder that has ended takes it down,
    and is kept for a minute more, in ``ended`` as well. ``version`` grows with each change.
    """

    def __init__(
        self,
        directory: Path,
        only: Path | None = None,
        poll_s: float = POLL_S,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.boards: Mapping[Path, Board] = MappingProxyType({})
        self.ended: frozenset[Path] = frozenset()
        self.version = 0
        self._directory = directory
        self._only = only
        self._poll_s = poll_s
        self._monotonic = monotonic
        self._changed_s: dict[Path, float] = {}
        self._news = asyncio.Event()

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(self._poll_s)

    async def look(self) -> None:
        """Look once. The files are read in a thread: a disk that hangs holds up nobody who waits for an answer."""
        found = await asyncio.to_thread(self._read)
        now_s = self._monotonic()
        latest: dict[Path, Board] = {}
        for path, board in found.items():
            before = self.boards.get(path)
            if board.snapshot is None and before is not None and before.alive == board.alive:
                # it is being written over just now
                board = Board(path, board.alive, before.snapshot)  # noqa: PLW2901
            latest[path] = board
        for path, before in self.boards.items():
            # what was taken down without a word is nothing to tell of
            if path not in latest and before.snapshot is not None:
                if before.alive:
                    latest[path] = Board(path, False, before.snapshot)
                elif now_s - self._changed_s[path] < REMEMBER_S:
                    latest[path] = before
        changed = [path for path, board in latest.items() if not _same(self.boards.get(path), board)]
        ended = frozenset(latest.keys() - found.keys())
        if not changed and latest.keys() == self.boards.keys() and ended == self.ended:
            return
        self._changed_s = {path: now_s if path in changed else self._changed_s[path] for path in latest}
        self.boards = MappingProxyType(latest)
        self.ended = ended
        self.version += 1
        self._news.set()
        self._news = asyncio.Event()

    async def changed(self, since: int) -> int:
        """Return the version once it is greater than ``since``. Cancelling is safe."""
        while self.version <= since:
            await self._news.wait()
        return self.version

    def unchanged_s(self, path: Path) -> float:
        """Return for how long a board in ``boards`` has shown the same, by the clock that nobody sets."""
        return self._monotonic() - self._changed_s[path]

    def _read(self) -> dict[Path, Board]:
        if self._only is None:
            return {board.path: board for board in boards(self._directory)}
        try:
            return {self._only: read(self._only)}
        except OSError:
            return {}


def _same(one: Board | None, other: Board) -> bool:
    return (
        one is not None
        and one.alive == other.alive
        and (one.snapshot and (one.snapshot.pid, one.snapshot.started_ns, one.snapshot.taken_ns))
        == (other.snapshot and (other.snapshot.pid, other.snapshot.started_ns, other.snapshot.taken_ns))
    )
