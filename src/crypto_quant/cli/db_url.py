"""Which database a verb of ``db`` means, the one that was given or the local one, and a connection to it."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any

from crypto_quant.cli.bar import Upgrade, waiting
from crypto_quant.config import Settings, load
from crypto_quant.errors import SchemaMismatch
from crypto_quant.store.embedded import EmbeddedDatabase
from crypto_quant.store.paths import data_dir

# a statement may read or drop a year of trades
_STATEMENT_TIMEOUT_S = 6 * 3600.0


def settings(given: str | None = None) -> Settings:
    """Return the settings that hold, with the URL of the command line where one was given."""
    return load({"database_url": given}, os.environ)


def local() -> EmbeddedDatabase:
    """Return the embedded database, running or not."""
    return EmbeddedDatabase(data_dir(settings()))


def given_url(given: str | None) -> str:
    """Return the URL to connect to; the embedded database is started when none was given."""
    return settings(given).database_url or started(local())


def started(database: EmbeddedDatabase) -> str:
    """Return the URL of the embedded database, started or made; on a terminal it is said what takes so long."""
    with waiting("Starting the embedded database" if database.exists() else "Making the embedded database, once"):
        return database.start()


def with_database(given: str | None, work: Callable[[Any], Awaitable[Any]]) -> Any:  # noqa: ANN401
    """Return what ``work`` makes of a connection to the database, whose schema is brought up to date first."""

    async def run() -> Any:  # noqa: ANN401
        # asyncpg is only needed here
        from crypto_quant.store.migrate import migrate  # noqa: PLC0415
        from crypto_quant.store.timescale import connect  # noqa: PLC0415

        connection = await connect(given_url(given), command_timeout_s=_STATEMENT_TIMEOUT_S)
        try:
            with Upgrade() as upgrade:
                await migrate(connection, upgrade)
            return await work(connection)
        finally:
            await connection.close()

    return asyncio.run(run())


def look_at_database(given: str | None, since: int, work: Callable[[Any], Awaitable[Any]]) -> Any:  # noqa: ANN401
    """Return what ``work`` reads over a connection that cannot write; the schema stays as it is.

    ``since`` is the oldest schema version that ``work`` can read. Raises SchemaMismatch for an older one, and
    ConfigError where nothing was recorded: an embedded database is not made to be looked at.
    """

    async def run() -> Any:  # noqa: ANN401
        # asyncpg is only needed here
        from crypto_quant.cli.record import recorded_url  # noqa: PLC0415
        from crypto_quant.store.migrate import survey  # noqa: PLC0415
        from crypto_quant.store.timescale import connect  # noqa: PLC0415

        connection = await connect(recorded_url(settings(given)), command_timeout_s=_STATEMENT_TIMEOUT_S)
        try:
            await connection.execute("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")
            version = await survey(connection)
            if version < since:
                raise SchemaMismatch(
                    f"the database holds schema version {version}, and this needs version {since}",
                    hint="Run `crypto-quant db migrate`. Nothing was changed",
                )
            return await work(connection)
        finally:
            await connection.close()

    return asyncio.run(run())
