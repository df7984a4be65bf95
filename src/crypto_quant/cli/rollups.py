"""``crypto-quant db rollups``: candles made of the stored trades, declared once and kept right by the database."""

from collections.abc import Awaitable, Callable
from typing import Any

import click
import msgspec

from crypto_quant.cli.bar import Bar, quiet_option
from crypto_quant.cli.db_url import look_at_database, with_database
from crypto_quant.cli.options import database_url_option

# the schema version that made the table trades
_TRADES_SINCE = 1


@click.group()
def rollups() -> None:
    """Candles of 1m, 5m, 1h and 1d made of the stored trades: trades_1m, trades_5m, trades_1h and trades_1d.

    On TimescaleDB's Community edition they are continuous aggregates, elsewhere views of the same columns.
    """


@rollups.command()
@database_url_option
def create(database_url: str | None) -> None:
    """Make them; doing it twice changes nothing."""
    made = _with_database(database_url, lambda store, connection: store.create(connection))
    click.echo(f"made {', '.join(made)}" if made else "nothing to do")


@rollups.command()
@database_url_option
def drop(database_url: str | None) -> None:
    """Remove them; the trades stay."""
    gone = _with_database(database_url, lambda store, connection: store.drop(connection))
    click.echo(f"removed {', '.join(gone)}" if gone else "there were none")


@rollups.command()
@quiet_option
@database_url_option
def refresh(database_url: str | None) -> None:
    """Work out now what has changed in stored days; the database does it by itself every few minutes.

    Where they are views there is nothing to do: they are made when they are read.
    """
    with Bar() as bar:
        done = _with_database(database_url, lambda store, connection: store.refresh(connection, bar))
    click.echo(f"refreshed {', '.join(done)}" if done else "nothing to do")


@rollups.command()
@database_url_option
@click.option("--json", "as_json", is_flag=True, help="One JSON array.")
def show(database_url: str | None, as_json: bool) -> None:
    """Say what there is."""
    from crypto_quant.store.rollups import state  # noqa: PLC0415 - asyncpg is only needed here

    found = look_at_database(database_url, _TRADES_SINCE, state)
    if as_json:
        click.echo(msgspec.json.encode(found))
        return
    for each in found:
        notes = [] if each.current or each.kind == "missing" else ["of another version: run create"]
        if each.refreshed_to is not None:
            notes.append(f"worked out up to {each.refreshed_to:%Y-%m-%d %H:%M}Z")
        click.echo(f"{each.name}  {each.kind}{''.join(f', {note}' for note in notes)}")


def _with_database(url: str | None, work: Callable[[Any, Any], Awaitable[Any]]) -> Any:  # noqa: ANN401
    from crypto_quant.store import rollups as store  # noqa: PLC0415 - asyncpg is only needed here

    return with_database(url, lambda connection: work(store, connection))
