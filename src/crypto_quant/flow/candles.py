"""Candles whose final message never came: noticed by the exchange's own clock, fetched over REST."""

import asyncio
from collections.abc import Iterable

from crypto_quant import events
from crypto_quant.binance.history import closed_only
from crypto_quant.errors import CryptoQuantError
from crypto_quant.flow.intake import Intake
from crypto_quant.flow.rest import ExchangeRest
from crypto_quant.market import Timeframe, utc_text
from crypto_quant.seams import Emit

Slots = tuple[str, Timeframe, int, int]

_TICK_S = 1.0
# A slot is fetched only after it has been overdue for this long by our own clock too: in a fast replay the grace
# time of the exchange passes in an instant, and the final message is merely on its way.
_SETTLE_S = 2.0
# Without any frame for this long the exchange is asked for its time, so that candles of silent streams fall due.
_ASK_TIME_AFTER_S = 15.0
_SLOTS_A_REQUEST = 1000
_TRIES_BEFORE_ABSENT = 3
_REQUESTS_AT_ONCE = 4
# REST that refuses is asked less and less often
_FIRST_PAUSE_S = 2.0
_LAST_PAUSE_S = 300.0


class CandleKeeper:
    """Watches every candle clock of an intake and fetches what is overdue.

    A candle is overdue when the exchange's time is past its end by the clock's grace. What REST does not know after
    three askings, while it knows a later one or the exchange has moved on, is told as absent and not asked for again.
    """

    def __init__(self, intake: Intake, rest: ExchangeRest | None, emit: Emit, tick_s: float = _TICK_S) -> None:
        self._intake = intake
        self._rest = rest
        self._emit = emit
        self._tick_s = tick_s
        self._paused = False
        self._started = False
        # per candle clock: (when it was looked at, the newest open time that was overdue then), oldest first
        self._looks: dict[tuple[str, Timeframe], list[tuple[float, int]]] = {}
        self._askings: dict[tuple[str, Timeframe, int], int] = {}
        # per candle clock: (how long REST was left alone last, until when), after it failed
        self._pauses: dict[tuple[str, Timeframe], tuple[float, float]] = {}

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
            for slots in ripe:
                tasks.create_task(self._fetch(self._rest, slots, limit))

    def _ripe(self, exchange_ns: int) -> list[Slots]:
        """Return what has been overdue long enough; remember what has just become so."""
        now = asyncio.get_running_loop().time()
        ripe: list[Slots] = []
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
            ripe += [(*key, first_ns, min(last_ns, until_ns)) for first_ns, last_ns in due if first_ns <= until_ns]
        return ripe

    async def _fetch(self, rest: ExchangeRest, slots: Slots, limit: asyncio.Semaphore) -> None:
        symbol, timeframe, first_ns, last_ns = slots
        async with limit:
            await self._fetch_pages(rest, symbol, timeframe, first_ns, last_ns)
        # whatever is still missing has to settle again before it is asked for again
        self._looks.pop((symbol, timeframe), None)

    async def _fetch_pages(
        self, rest: ExchangeRest, symbol: str, timeframe: Timeframe, first_ns: int, last_ns: int
    ) -> None:
        clock = self._intake.clocks[symbol, timeframe]
        for page_first, page_last in _pages(timeframe, first_ns, last_ns):
            if self._paused:
                return
            wanted = list(_opens(timeframe, page_first, page_last))
            self._emit(
                events.CandleOverdue(
                    venue=self._intake.venue.value,
                    symbol=symbol,
                    timeframe=timeframe.value,
                    first_open=utc_text(page_first),
                    slots=len(wanted),
                )
            )
            try:
                candles = await rest.klines(symbol, timeframe, page_first, page_last)
            except CryptoQuantError as problem:
                # whatever ails REST, the streams go on, and the candles stay owed
                pause_s = min(2 * self._pauses.get((symbol, timeframe), (_FIRST_PAUSE_S / 2, 0))[0], _LAST_PAUSE_S)
                self._pauses[symbol, timeframe] = pause_s, asyncio.get_running_loop().time() + pause_s
                self._emit(
                    events.RestFailed(request=f"klines {symbol} {timeframe}", cause=str(problem), retry_in_s=pause_s)
                )
                return
            self._pauses.pop((symbol, timeframe), None)
            for candle in closed_only(candles, self._intake.exchange_ns):
                if page_first <= candle.open_ns <= page_last and self._intake.candle(candle, clock, "rest"):
                    self._intake.count_fetched()
            had = {candle.open_ns for candle in candles}
            for open_ns in wanted:
                if open_ns not in had:
                    self._not_there(symbol, timeframe, open_ns)

    def _not_there(self, symbol: str, timeframe: Timeframe, open_ns: int) -> None:
        key = (symbol, timeframe, open_ns)
        askings = self._askings.pop(key, 0) + 1
        if askings < _TRIES_BEFORE_ABSENT:
            self._askings[key] = askings
            return
        self._intake.clocks[symbol, timeframe].give_up(open_ns)
        self._emit(
            events.CandleAbsent(
                venue=self._intake.venue.value,
                symbol=symbol,
                timeframe=timeframe.value,
                open_time=utc_text(open_ns),
            )
        )

    async def _ask_time(self, rest: ExchangeRest) -> None:
        try:
            self._intake.exchange_ns = max(self._intake.exchange_ns, await rest.server_time_ns())
        except CryptoQuantError as problem:
            self._emit(events.RestFailed(request="time", cause=str(problem), retry_in_s=_ASK_TIME_AFTER_S))


def _opens(timeframe: Timeframe, first_ns: int, last_ns: int) -> Iterable[int]:
    while first_ns <= last_ns:
        yield first_ns
        first_ns = timeframe.next_open_ns(first_ns)


def _pages(timeframe: Timeframe, first_ns: int, last_ns: int) -> Iterable[tuple[int, int]]:
    """Cut a range of open times, both inclusive, into ranges of at most a page."""
    start, end, count = first_ns, first_ns, 0
    for open_ns in _opens(timeframe, first_ns, last_ns):
        if count == _SLOTS_A_REQUEST:
            yield start, end
            start, count = open_ns, 0
        end = open_ns
        count += 1
    if count:
        yield start, end
