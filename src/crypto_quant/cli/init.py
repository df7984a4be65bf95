"""``crypto-quant init``: a configuration file to begin with."""

from pathlib import Path

import click

from crypto_quant.binance.streams import refuse_impossible
from crypto_quant.config import FILE_NAME
from crypto_quant.configfile import file_text
from crypto_quant.market import fold_symbol
from crypto_quant.store.statement import write_text


@click.command()
@click.argument("symbols", nargs=-1, metavar="[SYMBOL]...")
@click.option(
    "--path", type=click.Path(path_type=Path, dir_okay=False), default=Path(FILE_NAME), show_default=True,
    metavar="FILE", help="Where to write it.",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Write over a file that exists.")
def init(symbols: tuple[str, ...], path: Path, force: bool) -> None:
    """Write a configuration file: every setting with its meaning, its limits and its default, commented out.

    SYMBOL... are filled in. As it is written the file changes nothing but these.
    """
    for symbol in symbols:
        refuse_impossible(symbol)
    text = file_text([fold_symbol(symbol) for symbol in dict.fromkeys(symbols)])
    write_text(path, text, what="configuration file", overwrite=force)
    click.echo(f"{path} is written. What holds now: crypto-quant config show", err=True)
