"""Puts a recorder together: the one place that knows every room. The command line and library users both start here."""

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from crypto_quant import events
from crypto_quant.binance.streams import link_url, parse_stream, rest_base
from crypto_quant.binance.venues import venue_spec
from crypto_quant.config import Settings
from crypto_quant.errors import ConfigError
from crypto_quant.flow.assembly import assemble, known_symbols
from crypto_quant.flow.intake import Intake
from crypto_quant.flow.pipeline import Pipeline
from crypto_quant.flow.rest import ExchangeRest
from crypto_quant.net.http import AiohttpClient
from crypto_quant.net.websocket import PicowsConnector
from crypto_quant.ops.clock import SystemClock
from crypto_quant.seams import Batch, Emit
from crypto_quant.store.leftover import write_leftover
from crypto_quant.store.paths import data_directory
from crypto_quant.store.setaside import FileQuarantine
from crypto_quant.store.timescale import open_sink


class Recorder(msgspec.Struct, frozen=True):
    """A pipeline ready to run, with what a person may want to know about it."""

    pipeline: Pipeline
    intake: Intake
    database_url: str
    quarantine_directory: Path


def data_dir(settings: Settings) -> Path:
    """Return the directory of everything that is kept on disk beside the database."""
    return Path(settings.data_dir).expanduser() if settings.data_dir else data_directory()


@asynccontextmanager
async def open_recorder(settings: Settings, emit: Emit, rng: random.Random | None = None) -> AsyncIterator[Recorder]:
    """Check the settings against the exchange, open the database, and yield a recorder.

    ``settings.database_url`` must be set (the command line falls back to the embedded database before it comes here).
    Raises ConfigError for unknown symbols and streams, and the store's errors when the database cannot be used.
    """
    if settings.database_url is None:
        raise ConfigError("no database", hint="Give --database-url or set CRYPTO_QUANT_DATABASE_URL")
    if not settings.symbols:
        raise ConfigError("no symbol", hint="Name at least one, as in: crypto-quant record btcusdt")
    spec = venue_spec(settings.venue)
    for text in settings.streams:
        parse_stream(text, spec)
    ws_url = settings.ws_url or spec.ws_url
    link_url(ws_url, spec)  # a URL that cannot be right is said before anything is asked of anybody
    rng = rng or random.Random()  # noqa: S311  # jitter, not secrets
    http = AiohttpClient()
    try:
        rest = ExchangeRest(spec, rest_base(settings.rest_url or spec.rest_url), http, emit, rng)
        symbols, exchange_ns = await known_symbols(settings, rest, emit)
        sink = await open_sink(settings.database_url, pool_size=settings.pool_size, emit=emit)
    except BaseException:
        await http.close()
        raise
    try:
        directory = data_dir(settings)

        def save(batches: Sequence[Batch]) -> list[events.RowsLeft]:
            files = write_leftover(directory / "leftover", batches)
            return [events.RowsLeft(rows=left.rows, file=str(left.path), hint=left.psql) for left in files]

        parts = assemble(
            settings,
            spec,
            symbols,
            exchange_ns,
            ws_url=ws_url,
            rest=rest,
            connector=PicowsConnector(),
            sink=sink,
            clock=SystemClock(),
            rng=rng,
            emit=emit,
            quarantine=FileQuarantine(directory / "set-aside", emit=emit),
            save_leftover=save,
        )
        emit(
            events.RecordingStarted(
                venue=settings.venue.value, symbols=len(symbols), streams=parts.streams, links=parts.links
            )
        )
        yield Recorder(parts.pipeline, parts.intake, settings.database_url, directory / "set-aside")
    finally:
        await sink.close()
        await http.close()
