"""``crypto-quant serve``: answer those who watch, for all recorders of a data directory."""

import asyncio
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from crypto_quant.cli.options import settings_options
from crypto_quant.config import Settings, load
from crypto_quant.seams import Emit
from crypto_quant.settings_table import ABOUT, PAGE_ADDRESS

if TYPE_CHECKING:
    from crypto_quant.cli.watching import Listeners


@click.command()
@click.option("--listen", "serve", metavar="[HOST:]PORT", help=f"Where the page is shown. [default: {PAGE_ADDRESS}]")
@click.option("--token", "serve_token", metavar="TEXT",
              help=f"{ABOUT['serve_token'].help}. [default: {ABOUT['serve_token'].default}]")  # fmt: skip
@settings_options(
    "metrics_port", "metrics_host", "metrics_streams", "database_url", "data_dir", "log_level", "log_format"
)
def serve(config: Path | None, **flags: Any) -> None:  # noqa: ANN401
    """Show the recorders of this machine: a page, and /metrics, /livez and /readyz.

    It reads what they show of themselves once a second, and can neither slow nor stop them; they may come and go.
    """
    from crypto_quant.cli.watching import listening  # noqa: PLC0415 - a shell that completes options waits for none
    from crypto_quant.ops import log  # noqa: PLC0415
    from crypto_quant.store.embedded import EmbeddedDatabase  # noqa: PLC0415
    from crypto_quant.store.paths import data_dir  # noqa: PLC0415

    settings = load(flags, os.environ, config)
    if settings.serve is None:
        settings = msgspec.structs.replace(settings, serve=PAGE_ADDRESS)
    if settings.database_url is None:
        # whether it runs is the recorders' affair
        settings = msgspec.structs.replace(settings, database_url=EmbeddedDatabase(data_dir(settings)).url())
    emit = log.setup(settings.log_level, settings.log_format)
    with listening(settings) as listeners:
        asyncio.run(_serve(settings, listeners, emit))


async def _serve(settings: Settings, listeners: "Listeners", emit: Emit) -> None:
    from crypto_quant.cli.watching import plan_of  # noqa: PLC0415
    from crypto_quant.web.service import watch  # noqa: PLC0415

    ended, started = asyncio.Event(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    plan = plan_of(settings, listeners)
    watching = asyncio.create_task(watch(plan, listeners.page, listeners.metrics, ended, started))
    beginning = asyncio.create_task(started.wait())
    await asyncio.wait((watching, beginning), return_when=asyncio.FIRST_COMPLETED)
    if started.is_set():
        emit(listeners.told())
    beginning.cancel()
    await watching
