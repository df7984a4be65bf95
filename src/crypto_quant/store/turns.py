"""Batches that are stored side by side extend what is proven one after the other, in their order.

Each range then continues the one before it, which is one statement for all symbols. Out of order it would be as right,
and slower: so nobody waits here for long, and nothing depends on it.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

# An earlier batch may itself wait for a lock that a later one holds; whoever has waited so long goes first.
_PATIENCE_S = 1.0


class Turn:
    """One batch's place in the order."""

    def __init__(self, ahead: "list[Turn]") -> None:
        self._ahead = ahead
        self._over = asyncio.Event()

    async def come(self) -> None:
        """Return once the turns of all earlier batches are over, or after a second."""
        try:
            async with asyncio.timeout(_PATIENCE_S):
                for each in self._ahead:
                    await each._over.wait()
        except TimeoutError:
            pass
        self._ahead = []

    def over(self) -> None:
        """Let the later ones go on; idempotent."""
        self._over.set()
        self._ahead = []


class Turns:
    """Who is under way on one table."""

    def __init__(self) -> None:
        self._under_way: dict[int, Turn] = {}

    @contextmanager
    def turn(self, order: int) -> Iterator[Turn]:
        """Lend the turn of the batch with this place in the order; 0 is in no order, and waits for nobody."""
        turn = Turn([each for place, each in self._under_way.items() if place < order])
        if order:
            self._under_way[order] = turn
        try:
            yield turn
        finally:
            turn.over()
            if self._under_way.get(order) is turn:
                del self._under_way[order]
