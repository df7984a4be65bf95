"""What the server can do: plain PostgreSQL, TimescaleDB's Apache edition, or its Community edition.

Detected, never configured. The tier of tables that exist is what they are, whatever was installed since.
"""

from enum import StrEnum

import asyncpg

from crypto_quant.diagnosis.known_bugs import TIMESCALE_MIN, version_tuple
from crypto_quant.errors import SchemaMismatch


class Tier(StrEnum):
    """Kinds of database; the tables and the queries are the same on each."""

    POSTGRESQL = "postgresql"
    TIMESCALE_APACHE = "timescaledb-apache"
    TIMESCALE_COMMUNITY = "timescaledb-community"

    @property
    def family(self) -> str:
        """``postgresql`` (native partitions) or ``timescaledb`` (hypertables)."""
        return "postgresql" if self is Tier.POSTGRESQL else "timescaledb"


async def installed_version(connection: asyncpg.Connection) -> str | None:
    """Return the version of TimescaleDB in this database, None where the extension is not installed."""
    version: str | None = await connection.fetchval(
        "SELECT extversion FROM pg_catalog.pg_extension WHERE extname = 'timescaledb'"
    )
    return version


async def prepare_tier(connection: asyncpg.Connection) -> Tier:
    """Return the tier for tables about to be made, installing the extension where server and rights allow it.

    Must run in a transaction. Raises SchemaMismatch when the installed TimescaleDB is one that loses rows.
    """
    if await installed_version(connection) is None and await _installable(connection):
        try:
            async with connection.transaction():
                await connection.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
        except asyncpg.InsufficientPrivilegeError:
            return Tier.POSTGRESQL
    return await database_tier(connection)


async def database_tier(connection: asyncpg.Connection) -> Tier:
    """Return the tier of the database as it stands. Raises SchemaMismatch for a TimescaleDB that loses rows."""
    version = await installed_version(connection)
    if version is None:
        return Tier.POSTGRESQL
    if version_tuple(version) < TIMESCALE_MIN:
        raise SchemaMismatch(
            "this TimescaleDB can lose rows on INSERT … ON CONFLICT (timescaledb issue 7672)",
            subject=f"version {version}",
            hint=f"Install {'.'.join(map(str, TIMESCALE_MIN))} or newer, then ALTER EXTENSION timescaledb UPDATE",
        )
    licence = await connection.fetchval("SELECT current_setting('timescaledb.license', true)")
    return Tier.TIMESCALE_COMMUNITY if licence == "timescale" else Tier.TIMESCALE_APACHE


async def _installable(connection: asyncpg.Connection) -> bool:
    """Return whether CREATE EXTENSION would work, rights aside."""
    version = await connection.fetchval(
        "SELECT default_version FROM pg_catalog.pg_available_extensions WHERE name = 'timescaledb'"
    )
    if version is None or version_tuple(version) < TIMESCALE_MIN:
        return False
    # CREATE EXTENSION ends the whole session when the library is not preloaded; only a preloaded one defines this
    # setting, which anybody may read (shared_preload_libraries is shown to few)
    loaded = await connection.fetchval("SELECT current_setting('timescaledb.disable_load', true)")
    return loaded is not None and loaded != "on"


async def table_tier(connection: asyncpg.Connection) -> Tier:
    """Return the tier of the tables that exist: hypertables or native partitions."""
    kind = await connection.fetchval("SELECT relkind FROM pg_catalog.pg_class WHERE oid = to_regclass('trades')")
    if kind == b"p":
        return Tier.POSTGRESQL
    return await database_tier(connection)
