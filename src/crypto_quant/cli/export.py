"""``crypto-quant export``: the record as files, a Parquet lake or another tool's format."""

import importlib.util
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from crypto_quant import commands
from crypto_quant.cli.bar import Bar, quiet_option
from crypto_quant.cli.options import complete_timeframes, config_option, database_url_option, venue_option
from crypto_quant.cli.record import recorded_url
from crypto_quant.config import load
from crypto_quant.errors import ConfigError, MissingExtra
from crypto_quant.market import Timeframe, fold_symbol
from crypto_quant.words import counted, size

if TYPE_CHECKING:
    from crypto_quant.lake.exporting import Outcome

FORMATS = ("parquet", "csv", "freqtrade", "tardis-csv", "hftbacktest", "nautilus")
KINDS = ("trades", "candles")


@click.command()
@quiet_option
@click.argument("symbols", nargs=-1, required=True, metavar="SYMBOL...")
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="DIR", help="Where the files go.")
@click.option(
    "--format", "form", type=click.Choice(FORMATS), default="parquet", show_default=True, help="Which files to make."
)
@click.option(
    "--from", "first", metavar="DATE", help="The first day, UTC, as 2026-09-01. [default: the record's first]"
)
@click.option("--to", "last", metavar="DATE", help="The last day, UTC, inclusive. [default: the record's last]")
@click.option("--kind", type=click.Choice(KINDS), help="[default: trades, with --timeframe candles]")
@click.option("--timeframe", "timeframes", multiple=True, metavar="NAME", shell_complete=complete_timeframes,
              help="Of candles, as 5m; repeat for several.")  # fmt: skip
@venue_option
@click.option(
    "--on-gap", type=click.Choice(("raise", "warn", "ignore")), default="raise", show_default=True,
    help="Where not all is there: export nothing, or what there is; the manifest says what is missing.",
)  # fmt: skip
@click.option(
    "--pair", "pairs", multiple=True, metavar="SYMBOL=BASE/QUOTE",
    help="For freqtrade: the assets of a symbol of which exchangeInfo was never recorded, as ADAEUR=ADA/EUR; "
    "repeat for several.",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Overwrite files that no manifest names, and manifests that are damaged.")
@click.option("--json", "as_json", is_flag=True, help="The summary as JSON.")
@database_url_option
@config_option
def export(
    *,
    symbols: tuple[str, ...],
    out: Path,
    form: str,
    first: str | None,
    last: str | None,
    kind: str | None,
    timeframes: tuple[str, ...],
    venue: str | None,
    on_gap: str,
    pairs: tuple[str, ...],
    force: bool,
    as_json: bool,
    database_url: str | None,
    config: Path | None,
) -> None:
    """Write the days --from to --to (UTC, both inclusive) of SYMBOL... as files into --out DIR.

    Each file is there whole or not at all, and a manifest beside it has its checksum and says what is missing. The same
    command again goes on where it was stopped: what is there, is whole and lacks nothing that the database has is kept.
    Exit code 0: done; 1: something failed; 3: not all of it is there, and nothing was exported.
    """  # fmt: skip
    settings = load({"database_url": database_url, "venue": venue}, os.environ, config)
    from crypto_quant.cli.verify import checked_days  # noqa: PLC0415 - a shell that completes waits for none of this

    days = checked_days(first, last)
    needed("pyarrow", "numpy")
    if kind == "candles" and not timeframes:
        raise ConfigError("candles of which timeframe?", hint="Name it: --timeframe 5m")
    if kind == "trades" and timeframes:
        raise ConfigError("trades have no timeframe", hint="Leave out --timeframe, or say --kind candles")
    frames = tuple(dict.fromkeys(Timeframe.parse(each).value for each in timeframes))
    names = tuple(dict.fromkeys(map(fold_symbol, symbols)))
    if out.exists() and not out.is_dir():
        raise ConfigError("this is no directory", subject=f"--out {out}", hint="Give one, or a name that is free")
    url = recorded_url(settings)
    # Ctrl-C and kill end it in order: a file that is half written goes
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        sys.exit(_export(url, out, form, settings.venue.value, names, frames, days, on_gap, pairs, force, as_json))
    except KeyboardInterrupt:
        click.echo("Interrupted. The same command goes on from here.", err=True)
        sys.exit(130)


def needed(*libraries: str) -> None:
    """Raise MissingExtra when one of these is not installed."""
    missing = [each for each in libraries if importlib.util.find_spec(each) is None]
    if missing:
        raise MissingExtra(f"this needs {' and '.join(missing)}", hint=f"Install it with: {commands.install('arrow')}")


def _export(
    url: str,
    out: Path,
    form: str,
    venue: str,
    symbols: Sequence[str],
    frames: Sequence[str],
    days: tuple[date | None, date | None],
    on_gap: str,
    pairs: Sequence[str],
    force: bool,
    as_json: bool,
) -> int:
    from crypto_quant.lake.exporting import Exporter  # noqa: PLC0415 - heavy, and an extra
    from crypto_quant.lake.forms import FORMS  # noqa: PLC0415
    from crypto_quant.lake.origin import Origin  # noqa: PLC0415
    from crypto_quant.lake.pairs import given_pairs  # noqa: PLC0415
    from crypto_quant.manifest import Series  # noqa: PLC0415

    given = given_pairs(pairs)
    if given and not FORMS[form].paired:
        raise ConfigError(f"{form} names no pairs", subject="--pair", hint="Leave it out, or say --format freqtrade")

    series = [
        Series(venue, "candles" if frame else "trades", symbol, frame)
        for symbol in symbols
        for frame in frames or (None,)
    ]
    started = time.monotonic()
    with closing(Origin(url)) as origin, Bar("files") as bar:
        exporter = Exporter(
            origin, FORMS[form], out, on_gap=on_gap, overwrite=force, progress=bar, pairs=given,
            made_by=f"crypto-quant {version('crypto-quant')}",
        )  # fmt: skip
        outcomes = exporter.run(series, *days)
    if as_json:
        click.echo(json.dumps([msgspec.to_builtins(each) for each in outcomes], ensure_ascii=False))
    else:
        _tell(outcomes, time.monotonic() - started)
    if on_gap == "warn":
        for each in outcomes:
            for day, missing in each.missing.items():
                said = "; ".join(f"{m.start} to {m.end} {m.why}" for m in missing[:3]) + ("; …" if missing[3:] else "")
                click.echo(f"INCOMPLETE {each.series} {day}: {said}", err=True)
    for each in outcomes:
        for day in each.smaller:
            click.echo(f"KEPT {each.series} {day}: the database has less of it now than the file", err=True)
    return 0


def _tell(outcomes: "Sequence[Outcome]", took_s: float) -> None:
    for each in outcomes:
        words = [f"{counted(each.files, 'file')} with {counted(each.rows, 'row')}, {size(each.bytes)}"]
        words += [f"{each.kept:,} were there"] if each.kept else []
        words += [f"{len(each.missing):,} INCOMPLETE"] if each.missing else []
        click.echo(f"{each.series}: {', '.join(words)}")
    rows = sum(each.rows for each in outcomes)
    click.echo(f"{rows:,} rows in {took_s:,.1f} s, {rows / max(took_s, 1e-9):,.0f} a second")
