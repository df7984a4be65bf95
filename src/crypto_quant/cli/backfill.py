"""``crypto-quant backfill``: days of the past into the database, from archives and REST."""

import asyncio
import os
import signal
import sys
import time
from datetime import date
from pathlib import Path
from typing import Any

import click
import msgspec

from crypto_quant.cli.bar import Bar, Upgrade, quiet_option
from crypto_quant.cli.options import config_option, database_url_option, venue_option
from crypto_quant.cli.record import embedded_url, loop_factory
from crypto_quant.compose import open_history
from crypto_quant.config import Settings, load
from crypto_quant.errors import ConfigError
from crypto_quant.evidence import Scope
from crypto_quant.flow.loading import Outcome
from crypto_quant.ops import log
from crypto_quant.upkeep import seal

_SWITCH_S = 0.0002


@click.command()
@quiet_option
@click.argument("symbols", nargs=-1, metavar="SYMBOL...")
@click.option("--from", "first", required=True, metavar="DATE", help="The first day, UTC, as 2026-09-01.")
@click.option("--to", "last", required=True, metavar="DATE", help="The last day, UTC, inclusive; today at most.")
@click.option(
    "--stream",
    "streams",
    multiple=True,
    metavar="NAME",
    help="aggTrade, or kline_INTERVAL as in kline_5m; repeat for several. [default: aggTrade]",
)
@venue_option
@database_url_option
@click.option("--rest-url", metavar="URL", help="Another REST host. [default: the venue's own]")
@click.option(
    "--archive-url", metavar="URL", help="Another archive. [default: where --rest-url is, else data.binance.vision]"
)
@click.option(
    "--check-symbols/--no-check-symbols",
    default=None,
    help="Check the symbols against exchangeInfo first; symbols that are gone have archives still. [default: check]",
)
@click.option("--jobs", type=click.IntRange(1, 16), default=3, show_default=True, help="Files at work at once.")
@click.option(
    "--accept",
    "accepted",
    multiple=True,
    metavar="FILE",
    help="Use this archive file though its checksum is wrong, for example BTCUSDT-aggTrades-2021-03-04.zip.",
)
@click.option("--json", "as_json", is_flag=True, help="The summary as JSON.")
@click.option("--log-level", type=click.Choice(log.LEVELS, case_sensitive=False), help="[default: WARNING]")
@click.option("--log-format", type=click.Choice(log.FORMATS), help="[default: auto]")
@config_option
def backfill(
    symbols: tuple[str, ...],
    first: str,
    last: str,
    jobs: int,
    accepted: tuple[str, ...],
    as_json: bool,
    config: Path | None,
    **flags: Any,  # noqa: ANN401
) -> None:
    """Load the days --from to --to (UTC, both inclusive) of SYMBOL... into the database.

    Whole days come from the exchange's archives (zip, verified against its CHECKSUM), the rest over REST. What is
    proven to be stored is skipped, so the same command again goes on where it was stopped. Exit code 0: complete;
    1: something failed; 3: ids are missing still, or days could not be had.
    """  # fmt: skip
    given = {**flags, "symbols": symbols or None, "streams": flags["streams"] or None}
    given["log_level"] = flags["log_level"] or os.environ.get("CRYPTO_QUANT_LOG_LEVEL") or "WARNING"
    settings = load(given, os.environ, config)
    if not settings.symbols:
        raise ConfigError("no symbol", hint="Name at least one, as in: crypto-quant backfill btcusdt --from … --to …")
    sys.exit(run(settings, _day(first, "--from"), _day(last, "--to"), jobs=jobs, as_json=as_json, accepted=accepted))


def _day(text: str, option: str) -> date:
    try:
        if len(text) == 10:
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise ConfigError("not a date", subject=f"{option} {text}", hint="Write it as 2026-09-01")


def run(
    settings: Settings, first: date, last: date, *, jobs: int, as_json: bool, accepted: tuple[str, ...] = ()
) -> int:
    """Load as told; return the exit code."""
    # a file is read in a thread while rows are sent: let the sender have its turn at once, not after 5 ms
    sys.setswitchinterval(_SWITCH_S)
    if last < first:
        raise ConfigError("the days end before they begin", subject=f"--from {first} --to {last}")
    if settings.database_url is None:
        settings = msgspec.structs.replace(settings, database_url=embedded_url(settings))
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(_backfill(settings, first, last, jobs, as_json, accepted))


async def _backfill(
    settings: Settings, first: date, last: date, jobs: int, as_json: bool, accepted: tuple[str, ...]
) -> int:
    emit = log.setup(settings.log_level, settings.log_format)
    started = time.monotonic()
    total = 0.0
    bar = Bar("days")

    def report(done: float, what: str) -> None:
        bar(done, total, what)

    with Upgrade(emit) as upgrade, bar:
        async with open_history(
            settings, first, last, jobs=jobs, emit=upgrade, report=report, accepted=accepted
        ) as history:
            total = float(sum(one.days for one in history.wanted))
            loading = asyncio.ensure_future(history.run.run(history.wanted))
            # Ctrl-C ends it in order: what is committed is proven, downloads go on where they stopped
            for number in (signal.SIGINT, signal.SIGTERM):
                asyncio.get_running_loop().add_signal_handler(number, loading.cancel)
            try:
                outcomes = await loading
            except asyncio.CancelledError:
                bar.stop()
                click.echo("Interrupted. The same command goes on from here.", err=True)
                return 130
        if any(outcome.rows_written for outcome in outcomes):
            # what was sealed before and got rows now is sealed anew
            scope = Scope(settings.venue.value, tuple(sorted({outcome.symbol for outcome in outcomes})))
            await seal(settings.database_url or "", scope, first, last, progress=bar.steps)
    _tell(outcomes, time.monotonic() - started, as_json)
    if any(outcome.failures for outcome in outcomes):
        return 1
    wrong = any(outcome.missing or outcome.days_unknown or outcome.conflicts for outcome in outcomes)
    return 3 if wrong else 0


def _tell(outcomes: list[Outcome], took_s: float, as_json: bool) -> None:
    rows = sum(outcome.rows_written for outcome in outcomes)
    if as_json:
        summary = {
            "outcomes": [msgspec.to_builtins(outcome) for outcome in outcomes],
            "rows_written": rows,
            "elapsed_seconds": round(took_s, 3),
        }
        click.echo(msgspec.json.encode(summary).decode())
        return
    for one in outcomes:
        words = [f"{one.rows_written:,} rows new of {one.rows_read:,} read"]
        words += [f"{one.files} files"] if one.files else []
        words += [f"{len(one.refused)} files not used"] if one.refused else []
        words += [f"{one.rows_from_rest:,} over REST"] if one.rows_from_rest else []
        words += [f"{one.days_proven} days were complete"] if one.days_proven else []
        words += [f"{one.days_without_data} days without data"] if one.days_without_data else []
        words += [f"{one.days_unknown} days without a file"] if one.days_unknown else []
        words += [f"{one.duplicates:,} rows twice in a file"] if one.duplicates else []
        words += [f"{one.conflicts:,} of them with different content"] if one.conflicts else []
        words += [f"{one.absent:,} absent at the exchange"] if one.absent else []
        words += [f"{one.missing:,} STILL MISSING"] if one.missing else []
        click.echo(f"{one.symbol} {one.stream} {one.first} to {one.last}: {', '.join(words)}")
        for failure in one.failures:
            click.echo(f"  failed: {failure}")
        for refusal in one.refused:
            click.echo(f"  not used: {refusal}")
    click.echo(f"{rows:,} rows in {took_s:,.1f} s, {rows / max(took_s, 1e-9):,.0f} a second")
