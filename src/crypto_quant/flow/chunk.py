"""Rows on their way into the store, and what they prove: the ids, or the slots, of exactly these rows."""

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import NamedTuple

from crypto_quant.continuity import RangeSet, slot_opened
from crypto_quant.events import CandleStored
from crypto_quant.market import Timeframe, parse_utc
from crypto_quant.rows import trade_key
from crypto_quant.seams import Covered, Lines, Source


class Series(NamedTuple):
    """Whose ids are counted: one symbol of one venue, told by one source."""

    venue: str
    symbol: str
    source: Source


Run = tuple[int, int, int]
"""The number of a series, and the first and the last (inclusive) of ids that follow each other."""


class Arrival(NamedTuple):
    """So many rows that were received together; the times (ns since the epoch) are for the lags alone."""

    rows: int
    received_ns: int
    event_ns: int  # when the last of them happened


class Chunk:
    """Rows of one table that are stored together, as text; or ids that rightly have no row, and then no text.

    ``parts`` are whole rows each, ``count`` is how many of them there are, or how many ids. ``proves`` are the ids of
    just these rows, or these ids. ``told`` is what to tell of candles once they are committed, one a row; it says which
    slots they prove.

    A chunk with ``prove`` is open: rows may still be added to it. What its rows prove is asked for once, when it is
    closed, so that the ids of a symbol make one run however often the socket was read in between.
    """

    __slots__ = ("_prove", "arrivals", "count", "parts", "proves", "told")

    def __init__(
        self,
        data: bytes,
        count: int,
        proves: Sequence[Run] = (),
        told: Sequence[CandleStored] = (),
        received_ns: int = 0,
        event_ns: int = 0,
        prove: Callable[[], Sequence[Run]] | None = None,
    ) -> None:
        self.parts = [data] if data else []
        self.count = count
        self.proves = proves
        self.told = told
        self.arrivals = [Arrival(count if data else 0, received_ns, event_ns)]
        self._prove = prove

    def __len__(self) -> int:
        return self.count

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return self.count if self.parts else 0

    @property
    def data(self) -> bytes:
        """The text of all rows."""
        return b"".join(self.parts)

    @property
    def received_ns(self) -> int:
        """When the first of them was received."""
        return self.arrivals[0].received_ns

    @property
    def is_open(self) -> bool:
        """Whether rows may still be added."""
        return self._prove is not None

    def grow(self, data: bytes, arrival: Arrival) -> None:
        """Add rows to an open chunk."""
        self.parts.append(data)
        self.count += arrival.rows
        self.arrivals.append(arrival)

    def close(self) -> None:
        """Take no more rows: from here on ``proves`` says what those are."""
        if self._prove is not None:
            self.proves = self._prove()
            self._prove = None


class AllSeries:
    """Gives each series a number, from 0 in the order of asking; knows what runs of numbers mean."""

    def __init__(self) -> None:
        self._numbers: dict[Series, int] = {}
        self._series: list[Series] = []

    def number(self, series: Series) -> int:
        """Return the series' number, the same for ever."""
        number = self._numbers.setdefault(series, len(self._series))
        if number == len(self._series):
            self._series.append(series)
        return number

    def covered_by(self, chunks: Iterable[Chunk]) -> list[Covered]:
        """Return what the chunks prove; runs that follow each other within a series make one range."""
        # by the number of the series: the range that goes on. No object a range: a thousand of them stand in a batch
        firsts: dict[int, int] = {}
        lasts: dict[int, int] = {}
        ranges: list[Covered] = []
        for chunk in chunks:
            for number, low, high in chunk.proves:
                last = lasts.get(number)
                if last is None:
                    firsts[number] = low
                elif last != low - 1:
                    ranges.append(self._covered(number, firsts[number], last))
                    firsts[number] = low
                lasts[number] = high
        ranges += map(self._covered, lasts, firsts.values(), lasts.values())
        return ranges

    def _covered(self, number: int, first: int, last: int) -> Covered:
        venue, symbol, source = self._series[number]
        return Covered(venue, symbol, first, last, source)

    def halves(self, chunk: Chunk) -> tuple[Chunk, Chunk]:
        """Divide a chunk of more than one row into two, each with what it proves."""
        lines = list(Lines(chunk.parts, chunk.rows))
        middle = len(lines) // 2
        return self._part(chunk, lines, 0, middle), self._part(chunk, lines, middle, len(lines))

    def _part(self, chunk: Chunk, lines: Sequence[bytes], start: int, end: int) -> Chunk:
        rows = lines[start:end]
        ids = {trade_key(row) for row in rows} if chunk.proves else set()
        part = Chunk(
            b"".join(rows),
            len(rows),
            [each for run in chunk.proves for each in self._within(run, ids)],
            chunk.told[start:end],
        )
        part.arrivals = _arrivals_within(chunk.arrivals, start, end)
        return part

    def _within(self, run: Run, ids: Collection[tuple[str, str, int]]) -> list[Run]:
        """Return what of a run is among ``ids``."""
        number, first, last = run
        venue, symbol, _ = self._series[number]
        held = RangeSet((each, each) for each in range(first, last + 1) if (venue, symbol, each) in ids)
        return [(number, *each) for each in held.ranges()]


def _arrivals_within(arrivals: Iterable[Arrival], start: int, end: int) -> list[Arrival]:
    """Return the arrivals of the rows from ``start`` (inclusive) to ``end`` (exclusive)."""
    within, begins = [], 0
    for each in arrivals:
        rows = min(end, begins + each.rows) - max(start, begins)
        if rows > 0:
            within.append(each._replace(rows=rows))
        begins += each.rows
    return within


def slots_covered_by(stored: Iterable[CandleStored]) -> list[Covered]:
    """Return the slots of candles as ranges, given the events that will tell of them: those stand beside their rows.

    Slots that follow each other within a series and source make one range.
    """
    ranges: dict[tuple[str, str, str, str], list[tuple[int, int]]] = {}
    for each in stored:
        slot = slot_opened(Timeframe(each.timeframe), parse_utc(each.open_time))
        if slot is None:
            continue
        found = ranges.setdefault((each.venue, each.symbol, each.timeframe, each.source), [])
        if found and found[-1][1] == slot - 1:
            found[-1] = (found[-1][0], slot)
        else:
            found.append((slot, slot))
    return [
        Covered(venue, symbol, first, last, Source(source), timeframe)
        for (venue, symbol, timeframe, source), found in ranges.items()
        for first, last in found
    ]
