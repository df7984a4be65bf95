"""``crypto-quant candles``: the last candles of a symbol, drawn on a terminal, as lines in a pipe."""

import json
import os
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from crypto_quant.cli.candle_chart import MISSING, Shape, draw, price_text
from crypto_quant.cli.export import needed
from crypto_quant.cli.options import complete_timeframes, config_option, database_url_option, venue_option
from crypto_quant.cli.output import Output
from crypto_quant.cli.record import recorded_url
from crypto_quant.config import load
from crypto_quant.errors import ConfigError
from crypto_quant.market import NS_PER_US, fold_symbol, utc_text

if TYPE_CHECKING:
    from rich.console import Console

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_STYLES = {"up": "green", "down": "red", "missing": "yellow"}
_SHOWN = ("open", "high", "low", "close", "volume")
_LAST_MAX = 10_000


@click.command()
@click.argument("symbol")
@click.argument("timeframe", shell_complete=complete_timeframes)
@click.option("--last", type=click.IntRange(1, _LAST_MAX), default=20, show_default=True, help="How many.")
@venue_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object, numbers as exact text.")
@database_url_option
@config_option
def candles(
    symbol: str,
    timeframe: str,
    last: int,
    venue: str | None,
    as_json: bool,
    database_url: str | None,
    config: Path | None,
) -> None:
    """Show the last candles of SYMBOL in TIMEFRAME, as in: crypto-quant candles btcusdt 5m

    Stored ones, or where there are none made from the stored trades, and then in any timeframe that divides a day
    (10m, 90s). Those that are missing keep their place and are told.
    """
    settings = load({"database_url": database_url, "venue": venue}, os.environ, config)
    needed("pyarrow", "numpy")
    url = recorded_url(settings)
    found = _found(url, settings.venue.value, fold_symbol(symbol), timeframe, last)
    if as_json:
        click.echo(json.dumps(found, default=_text, ensure_ascii=False))
        return
    from rich.console import Console  # noqa: PLC0415 - a shell that completes options waits for none of this

    console = Console(highlight=False, emoji=False, markup=False)
    if console.is_terminal:
        _draw(console, found)
    else:
        _lines(found)


def _found(url: str, venue: str, symbol: str, timeframe: str, last: int) -> dict[str, Any]:
    """Return what was asked for: ``candles`` by time, each ``whole`` or not, and the open times of the ``missing``."""
    from crypto_quant.lake.origin import Origin  # noqa: PLC0415
    from crypto_quant.manifest import Series  # noqa: PLC0415 - heavy, and an extra
    from crypto_quant.reading.asked import Step  # noqa: PLC0415

    step = Step(timeframe)
    with closing(Origin(url)) as origin:
        stored = origin.ends(Series(venue, "candles", symbol, timeframe)) if step.known else None
        # of those from trades the last one that is over
        bounds = stored or origin.bounds(Series(venue, "trades", symbol))
        end_ns = step.next_open_ns(bounds[1]) if stored else step.open_ns(bounds[1])
        opens = [end_ns]
        while len(opens) <= last and opens[-1] > bounds[0]:
            opens.append(step.open_ns(opens[-1] - 1))
        opens = opens[:0:-1]
        if not opens:
            raise ConfigError(
                "no candle is over yet", subject=f"{symbol} {timeframe} ({venue})", hint="Ask again later"
            )
        source = "stored" if stored else "trades"
        batches = origin.candle_batches(
            symbol, timeframe, _moment(opens[0]), _moment(end_ns), venue, source=source, on_gap="ignore"
        )
        rows = batches.read_all().to_pylist()
    there = {(row["time"] - _EPOCH) // timedelta(microseconds=1) * NS_PER_US: row for row in rows}
    told = []
    for open_ns, row in there.items():
        lacks = stored is None and any(
            each.start < step.next_open_ns(open_ns) and open_ns < each.end for each in batches.lacks
        )
        told.append({**row, "time": utc_text(open_ns), "whole": not lacks})
    return {
        "venue": venue, "symbol": symbol, "timeframe": timeframe, "source": source, "candles": told,
        "missing": [utc_text(each) for each in opens if each not in there],
    }  # fmt: skip


def _moment(time_ns: int) -> datetime:
    return _EPOCH + timedelta(microseconds=time_ns // NS_PER_US)


def _text(value: object) -> str:
    """Return an exact number as text."""
    return f"{value:f}"


def _lines(found: dict[str, Any]) -> None:
    """Print a line a candle, missing ones too."""
    output = Output()
    rows = [["time", *_SHOWN]]
    rows += [[each["time"], *(_text(each[name]) for name in _SHOWN)] for each in found["candles"]]
    rows += [[each, "missing"] for each in found["missing"]]
    rows[1:] = sorted(rows[1:])
    widths = [max(len(row[at]) for row in rows if at < len(row)) for at in range(len(_SHOWN) + 1)]
    for row in rows:
        cells = [
            row[0].ljust(widths[0]),
            *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=False)),
        ]
        output("  ".join(cells).rstrip().encode() + b"\n")
    output.flush()


def _draw(console: "Console", found: dict[str, Any]) -> None:
    """Print a header, the chart, and what is missing, no wider than the terminal."""
    from rich.text import Text  # noqa: PLC0415

    rows = {each["time"]: each for each in found["candles"]}
    times = sorted([*rows, *found["missing"]])
    shapes = [Shape(*(rows[time][name] for name in _SHOWN[:4])) if time in rows else None for time in times]
    there = [each for each in shapes if each is not None]
    if not there:
        console.print(f"{found['symbol']} {found['timeframe']}: all {len(times)} candles are missing")
        return
    chart = draw(shapes, console.width)
    times, shown = times[-chart.shown :], [each for each in shapes[-chart.shown :] if each is not None] or there[-1:]
    first, last = shown[0], shown[-1]
    change = (last.close / first.open - 1) * 100 if first.open else Decimal(0)
    volume = sum((rows[time]["volume"] for time in times if time in rows), Decimal(0))
    console.print(Text(f"{found['symbol']} {found['timeframe']} {found['venue']}", style="bold"), end="  ")
    console.print(Text(f"{price_text(last.close)} {change:+.2f}%", style=_STYLES["up" if change >= 0 else "down"]))
    console.print(Text(f"volume {price_text(volume)}" + (", made from trades" if found["source"] == "trades" else "")))
    for label, line in zip(chart.labels, chart.lines, strict=True):
        text = Text(f"{label} ")
        for cell in line:
            text.append(cell.mark, style=_STYLES.get(cell.of, "") if cell.mark.strip() else "")
        console.print(text, no_wrap=True, crop=True)
    begin, end = times[0][:16].replace("T", " "), times[-1][11:16] + " UTC"
    console.print(Text(f"{begin} to {end}"))
    missing = [time for time in times if time not in rows]
    partial = [time for time in times if time in rows and not rows[time]["whole"]]
    for named, what in ((missing, f"{MISSING} missing"), (partial, "not whole")):
        if named:
            more = f" and {len(named) - 3} more" if len(named) > 3 else ""
            which = ", ".join(each[11:19] for each in named[:3])
            console.print(Text(f"{len(named)} {what}: {which}{more}", style=_STYLES["missing"]))
