"""A database as ``doctor`` sees it: every question in a transaction that cannot write, nothing is made."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from crypto_quant.diagnosis.server import Connections, Rights, Schema, Server
from crypto_quant.store import faults
from crypto_quant.store.hosts import Hosts
from crypto_quant.store.migrate import migrations, survey
from crypto_quant.store.tier import Tier, installed_version, table_tier
from crypto_quant.store.url import checked_url, redact

CONNECT_TIMEOUT_S = 10.0
STATEMENT_TIMEOUT_S = 10.0
_SETTINGS = (
    "fsync", "full_page_writes", "synchronous_commit", "max_wal_size", "checkpoint_timeout", "shared_buffers",
    "max_worker_processes", "max_parallel_workers", "timescaledb.max_background_workers", "TimeZone",
    "max_locks_per_transaction", "max_connections", "max_prepared_transactions",
)  # fmt: skip
_ALL = ("SELECT", "INSERT", "UPDATE", "DELETE")
# what a recorder does to each table
_NEEDED = {
    "crypto_quant_schema": ("SELECT",),
    "trades": ("SELECT", "INSERT"),
    "candles": ("SELECT", "INSERT"),
    "coverage": _ALL,
    "candle_coverage": _ALL,
    "absences": _ALL,
    "candle_absences": _ALL,
    "dropped": ("SELECT",),
    "candle_dropped": ("SELECT",),
    "policies": ("SELECT",),
    "seals": ("SELECT", "INSERT"),
    "seal_heads": ("SELECT", "INSERT", "UPDATE"),
    "symbols": ("SELECT", "INSERT", "UPDATE"),
}
# Of ours that a recorder changes or empties: those that a publication includes, and that have no replica identity.
_PUBLISHED = """
SELECT published.pubname, array_agg(published.tablename::text ORDER BY published.tablename)
FROM pg_catalog.pg_publication_tables published
JOIN pg_catalog.pg_publication publication USING (pubname)
JOIN pg_catalog.pg_class c ON c.oid = format('%I.%I', published.schemaname, published.tablename)::regclass
WHERE c.oid = ANY (SELECT to_regclass(name) FROM unnest($1::text[]) AS name)
  AND (publication.pubupdate OR publication.pubdelete)
  AND (c.relreplident = 'n' OR (c.relreplident = 'd' AND NOT EXISTS (
      SELECT FROM pg_catalog.pg_index WHERE indrelid = c.oid AND indisprimary AND indimmediate)))
GROUP BY published.pubname ORDER BY published.pubname"""


class Inspection:
    """One connection to look through. Every call raises the store's errors."""

    def __init__(self, connection: asyncpg.Connection, database: str) -> None:
        self.database = database
        self._connection = connection

    async def server(self) -> Server:
        """Return what the server is."""
        async with self._looking() as connection:
            offered: str | None = await connection.fetchval(
                "SELECT default_version FROM pg_catalog.pg_available_extensions WHERE name = 'timescaledb'"
            )
            row = await connection.fetchrow(
                "SELECT current_setting('server_version') AS version, pg_is_in_recovery() AS recovering,"
                " current_setting('default_transaction_read_only') = 'on' AS read_only,"
                " current_setting('server_encoding') AS encoding, quote_ident(current_database()) AS base,"
                " current_setting('timescaledb.license', true) AS licence,"
                " current_setting('timescaledb.disable_load', true) AS loaded"
            )
            return Server(
                version=row["version"],
                database=row["base"],
                timescaledb=await installed_version(connection),
                installable=offered,
                # only a preloaded library defines this setting (store/tier)
                loaded=row["loaded"] is not None and row["loaded"] != "on",
                licence=row["licence"],
                in_recovery=row["recovering"],
                read_only=row["read_only"],
                encoding=row["encoding"],
            )

    async def settings(self) -> dict[str, str]:
        """Return the settings that matter, each in its own unit, without those that the server has not or hides."""
        async with self._looking() as connection:
            rows = await connection.fetch(
                "SELECT name, setting FROM pg_catalog.pg_settings WHERE name = ANY($1)", list(_SETTINGS)
            )
            return {row["name"]: row["setting"] for row in rows}

    async def schema(self) -> Schema:
        """Return how far our schema is. Raises SchemaMismatch for one that cannot be brought up to date."""
        async with self._looking() as connection:
            version = await survey(connection)
            plain = bool(version) and await table_tier(connection) is Tier.POSTGRESQL
            return Schema(version=version, newest=len(migrations()), plain=plain)

    async def rights(self) -> Rights:
        """Return what the user may do, in the database and on the tables that there are."""
        async with self._looking() as connection:
            row = await connection.fetchrow(
                "SELECT quote_ident(current_user) AS name, quote_ident(current_database()) AS base,"
                " quote_ident(current_schema()) AS schema,"
                " has_database_privilege(current_database(), 'TEMPORARY') AS temporary,"
                " current_schema() IS NOT NULL AND has_schema_privilege(current_schema(), 'CREATE') AS creating,"
                " (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user)"
                " OR (has_database_privilege(current_database(), 'CREATE') AND EXISTS (SELECT FROM"
                "     pg_catalog.pg_available_extension_versions WHERE name = 'timescaledb' AND trusted)) AS extending,"
                " coalesce((SELECT pg_has_role(relowner, 'USAGE') FROM pg_catalog.pg_class"
                "     WHERE oid = to_regclass('trades')), true) AS owning"
            )
            lacking = await connection.fetch(
                "SELECT each.name, array_agg(each.privilege ORDER BY each.place) AS privileges"
                " FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS each (name, privilege, place)"
                " WHERE to_regclass(each.name) IS NOT NULL"
                " AND NOT has_table_privilege(to_regclass(each.name), each.privilege)"
                " GROUP BY each.name ORDER BY min(each.place)",
                [table for table, privileges in _NEEDED.items() for _ in privileges],
                [privilege for privileges in _NEEDED.values() for privilege in privileges],
            )
            return Rights(
                user=row["name"],
                database=row["base"],
                schema=row["schema"],
                may_connect_temporary=row["temporary"],
                may_create_in_schema=row["creating"],
                may_create_extension=row["extending"],
                owns_tables=row["owning"],
                lacking={each["name"]: each["privileges"] for each in lacking},
            )

    async def connections(self) -> Connections:
        """Return how many sessions there may be, and are; this one is among them."""
        async with self._looking() as connection:
            row = await connection.fetchrow(
                "SELECT current_setting('max_connections')::int AS most,"
                " current_setting('superuser_reserved_connections')::int"
                " + coalesce(current_setting('reserved_connections', true)::int, 0) AS reserved,"
                " (SELECT sum(numbackends) FROM pg_catalog.pg_stat_database)::int AS used,"
                " (SELECT nullif(rolconnlimit, -1) FROM pg_catalog.pg_roles WHERE rolname = current_user) AS role,"
                " (SELECT nullif(datconnlimit, -1) FROM pg_catalog.pg_database"
                "     WHERE datname = current_database()) AS base"
            )
            own = min((each for each in (row["role"], row["base"]) if each is not None), default=None)
            return Connections(limit=row["most"], reserved=row["reserved"], used=row["used"], own_limit=own)

    async def days_to_lock(self) -> int:
        """Return how many locks a question to all trades takes: one for each chunk or partition and each index."""
        async with self._looking() as connection:
            count: int = await connection.fetchval(
                "SELECT count(*) + (SELECT count(*) FROM pg_catalog.pg_index WHERE indrelid IN"
                "     (SELECT inhrelid FROM pg_catalog.pg_inherits WHERE inhparent = to_regclass('trades')))"
                " FROM pg_catalog.pg_inherits WHERE inhparent = to_regclass('trades')"
            )
            return count

    async def publications(self) -> dict[str, list[str]]:
        """Return by publication the tables of ours that it keeps from being changed: without a replica identity."""
        changed = [table for table, privileges in _NEEDED.items() if {"UPDATE", "DELETE"} & {*privileges}]
        changed += ["dropped", "candle_dropped"]  # by whoever keeps the rules, who may be another user
        async with self._looking() as connection:
            return {row[0]: list(row[1]) for row in await connection.fetch(_PUBLISHED, changed)}

    async def largest_index(self) -> int | None:
        """Return the bytes of all indexes of the largest day of trades; None when there is none."""
        async with self._looking() as connection:
            size: int | None = await connection.fetchval(
                "SELECT max(pg_indexes_size(inhrelid)) FROM pg_catalog.pg_inherits"
                " WHERE inhparent = to_regclass('trades')"
            )
            return size

    @asynccontextmanager
    async def _looking(self) -> AsyncIterator[asyncpg.Connection]:
        try:
            async with self._connection.transaction(readonly=True):
                yield self._connection
        except faults.DRIVER_ERRORS as error:
            raise faults.translate(error, operation="looking", subject=self.database) from error


@asynccontextmanager
async def open_inspection(url: str) -> AsyncIterator[Inspection]:
    """Yield what looks through the database at ``url``. Raises ConfigError, StoreDenied, StoreUnavailable.

    Its session is as the server makes it: the time zone is not set, as it is in a recorder's.
    """
    url = checked_url(url)
    try:
        connection = await Hosts(url).connect(
            url,
            timeout=CONNECT_TIMEOUT_S,
            command_timeout=STATEMENT_TIMEOUT_S,
            statement_cache_size=0,
            server_settings={"application_name": "crypto-quant doctor"},
        )
    except (ValueError, *faults.DRIVER_ERRORS) as error:
        raise faults.translate(error, operation="connecting", subject=redact(url), connecting=True) from error
    try:
        yield Inspection(connection, redact(url))
    finally:
        connection.terminate()
