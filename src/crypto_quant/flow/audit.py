"""The audit: a store's rows held against themselves, day by day, and what is missing named.

It trusts ``coverage`` where there is some, and counts the rows against it; ``deep`` reads every row instead and holds
the candles against their trades. Memory is bounded by what is wrong, not by what is stored.
"""

from collections.abc import Callable, Sequence
from datetime import date, timedelta

import msgspec

from crypto_quant.continuity import RangeSet
from crypto_quant.errors import ConfigError
from crypto_quant.evidence import Absence, Fill, Pair, Reader, Run, Scope, Series, Span, Tally, Verdict
from crypto_quant.flow.audit_candles import CandleAccount, candle_accounts
from crypto_quant.flow.report import (
    CandleReport,
    DayReport,
    DoubledReport,
    HoleReport,
    RangeReport,
    Report,
    SymbolReport,
)
from crypto_quant.judgement import Break, Hole, claimed_holes, differences, sweep, whole
from crypto_quant.market import DAY_NS, NS_PER_S, Timeframe, day_ns, day_of, utc_text

# of doubled ids and of breaks so many are named a day and symbol; all are counted
NAMED_MAX = 100
_LONG = (Timeframe.D3, Timeframe.W1, Timeframe.MO1)

Progress = Callable[[str, int, int], None]
_Key = tuple[str, str]


def day_span(day: date) -> Span:
    """Return a UTC day as a span."""
    return Span(day_ns(day), day_ns(day) + DAY_NS)


class _Account(msgspec.Struct):
    """What has been learnt of one symbol so far."""

    trusted: bool
    runs: list[Run] = []
    held: RangeSet = msgspec.field(default_factory=RangeSet)
    covered: RangeSet = msgspec.field(default_factory=RangeSet)
    void: RangeSet = msgspec.field(default_factory=RangeSet)
    absent: RangeSet = msgspec.field(default_factory=RangeSet)
    fills: list[Fill] = []
    absences: list[Absence] = []
    dropped: list[Fill] = []
    days: dict[date, DayReport] = {}
    doubled: list[DoubledReport] = []
    breaks: list[Break] = []


class Auditor:
    """One audit of the days ``first`` to ``last`` (inclusive, UTC; None: as far as the record goes).

    ``progress`` hears of each step: its name, how many are done and how many there are.
    """

    def __init__(
        self,
        reader: Reader,
        scope: Scope,
        first: date | None = None,
        last: date | None = None,
        *,
        deep: bool = False,
        progress: Progress | None = None,
    ) -> None:
        self._reader = reader
        self._scope = scope
        self._asked = (first, last)
        self._deep = deep
        self._progress = progress or (lambda _step, _done, _total: None)
        self._accounts: dict[_Key, _Account] = {}
        self._trusted: set[_Key] = set()
        self._tallies: dict[tuple[str, str, str], Tally] = {}
        self._unchecked: dict[tuple[str, str, str], int] = {}
        self._verdicts: list[Verdict] = []

    async def run(self, *, database: str, now_ns: int, version: str) -> Report:
        """Return what was found; with ``deep`` the verdicts are stored.

        Raises ConfigError when a symbol was never recorded or nothing is in the days asked for.
        """
        extent = await self._extent()
        first, last = self._days(extent)
        span = Span(day_span(first).start, day_span(last).end)
        if not self._deep:
            self._trusted = {(each.venue, each.symbol) for each in await self._reader.fills(self._scope)}
        accounts = await candle_accounts(self._reader, self._scope, span, deep=self._deep)
        series = [account.series for account in accounts]
        await self._look_beyond(extent, span)
        frames = {Timeframe(each.timeframe) for each in series if each.venue == "spot"} if self._deep else set()
        waiting: list[Pair] = []
        total = (last - first).days + 1
        for number in range(total):
            day = first + timedelta(days=number)
            self._progress(day.isoformat(), number, total)
            pairs = await self._read(day, frames)
            # a candle at the end of a day is whole only if the next day begins where it ended
            self._judge(waiting)
            waiting = pairs
        self._judge(waiting)
        if self._deep:
            self._progress("longer candles", total, total)
            await self._long_candles([each for each in series if each.venue == "spot"], span)
        await self._claims()
        kept = await self._reader.keep_verdicts(self._scope, span, self._verdicts, now_ns) if self._deep else None
        report = Report(
            version=version,
            checked_at=utc_text(now_ns),
            database=database,
            mode="deep" if self._deep else "coverage",
            first_day=first.isoformat(),
            last_day=last.isoformat(),
            record_begins=utc_text(extent.start),
            record_ends=utc_text(extent.end - 1),
            verdicts_stored=kept,
            symbols=[self._symbol(key) for key in sorted(self._accounts) if self._accounts[key].days],
            candles=[self._candles(each) for each in accounts],
        )
        if not report.symbols and not report.candles:
            raise ConfigError(
                "nothing is recorded in these days",
                subject=f"{first} to {last}",
                hint=f"The record goes from {report.record_begins} to {report.record_ends}",
            )
        return report

    # -- reading ------------------------------------------------------------------------------------------

    async def _extent(self) -> Span:
        """Return the time of the whole record; raise ConfigError for what was never recorded."""
        symbols = self._scope.symbols
        scopes = [Scope(self._scope.venue, (symbol,)) for symbol in symbols] or [self._scope]
        extents = {scope.symbols: await self._reader.extent(scope) for scope in scopes}
        unknown = [", ".join(name) for name, extent in extents.items() if extent is None]
        if unknown:
            gone = {each.symbol for each in await self._reader.dropped(self._scope)}
            if symbols and gone.issuperset(unknown):
                raise ConfigError(
                    "all that was recorded of it was dropped on purpose",
                    subject=", ".join(unknown),
                    hint="`crypto-quant backfill` fetches it again",
                )
            there = await self._reader.recorded()
            names = ", ".join(f"{symbol} ({venue})" for venue, symbol in there[:20])
            more = f" and {len(there) - 20} more" if len(there) > 20 else ""
            raise ConfigError(
                "never recorded in this database" if symbols else "nothing is recorded in this database",
                subject=", ".join(unknown) if symbols else self._scope.venue or "",
                hint=f"There are: {names}{more}" if there else "It holds no trades and no candles",
            )
        known = [extent for extent in extents.values() if extent is not None]
        return Span(min(each.start for each in known), max(each.end for each in known))

    def _days(self, extent: Span) -> tuple[date, date]:
        asked_first, asked_last = self._asked
        begins, ends = day_of(extent.start), day_of(extent.end - 1)
        first, last = max(asked_first or begins, begins), min(asked_last or ends, ends)
        if first > last:
            raise ConfigError(
                "nothing is recorded in these days",
                subject=f"{asked_first or begins} to {asked_last or ends}",
                hint=f"The record goes from {begins} to {ends}",
            )
        return first, last

    async def _look_beyond(self, extent: Span, span: Span) -> None:
        """Find the trades directly before and after the days asked for, so that their edges can be judged."""
        if extent.start < span.start:
            for run in await self._reader.counted(self._scope, Span(span.start - DAY_NS, span.start)):
                self._neighbour(run, run.last, run.last_ns)
        if extent.end > span.end:
            for run in await self._reader.counted(self._scope, Span(span.end, span.end + DAY_NS)):
                self._neighbour(run, run.first, run.first_ns)

    def _neighbour(self, run: Run, trade_id: int, time_ns: int) -> None:
        account = self._account((run.venue, run.symbol))
        account.runs.append(Run(run.venue, run.symbol, trade_id, trade_id, 0, time_ns, time_ns))
        account.held.add(trade_id, trade_id)

    async def _read(self, day: date, frames: set[Timeframe]) -> list[Pair]:
        span = day_span(day)
        async with self._reader.snapshot():
            if self._deep:
                await self._runs(self._scope, day, span)
            else:
                await self._count(day, span)
            short = {frame.value: _length_s(frame) for frame in frames if frame not in _LONG}
            if not short:
                return []
            base_s = min(60, *short.values())
            tallies, pairs = await self._reader.compare(self._scope, span, short, base_s)
        self._add(tallies)
        return pairs

    async def _runs(self, scope: Scope, day: date, span: Span) -> None:
        for run in await self._reader.runs(scope, span):
            account = self._account((run.venue, run.symbol))
            account.runs.append(run)
            account.held.add(run.first, run.last)
            report = _into(account.days, day, run)
            report.duplicates += run.repeats
            report.breaks += run.breaks
            if run.repeats:
                found = await self._reader.repeated(run, span, NAMED_MAX)
                account.doubled += [
                    DoubledReport(trade_id, trade_id, [utc_text(time) for time in times]) for trade_id, times in found
                ]
            if run.breaks:
                found_breaks = await self._reader.broken(run, span, NAMED_MAX)
                account.breaks += [Break(*each) for each in found_breaks]

    async def _count(self, day: date, span: Span) -> None:
        """Count the rows of a day against what coverage claims; read those of which it says nothing."""
        claims: dict[_Key, list[Fill]] = {}
        for fill in await self._reader.fills(self._scope):
            claims.setdefault((fill.venue, fill.symbol), []).append(fill)
        dropped: dict[_Key, list[Fill]] = {}
        for fill in await self._reader.dropped(self._scope):
            dropped.setdefault((fill.venue, fill.symbol), []).append(fill)
        unclaimed: dict[str, set[str]] = {}
        for run in await self._reader.counted(self._scope, span):
            key = (run.venue, run.symbol)
            if key not in self._trusted:
                unclaimed.setdefault(run.venue, set()).add(run.symbol)
                continue
            report = _into(self._account(key).days, day, run)
            rows = RangeSet((each.first, each.last) for each in claims.get(key, ()) if each.source != "void")
            claimed = _size(rows.within(run.first, run.last))
            surplus = run.rows - claimed
            if surplus > 0:
                # a drop that has not come to its end: no longer claimed, and still there
                leaving = RangeSet((each.first, each.last) for each in dropped.get(key, ()))
                surplus -= min(surplus, sum(_size(leaving.within(*gap)) for gap in rows.missing(run.first, run.last)))
            report.unaccounted -= surplus
        for venue, symbols in unclaimed.items():
            await self._runs(Scope(venue, tuple(sorted(symbols))), day, span)

    async def _long_candles(self, series: Sequence[Series], span: Span) -> None:
        """Compare the candles longer than a day, one opening after the other."""
        for frame in _LONG:
            mine = [each for each in series if each.timeframe == frame]
            if not mine:
                continue
            opens = min(each.first_ns for each in mine)
            end = max(each.last_ns for each in mine)
            while opens <= end:
                following = frame.next_open_ns(opens)
                length_s = (following - opens) // NS_PER_S
                wanted = Span(opens, following)
                tallies, pairs = await self._reader.compare(self._scope, wanted, {frame.value: length_s}, length_s)
                self._add(tallies)
                self._judge(pairs)
                opens = following

    def _add(self, tallies: Sequence[Tally]) -> None:
        for each in tallies:
            key = (each.venue, each.symbol, each.timeframe)
            before = self._tallies.get(key, Tally(*key, 0, 0))
            self._tallies[key] = Tally(*key, before.equal + each.equal, before.without_trades + each.without_trades)

    def _judge(self, pairs: Sequence[Pair]) -> None:
        for pair in pairs:
            key = (pair.venue, pair.symbol, pair.timeframe)
            account = self._account((pair.venue, pair.symbol))
            found = differences(pair)
            if not found:
                self._add([Tally(*key, 1, 0)])
            elif pair.trade_count == 0 or whole(pair.trades, account.held, account.void):
                self._verdicts += found
            else:
                self._unchecked[key] = self._unchecked.get(key, 0) + 1

    async def _claims(self) -> None:
        """Take down what coverage and absences say of the symbols that were looked at."""
        for fill in await self._reader.fills(self._scope):
            account = self._accounts.get((fill.venue, fill.symbol))
            if account is not None:
                account.fills.append(fill)
                (account.void if fill.source == "void" else account.covered).add(fill.first, fill.last)
        for absence in await self._reader.absences(self._scope):
            account = self._accounts.get((absence.venue, absence.symbol))
            if account is not None:
                account.absences.append(absence)
                account.absent.add(absence.first, absence.last)

        for gone in await self._reader.dropped(self._scope):
            account = self._accounts.get((gone.venue, gone.symbol))
            if account is not None:
                # what is covered was fetched again: should it lack now, it is missing
                left = [msgspec.structs.replace(gone, first=first, last=last)
                        for first, last in account.covered.missing(gone.first, gone.last)]  # fmt: skip
                account.dropped += left

    def _account(self, key: _Key) -> _Account:
        account = self._accounts.get(key)
        if account is None:
            account = self._accounts[key] = _Account(key in self._trusted)
        return account

    # -- the report ---------------------------------------------------------------------------------------

    def _symbol(self, key: _Key) -> SymbolReport:
        account = self._accounts[key]
        days = account.days
        first = min(each.first_id for each in days.values())
        last = max(each.last_id for each in days.values())
        absent = RangeSet([*account.absent.ranges(), *((each.first, each.last) for each in account.dropped)])
        excused = RangeSet([*account.void.ranges(), *absent.ranges()])
        if account.trusted:
            covered = RangeSet([*account.covered.ranges(), *account.void.ranges()])
            holes = claimed_holes(covered, absent, first, last)
            overlaps, across = [], []
        else:
            swept = sweep(account.runs, excused)
            holes, overlaps, across = swept.holes, swept.overlaps, swept.breaks
        ordered = sorted(days)
        told = []
        for hole in holes:
            day = _day_of_hole(hole, days, ordered)
            days[day].missing += hole.size
            told.append(_hole(hole, day, account.covered))
        for gap in overlaps:
            day = next(each for each in reversed(ordered) if days[each].first_id <= gap.first)
            days[day].duplicates += gap.size
            account.doubled.append(DoubledReport(gap.first, gap.last, []))
        for broken in across:
            days[next(day for day in reversed(ordered) if days[day].first_id <= broken.trade_id)].breaks += 1
        for report in days.values():
            for fill in account.fills:
                ids = min(report.last_id, fill.last) - max(report.first_id, fill.first) + 1
                if ids > 0:
                    report.sources[fill.source] = report.sources.get(fill.source, 0) + ids
        return SymbolReport(
            venue=key[0],
            symbol=key[1],
            rows_read=not account.trusted,
            rows=sum(each.rows for each in days.values()),
            first_id=first,
            last_id=last,
            missing=sum(each.missing for each in days.values()),
            duplicates=sum(each.duplicates for each in days.values()),
            breaks=sum(each.breaks for each in days.values()),
            unaccounted=sum(abs(each.unaccounted) for each in days.values()),
            holes=told,
            doubled=account.doubled,
            broken=[*account.breaks, *across],
            covered=[
                RangeReport(each.first, each.last, each.source, utc_text(each.since_ns), utc_text(each.until_ns))
                for each in account.fills
            ],
            absent=[RangeReport(each.first, each.last, each.proof) for each in account.absences],
            dropped=[
                RangeReport(each.first, each.last, each.source, utc_text(each.since_ns), utc_text(each.until_ns))
                for each in account.dropped
            ],
            days=[days[day] for day in ordered],
        )

    def _candles(self, account: CandleAccount) -> CandleReport:
        series = account.series
        key = (series.venue, series.symbol, series.timeframe)
        tally = self._tallies.get(key, Tally(*key, 0, 0))
        verdicts = [each for each in self._verdicts if (each.venue, each.symbol, each.timeframe) == key]
        holes = account.holes()
        return CandleReport(
            venue=series.venue,
            symbol=series.symbol,
            timeframe=series.timeframe,
            rows_read=account.rows_read,
            rows=series.rows,
            first_open=utc_text(series.first_ns),
            last_open=utc_text(series.last_ns),
            missing=sum(each.slots for each in holes),
            misplaced=series.misplaced,
            equal=tally.equal,
            different=len({each.open_ns for each in verdicts}),
            not_checkable=series.rows - tally.equal - len({each.open_ns for each in verdicts}),
            holes=holes,
            verdicts=verdicts,
            covered=account.covered(),
            absent=account.absent(),
            dropped=account.dropped_slots(),
            sources=account.sources(),
        )


def _size(ranges: Sequence[tuple[int, int]]) -> int:
    return sum(last - first + 1 for first, last in ranges)


def _length_s(frame: Timeframe) -> int:
    return frame.next_open_ns(0) // NS_PER_S


def _into(days: dict[date, DayReport], day: date, run: Run) -> DayReport:
    report = days.get(day)
    if report is None:
        report = days[day] = DayReport(day.isoformat(), 0, run.first, run.last)
    report.rows += run.rows
    report.first_id, report.last_id = min(report.first_id, run.first), max(report.last_id, run.last)
    return report


def _day_of_hole(hole: Hole, days: dict[date, DayReport], ordered: Sequence[date]) -> date:
    """Return the day on which the record breaks off."""
    return next((day for day in reversed(ordered) if days[day].first_id <= hole.first), ordered[0])


def _hole(hole: Hole, day: date, covered: RangeSet) -> HoleReport:
    claimed = sum(last - first + 1 for first, last in covered.within(hole.first, hole.last))
    return HoleReport(
        first=hole.first,
        last=hole.last,
        missing=hole.size,
        day=day.isoformat(),
        after=None if hole.after_ns is None else utc_text(hole.after_ns),
        before=None if hole.before_ns is None else utc_text(hole.before_ns),
        claimed=claimed,
    )
