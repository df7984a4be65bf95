"""Trades of the past over REST, by id: what an answer proves is stored, what it jumps over is asked for again."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import date

from crypto_quant import events
from crypto_quant.binance.backhistory import PAGE, Page
from crypto_quant.continuity import Gap, runs, without
from crypto_quant.errors import RetryableError, SetAsideError
from crypto_quant.flow.delivery import Delivery
from crypto_quant.flow.rest import ExchangeRest
from crypto_quant.market import Venue, day_ns
from crypto_quant.seams import Emit, Ledger, Source

ASKED = 3
ASKED_APART_S = 1.0
# the weight that a whole process may use, less what a recorder beside it wants
_SHARE = 0.75
_TRIES = 5


class Fetched:
    """How much came: ``rows`` were read, ``written`` of them were new, ``absent`` ids exist nowhere."""

    def __init__(self) -> None:
        self.rows = self.written = self.absent = 0


class TradesOverRest:
    """Asks for trades of one venue and stores what comes.

    A page proves its own rows and what it jumps over between them, nothing behind its last row: an exchange may give
    fewer rows than were asked for, or none for a moment. An empty or jumping answer is believed after three askings.
    """

    def __init__(
        self,
        rest: ExchangeRest,
        delivery: Delivery,
        ledger: Ledger,
        *,
        venue: Venue,
        emit: Emit,
        asked_apart_s: float = ASKED_APART_S,
    ) -> None:
        self._rest = rest
        self._delivery = delivery
        self._ledger = ledger
        self._venue = venue
        self._emit = emit
        self._asked_apart_s = asked_apart_s
        # per symbol and day: the first trade at or after its begin
        self._begins: dict[tuple[str, date], Page | None] = {}
        # per symbol: the earliest day from whose begin on there is no trade
        self._ended: dict[str, date] = {}

    async def begin(self, symbol: str, day: date) -> Page | None:
        """Return a page of the first trade at or after a day's begin, empty when there is none; None: not known."""
        if self._venue is not Venue.SPOT:
            return None  # no day's begin lies within what futures look through
        if symbol in self._ended and day >= self._ended[symbol]:
            return Page([], [], [], [], 0)
        key = (symbol, day)
        if key not in self._begins:
            page = await self._ask(lambda: self._rest.first_agg_trade(symbol, day_ns(day), share=_SHARE))
            self._begins[key] = page
            if page is not None and not page.ids:
                self._ended[symbol] = min(day, self._ended.get(symbol, day))
        return self._begins[key]

    async def newest(self, symbol: str) -> int | None:
        """Return the id of the most recent trade; None when REST tells of none."""
        page = await self._ask(lambda: self._rest.newest_agg_trade(symbol, share=_SHARE))
        return page.ids[-1] if page is not None and page.ids else None

    async def fill(self, symbol: str, hole: Gap, elsewhere: str) -> Fetched:
        """Store what REST has of a hole.

        Ids that it jumps over three times are recorded as absent if another source lacks them too; ``elsewhere``
        names it, in words, and is empty when there is none. What else is left stays a hole.
        """
        fetched = Fetched()
        jumped = await self._walk(symbol, hole, fetched)
        for _ in range(ASKED - 1):
            if not jumped:
                return fetched
            await asyncio.sleep(self._asked_apart_s)
            jumped = [part for gap in jumped for part in await self._walk(symbol, gap, fetched)]
        for gap in jumped if elsewhere else ():
            await self._absent(symbol, gap, f"REST jumped over them {ASKED} times; {elsewhere}")
            fetched.absent += gap.size
        return fetched

    async def _walk(self, symbol: str, hole: Gap, fetched: Fetched) -> list[Gap]:
        """Store what pages have of a hole; return what they jump over. Where there is no answer any more it ends."""
        jumped: list[Gap] = []
        left = hole
        while left.size > 0:
            first, size = left.first, min(PAGE, left.size)
            page = await self._ask(lambda: self._rest.agg_trades(symbol, first, size, share=_SHARE))  # noqa: B023
            if page is None or not page.ids:
                break
            held = page.upto(left.last)
            proven = runs(held.ids)
            receipt = await self._delivery.trades(symbol, held.row_ids, held.rows, proven, Source.REST)
            fetched.rows += len(held.rows)
            fetched.written += receipt.written
            reached = min(page.ids[-1], left.last)
            jumped += without(Gap(left.first, reached), proven)
            left = Gap(reached + 1, left.last)
        return jumped

    async def _ask(self, ask: Callable[[], Awaitable[Page]]) -> Page | None:
        """Return the page, an empty one only when it comes three times; None when REST cannot give it, which was told.

        The archive may have the rows.
        """
        try:
            for attempt in range(ASKED):
                if attempt:
                    await asyncio.sleep(self._asked_apart_s)
                page = await self._rest.insist("aggTrades", ask, _TRIES)
                if page.ids:
                    break
        except RetryableError:
            return None  # told with each try
        except SetAsideError as problem:
            self._emit(events.RestFailed(request="aggTrades", cause=str(problem), retry_in_s=None))
            return None
        return page

    async def _absent(self, symbol: str, gap: Gap, proof: str) -> None:
        await self._ledger.record_absence(self._venue.value, symbol, gap.first, gap.last, proof)
        self._emit(
            events.TradesAbsent(venue=self._venue.value, symbol=symbol, first=gap.first, last=gap.last, proof=proof)
        )
