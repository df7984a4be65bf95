"""The sink: batches of COPY text into PostgreSQL or TimescaleDB, each row once.

A batch goes straight into its table by COPY; what it proves is added to ``coverage`` (of candles: ``candle_coverage``)
in the same transaction. Only
when that hits rows or ids which are there already does it go through a temporary table and ``INSERT … ON CONFLICT DO
NOTHING``; and as long as batches keep bringing such rows (a replay, a second recorder) the next ones take that way at
once.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from crypto_quant import events
from crypto_quant.errors import ConfigError, CryptoQuantError, StoreDenied, StoreUnavailable
from crypto_quant.seams import COLUMNS, Batch, Emit, PoolUse, Receipt, Table
from crypto_quant.store import coverage, faults, partitions
from crypto_quant.store.copytext import CopyText
from crypto_quant.store.hosts import Hosts
from crypto_quant.store.migrate import SchemaState, check
from crypto_quant.store.migrate import migrate as migrate_schema
from crypto_quant.store.parameters import schemas_of, search_path_of
from crypto_quant.store.partitions import Partition
from crypto_quant.store.staged import count_of, store_staged, tells_twice
from crypto_quant.store.tier import Tier
from crypto_quant.store.turns import Turn, Turns
from crypto_quant.store.url import checked_url, redact

POOL_SIZE = 4
COMMAND_TIMEOUT_S = 60.0
CONNECT_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 5.0
# how often one write is tried again within itself after a deadlock, or for a partition that was not there
_ATTEMPTS = 4


# tables whose rows are made here, and not by whoever gives a batch
_PROOFS = ("coverage", "absences", "candle_coverage", "candle_absences")


class _NotNew(Exception):
    """Something of a batch is there already, or may be."""


async def connect(url: str, *, command_timeout_s: float = COMMAND_TIMEOUT_S) -> asyncpg.Connection:
    """Return one open connection, set up as the pool's are. Raises ConfigError, StoreDenied, StoreUnavailable."""
    url = checked_url(url)
    try:
        connection = await Hosts(url).connect(url, **_options(command_timeout_s))
        try:
            await _check_schema(connection, url)
        except BaseException:
            connection.terminate()
            raise
    except (ValueError, *faults.DRIVER_ERRORS) as error:
        raise faults.translate(error, operation="connecting", subject=redact(url), connecting=True) from error
    return connection


async def _check_schema(connection: asyncpg.Connection, url: str) -> None:
    """Raise ConfigError when the session is not where the URL asks for: tables would land elsewhere without a word."""
    asked = search_path_of(url)
    if not asked:
        return
    path, schema, there = await connection.fetchrow(
        "SELECT current_setting('search_path'), current_schema(),"
        " ARRAY(SELECT nspname::text FROM pg_catalog.pg_namespace WHERE nspname = ANY ($1))",
        schemas_of(asked),
    )
    if schemas_of(path) != schemas_of(asked):
        raise ConfigError(
            f"the database URL asks for search_path {asked}, and the session has {path}",
            subject=redact(url),
            hint="Something in between keeps it (pgbouncer with ignore_startup_parameters). Leave it out of the URL,"
            " and say it to the server: ALTER ROLE the_user IN DATABASE the_database SET search_path = …",
        )
    first = next((name for name in schemas_of(asked) if name != "$user"), None)
    if first is not None and first not in there and schema != first:
        raise ConfigError(
            f"the schema {first} of the database URL's search_path does not exist",
            subject=redact(url),
            hint=f'Make it, CREATE SCHEMA "{first}", or name another',
        )


def _options(command_timeout_s: float) -> dict[str, object]:
    """Return what every connection is opened with.

    No named prepared statements and no session state: so a pgbouncer in transaction mode may stand in between.
    """
    return {
        "timeout": CONNECT_TIMEOUT_S,
        "command_timeout": command_timeout_s,
        "statement_cache_size": 0,
        "server_settings": {"application_name": "crypto-quant", "timezone": "UTC"},
    }


async def open_sink(
    url: str,
    *,
    pool_size: int = POOL_SIZE,
    migrate: bool = True,
    command_timeout_s: float = COMMAND_TIMEOUT_S,
    emit: Emit | None = None,
) -> "TimescaleSink":
    """Return a sink on the database at ``url``, its schema current.

    ``migrate`` false only checks the schema. Emits SchemaOutdated, StoreReady. Raises ConfigError (the URL),
    StoreUnavailable (the database is down), StoreDenied (password, database, right), SchemaMismatch.
    """
    url = checked_url(url)
    emit = emit or (lambda _event: None)
    connection = await connect(url, command_timeout_s=command_timeout_s)
    try:
        state = await (migrate_schema(connection, emit) if migrate else check(connection))
    except CryptoQuantError as error:
        error.subject = error.subject or redact(url)
        raise
    finally:
        connection.terminate()
    try:
        pool = await asyncpg.create_pool(
            url,
            min_size=min(2, pool_size),
            max_size=pool_size,
            connect=Hosts(url).connect,
            init=_acquaint,
            reset=_keep_session,
            **_options(command_timeout_s),
        )
    except (ValueError, *faults.DRIVER_ERRORS) as error:
        raise faults.translate(error, operation="connecting", subject=redact(url), connecting=True) from error
    sink = TimescaleSink(pool, state, database=redact(url), acquire_timeout_s=command_timeout_s, emit=emit)
    try:
        await sink.prepare(time.time_ns())
    except BaseException:
        await sink.close()
        raise
    emit(events.StoreReady(database=redact(url), tier=state.tier, schema_version=state.version))
    return sink


async def _acquaint(connection: asyncpg.Connection) -> None:
    """Let the driver ask for the types that it does not know by itself, before the first batch waits for it."""
    await connection.fetch("SELECT $1::bigint[], $2::text[], $3::boolean[], $4::timestamptz[]", [], [], [], [])


async def _keep_session(_connection: object) -> None:
    """Spare the round trip that asyncpg would spend on RESET ALL: no write leaves anything in its session."""


class TimescaleSink:
    """A ``seams.Sink`` on a pool of connections; made by ``open_sink``."""

    def __init__(
        self, pool: asyncpg.Pool, state: SchemaState, *, database: str, acquire_timeout_s: float, emit: Emit
    ) -> None:
        self.tier: Tier = state.tier
        self.database = database
        self._pool = pool
        self._emit = emit
        self._acquire_timeout_s = acquire_timeout_s
        self._closed = False
        self._turns = {table: Turns() for table in Table}
        # tables whose last batch brought rows that were there already
        self._repeating: set[Table] = set()
        # known to exist; and those that a batch has come to, so that the following one exists as well
        self._partitions: set[Partition] = set()
        self._reached: set[Partition] = set()

    async def prepare(self, moment_ns: int) -> None:
        """Make the partitions that recording at ``moment_ns`` (since the epoch) and the days after it need."""
        if self.tier is not Tier.POSTGRESQL:
            return
        async with self._connection("preparing partitions", self.database) as connection:
            await self._ensure(connection, partitions.partitions_around(moment_ns))

    async def write(self, batch: Batch) -> Receipt:
        """Store the batch once; repeating it changes nothing.

        One transaction: all of it or nothing. Cancelling is safe: either it is stored whole or not at all, and
        the connection is usable again or replaced.
        Raises StoreUnavailable (try again), StoreRejected (a row is refused: bisect), StoreDenied.
        """
        if not batch.rows and not batch.covered:
            return Receipt(written=0, duplicates=0)
        data = CopyText(batch.parts)
        with self._turns[batch.table].turn(batch.order) as turn:
            return await self._write(batch, data, turn)

    async def _write(self, batch: Batch, data: CopyText, turn: Turn) -> Receipt:
        async with self._connection("writing", batch.table) as connection:
            await self._ensure_next(connection, batch)
            for attempt in range(1, _ATTEMPTS + 1):
                try:
                    return await self._store(connection, batch, data, turn)
                except (asyncpg.DeadlockDetectedError, asyncpg.SerializationError):
                    if attempt == _ATTEMPTS:
                        raise
                    self._repeating.add(batch.table)
                except asyncpg.IntegrityConstraintViolationError as error:
                    # a row that the table refuses is the row's fault; ranges are made here
                    if error.table_name in _PROOFS:
                        raise StoreUnavailable(
                            f"coverage could not be extended: {error}",
                            subject=error.table_name,
                            hint="Its rows are not as crypto-quant keeps them: was the table changed by hand?",
                        ) from error
                    # without the name of a constraint it says that a row fits no partition
                    lacks_partition = isinstance(error, asyncpg.CheckViolationError) and not error.constraint_name
                    if not lacks_partition or self.tier is not Tier.POSTGRESQL or attempt > 1:
                        raise
                    needed = partitions.partitions_of(batch.table, batch.rows)
                    # a partition that was known may have been dropped since (retention by hand)
                    self._partitions.difference_update(needed)
                    await self._ensure(connection, needed)
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _store(self, connection: PoolConnectionProxy, batch: Batch, data: CopyText, turn: Turn) -> Receipt:
        if not batch.rows:
            async with _transaction(connection):
                await coverage.extend(connection, batch.covered)
            return Receipt(written=0, duplicates=0)
        # two versions of one trade in one batch may differ in their time, which no unique key finds
        if batch.table not in self._repeating and not (len(batch.covered) > 1 and tells_twice(batch.covered)):
            try:
                return await _store_new(connection, batch, data, turn)
            except (asyncpg.UniqueViolationError, _NotNew) as error:
                if getattr(error, "table_name", None) in _PROOFS:
                    raise
        # this takes its time, and may wait for rows of those that come after it
        turn.over()
        async with _transaction(connection):
            receipt = await store_staged(connection, batch, data)
            await coverage.extend(connection, batch.covered)
        if receipt.written < len(batch.rows):
            self._repeating.add(batch.table)
        else:
            self._repeating.discard(batch.table)
        return receipt

    async def _ensure_next(self, connection: PoolConnectionProxy, batch: Batch) -> None:
        """Make the partition of the batch's last row, and the following one, ahead of the need for it.

        Rows come in the order of time, so the last is the one that reaches a new day; should another row lack its
        partition, the database says so and it is made then.
        """
        if self.tier is not Tier.POSTGRESQL or not batch.rows:
            return
        for partition in partitions.partitions_of(batch.table, batch.rows[-1:]):
            if partition not in self._reached:
                await self._ensure(connection, [partition, partition.following()])
                self._reached.add(partition)

    async def _ensure(self, connection: PoolConnectionProxy, wanted: list[Partition]) -> None:
        for partition in wanted:
            if partition not in self._partitions:
                try:
                    new = await partitions.create_partition(connection, partition)
                except asyncpg.InsufficientPrivilegeError as error:
                    raise StoreDenied(
                        f"making a partition was denied: {error}",
                        subject=partition.name,
                        hint="Partitions are made by the owner of the tables: connect as that user",
                    ) from error
                if new:
                    self._emit(events.PartitionCreated(table=partition.table, partition=partition.name))
                self._partitions.add(partition)

    @asynccontextmanager
    async def _connection(self, operation: str, subject: str) -> AsyncIterator[PoolConnectionProxy]:
        """Lend a connection; translate what the driver raises while it is lent."""
        if self._closed:
            raise StoreUnavailable(f"{operation} after the store was closed", subject=subject)
        try:
            connection = await self._pool.acquire(timeout=self._acquire_timeout_s)
        except (ValueError, *faults.DRIVER_ERRORS) as error:
            raise faults.translate(error, operation="getting a connection", subject=self.database) from error
        try:
            yield connection
        except faults.DRIVER_ERRORS as error:
            if isinstance(error, asyncpg.InternalClientError):
                connection.terminate()
            raise faults.translate(error, operation=operation, subject=subject) from error
        finally:
            await self._give_back(connection)

    async def _give_back(self, connection: PoolConnectionProxy) -> None:
        """Return a connection to the pool, which replaces it if it broke; never hides the error of its user."""
        # on an error the pool has thrown it away already; what was written is committed, or the statement told
        with suppress(*faults.DRIVER_ERRORS):
            await self._pool.release(connection, timeout=CLOSE_TIMEOUT_S)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[PoolConnectionProxy]:
        """Lend a connection of the pool for ``queries``; its errors are translated."""
        async with self._connection("reading", self.database) as connection:
            yield connection

    def pool_use(self) -> PoolUse:
        """Return how many connections there are and how many are at work."""
        size = self._pool.get_size()
        return PoolUse(limit=self._pool.get_max_size(), open=size, busy=size - self._pool.get_idle_size())

    async def close(self) -> None:
        """Close every connection; idempotent. Writes under way get a few seconds, then they are cut off."""
        if self._closed:
            return
        self._closed = True
        try:
            await asyncio.wait_for(self._pool.close(), CLOSE_TIMEOUT_S)
        except (CryptoQuantError, *faults.DRIVER_ERRORS):
            self._pool.terminate()


async def _store_new(connection: PoolConnectionProxy, batch: Batch, data: CopyText, turn: Turn) -> Receipt:
    """Store a batch of which nothing is there yet. Raises _NotNew or UniqueViolationError, with nothing stored."""
    if not batch.covered:
        status = await connection.copy_to_table(batch.table, source=data, columns=COLUMNS[batch.table], format="text")
        if count_of(status) != len(batch.rows):
            # a row was not one line (COPY ends at a line "\\."): the staged way finds it out within a
            # transaction, and what has been stored counts as there already
            raise _NotNew
    else:
        async with _transaction(connection):
            status = await connection.copy_to_table(
                batch.table, source=data, columns=COLUMNS[batch.table], format="text"
            )
            await turn.come()
            known = await coverage.extend(connection, batch.covered)
            # an id that is proven to be stored has come as a new row: the same trade with another time? A candle's
            # key is its slot: a new row of a proven one was deleted meanwhile
            if count_of(status) != len(batch.rows) or (known and batch.table is Table.TRADES):
                raise _NotNew
    return Receipt(written=len(batch.rows), duplicates=0)


def _transaction(connection: PoolConnectionProxy) -> asyncpg.transaction.Transaction:
    # coverage counts on each statement seeing what was committed before it, whatever the server's default is
    return connection.transaction(isolation="read_committed")
