"""Candles whose final message never came: noticed by the exchange's own clock, fetched over REST."""

import asyncio
from collections.abc import Iterable
from contextlib import suppress

from crypto_quant import events
from crypto_quant.binance.history import closed_only
from crypto_quant.continuity import RangeSet
from crypto_quant.errors import CryptoQuantError, StoreDenied, StoreUnavailable
from crypto_quant.flow.intake import Intake
from crypto_quant.flow.rest import ExchangeRest
from crypto_quant.market import NS_PER_S, Timeframe, utc_text
from crypto_quant.seams import Emit, Ledger

# open times of candles, inclusive, oldest first
Ranges = list[tuple[int, int]]
Series = tuple[str, Timeframe]

_TICK_S = 1.0
# A slot is fetched only after it has been overdue for this long by our own clock too: in a fast replay the grace
# time of the exchange passes in an instant, and the final message is merely on its way.
_SETTLE_S = 2.0
# Without any frame for this long the exchange is asked for its time, so that candles of silent streams fall due.
_ASK_TIME_AFTER_S = 15.0
# one less than REST gives: the candle behind the last one is asked for as well, which shows that REST is past it
_SLOTS_A_REQUEST = 999
_TRIES_BEFORE_ABSENT = 3
_REQUESTS_AT_ONCE = 4
# REST is served from copies that may lag: what it lacks of the last hour is not called absent for ever
_SURE_AFTER_NS = 3600 * NS_PER_S
# REST that refuses is asked less and less often
_FIRST_PAUSE_S = 2.0
_LAST_PAUSE_S = 300.0


class CandleKeeper:
    """Watches every candle clock of an intake and fetches what is overdue.

    A candle is overdue when the exchange's time is past its end by the clock's grace. What REST does not know after
    three askings is told as absent and not asked for again in this run; when it is over an hour old, and REST had a
    later closed candle in its answer, it is recorded as absent in the ``ledger`` and no later run asks for it either.
    """

    def __init__(
        self,
        intake: Intake,
        rest: ExchangeRest | None,
        emit: Emit,
        ledger: Ledger | None = None,
        tick_s: float = _TICK_S,
    ) -> None:
        self._intake = intake
        self._rest = rest
        self._emit = emit
        self._ledger = ledger
        self._tick_s = tick_s
        self._paused = False
        self._started = False
        # per candle clock: (when it was looked at, the newest open time that was overdue then), oldest first
        self._looks: dict[Series, list[tuple[float, int]]] = {}
        self._askings: dict[tuple[str, Timeframe, int], int] = {}
        # per candle clock: (how long REST was left alone last, until when), after it failed
        self._pauses: dict[Series, tuple[float, float]] = {}

    async def run(self) -> None:
        """Keep watch until cancelled."""
        if not self._intake.clocks:
            return
        loop = asyncio.get_running_loop()
        seen_ns, seen_at = 0, loop.time()
        while True:
            await asyncio.sleep(self._tick_s)
            now = loop.time()
            if self._intake.exchange_ns != seen_ns:
                seen_ns, seen_at = self._intake.exchange_ns, now
            elif self._rest is not None and now - seen_at > _ASK_TIME_AFTER_S:
                seen_at = now
                await self._ask_time(self._rest)
            await self.look()

    def pause(self) -> None:
        """Fetch nothing more for now: too many rows wait. What is owed stays owed."""
        self._paused = True

    def resume(self) -> None:
        """Fetch again."""
        self._paused = False

    async def look(self) -> None:
        """Fetch what is overdue now."""
        exchange_ns = self._intake.exchange_ns
        if not exchange_ns or self._paused:
            return
        if not self._started:
            self._started = True
            for clock in self._intake.clocks.values():
                clock.start(exchange_ns)
        ripe = self._ripe(exchange_ns)
        if not ripe or self._rest is None:
            return
        limit = asyncio.Semaphore(_REQUESTS_AT_ONCE)
        async with asyncio.TaskGroup() as tasks:
            # when REST is scarce, what closes the most comes first
            for series, ranges in sorted(ripe, key=_slots, reverse=True):
                tasks.create_task(self._fetch(self._rest, series, ranges, limit))

    def _ripe(self, exchange_ns: int) -> list[tuple[Series, Ranges]]:
        """Return what has been overdue long enough; remember what has just become so."""
        now = asyncio.get_running_loop().time()
        ripe: list[tuple[Series, Ranges]] = []
        for key, clock in self._intake.clocks.items():
            due = clock.due(exchange_ns)
            if not due:
                self._looks.pop(key, None)
                continue
            looks = self._looks.setdefault(key, [])
            looks.append((now, due[-1][1]))
            settled = [newest_ns for at, newest_ns in looks if now - at >= _SETTLE_S]
            if not settled or now < self._pauses.get(key, (0.0, 0.0))[1]:
                continue
            # whatever is overdue now and not newer than what was overdue then has been so all the time: the range
            # may have grown since, as it does each second on a silent stream of 1s candles
            del looks[: len(settled) - 1]
            until_ns = settled[-1]
            ripe.append(
                (key, [(first_ns, min(last_ns, until_ns)) for first_ns, last_ns in due if first_ns <= until_ns])
            )
        return ripe

    async def _fetch(self, rest: ExchangeRest, series: Series, ranges: Ranges, limit: asyncio.Semaphore) -> None:
        async with limit:
            for wanted in _pages(series[1], ranges):
                if self._paused or not await self._fetch_page(rest, series, wanted):
                    break
        # whatever is still missing has to settle again before it is asked for again
        self._looks.pop(series, None)

    async def _fetch_page(self, rest: ExchangeRest, series: Series, wanted: list[int]) -> bool:
        """Ask for candles by their open times, oldest first; return whether REST has answered."""
        symbol, timeframe = series
        self._emit(
            events.CandleOverdue(
                venue=self._intake.venue.value,
                symbol=symbol,
                timeframe=timeframe.value,
                first_open=utc_text(wanted[0]),
                slots=len(wanted),
            )
        )
        try:
            candles = await rest.klines(symbol, timeframe, wanted[0], timeframe.next_open_ns(wanted[-1]))
        except CryptoQuantError as problem:
            # whatever ails REST, the streams go on, and the candles stay owed
            pause_s = min(2 * self._pauses.get(series, (_FIRST_PAUSE_S / 2, 0))[0], _LAST_PAUSE_S)
            self._pauses[series] = pause_s, asyncio.get_running_loop().time() + pause_s
            self._emit(
                events.RestFailed(request=f"klines {symbol} {timeframe}", cause=str(problem), retry_in_s=pause_s)
            )
            return False
        self._pauses.pop(series, None)
        clock = self._intake.clocks[series]
        # by slot: a candle may open off the raster
        closed = {clock.slot(each.open_ns): each for each in closed_only(candles, self._intake.exchange_ns)}
        had = {clock.slot(each.open_ns) for each in candles}
        for open_ns in wanted:
            candle = closed.get(clock.slot(open_ns))
            if candle is not None and self._intake.candle(candle, clock, "rest"):
                self._intake.count_fetched()
        gone = [open_ns for open_ns in wanted if clock.slot(open_ns) not in had and self._not_there(series, open_ns)]
        newest_ns = clock.open_ns(max(closed)) if closed else 0
        sure_before_ns = min(newest_ns, self._intake.exchange_ns - _SURE_AFTER_NS)
        await self._record_absent(series, [open_ns for open_ns in gone if open_ns < sure_before_ns])
        return True

    def _not_there(self, series: Series, open_ns: int) -> bool:
        """REST does not have this candle; return whether it is given up now."""
        key = (*series, open_ns)
        askings = self._askings.pop(key, 0) + 1
        if askings < _TRIES_BEFORE_ABSENT:
            self._askings[key] = askings
            return False
        self._intake.clocks[series].give_up(open_ns)
        self._emit(
            events.CandleAbsent(
                venue=self._intake.venue.value,
                symbol=series[0],
                timeframe=series[1].value,
                open_time=utc_text(open_ns),
            )
        )
        return True

    async def _record_absent(self, series: Series, opens: list[int]) -> None:
        """Record candles (open times) as absent; a store that is away is told at the next start, by asking again."""
        if not opens or self._ledger is None:
            return
        (symbol, timeframe), venue = series, self._intake.venue.value
        slots = RangeSet((slot, slot) for slot in map(timeframe.slot, opens)).ranges()
        moment = utc_text(self._intake.exchange_ns)
        proof = f"GET klines asked {_TRIES_BEFORE_ABSENT} times, had a later candle and not these, at {moment}"
        with suppress(StoreUnavailable, StoreDenied):
            await self._ledger.record_absent_slots(venue, symbol, timeframe.value, slots, proof)

    async def _ask_time(self, rest: ExchangeRest) -> None:
        try:
            self._intake.exchange_ns = max(self._intake.exchange_ns, await rest.server_time_ns())
        except CryptoQuantError as problem:
            self._emit(events.RestFailed(request="time", cause=str(problem), retry_in_s=_ASK_TIME_AFTER_S))


def _slots(ripe: tuple[Series, Ranges]) -> int:
    """Return how many candles of a series are overdue."""
    (_, timeframe), ranges = ripe
    counted = ((timeframe.slot(first), timeframe.slot(last)) for first, last in ranges)
    return sum(last - first + 1 for first, last in counted)


def _pages(timeframe: Timeframe, ranges: Ranges) -> Iterable[list[int]]:
    """Cut ranges of open times into lists of them; one list spans no more than one request may ask for."""
    page: list[int] = []
    end_ns = 0
    for first_ns, last_ns in ranges:
        open_ns = first_ns
        while open_ns <= last_ns:
            if page and open_ns >= end_ns:
                yield page
                page = []
            if not page:
                end_ns = open_ns
                for _ in range(_SLOTS_A_REQUEST):
                    end_ns = timeframe.next_open_ns(end_ns)
            page.append(open_ns)
            open_ns = timeframe.next_open_ns(open_ns)
    if page:
        yield page
