"""``crypto-quant status``: what each recorder of this machine does now, from the boards that they write."""

import asyncio
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.text import Text

from crypto_quant import health
from crypto_quant.cli import spooled as spools
from crypto_quant.cli import status_view as view
from crypto_quant.cli.fitted import Column, fit
from crypto_quant.cli.options import FiniteRange, config_option
from crypto_quant.config import Settings, load
from crypto_quant.errors import ConfigError, CryptoQuantError
from crypto_quant.evidence import Spooled
from crypto_quant.ops import board
from crypto_quant.ops.board import Board
from crypto_quant.store import paths
from crypto_quant.store.embedded import EmbeddedDatabase
from crypto_quant.words import counted, printable

FORMAT = 1
# so much is shown on a terminal at once; a pipe gets all of it
_STREAMS_MAX = 40
_GAPS_MAX = 20
_HAPPENINGS_MAX = 10


@click.command()
@click.option("--watch", is_flag=True, help="Full screen, kept up to date; q leaves, ? tells the keys.")
@click.option("--interval", type=FiniteRange(0.1, 3600), default=1.0, show_default=True, metavar="S",
              help="Seconds between two looks of --watch.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="One JSON object; docs/status.md says what is in it.")
@click.option("--once", is_flag=True, help="One look, as without --watch.")
@click.option("--pid", type=click.IntRange(1), metavar="PID", help="The recorder with this process id alone.")
@click.option("--data-dir", metavar="DIR", help="Where the recorders keep their data. [default: as record's]")
@click.option(
    "--database-url", metavar="URL",
    help="The database to look into when no recorder runs. [default: the embedded one, where it runs]",
)  # fmt: skip
@config_option
def status(
    watch: bool,
    interval: float,
    as_json: bool,
    once: bool,
    pid: int | None,
    data_dir: str | None,
    database_url: str | None,
    config: Path | None,
) -> None:
    """Say what the recorders on this machine do: rates, lags, streams, gaps, and what is wrong with its remedy.

    Looking never slows a recorder: it writes what it does into a file once a second, and this reads the file. When
    none runs, it says what the database holds. Exit code 0: a recorder runs and all is well; 1: none runs, or
    something is wrong: one died or hangs, is not connected on both sides, or misses trades; 2: usage.
    """
    settings = load({"data_dir": data_dir, "database_url": database_url}, os.environ, config)
    directory = paths.data_dir(settings) / board.DIRECTORY
    if watch:
        if as_json or once:
            raise click.UsageError("--watch is for people: --json and --once look once")
        from crypto_quant.cli.watch import watch as keep_watching  # noqa: PLC0415 - the terminal alone needs it

        keep_watching(directory, pid, interval)
        return
    found = look(directory, pid)
    now_ns = time.time_ns()
    told = [health.problems(each.snapshot, alive=each.alive, now_ns=now_ns) for each in found]
    well = bool(found) and all(health.is_well(each.snapshot, of) for each, of in zip(found, told, strict=True))
    held = None if any(each.alive for each in found) else _held(settings)
    spooled = spools.look(settings)
    if as_json:
        click.echo(_document(found, told, held, spooled, directory, well, now_ns))
    else:
        _tell(found, told, held, spooled, directory, pid, now_ns)
    sys.exit(0 if well else 1)


def look(directory: Path, pid: int | None) -> list[Board]:
    """Return the boards there, the one of ``pid`` alone where it is given. Raises ConfigError."""
    try:
        next(os.scandir(directory), None)
    except FileNotFoundError:
        return []
    except OSError as problem:
        raise ConfigError(
            "the recorders' boards cannot be read",
            subject=f"{directory}: {problem.strerror or problem}",
            hint="Ask as the user that records",
        ) from problem
    return [each for each in board.boards(directory) if pid is None or each.pid == str(pid)]


def nobody(directory: Path, pid: int | None) -> str:
    """Return the words for no recorder."""
    return f"No recorder runs here{f' with pid {pid}' if pid else ''} ({directory})"


# -- what the database holds -----------------------------------------------------------------------------


def _held(settings: Settings) -> dict[str, Any]:
    """Return what the database holds, or why nobody can tell. The embedded one is asked only where it runs."""
    url = settings.database_url
    if url is None:
        found = EmbeddedDatabase(paths.data_dir(settings)).status()
        if found.url is None:
            there = "does not run" if (Path(found.directory) / "cluster").exists() else "was never made"
            return {"problem": f"the embedded database {there}", "streams": []}
        url = found.url
    # asyncpg is only needed here
    from crypto_quant.store.holdings import holdings  # noqa: PLC0415

    try:
        return {"problem": None, "streams": asyncio.run(holdings(url))}
    except CryptoQuantError as problem:
        return {"problem": str(problem), "streams": []}


# -- for programs ----------------------------------------------------------------------------------------


def _document(
    found: Sequence[Board],
    told: Sequence[Sequence[health.Problem]],
    held: dict[str, Any] | None,
    spooled: Sequence[Spooled],
    directory: Path,
    well: bool,
    now_ns: int,
) -> bytes:
    recorders = [
        {
            "board": str(each.path), "alive": each.alive, "well": health.is_well(each.snapshot, problems),
            "problems": problems, "snapshot": each.snapshot,
        }
        for each, problems in zip(found, told, strict=True)
    ]  # fmt: skip
    document = {
        "format": FORMAT, "asked_ns": now_ns, "directory": str(directory), "well": well, "recorders": recorders,
        "database": held, "spooled": spooled,
    }  # fmt: skip
    return msgspec.json.encode(document)


# -- for people ------------------------------------------------------------------------------------------


def _tell(
    found: Sequence[Board],
    told: Sequence[Sequence[health.Problem]],
    held: dict[str, Any] | None,
    spooled: Sequence[Spooled],
    directory: Path,
    pid: int | None,
    now_ns: int,
) -> None:
    out = Console(highlight=False, markup=False, emoji=False)
    width = out.width if out.is_terminal else None
    lines: list[Text] = []
    for each, problems in zip(found, told, strict=True):
        lines += [Text()] * bool(lines) + _recorder(each, problems, now_ns, width)
    if not any(each.alive for each in found):
        lines += [Text()] * bool(lines) + [Text(nobody(directory, pid)), Text("Start one: crypto-quant record SYMBOL")]
    if held is not None:
        lines += [Text(), *_database(held, width)]
    # what a living recorder has in its own is among its figures
    own = {each.snapshot.spool.directory for each in found if each.alive and each.snapshot is not None}
    for left in [each for each in spooled if each.directory not in own]:
        lines += [
            Text(),
            Text(f"{spools.spooled_line(left)}: received, and not in the database"),
            Text(f"  {spools.SPOOL_REMEDY}"),
        ]
    for line in lines:
        out.print(line, no_wrap=True, crop=width is not None, overflow="ellipsis" if width else "ignore")


def _recorder(found: Board, problems: Sequence[health.Problem], now_ns: int, width: int | None) -> list[Text]:
    """Return everything that there is to be said of a recorder; in a pipe (no width) all of its streams and gaps."""
    snapshot = found.snapshot
    if snapshot is None:
        return view.without_snapshot(found.pid, problems, now_ns, width)
    wide = width or 100
    lines = [*view.head(snapshot, now_ns, wide, alive=found.alive), *view.problem_lines(problems, now_ns, width)]
    # what the streams of a dead one did is no more
    shown_streams = snapshot.streams if found.alive else ()
    streams = view.ordered(shown_streams, view.Order.PROBLEMS, now_ns)
    if streams:
        table = view.StreamTable(streams, now_ns, width)
        shown = len(streams) if width is None else min(len(streams), _STREAMS_MAX)
        lines += [Text(), table.heading(), *map(table.line, range(shown))]
        if shown < len(streams):
            lines.append(Text(f"and {counted(len(streams) - shown, 'stream')} more: --watch, or | less", view.LABEL))
    if snapshot.gaps:
        shown = len(snapshot.gaps) if width is None else min(len(snapshot.gaps), _GAPS_MAX)
        lines += [Text(), Text("gaps", view.HEADING), *map(view.gap_line, snapshot.gaps[:shown])]
        if shown < len(snapshot.gaps):
            lines.append(Text(f"and {counted(len(snapshot.gaps) - shown, 'gap')} more", view.LABEL))
    if snapshot.happenings:
        latest = snapshot.happenings[-_HAPPENINGS_MAX:]
        lines += [Text(), Text("latest warnings (UTC)", view.HEADING), *map(view.happening_line, latest)]
    return lines


def _database(held: dict[str, Any], width: int | None) -> list[Text]:
    if held["problem"]:
        return [Text(f"What is stored cannot be told: {printable(held['problem'])}")]
    if not held["streams"]:
        return [Text("The database holds nothing yet")]
    cells = [
        (printable(each.symbol), each.venue, each.stream, f"{each.rows:,}", f"{each.stored_at:%Y-%m-%d %H:%M:%S}")
        for each in held["streams"]
    ]
    columns = (
        Column("symbol", right=False), Column("venue", right=False, drop=2), Column("stream", right=False),
        Column("rows"), Column("last stored (UTC)", right=False, drop=1),
    )  # fmt: skip
    table = fit(columns, cells, width)
    body = [Text(line) for lines in table.rows for line in lines]
    return [Text("The database holds", view.HEADING), *([Text(table.head, view.HEADING)] if table.head else []), *body]
