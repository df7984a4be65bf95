"""Holes that wait to be asked for, and the page that is worth most among them. Pure: time comes as an argument.

Ids are cut into pages of ``page`` ids, as REST gives them. Each request begins at the lowest missing id of one page
and reaches ``page`` ids on, so it closes whatever is missing of that page: all holes together take no more requests
than there are pages that hold a missing id.
"""

import bisect
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from crypto_quant.continuity import Gap, without


class Hole(NamedTuple):
    """A hole that waits for its turn at ``due`` (monotonic seconds).

    ``jumps``: how often REST has jumped over all of it; ``pause_s``: its last pause; ``told``: that it stays open has
    been reported. ``near``: it was within reach once; the newest id runs away from a hole while it is being closed,
    and what was begun is finished. ``pages``: how many requests its lower part has taken.
    """

    symbol: str
    gap: Gap
    due: float
    pause_s: float = 0.0
    jumps: int = 0
    told: bool = False
    near: bool = False
    pages: int = 0

    def within(self, first: int, last: int) -> "Hole":
        """Return the part of it in a range of ids (inclusive); its gap is empty where they have nothing in common."""
        return self._replace(gap=Gap(max(first, self.gap.first), min(last, self.gap.last)))


class HoleQueue:
    """The holes of all symbols; no id waits twice.

    Of the pages that are due the one with the most missing ids is next. A hole that has taken ``turn`` pages stands
    back behind what has taken fewer, so that a large hole does not hold up the small.
    """

    def __init__(self, page: int, turn: int) -> None:
        self._page = page
        self._turn = turn
        self._holes: dict[str, list[Hole]] = {}  # rising, disjoint
        self._paused: dict[str, float] = {}  # until when a symbol is left alone

    def __len__(self) -> int:
        return sum(map(len, self._holes.values()))

    def add(self, hole: Hole) -> None:
        """Let a hole wait. What of it waits already is left as it is."""
        held = self._holes.setdefault(hole.symbol, [])
        for part in without(hole.gap, [other.gap for other in self._overlapping(hole.symbol, hole.gap)]):
            bisect.insort(held, hole._replace(gap=part), key=_first)

    def pause(self, symbol: str, until: float) -> None:
        """Leave a symbol alone until then."""
        self._paused[symbol] = until

    def resume(self, symbol: str) -> None:
        """End the pause of a symbol."""
        self._paused.pop(symbol, None)

    def next_at(self) -> float:
        """Return when the next hole is due; infinity when none is."""
        return min((self._at(hole) for holes in self._holes.values() for hole in holes), default=math.inf)

    def newly_due(self, now: float) -> list[Hole]:
        """Take out the holes that are due and have not been found within reach yet."""
        return [hole for hole in self._due(now) if not hole.near and self._remove(hole)]

    def take(self, now: float) -> list[Hole]:
        """Take out what the next request is for, in rising order; nothing when no hole is due.

        The parts are of one symbol and span one page at most. Those that are not due yet are among them.
        """
        worth: dict[tuple[str, int], int] = {}
        turns: dict[tuple[str, int], int] = {}
        for hole in self._due(now):
            number = hole.gap.first // self._page
            key = hole.symbol, number
            worth[key] = worth.get(key, 0) + min(hole.gap.last, (number + 1) * self._page - 1) - hole.gap.first + 1
            turns[key] = min(turns.get(key, hole.pages), hole.pages)
        if not worth:
            return []
        symbol, number = min(worth, key=lambda key: (turns[key] // self._turn, -worth[key]))
        low = number * self._page
        due = [h for h in self._overlapping(symbol, Gap(low, low + self._page - 1)) if self._at(h) <= now]
        first = max(low, due[0].gap.first)
        last = first + self._page - 1
        taken = []
        for hole in self._overlapping(symbol, Gap(first, last)):
            self._remove(hole)
            taken.append(hole.within(first, last))
            below, above = hole.within(0, first - 1), hole.within(last + 1, hole.gap.last)
            for part in (below, above._replace(pages=hole.pages + 1)):
                if part.gap.size > 0:
                    self.add(part)
        return taken

    def take_from(self, symbol: str, first: int) -> list[Hole]:
        """Take out all of a symbol that begins at id ``first`` or behind it, due or not."""
        held = self._holes.get(symbol, [])
        at = bisect.bisect_left(held, first, key=_first)
        taken = held[at:]
        del held[at:]
        return taken

    def _at(self, hole: Hole) -> float:
        return max(hole.due, self._paused.get(hole.symbol, hole.due))

    def _due(self, now: float) -> Iterator[Hole]:
        return (hole for holes in self._holes.values() for hole in list(holes) if self._at(hole) <= now)

    def _overlapping(self, symbol: str, gap: Gap) -> Sequence[Hole]:
        held = self._holes.get(symbol, [])
        begin = bisect.bisect_left(held, gap.first, key=lambda hole: hole.gap.last)
        return held[begin : bisect.bisect_right(held, gap.last, key=_first)]

    def _remove(self, hole: Hole) -> bool:
        held = self._holes[hole.symbol]
        del held[bisect.bisect_left(held, hole.gap.first, key=_first)]
        return True


def _first(hole: Hole) -> int:
    return hole.gap.first
