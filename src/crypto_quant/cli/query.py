"""``crypto-quant query``: one question to the database, answered in the form that was asked for."""

import asyncio
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from crypto_quant.cli.export import needed
from crypto_quant.cli.options import config_option, database_url_option
from crypto_quant.cli.output import Output
from crypto_quant.cli.record import loop_factory, recorded_url
from crypto_quant.config import load
from crypto_quant.errors import ConfigError

if TYPE_CHECKING:
    from crypto_quant.cli.tables import Form
    from crypto_quant.store.question import Answer

FORMATS = ("table", "json", "ndjson", "csv", "parquet")


@click.command()
@click.argument("statement", metavar="SQL")
@click.option(
    "--format", "form", type=click.Choice(FORMATS), default="table", show_default=True, help="How to write the rows."
)
@database_url_option
@config_option
def query(statement: str, form: str, database_url: str | None, config: Path | None) -> None:
    """Answer one SQL statement, in a transaction that cannot write; '-' reads it from stdin.

    Rows are written as they come, however many there are; for parquet, which is binary, they are all held first. Times
    are UTC; in JSON exact numbers are strings. Example:
    crypto-quant query "SELECT symbol, count(*) FROM trades WHERE time > now() - interval '1 hour' GROUP BY symbol"
    """
    settings = load({"database_url": database_url}, os.environ, config)
    if statement == "-":
        statement = sys.stdin.read()
    if form == "parquet":
        _parquet(recorded_url(settings), statement)
        return
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(_query(recorded_url(settings), statement, form))


async def _query(url: str, statement: str, form: str) -> None:
    from crypto_quant.store.question import ask  # noqa: PLC0415 - a shell that completes options waits for none of this

    async with ask(url, statement) as answer:
        output = Output()
        await _write(answer, form, output)
        output.flush()


async def _write(answer: "Answer", form: str, write: Output) -> None:
    if form == "csv":
        await answer.csv(write)
        return
    from crypto_quant.cli.tables import AsJson, AsTable  # noqa: PLC0415

    shape: Form = (
        AsTable(answer.columns, write) if form == "table" else AsJson(answer.columns, write, lines=form == "ndjson")
    )
    await answer.rows(shape.rows)
    shape.end()


def _parquet(url: str, statement: str) -> None:
    """Write the answer as Parquet: a column's decimals are known only when all of its numbers are."""
    if sys.stdout.isatty():
        raise ConfigError(
            "parquet is no text for a terminal", hint="Send it to a file: --format parquet > answer.parquet"
        )
    needed("pyarrow", "numpy")
    from crypto_quant.lake.lake import encoded  # noqa: PLC0415 - heavy, and an extra
    from crypto_quant.reading.database import Database  # noqa: PLC0415

    with Database(url) as database:
        table = database.answer(statement)
    output = Output()
    output(encoded(table))
    output.flush()
