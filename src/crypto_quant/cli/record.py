"""``crypto-quant record``: live streams into the database, until told otherwise."""

import asyncio
import gc
import os
import signal
import sys
from pathlib import Path
from typing import Any

import click
import msgspec

from crypto_quant.compose import open_recorder
from crypto_quant.config import Settings, load
from crypto_quant.errors import ConfigError
from crypto_quant.flow.pipeline import Ending
from crypto_quant.market import Venue
from crypto_quant.ops import log
from crypto_quant.seams import Emit


def settings_options(command: Any) -> Any:  # noqa: ANN401
    """Add the options that become ``Settings`` to a click command."""
    options = [
        click.option("--stream", "streams", multiple=True, metavar="NAME",
                     help="aggTrade, or kline_INTERVAL as in kline_5m; repeat for several. [default: aggTrade]"),
        click.option("--venue", type=click.Choice([v.value for v in Venue]), help="Which market. [default: spot]"),
        click.option("--database-url", metavar="URL",
                     help="PostgreSQL or TimescaleDB. [default: the embedded database]"),
        click.option("--batch-size", type=click.IntRange(1, 1_000_000), metavar="N",
                     help="Rows that make a batch full. [default: 1000]"),
        click.option("--batch-age", type=click.FloatRange(0, 60), metavar="S",
                     help="Seconds after which a batch is stored though not full."
                     " [default: twice what the last commit took, 0.005 to 0.05]"),
        click.option("--duration", type=click.FloatRange(0, min_open=True), metavar="S",
                     help="Seconds to record. [default: until interrupted]"),
        click.option("--drain-deadline", type=click.FloatRange(0, min_open=True), metavar="S",
                     help="Seconds that the graceful end may take. [default: 30]"),
        click.option("--stats-interval", type=click.FloatRange(0, min_open=True), metavar="S",
                     help="Seconds between two reports. [default: 10]"),
        click.option("--candle-grace", type=click.FloatRange(0, min_open=True), metavar="S",
                     help="Seconds after its end that a candle's final message may take. [default: 10]"),
        click.option("--check-symbols/--no-check-symbols", default=None,
                     help="Check the symbols against exchangeInfo first. [default: check]"),
        click.option("--links", type=click.IntRange(1, 4), metavar="N",
                     help="Connections that carry the same streams at the same time. [default: 1]"),
        click.option("--spool/--no-spool", default=None,
                     help="Keep rows on disk while the database is away or too slow. [default: spool]"),
        click.option("--spool-limit", type=click.IntRange(min=1_048_576), metavar="BYTES",
                     help="Bytes that the spool may take on disk. [default: 4 GiB]"),
        click.option("--ws-url", metavar="URL", help="Another WebSocket host. [default: the venue's own]"),
        click.option("--rest-url", metavar="URL", help="Another REST host. [default: where --ws-url is]"),
        click.option("--archive-url", metavar="URL",
                     help="Another archive. [default: where --ws-url is, else data.binance.vision]"),
        click.option("--backfill/--no-backfill", default=None,
                     help="Close holes in the trades by themselves, over REST. [default: backfill]"),
        click.option("--backfill-reach", type=click.IntRange(0), metavar="N",
                     help="Ids behind the newest one up to which holes are closed. [default: 1000000]"),
        click.option("--log-level", type=click.Choice(log.LEVELS, case_sensitive=False), help="[default: INFO]"),
        click.option("--log-format", type=click.Choice(log.FORMATS), help="[default: auto]"),
        click.option("--config", type=click.Path(path_type=Path),
                     help="A configuration file. [default: ./crypto-quant.toml, when there is one]"),
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


@click.command()
@click.argument("symbols", nargs=-1, metavar="SYMBOL...")
@settings_options
def record(symbols: tuple[str, ...], config: Path | None, **flags: Any) -> None:  # noqa: ANN401
    """Record SYMBOL... from the exchange's streams into the database.

    Trades and closed candles are stored exactly once, in batches. Ctrl-C (or SIGTERM, or --duration) ends it
    gracefully: nothing that has been received is lost. A second Ctrl-C ends it at once; what the database has not
    stored by then waits in the spool for the next run.
    """
    given = {**flags, "symbols": symbols or None, "streams": flags["streams"] or None}
    settings = load(given, os.environ, config)
    sys.exit(run(settings))


def run(settings: Settings) -> int:
    """Record as the settings say; return the exit code."""
    emit = log.setup(settings.log_level, settings.log_format)
    if settings.database_url is None:
        settings = msgspec.structs.replace(settings, database_url=embedded_url(settings))
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(_record(settings, emit))


def embedded_url(settings: Settings) -> str:
    """Start or join the embedded database; return its URL."""
    from crypto_quant.compose import data_dir  # noqa: PLC0415
    from crypto_quant.store.embedded import EmbeddedDatabase  # noqa: PLC0415  # heavy, and only needed here

    return EmbeddedDatabase(data_dir(settings)).start()


def recorded_url(settings: Settings) -> str:
    """Return the URL of a database to read from; the embedded one is not made for that. Raises ConfigError."""
    if settings.database_url is not None:
        return settings.database_url
    from crypto_quant.compose import data_dir  # noqa: PLC0415
    from crypto_quant.store.embedded import EmbeddedDatabase  # noqa: PLC0415

    database = EmbeddedDatabase(data_dir(settings))
    if not database.exists():
        raise ConfigError(
            "nothing was ever recorded here: there is no embedded database",
            subject=str(database.directory),
            hint="Record first, crypto-quant record SYMBOL; or name a database with --database-url",
        )
    return database.start()


def loop_factory() -> Any:  # noqa: ANN401
    """Return uvloop's loop factory where there is one, else None for asyncio's own."""
    try:
        import uvloop  # noqa: PLC0415  # not on every platform
    except ImportError:
        return None
    return uvloop.new_event_loop


async def _record(settings: Settings, emit: Emit) -> int:
    loop = asyncio.get_running_loop()
    async with open_recorder(settings, emit) as recorder:
        pipeline = recorder.pipeline
        # what stands now stays to the end: the collector of garbage need not look at it again and again
        gc.collect()
        gc.freeze()
        hurried = False

        def interrupted() -> None:
            nonlocal hurried
            if pipeline.stopping:
                hurried = True
                pipeline.abort()
            else:
                pipeline.stop()

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, interrupted)
        ending = await pipeline.run(settings.duration)
    if hurried:
        return 130
    return 0 if ending is Ending.DRAINED else 1
