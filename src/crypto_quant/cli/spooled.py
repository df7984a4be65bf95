"""Rows that wait in spools of the database that a verb looks at, whether a recorder runs or not."""

from typing import TYPE_CHECKING

from crypto_quant.config import Settings
from crypto_quant.errors import ConfigError
from crypto_quant.evidence import Scope, Spooled
from crypto_quant.flow.report import Report
from crypto_quant.store.embedded import EmbeddedDatabase
from crypto_quant.store.paths import data_dir, spool_dir
from crypto_quant.store.spooled import waiting
from crypto_quant.store.spoolfiles import target_of
from crypto_quant.words import counted, printable

if TYPE_CHECKING:
    from crypto_quant.store.audit_queries import AuditReader

SPOOL_REMEDY = "The recorder of this database stores them; where none runs: crypto-quant record SYMBOL"


def spooled_line(spooled: Spooled) -> str:
    """Return what waits, and where."""
    both = [(spooled.trades, "trade"), (spooled.candles, "candle")]
    rows = " and ".join(counted(number, what) for number, what in both if number)
    return f"{rows} in the spool {printable(spooled.directory)}"


def look(settings: Settings) -> list[Spooled]:
    """Return what waits for the database of these settings, quickly; raises ConfigError."""
    try:
        return waiting(spool_dir(settings), _target(settings))
    except OSError as problem:
        raise _closed(settings, problem) from problem


async def add_spooled(report: Report, reader: "AuditReader", settings: Settings, scope: Scope) -> None:
    """Put into a report what of its days and series waits for its database and is not in it. Raises ConfigError."""
    # asyncpg is only needed here
    from crypto_quant.store.unstored import unstored  # noqa: PLC0415

    root, days = spool_dir(settings), (report.first_day, report.last_day)
    try:
        report.spooled = await unstored(reader.connection, root, _target(settings), scope, *days)
    except OSError as problem:
        raise _closed(settings, problem) from problem


def _target(settings: Settings) -> str:
    return target_of(settings.database_url or EmbeddedDatabase(data_dir(settings)).url())


def _closed(settings: Settings, problem: OSError) -> ConfigError:
    return ConfigError(
        "the spool cannot be looked into, so nobody can tell what waits in it",
        subject=f"{problem.filename or spool_dir(settings)}: {problem.strerror or problem}",
        hint="Ask as the user that records",
    )
