"""When a batch is full: by size, by age, or because somebody asks. Pure: the time is handed in."""

from typing import Generic, TypeVar

Mark = TypeVar("Mark")


class Batcher(Generic[Mark]):
    """Collects rows until they are worth a commit.

    A batch is due when it holds ``size`` rows or its first row is ``max_age_ns`` old. Under backlog one ``take`` may
    carry up to ``size * merge`` rows, because a commit costs about the same however many rows it holds.
    Beside each row stands a ``mark`` that the owner gets back with it (a receive time, an event to tell).
    """

    __slots__ = ("_marks", "_opened_ns", "_rows", "max_age_ns", "merge", "size")

    def __init__(self, size: int, max_age_ns: int, merge: int = 1) -> None:
        if size < 1 or merge < 1 or max_age_ns < 0:
            raise ValueError(f"size {size} and merge {merge} must be at least 1, max_age_ns {max_age_ns} at least 0")
        self.size = size
        self.max_age_ns = max_age_ns
        self.merge = merge
        self._rows: list[bytes] = []
        self._marks: list[Mark] = []
        self._opened_ns = 0

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, row: bytes, mark: Mark, now_ns: int) -> int:
        """Take one row; return how many wait now."""
        if not self._rows:
            self._opened_ns = now_ns
        self._rows.append(row)
        self._marks.append(mark)
        return len(self._rows)

    def due_ns(self) -> int | None:
        """Return when the batch is due by age, None while it is empty; a full batch is due at once (0)."""
        if not self._rows:
            return None
        return 0 if len(self._rows) >= self.size else self._opened_ns + self.max_age_ns

    def take(self, now_ns: int) -> tuple[list[bytes], list[Mark]]:
        """Return the oldest rows with their marks, at most ``size * merge`` of them; what stays is a new batch."""
        most = self.size * self.merge
        if len(self._rows) <= most:
            rows, marks = self._rows, self._marks
            self._rows, self._marks = [], []
        else:
            rows, marks = self._rows[:most], self._marks[:most]
            del self._rows[:most], self._marks[:most]
        self._opened_ns = now_ns
        return rows, marks
