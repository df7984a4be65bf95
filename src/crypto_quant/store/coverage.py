"""Which ids are proven to be stored: the table ``coverage``, changed only inside the transaction that stores the rows.

The ranges of a symbol are disjoint; those of one source that touch are one. The row with ``newest`` is the highest
range of its symbol. Whoever changes a symbol's ranges first locks that row, all symbols of a batch in one statement
and in one order: so two recorders on the same symbols wait for each other and never deadlock over coverage.
All of this supposes READ COMMITTED, where each statement sees what was committed before it.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from crypto_quant.continuity import Gap, RangeSet
from crypto_quant.seams import Covered, Source
from crypto_quant.store.queries import Reading

_Series = tuple[str, str]

# The common case in one statement: the range continues the newest one of its symbol, or is its first. On a conflict
# the row is locked whether the condition holds or not, and it is its latest version that is looked at.
_GROW = """
INSERT INTO coverage (venue, symbol, first_id, last_id, source, newest)
SELECT venue, symbol, first_id, last_id, source, true
FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::text[])
    AS given (venue, symbol, first_id, last_id, source)
ORDER BY venue COLLATE "C", symbol COLLATE "C"
ON CONFLICT (venue, symbol) WHERE newest
DO UPDATE SET last_id = excluded.last_id, updated_at = now()
WHERE coverage.last_id = excluded.first_id - 1 AND coverage.source = excluded.source
RETURNING venue, symbol"""

# Locks alone: the newest row of each symbol, in the same order.
_LOCK = """
SELECT c.venue, c.symbol
FROM unnest($1::text[], $2::text[]) AS given (venue, symbol)
JOIN coverage c ON c.venue = given.venue AND c.symbol = given.symbol AND c.newest
ORDER BY c.venue COLLATE "C", c.symbol COLLATE "C" FOR UPDATE OF c"""

# What a change between two ids (inclusive) can touch: from the range that begins at or below the lower one to those
# that begin at or below the higher one, and the newest.
_NEIGHBOURS = """
SELECT c.venue, c.symbol, c.first_id, c.last_id, c.source, c.newest, c.recorded_at
FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[]) AS given (venue, symbol, low, high)
CROSS JOIN LATERAL (
    SELECT * FROM coverage WHERE venue = given.venue AND symbol = given.symbol AND newest
    UNION
    SELECT * FROM coverage
    WHERE venue = given.venue AND symbol = given.symbol AND first_id <= given.high
        AND first_id >= COALESCE(
            (SELECT max(first_id) FROM coverage
             WHERE venue = given.venue AND symbol = given.symbol AND first_id <= given.low), 0)
) AS c
ORDER BY c.venue, c.symbol, c.first_id"""

_REMOVE = """
DELETE FROM coverage USING unnest($1::text[], $2::text[], $3::bigint[]) AS gone (venue, symbol, first_id)
WHERE coverage.venue = gone.venue AND coverage.symbol = gone.symbol AND coverage.first_id = gone.first_id"""

_INSERT = """
INSERT INTO coverage (venue, symbol, first_id, last_id, source, newest, recorded_at)
SELECT venue, symbol, first_id, last_id, source, newest, COALESCE(recorded_at, now())
FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::text[], $6::boolean[], $7::timestamptz[])
    AS given (venue, symbol, first_id, last_id, source, newest, recorded_at)"""

# Gaps and islands: an id less its rank is the same along a run of ids.
_ISLANDS = """
SELECT min(trade_id) AS first_id, max(trade_id) AS last_id
FROM (SELECT trade_id, trade_id - dense_rank() OVER (ORDER BY trade_id) AS island
      FROM trades WHERE venue = $1 AND symbol = $2 AND trade_id >= 0) AS numbered
GROUP BY island ORDER BY 1"""


class _Row(NamedTuple):
    """One range as it stands, or will stand, in the table; ``recorded_at`` None is now."""

    first: int
    last: int
    source: str
    newest: bool
    recorded_at: datetime | None


async def extend(connection: Reading, covered: Iterable[Covered]) -> list[Covered]:
    """Add ranges to what is proven; return those parts of them that were proven before.

    Call it in a READ COMMITTED transaction, after its rows were stored and as its last work: the symbols' newest
    ranges stay locked until it ends. Ids that were covered keep the source that covered them first. One statement
    when each symbol's range continues its newest one, at most four otherwise, whatever the number of symbols.
    Raises ValueError for a range that is none, before anything is done.
    """
    given = _by_series(covered)
    if not given:
        return []
    first_ones = [(*series, *ranges[0]) for series, ranges in given.items()]
    done = {(row[0], row[1]) for row in await connection.fetch(_GROW, *_columns(first_ones, 5))}
    left = {series: ranges[series in done :] for series, ranges in given.items()}
    left = {series: ranges for series, ranges in left.items() if ranges}
    if not left:
        return []
    held = await _neighbours(connection, {series: [(a, b) for a, b, _ in ranges] for series, ranges in left.items()})
    known: list[Covered] = []
    after: dict[_Series, list[_Row]] = {}
    for series, ranges in left.items():
        before = held.get(series, [])
        covered_before = RangeSet((row.first, row.last) for row in before)
        if series in done:
            first, last, _ = given[series][0]
            covered_before.discard(first, last)
        after[series] = _added(before, ranges)
        for first, last, source in ranges:
            known += [Covered(*series, a, b, Source(source)) for a, b in covered_before.within(first, last)]
    await _replace(connection, held, after)
    return known


async def retract(connection: Reading, venue: str, symbol: str, ranges: Sequence[tuple[int, int]]) -> None:
    """Take ids (inclusive ranges) out of what is proven, whatever their source: their rows were found to be gone.

    Call it in a READ COMMITTED transaction.
    """
    series = (venue, symbol)
    if not ranges:
        return
    await connection.fetch(_LOCK, [venue], [symbol])
    held = await _neighbours(connection, {series: ranges})
    gone = RangeSet(ranges)
    kept = [
        row._replace(first=first, last=last)
        for row in held.get(series, [])
        for first, last in gone.missing(row.first, row.last)
    ]
    await _replace(connection, held, {series: _marked(kept)})


async def load(connection: Reading, venue: str, symbols: Sequence[str] | None = None) -> dict[str, list[Covered]]:
    """Return the proven ranges of each symbol (None: of all that have any), lowest first; no range, no entry."""
    rows = await connection.fetch(
        "SELECT symbol, first_id, last_id, source FROM coverage"
        " WHERE venue = $1 AND ($2::text[] IS NULL OR symbol = ANY ($2)) ORDER BY symbol, first_id",
        venue,
        symbols,
    )
    found: dict[str, list[Covered]] = {}
    for symbol, first, last, source in rows:
        found.setdefault(symbol, []).append(Covered(venue, symbol, first, last, Source(source)))
    return found


async def load_absences(
    connection: Reading, venue: str, symbols: Sequence[str] | None = None
) -> dict[str, list[tuple[int, int]]]:
    """Return the ids (inclusive ranges) of each symbol that are proven not to exist, lowest first."""
    rows = await connection.fetch(
        "SELECT symbol, first_id, last_id FROM absences"
        " WHERE venue = $1 AND ($2::text[] IS NULL OR symbol = ANY ($2)) ORDER BY symbol, first_id",
        venue,
        symbols,
    )
    found: dict[str, list[tuple[int, int]]] = {}
    for symbol, first, last in rows:
        found.setdefault(symbol, []).append((first, last))
    return found


async def gaps(connection: Reading, venue: str, symbol: str) -> list[Gap]:
    """Return the ids that are missing between the lowest and the highest proven one, absences left out."""
    covered = (await load(connection, venue, [symbol])).get(symbol, [])
    known = RangeSet((each.first, each.last) for each in covered)
    if covered:
        bounds = covered[0].first, covered[-1].last
        for first, last in (await load_absences(connection, venue, [symbol])).get(symbol, []):
            if bounds[0] <= last and first <= bounds[1]:
                known.add(max(first, bounds[0]), min(last, bounds[1]))
    return known.gaps()


async def record_absence(connection: Reading, venue: str, symbol: str, first: int, last: int, proof: str) -> None:
    """Record that no source has the ids ``first`` to ``last`` (inclusive); those recorded before keep their proof.

    ``proof`` says who was asked for what, when, and what the answer was. Call it in a transaction. Raises ValueError
    when there is no proof, or one of the ids is covered: what is stored exists.
    """
    if not proof.strip():
        raise ValueError("an absence needs a proof")
    await connection.fetch(_LOCK, [venue], [symbol])
    held = await _neighbours(connection, {(venue, symbol): [(first, last)]})
    stored = RangeSet((row.first, row.last) for row in held.get((venue, symbol), [])).within(first, last)
    if stored:
        raise ValueError(f"{symbol}: ids {stored[0][0]} to {stored[0][1]} are covered, so they exist")
    known = RangeSet((await load_absences(connection, venue, [symbol])).get(symbol, []))
    new = known.missing(first, last)
    await connection.fetch(
        "INSERT INTO absences (venue, symbol, first_id, last_id, proof)"
        " SELECT $1, $2, first_id, last_id, $5 FROM unnest($3::bigint[], $4::bigint[]) AS given (first_id, last_id)"
        " ON CONFLICT DO NOTHING",
        venue,
        symbol,
        [gap.first for gap in new],
        [gap.last for gap in new],
        proof,
    )


async def cover_stored(connection: Reading, venue: str, symbol: str) -> list[tuple[int, int]]:
    """Derive what is proven from the rows of ``trades`` themselves; return their ids as inclusive ranges.

    What was not covered before is so from now on, as ``stored``. It reads every row of the symbol, which takes its
    time. Call it in a READ COMMITTED transaction.
    """
    rows = await connection.fetch(_ISLANDS, venue, symbol)
    found = [(row["first_id"], row["last_id"]) for row in rows]
    await extend(connection, [Covered(venue, symbol, first, last, Source.STORED) for first, last in found])
    return found


def _by_series(covered: Iterable[Covered]) -> dict[_Series, list[tuple[int, int, str]]]:
    """Return the given ranges by series, lowest first; what touches within one source is joined."""
    given: dict[_Series, list[tuple[int, int, str]]] = {}
    for each in covered:
        if not 0 <= each.first <= each.last:
            raise ValueError(f"{each.symbol}: {each.first} to {each.last} is no range of ids")
        given.setdefault((each.venue, each.symbol), []).append((each.first, each.last, each.source.value))
    return {series: ranges if len(ranges) == 1 else _joined(ranges) for series, ranges in given.items()}


def _joined(ranges: Iterable[tuple[int, int, str]]) -> list[tuple[int, int, str]]:
    by_source: dict[str, RangeSet] = {}
    for first, last, source in ranges:
        by_source.setdefault(source, RangeSet()).add(first, last)
    return sorted((first, last, source) for source, joined in by_source.items() for first, last in joined.ranges())


async def _neighbours(
    connection: Reading, ranges: Mapping[_Series, Sequence[tuple[int, int]]]
) -> dict[_Series, list[_Row]]:
    """Return the rows that a change of these ranges can touch, with the newest of each series, lowest first."""
    # one id to each side: what lies there may be joined
    wanted = [
        (*series, max(0, min(a for a, _ in each) - 1), min(max(b for _, b in each) + 1, 2**63 - 1))
        for series, each in ranges.items()
    ]
    held: dict[_Series, list[_Row]] = {}
    for venue, symbol, first, last, source, newest, at in await connection.fetch(_NEIGHBOURS, *_columns(wanted, 4)):
        held.setdefault((venue, symbol), []).append(_Row(first, last, source, newest, at))
    return held


def _added(held: Sequence[_Row], ranges: Iterable[tuple[int, int, str]]) -> list[_Row]:
    """Return the rows that hold ``ranges`` as well; ids that were held keep their row."""
    rows = sorted(held)
    for first, last, source in ranges:
        for gap in RangeSet((row.first, row.last) for row in rows).missing(first, last):
            rows.append(_Row(gap.first, gap.last, source, newest=False, recorded_at=None))
        rows.sort()
    joined: list[_Row] = []
    for row in rows:
        below = joined[-1] if joined else None
        if below is not None and below.last == row.first - 1 and below.source == row.source:
            begun = [at for at in (below.recorded_at, row.recorded_at) if at is not None]
            joined[-1] = below._replace(last=row.last, recorded_at=min(begun, default=None))
        else:
            joined.append(row)
    return _marked(joined)


def _marked(rows: Sequence[_Row]) -> list[_Row]:
    """Return the rows with the highest one, and no other, marked as the newest."""
    return [row._replace(newest=at == len(rows) - 1) for at, row in enumerate(rows)]


async def _replace(
    connection: Reading, before: Mapping[_Series, Sequence[_Row]], after: Mapping[_Series, Sequence[_Row]]
) -> None:
    """Write the difference between two states of some series."""
    gone, new = [], []
    for series, rows in after.items():
        held, wanted = set(before.get(series, ())), set(rows)
        gone += [(*series, row.first) for row in held - wanted]
        new += [(*series, *row) for row in rows if row not in held]
    if gone:
        await connection.fetch(_REMOVE, *_columns(gone, 3))
    if new:
        await connection.fetch(_INSERT, *_columns(new, 7))


def _columns(rows: Sequence[tuple[Any, ...]], width: int) -> list[list[Any]]:
    """Return the rows as ``width`` columns, as unnest takes them."""
    return [[row[at] for row in rows] for at in range(width)]
