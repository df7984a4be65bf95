"""What waits to go into one table, and what is on its way there."""

import asyncio
from collections.abc import Sequence

from crypto_quant.batch import Batcher
from crypto_quant.flow.chunk import Arrival, Chunk
from crypto_quant.flow.outage import Outage
from crypto_quant.seams import Table


class Flight:
    """A batch on its way: what of it is not yet known to be stored, oldest first."""

    def __init__(self, chunks: list[Chunk], start: int, order: int) -> None:
        self.chunks = chunks
        self.start = start  # how many rows the lane had been given before its first one
        self.order = order
        self.insisted = False  # it has been tried before, and may be stored


class Lane:
    """One table's queue and the batches on their way, at most ``flights`` at once.

    A further batch sets out beside others only when ``ahead`` rows wait for it: so a store that keeps up has one
    commit after the other, and one that does not is never without work.
    """

    def __init__(self, table: Table, batcher: Batcher[Chunk], *, flights: int = 1, ahead: int = 0) -> None:
        self.table = table
        self.batcher = batcher
        self.most = flights
        self.ahead = ahead
        self.wake = asyncio.Event()
        # taken from the batcher, oldest first
        self.flights: list[Flight] = []
        self.progress = asyncio.Event()
        self.flushes = 0  # how many wait for this lane to be flushed
        self.away = False  # the store did not take the last batch: with a spool, the next ones go there
        self.pause_s = 0.0  # before the next try; 0 while there is nothing to pause for
        self.outage = Outage()
        self._taken = 0  # rows taken so far
        self._order = 0

    def __len__(self) -> int:
        return len(self.batcher) + sum(map(len, self.in_flight))

    @property
    def in_flight(self) -> list[Chunk]:
        """What is on its way, oldest first."""
        return [chunk for flight in self.flights for chunk in flight.chunks]

    @property
    def given(self) -> int:
        """How many rows the lane has been given so far."""
        return self._taken + len(self.batcher)

    @property
    def settled(self) -> int:
        """How many rows, from the first one on, are stored or set aside without one of them missing."""
        return self.flights[0].start if self.flights else self._taken

    def add(self, chunk: Chunk, now_ns: int) -> None:
        """Queue a chunk."""
        before = len(self.batcher)
        self._wake(before, self.batcher.add(chunk, now_ns))

    def grow(self, chunk: Chunk, data: bytes, arrival: Arrival) -> None:
        """Add rows to an open chunk that waits in the queue."""
        before = len(self.batcher)
        chunk.grow(data, arrival)
        self._wake(before, self.batcher.grown(arrival.rows))

    def _wake(self, before: int, count: int) -> None:
        if not before or before < self.batcher.size <= count or before < self.ahead <= count:
            self.wake.set()

    def take(self, now_ns: int) -> Flight:
        """Send the next batch on its way."""
        self._order += 1
        flight = Flight(self.batcher.take(now_ns), self._taken, self._order)
        for chunk in flight.chunks:
            chunk.close()
        self._taken += sum(map(len, flight.chunks))
        self.flights.append(flight)
        return flight

    def finished(self, flight: Flight, chunks: Sequence[Chunk]) -> None:
        """The oldest chunks of a flight are stored or set aside."""
        del flight.chunks[: len(chunks)]
        if not flight.chunks:
            self.flights.remove(flight)
            self.wake.set()
        self.progress.set()

    def divided(self, flight: Flight, parts: Sequence[Chunk]) -> None:
        """The oldest chunk of a flight is stored in parts from here on."""
        flight.chunks[:1] = parts
