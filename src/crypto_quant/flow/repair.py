"""What an audit found missing, fetched: trades over REST by id, then from archives; candles from archives and REST."""

from collections.abc import Sequence
from datetime import date
from typing import Protocol

from crypto_quant.binance.backhistory import PAGE
from crypto_quant.binance.streams import Stream
from crypto_quant.binance.venues import StreamKind
from crypto_quant.claims import UNCLAIMED
from crypto_quant.continuity import Gap, runs, without
from crypto_quant.errors import RetryableError, SetAsideError
from crypto_quant.flow.audit import Progress
from crypto_quant.flow.delivery import Delivery
from crypto_quant.flow.history_run import HistoryRun
from crypto_quant.flow.loading import Wanted
from crypto_quant.flow.report import CandleReport, HoleReport, Report, SlotsReport, SymbolReport
from crypto_quant.flow.rest import ExchangeRest
from crypto_quant.market import Timeframe, day_of, parse_utc
from crypto_quant.seams import Source

# a whole process' weight, less what a recorder beside it wants
_SHARE = 0.75
_TRIES = 5
_AGG_TRADE = Stream(StreamKind.AGG_TRADE)


class Forget(Protocol):
    """Takes ids, or with a timeframe slots of candles (inclusive ranges), out of what is claimed."""

    async def __call__(
        self, venue: str, symbol: str, ranges: Sequence[tuple[int, int]], timeframe: str | None = None
    ) -> None: ...


class Repairer:
    """Closes the holes of one venue's report. Repeating it changes nothing; cancelling is safe.

    ``forget`` takes ids out of the coverage: rows that were proven and have gone are to be fetched like others.
    What could not be had is not told here: audit again.
    """

    def __init__(
        self, rest: ExchangeRest, delivery: Delivery, history: HistoryRun, forget: Forget, progress: Progress
    ) -> None:
        self._rest = rest
        self._delivery = delivery
        self._history = history
        self._forget = forget
        self._progress = progress
        self._done = self._total = 0
        self._written = 0

    async def run(self, report: Report) -> int:
        """Fetch what is missing; return how many rows were new. Raises the store's errors."""
        self._total = report.totals()["missing"] + report.totals()["candles_missing"]
        for symbol in report.symbols:
            await self._trades(symbol)
        for series in report.candles:
            frame = Timeframe(series.timeframe)
            gone = [_slots(frame, hole) for hole in series.holes if hole.claimed]
            if gone:
                await self._forget(series.venue, series.symbol, gone, series.timeframe)
            for hole in series.holes:
                await self._candles(series, hole)
        return self._written

    def _step(self, what: str, count: int) -> None:
        self._done += count
        self._progress(what, self._done, self._total)

    async def _trades(self, symbol: SymbolReport) -> None:
        gone = [(hole.first, hole.last) for hole in symbol.holes if hole.claimed]
        if gone:
            await self._forget(symbol.venue, symbol.symbol, gone)
        for fault in symbol.faults:
            if fault.kind == UNCLAIMED:
                # what the exchange has as well is claimed by being stored again; its content is compared
                await self._over_rest(symbol.symbol, Gap(fault.first, fault.last))
        for hole in symbol.holes:
            if await self._over_rest(symbol.symbol, Gap(hole.first, hole.last)):
                await self._from_archives(symbol.symbol, *hole_days(symbol, hole))

    async def _over_rest(self, symbol: str, gap: Gap) -> list[Gap]:
        """Fill a hole by id; return what REST has not, or could not be asked for."""
        lacking: list[Gap] = []
        left = gap
        while left.size > 0:
            first, size = left.first, min(PAGE, left.size)
            try:
                page = await self._rest.insist(
                    f"aggTrades {symbol} from {first}",
                    lambda: self._rest.agg_trades(symbol, first, size, share=_SHARE),  # noqa: B023 - awaited here
                    _TRIES,
                )
            except (RetryableError, SetAsideError):
                return [*lacking, left]  # told with each try
            if not page.ids:
                return [*lacking, left]
            held = page.upto(left.last)
            proven = runs(held.ids)
            receipt = await self._delivery.trades(symbol, held.row_ids, held.rows, proven, Source.REST)
            self._written += receipt.written
            # REST answers with a later id where it lacks the asked one
            reached = min(page.ids[-1], left.last)
            lacking += without(Gap(left.first, reached), proven)
            self._step(f"{symbol} over REST", reached - left.first + 1)
            left = Gap(reached + 1, left.last)
        return lacking

    async def _from_archives(self, symbol: str, first: date, last: date) -> None:
        """Load days (inclusive) from the archives; what neither source has is recorded as absent, with the proof."""
        self._step(f"{symbol} from archives, {first} to {last}", 0)
        for outcome in await self._history.run([Wanted(symbol, _AGG_TRADE, first, last)]):
            self._written += outcome.rows_written

    async def _candles(self, series: CandleReport, hole: SlotsReport) -> None:
        """Load the days of a hole; what neither files nor REST have is recorded as absent there, with the proof."""
        frame = Timeframe(series.timeframe)
        self._step(f"{series.symbol} {frame} from {hole.first_open}", 0)
        first, last = day_of(parse_utc(hole.first_open)), day_of(parse_utc(hole.last_open))
        stream, slots = Stream(StreamKind.KLINE, frame), Gap(*_slots(frame, hole))
        for outcome in await self._history.run([Wanted(series.symbol, stream, first, last, slots)]):
            self._written += outcome.rows_written
        self._step(f"{series.symbol} {frame} from {hole.first_open}", hole.slots)


def _slots(frame: Timeframe, hole: SlotsReport) -> tuple[int, int]:
    return frame.slot(parse_utc(hole.first_open)), frame.slot(parse_utc(hole.last_open))


def hole_days(symbol: SymbolReport, hole: HoleReport) -> tuple[date, date]:
    """Return the days over which a hole may reach, both inclusive: from the last trade before it to the first behind.

    Where the rows on either side were not read, the days of the report tell: the next one with a higher id is the
    one on which the record goes on.
    """
    told = [date.fromisoformat(hole.day)]
    told += [date.fromisoformat(moment[:10]) for moment in (hole.after, hole.before) if moment]
    if hole.after is None:
        told += [date.fromisoformat(day.day) for day in symbol.days if day.first_id < hole.first][-1:]
    if hole.before is None:
        told += [date.fromisoformat(day.day) for day in symbol.days if day.last_id > hole.last][:1]
    return min(told), max(told)
