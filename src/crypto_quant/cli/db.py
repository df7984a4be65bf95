"""``crypto-quant db``: the database behind the recorder, above all the local one that needs no installation."""

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from crypto_quant.cli.bar import Bar, Upgrade, quiet_option
from crypto_quant.cli.db_url import given_url, local, settings, started
from crypto_quant.cli.options import database_url_option
from crypto_quant.cli.policy import drop, policy
from crypto_quant.cli.rollups import rollups
from crypto_quant.store.embedded import find_psql

if TYPE_CHECKING:
    from crypto_quant.store.migrate import SchemaState


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def db() -> None:
    """Start, stop, find and look into the database.

    Without --database-url all of this means the embedded database: a PostgreSQL that is started when it is needed and
    keeps its files in your data directory ($CRYPTO_QUANT_DATA_DIR).
    """


@db.command()
@quiet_option
def start() -> None:
    """Start the embedded database, or join the running one, and print its URL."""
    click.echo(started(local()))


@db.command()
def stop() -> None:
    """Stop the embedded database; what is stored stays."""
    stopped = local().stop()
    click.echo("stopped" if stopped else "was not running", err=True)


@db.command()
@database_url_option
def url(database_url: str | None) -> None:
    """Print the URL alone, for psql "$(crypto-quant db url)"; nothing is started."""
    click.echo(settings(database_url).database_url or local().url())


@db.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def status(as_json: bool) -> None:
    """Say whether the embedded database runs, where it is and what it is; exit code 1 when it does not run."""
    found = local().status()
    if as_json:
        click.echo(msgspec.json.encode(found))
    else:
        click.echo(f"state      {f'running, pid {found.pid}' if found.running else 'not running'}")
        click.echo(f"directory  {found.directory}")
        if found.version is not None:
            extension = " with TimescaleDB" if found.timescaledb else ""
            click.echo(f"server     PostgreSQL {found.version}{extension}, {found.programs}")
        if found.url is not None:
            click.echo(f"url        {found.url}")
    if not found.running:
        raise click.exceptions.Exit(1)


@db.command(context_settings={"ignore_unknown_options": True})
@database_url_option
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def psql(database_url: str | None, arguments: tuple[str, ...]) -> None:
    """Open psql on the database; what follows -- is given to psql.

    Example: crypto-quant db psql -- -c 'SELECT count(*) FROM trades'
    """
    given = settings(database_url).database_url
    if given is None:
        database = local()
        started(database)
        command = database.psql_command()
    else:
        command = [find_psql(), given]
    os.execv(command[0], [*command, *arguments])  # noqa: S606 - psql itself, no shell


@db.command()
@quiet_option
@database_url_option
def migrate(database_url: str | None) -> None:
    """Bring the schema up to date; doing it twice changes nothing. (record does it by itself.)"""
    state = asyncio.run(_migrate(given_url(database_url)))
    done = f"applied {', '.join(str(each) for each in state.applied)}" if state.applied else "nothing to do"
    click.echo(f"schema version {state.version} on {state.tier}: {done}")


@db.command("load")
@quiet_option
@database_url_option
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
def load_files(database_url: str | None, files: tuple[Path, ...]) -> None:
    """Store the rows that a recorder has left in FILES; doing it twice changes nothing.

    A recorder that can neither store nor spool its last rows writes them to files, and its log names them.
    Exit code 1 when a row is refused, or contradicts what is stored: such rows stay in their file.
    """
    asyncio.run(_load(given_url(database_url), files))


async def _load(url: str, files: tuple[Path, ...]) -> None:
    # asyncpg is only needed here
    from crypto_quant.store.leftover import load_leftover  # noqa: PLC0415
    from crypto_quant.store.timescale import open_sink  # noqa: PLC0415

    with Upgrade() as upgrade:
        sink = await open_sink(url, emit=upgrade)
    failed = False
    try:
        for file in files:
            with Bar() as bar:
                loaded = await load_leftover(sink, file, bar)
            click.echo(f"{file}: {loaded.written:,} rows stored, {loaded.duplicates:,} were there already")
            for places, what in ((loaded.conflicting, "contradicts what is stored"), (loaded.refused, "is refused")):
                failed = failed or bool(places)
                for place in places:
                    # the first line names the columns, and people count lines from 1
                    click.echo(f"{file}:{place + 2}: this row {what}, and was not stored", err=True)
    finally:
        await sink.close()
    if failed:
        raise click.exceptions.Exit(1)


async def _migrate(url: str) -> "SchemaState":
    # asyncpg is only needed here
    from crypto_quant.store.migrate import migrate as migrate_schema  # noqa: PLC0415
    from crypto_quant.store.timescale import connect  # noqa: PLC0415

    connection = await connect(url)
    try:
        with Upgrade() as upgrade:
            return await migrate_schema(connection, upgrade)
    finally:
        await connection.close()


db.add_command(drop)
db.add_command(policy)
db.add_command(rollups)
