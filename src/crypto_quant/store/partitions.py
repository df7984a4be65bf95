"""Native range partitions of plain PostgreSQL: a day of trades, a month of candles, cut at midnight UTC.

Months for candles: a thousand symbols print as many rows in a month of 5-minute candles as a busy day has trades,
and history back to 2017 stays at some hundred partitions instead of thousands.
"""

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta

import asyncpg
import msgspec

from crypto_quant.seams import Table

# one number for every crypto-quant; the lock is held for one CREATE and ATTACH
PARTITION_LOCK = 0x63715F70617274


class Partition(msgspec.Struct, frozen=True, order=True):
    """One partition: ``first`` day inclusive, ``end`` exclusive, both UTC."""

    table: Table
    first: date
    end: date

    @property
    def name(self) -> str:
        """``trades_p20240808`` or ``candles_p202408``."""
        return (
            f"{self.table}_p{self.first:%Y%m%d}" if self.table is Table.TRADES else f"{self.table}_p{self.first:%Y%m}"
        )

    def following(self) -> "Partition":
        """Return the partition that begins where this one ends."""
        return partition_of(self.table, self.end)


def partition_of(table: Table, day: date) -> Partition:
    """Return the partition that holds ``day``."""
    if table is Table.TRADES:
        return Partition(table, day, day + timedelta(days=1))
    first = day.replace(day=1)
    # no month is longer than 31 days, and 32 days on is always inside the next one
    return Partition(table, first, (first + timedelta(days=32)).replace(day=1))


def row_day(row: bytes) -> date | None:
    """Return the day (UTC) of a row's COPY text, from its first ten bytes; None when they are no date."""
    try:
        return date.fromisoformat(row[:10].decode("ascii"))
    except ValueError:
        return None


def partitions_of(table: Table, rows: Iterable[bytes]) -> list[Partition]:
    """Return, in order, the partitions that these rows need."""
    found = set()
    for prefix in {row[:10] for row in rows}:
        day = row_day(prefix)
        if day is not None and day < date.max - timedelta(days=40):
            found.add(partition_of(table, day))
    return sorted(found)


def partitions_around(moment_ns: int) -> list[Partition]:
    """Return the partitions that recording at ``moment_ns`` needs: those of the day and those that follow."""
    today = datetime.fromtimestamp(moment_ns // 1_000_000_000, UTC).date()
    wanted = []
    for table in Table:
        now = partition_of(table, today)
        wanted += [now, now.following()]
    return wanted


async def create_partition(connection: asyncpg.Connection, partition: Partition) -> bool:
    """Create a partition unless it exists; True when it is new. Safe for several recorders at once.

    The table is made apart and attached, which neither waits for readers and writers of the parent nor stops them
    (CREATE TABLE … PARTITION OF would lock it exclusively). False as well when another partition, made by hand,
    covers these days already.
    """
    if await _exists(connection, partition):
        return False
    # names come from an enumeration and a date, bounds from dates: nothing here is a stranger's text
    table, name = partition.table.value, partition.name
    try:
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", PARTITION_LOCK)
            if await _exists(connection, partition):
                return False
            await connection.execute(
                f"CREATE TABLE {name} (LIKE {table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE);"
                f" ALTER TABLE {table} ATTACH PARTITION {name}"
                f" FOR VALUES FROM ('{partition.first} 00:00:00+00') TO ('{partition.end} 00:00:00+00')"
            )
    except asyncpg.InvalidObjectDefinitionError:
        return False
    return True


async def _exists(connection: asyncpg.Connection, partition: Partition) -> bool:
    return bool(
        await connection.fetchval(
            "SELECT EXISTS (SELECT FROM pg_catalog.pg_inherits"
            " WHERE inhparent = to_regclass($1) AND inhrelid = to_regclass($2))",
            partition.table.value,
            partition.name,
        )
    )
