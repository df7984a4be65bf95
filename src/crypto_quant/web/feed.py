"""What the page shows of the recorders, worked out once for all who look, and what each of them has not seen yet.

There is no queue for anybody: who is slow gets, when it is ready again, what has changed since the version that it has
seen, in one message. So a thousand lookers cost a thousand integers, and a stopped one nothing that grows.
"""

import asyncio
import secrets
from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import msgspec

from crypto_quant.market import NS_PER_MS
from crypto_quant.ops.board import Board
from crypto_quant.seams import Clock
from crypto_quant.snapshot import Snapshot
from crypto_quant.web import board_json
from crypto_quant.web.verdict import Level, Verdict, verdict, worst

# so many points of the charts are kept, about one a second
HISTORY = 600
# without a change everybody gets a word as often, so that a connection that is dead is noticed
HEARTBEAT_S = 2.0
# what is not new for so long is looked at again: a board that goes stale does not change
_RECONSIDER_S = 1.0

_encode = msgspec.json.Encoder().encode


class Boards(Protocol):
    """What is needed of ``follow.Follower``."""

    version: int

    @property
    def boards(self) -> Mapping[Path, Board]:
        """The latest of each board, by its file."""
        ...

    async def changed(self, since: int) -> int:
        """Return the version once it is greater than ``since``."""
        ...

    def unchanged_s(self, path: Path) -> float:
        """Return for how long a board has shown the same."""
        ...


class Seen(msgspec.Struct, frozen=True):
    """What a looker has seen: of which recorder, up to which version."""

    recorder: str
    version: int


class _Shown:
    """One recorder: its parts as they were sent last, with the version in which each changed."""

    def __init__(self, history: "deque[tuple[int, list[float | None]]]") -> None:
        self.parts: dict[str, tuple[int, bytes]] = {}
        self.history = history
        self.started_ns = 0
        self.taken_ns = 0
        self.verdict = Verdict(Level.BUSY, "Starting")

    def update(self, version: int, shown: Snapshot, found: Verdict, *, alive: bool) -> bool:
        """Take what a board shows; return whether anything of it is new."""
        new = False
        for name, text in board_json.parts(shown, found, alive=alive).items():
            if name not in self.parts or self.parts[name][1] != text:
                self.parts[name] = (version, text)
                new = True
        self.started_ns = shown.started_ns
        if shown.taken_ns != self.taken_ns:
            self.taken_ns = shown.taken_ns
            self.history.append((version, board_json.point(shown)))
        self.verdict = found
        return new


class Feed:
    """Follows the boards and hands out messages; ``run`` keeps it current."""

    def __init__(self, follower: Boards, clock: Clock) -> None:
        self.version = 0
        # what tells a looker that another process answers now, whose versions mean nothing to it
        self.epoch = secrets.token_hex(4)
        self._closing = asyncio.Event()
        self._follower = follower
        self._clock = clock
        self._shown: dict[Path, _Shown] = {}
        self._list: list[dict[str, Any]] = []
        self._listed = 0
        self._news = asyncio.Event()

    async def run(self) -> None:
        """Follow until cancelled."""
        since = -1
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_RECONSIDER_S):
                    since = await self._follower.changed(since)
            self.look()

    def look(self) -> None:
        """Take over what the boards show now."""
        version = self.version + 1
        # one that has just begun shows nothing yet
        boards = {path: (board, board.snapshot) for path, board in self._follower.boards.items() if board.snapshot}
        new = False
        for path, (board, shown) in boards.items():
            if path not in self._shown or self._another(path, shown):
                self._shown[path] = _Shown(self._inherited(path, shown))
            found = verdict(
                shown,
                alive=board.alive,
                unchanged_s=self._follower.unchanged_s(path),
                succeeded=_succeeded(shown, boards.values()),
            )
            new |= self._shown[path].update(version, shown, found, alive=board.alive)
        for path in self._shown.keys() - boards.keys():
            del self._shown[path]
        listed = [self._about(path, *each) for path, each in boards.items()]
        if listed != self._list:
            self._list, self._listed, new = listed, version, True
        if new:
            self.version = version
            self._wake()

    async def changed(self, since: int, within_s: float) -> None:
        """Return when there is a newer version than ``since``, after ``within_s``, or when this is closed."""
        if self.version > since or self.closed:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._news.wait()

    async def pause(self, seconds: float) -> None:
        """Return after so long, or when this is closed."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._closing.wait()

    @property
    def closed(self) -> bool:
        """Whether everybody is to go."""
        return self._closing.is_set()

    def close(self) -> None:
        """Let everybody go."""
        self._closing.set()
        self._wake()

    def message(self, seen: Seen | None, wanted: str | None) -> tuple[str, bytes, Seen]:
        """Return what a looker gets next: the kind of the event, its JSON, and what the looker has then seen.

        ``state`` is all there is, ``tick`` what has changed since ``seen``. ``wanted`` is the recorder asked for (its
        process id); without it, or when it is gone, it is the one that began last of those that live.
        """
        path = self._chosen(wanted)
        key = path.stem if path else ""
        since = seen.version if seen and seen.recorder == key and seen.version <= self.version else -1
        kind = "state" if since < 0 else "tick"
        fields: dict[str, Any] = {
            "epoch": self.epoch,
            "now": self._clock.now_ns() // NS_PER_MS,
            "recorder": key,
        }
        if kind == "state":
            fields["point"] = board_json.POINT
        if self._listed > since or kind == "state":
            fields["recorders"] = self._list
            fields["level"] = worst([Level(each["level"]) for each in self._list])
        if path:
            shown = self._shown[path]
            fields["parts"] = {name: msgspec.Raw(text) for name, (at, text) in shown.parts.items() if at > since}
            fields["points"] = [values for at, values in shown.history if at > since]
        return kind, _encode(fields), Seen(key, self.version)

    def _chosen(self, wanted: str | None) -> Path | None:
        for path in self._shown:
            if path.stem == wanted:
                return path
        alive = {path for path, board in self._follower.boards.items() if board.alive}
        return max(self._shown, key=lambda path: (path in alive, self._shown[path].started_ns, path.name), default=None)

    def _about(self, path: Path, board: Board, shown: Snapshot) -> dict[str, Any]:
        found = self._shown[path].verdict
        return {
            "key": path.stem,
            "pid": shown.pid,
            "venue": shown.venue,
            "symbols": shown.symbols,
            "alive": board.alive,
            "level": found.level,
            "title": found.title,
        }

    def _another(self, path: Path, shown: Snapshot) -> bool:
        """Return whether a board of this name is another recorder's: process ids are used again."""
        before = self._shown[path]
        return shown.taken_ns < before.taken_ns or shown.started_ns > before.taken_ns > 0

    def _inherited(self, path: Path, shown: Snapshot) -> "deque[tuple[int, list[float | None]]]":
        """Return the history that a recorder goes on with: that of the one in whose place it has come."""
        history: deque[tuple[int, list[float | None]]] = deque(maxlen=HISTORY)
        for other, before in self._shown.items():
            board = self._follower.boards.get(other)
            past = board.snapshot if board else None
            gone = other == path or (board is not None and not board.alive)
            if past and gone and past.venue == shown.venue and before.taken_ns <= shown.started_ns and before.history:
                history.extend(before.history)
                history.append((history[-1][0], [history[-1][1][0], *[None] * (len(board_json.POINT) - 1)]))
                break
        return history

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()


def _succeeded(shown: Snapshot, boards: Iterable[tuple[Board, Snapshot]]) -> bool:
    """Return whether a living recorder of the same market has begun after this one showed itself last."""
    return any(
        board.alive and other.venue == shown.venue and other.started_ns >= shown.taken_ns for board, other in boards
    )
