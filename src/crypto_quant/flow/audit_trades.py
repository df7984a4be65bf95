"""The audit's part for trades: rows against claims, in both directions, symbol by symbol and day by day.

It trusts ``coverage`` where there is some, and counts the rows of each day against it; else it reads every row.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from datetime import date

import msgspec

from crypto_quant.claims import Claim, Claims, Fault, contradictions, hold, intersection, ranges
from crypto_quant.continuity import Gap, RangeSet
from crypto_quant.evidence import Reader, Run, Scope, Span
from crypto_quant.flow.claimed import trade_claims
from crypto_quant.flow.report import DayReport, DoubledReport, FaultReport, HoleReport, RangeReport, SymbolReport
from crypto_quant.judgement import Break, sweep
from crypto_quant.market import DAY_NS, day_of, utc_text

# of doubled ids and of breaks so many are named a day and symbol; all are counted
NAMED_MAX = 100

_Key = tuple[str, str]


class Account(msgspec.Struct):
    """What has been learnt of one symbol so far. ``low`` and ``high`` are the ids next to the days looked at."""

    trusted: bool
    before: Claims = msgspec.field(default_factory=Claims)
    after: Claims = msgspec.field(default_factory=Claims)
    runs: list[Run] = []
    held: RangeSet = msgspec.field(default_factory=RangeSet)
    low: int | None = None
    high: int | None = None
    days: dict[date, DayReport] = {}
    doubled: list[DoubledReport] = []
    breaks: list[Break] = []

    @property
    def void(self) -> RangeSet:
        """Ids that are rightly without a row."""
        return self.before.void()


class TradeAudit:
    """Reads the trades of a scope day by day, and judges them when all days are read."""

    def __init__(self, reader: Reader, scope: Scope, *, deep: bool) -> None:
        self._reader = reader
        self._scope = scope
        self._deep = deep
        self._claimed = True
        self.accounts: dict[_Key, Account] = {}

    async def begin(self) -> None:
        """Take down what is claimed, before any row is read."""
        self._claimed = await self._reader.missing_tables() is not None
        for key, claims in (await trade_claims(self._reader, self._scope)).items():
            account = self._account(key)
            account.before = claims
            account.trusted = not self._deep and bool(claims.covered)

    async def read(self, day: date, span: Span, proven: Mapping[_Key, Sequence[Run]]) -> None:
        """Read the rows of a day; call it within the reader's snapshot. ``proven`` rows were read for their seals."""
        if not self._deep:
            await self._count(day, span)
        elif proven:
            await self._beside_seals(day, span, proven)
        else:
            await self._runs(self._scope, day, span)

    async def _beside_seals(self, day: date, span: Span, proven: Mapping[_Key, Sequence[Run]]) -> None:
        """Take the rows of sealed stretches as their seals prove them; read those of symbols that have others too."""
        unproven: dict[str, set[str]] = {}
        for counted in await self._reader.counted(self._scope, span):
            key = (counted.venue, counted.symbol)
            runs = sorted(proven.get(key, ()), key=lambda run: run.first)
            if not runs or (sum(run.rows for run in runs), runs[0].first, runs[-1].last) != (
                counted.rows,
                counted.first,
                counted.last,
            ):
                unproven.setdefault(counted.venue, set()).add(counted.symbol)
                continue
            account = self._account(key)
            for run in runs:
                account.runs.append(run)
                account.held.add(run.first, run.last)
                _into(account.days, day, run)
        for venue, symbols in unproven.items():
            await self._runs(Scope(venue, tuple(sorted(symbols))), day, span)

    async def finish(self, extent: Span | None, span: Span) -> None:
        """Look for the trades next to the days that were read, and take down what is claimed now.

        ``extent`` is the time of the whole record.
        """
        if extent is not None:
            await self._look_before(extent, span)
            await self._look_behind(extent, span)
        for key, claims in (await trade_claims(self._reader, self._scope)).items():
            self._account(key).after = claims

    def reports(self, first_day: date, *, now_ns: int, partial: bool) -> list[SymbolReport]:
        """Return what was found, by symbol; with ``partial``, days out of many, only of those concerned."""
        found = [self._report(key, first_day, now_ns) for key in sorted(self.accounts)]
        return [each for each in found if each.rows or each.missing or not partial]

    # -- reading ------------------------------------------------------------------------------------------

    def _account(self, key: _Key) -> Account:
        account = self.accounts.get(key)
        if account is None:
            account = self.accounts[key] = Account(trusted=False)
        return account

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
        claims = await trade_claims(self._reader, self._scope)
        unclaimed: dict[str, set[str]] = {}
        for run in await self._reader.counted(self._scope, span):
            key = (run.venue, run.symbol)
            account = self._account(key)
            if not account.trusted:
                unclaimed.setdefault(run.venue, set()).add(run.symbol)
                continue
            report = _into(account.days, day, run)
            mine = claims.get(key, Claims())
            rows = mine.stored()
            claimed = RangeSet(rows.within(run.first, run.last))
            surplus = run.rows - claimed.size
            if surplus > 0:
                # a drop that has not come to its end: no longer claimed, and still there
                leaving = RangeSet((gap.first, gap.last) for _, gap in mine.left())
                surplus -= min(surplus, RangeSet(leaving.within(run.first, run.last)).size)
            report.unaccounted -= surplus
            for each in claimed.ranges():
                account.held.add(*each)
        for venue, symbols in unclaimed.items():
            await self._runs(Scope(venue, tuple(sorted(symbols))), day, span)

    async def _look_before(self, extent: Span, span: Span) -> None:
        """Find the last trade before the span, of each symbol that has claims below its first id."""
        end, length = span.start, DAY_NS
        while extent.start < end:
            wanted = [key for key, account in self.accounts.items() if account.low is None and _below(account)]
            if not wanted:
                return
            for run in await self._counted(wanted, Span(max(extent.start, end - length), end)):
                self._neighbour(run, run.last, run.last_ns)
                self.accounts[run.venue, run.symbol].low = run.last
            end, length = end - length, length * 2

    async def _look_behind(self, extent: Span, span: Span) -> None:
        start, length = span.end, DAY_NS
        while start < extent.end:
            wanted = [key for key, account in self.accounts.items() if account.high is None and _above(account)]
            if not wanted:
                return
            for run in await self._counted(wanted, Span(start, min(extent.end, start + length))):
                self._neighbour(run, run.first, run.first_ns)
                self.accounts[run.venue, run.symbol].high = run.first
            start, length = start + length, length * 2

    async def _counted(self, keys: Sequence[_Key], span: Span) -> list[Run]:
        found: list[Run] = []
        for venue in sorted({venue for venue, _ in keys}):
            symbols = tuple(sorted(symbol for there, symbol in keys if there == venue))
            found += await self._reader.counted(Scope(venue, symbols), span)
        return found

    def _neighbour(self, run: Run, trade_id: int, time_ns: int) -> None:
        account = self.accounts[run.venue, run.symbol]
        account.runs.append(Run(run.venue, run.symbol, trade_id, trade_id, 0, time_ns, time_ns))
        account.held.add(trade_id, trade_id)

    # -- judging ------------------------------------------------------------------------------------------

    def _report(self, key: _Key, first_day: date, now_ns: int) -> SymbolReport:
        account = self.accounts[key]
        days, ordered = account.days, sorted(account.days)
        held = hold(account.held, account.before, account.after, _bounds(account))
        faults = [*held.faults, *contradictions(account.after, now_ns=now_ns, ids=True)] if self._claimed else []
        overlaps, across = [], []
        if not account.trusted:
            swept = sweep(account.runs, account.after.excused())
            overlaps, across = swept.overlaps, swept.breaks
        edges = _Edges(account.runs)
        holes = []
        for gap, lost in sorted([*((gap, True) for gap in held.lost), *((gap, False) for gap in held.missing)]):
            day = _day_of(gap, days, ordered) or _claimed_on(gap, account.before) or first_day
            if day in days:
                days[day].missing += gap.size
            holes.append(_hole(gap, day, edges, lost=lost))
        for gap in overlaps:
            day = _day_of(gap, days, ordered) or first_day
            if day in days:
                days[day].duplicates += gap.size
            account.doubled.append(DoubledReport(gap.first, gap.last, []))
        for broken in across:
            day = _day_of(Gap(broken.trade_id, broken.trade_id), days, ordered) or first_day
            if day in days:
                days[day].breaks += 1
        for report in days.values():
            for fill in account.after.covered:
                ids = min(report.last_id, fill.last) - max(report.first_id, fill.first) + 1
                if ids > 0:
                    report.sources[fill.source] = report.sources.get(fill.source, 0) + ids
        seen = account.held.ranges() or ranges(account.after.covered).ranges() or [(0, -1)]
        return SymbolReport(
            venue=key[0],
            symbol=key[1],
            rows_read=not account.trusted,
            rows=sum(each.rows for each in days.values()),
            first_id=min((each.first_id for each in days.values()), default=seen[0][0]),
            last_id=max((each.last_id for each in days.values()), default=seen[-1][1]),
            missing=sum(each.missing for each in holes),
            duplicates=sum(each.duplicates for each in days.values()),
            breaks=sum(each.breaks for each in days.values()),
            unaccounted=sum(abs(each.unaccounted) for each in days.values()),
            holes=holes,
            doubled=account.doubled,
            broken=[*account.breaks, *across],
            covered=[_range(each) for each in account.after.covered],
            absent=[RangeReport(each.first, each.last, each.proof) for each in account.after.absent],
            dropped=[
                msgspec.structs.replace(_range(each), first=gap.first, last=gap.last)
                for each, gap in account.after.left()
            ],
            days=[days[day] for day in ordered],
            faults=[_fault(each) for each in faults],
        )


class _Edges:
    """The times of the rows next to a hole, as far as rows were read."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self._ends = sorted((run.last, run.last_ns) for run in runs)
        self._begins = sorted((run.first, run.first_ns) for run in runs)

    def before(self, trade_id: int) -> str | None:
        at = bisect_left(self._ends, (trade_id, -1))
        return utc_text(self._ends[at - 1][1]) if at else None

    def after(self, trade_id: int) -> str | None:
        at = bisect_right(self._begins, (trade_id, 2**63))
        return utc_text(self._begins[at][1]) if at < len(self._begins) else None


def _bounds(account: Account) -> tuple[int, int] | None:
    """Return the first and the last id to be accounted for: up to the neighbours, or as far as claims and rows go."""
    claimed = intersection(account.before.stored(), account.after.stored())
    found = [each.ranges() for each in (account.held, claimed) if len(each)]
    if not found:
        return None
    low = account.low if account.low is not None else min(each[0][0] for each in found)
    high = account.high if account.high is not None else max(each[-1][1] for each in found)
    return low, high


def _below(account: Account) -> bool:
    """Tell whether something is claimed below the first id that was found."""
    stored = account.before.stored().ranges()
    return bool(stored) and (not len(account.held) or stored[0][0] < account.held.ranges()[0][0])


def _above(account: Account) -> bool:
    stored = account.before.stored().ranges()
    return bool(stored) and (not len(account.held) or stored[-1][1] > account.held.ranges()[-1][1])


def _into(days: dict[date, DayReport], day: date, run: Run) -> DayReport:
    report = days.get(day)
    if report is None:
        report = days[day] = DayReport(day.isoformat(), 0, run.first, run.last)
    report.rows += run.rows
    report.first_id, report.last_id = min(report.first_id, run.first), max(report.last_id, run.last)
    return report


def _day_of(gap: Gap, days: dict[date, DayReport], ordered: Sequence[date]) -> date | None:
    """Return the day on which the record breaks off; of what lies before it, its first day."""
    return next((day for day in reversed(ordered) if days[day].first_id <= gap.first), ordered[0] if ordered else None)


def _claimed_on(gap: Gap, claims: Claims) -> date | None:
    """Return the day on which ids without any row around them were stored."""
    return next((day_of(each.since_ns) for each in claims.covered if each.first <= gap.first <= each.last), None)


def _hole(gap: Gap, day: date, edges: _Edges, *, lost: bool) -> HoleReport:
    return HoleReport(
        first=gap.first,
        last=gap.last,
        missing=gap.size,
        day=day.isoformat(),
        after=edges.before(gap.first),
        before=edges.after(gap.last),
        claimed=gap.size if lost else 0,
    )


def _fault(fault: Fault) -> FaultReport:
    return FaultReport(fault.kind, fault.first, fault.last, fault.count)


def _range(fill: Claim) -> RangeReport:
    return RangeReport(fill.first, fill.last, fill.source, utc_text(fill.since_ns), utc_text(fill.until_ns))
