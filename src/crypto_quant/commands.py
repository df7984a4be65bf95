"""Commands that people are told to type: whole, and safe to copy, for a symbol is the exchange's text."""

import shlex
from datetime import date

from crypto_quant.market import Venue

_Day = date | str


def repair(venue: str, *symbols: str, first: _Day = "", last: _Day = "", deep: bool = False) -> str:
    """Return the command that closes the holes of some symbols; ``first`` and ``last`` are days, both inclusive."""
    return _command("repair", symbols, venue, _days(first, last), " --deep" if deep else "")


def backfill(venue: str, symbol: str, *, first: _Day, last: _Day, timeframe: str | None = None) -> str:
    """Return the command that fetches days, both inclusive, of a symbol's trades or of its candles."""
    stream = "" if timeframe is None else f" --stream kline_{timeframe}"
    return _command("backfill", (symbol,), venue, stream, _days(first, last))


def start_database(data_dir: str = "") -> str:
    """Return the command that starts the embedded database; ``data_dir`` is where it lies, unless that is usual."""
    return f"{f'CRYPTO_QUANT_DATA_DIR={shlex.quote(data_dir)} ' if data_dir else ''}crypto-quant db start"


def install(extra: str) -> str:
    """Return how the libraries of an extra are installed: ``arrow``, ``polars`` or ``pandas``."""
    more = "" if extra == "arrow" else f" {extra}"
    return f"scripts/uv sync --no-dev --inexact --extra {extra} (in a clone), or pip install pyarrow numpy{more}"


def _command(verb: str, symbols: tuple[str, ...], venue: str, *options: str) -> str:
    market = "" if venue == Venue.SPOT else f" --venue {shlex.quote(venue)}"
    return " ".join(["crypto-quant", verb, *map(shlex.quote, symbols)]) + market + "".join(options)


def _days(first: _Day, last: _Day) -> str:
    return f" --from {first} --to {last}" if first else ""
