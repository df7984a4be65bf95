"""Absences asked for again: what some source has after all is stored, and is absent no more."""

from datetime import date, timedelta
from typing import Protocol

from crypto_quant.binance.streams import Stream
from crypto_quant.binance.venues import StreamKind
from crypto_quant.continuity import Gap
from crypto_quant.flow.audit import Progress
from crypto_quant.flow.history_run import HistoryRun
from crypto_quant.flow.loading import Wanted
from crypto_quant.flow.report import CandleReport, Report, SymbolReport
from crypto_quant.market import Timeframe, day_of, parse_utc

# trades around an absence may lie far apart: then files of its ends alone are read
_DAYS_EACH_SIDE = 2


class Times(Protocol):
    """Who knows when trades were."""

    async def times_around(self, venue: str, symbol: str, first: int, last: int) -> tuple[int | None, int | None]:
        """Return the times (ns) of the stored trades next to some ids (inclusive); None: there is none."""
        ...


class Rechecker:
    """Asks for every absence of one venue's report again. Repeating it changes nothing; cancelling is safe.

    What is answered leaves the absences in the transaction that stores it; what no source has keeps its proof. So
    nothing is lost when a source is away.
    """

    def __init__(self, history: HistoryRun, times: Times, progress: Progress) -> None:
        self._history = history
        self._times = times
        self._progress = progress
        self._done = self._total = 0

    async def run(self, report: Report) -> int:
        """Ask again; return how many rows were new. Raises the store's errors, and ExchangeUnavailable."""
        totals = report.totals()
        self._total = totals["absent"] + totals["candles_absent"]
        written = [await self._trades(each) for each in report.symbols if each.absent]
        return sum(written) + sum([await self._candles(each) for each in report.candles if each.absent])

    async def _trades(self, symbol: SymbolReport) -> int:
        absent = [Gap(each.first, each.last) for each in symbol.absent]
        days: set[date] = set()
        for gap in absent:
            times = await self._times.times_around(symbol.venue, symbol.symbol, *gap)
            days |= _between(*[day_of(each) for each in times if each is not None])
        written = await self._history.trades_again(symbol.symbol, absent, sorted(days))
        self._step(symbol.symbol, sum(gap.size for gap in absent))
        return written

    async def _candles(self, series: CandleReport) -> int:
        frame = Timeframe(series.timeframe)
        ends = [(parse_utc(each.first_open), parse_utc(each.last_open)) for each in series.absent]
        slots = [Gap(frame.slot(first), frame.slot(last)) for first, last in ends]
        first, last = day_of(min(ends)[0]), day_of(max(last for _, last in ends))
        wanted = Wanted(series.symbol, Stream(StreamKind.KLINE, frame), first, last)
        written = await self._history.candles_again(wanted, slots)
        self._step(f"{series.symbol} {frame}", sum(gap.size for gap in slots))
        return written

    def _step(self, what: str, count: int) -> None:
        self._done += count
        self._progress(f"{what} asked for again", self._done, self._total)


def _between(*ends: date) -> set[date]:
    """Return the days from one end to the other, without the middle where that is long."""
    if not ends:
        return set()
    first, last = min(ends), max(ends)
    days = {first + timedelta(days=number) for number in range((last - first).days + 1)}
    return {day for day in days if min((day - first).days, (last - day).days) < _DAYS_EACH_SIDE}
