"""Versioned SQL, applied once each; what is not ours or not known is refused, never altered."""

import hashlib
from collections.abc import Mapping
from functools import cache
from importlib import resources

import asyncpg
import msgspec

from crypto_quant import events
from crypto_quant.errors import SchemaMismatch
from crypto_quant.seams import Emit
from crypto_quant.store import faults
from crypto_quant.store.tier import Tier, prepare_tier, table_tier

# one number for every crypto-quant, so that two recorders queue up; advisory locks are the database's own
MIGRATION_LOCK = 0x63715F6D6967
_RECORD = "crypto_quant_schema"
_CREATE_RECORD = """
CREATE TABLE IF NOT EXISTS crypto_quant_schema (
    version     INTEGER     PRIMARY KEY,
    name        TEXT        NOT NULL,
    checksum    TEXT        NOT NULL,
    applied_at  TIMESTAMPTZ NOT NULL DEFAULT now()
)"""

_TIME, _TEXT, _ID, _PRICE, _VOLUME = (
    "timestamp with time zone", "text", "bigint", "numeric(20,8)", "numeric(38,8)",
)  # fmt: skip
# what the newest version must find
EXPECTED: Mapping[str, Mapping[str, str]] = {
    "trades": {
        "time": _TIME, "venue": _TEXT, "symbol": _TEXT, "trade_id": _ID, "price": _PRICE, "quantity": _PRICE,
        "first_trade_id": _ID, "last_trade_id": _ID, "is_buyer_maker": "boolean", "received_at": _TIME,
    },
    "candles": {
        "time": _TIME, "venue": _TEXT, "symbol": _TEXT, "timeframe": _TEXT, "open": _PRICE, "high": _PRICE,
        "low": _PRICE, "close": _PRICE, "volume": _VOLUME, "quote_volume": _VOLUME, "trade_count": _ID,
        "taker_buy_volume": _VOLUME, "taker_buy_quote_volume": _VOLUME, "first_trade_id": _ID, "last_trade_id": _ID,
    },
    "coverage": {
        "venue": _TEXT, "symbol": _TEXT, "first_id": _ID, "last_id": _ID, "source": _TEXT, "newest": "boolean",
        "recorded_at": _TIME, "updated_at": _TIME,
    },
    "absences": {
        "venue": _TEXT, "symbol": _TEXT, "first_id": _ID, "last_id": _ID, "proof": _TEXT, "proven_at": _TIME,
    },
    "verdicts": {
        "venue": _TEXT, "symbol": _TEXT, "timeframe": _TEXT, "time": _TIME, "field": _TEXT, "stored": _TEXT,
        "derived": _TEXT, "checked_at": _TIME,
    },
    "candle_coverage": {
        "venue": _TEXT, "symbol": _TEXT, "timeframe": _TEXT, "first_slot": _ID, "last_slot": _ID, "source": _TEXT,
        "newest": "boolean", "recorded_at": _TIME, "updated_at": _TIME,
    },
    "candle_absences": {
        "venue": _TEXT, "symbol": _TEXT, "timeframe": _TEXT, "first_slot": _ID, "last_slot": _ID, "proof": _TEXT,
        "proven_at": _TIME,
    },
    "dropped": {
        "venue": _TEXT, "symbol": _TEXT, "first_id": _ID, "last_id": _ID, "source": _TEXT, "newest": "boolean",
        "recorded_at": _TIME, "updated_at": _TIME,
    },
    "candle_dropped": {
        "venue": _TEXT, "symbol": _TEXT, "timeframe": _TEXT, "first_slot": _ID, "last_slot": _ID, "source": _TEXT,
        "newest": "boolean", "recorded_at": _TIME, "updated_at": _TIME,
    },
    "symbols": {
        "venue": _TEXT, "symbol": _TEXT, "base": _TEXT, "quote": _TEXT, "status": _TEXT, "seen_at": _TIME,
    },
    "policies": {
        "table_name": _TEXT, "columnstore_after": "interval", "drop_after": "interval", "export_directory": _TEXT,
        "declared_at": _TIME,
    },
    "seals": {
        "venue": _TEXT, "symbol": _TEXT, "stream": _TEXT, "number": _ID, "first": _ID, "last": _ID,
        "first_time": _TIME, "last_time": _TIME, "rows": _ID, "known": _TEXT, "digest": _TEXT, "replaces": _ID,
        "reason": _TEXT, "sealed_at": _TIME, "before": _TEXT, "seal": _TEXT,
    },
    "seal_heads": {
        "venue": _TEXT, "symbol": _TEXT, "stream": _TEXT, "number": _ID, "seal": _TEXT, "reach": _ID, "until": _TIME,
    },
}  # fmt: skip
# which version made a table, where it was not the first
_MADE_BY = {
    "coverage": 2, "absences": 2, "verdicts": 3, "candle_coverage": 4, "candle_absences": 4,
    "dropped": 5, "candle_dropped": 5, "policies": 5, "seals": 6, "seal_heads": 6,
    "symbols": 8,
}  # fmt: skip


class Migration(msgspec.Struct, frozen=True):
    """One numbered SQL file."""

    version: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the file's text, the same on every tier."""
        return hashlib.sha256(self.sql.encode()).hexdigest()

    def for_tier(self, tier: Tier) -> str:
        """Return the statements for ``tier``: lines marked for the other family are left out."""
        other = "postgresql" if tier.family == "timescaledb" else "timescaledb"
        return "\n".join(line for line in self.sql.splitlines() if not line.endswith(f"-- on {other}"))


class SchemaState(msgspec.Struct, frozen=True):
    """The schema as it is now; ``applied`` names what this call added."""

    version: int
    tier: Tier
    applied: list[str]


@cache
def migrations() -> tuple[Migration, ...]:
    """Return the packaged migrations in their order: 1, 2, 3 … without a hole."""
    found = []
    for file in resources.files("crypto_quant.store").joinpath("sql").iterdir():
        stem, _, ending = file.name.rpartition(".")
        if ending == "sql":
            number, _, name = stem.partition("_")
            found.append(Migration(version=int(number), name=name, sql=file.read_text(encoding="utf-8")))
    found.sort(key=lambda migration: migration.version)
    assert [m.version for m in found] == list(range(1, len(found) + 1))  # noqa: S101 - a packaging error
    return tuple(found)


async def migrate(connection: asyncpg.Connection, emit: Emit = lambda _event: None) -> SchemaState:
    """Bring the schema up to date and return what it is now; safe to call from several recorders at once.

    Emits SchemaOutdated before each version that a database of an earlier crypto-quant lacks: it may take its time.
    Each version is one transaction under an advisory lock. A schema that is current needs no right to create.
    Raises SchemaMismatch (newer, altered or foreign tables), StoreDenied (with the GRANT that lacks).
    """
    applied: list[str] = []
    outdated: bool | None = None
    try:
        while True:
            done = await _applied(connection)
            _verify(done)
            if len(done) == len(migrations()):
                return await _current(connection, applied)
            outdated = bool(done) if outdated is None else outdated
            if outdated:
                following = migrations()[len(done)]
                emit(events.SchemaOutdated(version=following.version, of=len(migrations()), step=following.name))
            async with connection.transaction():
                await connection.execute("SELECT pg_advisory_xact_lock($1)", MIGRATION_LOCK)
                name = await _apply_next(connection)
            if name:
                applied.append(name)
    except faults.DRIVER_ERRORS as error:
        raise faults.translate(error, operation="migrating the schema", subject="") from error


async def check(connection: asyncpg.Connection) -> SchemaState:
    """Return the schema's state, changing nothing. Raises SchemaMismatch unless it is exactly what is needed."""
    version = await survey(connection)
    if version < len(migrations()):
        was = f"version {version}" if version else "no crypto-quant tables"
        raise SchemaMismatch(
            f"the database holds {was}, this program needs version {len(migrations())}",
            hint="Run `crypto-quant db migrate`",
        )
    try:
        return await _current(connection, [])
    except faults.DRIVER_ERRORS as error:
        raise faults.translate(error, operation="checking the schema", subject="") from error


async def survey(connection: asyncpg.Connection) -> int:
    """Return the version of the schema that is there, 0 for none, changing nothing.

    Raises SchemaMismatch for one that ``migrate`` would refuse: newer, altered or foreign tables.
    """
    try:
        done = await _applied(connection)
        _verify(done)
        if len(done) < len(migrations()):
            await _refuse_foreign(connection, len(done))
        else:
            await _current(connection, [])
        return len(done)
    except faults.DRIVER_ERRORS as error:
        raise faults.translate(error, operation="checking the schema", subject="") from error


async def _apply_next(connection: asyncpg.Connection) -> str | None:
    """Apply the first missing version; None when another recorder was faster. Runs under the lock."""
    done = await _applied(connection)
    _verify(done)
    if len(done) == len(migrations()):
        return None
    following = migrations()[len(done)]
    await _refuse_foreign(connection, len(done))
    if done:
        tier = await table_tier(connection)
    else:
        await _refuse_encoding(connection)
        tier = await prepare_tier(connection)
        await connection.execute(_CREATE_RECORD)
    await reach_extension(connection)
    await connection.execute(following.for_tier(tier))
    await connection.execute(
        "INSERT INTO crypto_quant_schema (version, name, checksum) VALUES ($1, $2, $3)",
        following.version,
        following.name,
        following.checksum,
    )
    return f"{following.version:04}_{following.name}"


async def _applied(connection: asyncpg.Connection) -> list[tuple[int, str, str]]:
    """Return version, name and checksum of what was applied, in order; empty when nothing was."""
    # to_regclass alone may answer from a cache that is older than the lock just taken; reading pg_class renews it
    if await connection.fetchval("SELECT oid FROM pg_catalog.pg_class WHERE oid = to_regclass($1)", _RECORD) is None:
        return []
    rows = await connection.fetch("SELECT version, name, checksum FROM crypto_quant_schema ORDER BY version")
    return [(row["version"], row["name"], row["checksum"]) for row in rows]


def _verify(done: list[tuple[int, str, str]]) -> None:
    """Raise SchemaMismatch unless ``done`` is a beginning of our own list."""
    known = migrations()
    if done and done[-1][0] > len(known):
        raise SchemaMismatch(
            f"the schema is version {done[-1][0]}, made by a newer crypto-quant; this one knows up to {len(known)}",
            hint="Upgrade crypto-quant, or use another database. Nothing was changed",
        )
    for (version, name, checksum), ours in zip(done, known, strict=False):
        if (version, name, checksum) != (ours.version, ours.name, ours.checksum):
            raise SchemaMismatch(
                f"schema version {version} ({name}) was made from other SQL than this program's {ours.name}",
                hint="Use the crypto-quant that made it, or another database. Nothing was changed",
            )


async def _current(connection: asyncpg.Connection, applied: list[str]) -> SchemaState:
    """Return the state of a complete schema, after a look at the tables themselves."""
    for table, expected in EXPECTED.items():
        differences = _differences(expected, await _columns(connection, table))
        if differences:
            raise SchemaMismatch(
                f"the table {table} is not as version {len(migrations())} made it: {'; '.join(differences)}",
                hint="Undo the change, or use another database. Nothing was changed",
            )
    return SchemaState(version=len(migrations()), tier=await table_tier(connection), applied=applied)


async def _refuse_foreign(connection: asyncpg.Connection, version: int) -> None:
    """Raise SchemaMismatch when tables of our names exist that no migration up to ``version`` made."""
    for table, expected in EXPECTED.items():
        if _MADE_BY.get(table, 1) <= version:
            continue
        columns = await _columns(connection, table)
        if columns:
            differences = _differences(expected, columns) or ["the columns fit, but no migration is recorded"]
            raise SchemaMismatch(
                f"a table named {table} exists that crypto-quant did not make: {'; '.join(differences)}",
                hint="Rename it, or give crypto-quant a database of its own. Nothing was changed",
            )


def _differences(expected: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    """Return in words what ``found`` lacks of ``expected``; columns that others added are their own affair."""
    if not found:
        return ["it does not exist"]
    words = [f"no column {column}" for column in expected if column not in found]
    words += [
        f"column {column} is {found[column]} instead of {kind}"
        for column, kind in expected.items()
        if column in found and found[column] != kind
    ]
    return words


async def _columns(connection: asyncpg.Connection, table: str) -> dict[str, str]:
    """Return a table's columns and their types; empty when there is none of that name in the search path."""
    rows = await connection.fetch(
        "SELECT attname, format_type(atttypid, atttypmod) AS kind FROM pg_catalog.pg_attribute"
        " WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped",
        table,
    )
    return {row["attname"]: row["kind"] for row in rows}


async def _refuse_encoding(connection: asyncpg.Connection) -> None:
    """Symbols are not all ASCII, and bytes that no one checks are not text: the database must be UTF-8."""
    encoding = await connection.fetchval("SHOW server_encoding")
    if encoding != "UTF8":
        raise SchemaMismatch(
            f"the database's encoding is {encoding}; it must be UTF8",
            hint="CREATE DATABASE name ENCODING 'UTF8' TEMPLATE template0",
        )


async def reach_extension(connection: asyncpg.Connection, *, lasting: bool = False) -> None:
    """Put the extension's schema on the search path of this transaction, so that its functions are found.

    ``lasting``: of the session.
    """
    await connection.execute(
        "SELECT set_config('search_path', current_setting('search_path') || ', ' || quote_ident(n.nspname), NOT $1)"
        " FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace"
        " WHERE e.extname = 'timescaledb'",
        lasting,
    )
