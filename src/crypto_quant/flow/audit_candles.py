"""The audit's part for candles: rows against claims, in both directions, series by series.

It trusts ``candle_coverage`` of a series when the rows, counted, are those that it claims; else it reads the rows.
"""

import msgspec

from crypto_quant.claims import Claim, Claims, Fault, Held, contradictions, hold, ranges
from crypto_quant.continuity import RangeSet
from crypto_quant.evidence import Reader, Scope, Series, Span
from crypto_quant.flow.claimed import candle_claims
from crypto_quant.flow.report import SlotFaultReport, SlotRangeReport, SlotsReport
from crypto_quant.market import Timeframe, utc_text

_Key = tuple[str, str, str]


class CandleAccount(msgspec.Struct):
    """What is stored of one series within the days asked for, and what is claimed of it.

    ``window`` is the first and the last slot that opens within these days, inclusive; None: no bound on that side.
    """

    series: Series
    rows_read: bool
    claimed: bool
    window: tuple[int | None, int | None]
    claims: Claims = msgspec.field(default_factory=Claims)

    @property
    def frame(self) -> Timeframe:
        """The series' timeframe."""
        return Timeframe(self.series.timeframe)

    def rows(self) -> RangeSet:
        """Return the slots that have a row; of rows that were merely counted, all that are claimed."""
        if not self.series.rows:
            return RangeSet()
        frame = self.frame
        first, last = frame.slot(self.series.first_ns), frame.slot(self.series.last_ns)
        if not self.rows_read:
            return RangeSet(self.claims.stored().within(first, last))
        found = RangeSet([(first, last)])
        for before, after in self.series.jumps:
            low, high = frame.slot(before) + 1, frame.slot(after) - 1
            if low <= high:
                found.discard(low, high)
        return found

    def fits(self) -> bool:
        """Tell whether the rows, counted, are those that are claimed: as many, from the first to the last."""
        if not self.series.rows or self.series.misplaced:
            return not self.series.rows
        claimed = self._inside(self.claims.stored())
        ends = claimed.ranges()
        slots = self.frame.slot(self.series.first_ns), self.frame.slot(self.series.last_ns)
        return claimed.size == self.series.rows and (ends[0][0], ends[-1][1]) == slots

    def held(self) -> Held:
        """Return what rows and claims say of each other within the days."""
        return hold(self.rows(), self.claims, self.claims, self._bounds())

    def faults(self, now_ns: int) -> list[SlotFaultReport]:
        """Return the claims that contradict rows or each other."""
        if not self.claimed:
            return []
        found = [*self.held().faults, *contradictions(self.claims, now_ns=now_ns, ids=False), *self._too_early()]
        return [SlotFaultReport(each.kind, *self._opens(each.first, each.last), each.count) for each in found]

    def holes(self) -> list[SlotsReport]:
        """Return the candles that are missing, those that are rightly so left out."""
        held = self.held()
        found = sorted([*((gap, gap.size) for gap in held.lost), *((gap, 0) for gap in held.missing)])
        return [SlotsReport(*self._opens(gap.first, gap.last), gap.size, lost) for gap, lost in found]

    def sources(self) -> dict[str, int]:
        """Return how many of the candles within the days are claimed, by source."""
        found: dict[str, int] = {}
        for claim in self.claims.covered:
            slots = self._inside(ranges([claim])).size
            if slots:
                found[claim.source] = found.get(claim.source, 0) + slots
        return found

    def covered(self) -> list[SlotRangeReport]:
        """Return what is claimed, and by whom."""
        return [self._range(each, each.first, each.last) for each in self.claims.covered]

    def absent(self) -> list[SlotRangeReport]:
        """Return what is known to exist nowhere, with the proof as its source."""
        return [
            SlotRangeReport(*self._opens(each.first, each.last), each.last - each.first + 1, each.proof)
            for each in self.claims.absent
        ]

    def dropped(self) -> list[SlotRangeReport]:
        """Return what was dropped on purpose and not fetched again."""
        return [self._range(each, *gap) for each, gap in self.claims.left()]

    def _inside(self, slots: RangeSet) -> RangeSet:
        """Return the part of these slots that lies within the days."""
        first, last = self.window
        known = slots.ranges()
        if not known:
            return slots
        low = known[0][0] if first is None else max(first, known[0][0])
        high = known[-1][1] if last is None else min(last, known[-1][1])
        return RangeSet(slots.within(low, high)) if low <= high else RangeSet()

    def _bounds(self) -> tuple[int, int] | None:
        """Return the slots to be accounted for: those of the days, as far as the record goes at all."""
        known = RangeSet([*self.rows().ranges(), *self.claims.stored().ranges()]).ranges()
        if not known:
            return None
        first, last = self.window
        low = known[0][0] if first is None else max(first, known[0][0])
        high = known[-1][1] if last is None else min(last, known[-1][1])
        return (low, high) if low <= high else None

    def _too_early(self) -> list[Fault]:
        """Return absences that were recorded before the candle was over, so that nobody could know."""
        frame = self.frame
        early = [
            each for each in self.claims.absent if each.proven_ns < frame.next_open_ns(frame.slot_open_ns(each.last))
        ]
        return [Fault("absent before its end", each.first, each.last, each.last - each.first + 1) for each in early]

    def _range(self, fill: Claim, first: int, last: int) -> SlotRangeReport:
        since, until = utc_text(fill.since_ns), utc_text(fill.until_ns)
        return SlotRangeReport(*self._opens(first, last), last - first + 1, fill.source, since, until)

    def _opens(self, first: int, last: int) -> tuple[str, str]:
        frame, known_ns = self.frame, self.series.first_ns
        # of 3d alone the raster may lie elsewhere than the slots say
        shift_ns = known_ns - frame.slot_open_ns(frame.slot(known_ns)) if frame is Timeframe.D3 and known_ns >= 0 else 0
        return utc_text(frame.slot_open_ns(first) + shift_ns), utc_text(frame.slot_open_ns(last) + shift_ns)


async def candle_accounts(
    reader: Reader, scope: Scope, span: Span, asked: tuple[bool, bool], *, deep: bool
) -> list[CandleAccount]:
    """Return one account a series that has rows or claims in the span, as of one moment; ``deep`` reads every row.

    ``asked`` tells whether the span's start and its end were asked for, or are just as far as the record goes.
    """
    async with reader.snapshot():
        claimed = await reader.missing_tables() is not None
        claims = await candle_claims(reader, scope)
        series = {_key(each): each for each in await (reader.series if deep else reader.counted_candles)(scope, span)}
        accounts = {}
        for key in sorted({*series, *claims}):
            found = series.get(key) or Series(*key, 0, -1, -1)
            mine = claims.get(key, Claims())
            read = deep or not mine.covered
            accounts[key] = CandleAccount(found, read, claimed, _window(Timeframe(key[2]), span, asked), mine)
        if not deep:
            await _read(reader, span, accounts)
    return [each for each in accounts.values() if each.series.rows or each.holes() or not any(asked)]


async def _read(reader: Reader, span: Span, accounts: dict[_Key, CandleAccount]) -> None:
    """Read the series whose rows are not as claimed."""
    doubtful: dict[str, set[str]] = {}
    for (venue, symbol, _), account in accounts.items():
        if account.series.rows and not account.fits():
            doubtful.setdefault(venue, set()).add(symbol)
    for venue, symbols in doubtful.items():
        for series in await reader.series(Scope(venue, tuple(sorted(symbols))), span):
            account = accounts[_key(series)]
            if not account.fits():
                account.series, account.rows_read = series, True


def _window(frame: Timeframe, span: Span, asked: tuple[bool, bool]) -> tuple[int | None, int | None]:
    """Return the first and the last slot that opens within the span, where its start and its end were asked for."""
    slot = frame.slot(span.start)
    first = slot if frame.slot_open_ns(slot) >= span.start else slot + 1
    return first if asked[0] else None, frame.slot(span.end - 1) if asked[1] else None


def _key(each: Series) -> _Key:
    return each.venue, each.symbol, each.timeframe
