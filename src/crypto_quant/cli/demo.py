"""``crypto-quant demo``: the whole thing on one machine, offline, and a proof that the rows are the exchange's."""

import asyncio
import contextlib
import json
import random
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from crypto_quant.cli.bar import Bar, quiet_option, watched
from crypto_quant.cli.comparison import Verdict, compare
from crypto_quant.cli.fitted import Column, fit
from crypto_quant.cli.options import FiniteRange
from crypto_quant.cli.record import loop_factory
from crypto_quant.compose import Recorder, open_recorder
from crypto_quant.config import Settings
from crypto_quant.errors import CryptoQuantError
from crypto_quant.ops import log
from crypto_quant.store.as_text import recreate_database
from crypto_quant.store.embedded import EmbeddedDatabase, find_psql
from crypto_quant.store.paths import data_dir
from crypto_quant.store.queries import StoredCandle, latest_candles
from crypto_quant.store.timescale import connect

DATABASE = "crypto_quant_demo"
_STREAMS = ("aggTrade", "kline_1s", "kline_1m", "kline_5m")
# exchange seconds per second: enough for candles of five minutes to close within half a minute
_SPEED = 10
_FIVE_MINUTES_MS = 300_000
_LOOK = "SELECT * FROM trades ORDER BY time DESC LIMIT 5"


@click.command()
@quiet_option
@click.option("--duration", type=FiniteRange(5, 3600), default=30.0, show_default=True, help="Seconds to record.")
@click.option("--symbols", type=click.IntRange(1, 200), default=4, show_default=True, help="Symbols of the market.")
@click.option(
    "--rate",
    type=FiniteRange(1, 100_000),
    default=3000.0,
    show_default=True,
    help="Raw trades a second of our time, over all symbols.",
)
@click.option("--seed", type=int, default=7, show_default=True, help="Seed of the market.")
def demo(duration: float, symbols: int, rate: float, seed: int) -> None:
    """Record a simulated exchange into the embedded database for a while, then compare every row with the exchange.

    Needs no network. The rows go into a database of their own (crypto_quant_demo), made anew by each demo.
    """  # fmt: skip
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        sys.exit(runner.run(_demo(console, duration, symbols, rate, seed)))


async def _demo(console: Console, duration_s: float, symbols: int, rate: float, seed: int) -> int:
    started = time.monotonic()
    console.print("[bold]1[/] local PostgreSQL … ", end="")
    database = EmbeddedDatabase(data_dir(Settings()))
    server_url = await asyncio.to_thread(database.start)
    url = await recreate_database(server_url, DATABASE)
    console.print(f"up after {time.monotonic() - started:.1f} s")
    with _exchange(symbols, rate, seed) as (ws_url, rest_url, names):
        console.print(
            f"[bold]2[/] simulated exchange of {', '.join(names[:6])}{' …' if len(names) > 6 else ''}: {ws_url}"
        )
        settings = Settings(
            symbols=tuple(names),
            streams=_STREAMS,
            database_url=url,
            ws_url=ws_url,
            rest_url=rest_url,
            archive_url=rest_url,
            log_level="WARNING",
        )
        emit = log.setup("WARNING", "auto")
        async with open_recorder(settings, emit, random.Random(seed)) as recorder:  # noqa: S311  # jitter alone
            console.print(
                f"[bold]3[/] recorder: {len(names)} symbols × {', '.join(_STREAMS)}, for {duration_s:g} s; "
                f"the exchange's time runs {_SPEED} × as fast"
            )
            running = asyncio.create_task(recorder.pipeline.run(duration_s))
            await _show(console, recorder, running, duration_s)
            await running
        final = recorder.pipeline.final
        console.print("[bold]4[/] comparing every row with the exchange's own answer over REST …")
        with Bar() as bar:
            verdict = await compare(url, rest_url, names, _STREAMS, bar)
    connection = await connect(url)
    try:
        candles = await latest_candles(connection, limit=3, timeframe="5m") or []
        candles += await latest_candles(connection, limit=6 - len(candles), timeframe="1m")
    finally:
        await connection.close()
    _report(final, verdict, candles, url)
    return 0 if verdict.exact and not final["pending_trades"] else 1


@contextlib.contextmanager
def _exchange(symbols: int, rate: float, seed: int) -> Iterator[tuple[str, str, list[str]]]:
    """Run the simulated exchange as a program of its own; yield its URLs and symbols."""
    # the tape begins shortly before a five-minute boundary of some minutes ago, so that such candles close
    start_ms = (time.time_ns() // 1_000_000 // _FIVE_MINUTES_MS - 2) * _FIVE_MINUTES_MS + 200_000
    command = [
        sys.executable, "-m", "crypto_quant", "simulate", "--port", "0", "--symbols", str(symbols), "--rate",
        str(rate / _SPEED), "--seed", str(seed), "--speed", str(_SPEED), "--start", str(start_ms), "--hold",
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # noqa: S603
    try:
        line = process.stdout.readline() if process.stdout else ""
        if not line:
            said = process.stderr.read() if process.stderr else ""
            raise CryptoQuantError("the simulated exchange did not start", hint=said.strip()[-500:])
        urls = json.loads(line)
        yield urls["ws_url"], urls["rest_url"], _names(urls["rest_url"])
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


def _names(rest_url: str) -> list[str]:
    """Return the exchange's symbols."""
    import urllib.request  # noqa: PLC0415  # once, from loopback, before anything runs

    # loopback is never asked through a proxy
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(f"{rest_url}/api/v3/exchangeInfo", timeout=10) as answer:
        return [row["symbol"] for row in msgspec.json.decode(answer.read())["symbols"]]


async def _show(console: Console, recorder: Recorder, running: asyncio.Task[object], duration_s: float) -> None:
    """Show progress until the recorder has ended, where somebody looks."""
    if not watched():
        await asyncio.wait({running})
        return
    columns = TextColumn("  "), BarColumn(), TimeRemainingColumn(), TextColumn("{task.description}")
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=duration_s)
        async for elapsed_s, line in _progress(recorder, running, 0.2, duration_s):
            bar.update(task, completed=elapsed_s, description=line)


async def _progress(
    recorder: Recorder, running: asyncio.Task[object], every_s: float, duration_s: float
) -> AsyncIterator[tuple[float, str]]:
    stats = recorder.pipeline.stats
    started = time.monotonic()
    last, last_at = 0, started
    while not running.done():
        await asyncio.wait({running}, timeout=every_s)
        now = time.monotonic()
        rate = (stats.trades_written - last) / max(now - last_at, 1e-9)
        last, last_at = stats.trades_written, now
        yield (
            min(now - started, duration_s),
            (
                f"{stats.trades_written:>9,} trades  {rate:>7,.0f}/s  {stats.candles_written:>5,} candles  "
                f"{stats.pending_trades:,} pending"
            ),
        )


def _report(final: dict[str, object], verdict: Verdict, candles: list[StoredCandle], url: str) -> None:
    """Say what is in the database and how exact it is; this is the command's result, on stdout."""
    out = Console(highlight=False, soft_wrap=True)
    if not out.is_terminal:
        out.width = 120
    columns = (
        Column("symbol", right=False), Column("timeframe", right=False), Column("open time", right=False),
        Column("open"), Column("high"), Column("low"), Column("close"), Column("volume", drop=1),
        Column("trades", drop=2),
    )  # fmt: skip
    rows = [
        (
            candle.symbol, candle.timeframe, f"{candle.time:%Y-%m-%d %H:%M}",
            *map(_short, (candle.open, candle.high, candle.low, candle.close, candle.volume, candle.trade_count)),
        )
        for candle in candles
    ]  # fmt: skip
    table = fit(columns, rows, out.width if out.is_terminal else None)
    out.print("\nThe latest candles", style="italic")
    for line in [table.head, *(line for lines in table.rows for line in lines)]:
        out.print(line)
    out.print()
    mark = "[green]✔[/]" if verdict.exact else "[red]✘[/]"
    out.print(
        f"{mark} {verdict.trades_equal:,} of {verdict.trades:,} aggregate trades equal the exchange's "
        f"to the last digit, {verdict.missing:,} missing, {verdict.extra:,} too many"
    )
    out.print(f"{mark} {verdict.candles_equal:,} of {verdict.candles:,} closed candles equal the exchange's")
    for difference in verdict.differences[:5]:
        out.print(f"    {difference}")
    out.print(
        f"  {final['trades_written']:,} trades in {final['elapsed_seconds']} s ({final['trades_per_second']:,}/s), "
        f"{final['rows_per_batch']} rows a commit; from a frame's arrival to its commit p50 "
        f"{final['commit_lag_ms_p50']} ms, p99 {final['commit_lag_ms_p99']} ms"
    )
    out.print()
    out.print("Look further:")
    psql = "psql" if shutil.which("psql") else find_psql()
    out.print(f"  {psql} '{url}' -c '{_LOOK}'", markup=False)
    out.print(f"  {url}", markup=False)


def _short(value: Decimal | int | None) -> str:
    """Return a number without the zeros that the table pads it with."""
    return f"{value.normalize():f}" if isinstance(value, Decimal) else str(value)
