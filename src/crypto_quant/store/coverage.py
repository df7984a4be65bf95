"""What is proven to be stored: the ids of trades (``coverage``) and the slots of candles (``candle_coverage``).

Both tables are changed only inside the transaction that stores the rows; ``ranges`` says how, and why that is safe
with several recorders at once. Beside them stand ``absences`` and ``candle_absences``: what is proven to exist nowhere.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from crypto_quant.continuity import Gap, RangeSet
from crypto_quant.market import Timeframe
from crypto_quant.seams import Covered, Source, Table
from crypto_quant.store.moments import moment
from crypto_quant.store.queries import Reading
from crypto_quant.store.ranges import Claim, RangeTable, Series

_IDS = RangeTable("coverage", "absences", ("venue", "symbol"), "first_id", "last_id")
_SLOTS = RangeTable("candle_coverage", "candle_absences", ("venue", "symbol", "timeframe"), "first_slot", "last_slot")

# what was dropped on purpose, as ranges of the same kind
_DROPPED_IDS = RangeTable("dropped", "absences", ("venue", "symbol"), "first_id", "last_id")
_DROPPED_SLOTS = RangeTable(
    "candle_dropped", "candle_absences", ("venue", "symbol", "timeframe"), "first_slot", "last_slot"
)


# Gaps and islands: an id less its rank is the same along a run of ids.
_ISLANDS = """
SELECT min(trade_id) AS first_id, max(trade_id) AS last_id
FROM (SELECT trade_id, trade_id - dense_rank() OVER (ORDER BY trade_id) AS island
      FROM trades WHERE venue = $1 AND symbol = $2 AND trade_id >= 0) AS numbered
GROUP BY island ORDER BY 1"""

# The same of candles, by slot: `market.Timeframe.slot` in SQL. A candle off its raster lies in the slot in which it
# opens. Seconds are whole before anything is divided, so that floating point has no part in it.
_CANDLE_ISLANDS = """
SELECT symbol, timeframe, min(slot), max(slot)
FROM (SELECT symbol, timeframe, slot,
             slot - dense_rank() OVER (PARTITION BY symbol, timeframe ORDER BY slot) AS island
      FROM unnest($2::text[], $3::text[], $4::timestamptz[], $5::timestamptz[], $6::bigint[], $7::bigint[])
          AS given (symbol, timeframe, since, until, length_s, base_s)
      CROSS JOIN LATERAL (
          SELECT CASE WHEN given.length_s IS NULL
                      THEN (date_part('year', "time") * 12 + date_part('month', "time"))::bigint - 1 - 1970 * 12
                      ELSE (floor(date_part('epoch', "time"))::bigint - given.base_s) / given.length_s END AS slot
          FROM candles c
          WHERE c.venue = $1 AND c.symbol = given.symbol AND c.timeframe = given.timeframe
            AND c."time" >= given.since AND c."time" < given.until AND c."time" >= $8) AS opened
     ) AS numbered
WHERE slot >= 0 GROUP BY symbol, timeframe, island ORDER BY 1, 2, 3"""


async def extend(connection: Reading, covered: Iterable[Covered]) -> list[Covered]:
    """Add ranges to what is proven; return those parts of them that were proven before.

    Call it in a READ COMMITTED transaction, after its rows were stored and as its last work: the series' newest
    ranges stay locked until it ends. What was covered keeps the source that covered it first. One statement when each
    series' range continues its newest one, at most six otherwise, whatever the number of series. What is recorded as
    absent and is added now is absent no more. Raises ValueError for a range that is none, before anything of its table
    is done.
    """
    ids: dict[Series, list[Claim]] = {}
    slots: dict[Series, list[Claim]] = {}
    for each in covered:
        claim = (each.first, each.last, each.source.value)
        if each.timeframe is None:
            ids.setdefault((each.venue, each.symbol), []).append(claim)
        else:
            slots.setdefault((each.venue, each.symbol, each.timeframe), []).append(claim)
    known = []
    if ids:
        known += _covered(await _IDS.extend(connection, ids))
    if slots:
        known += _covered(await _SLOTS.extend(connection, slots))
    return known


async def drop(connection: Reading, series: Series, ranges: Sequence[tuple[int, int]], source: str) -> None:
    """Take ids (of candles: slots), inclusive ranges, out of what is proven, and note that this was on purpose.

    A series is (venue, symbol) or (venue, symbol, timeframe), ``source`` is ``policy`` or ``hand``. Call it in a READ
    COMMITTED transaction, before the rows go.
    """
    proven, dropped = (_IDS, _DROPPED_IDS) if len(series) == 2 else (_SLOTS, _DROPPED_SLOTS)
    await proven.retract(connection, series, ranges)
    await dropped.extend(connection, {series: [(first, last, source) for first, last in ranges]})


async def claims(connection: Reading, table: Table, wanted: Sequence[Series]) -> dict[Series, list[Claim]]:
    """Return what is proven of each series of a table, lowest first; no range, no entry."""
    return await (_IDS if table is Table.TRADES else _SLOTS).load(connection, wanted)


async def load_dropped(connection: Reading, table: Table, wanted: Sequence[Series]) -> dict[Series, list[Claim]]:
    """Return what was dropped of each series of a table on purpose, whether fetched again or not, lowest first."""
    return await (_DROPPED_IDS if table is Table.TRADES else _DROPPED_SLOTS).load(connection, wanted)


# -- the ids of trades --------------------------------------------------------------------------------------


async def retract(
    connection: Reading,
    venue: str,
    symbol: str,
    ranges: Sequence[tuple[int, int]],
    timeframe: str | None = None,
) -> None:
    """Take ids out of what is proven, whatever their source: their rows were found to be gone.

    Ranges are inclusive; with a timeframe they are slots of its candles. Call it in a READ COMMITTED transaction.
    """
    if timeframe is None:
        await _IDS.retract(connection, (venue, symbol), ranges)
    else:
        await _SLOTS.retract(connection, (venue, symbol, timeframe), ranges)


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
    """Return the ids that are missing between the lowest and the highest proven one.

    Those that exist nowhere, or were dropped on purpose, are not missing.
    """
    covered = (await load(connection, venue, [symbol])).get(symbol, [])
    known = RangeSet((each.first, each.last) for each in covered)
    if covered:
        bounds = covered[0].first, covered[-1].last
        excused = (await load_absences(connection, venue, [symbol])).get(symbol, [])
        dropped = (await load_dropped(connection, Table.TRADES, [(venue, symbol)])).get((venue, symbol), [])
        for first, last in [*excused, *((low, high) for low, high, _ in dropped)]:
            if bounds[0] <= last and first <= bounds[1]:
                known.add(max(first, bounds[0]), min(last, bounds[1]))
    return known.gaps()


async def record_absence(connection: Reading, venue: str, symbol: str, first: int, last: int, proof: str) -> None:
    """Record that no source has the ids ``first`` to ``last`` (inclusive); those recorded before keep their proof.

    ``proof`` says who was asked for what, when, and what the answer was. Call it in a transaction. Raises ValueError
    when there is no proof, or one of the ids is covered: what is stored exists.
    """
    stored = await _IDS.record_absence(connection, (venue, symbol), first, last, proof)
    if stored:
        raise ValueError(f"{symbol}: ids {stored[0][0]} to {stored[0][1]} are covered, so they exist")


async def cover_stored(connection: Reading, venue: str, symbol: str) -> list[tuple[int, int]]:
    """Derive what is proven from the rows of ``trades`` themselves; return their ids as inclusive ranges.

    What was not covered before is so from now on, as ``stored``. It reads every row of the symbol, which takes its
    time. Call it in a READ COMMITTED transaction.
    """
    rows = await connection.fetch(_ISLANDS, venue, symbol)
    found = [(row["first_id"], row["last_id"]) for row in rows]
    await extend(connection, [Covered(venue, symbol, first, last, Source.STORED) for first, last in found])
    return found


# -- the slots of candles -----------------------------------------------------------------------------------


async def load_slots(connection: Reading, wanted: Sequence[tuple[str, str, str]]) -> dict[Series, list[Covered]]:
    """Return the proven ranges of each (venue, symbol, timeframe), lowest first; no range, no entry."""
    found = await _SLOTS.load(connection, wanted)
    return {series: _covered({series: claims}) for series, claims in found.items()}


async def load_absent_slots(
    connection: Reading, wanted: Sequence[tuple[str, str, str]]
) -> dict[Series, list[tuple[int, int]]]:
    """Return the slots (inclusive ranges) of each (venue, symbol, timeframe) that are proven to exist nowhere."""
    return await _SLOTS.load_absences(connection, wanted)


async def record_absent_slots(
    connection: Reading, series: tuple[str, str, str], first: int, last: int, proof: str
) -> None:
    """Record that no source has the candles ``first`` to ``last`` (slots, inclusive).

    As ``record_absence``, with the same errors.
    """
    stored = await _SLOTS.record_absence(connection, series, first, last, proof)
    if stored:
        raise ValueError(f"{' '.join(series[1:])}: slots {stored[0][0]} to {stored[0][1]} are covered, so they exist")


async def cover_stored_candles(
    connection: Reading, venue: str, spans: Mapping[tuple[str, Timeframe], tuple[int, int]]
) -> list[Covered]:
    """Derive what is proven from the rows of ``candles``, of each (symbol, timeframe) within its span; return it.

    A span is two times in ns, the first inclusive, the second exclusive. What was not covered before is so from now
    on, as ``stored``. One statement reads no more than the index of these spans. Call it in a READ COMMITTED
    transaction.
    """
    moments = {series: (moment(first_ns), moment(end_ns)) for series, (first_ns, end_ns) in spans.items()}
    rows = await _candle_islands(connection, venue, moments)
    found = [Covered(venue, symbol, first, last, Source.STORED, frame) for symbol, frame, first, last in rows]
    await extend(connection, found)
    return found


async def candle_ranges(
    connection: Reading, wanted: Sequence[Series], start: datetime, end: datetime
) -> dict[Series, list[tuple[int, int]]]:
    """Return the slots of the stored candles of these series that open from ``start`` to before ``end``."""
    found: dict[Series, list[tuple[int, int]]] = {}
    for venue in {series[0] for series in wanted}:
        spans = {(symbol, Timeframe(frame)): (start, end) for there, symbol, frame in wanted if there == venue}
        for symbol, frame, first, last in await _candle_islands(connection, venue, spans):
            found.setdefault((venue, symbol, frame), []).append((first, last))
    return found


async def _candle_islands(
    connection: Reading, venue: str, spans: Mapping[tuple[str, Timeframe], tuple[datetime, datetime]]
) -> list[tuple[str, str, int, int]]:
    """Return the runs of stored candles within the spans: symbol, timeframe, first and last slot (inclusive)."""
    if not spans:
        return []
    series = list(spans)
    since = [spans[each][0] for each in series]
    rows = await connection.fetch(
        _CANDLE_ISLANDS,
        venue,
        [symbol for symbol, _ in series],
        [timeframe.value for _, timeframe in series],
        since,
        [spans[each][1] for each in series],
        [timeframe.length_s for _, timeframe in series],
        [timeframe.slot_base_s for _, timeframe in series],
        min(since),
    )
    return [tuple(row) for row in rows]


def _covered(found: Mapping[Series, Iterable[Claim]]) -> list[Covered]:
    return [
        Covered(series[0], series[1], first, last, Source(source), *series[2:])
        for series, claims in found.items()
        for first, last, source in claims
    ]
