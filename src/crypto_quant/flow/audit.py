"""The audit: a store's rows held against what it claims and against each other, and what is missing named.

It trusts ``coverage`` where there is some, and counts the rows against it; ``deep`` reads every row instead and holds
the candles against their trades. Memory is bounded by what is wrong, not by what is stored.
"""

from collections.abc import Callable, Sequence
from datetime import date, timedelta

from crypto_quant.continuity import RangeSet
from crypto_quant.errors import ConfigError
from crypto_quant.evidence import Pair, Reader, Scope, Series, Span, Tally, Verdict
from crypto_quant.flow.audit_candles import CandleAccount, candle_accounts
from crypto_quant.flow.audit_trades import TradeAudit
from crypto_quant.flow.claimed import candle_claims, trade_claims
from crypto_quant.flow.report import CandleReport, Report
from crypto_quant.flow.seal_check import SealCheck
from crypto_quant.judgement import differences, whole
from crypto_quant.market import DAY_NS, NS_PER_S, Timeframe, day_ns, day_of, utc_text

_LONG = (Timeframe.D3, Timeframe.W1, Timeframe.MO1)

Progress = Callable[[str, int, int], None]


def day_span(day: date) -> Span:
    """Return a UTC day as a span."""
    return Span(day_ns(day), day_ns(day) + DAY_NS)


class Auditor:
    """One audit of the days ``first`` to ``last`` (inclusive, UTC; None: as far as the record goes).

    ``seals`` are checked by a deep audit. ``progress`` hears of each step: its name, how many are done and how many
    there are.
    """

    def __init__(
        self,
        reader: Reader,
        scope: Scope,
        first: date | None = None,
        last: date | None = None,
        *,
        deep: bool = False,
        seals: SealCheck | None = None,
        progress: Progress | None = None,
    ) -> None:
        self._reader = reader
        self._seals = seals if deep else None
        self._scope = scope
        self._asked = (first, last)
        self._deep = deep
        self._progress = progress or (lambda _step, _done, _total: None)
        self._trades = TradeAudit(reader, scope, deep=deep)
        self._tallies: dict[tuple[str, str, str], Tally] = {}
        self._verdicts: list[Verdict] = []

    async def run(self, *, database: str, now_ns: int, version: str) -> Report:
        """Return what was found; with ``deep`` the verdicts are stored.

        Raises ConfigError when a symbol was never recorded, or the days asked for end before the record begins or
        have not begun.
        """
        extent = await self._extent()
        first, last = self._days(extent, day_of(now_ns))
        span = Span(day_span(first).start, day_span(last).end)
        asked = self._asked[0] is not None, self._asked[1] is not None
        await self._trades.begin()
        if self._seals is not None:
            await self._seals.begin()
        accounts = await candle_accounts(self._reader, self._scope, span, asked, deep=self._deep)
        series = [account.series for account in accounts if account.series.rows]
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
        await self._trades.finish(extent, span)
        self._judge(waiting)
        if self._deep:
            self._progress("longer candles", total, total)
            await self._long_candles([each for each in series if each.venue == "spot"], span)
        # of a part of the days, only the seals of that part
        seals = await self._seals.finish(span if any(asked) else None) if self._seals is not None else []
        kept = await self._reader.keep_verdicts(self._scope, span, self._verdicts, now_ns) if self._deep else None
        symbols = self._trades.reports(first, now_ns=now_ns, partial=any(asked))
        candles = [self._candles(each, now_ns) for each in accounts]
        return Report(
            version=version,
            checked_at=utc_text(now_ns),
            database=database,
            mode="deep" if self._deep else "coverage",
            first_day=first.isoformat(),
            last_day=last.isoformat(),
            record_begins=utc_text(extent.start),
            record_ends=utc_text(extent.end - 1),
            verdicts_stored=kept,
            symbols=symbols,
            candles=candles,
            empty_days=self._empty(first, last, extent, found=bool(symbols or candles)),
            missing_tables=await self._reader.missing_tables() or [],
            seals=seals,
        )

    # -- reading ------------------------------------------------------------------------------------------

    async def _extent(self) -> Span:
        """Return the time of the whole record, as rows and claims tell; raise ConfigError for what was never recorded.

        Claims without a row tell when they were made, which is when the record was there at the latest.
        """
        symbols = self._scope.symbols
        scopes = [Scope(self._scope.venue, (symbol,)) for symbol in symbols] or [self._scope]
        extents = {scope.symbols: await self._claimed_extent(scope) for scope in scopes}
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

    async def _claimed_extent(self, scope: Scope) -> Span | None:
        """Return the time of a scope: that of its rows, or where there are none, that of its claims."""
        extent = await self._reader.extent(scope)
        if extent is not None:
            return extent
        moments = []
        for claims in (await trade_claims(self._reader, scope)).values():
            moments += [moment for each in claims.covered for moment in (each.since_ns, each.until_ns)]
        for key, claims in (await candle_claims(self._reader, scope)).items():
            frame = Timeframe(key[2])
            moments += [frame.slot_open_ns(slot) for each in claims.covered for slot in (each.first, each.last)]
        return Span(min(moments), max(moments) + 1) if moments else None

    def _days(self, extent: Span, today: date) -> tuple[date, date]:
        """Return the days to judge: of those asked for, all that the record has begun by and that have begun."""
        asked_first, asked_last = self._asked
        begins, ends = day_of(extent.start), day_of(extent.end - 1)
        first = max(asked_first or begins, begins)
        # a day behind the last row is judged too: nothing was recorded then, and that is the finding
        newest = max(today, ends)
        last = min(asked_last or (ends if first <= ends else newest), newest)
        if first > last:
            raise ConfigError(
                "nothing is recorded in these days",
                subject=f"{asked_first or begins} to {asked_last or ends}",
                hint=f"The record goes from {begins} to {ends}",
            )
        return first, last

    def _empty(self, first: date, last: date, extent: Span, *, found: bool) -> list[str]:
        """Return the days without a row that nothing else accounts for.

        Behind the record's end each is one. Between rows the ids of both sides tell what is missing, unless nothing
        at all is known of these days.
        """
        ends = day_of(extent.end - 1)
        since = first if not found and not self._trades.accounts else max(first, ends + timedelta(days=1))
        return [(since + timedelta(days=number)).isoformat() for number in range((last - since).days + 1)]

    async def _read(self, day: date, frames: set[Timeframe]) -> list[Pair]:
        span = day_span(day)
        proven = await self._seals.day(day) if self._seals is not None else {}
        async with self._reader.snapshot():
            await self._trades.read(day, span, proven)
            short = {frame.value: _length_s(frame) for frame in frames if frame not in _LONG}
            if not short:
                return []
            base_s = min(60, *short.values())
            tallies, pairs = await self._reader.compare(self._scope, span, short, base_s)
        self._add(tallies)
        return pairs

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
            account = self._trades.accounts.get((pair.venue, pair.symbol))
            held, void = (account.held, account.void) if account is not None else (RangeSet(), RangeSet())
            found = differences(pair)
            if not found:
                self._add([Tally(*key, 1, 0)])
            elif pair.trade_count == 0 or whole(pair.trades, held, void):
                self._verdicts += found

    # -- the report ---------------------------------------------------------------------------------------

    def _candles(self, account: CandleAccount, now_ns: int) -> CandleReport:
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
            first_open=utc_text(series.first_ns) if series.rows else "",
            last_open=utc_text(series.last_ns) if series.rows else "",
            missing=sum(each.slots for each in holes),
            misplaced=series.misplaced,
            equal=tally.equal,
            different=len({each.open_ns for each in verdicts}),
            not_checkable=series.rows - tally.equal - len({each.open_ns for each in verdicts}),
            holes=holes,
            verdicts=verdicts,
            covered=account.covered(),
            absent=account.absent(),
            dropped=account.dropped(),
            sources=account.sources(),
            faults=account.faults(now_ns),
        )


def _length_s(frame: Timeframe) -> int:
    return frame.next_open_ns(0) // NS_PER_S
