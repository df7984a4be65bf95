"""When a batch is full: by size, by age, or because somebody asks. Pure: the time is handed in."""

from collections import deque
from collections.abc import Sized
from typing import Generic, TypeVar

_COMMITS_WAITED = 2
_LEAST_AGE_NS = 5_000_000
_MOST_AGE_NS = 50_000_000

Chunk = TypeVar("Chunk", bound=Sized)


def fitting_age_ns(commit_ns: int) -> int:
    """Return how long a batch may wait to be full when the last commit took ``commit_ns``: twice that, 5 to 50 ms.

    So a database that commits quickly has the rows at once, and a slow one is not asked all the time.
    """
    return min(_MOST_AGE_NS, max(_LEAST_AGE_NS, _COMMITS_WAITED * commit_ns))


class Batcher(Generic[Chunk]):
    """Collects rows until they are worth a commit. They come in chunks, whose ``len`` is the number of their rows.

    A batch is due when it holds ``size`` rows or its first row is ``max_age_ns`` old. Under backlog one ``take`` may
    carry up to ``size * merge`` rows, because a commit costs about the same however many rows it holds. Chunks are
    never divided here: should one alone be larger, it is taken alone.
    """

    __slots__ = ("_chunks", "_opened_ns", "_rows", "max_age_ns", "merge", "size")

    def __init__(self, size: int, max_age_ns: int, merge: int = 1) -> None:
        if size < 1 or merge < 1 or max_age_ns < 0:
            raise ValueError(f"size {size} and merge {merge} must be at least 1, max_age_ns {max_age_ns} at least 0")
        self.size = size
        self.max_age_ns = max_age_ns
        self.merge = merge
        self._chunks: deque[Chunk] = deque()
        self._rows = 0
        self._opened_ns = 0

    def __len__(self) -> int:
        return self._rows

    def add(self, chunk: Chunk, now_ns: int) -> int:
        """Take a chunk; return how many rows wait now."""
        if not self._chunks:
            self._opened_ns = now_ns
        self._chunks.append(chunk)
        self._rows += len(chunk)
        return self._rows

    def grown(self, rows: int) -> int:
        """Account for rows that were added to a chunk which waits here; return how many rows wait now."""
        self._rows += rows
        return self._rows

    def due_ns(self) -> int | None:
        """Return when the batch is due by age, None while it is empty; a full batch is due at once (0)."""
        if not self._chunks:
            return None
        return 0 if self._rows >= self.size else self._opened_ns + self.max_age_ns

    def take(self, now_ns: int) -> list[Chunk]:
        """Return the oldest chunks, at most ``size * merge`` rows of them; what stays is a new batch."""
        most = self.size * self.merge
        taken: list[Chunk] = []
        rows = 0
        while self._chunks and (not taken or rows + len(self._chunks[0]) <= most):
            taken.append(self._chunks.popleft())
            rows += len(taken[-1])
        self._rows -= rows
        self._opened_ns = now_ns
        return taken
