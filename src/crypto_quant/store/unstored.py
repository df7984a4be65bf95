"""What waits in spools and is not in the database yet, row by row, held against what the database claims."""

import asyncio
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import asyncpg

from crypto_quant.continuity import slot_opened
from crypto_quant.evidence import Scope, Spooled
from crypto_quant.market import Timeframe, parse_utc
from crypto_quant.rows import trade_key
from crypto_quant.seams import Table
from crypto_quant.spoolformat import decode, scan
from crypto_quant.store import coverage
from crypto_quant.store.spoolfiles import segments_of, spools_of

# of a row: its series as coverage has it, and its place there; None where coverage has no place for it
_Place = tuple[tuple[str, ...], int | None]


async def unstored(
    connection: asyncpg.Connection, root: Path, target: str, scope: Scope, first_day: str, last_day: str
) -> list[Spooled]:
    """Return what lies in the spools below ``root`` for ``target`` and is not stored, by the claims of the database.

    Of the series in ``scope`` and the days given (inclusive, UTC, as 2026-09-01). Raises OSError and what the driver
    raises.
    """
    found = []
    for directory in await asyncio.to_thread(spools_of, root, target):
        rows = dict.fromkeys(Table, 0)
        for path in await asyncio.to_thread(segments_of, directory):
            with suppress(FileNotFoundError):
                for table, places in (await asyncio.to_thread(_places, path, scope, first_day, last_day)).items():
                    # asked after the file was read: what is stored meanwhile is claimed
                    claims = await coverage.claims(connection, table, sorted({series for series, _ in places}))
                    rows[table] += len([place for place in places if not _claimed(place, claims)])
        found.append(Spooled(str(directory), rows[Table.TRADES], rows[Table.CANDLES]))
    return [each for each in found if each.rows]


def _places(path: Path, scope: Scope, first_day: str, last_day: str) -> dict[Table, list[_Place]]:
    data = path.read_bytes()
    found: dict[Table, list[_Place]] = {}
    for framed in scan(data)[0]:
        found.setdefault(framed.table, []).extend(
            _places_of(framed.table, decode(data, framed).rows, scope, first_day, last_day)
        )
    return found


def _places_of(table: Table, rows: Iterable[bytes], scope: Scope, first_day: str, last_day: str) -> Iterator[_Place]:
    for row in rows:
        time, venue, symbol, more = row.decode().split("\t", 3)
        if not first_day <= time[:10] <= last_day or scope.venue not in (None, venue):
            continue
        if scope.symbols and symbol not in scope.symbols:
            continue
        if table is Table.TRADES:
            yield (venue, symbol), trade_key(row)[2]
        else:
            timeframe = more.partition("\t")[0]
            yield (venue, symbol, timeframe), slot_opened(Timeframe(timeframe), parse_utc(time))


def _claimed(place: _Place, claims: Mapping[tuple[str, ...], Sequence[tuple[int, int, str]]]) -> bool:
    series, at = place
    ranges = claims.get(series, ())
    if at is None:
        return False
    index = bisect_right(ranges, at, key=lambda claim: claim[0]) - 1
    return bool(index >= 0 and ranges[index][1] >= at)
