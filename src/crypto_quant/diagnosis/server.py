"""Verdicts on the database: what it is, what it may do, and the settings that matter to what is stored."""

from collections.abc import Mapping, Sequence
from datetime import timedelta

import msgspec

from crypto_quant.diagnosis.finding import Finding, failed, ok, skipped, warning
from crypto_quant.diagnosis.known_bugs import KNOWN_BUGS, version_tuple
from crypto_quant.words import GIB, MIB, size

# the oldest server that the schema is tested with
POSTGRESQL_MIN = 15
# PostgreSQL's defaults; what is below them was made smaller by somebody
SHARED_BUFFERS_LOW = 128 * MIB
MAX_WAL_SIZE_LOW = 1 * GIB
CHECKPOINT_TIMEOUT_LOW = timedelta(minutes=5)
# beside the pool: the audit or a query, the upkeep once an hour, doctor itself
CONNECTIONS_BESIDES = 3
# TimescaleDB's own advice: as many as there are databases with it, and jobs that run at once
BACKGROUND_WORKERS_LOW = 4
# max_worker_processes should hold these beside the background and the parallel workers (TimescaleDB's own advice)
WORKERS_BESIDES = 3

_RELOAD = "; SELECT pg_reload_conf()"
_RESTART = ", then restart the server"


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """What the server is.

    ``database`` is its name, in quotes where SQL needs them. ``timescaledb`` is the installed version, ``installable``
    the one that could be; or None. ``loaded``: the extension's library is preloaded. ``licence`` is the setting
    ``timescaledb.license``.
    """

    version: str
    database: str = ""
    timescaledb: str | None = None
    installable: str | None = None
    loaded: bool = False
    licence: str | None = None
    in_recovery: bool = False
    read_only: bool = False
    encoding: str = "UTF8"

    @property
    def community(self) -> bool:
        """Whether it is the Community edition."""
        return self.timescaledb is not None and self.licence == "timescale"


class Schema(msgspec.Struct, frozen=True):
    """How far our schema is: ``version`` 0 is none, ``newest`` what this program needs; ``plain``: no hypertables."""

    version: int
    newest: int
    plain: bool = False


class Rights(msgspec.Struct, frozen=True, kw_only=True):
    """What the user may do; names are in quotes where SQL needs them.

    ``lacking`` maps a table to the rights on it that lack; empty when there are no tables.
    """

    user: str
    database: str
    schema: str | None
    may_connect_temporary: bool
    may_create_in_schema: bool
    may_create_extension: bool
    owns_tables: bool = True
    lacking: Mapping[str, Sequence[str]] = {}


class Connections(msgspec.Struct, frozen=True, kw_only=True):
    """How many sessions there may be and are; ``own_limit`` is that of the user or the database, None: no limit."""

    limit: int
    reserved: int
    used: int
    own_limit: int | None = None


# A setting's value in its own unit: bytes, seconds, a number, or the text.
# so many questions over all days may be asked side by side
QUESTIONS_AT_ONCE = 4

Values = Mapping[str, str]


def postgresql(server: Server) -> Finding:
    """Judge the server itself: its version, and whether it takes writes."""
    found = f"PostgreSQL {server.version}"
    if server.in_recovery:
        return failed(
            "postgresql", f"{found}, a standby: it cannot be written",
            "Name the primary, or all servers of it: postgresql://USER@HOST1,HOST2/DATABASE",
        )  # fmt: skip
    if server.read_only:
        return failed(
            "postgresql", f"{found}, read-only by default_transaction_read_only",
            "ALTER ROLE or ALTER DATABASE … RESET default_transaction_read_only",
        )  # fmt: skip
    if version_tuple(server.version)[:1] < (POSTGRESQL_MIN,):
        return warning("postgresql", f"{found}; {POSTGRESQL_MIN} is the oldest that is tested", "Upgrade the server")
    return ok("postgresql", found)


def timescaledb(server: Server, schema: Schema | None) -> Finding:
    """Judge the extension: its version against known bugs, its edition, and whether tables to be made will have it.

    ``schema`` None: it is not known.
    """
    if server.timescaledb is None:
        return _without_timescaledb(server, schema)
    edition = "Community" if server.community else "Apache"
    found = f"TimescaleDB {server.timescaledb}, {edition} edition (timescaledb.license = {server.licence or 'unset'})"
    installed = version_tuple(server.timescaledb)
    for bug in KNOWN_BUGS:
        if bug.hits(version_tuple(server.version), installed):
            return failed("timescaledb", f"{found}, PostgreSQL {server.version}: {bug.what} ({bug.source})", bug.remedy)
    if schema is not None and schema.version and schema.plain:
        return warning(
            "timescaledb", f"{found}, but the tables were made without it",
            "They work. For hypertables record into a new database, and `crypto-quant export` and `import` the old one",
        )  # fmt: skip
    if not server.community:
        found += ": no columnstore and no continuous aggregates"
    return ok("timescaledb", found)


def _without_timescaledb(server: Server, schema: Schema | None) -> Finding:
    plain = "plain PostgreSQL: native partitions, no columnstore"
    if server.installable is None or (schema is not None and schema.version):
        return ok("timescaledb", plain)
    found = f"TimescaleDB {server.installable} is there and not installed in this database"
    if not server.loaded:
        return warning(
            "timescaledb", f"{found}; its library is not preloaded, and the tables would be made without it",
            "shared_preload_libraries = 'timescaledb'" + _RESTART,
        )  # fmt: skip
    return ok("timescaledb", f"{found}; `record` installs it when it makes the tables")


def encoding(server: Server) -> Finding:
    """Judge the database's encoding: symbols are not all ASCII."""
    if server.encoding != "UTF8":
        return failed("encoding", server.encoding, "CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0")
    return ok("encoding", server.encoding)


def schema(found: Schema) -> Finding:
    """Judge our own schema: there and current, or to be made or brought up to date by the next `record`."""
    if found.version == 0:
        return ok("schema", f"none yet; `record` makes version {found.newest}")
    if found.version < found.newest:
        return ok("schema", f"version {found.version}; `record` brings it to version {found.newest}")
    return ok("schema", f"version {found.version}, current")


def rights(has: Rights, state: Schema | None, server: Server | None) -> Finding:
    """Judge what the user may do, against what the next `record` will want to do.

    ``state`` None: what the schema wants is not known.
    """
    if state is None:
        return skipped("rights", "what is needed depends on the schema, which could not be read")
    grants = []
    if not has.may_connect_temporary:
        grants.append(f"GRANT TEMPORARY ON DATABASE {has.database} TO {has.user}")
    if state.version < state.newest:
        if has.schema is None:
            grants.append(f"GRANT USAGE, CREATE ON SCHEMA public TO {has.user}")
        elif not has.may_create_in_schema:
            grants.append(f"GRANT USAGE, CREATE ON SCHEMA {has.schema} TO {has.user}")
        if state.version and not has.owns_tables:
            grants.append("run `crypto-quant db migrate` once as the owner of the tables")
    elif state.plain and not has.owns_tables:
        grants.append(f"GRANT the role that owns the tables TO {has.user}: partitions are made by their owner")
    by_rights: dict[tuple[str, ...], list[str]] = {}
    for table, missing in has.lacking.items():
        by_rights.setdefault(tuple(missing), []).append(table)
    grants += [
        f"GRANT {', '.join(missing)} ON {', '.join(tables)} TO {has.user}"
        for missing, tables in by_rights.items() if missing
    ]  # fmt: skip
    if grants:
        return failed("rights", f"{has.user} may not do what recording needs", "; ".join(grants))
    wants_extension = (
        state.version == 0 and server is not None and server.timescaledb is None
        and server.installable is not None and server.loaded
    )  # fmt: skip
    if wants_extension and not has.may_create_extension:
        return warning(
            "rights", f"{has.user} may not install TimescaleDB, and the tables would be made without it",
            f"As a superuser, in {has.database}: CREATE EXTENSION timescaledb",
        )  # fmt: skip
    return ok("rights", f"{has.user} may do what recording needs")


def durability(values: Values) -> Finding:
    """Judge whether what is confirmed outlives a crash of the server."""
    fsync, pages, commit = (values.get(name, "") for name in ("fsync", "full_page_writes", "synchronous_commit"))
    found = f"fsync {fsync}, full_page_writes {pages}, synchronous_commit {commit}"
    if fsync == "off":
        return failed(
            "durability", f"{found}: a crash of the machine can destroy the whole cluster",
            "ALTER SYSTEM SET fsync = on" + _RELOAD,
        )  # fmt: skip
    if pages == "off":
        return warning(
            "durability", f"{found}: a crash can tear pages, unless the file system writes them whole, as ZFS does",
            "ALTER SYSTEM SET full_page_writes = on" + _RELOAD,
        )  # fmt: skip
    if commit == "off":
        return warning(
            "durability", f"{found}: a crash takes the last commits along, which are then fetched again",
            "ALTER SYSTEM SET synchronous_commit = on" + _RELOAD,
        )  # fmt: skip
    return ok("durability", found)


def wal(values: Values) -> Finding:
    """Judge how often a checkpoint interrupts a busy recording; sizes come in MB, times in seconds."""
    bytes_most = int(values.get("max_wal_size", "1024")) * MIB
    timeout = timedelta(seconds=int(values.get("checkpoint_timeout", "300")))
    found = f"max_wal_size {size(bytes_most)}, checkpoint_timeout {timeout}"
    if bytes_most < MAX_WAL_SIZE_LOW:
        return warning("wal", found, f"ALTER SYSTEM SET max_wal_size = '4GB'{_RELOAD}")
    if timeout < CHECKPOINT_TIMEOUT_LOW:
        return warning("wal", found, f"ALTER SYSTEM SET checkpoint_timeout = '15min'{_RELOAD}")
    return ok("wal", found)


def shared_buffers(values: Values, largest_index: int | None) -> Finding:
    """Judge the server's memory: the indexes of the day that is written should fit into its buffers (of 8 KiB).

    ``largest_index`` is the size in bytes of all indexes of the largest day of trades; None: there is none.
    """
    buffers = int(values.get("shared_buffers", "16384")) * 8192
    found = f"shared_buffers {size(buffers)}"
    if largest_index:
        found += f", the largest day's indexes take {size(largest_index)}"
    remedy = f"shared_buffers = a quarter of the server's memory{_RESTART}"
    if largest_index is not None and largest_index > buffers:
        return warning("shared_buffers", f"{found}: each batch will read from disk", remedy)
    if buffers < SHARED_BUFFERS_LOW:
        return warning("shared_buffers", found, remedy)
    return ok("shared_buffers", found)


def connections(has: Connections, *, pool_size: int) -> Finding:
    """Judge whether the pool finds its connections."""
    need = pool_size + CONNECTIONS_BESIDES
    limit = has.limit - has.reserved
    named = f"max_connections {has.limit:,}, {has.reserved} of them reserved, {has.used:,} used"
    if has.own_limit is not None and has.own_limit < limit:
        limit = has.own_limit
        named += f"; this user or database may have {limit}"
    found = f"{named}; recording takes up to {need}"
    remedy = f"ALTER SYSTEM SET max_connections = {has.limit + need}{_RESTART}; or set pool_size"
    if has.own_limit is not None and has.own_limit < has.limit - has.reserved:
        remedy = f"ALTER ROLE or ALTER DATABASE … CONNECTION LIMIT {has.own_limit + need}; or set pool_size"
    if limit < need:
        return failed("connections", found, remedy)
    if limit - has.used < need:
        return warning("connections", found, remedy)
    return ok("connections", found)


def locks(values: Values, needed: int) -> Finding:
    """Judge whether some questions without a time, each of which takes ``needed`` locks, are answered at once."""
    most = int(values.get("max_locks_per_transaction", "64"))
    sessions = int(values.get("max_connections", "100")) + int(values.get("max_prepared_transactions", "0"))
    found = f"max_locks_per_transaction {most}, room for {most * sessions:,} locks; all days of trades take {needed:,}"
    if needed * QUESTIONS_AT_ONCE <= most * sessions:
        return ok("locks", found)
    better = max(1024, -(-needed * QUESTIONS_AT_ONCE // sessions))
    remedy = f"ALTER SYSTEM SET max_locks_per_transaction = {better}{_RESTART}"
    return warning("locks", f"{found}: questions without a time will fail", remedy)


def publications(blocked: Mapping[str, Sequence[str]]) -> Finding:
    """Judge whether a publication keeps a recorder from writing; ``blocked`` are its tables, by publication."""
    if not blocked:
        return ok("publications", "none of them keeps our tables from being changed")
    name, tables = next(iter(blocked.items()))
    commands = "; ".join(f"ALTER TABLE {table} REPLICA IDENTITY FULL" for table in tables)
    found = f"{name} includes {', '.join(tables)}, which have no replica identity: nothing can be stored"
    return failed("publications", found, f"crypto-quant db migrate; or {commands}")


def background_workers(server: Server, values: Values) -> Finding:
    """Judge whether the Community edition's jobs (columns, continuous aggregates) find a worker."""
    if not server.community:
        return skipped("background_workers", "only TimescaleDB's Community edition has jobs")
    has = int(values.get("timescaledb.max_background_workers", "16"))
    processes = int(values.get("max_worker_processes", "8"))
    parallel = int(values.get("max_parallel_workers", "8"))
    found = (
        f"timescaledb.max_background_workers {has}, max_worker_processes {processes}, max_parallel_workers {parallel}"
    )
    if has < BACKGROUND_WORKERS_LOW:
        return warning("background_workers", found, "timescaledb.max_background_workers = 16" + _RESTART)
    need = WORKERS_BESIDES + has + parallel
    if processes < need:
        return warning("background_workers", found, f"max_worker_processes = {need}{_RESTART}")
    return ok("background_workers", found)


def timezone(values: Values, database: str) -> Finding:
    """Judge the time zone of those who ask with psql; the recorder's own sessions are in UTC always."""
    zone = values.get("TimeZone", "")
    if zone in ("UTC", "Etc/UTC", "GMT", "Etc/GMT", "Universal", "Zulu"):
        return ok("timezone", zone)
    return warning(
        "timezone", f"{zone}: what you type as '2026-10-01' in psql is not the exchange's day",
        f"ALTER DATABASE {database} SET timezone = 'UTC'",
    )  # fmt: skip
