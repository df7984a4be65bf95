"""``crypto-quant doctor``: whether a recorder would do well here, before it begins."""

import asyncio
import itertools
import os
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import msgspec

from crypto_quant.cli.options import given, settings_options
from crypto_quant.config import Resolved, resolve
from crypto_quant.diagnosis.finding import Finding, Verdict, worst
from crypto_quant.words import printable

_COLOURS = {Verdict.OK: "green", Verdict.SKIPPED: "bright_black", Verdict.WARNING: "yellow", Verdict.FAILED: "red"}


@click.command()
@click.argument("symbols", nargs=-1, metavar="[SYMBOL]...")
@settings_options(
    "streams", "venue", "database_url", "ws_url", "rest_url", "archive_url", "links", "pool_size", "pending_limit",
    "spool", "spool_limit", "spool_dir", "data_dir",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def doctor(symbols: tuple[str, ...], config: Path | None, as_json: bool, **flags: Any) -> None:  # noqa: ANN401
    """Check machine, network and database for `record` with the same settings; tell what is wrong and what to do.

    Nothing is changed: no table is made, and the embedded database is not started. Exit code 1 when a check failed.
    """
    resolved = resolve(given({**flags, "symbols": symbols}), os.environ, config)
    from crypto_quant.cli.record import loop_factory  # noqa: PLC0415 - a shell that completes options needs no loop

    if not as_json and sys.stderr.isatty():
        click.echo("checking …\r", err=True, nl=False)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        verdict = runner.run(_check(resolved, _tell_as_json if as_json else _tell))
    sys.exit(1 if verdict is Verdict.FAILED else 0)


async def _check(resolved: Resolved, tell: Callable[[Sequence[Finding]], None]) -> Verdict:
    """Tell the findings, and return the worst verdict: told here, because the loop's end waits for a slow resolver."""
    from crypto_quant.cli.checkup import checks  # noqa: PLC0415 - all that a recorder needs, and more
    from crypto_quant.flow.checkup import run  # noqa: PLC0415

    findings = await run(checks(resolved, sys.platform))
    tell(findings)
    return worst(findings)


def _tell_as_json(findings: Sequence[Finding]) -> None:
    report = {"verdict": worst(findings), "version": version("crypto-quant"), "findings": findings}
    click.echo(msgspec.json.encode(report))


def _tell(findings: Sequence[Finding]) -> None:
    plain = bool(os.environ.get("NO_COLOR"))
    told = _together(findings)
    names = max(len(finding.check) for finding in told)
    for finding in told:
        word = f"{finding.verdict:7}"
        shown = word if plain else click.style(word, fg=_COLOURS[finding.verdict])
        click.echo(f"{shown}  {finding.check:{names}}  {printable(finding.found)}")
        if finding.remedy:
            click.echo(f"{'':7}  {'':{names}}  → {printable(finding.remedy)}")
    counts = Counter(finding.verdict for finding in findings)
    click.echo(", ".join(f"{counts[verdict]} {verdict}" for verdict in Verdict if counts[verdict]))


def _together(findings: Sequence[Finding]) -> list[Finding]:
    """Return the findings with neighbours that were skipped for the same reason in one line."""
    told: list[Finding] = []
    for (verdict, found), same in itertools.groupby(findings, key=lambda each: (each.verdict, each.found)):
        group = list(same)
        if verdict is Verdict.SKIPPED and len(group) > 1:
            group = [Finding(f"{len(group)} checks", verdict, f"{found} ({group[0].check} to {group[-1].check})")]
        told += group
    return told
