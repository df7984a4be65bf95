"""Which database a verb of ``db`` means: the one that was given, or the local one."""

import os
from pathlib import Path

import click

from crypto_quant.config import Settings, load
from crypto_quant.store.embedded import EmbeddedDatabase

database_url = click.option(
    "--database-url",
    metavar="URL",
    help="A PostgreSQL or TimescaleDB of your own.  [default: the local database]",
)


def settings(given: str | None = None) -> Settings:
    """Return the settings that hold, with the URL of the command line where one was given."""
    return load({"database_url": given}, os.environ)


def local() -> EmbeddedDatabase:
    """Return the local database, running or not."""
    chosen = settings().data_dir
    return EmbeddedDatabase(Path(chosen) if chosen else None)


def given_url(given: str | None) -> str:
    """Return the URL to connect to; the local database is started when none was given."""
    return settings(given).database_url or local().start()
