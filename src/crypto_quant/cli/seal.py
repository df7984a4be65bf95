"""``crypto-quant seal``: what is stored and not sealed yet is sealed now."""

import asyncio
import json
import os
import sys
from datetime import date
from pathlib import Path

import click

from crypto_quant.cli.bar import Bar, quiet_option
from crypto_quant.cli.options import config_option, database_url_option
from crypto_quant.cli.record import embedded_url, loop_factory
from crypto_quant.cli.verify import INCOMPLETE, checked_days
from crypto_quant.config import load
from crypto_quant.errors import ConfigError
from crypto_quant.evidence import Scope
from crypto_quant.flow.sealing import Sealed
from crypto_quant.market import Venue, fold_symbol
from crypto_quant.upkeep import seal as seal_record


@click.command()
@quiet_option
@click.argument("symbols", nargs=-1, metavar="[SYMBOL]...")
@click.option(
    "--from", "first", metavar="DATE", help="The first day, UTC, as 2026-09-01. [default: the record's first]"
)
@click.option("--to", "last", metavar="DATE", help="The last day, UTC, inclusive. [default: the record's last]")
@click.option("--venue", type=click.Choice([v.value for v in Venue]), help="Which market. [default: all]")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@database_url_option
@config_option
def seal(
    symbols: tuple[str, ...],
    first: str | None,
    last: str | None,
    venue: str | None,
    as_json: bool,
    database_url: str | None,
    config: Path | None,
) -> None:
    """Seal what is stored and not sealed yet, the open hour too: a later change is then found by verify --deep.

    A recorder seals each hour when it is over, and the rest when it ends, as do backfill, repair and import; so this
    is for a record of before there were seals, or of a recorder that was killed. Exit code 0: all is sealed; 3: rows
    are not those that are claimed, and were not sealed.
    """
    settings = load({"database_url": database_url}, os.environ, config)
    days = checked_days(first, last)
    scope = Scope(venue, tuple(dict.fromkeys(fold_symbol(symbol) for symbol in symbols)))
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        done = runner.run(_seal(settings.database_url or embedded_url(settings), scope, days))
    if done.busy:
        raise ConfigError("somebody else is sealing this database", hint="Wait until they have done")
    _show(done, as_json=as_json)
    sys.exit(INCOMPLETE if done.refused else 0)


async def _seal(url: str, scope: Scope, days: tuple[date | None, date | None]) -> Sealed:
    with Bar() as bar:
        return await seal_record(url, scope, *days, progress=bar.steps)


def _show(done: Sealed, *, as_json: bool) -> None:
    if as_json:
        refused = [
            {
                "venue": each.key[0], "symbol": each.key[1], "stream": each.key[2], "first": each.first,
                "last": each.last, "claimed": each.claimed, "stored": each.stored,
            }
            for each in done.refused
        ]  # fmt: skip
        told = {"seals": done.seals, "rows": done.rows, "replaced": done.replaced, "refused": refused}
        click.echo(json.dumps(told, ensure_ascii=False))
        return
    click.echo(f"{done.seals:,} seals over {done.rows:,} rows; {done.replaced:,} of them replace earlier ones")
    for each in done.refused:
        click.echo(
            f"REFUSED   {' '.join(each.key)}: {each.first} to {each.last}: {each.claimed:,} rows are claimed, and"
            f" {each.stored:,} found. `crypto-quant verify --deep` names what differs"
        )
