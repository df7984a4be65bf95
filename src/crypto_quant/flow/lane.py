"""What waits to go into one table, and what is on its way there."""

import asyncio
from typing import Any

from crypto_quant.batch import Batcher
from crypto_quant.flow.outage import Outage
from crypto_quant.seams import Table


class Lane:
    """One table's queue, and the task that empties it; commits in the order of arrival."""

    def __init__(self, table: Table, batcher: Batcher[Any]) -> None:
        self.table = table
        self.batcher = batcher
        self.wake = asyncio.Event()
        # taken from the batcher and not yet known to be stored, with their marks; an empty row is an id without one
        self.in_flight: list[bytes] = []
        self.marks: list[Any] = []
        self.done = 0  # rows stored or set aside so far
        self.progress = asyncio.Event()
        self.flushes = 0  # how many wait for this lane to be flushed
        self.away = False  # the store did not take the last batch: with a spool, the next ones go there
        self.insisted = False  # what is in flight has been tried before, and may be stored
        self.pause_s = 0.0  # before the next try; 0 while there is nothing to pause for
        self.outage = Outage()

    def __len__(self) -> int:
        return len(self.batcher) + len(self.in_flight)

    def finished(self, count: int) -> None:
        """The oldest ``count`` rows in flight are stored or set aside."""
        self.in_flight, self.marks = self.in_flight[count:], self.marks[count:]
        self.done += count
        self.progress.set()
