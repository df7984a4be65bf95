"""What ``verify`` found, for people: tables on a terminal, plain columns in a pipe."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from crypto_quant import commands
from crypto_quant.claims import FAULTS
from crypto_quant.cli.fitted import Column, fit
from crypto_quant.cli.spooled import SPOOL_REMEDY, spooled_line
from crypto_quant.flow.report import Report, SampleReport, SymbolReport

# of doubles, breaks and differences so many are shown a symbol; --json has them all
_SHOWN_MAX = 20


def repair_command(venue: str, symbol: str, day: str, before: str | None, *, claimed: int = 0) -> str:
    """Return the command that closes a hole; ``before`` is the time of the trade behind it.

    Rows that coverage still claims (``claimed``) are found to be gone only by reading.
    """
    until = before[:10] if before else day
    return commands.repair(venue, symbol, first=day, last=max(day, until), deep=bool(claimed))


def show(report: Report, certificate: Path | None) -> None:
    """Print the result on stdout."""
    out = Console(highlight=False, soft_wrap=True, emoji=False, markup=False)
    if not out.is_terminal:
        out.width = 200
    if report.symbols:
        _days(out, report)
    if report.candles:
        _candles(out, report)
    for symbol in report.symbols:
        _details(out, symbol)
    _candle_details(out, report)
    _seals(out, report)
    if report.sample is not None:
        _sample(out, report.sample)
    for table in report.missing_tables:
        out.print(f"FALSE     the table {table} is gone, and with it what was recorded there")
    for first, last in report.empty_stretches():
        when = first if first == last else f"{first} to {last}"
        out.print(f"MISSING   {when}: nothing is recorded")
        out.print(f"          crypto-quant backfill SYMBOL --from {first} --to {last}")
    for spooled in report.spooled:
        out.print(f"WAITING   {spooled_line(spooled)}")
        out.print(f"          {SPOOL_REMEDY}")
    _summary(out, report, certificate)


def _table(out: Console, columns: Sequence[Column], rows: Sequence[tuple[bool, Sequence[str]]]) -> None:
    """Print a table as wide as the terminal; a row comes with whether it is sound."""
    table = fit(columns, [cells for _, cells in rows], out.width if out.is_terminal else None)
    if table.head:
        out.print(table.head)
    for (sound, _), lines in zip(rows, table.rows, strict=True):
        for line in lines:
            out.print(line, style=None if sound else "red")
    if table.left_out:
        out.print(f"(too narrow for: {', '.join(table.left_out)}; a wider terminal, or --json, has them)")
    out.print()


def _days(out: Console, report: Report) -> None:
    columns = (
        Column("venue", right=False, drop=4), Column("symbol", right=False), Column("day", right=False),
        Column("trades"), Column("first id", drop=1), Column("last id", drop=1), Column("missing"),
        Column("doubled", drop=2, quiet="0"), Column("breaks", drop=3, quiet="0"),
        Column("filled from", right=False, drop=5),
    )  # fmt: skip
    rows = [
        (
            not (day.missing or day.duplicates or day.breaks or day.unaccounted),
            (
                symbol.venue, symbol.symbol, day.day, f"{day.rows:,}", str(day.first_id), str(day.last_id),
                f"{day.missing:,}", f"{day.duplicates:,}", f"{day.breaks:,}", _sources(day.sources),
            ),
        )
        for symbol in report.symbols
        for day in symbol.days
    ]  # fmt: skip
    _table(out, columns, rows)


def _candles(out: Console, report: Report) -> None:
    deep = report.mode == "deep"
    checked = (Column("equal"), Column("different"), Column("not checkable", drop=3)) if deep else ()
    columns = (
        Column("venue", right=False, drop=4), Column("symbol", right=False), Column("candles", right=False),
        Column("stored"), Column("first", drop=1), Column("last", drop=2), Column("missing"), *checked,
        Column("filled from", right=False, drop=5),
    )  # fmt: skip
    rows = []
    for each in report.candles:
        counts = (f"{each.equal:,}", f"{each.different:,}", f"{each.not_checkable:,}") if deep else ()
        cells = (
            each.venue, each.symbol, each.timeframe, f"{each.rows:,}", each.first_open, each.last_open,
            f"{each.missing:,}", *counts, _sources(each.sources),
        )  # fmt: skip
        rows.append((each.sound, cells))
    _table(out, columns, rows)


def _sources(sources: Mapping[str, int]) -> str:
    return ", ".join(f"{source} {count:,}" for source, count in sources.items()) or "-"


def _details(out: Console, symbol: SymbolReport) -> None:
    name = f"{symbol.venue} {symbol.symbol}"
    for hole in symbol.holes:
        where = f" between {hole.after} and {hole.before}" if hole.after else f" after {hole.day}"
        what, gone = ("LOST   ", ": lost since it was stored") if hole.claimed else ("MISSING", "")
        out.print(f"{what}   {name}: ids {hole.first} to {hole.last} ({hole.missing:,}){where}{gone}")
        command = repair_command(symbol.venue, symbol.symbol, hole.day, hole.before, claimed=hole.claimed)
        out.print(f"          {command}")
    for day in symbol.days:
        if day.unaccounted:
            out.print(
                f"DIFFERS   {name}: on {day.day} coverage claims {abs(day.unaccounted):,} rows"
                f" {'more' if day.unaccounted > 0 else 'fewer'} than there are; --deep tells which"
            )
    for each in symbol.doubled[:_SHOWN_MAX]:
        ids = f"id {each.first}" if each.first == each.last else f"ids {each.first} to {each.last}"
        out.print(f"DOUBLED   {name}: {ids} {'at ' + ', '.join(each.times) if each.times else 'on two days'}")
    for broken in symbol.broken[:_SHOWN_MAX]:
        out.print(
            f"BROKEN    {name}: id {broken.trade_id} begins with single trade {broken.found}, not {broken.expected}"
        )
    for fault in symbol.faults:
        out.print(f"FALSE     {name}: ids {fault.first} to {fault.last}, {fault.count:,} of them: {FAULTS[fault.kind]}")
    for absent in symbol.absent:
        count = absent.last - absent.first + 1
        out.print(f"ABSENT    {name}: ids {absent.first} to {absent.last} ({count:,}): {absent.source}")
    for lost in symbol.dropped:
        count = lost.last - lost.first + 1
        out.print(f"DROPPED   {name}: ids {lost.first} to {lost.last} ({count:,}), on purpose, by {lost.source}")


def _candle_details(out: Console, report: Report) -> None:
    for each in report.candles:
        name = f"{each.venue} {each.symbol} {each.timeframe}"
        for hole in each.holes:
            what, gone = ("LOST   ", ": lost since it was stored") if hole.claimed else ("MISSING", "")
            out.print(f"{what}   {name}: {hole.slots:,} candles, {hole.first_open} to {hole.last_open}{gone}")
            out.print(f"          {repair_command(each.venue, each.symbol, hole.first_open[:10], hole.last_open)}")
        for fault in each.faults:
            opens = f"{fault.first_open} to {fault.last_open}"
            out.print(f"FALSE     {name}: {fault.count:,} candles, {opens}: {FAULTS[fault.kind]}")
        for absent in each.absent:
            where = f"{absent.slots:,} candles, {absent.first_open} to {absent.last_open}"
            out.print(f"ABSENT    {name}: {where}: {absent.source}")
        for left in each.dropped:
            where = f"{left.slots:,} candles, {left.first_open} to {left.last_open}"
            out.print(f"DROPPED   {name}: {where}, on purpose, by {left.source}")
        if each.misplaced:
            out.print(f"MISPLACED {name}: {each.misplaced:,} candles do not open where this timeframe does")
        for verdict in each.verdicts[:_SHOWN_MAX]:
            opens = verdict.open_text
            out.print(
                f"DIFFERS   {name} {opens}: {verdict.field} is {verdict.stored}, its trades say {verdict.derived}"
            )
        if len(each.verdicts) > _SHOWN_MAX:
            out.print(f"          and {len(each.verdicts) - _SHOWN_MAX:,} more, see --json or the table verdicts")


def _seals(out: Console, report: Report) -> None:
    for series in report.seals:
        name = f"{series.venue} {series.symbol} {series.stream}"
        for each in [found for found in series.findings if not found.repaired][:_SHOWN_MAX]:
            where = f", {each.since} to {each.until}" if each.since else ""
            out.print(f"SEAL      {name}: seal {each.number}{where}: {each.what}")
        repaired = [found for found in series.findings if found.repaired]
        if repaired:
            out.print(f"REPAIRED  {name}: {len(repaired):,} changes on purpose since it was first sealed, see --json")


def _sample(out: Console, sample: SampleReport) -> None:
    for each in sample.stretches:
        name = f"{each.venue} {each.symbol} {each.stream}"
        if each.unchecked:
            out.print(f"UNCHECKED {name}: {each.first} to {each.last}: {each.unchecked}")
        for found in each.differences:
            where = f"{found.position}: {found.field} is {found.stored}, the exchange has {found.exchange}"
            out.print(f"DIFFERS   {name} {where}")
        if each.different > len({found.position for found in each.differences}):
            out.print(f"          {each.different:,} positions in all")
    checked = sum(each.checked for each in sample.stretches)
    different = sum(each.different for each in sample.stretches)
    asked = sum(not each.unchecked for each in sample.stretches)
    out.print(
        f"Sample: {asked:,} of {len(sample.stretches):,} stretches with {checked:,} rows were fetched anew,"
        f" {different:,} differ (--sample-seed {sample.seed} chooses them again)"
    )


def _summary(out: Console, report: Report, certificate: Path | None) -> None:
    totals = report.totals()
    how = "every row was read" if report.mode == "deep" else "by coverage, rows counted"
    out.print(
        f"{'COMPLETE' if report.complete else 'INCOMPLETE'}: {totals['symbols']:,} symbols, {report.first_day} to"
        f" {report.last_day}, {totals['trades']:,} trades and {totals['candles']:,} candles ({how})"
    )
    wrong = {
        "days without a row": len(report.empty_days),
        "trades missing": totals["missing"], "of them lost since they were stored": totals["lost"],
        "false claims": totals["faults"], "trades doubled": totals["duplicates"], "breaks": totals["breaks"],
        "rows unaccounted for": totals["unaccounted"], "candles missing": totals["candles_missing"],
        "of those lost since they were stored": totals["candles_lost"],
        "candles out of place": totals["candles_misplaced"], "candles that differ": totals["candles_different"],
        "sealed stretches that were changed": totals["seals_broken"],
        "rows waiting in a spool": totals["spooled"],
        "trades absent at the exchange": totals["absent"],
        "candles absent at the exchange": totals["candles_absent"],
        "trades dropped on purpose": totals["dropped"],
        "candles dropped on purpose": totals["candles_dropped"],
    }  # fmt: skip
    said = [f"{count:,} {what}" for what, count in wrong.items() if count]
    if said:
        out.print(f"  {', '.join(said)}")
    if report.mode == "deep" and report.candles:
        out.print(
            f"  of the candles {totals['candles_equal']:,} equal their trades, {totals['candles_different']:,} do not,"
            f" {totals['candles_not_checkable']:,} cannot be checked (empty, at an edge of the record, or not spot)"
        )
    if report.mode == "deep" and report.seals:
        until = min(each.sealed_until for each in report.seals if each.sealed_until) if totals["seals"] else ""
        out.print(f"  {totals['seals']:,} seals, every series sealed until {until}; {totals['unsealed']:,} unsealed")
    if report.verdicts_stored is False:
        out.print(
            "  The verdicts were not stored: there is no such table (crypto-quant db migrate makes it), or no right"
        )
    if certificate is not None:
        out.print(f"  Certificate: {certificate}")
