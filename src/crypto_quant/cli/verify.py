"""``crypto-quant verify``: what the database holds, what is missing, and a statement of it that others can check."""

import asyncio
import json
import os
import random
import sys
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import msgspec

from crypto_quant.cli.bar import Bar, quiet_option
from crypto_quant.cli.options import config_option, database_url_option
from crypto_quant.cli.record import embedded_url, loop_factory
from crypto_quant.cli.spooled import add_spooled
from crypto_quant.cli.verify_view import repair_command, show
from crypto_quant.config import Settings, load
from crypto_quant.errors import ConfigError
from crypto_quant.evidence import Scope
from crypto_quant.flow.against import hold_against
from crypto_quant.flow.audit import Auditor
from crypto_quant.flow.certificate import certify, recheck
from crypto_quant.flow.claimed import claims_by_stream
from crypto_quant.flow.report import SampleReport
from crypto_quant.market import Venue, fold_symbol, parse_day
from crypto_quant.ops import log
from crypto_quant.ops.clock import SystemClock
from crypto_quant.store.audit_queries import AuditReader, open_reader
from crypto_quant.store.sample_queries import SampleRows
from crypto_quant.store.seal_store import SealStore
from crypto_quant.store.statement import write_statement
from crypto_quant.upkeep import open_audit

INCOMPLETE = 3


@click.command()
@quiet_option
@click.argument("symbols", nargs=-1, metavar="[SYMBOL]...")
@click.option(
    "--from", "first", metavar="DATE", help="The first day, UTC, as 2026-09-01. [default: the record's first]"
)
@click.option("--to", "last", metavar="DATE", help="The last day, UTC, inclusive. [default: the record's last]")
@click.option("--venue", type=click.Choice([v.value for v in Venue]), help="Which market. [default: all]")
@click.option("--deep", is_flag=True, help="Read every row instead of trusting coverage; hold candles against trades.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.option(
    "--certificate",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write a statement that others can check; implies --deep.",
)
@click.option("--force", is_flag=True, help="Overwrite the FILE of --certificate.")
@click.option(
    "--check-certificate",
    "check",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Check a certificate, and the database against it.",
)
@click.option(
    "--against",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Hold the database against a certificate of long ago: what was changed since, and what was repaired.",
)
@click.option(
    "--sample",
    type=click.IntRange(1, 10_000),
    metavar="N",
    help="Fetch N random stretches of what is claimed anew from the exchange, and compare to the last digit.",
)
@click.option("--sample-seed", type=int, metavar="S", help="Choose the same stretches again. [default: by chance]")
@click.option("--rest-url", metavar="URL", help="For --sample: another REST host. [default: the venue's own]")
@click.option(
    "--archive-url",
    metavar="URL",
    help="For --sample: another archive. [default: where --rest-url is, else data.binance.vision]",
)
@database_url_option
@config_option
def verify(
    *,
    symbols: tuple[str, ...],
    first: str | None,
    last: str | None,
    venue: str | None,
    deep: bool,
    as_json: bool,
    certificate: Path | None,
    force: bool,
    check: Path | None,
    against: Path | None,
    sample: int | None,
    sample_seed: int | None,
    config: Path | None,
    **flags: Any,  # noqa: ANN401
) -> None:
    """Prove what the database holds: per symbol and day ids, rows, holes, doubles, and how they were filled.

    Without SYMBOL all that is recorded. Trusts the table coverage, which is written together with the rows, and
    counts the rows against it; --deep reads every row, and holds each spot candle against its trades. Exit code 0:
    complete; 3: something is missing or differs, or rows that were received wait in a spool.
    """
    settings = load(flags, os.environ, config)
    for option, file, way in (("--check-certificate", check, _check), ("--against", against, _against)):
        if file is None:
            continue
        if symbols or first or last or venue or deep or certificate or (check and against):
            raise ConfigError(f"{option} stands alone", hint="The certificate says what is to be checked")
        sys.exit(_run(way(_url(settings), _document(file), file, as_json)))
    days = checked_days(first, last)
    if certificate is not None and certificate.exists() and not force:
        raise ConfigError("the file exists", subject=str(certificate), hint="Give another name, or --force")
    scope = Scope(venue, tuple(dict.fromkeys(fold_symbol(symbol) for symbol in symbols)))
    # to be repeated with --sample-seed, not to be secret
    seed = random.Random().randrange(2**32) if sample_seed is None else sample_seed  # noqa: S311
    drawn = None if sample is None else (sample, seed)
    sys.exit(_run(_verify(settings, scope, days, deep or certificate is not None, as_json, certificate, force, drawn)))


def checked_days(first: str | None, last: str | None) -> tuple[date | None, date | None]:
    """Return the days of --from and --to. Raises ConfigError when one is none, or they end before they begin."""
    days = (parse_day(first) if first else None, parse_day(last) if last else None)
    if days[0] and days[1] and days[1] < days[0]:
        raise ConfigError("the days end before they begin", subject=f"--from {first} --to {last}")
    return days


def _url(settings: Settings) -> str:
    return settings.database_url or embedded_url(settings)


def _run(work: Any) -> int:  # noqa: ANN401
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        code: int = runner.run(work)
        return code


async def _verify(
    settings: Settings,
    scope: Scope,
    days: tuple[date | None, date | None],
    deep: bool,
    as_json: bool,
    certificate: Path | None,
    force: bool,
    drawn: tuple[int, int] | None,
) -> int:
    document = None
    with Bar() as bar:
        async with open_audit(_url(settings), scope, deep=deep) as (reader, seals):
            auditor = Auditor(reader, scope, *days, deep=deep, seals=seals, progress=bar.steps)
            report = await auditor.run(
                database=reader.database, now_ns=SystemClock().now_ns(), version=version("crypto-quant")
            )
            await add_spooled(report, reader, settings, scope)
            if drawn is not None:
                report.sample = await _sample(settings, reader, scope, *drawn, bar)
            if certificate is not None:
                document = await certify(reader, report, bar.steps)
    if certificate is not None and document is not None:
        write_statement(certificate, document, overwrite=force)
    if as_json:
        told = report.to_json()
        for each in told["symbols"]:
            for hole in each["holes"]:
                where = (each["venue"], each["symbol"], hole["day"], hole["before"])
                hole["repair"] = repair_command(*where, claimed=hole["claimed"])
        for each in told["candles"]:
            for hole in each["holes"]:
                day = hole["first_open"][:10]
                hole["repair"] = repair_command(each["venue"], each["symbol"], day, hole["last_open"])
        click.echo(json.dumps(told, ensure_ascii=False))
    else:
        show(report, certificate)
    return 0 if report.complete else INCOMPLETE


async def _sample(
    settings: Settings, reader: AuditReader, scope: Scope, count: int, seed: int, bar: Bar
) -> SampleReport:
    from crypto_quant.compose import open_sampler  # noqa: PLC0415  # the exchange's rooms, which only this needs

    claims = await claims_by_stream(reader, scope)
    venues = sorted({Venue(key[0]) for key in claims})
    rows, emit = SampleRows(reader.connection), log.setup("WARNING", "auto")
    async with open_sampler(settings, rows, venues, emit, bar.steps) as sampler:
        return await sampler.run(claims, count, seed, SystemClock().now_ns())


async def _check(url: str, document: dict[str, Any], file: Path, as_json: bool) -> int:
    with Bar() as bar:
        async with open_reader(url) as reader:
            wrong = await recheck(reader, document, bar.steps)
    if as_json:
        told = {"certificate": str(file), "holds": not wrong, "digests": len(document["digests"]), "wrong": wrong}
        click.echo(json.dumps(told, ensure_ascii=False))
    elif wrong:
        click.echo(f"The certificate does not hold: {file}")
        for each in wrong:
            click.echo(f"  {each}")
    else:
        click.echo(
            f"The certificate holds: {len(document['digests']):,} digests of {document['issued_at']} are those of the"
            " database now"
        )
    return INCOMPLETE if wrong else 0


async def _against(url: str, document: dict[str, Any], file: Path, as_json: bool) -> int:
    with Bar() as bar:
        async with open_reader(url) as reader:
            found = await hold_against(reader, SealStore(reader.connection), document, bar.steps)
    if as_json:
        told = {"certificate": str(file), "holds": not found.changed, **msgspec.to_builtins(found)}
        click.echo(json.dumps(told, ensure_ascii=False))
        return INCOMPLETE if found.changed else 0
    for word, findings in (("REPAIRED", found.repaired), ("CHANGED ", found.changed)):
        for each in findings:
            where = " ".join(filter(None, (each.venue, each.symbol, each.stream)))
            when = f" {each.since}" if each.since == each.until else f" {each.since} to {each.until}"
            click.echo(f"{word}  {where}{when if each.until else ''}: {each.what}")
    checked = f"{found.seals:,} seals and {found.digests:,} digests of {found.issued_at}"
    if found.changed:
        click.echo(f"The record is not what was certified: {len(found.changed):,} of {checked} differ")
    else:
        since = f"; {len(found.repaired):,} were repaired or dropped on purpose since" if found.repaired else ""
        click.echo(f"The certified record is there: {checked} hold{since}")
    return INCOMPLETE if found.changed else 0


def _document(file: Path) -> dict[str, Any]:
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except OSError as problem:
        raise ConfigError("cannot read the certificate", subject=str(file), hint=str(problem)) from problem
    except ValueError as problem:
        raise ConfigError("the certificate is not JSON", subject=str(file), hint=str(problem)) from problem
    if not isinstance(document, dict):
        raise ConfigError("not a certificate", subject=str(file), hint="Expected one JSON object")
    return document
