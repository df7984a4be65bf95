"""``crypto-quant repair``: what ``verify`` finds missing is fetched, and what remains is said."""

import asyncio
import os
import sys
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import msgspec

from crypto_quant.cli.bar import Bar, quiet_option
from crypto_quant.cli.options import config_option, database_url_option, venue_option
from crypto_quant.cli.record import embedded_url, loop_factory
from crypto_quant.cli.spooled import add_spooled
from crypto_quant.cli.verify import INCOMPLETE, checked_days
from crypto_quant.cli.verify_view import show
from crypto_quant.compose import open_history
from crypto_quant.config import Settings, load
from crypto_quant.evidence import Scope
from crypto_quant.flow.audit import Auditor
from crypto_quant.flow.recheck import Rechecker
from crypto_quant.flow.repair import Repairer
from crypto_quant.flow.report import Report
from crypto_quant.market import fold_symbol
from crypto_quant.ops import log
from crypto_quant.ops.clock import SystemClock
from crypto_quant.upkeep import open_audit, seal


@click.command()
@quiet_option
@click.argument("symbols", nargs=-1, metavar="[SYMBOL]...")
@click.option(
    "--from", "first", metavar="DATE", help="The first day, UTC, as 2026-09-01. [default: the record's first]"
)
@click.option("--to", "last", metavar="DATE", help="The last day, UTC, inclusive. [default: the record's last]")
@venue_option
@click.option("--deep", is_flag=True, help="Look for holes by reading every row instead of trusting coverage.")
@click.option(
    "--recheck-absences",
    is_flag=True,
    help="Ask every source again for what is recorded as absent; what comes is stored and absent no more.",
)
@database_url_option
@click.option("--rest-url", metavar="URL", help="Another REST host. [default: the venue's own]")
@click.option(
    "--archive-url", metavar="URL", help="Another archive. [default: where --rest-url is, else data.binance.vision]"
)
@config_option
def repair(
    symbols: tuple[str, ...],
    first: str | None,
    last: str | None,
    deep: bool,
    recheck_absences: bool,
    config: Path | None,
    **flags: Any,  # noqa: ANN401
) -> None:
    """Close the holes that verify finds: trades by id over REST, then from archives; candles from archives and REST.

    Ids that no source has are recorded as absent, with the proof, and are holes no more. Exit code 0: nothing is
    missing now; 3: something is, or differs.
    """
    settings = load(flags, os.environ, config)
    days = checked_days(first, last)
    if settings.database_url is None:
        settings = msgspec.structs.replace(settings, database_url=embedded_url(settings))
    scope = Scope(settings.venue.value, tuple(dict.fromkeys(fold_symbol(symbol) for symbol in symbols)))
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        sys.exit(runner.run(_repair(settings, scope, days, deep, recheck=recheck_absences)))


async def _audit(settings: Settings, scope: Scope, days: tuple[date | None, date | None], deep: bool) -> Report:
    with Bar() as bar:
        async with open_audit(settings.database_url or "", scope, deep=deep) as (reader, seals):
            auditor = Auditor(reader, scope, *days, deep=deep, seals=seals, progress=bar.steps)
            report = await auditor.run(
                database=reader.database, now_ns=SystemClock().now_ns(), version=version("crypto-quant")
            )
            await add_spooled(report, reader, settings, scope)
            return report


async def _repair(
    settings: Settings, scope: Scope, days: tuple[date | None, date | None], deep: bool, *, recheck: bool = False
) -> int:
    url = settings.database_url or ""
    before = await _audit(settings, scope, days, deep)
    was = before.totals()
    absent = was["absent"] + was["candles_absent"] if recheck else 0
    after = before
    if was["missing"] or was["candles_missing"] or was["faults"] or absent:
        names = {each.symbol for each in before.symbols if each.holes or each.faults or (recheck and each.absent)}
        names |= {each.symbol for each in before.candles if each.holes or (recheck and each.absent)}
        # a symbol that is listed no more has its past still
        wanted = msgspec.structs.replace(settings, symbols=tuple(sorted(names)), check_symbols=False)
        first, last = date.fromisoformat(before.first_day), date.fromisoformat(before.last_day)
        emit = log.setup("WARNING", "auto")
        with Bar() as bar:
            async with open_history(wanted, first, last, jobs=1, emit=emit, report=lambda _done, _what: None) as parts:
                repairer = Repairer(parts.rest, parts.delivery, parts.run, parts.ledger.retract, bar.steps)
                written = await repairer.run(before)
                if absent:
                    written += await Rechecker(parts.run, parts.ledger, bar.steps).run(before)
        with Bar() as bar:
            # what was sealed before is sealed anew, and says why
            await seal(url, msgspec.structs.replace(scope, symbols=wanted.symbols), first, last, progress=bar.steps)
        after = await _audit(settings, scope, days, deep)
        now = after.totals()
        click.echo(
            f"{written:,} rows fetched; missing before: {was['missing']:,} trades, {was['candles_missing']:,}"
            f" candles; now: {now['missing']:,} trades, {now['candles_missing']:,} candles"
        )
        if absent:
            click.echo(
                f"Absent before: {was['absent']:,} trades, {was['candles_absent']:,} candles; all were asked for again;"
                f" now: {now['absent']:,} trades, {now['candles_absent']:,} candles"
            )
    elif not before.empty_days:
        click.echo("Nothing was missing." if not recheck else "Nothing was missing, and nothing was absent.")
    show(after, None)
    return 0 if after.complete else INCOMPLETE
