"""What the page asks of the database: read once for all who look, kept for a while, and only while somebody asks."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any

import msgspec

from crypto_quant.errors import ConfigError, StoreUnavailable
from crypto_quant.evidence import Span
from crypto_quant.market import DAY_NS, DAY_S, NS_PER_MS, NS_PER_S, Timeframe, day_ns, parse_day
from crypto_quant.store.glance import CONNECTIONS, Bar, Glance, Look
from crypto_quant.web.heatmap import Heatmap
from crypto_quant.web.holes import holes_of_day, marks

# how old an answer may be (s)
_CANDLES_AGE_S, _SERIES_AGE_S, _HEAT_AGE_S, _GAPS_AGE_S, _TABLES_AGE_S = 1.0, 15.0, 5.0, 3.0, 60.0
# and not younger than so many times what it takes to make
_HEAT_TIMES = 10
# while days are counted
_COUNTING_AGE_S = 0.5
# a failure is told to all who ask within so long
_FAILURE_AGE_S = 2.0
# how long one statement may take: what is looked at every second, and what is looked at now and then
_QUICK_S, _SLOW_S = 3.0, 20.0
# so many answers are kept
_KEPT = 128
# the days whose ns fit into 64 bits
_DAYS_MAX = 2**63 // DAY_NS
_BARS = 240
# candles are made of trades for so long at a time, and back to so long before the newest
_BUILD_FOR_S = 1.5
_BUILD_BACK_NS = 7 * DAY_NS
# a running candle of stored ones is made of trades when it is this long at most
_RUNNING_MAX_S = 3600

_encode = msgspec.json.Encoder().encode


class Readings:
    """The page's questions; every answer is JSON. ``database_url`` None: there is no database to ask.

    All raise ConfigError for what makes no sense, and StoreUnavailable or StoreDenied.
    """

    def __init__(
        self,
        database_url: str | None,
        monotonic: Callable[[], float] = time.monotonic,
        *,
        why_none: str = "",
        connections: int = CONNECTIONS,
    ) -> None:
        self._glance = Glance(database_url, connections) if database_url else None
        self._why_none = why_none
        self._monotonic = monotonic
        self._kept: OrderedDict[tuple[str, ...], _Kept] = OrderedDict()
        self._heatmap = Heatmap(monotonic)
        self._heat_s = 0.0
        self._bars: OrderedDict[tuple[str, str, str], list[Bar]] = OrderedDict()

    async def series(self) -> bytes:
        """Return what is recorded: venue, symbol and kind (``trades``, or a timeframe) of every series."""
        return await self._once(("series",), _SERIES_AGE_S, self._series)

    async def candles(self, venue: str, symbol: str, timeframe: str) -> bytes:
        """Return the newest candles of a symbol and the marks of what was missing in them.

        Stored ones where there are such, with the running one of trades; else all of trades. Prices are decimal text.
        """
        frame = Timeframe.parse(timeframe)
        key = ("candles", venue, symbol, timeframe)
        return await self._once(key, _CANDLES_AGE_S, lambda: self._candles(venue, symbol, frame))

    async def completeness(self, kind: str) -> bytes:
        """Return the heat map of ``kind``: ``trades``, or a timeframe of a day at most."""
        frame = _frame(kind)
        if frame is not None and (frame.length_s or DAY_S + 1) > DAY_S:
            raise ConfigError("a day holds no such candle", subject=kind)
        usual_s = _COUNTING_AGE_S if self._heatmap.counting else _HEAT_AGE_S
        age_s = max(usual_s, _HEAT_TIMES * self._heat_s)
        return await self._once(("heat", kind), age_s, lambda: self._heat(frame))

    async def gaps(self, venue: str, symbol: str, day: str, kind: str) -> bytes:
        """Return what lacks of a symbol on a day, what was fetched of it, and the commands that close what is open."""
        frame = _frame(kind)
        number = day_ns(parse_day(day)) // DAY_NS
        if not 0 <= number < _DAYS_MAX:
            raise ConfigError("not a day", subject=repr(day), hint="As 2026-10-01")

        async def read() -> bytes:
            async with self._look(_SLOW_S) as look:
                return _encode(await holes_of_day(look, self._heatmap, venue, symbol, number, frame))

        return await self._once(("gaps", venue, symbol, day, kind), _GAPS_AGE_S, read)

    async def tables(self) -> bytes:
        """Return how large the tables are."""

        async def read() -> bytes:
            async with self._look(_SLOW_S) as look:
                return _encode(
                    {"database": self._database, "tables": await look.sizes() if await look.exists() else []}
                )

        return await self._once(("tables",), _TABLES_AGE_S, read)

    async def let_go(self) -> None:
        """Close the connections, once the days that are being counted are."""
        await self._heatmap.settle()
        if self._glance:
            await self._glance.close()

    async def close(self) -> None:
        """End what is being read, and close the connections."""
        for kept in self._kept.values():
            kept.task.cancel()
        await asyncio.gather(*(kept.task for kept in self._kept.values()), return_exceptions=True)
        await self._heatmap.close()
        await self.let_go()

    # -- the inside ---------------------------------------------------------------------------------------

    @property
    def _database(self) -> str:
        return self._glance.target if self._glance else ""

    def _look(self, within_s: float) -> AbstractAsyncContextManager[Look]:
        if self._glance is None:
            raise ConfigError("no database to read from", hint=self._why_none or "Name one with --database-url")
        return self._glance.look(within_s)

    async def _once(self, key: tuple[str, ...], age_s: float, read: Callable[[], Awaitable[bytes]]) -> bytes:
        """Return what ``read`` returns; who asks meanwhile, or soon after, gets the same."""
        kept = self._kept.get(key)
        if kept is None or kept.stale(self._monotonic(), age_s):
            kept = self._kept[key] = _Kept(read, self._monotonic)
            self._kept.move_to_end(key)
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)[1].task.cancel()
        # whoever goes away does not end it for the others
        return await asyncio.shield(kept.task)

    async def _series(self) -> bytes:
        async with self._look(_QUICK_S) as look:
            found = []
            if await look.exists():
                for candles in (False, True):
                    ranges = await look.ranges(candles=candles)
                    found += sorted({(each.venue, each.symbol, each.timeframe or "trades") for each in ranges})
        return _encode({"database": self._database, "series": found})

    async def _heat(self, frame: Timeframe | None) -> bytes:
        async with self._look(_SLOW_S) as look:
            if not await look.exists():
                return _encode({"days": [], "rows": [], "unread": 0})
            since_s = self._monotonic()
            answer = await self._heatmap.read(look, frame)
            self._heat_s = self._monotonic() - since_s
        if frame is None and self._glance is not None:
            # days that were not counted yet are counted in the background, newest first
            self._heatmap.go_on(self._glance, _SLOW_S)
        return _encode(answer)

    async def _candles(self, venue: str, symbol: str, frame: Timeframe) -> bytes:
        length_s = frame.length_s or 0
        async with self._look(_QUICK_S) as look:
            newest = await look.newest_ns() if await look.exists() else None
            bars = await look.stored_candles(venue, symbol, frame.value, _BARS) if newest is not None else []
            stored = bool(bars)
            if newest is not None and stored and 0 < length_s <= _RUNNING_MAX_S:
                after = frame.next_open_ns(bars[-1].open_ns)
                if after <= newest < after + 3 * length_s * NS_PER_S:
                    bars += await look.built_candles(venue, symbol, Span(after, newest + NS_PER_MS), length_s)
        if newest is not None and not stored and 0 < length_s <= DAY_S:
            bars = await self._built(venue, symbol, frame, newest)
        found: dict[str, Any] = {
            "source": "stored" if stored else "trades",
            "candles": [(bar.open_ns // NS_PER_S, *bar[1:]) for bar in bars],
            "marks": [],
        }
        if bars:
            span = Span(bars[0].open_ns, frame.next_open_ns(bars[-1].open_ns))
            try:
                async with self._look(_QUICK_S) as look:
                    found["marks"] = await marks(look, venue, symbol, span)
            except StoreUnavailable:
                found["marks"] = None  # not in time; the candles are worth showing all the same
        return _encode(found)

    async def _built(self, venue: str, symbol: str, frame: Timeframe, newest: int) -> list[Bar]:
        """Return candles made of trades: those known before, the newest made anew, as many older as time allows.

        Each further piece is twice as long as the one before, so that a quiet market costs few questions.
        """
        length_s = frame.length_s or DAY_S
        length_ns, end = length_s * NS_PER_S, newest + NS_PER_MS
        key = (venue, symbol, frame.value)
        bars = [bar for bar in self._bars.pop(key, []) if bar.open_ns > newest - _BARS * length_ns]
        # trades may have come since of the last two
        fresh = bars[-2].open_ns if len(bars) > 1 else frame.open_ns(newest)

        async def build(start: int, end: int) -> list[Bar]:
            async with self._look(_QUICK_S) as look:
                return await look.built_candles(venue, symbol, Span(start, end), length_s)

        bars = bars[:-2] + await build(fresh, end)
        start = min(fresh, bars[0].open_ns) if bars else fresh
        back_to = frame.open_ns(max(newest - _BARS * length_ns, newest - _BUILD_BACK_NS))
        pieces, since = 4, self._monotonic()
        # a piece that takes too long is left for the next time
        with suppress(StoreUnavailable):
            while start > back_to and self._monotonic() - since < _BUILD_FOR_S:
                low = max(back_to, start - pieces * length_ns)
                bars = await build(low, start) + bars
                start, pieces = low, pieces * 2
        self._bars[key] = bars
        while len(self._bars) > _KEPT:
            self._bars.popitem(last=False)
        return bars


class _Kept:
    """An answer, or the question on its way."""

    def __init__(self, read: Callable[[], Awaitable[bytes]], monotonic: Callable[[], float]) -> None:
        self._read = read
        self._monotonic = monotonic
        self._done_s: float | None = None
        self.task = asyncio.create_task(self._run())
        # nobody may be left to hear of a failure
        self.task.add_done_callback(lambda task: task.cancelled() or task.exception())

    async def _run(self) -> bytes:
        try:
            return await self._read()
        finally:
            self._done_s = self._monotonic()

    def stale(self, now_s: float, age_s: float) -> bool:
        """Return whether it is to be asked again."""
        if self._done_s is None:
            return False
        failed = self.task.cancelled() or (self.task.done() and self.task.exception() is not None)
        return now_s - self._done_s > (min(_FAILURE_AGE_S, age_s) if failed else age_s)


def _frame(kind: str) -> Timeframe | None:
    """Return the timeframe that a kind of series names, None for trades. Raises ConfigError."""
    return None if kind == "trades" else Timeframe.parse(kind)
