"""What waits to go into one table, and what is on its way there."""

import asyncio
from collections.abc import Sequence

from crypto_quant.batch import Batcher
from crypto_quant.flow.chunk import Chunk
from crypto_quant.flow.outage import Outage
from crypto_quant.seams import Table


class Lane:
    """One table's queue, and the task that empties it; commits in the order of arrival."""

    def __init__(self, table: Table, batcher: Batcher[Chunk]) -> None:
        self.table = table
        self.batcher = batcher
        self.wake = asyncio.Event()
        # taken from the batcher and not yet known to be stored, oldest first
        self.in_flight: list[Chunk] = []
        self.done = 0  # rows stored or set aside so far
        self.progress = asyncio.Event()
        self.flushes = 0  # how many wait for this lane to be flushed
        self.away = False  # the store did not take the last batch: with a spool, the next ones go there
        self.insisted = False  # what is in flight has been tried before, and may be stored
        self.pause_s = 0.0  # before the next try; 0 while there is nothing to pause for
        self.outage = Outage()

    def __len__(self) -> int:
        return len(self.batcher) + sum(map(len, self.in_flight))

    def add(self, chunk: Chunk, now_ns: int) -> None:
        """Queue a chunk."""
        before = len(self.batcher)
        count = self.batcher.add(chunk, now_ns)
        if not before or before < self.batcher.size <= count:
            self.wake.set()

    def finished(self, chunks: Sequence[Chunk]) -> None:
        """The oldest chunks in flight are stored or set aside."""
        del self.in_flight[: len(chunks)]
        self.done += sum(map(len, chunks))
        self.progress.set()

    def divided(self, parts: Sequence[Chunk]) -> None:
        """The oldest chunk in flight is stored in parts from here on."""
        self.in_flight[:1] = parts
