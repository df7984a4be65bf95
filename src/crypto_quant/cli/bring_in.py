"""``crypto-quant import``: a Parquet lake back into a database."""

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from crypto_quant.cli.bar import Bar, Upgrade, quiet_option
from crypto_quant.cli.export import needed
from crypto_quant.cli.options import config_option, database_url_option
from crypto_quant.cli.record import embedded_url, loop_factory
from crypto_quant.config import load
from crypto_quant.evidence import Scope
from crypto_quant.store.ledger import StoreLedger
from crypto_quant.store.timescale import open_sink
from crypto_quant.upkeep import seal

if TYPE_CHECKING:
    from crypto_quant.lake.importing import Lake, Outcome

_DIFFERS = 3


@click.command("import")
@quiet_option
@click.argument("directory", type=click.Path(path_type=Path), metavar="DIR")
@click.option("--check", is_flag=True, help="Only hold the files against their manifests; store nothing.")
@click.option("--skip-damaged", is_flag=True, help="Store the files that are sound, though others are not.")
@click.option("--json", "as_json", is_flag=True, help="The summary as JSON.")
@database_url_option
@config_option
def bring_in(
    directory: Path, check: bool, skip_damaged: bool, as_json: bool, database_url: str | None, config: Path | None
) -> None:
    """Store what crypto-quant export has written to DIR as parquet: the same rows, and what is proven of them.

    Every file is held against its manifest first; one that was cut or altered is told by name, and nothing is stored.
    What the database has already stays as it is, so it may have a part, and the same command again changes nothing.
    Exit code 0: all of it is stored; 1: a file is damaged; 3: a trade is stored with another content, and was kept.
    """
    settings = load({"database_url": database_url}, os.environ, config)
    needed("pyarrow", "numpy")
    from crypto_quant.lake.importing import look  # noqa: PLC0415 - heavy, and an extra

    started = time.monotonic()
    with Bar() as bar:
        lake = look(directory, bar)
        for each in lake.damage:
            click.echo(f"DAMAGED {each}", err=True)
        outcomes: list[Outcome] = []
        if not check and (skip_damaged or not lake.damage):
            url = settings.database_url or embedded_url(settings)
            with asyncio.Runner(loop_factory=loop_factory()) as runner:
                stored = runner.run(_store(url, lake, bar))
            if stored is None:
                click.echo("Interrupted. The same command goes on from here.", err=True)
                sys.exit(130)
            outcomes = stored
    if as_json:
        told = {"damaged": lake.damage, "series": [msgspec.to_builtins(each) for each in outcomes]}
        click.echo(json.dumps(told, ensure_ascii=False))
    else:
        _tell(lake, outcomes, time.monotonic() - started)
    if lake.damage:
        if not (skip_damaged or check):
            click.echo("Nothing was stored. Export these anew, or leave them out with --skip-damaged", err=True)
        sys.exit(1)
    sys.exit(_DIFFERS if any(each.conflicts for each in outcomes) else 0)


async def _store(url: str, lake: "Lake", bar: Bar) -> "list[Outcome] | None":
    from crypto_quant.lake.importing import Importer  # noqa: PLC0415

    with Upgrade() as upgrade:
        sink = await open_sink(url, pool_size=2, emit=upgrade)
    try:
        work = asyncio.ensure_future(Importer(sink, StoreLedger(sink), bar).run(lake))
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, work.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            outcomes = await work
            # whole days, which no recorder comes back to
            await seal(url, Scope(None, tuple(sorted({each.series.symbol for each in outcomes}))))
            return outcomes
        return None
    finally:
        await sink.close()


def _tell(lake: "Lake", outcomes: "list[Outcome]", took_s: float) -> None:
    sound = [each for each in lake.files if not each.damage]
    click.echo(
        f"{len(sound):,} files of {len(lake.manifests):,} series are as their manifests say,"
        f" {sum(each.part.rows for each in sound):,} rows"
    )
    for each in outcomes:
        words = [f"{each.files:,} file{'s'[: each.files != 1]}, {each.new:,} rows new"]
        words += [f"{each.known:,} were there"] if each.known else []
        words += [f"{each.conflicts:,} STORED WITH ANOTHER CONTENT"] if each.conflicts else []
        click.echo(f"{each.series}: {', '.join(words)}")
    rows = sum(each.rows for each in outcomes)
    if outcomes:
        click.echo(f"{rows:,} rows in {took_s:,.1f} s, {rows / max(took_s, 1e-9):,.0f} a second")
