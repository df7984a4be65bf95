"""What each setting means, in words: the one table behind the options' help, ``init``, ``config show``, the reference.

Types, limits and defaults are not repeated here: they are in ``config.Settings``.
"""

from collections.abc import Mapping
from enum import StrEnum

import msgspec

PAGE_ADDRESS = "127.0.0.1:8765"


class Secret(StrEnum):
    """What of a value may not be shown."""

    WHOLE = "whole"
    IN_URL = "in URL"
    """A URL that may carry a password."""


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What a person is told of one setting.

    ``help`` is a phrase without its full stop; ``default`` says what holds when nothing is said, where the value alone
    does not tell. ``unit`` is that of a number, ``metavar`` what stands for a value in a command's help. ``flag`` is
    the option where it is not the setting's name; an empty one: there is none. ``alone`` is what the option means when
    it stands without a value, where it may.
    """

    help: str
    default: str = ""
    unit: str = ""
    metavar: str = ""
    flag: str | None = None
    alone: str = ""
    secret: Secret | None = None


def _url(help_: str, default: str) -> About:
    return About(help=help_, default=default, metavar="URL", secret=Secret.IN_URL)


def _seconds(help_: str, default: str = "") -> About:
    return About(help=help_, default=default, unit="seconds", metavar="S")


ABOUT: Mapping[str, About] = {
    "symbols": About(help="The symbols to record, in any case; on the command line they are arguments", flag=""),
    "streams": About(
        help="What to record of each symbol: aggTrade, or kline_INTERVAL as in kline_5m",
        metavar="NAME",
        flag="--stream",
    ),
    "venue": About(help="Which market"),
    "database_url": _url("PostgreSQL or TimescaleDB", "the embedded database"),
    "ws_url": _url("Another WebSocket host", "the venue's own"),
    "rest_url": _url("Another REST host", "where ws_url is, else the venue's own"),
    "archive_url": _url("Another archive", "where ws_url or rest_url is, else data.binance.vision"),
    "check_symbols": About(help="Check the symbols against exchangeInfo first"),
    "backfill": About(help="Close holes in the trades by themselves, over REST"),
    "backfill_reach": About(
        help="Ids behind the newest one up to which holes are closed", unit="trade ids", metavar="N"
    ),
    "links": About(help="Connections that carry the same streams at the same time", unit="connections", metavar="N"),
    "batch_size": About(help="Rows that make a batch full", unit="rows", metavar="N"),
    "batch_age": _seconds(
        "Seconds after which a batch is stored though not full", "twice what the last commit took, 0.005 to 0.05"
    ),
    "duration": _seconds("Seconds to record", "until interrupted"),
    "drain_deadline": _seconds("Seconds that the graceful end may take"),
    "stats_interval": _seconds("Seconds between two reports"),
    "candle_grace": _seconds("Seconds after its end that a candle's final message may take"),
    "candle_lines": About(
        help="Series of candles (a symbol and a timeframe) up to which the log has a line for each closed candle; "
        "with more it has one a close, and each candle at DEBUG",
        unit="series",
        metavar="N",
    ),
    "pending_limit": About(help="Rows that wait in memory before reading pauses", unit="rows", metavar="N"),
    "spool": About(help="Keep rows on disk while the database is away or too slow"),
    "spool_limit": About(help="Bytes that the spool may take on disk", default="4 GiB", unit="bytes", metavar="BYTES"),
    "spool_dir": About(help="The directory of the spools", default="the directory spool in data_dir", metavar="DIR"),
    "pool_size": About(help="Connections to the database at most", unit="connections", metavar="N"),
    "log_level": About(help="The least that is told"),
    "log_format": About(help="The form of log lines; auto is console on a terminal, else json"),
    "data_dir": About(
        help="The directory of the embedded database, and of all that is kept beside a database",
        default="/var/lib/crypto-quant for root, else the user's data directory",
        metavar="DIR",
    ),
    "serve": About(
        help=f"Show this recorder on a page; as a flag alone, behind the symbols, it means {PAGE_ADDRESS}",
        default="no page",
        metavar="[HOST:]PORT",
        alone=PAGE_ADDRESS,
    ),
    "serve_token": About(
        help="What the page asks for before it shows anything; in the environment no other user sees it",
        default="none on loopback, else one is made up and shown",
        metavar="TEXT",
        secret=Secret.WHOLE,
    ),
    "metrics_port": About(
        help="Answer /metrics, /livez and /readyz on this port; 0 takes a free one", default="none", metavar="PORT"
    ),
    "metrics_host": About(help="The address that metrics_port listens on", metavar="HOST"),
    "metrics_streams": About(
        help="Streams of a recorder that have metrics of their own; 0 leaves them out", unit="streams", metavar="N"
    ),
}


def flag_of(name: str) -> str:
    """Return a setting's option as typed, ``--batch-size``; empty when it has none."""
    given = ABOUT[name].flag if name in ABOUT else None
    return f"--{name.replace('_', '-')}" if given is None else given
