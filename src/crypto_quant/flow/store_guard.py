"""A store that has gone back behind what it had confirmed: found, told, and what it lacks is fetched again.

A commit that was confirmed can be gone: a standby took over that had not received it, a backup was restored, the
server crashed with ``synchronous_commit`` off. Coverage is in the same database and just as old, so it is true there;
what is wrong then is the recorder's belief. So after every outage, and whenever another server (or another run of the
same) answers, what was confirmed is held against what is covered.
"""

import asyncio

from crypto_quant import commands, events
from crypto_quant.continuity import Gap, RangeSet
from crypto_quant.errors import StoreDenied, StoreUnavailable
from crypto_quant.flow.confirmed import ConfirmedSink
from crypto_quant.flow.intake import Intake
from crypto_quant.market import Timeframe, utc_text
from crypto_quant.seams import Emit, Ledger

# without any sign of trouble: a pooler may have changed servers between two transactions, and nobody noticed
_POLL_S = 30.0
# between two looks, however often the store comes and goes
_SPACING_S = 5.0
# so many candles of a series are looked at, the newest ones
_SLOTS_BACK = 10_000


class StoreGuard:
    """Holds what ``confirmed`` remembers against the store; what is gone becomes gaps and overdue candles again.

    ``refilled`` says whether gaps are closed by a backfill of this run.
    """

    def __init__(
        self,
        confirmed: ConfirmedSink,
        ledger: Ledger,
        *,
        intake: Intake,
        emit: Emit,
        refilled: bool,
        poll_s: float = _POLL_S,
        spacing_s: float = _SPACING_S,
    ) -> None:
        self._confirmed = confirmed
        self._ledger = ledger
        self._intake = intake
        self._emit = emit
        self._refilled = refilled
        self._poll_s = poll_s
        self._spacing_s = spacing_s
        self._server = ""  # which has last been found to have everything

    async def run(self) -> None:
        """Keep watch until cancelled. A store that cannot be asked is asked again."""
        while True:
            try:
                async with asyncio.timeout(self._poll_s):
                    await self._confirmed.doubtful.wait()
            except TimeoutError:
                pass
            try:
                await self.look()
            except (StoreUnavailable, StoreDenied):
                self._server = ""  # the writers tell of it
            await asyncio.sleep(self._spacing_s)

    async def look(self) -> None:
        """Ask who answers; compare when that is another one, or there is doubt.

        Raises StoreUnavailable, StoreDenied.
        """
        server = await self._ledger.server()
        if server == self._server and not self._confirmed.doubtful.is_set():
            return
        # what fails from here on raises new doubt
        self._confirmed.doubtful.clear()
        self._server = ""
        for symbol in list(self._confirmed.trades):
            await self._trades(symbol)
        for symbol, timeframe in list(self._confirmed.candles):
            await self._candles(symbol, timeframe)
        self._server = server

    async def _trades(self, symbol: str) -> None:
        confirmed = self._confirmed.trades[symbol]
        # taken down before the store is asked: what is confirmed meanwhile need not be in its answer
        believed = confirmed.ranges()
        if not believed:
            return
        venue = self._intake.venue.value
        stored = RangeSet(await self._ledger.covered(venue, symbol, believed[0][0], believed[-1][1]))
        gone = [gap for first, last in believed for gap in stored.missing(first, last)]
        gone = await self._not_on_purpose(symbol, None, gone)
        if not gone:
            return
        for gap in gone:
            confirmed.discard(*gap)
        self._emit(
            events.TradesGone(
                venue=venue,
                symbol=symbol,
                first=gone[0].first,
                last=gone[-1].last,
                trades=sum(gap.size for gap in gone),
                hint=self._hint(symbol),
            )
        )
        for gap in gone:
            self._intake.lost(symbol, gap)

    async def _candles(self, symbol: str, timeframe: Timeframe) -> None:
        confirmed = self._confirmed.candles[symbol, timeframe]
        clock = self._intake.clocks[symbol, timeframe]
        believed = confirmed.ranges()
        if not believed:
            return
        first, last = max(believed[0][0], believed[-1][1] - _SLOTS_BACK + 1), believed[-1][1]
        believed = confirmed.within(first, last)
        venue = self._intake.venue.value
        opens = await self._ledger.candle_opens(
            venue, symbol, timeframe.value, clock.open_ns(first), clock.open_ns(last + 1) - 1
        )
        stored = RangeSet()
        for open_ns in opens:
            slot = clock.slot(open_ns)
            stored.add(slot, slot)
        gone = [gap for begin, end in believed for gap in stored.missing(begin, end)]
        gone = await self._not_on_purpose(symbol, timeframe.value, gone)
        if not gone:
            return
        self._emit(
            events.CandlesGone(
                venue=venue,
                symbol=symbol,
                timeframe=timeframe.value,
                first_open=utc_text(clock.open_ns(gone[0].first)),
                last_open=utc_text(clock.open_ns(gone[-1].last)),
                candles=sum(gap.size for gap in gone),
                hint="They are fetched again over REST",
            )
        )
        for gap in gone:
            confirmed.discard(*gap)
            clock.lost(*gap)

    async def _not_on_purpose(self, symbol: str, timeframe: str | None, gone: list[Gap]) -> list[Gap]:
        """Return what of ``gone`` was not dropped on purpose."""
        if not gone:
            return []
        venue = self._intake.venue.value
        dropped = RangeSet(await self._ledger.dropped(venue, symbol, timeframe, gone[0].first, gone[-1].last))
        return [left for gap in gone for left in dropped.missing(*gap)]

    def _hint(self, symbol: str) -> str:
        if self._refilled:
            return "They are fetched again over REST"
        return f"`{commands.repair(self._intake.venue.value, symbol)}` fetches them again"
