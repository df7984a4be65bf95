"""Boards for tests of the page: changed at will, without a file or a recorder."""

from pathlib import Path
from types import MappingProxyType

from crypto_quant.ops.board import Board
from crypto_quant.snapshot import Snapshot


class Boards:
    """What ``web.feed.Boards`` asks for, set by hand."""

    def __init__(self) -> None:
        self.boards: MappingProxyType[Path, Board] = MappingProxyType({})
        self.version = 0
        self.unchanged: dict[Path, float] = {}

    def show(self, shown: Snapshot | None, *, name: str = "77", alive: bool = True) -> None:
        """Put up, or change, a board."""
        path = Path(f"{name}.board")
        self.boards = MappingProxyType({**self.boards, path: Board(path, alive, shown)})
        self.version += 1

    def take_down(self, name: str = "77") -> None:
        """Remove one."""
        self.boards = MappingProxyType({path: each for path, each in self.boards.items() if path.stem != name})
        self.version += 1

    async def changed(self, since: int) -> int:
        """Say at once that something has changed."""
        return max(self.version, since)

    def unchanged_s(self, path: Path) -> float:
        """As it was set."""
        return self.unchanged.get(path, 0.0)
