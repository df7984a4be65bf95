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

from crypto_quant.cli.bar import quiet_option
from crypto_quant.cli.options import given, settings_options
from crypto_quant.config import Settings, resolve
from crypto_quant.errors import ConfigError
from crypto_quant.seams import Emit


@click.command()
@quiet_option
@click.argument("symbols", nargs=-1, metavar="SYMBOL...")
@settings_options()
def record(symbols: tuple[str, ...], config: Path | None, **flags: Any) -> None:  # noqa: ANN401
    """Record SYMBOL... from the exchange's streams into the database.

    Trades and closed candles are stored exactly once, in batches. Ctrl-C (or SIGTERM, or --duration) ends it
    gracefully: nothing that has been received is lost. A second Ctrl-C ends it at once; what the database has not
    stored by then waits in the spool for the next run.
    """
    resolved = resolve(given({**flags, "symbols": symbols}), os.environ, config)
    for variable in resolved.ignored:
        click.echo(f"crypto-quant: {variable} in the environment is no setting, and is ignored", err=True)
    sys.exit(run(resolved.settings))


def run(settings: Settings) -> int:
    """Record as the settings say; return the exit code."""
    from crypto_quant.cli.watching import accompanied, listening  # noqa: PLC0415
    from crypto_quant.ops import log  # noqa: PLC0415 - a shell that completes options waits for none of this

    emit = log.setup(settings.log_level, settings.log_format)
    # first of all: a port that is taken is known before anything was begun
    with listening(settings) as listeners:
        if settings.database_url is None:
            settings = msgspec.structs.replace(settings, database_url=embedded_url(settings))
        with accompanied(settings, listeners, emit), asyncio.Runner(loop_factory=loop_factory()) as runner:
            return runner.run(_record(settings, emit))


def embedded_url(settings: Settings) -> str:
    """Start or join the embedded database; return its URL."""
    from crypto_quant.cli.db_url import started  # noqa: PLC0415
    from crypto_quant.store.embedded import EmbeddedDatabase  # noqa: PLC0415  # heavy, and only needed here
    from crypto_quant.store.paths import data_dir  # noqa: PLC0415

    return started(EmbeddedDatabase(data_dir(settings)))


def recorded_url(settings: Settings) -> str:
    """Return the URL of a database to read from; the embedded one is not made for that. Raises ConfigError."""
    if settings.database_url is not None:
        return settings.database_url
    from crypto_quant.cli.db_url import started  # noqa: PLC0415
    from crypto_quant.store.embedded import EmbeddedDatabase  # noqa: PLC0415
    from crypto_quant.store.paths import data_dir  # noqa: PLC0415

    database = EmbeddedDatabase(data_dir(settings))
    if not database.exists():
        raise ConfigError(
            "nothing was ever recorded here: there is no embedded database",
            subject=str(database.directory),
            hint="Record first, crypto-quant record SYMBOL; or name a database with --database-url",
        )
    return started(database)


def loop_factory() -> Any:  # noqa: ANN401
    """Return uvloop's loop factory where there is one, else None for asyncio's own."""
    try:
        import uvloop  # noqa: PLC0415  # not on every platform
    except ImportError:
        return None
    return uvloop.new_event_loop


async def _record(settings: Settings, emit: Emit) -> int:
    from crypto_quant import events  # noqa: PLC0415
    from crypto_quant.compose import open_recorder  # noqa: PLC0415
    from crypto_quant.flow.pipeline import Ending, Pipeline  # noqa: PLC0415

    loop = asyncio.get_running_loop()
    starting = asyncio.current_task()
    assert starting is not None  # noqa: S101 - this is one
    pipeline: Pipeline | None = None
    called_off = hurried = False

    def interrupted() -> None:
        nonlocal called_off, hurried
        if pipeline is None:
            # it may wait for the exchange or the database; nothing has been received yet
            called_off = True
            starting.cancel()
        elif pipeline.stopping:
            hurried = True
            pipeline.abort()
        else:
            pipeline.stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupted)
    try:
        async with open_recorder(settings, emit) as recorder:
            pipeline = recorder.pipeline
            # what stands now stays to the end: the collector of garbage need not look at it again and again
            gc.collect()
            gc.freeze()
            ending = await pipeline.run(settings.duration)
    except asyncio.CancelledError:
        if pipeline is not None or not called_off:
            raise
        emit(events.StartInterrupted())
        return 0
    if hurried:
        return 130
    return 0 if ending is Ending.DRAINED else 1
