"""The audit's part for candles: which slots of each series are missing, and how the others were filled.

It trusts ``candle_coverage`` of a series when the rows, counted, are as many as it claims; else it reads the rows.
"""

from collections.abc import Sequence

import msgspec

from crypto_quant.continuity import Gap, RangeSet
from crypto_quant.evidence import CandleAbsence, CandleFill, Reader, Scope, Series, Span
from crypto_quant.flow.report import SlotRangeReport, SlotsReport
from crypto_quant.market import Timeframe, utc_text

_Key = tuple[str, str, str]


class CandleAccount(msgspec.Struct):
    """What is stored of one series within the days asked for, and what is claimed of it."""

    series: Series
    rows_read: bool
    fills: list[CandleFill] = []
    absences: list[CandleAbsence] = []
    dropped: list[CandleFill] = []

    @property
    def frame(self) -> Timeframe:
        """The series' timeframe."""
        return Timeframe(self.series.timeframe)

    @property
    def bounds(self) -> tuple[int, int]:
        """The slots of the first and the last candle."""
        return self.frame.slot(self.series.first_ns), self.frame.slot(self.series.last_ns)

    def fits(self) -> bool:
        """Tell whether there are as many candles as are claimed between the first and the last."""
        first, last = self.bounds
        return sum(self.sources().values()) == self.series.rows and first <= last and not self.series.misplaced

    def sources(self) -> dict[str, int]:
        """Return how many of the candles between the first and the last are claimed, by source."""
        first, last = self.bounds
        found: dict[str, int] = {}
        for fill in self.fills:
            slots = min(last, fill.last) - max(first, fill.first) + 1
            if slots > 0:
                found[fill.source] = found.get(fill.source, 0) + slots
        return found

    def holes(self) -> list[SlotsReport]:
        """Return the candles that are missing between the first and the last, those absent everywhere left out."""
        frame, (first, last) = self.frame, self.bounds
        if self.rows_read:
            gaps = [Gap(frame.slot(before) + 1, frame.slot(after) - 1) for before, after in self.series.jumps]
        else:
            gaps = RangeSet((fill.first, fill.last) for fill in self.fills).missing(first, last)
        absent = RangeSet((each.first, each.last) for each in self.absences)
        for gone in self.gone():
            absent.add(gone.first, gone.last)
        holes = [hole for gap in gaps if gap.size > 0 for hole in absent.missing(*gap)]
        return [SlotsReport(*self._opens(hole.first, hole.last), hole.size) for hole in holes]

    def covered(self) -> list[SlotRangeReport]:
        """Return what is claimed, and by whom."""
        return self._told(self.fills)

    def absent(self) -> list[SlotRangeReport]:
        """Return what is known to exist nowhere, with the proof as its source."""
        return [
            SlotRangeReport(*self._opens(each.first, each.last), each.last - each.first + 1, each.proof)
            for each in self.absences
        ]

    def gone(self) -> list[CandleFill]:
        """Return what was dropped on purpose and not fetched again."""
        held = RangeSet((each.first, each.last) for each in self.fills)
        return [
            msgspec.structs.replace(each, first=first, last=last)
            for each in self.dropped
            for first, last in held.missing(each.first, each.last)
        ]

    def dropped_slots(self) -> list[SlotRangeReport]:
        """Return what was dropped on purpose and not fetched again."""
        return self._told(self.gone())

    def _told(self, ranges: Sequence[CandleFill]) -> list[SlotRangeReport]:
        return [
            SlotRangeReport(
                *self._opens(each.first, each.last),
                each.last - each.first + 1,
                each.source,
                utc_text(each.since_ns),
                utc_text(each.until_ns),
            )
            for each in ranges
        ]

    def _opens(self, first: int, last: int) -> tuple[str, str]:
        frame, known_ns = self.frame, self.series.first_ns
        # of 3d alone the raster may lie elsewhere than the slots say
        shift_ns = known_ns - frame.slot_open_ns(frame.slot(known_ns)) if frame is Timeframe.D3 else 0
        return utc_text(frame.slot_open_ns(first) + shift_ns), utc_text(frame.slot_open_ns(last) + shift_ns)


async def candle_accounts(reader: Reader, scope: Scope, span: Span, *, deep: bool) -> list[CandleAccount]:
    """Return one account a series that has candles in the span, as of one moment; with ``deep`` every row is read."""
    async with reader.snapshot():
        series = await (reader.series if deep else reader.counted_candles)(scope, span)
        accounts = {_key(each): CandleAccount(each, deep) for each in series}
        for fill in await reader.candle_fills(scope):
            if account := accounts.get(_key(fill)):
                account.fills.append(fill)
        for gone in await reader.candle_dropped(scope):
            if account := accounts.get(_key(gone)):
                account.dropped.append(gone)
        for absence in await reader.candle_absences(scope):
            if account := accounts.get(_key(absence)):
                account.absences.append(absence)
        if not deep:
            await _read(reader, span, accounts)
    return list(accounts.values())


async def _read(reader: Reader, span: Span, accounts: dict[_Key, CandleAccount]) -> None:
    """Read the series whose rows are not as claimed."""
    doubtful: dict[str, set[str]] = {}
    for (venue, symbol, _), account in accounts.items():
        if not account.fits():
            doubtful.setdefault(venue, set()).add(symbol)
    for venue, symbols in doubtful.items():
        for series in await reader.series(Scope(venue, tuple(sorted(symbols))), span):
            account = accounts[_key(series)]
            if not account.fits():
                account.series, account.rows_read = series, True


def _key(each: Series | CandleFill | CandleAbsence) -> _Key:
    return each.venue, each.symbol, each.timeframe
