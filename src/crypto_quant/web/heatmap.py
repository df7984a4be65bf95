"""The heat map as it is kept: each day counted once, what is claimed read anew each time."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from crypto_quant.errors import CryptoQuantError
from crypto_quant.evidence import Span
from crypto_quant.market import DAY_NS, Timeframe, day_of
from crypto_quant.store.glance import Glance, Look, Range
from crypto_quant.web.heat import (
    COMPLETE,
    NOTHING,
    UNREAD,
    Cell,
    Claims,
    Counted,
    candles_row,
    outgrown,
    trades_row,
)

DAYS = 30
# a day is not counted anew sooner than after so long, and not sooner than so many times what it took
_AGAIN_S, _AGAIN_TIMES = 60.0, 30.0
_AT_ONCE = 50
_PLAIN = (COMPLETE, NOTHING, UNREAD)


class Heatmap:
    """The last ``DAYS`` days of every symbol; see ``heat``."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        # symbol -> day -> what was counted
        self.counted: dict[tuple[str, str], dict[int, Counted]] = defaultdict(dict)
        self._read_s: dict[int, tuple[float, float]] = {}  # day -> when, and how long it took
        self._due: list[int] = []
        self._begins = 0
        self._counting = False
        self._task: asyncio.Task[None] | None = None

    @property
    def read_days(self) -> set[int]:
        """The days that were counted."""
        return set(self._read_s)

    @property
    def counting(self) -> bool:
        """Whether there is more to tell soon: days are, or were just, being counted."""
        return self._counting

    def _known(self, days: list[int]) -> set[int]:
        """The days of which is known what rows they have; before the first row of all there are none."""
        return self.read_days | {day for day in days if day < self._begins}

    async def read(self, look: Look, frame: Timeframe | None) -> dict[str, Any]:
        """Return the map as JSON: the days, newest last, and a row a symbol.

        A row is (venue, symbol, a letter a day, and by the day's place what a cell has to tell beyond its letter).
        """
        newest, oldest = await look.newest_ns(), await look.oldest_ns()
        claims = _by_symbol(await look.ranges(candles=frame is not None), frame)
        if frame is not None:
            stored = [each.known.stored.ranges() for each in claims.values() if each.known.stored]
            newest = max((frame.slot_open_ns(ranges[-1][1]) for ranges in stored), default=None)
            oldest = min((frame.slot_open_ns(ranges[0][0]) for ranges in stored), default=None)
        if newest is None:
            return {"days": [], "rows": [], "unread": 0}
        last = newest // DAY_NS
        days = list(range(last - DAYS + 1, last + 1))
        self._begins = (newest if oldest is None else oldest) // DAY_NS
        if frame is None:
            self._plan(days, claims)
            self._counting = bool(self._due)
        names = sorted(claims.keys() | (self.counted.keys() if frame is None else set()))
        rows = []
        for place, name in enumerate(names):
            if place % _AT_ONCE == 0:
                await asyncio.sleep(0)  # thousands of symbols take a while, and others wait for their figures
            of_symbol = claims.get(name) or Claims(())
            if frame is None:
                cells = trades_row(of_symbol, days, self._known(days), self.counted.get(name, {}))
            else:
                cells = candles_row(of_symbol, days, frame)
            if any(cell.state != NOTHING for cell in cells):
                rows.append((*name, "".join(cell.state for cell in cells), _notes(cells)))
        return {
            "days": [str(day_of(day * DAY_NS)) for day in days],
            "rows": rows,
            "unread": len(set(days) - self._known(days)) if frame is None else 0,
        }

    def go_on(self, glance: Glance, within_s: float) -> None:
        """Count in the background what is due."""
        if self._due and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._count(glance, within_s))

    async def count(self, look: Look, day: int) -> None:
        """Count a day; what is claimed is read in the same moment."""
        since = self._monotonic()
        counted = await look.counted(Span(day * DAY_NS, (day + 1) * DAY_NS))
        claims = _by_symbol(await look.ranges(candles=False), None)
        for name, days in self.counted.items():
            if name not in counted:
                days.pop(day, None)
        for name, count in counted.items():
            proven = claims[name].proven(count.first, count.last) if name in claims else 0
            self.counted[name][day] = Counted(count, proven)
        self._read_s[day] = (self._monotonic(), self._monotonic() - since)

    async def settle(self) -> None:
        """Return when nothing is being counted."""
        if self._task is not None:
            await asyncio.wait({self._task})

    async def close(self) -> None:
        """End what is being counted."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    def _plan(self, days: list[int], claims: dict[tuple[str, str], Claims]) -> None:
        for day in self._read_s.keys() - set(days):
            del self._read_s[day]
            for of_symbol in self.counted.values():
                of_symbol.pop(day, None)
        now_s = self._monotonic()
        # rows of the last two may still come anywhere
        again = set(days[-2:])
        for name, claimed in claims.items():
            again |= outgrown(claimed, days, self.read_days, self.counted.get(name, {}))

        def due(day: int) -> bool:
            if day not in self._read_s:
                return True
            at_s, took_s = self._read_s[day]
            return day in again and now_s - at_s > max(_AGAIN_S, _AGAIN_TIMES * took_s)

        self._due = [day for day in reversed(days) if day >= self._begins and due(day)]

    async def _count(self, glance: Glance, within_s: float) -> None:
        while self._due:
            day = self._due.pop(0)
            # what cannot be read now is due again when somebody looks
            with suppress(CryptoQuantError):
                async with glance.look(within_s) as look:
                    await self.count(look, day)


def _by_symbol(ranges: Iterable[Range], frame: Timeframe | None) -> dict[tuple[str, str], Claims]:
    found: dict[tuple[str, str], list[Range]] = defaultdict(list)
    for each in ranges:
        if frame is None or each.timeframe == frame.value:
            found[each.venue, each.symbol].append(each)
    return {name: Claims(of_symbol) for name, of_symbol in found.items()}


def _notes(cells: list[Cell]) -> dict[str, Cell]:
    return {
        str(at): cell
        for at, cell in enumerate(cells)
        if cell.state not in _PLAIN or (cell.state == COMPLETE and (cell.begins > 0 or cell.ends < 1000))
    }
