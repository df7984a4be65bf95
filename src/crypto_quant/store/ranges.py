"""Sets of numbers as rows of a table, a range a row: the algorithm behind ``coverage``, for any key.

The ranges of a series are disjoint; those of one source that touch are one. The row with ``newest`` is the highest
range of its series. Whoever changes a series' ranges first locks that row, all series of a batch in one statement and
in one order: so two recorders on the same series wait for each other and never deadlock over ranges.
All of this supposes READ COMMITTED, where each statement sees what was committed before it.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from crypto_quant.continuity import RangeSet
from crypto_quant.store.queries import Reading

# the values of a table's key columns
Series = tuple[str, ...]
# a range of a series, both ends inclusive, and who proves it
Claim = tuple[int, int, str]


class _Row(NamedTuple):
    """One range as it stands, or will stand, in the table; a time that is None is now."""

    first: int
    last: int
    source: str
    newest: bool
    recorded_at: datetime | None
    updated_at: datetime | None


class RangeTable:
    """The statements for one table: ``key`` are the columns that name a series, ``first`` and ``last`` the range's.

    ``absences`` is the table, of the same columns and a proof, of what is proven to exist nowhere.
    """

    def __init__(self, table: str, absences: str, key: tuple[str, ...], first: str, last: str) -> None:
        self._key = key
        names = ", ".join(key)
        types = [f"${number}::text[]" for number in range(1, len(key) + 1)]
        given_key, following = ", ".join(types), len(key) + 1

        def given(*more: str) -> str:
            """Return the parameters as a table: the key, then columns of these types."""
            typed = [f"${following + at}::{each.split()[1]}[]" for at, each in enumerate(more)]
            columns = ", ".join([names, *(each.split()[0] for each in more)])
            return f"unnest({', '.join([given_key, *typed])}) AS given ({columns})"

        def same(table: str, other: str = "given") -> str:
            return " AND ".join(f"{table}.{column} = {other}.{column}" for column in key)

        in_order = ", ".join(f'{{}}.{column} COLLATE "C"' for column in key)
        # The common case in one statement: the range continues the newest one of its series, or is its first. On a
        # conflict the row is locked whether the condition holds or not, and it is its latest version that is looked at.
        self._grow = f"""
INSERT INTO {table} ({names}, {first}, {last}, source, newest)
SELECT {names}, low, high, source, true FROM {given("low bigint", "high bigint", "source text")}
ORDER BY {in_order.replace("{}", "given")}
ON CONFLICT ({names}) WHERE newest
DO UPDATE SET {last} = excluded.{last}, updated_at = now()
WHERE {table}.{last} = excluded.{first} - 1 AND {table}.source = excluded.source
RETURNING {names}, COALESCE({first} <= (
    SELECT a.{last} FROM {absences} a WHERE {same("a", table)} AND a.{first} <= {table}.{last}
    ORDER BY a.{first} DESC LIMIT 1), false) AS contradicted"""  # noqa: S608 - every name in these is a constant of ours

        # what is stored exists: absences that say otherwise go, and what is left of them is put back
        self._exists = f"""
DELETE FROM {absences} a USING {given("low bigint", "high bigint")}
WHERE {same("a")} AND a.{first} <= high AND a.{last} >= low
RETURNING {", ".join(f"a.{column}" for column in key)}, a.{first}, a.{last}, a.proof, a.proven_at"""  # noqa: S608

        self._still_absent = f"""
INSERT INTO {absences} ({names}, {first}, {last}, proof, proven_at)
SELECT {names}, low, high, proof, proven_at
FROM {given("low bigint", "high bigint", "proof text", "proven_at timestamptz")}"""  # noqa: S608

        # Locks alone: the newest row of each series, in the same order.
        self._lock = f"""
SELECT 1 FROM {given()} JOIN {table} c ON {same("c")} AND c.newest
ORDER BY {in_order.replace("{}", "c")} FOR UPDATE OF c"""  # noqa: S608

        # What a change between two numbers (inclusive) can touch: from the range that begins at or below the lower one
        # to those that begin at or below the higher one, and the newest.
        self._neighbours = f"""
SELECT {", ".join(f"c.{column}" for column in key)}, c.{first}, c.{last}, c.source, c.newest, c.recorded_at,
       c.updated_at
FROM {given("low bigint", "high bigint")}
CROSS JOIN LATERAL (
    SELECT * FROM {table} t WHERE {same("t")} AND newest
    UNION
    SELECT * FROM {table} t WHERE {same("t")} AND {first} <= given.high AND {first} >= COALESCE(
        (SELECT max({first}) FROM {table} l WHERE {same("l")} AND {first} <= given.low), 0)
) AS c
ORDER BY {", ".join(f"c.{column}" for column in key)}, c.{first}"""  # noqa: S608

        self._remove = f"DELETE FROM {table} USING {given('low bigint')} WHERE {same(table)} AND {table}.{first} = low"  # noqa: S608

        # the clock and not the transaction's begin: a seal that was written while this one waited for the lock is older
        columns = ("low bigint", "high bigint", "source text", "newest boolean", "recorded_at timestamptz",
                   "updated_at timestamptz")  # fmt: skip
        self._insert = f"""
INSERT INTO {table} ({names}, {first}, {last}, source, newest, recorded_at, updated_at)
SELECT {names}, low, high, source, newest, COALESCE(recorded_at, now()), COALESCE(updated_at, clock_timestamp())
FROM {given(*columns)}"""  # noqa: S608

        of_these = f"JOIN {given()} USING ({names}) ORDER BY {names}, {first}"
        self._load = f"SELECT {names}, {first}, {last}, source FROM {table} {of_these}"  # noqa: S608
        self._load_absences = f"SELECT {names}, {first}, {last} FROM {absences} {of_these}"  # noqa: S608
        self._absent = f"""
INSERT INTO {absences} ({names}, {first}, {last}, proof)
SELECT {names}, low, high, proof FROM {given("low bigint", "high bigint", "proof text")}
ON CONFLICT DO NOTHING"""  # noqa: S608

    async def extend(self, connection: Reading, given: Mapping[Series, Sequence[Claim]]) -> dict[Series, list[Claim]]:
        """Add ranges; return those parts of them that were there before.

        Call it in a READ COMMITTED transaction, after its rows were stored and as its last work: the series' newest
        ranges stay locked until it ends. Numbers that were there keep the source that brought them first. What was
        recorded as absent and is added now was no absence: it is one no more. One statement when each series' range
        continues its newest one, at most six otherwise, whatever the number of series. Raises ValueError for a range
        that is none, before anything is done.
        """
        given = {series: _joined(series, claims) for series, claims in given.items() if claims}
        if not given:
            return {}
        lowest = [claims[0] for claims in given.values()]
        grown = await connection.fetch(self._grow, *_turned(given), *_turned(lowest))
        width = len(self._key)
        if contradicted := [tuple(row[:width]) for row in grown if row[width]]:
            await self._undo_absences(connection, {series: given[series][:1] for series in contradicted})
        if len(grown) == sum(map(len, given.values())):
            return {}  # each series had one range, and it went on
        done = {tuple(row[:width]) for row in grown}
        left = {series: claims[series in done :] for series, claims in given.items()}
        left = {series: claims for series, claims in left.items() if claims}
        if not left:
            return {}
        held = await self._held(connection, {series: [(a, b) for a, b, _ in claims] for series, claims in left.items()})
        known: dict[Series, list[Claim]] = {}
        after: dict[Series, list[_Row]] = {}
        for series, claims in left.items():
            before = held.get(series, [])
            there_before = RangeSet((row.first, row.last) for row in before)
            if series in done:
                first, last, _ = given[series][0]
                there_before.discard(first, last)
            after[series] = _added(before, claims)
            parts = [(a, b, source) for first, last, source in claims for a, b in there_before.within(first, last)]
            if parts:
                known[series] = parts
        await self._replace(connection, held, after)
        await self._undo_absences(connection, left)
        return known

    async def _undo_absences(self, connection: Reading, given: Mapping[Series, Sequence[Claim]]) -> None:
        """Take what is stored now out of what is recorded as absent."""
        width = len(self._key)
        wanted = [(*series, first, last) for series, claims in given.items() for first, last, _ in claims]
        left = []
        for row in await connection.fetch(self._exists, *_columns(wanted, width + 2)):
            series, (first, last, *proof) = tuple(row[:width]), tuple(row[width:])
            there = RangeSet((low, high) for low, high, _ in given[series])
            left += [(*series, *gap, *proof) for gap in there.missing(first, last)]
        if left:
            await connection.fetch(self._still_absent, *_columns(left, width + 4))

    async def retract(self, connection: Reading, series: Series, ranges: Sequence[tuple[int, int]]) -> None:
        """Take numbers (inclusive ranges) out, whatever their source. Call it in a READ COMMITTED transaction."""
        if not ranges:
            return
        await connection.fetch(self._lock, *_columns([series], len(self._key)))
        held = await self._held(connection, {series: ranges})
        gone = RangeSet(ranges)
        kept = [
            row._replace(first=first, last=last)
            for row in held.get(series, [])
            for first, last in gone.missing(row.first, row.last)
        ]
        await self._replace(connection, held, {series: _marked(kept)})

    async def load(self, connection: Reading, wanted: Sequence[Series]) -> dict[Series, list[Claim]]:
        """Return the ranges of each of these series, lowest first; no range, no entry."""
        width = len(self._key)
        found: dict[Series, list[Claim]] = {}
        for row in await connection.fetch(self._load, *_columns(wanted, width)):
            found.setdefault(tuple(row[:width]), []).append((row[width], row[width + 1], row[width + 2]))
        return found

    async def load_absences(self, connection: Reading, wanted: Sequence[Series]) -> dict[Series, list[tuple[int, int]]]:
        """Return the inclusive ranges of each of these series that are proven not to exist, lowest first."""
        width = len(self._key)
        found: dict[Series, list[tuple[int, int]]] = {}
        for row in await connection.fetch(self._load_absences, *_columns(wanted, width)):
            found.setdefault(tuple(row[:width]), []).append((row[width], row[width + 1]))
        return found

    async def record_absence(
        self, connection: Reading, series: Series, first: int, last: int, proof: str
    ) -> list[tuple[int, int]]:
        """Record that no source has ``first`` to ``last`` (inclusive), but for those that are stored: return them.

        Those recorded before keep their proof. When any is stored, nothing is recorded. Call it in a transaction.
        Raises ValueError when there is no proof.
        """
        if not proof.strip():
            raise ValueError("an absence needs a proof")
        await connection.fetch(self._lock, *_columns([series], len(self._key)))
        held = await self._held(connection, {series: [(first, last)]})
        stored = RangeSet((row.first, row.last) for row in held.get(series, [])).within(first, last)
        if stored:
            return stored
        known = RangeSet((await self.load_absences(connection, [series])).get(series, []))
        new = [(*series, *gap, proof) for gap in known.missing(first, last)]
        await connection.fetch(self._absent, *_columns(new, len(self._key) + 3))
        return []

    async def _held(
        self, connection: Reading, ranges: Mapping[Series, Sequence[tuple[int, int]]]
    ) -> dict[Series, list[_Row]]:
        """Return the rows that a change of these ranges can touch, with the newest of each series, lowest first."""
        width = len(self._key)
        # one number to each side: what lies there may be joined
        wanted = [
            (*series, max(0, min(a for a, _ in each) - 1), min(max(b for _, b in each) + 1, 2**63 - 1))
            for series, each in ranges.items()
        ]
        held: dict[Series, list[_Row]] = {}
        for row in await connection.fetch(self._neighbours, *_columns(wanted, width + 2)):
            held.setdefault(tuple(row[:width]), []).append(_Row(*row[width:]))
        return held

    async def _replace(
        self, connection: Reading, before: Mapping[Series, Sequence[_Row]], after: Mapping[Series, Sequence[_Row]]
    ) -> None:
        """Write the difference between two states of some series."""
        gone: list[tuple[Any, ...]] = []
        new: list[tuple[Any, ...]] = []
        for series, rows in after.items():
            held, wanted = set(before.get(series, ())), set(rows)
            gone += [(*series, row.first) for row in held - wanted]
            new += [(*series, *row) for row in rows if row not in held]
        if gone:
            await connection.fetch(self._remove, *_columns(gone, len(self._key) + 1))
        if new:
            await connection.fetch(self._insert, *_columns(new, len(self._key) + 6))


def _joined(series: Series, claims: Sequence[Claim]) -> Sequence[Claim]:
    """Return the claims, lowest first; what touches within one source is joined. Raises ValueError."""
    for first, last, _ in claims:
        if not 0 <= first <= last:
            raise ValueError(f"{' '.join(series[1:])}: {first} to {last} is no range")
    if len(claims) == 1:
        return claims
    by_source: dict[str, RangeSet] = {}
    for first, last, source in claims:
        by_source.setdefault(source, RangeSet()).add(first, last)
    return sorted((first, last, source) for source, joined in by_source.items() for first, last in joined.ranges())


def _added(held: Sequence[_Row], claims: Iterable[Claim]) -> list[_Row]:
    """Return the rows that hold ``claims`` as well; numbers that were held keep their row."""
    rows = sorted(held)
    for first, last, source in claims:
        for gap in RangeSet((row.first, row.last) for row in rows).missing(first, last):
            rows.append(_Row(gap.first, gap.last, source, newest=False, recorded_at=None, updated_at=None))
        rows.sort()
    joined: list[_Row] = []
    for row in rows:
        below = joined[-1] if joined else None
        if below is not None and below.last == row.first - 1 and below.source == row.source:
            begun = [at for at in (below.recorded_at, row.recorded_at) if at is not None]
            joined[-1] = below._replace(last=row.last, recorded_at=min(begun, default=None), updated_at=None)
        else:
            joined.append(row)
    return _marked(joined)


def _marked(rows: Sequence[_Row]) -> list[_Row]:
    """Return the rows with the highest one, and no other, marked as the newest."""
    return [row._replace(newest=at == len(rows) - 1) for at, row in enumerate(rows)]


def _turned(rows: Iterable[Sequence[Any]]) -> list[list[Any]]:
    """Return at least one row as columns."""
    return [list(column) for column in zip(*rows, strict=True)]


def _columns(rows: Sequence[tuple[Any, ...]], width: int) -> list[list[Any]]:
    """Return the rows as ``width`` columns, as unnest takes them."""
    return [[row[at] for row in rows] for at in range(width)]
