"""From the spool into the store: oldest first, in big batches, while live data go their own way."""

import asyncio
import random
from collections import deque
from collections.abc import Callable, Iterable, Sequence

import msgspec

from crypto_quant import events
from crypto_quant.continuity import Gap, RangeSet
from crypto_quant.errors import SpoolUnavailable, StoreDenied, StoreRejected, StoreUnavailable
from crypto_quant.flow.aside import Aside
from crypto_quant.flow.chunk import slots_covered_by
from crypto_quant.flow.outage import Outage
from crypto_quant.flow.spool import Segment, Spool
from crypto_quant.flow.stats import PipelineStats
from crypto_quant.rows import trade_key
from crypto_quant.seams import Batch, Covered, Emit, Receipt, Sink, Table

# A commit costs about the same however many rows it holds. A store that cannot take so many gets fewer at a time.
ROWS_MOST = 50_000
_ROWS_LEAST = 1_000
_FIRST_PAUSE_S = 0.1
_LAST_PAUSE_S = 5.0


class Replayer:
    """Empties the spool into the sink, for ever; so it is also the first to notice that the database is back.

    ``aside`` takes what the store refuses; ``lost`` and ``back`` hear of each failure and each success, ``missing``
    of trade ids that were in the spool and cannot be read any more.
    """

    def __init__(
        self,
        spool: Spool,
        sink: Sink,
        *,
        stats: PipelineStats,
        emit: Emit,
        rng: random.Random,
        aside: Aside,
        lost: Callable[[Table, Exception, float], None],
        back: Callable[[Table], None],
        missing: Callable[[str, str, Gap], None],
    ) -> None:
        self._spool = spool
        self._sink = sink
        self._stats = stats
        self._emit = emit
        self._rng = rng
        self._aside = aside
        self._lost = lost
        self._back = back
        self._missing = missing
        self._rows_most = ROWS_MOST
        self._duplicates = 0  # since the spool was empty the last time
        self._disk = Outage()
        self._pause_s = _FIRST_PAUSE_S
        # the oldest segment while it is in hand, and what of it is still to be stored
        self._segment: Segment | None = None
        self._waiting: deque[_Part] = deque()
        # ids that the store has refused, of the segment at hand: nothing may claim that they are stored
        self._refused: set[tuple[str, str, int]] = set()

    async def run(self) -> None:
        """Replay whatever the spool holds and will hold, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await self._spool.filled()
            began = loop.time()
            rows, self._duplicates = self._stats.replayed_rows, 0
            while segment := self._segment or await self._begin():
                await self._replay(segment)
                self._segment = None
                await self._spool.done(segment)
            self._emit(
                events.SpoolReplayed(
                    rows=self._stats.replayed_rows - rows,
                    duplicates=self._duplicates,
                    took_s=round(loop.time() - began, 3),
                )
            )

    async def _begin(self) -> Segment | None:
        """Take the oldest segment in hand and return it, None when there is none."""
        while True:
            try:
                found = await self._spool.oldest()
            except SpoolUnavailable as problem:
                await self._disk_refuses(problem)
                continue
            if found is None:
                return None
            self._segment, records = found
            self._waiting.extend(_Part(each.table, each.rows, each.covered, each.told) for each in records)
            self._refused.clear()
            for table, rows in self._spool.unreadable.items():
                self._stats.count_set_aside(table, rows)
                self._spool.unreadable[table] = 0
            while self._spool.missing:
                self._missing(*self._spool.missing.pop(0))
            return self._segment

    async def _replay(self, segment: Segment) -> None:
        """Store every row of the segment, whatever it takes; rows that the store refuses are set aside."""
        waiting = self._waiting
        while waiting:
            part = _gathered(waiting, self._rows_most)
            covered = part.proves(self._refused)
            began = asyncio.get_running_loop().time()
            try:
                receipt = await self._sink.write(Batch(part.table, part.rows, covered))
            except (StoreUnavailable, StoreDenied) as problem:
                waiting.appendleft(part)
                self._rows_most = max(_ROWS_LEAST, self._rows_most // 2)
                pause_s = self._next_pause_s()
                self._lost(part.table, problem, pause_s)
                await asyncio.sleep(pause_s)
                continue
            except StoreRejected as refusal:
                if len(part.rows) > 1:
                    waiting.extendleft(reversed(part.halves()))
                    continue
                if not part.rows:
                    self._aside.proof(covered, refusal)
                    continue
                self._aside.row(part.table, part.rows[0], refusal)
                self._refused.add(_key(part.rows[0]))
                if part.covered:
                    waiting.appendleft(_Part(part.table, [], part.covered, (), alone=True))
            except BaseException:  # cancelled, or a bug: whoever runs this again goes on with these rows
                waiting.appendleft(part)
                raise
            else:
                self._back(part.table)
                self._pause_s = _FIRST_PAUSE_S
                self._rows_most = min(ROWS_MOST, self._rows_most * 2)
                self._count(part, receipt, asyncio.get_running_loop().time() - began)
            self._spool.stored(segment, part.table, len(part.rows))

    def _count(self, part: "_Part", receipt: Receipt, took_s: float) -> None:
        self._stats.stored(part.table, receipt)
        self._stats.replayed_rows += len(part.rows)
        self._duplicates += receipt.duplicates
        if receipt.conflicting:
            self._aside.conflicting([part.rows[place] for place in receipt.conflicting])
        # duplicates as well: what was spooled may have been tried before, and a duplicate is then our own first try
        for candle in part.told:
            self._emit(candle)
        self._emit(
            events.BatchStored(
                table=part.table.value,
                rows=receipt.written,
                duplicates=receipt.duplicates,
                took_ms=round(took_s * 1e3, 2),
            )
        )

    async def _disk_refuses(self, problem: SpoolUnavailable) -> None:
        pause_s = self._next_pause_s()
        if self._disk.failed(asyncio.get_running_loop().time(), problem.what):
            self._emit(events.SpoolRefused(directory=self._spool.directory, cause=str(problem), in_memory=0))
        await asyncio.sleep(pause_s)

    def _next_pause_s(self) -> float:
        pause_s, self._pause_s = self._pause_s, min(self._pause_s * 2, _LAST_PAUSE_S)
        return self._rng.uniform(pause_s / 2, pause_s)


class _Part(msgspec.Struct):
    """Rows that go in one write; ``alone`` when the search for a refused row has divided them."""

    table: Table
    rows: list[bytes]
    covered: Sequence[Covered]
    told: Sequence[events.CandleStored]
    alone: bool = False

    def proves(self, refused: set[tuple[str, str, int]]) -> Sequence[Covered]:
        """Return what is proven once these rows are stored; ``refused`` are trades that never will be.

        Of each candle ``told`` says which one it is, in records of earlier versions as well.
        """
        if self.table is Table.CANDLES:
            return slots_covered_by(self.told) if len(self.told) == len(self.rows) else ()
        return _without(self.covered, refused) if refused else self.covered

    def halves(self) -> list["_Part"]:
        """Divide the rows, each half with what it proves by itself; what no row proves comes after both."""
        middle = len(self.rows) // 2
        low, high = self.rows[:middle], self.rows[middle:]
        of_low, others = _divided(self.covered, low)
        of_high, of_none = _divided(others, high)
        parts = [
            _Part(self.table, low, of_low, self.told[:middle], alone=True),
            _Part(self.table, high, of_high, self.told[middle:], alone=True),
        ]
        return parts + [_Part(self.table, [], of_none, (), alone=True)] * bool(of_none)


def _gathered(waiting: deque[_Part], rows_most: int) -> _Part:
    """Take from the front what one write may carry."""
    part = waiting.popleft()
    if len(part.rows) > rows_most:
        first = part.rows[:rows_most]
        proven, others = _divided(part.covered, first)
        waiting.appendleft(_Part(part.table, part.rows[rows_most:], others, part.told[rows_most:], part.alone))
        return _Part(part.table, first, proven, part.told[:rows_most], part.alone)
    rows, covered, told = list(part.rows), list(part.covered), list(part.told)
    while waiting and not part.alone and not waiting[0].alone and waiting[0].table is part.table:
        if len(rows) + len(waiting[0].rows) > rows_most:
            break
        more = waiting.popleft()
        rows += more.rows
        covered += more.covered
        told += more.told
    return _Part(part.table, rows, covered, told, part.alone)


def _divided(covered: Sequence[Covered], rows: Sequence[bytes]) -> tuple[list[Covered], list[Covered]]:
    """Divide ranges into what just these rows prove, and the rest.

    Rows that were stored without what they prove would not be recognised when the exchange has told one of them with
    another time: it would be stored twice.
    """
    ids: dict[tuple[str, str], RangeSet] = {}
    for row in rows if covered else ():
        venue, symbol, number = _key(row)
        ids.setdefault((venue, symbol), RangeSet()).add(number, number)
    proven, others = [], []
    for each in covered:
        held = ids.get((each.venue, each.symbol), RangeSet())
        proven += [msgspec.structs.replace(each, first=a, last=b) for a, b in held.within(each.first, each.last)]
        others += [msgspec.structs.replace(each, first=a, last=b) for a, b in held.missing(each.first, each.last)]
    return proven, others


def _key(row: bytes) -> tuple[str, str, int]:
    """Return venue, symbol and id of a row of ``trades``; what has none has proven nothing either."""
    try:
        return trade_key(row)
    except ValueError:
        return "", "", -1


def _without(covered: Iterable[Covered], refused: set[tuple[str, str, int]]) -> list[Covered]:
    """Return the ranges without the ids that the store has refused."""
    holes: dict[tuple[str, str], RangeSet] = {}
    for venue, symbol, number in refused:
        holes.setdefault((venue, symbol), RangeSet()).add(number, number)
    return [
        msgspec.structs.replace(each, first=first, last=last)
        for each in covered
        for first, last in holes.get((each.venue, each.symbol), RangeSet()).missing(each.first, each.last)
    ]
