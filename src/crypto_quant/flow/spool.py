"""The spool: a bounded, crash-safe queue on disk for rows that the database cannot take now.

Records go into numbered segments, one file each. A record counts as safe, and ``put`` returns, once file and
directory are synced. Segments are read whole and in order, and deleted only when everything in them is committed; a
crash in between repeats a segment, which changes nothing in the store. What an earlier run has left is read first.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping
from pathlib import PurePath
from typing import Any, TypeVar

import msgspec

from crypto_quant import events
from crypto_quant.continuity import Gap, RangeSet
from crypto_quant.errors import SpoolUnavailable
from crypto_quant.seams import Covered, Emit, SpoolFiles, Table
from crypto_quant.spoolformat import (
    DAMAGED_SUFFIX,
    FIRST_LINK,
    HEAD,
    SUFFIX,
    Damage,
    SpoolRecord,
    decode,
    encode,
    proven,
    scan,
)

SEGMENT_BYTES = 8 * 1024 * 1024
# a small spool still has several segments, so that room is given back before all of it is stored
_SEGMENTS_MIN = 4

_Result = TypeVar("_Result")


Ids = dict[tuple[str, str], RangeSet]
"""Trade ids of each (venue, symbol)."""


class Segment(msgspec.Struct):
    """One file: ``size`` bytes of it are valid, with so many records and rows of each table.

    ``ids`` are those that its records prove. ``lost_bytes`` lie behind what is valid, kept for a person to look into.
    """

    name: str
    size: int
    records: int
    rows: dict[Table, int]
    damage: Damage | None = None
    ids: Ids = msgspec.field(default_factory=dict)
    lost_bytes: int = 0


class Spool:
    """A queue of records in ``files``, at most ``limit_bytes`` on disk; made ready by ``open``.

    One task may put while another reads. Cancelling any call is safe: what has begun is finished first.
    """

    def __init__(self, files: SpoolFiles, *, limit_bytes: int, segment_bytes: int = SEGMENT_BYTES, emit: Emit) -> None:
        self.directory = files.directory
        self.limit_bytes = limit_bytes
        self._files = files
        self._segment_bytes = min(segment_bytes, max(1, limit_bytes // _SEGMENTS_MIN))
        self._emit = emit
        # rows that were put and could not be read again, and the ids that are missing with them: their files are
        # kept as damaged
        self.unreadable = dict.fromkeys(Table, 0)
        self.missing: list[tuple[str, str, Gap]] = []
        self._segments: list[Segment] = []
        self._growing: Segment | None = None  # the last of them, while records are added to it
        self._link = FIRST_LINK
        self._number = 0
        # bytes that the disk did not delete, by file: they count until it does
        self._debris: dict[str, int] = {}
        self._busy = asyncio.Lock()
        self._changed = asyncio.Event()

    # -- what is in it -----------------------------------------------------------------------------------

    @property
    def size_bytes(self) -> int:
        """Bytes on disk."""
        return sum(segment.size + segment.lost_bytes for segment in self._segments) + sum(self._debris.values())

    @property
    def records(self) -> int:
        """Records not known to be stored."""
        return sum(segment.records for segment in self._segments)

    @property
    def rows(self) -> Mapping[Table, int]:
        """Rows of each table that are not known to be stored."""
        return {table: sum(segment.rows.get(table, 0) for segment in self._segments) for table in Table}

    def __len__(self) -> int:
        """Rows of all tables."""
        return sum(self.rows.values())

    def ids(self, venue: str, symbol: str) -> list[tuple[int, int]]:
        """Return the trade ids that will be proven once everything in here is stored, as inclusive ranges."""
        held = RangeSet()
        for segment in self._segments:
            for first, last in segment.ids.get((venue, symbol), RangeSet()).ranges():
                held.add(first, last)
        return held.ranges()

    async def filled(self) -> None:
        """Return once there is something in the spool."""
        while not self._segments:
            self._changed.clear()
            await self._changed.wait()

    async def emptied(self) -> None:
        """Return once there is nothing in the spool."""
        while self._segments:
            self._changed.clear()
            await self._changed.wait()

    # -- working -----------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Look through what an earlier run has left; tell what is found and what is damaged. Raises OSError."""
        names = list(await self._files.sizes())
        for name in names:
            self._number = max(self._number, int(PurePath(name).stem))
            data = await self._files.read(name)
            framed, damage = scan(data)
            if damage is not None and damage.torn and damage.offset and name != names[-1]:
                # others were written after it, so it was whole once
                damage = Damage(damage.offset, damage.reason, torn=False)
            rows: dict[Table, int] = {}
            for each in framed:
                rows[each.table] = rows.get(each.table, 0) + each.rows
            end = framed[-1].end if framed else len(HEAD)
            segment = Segment(name, end, len(framed), rows)
            for each in framed:
                _add(segment.ids, proven(data, each))
            if damage is not None:
                await self._tell_damage(segment, damage, len(data) - damage.offset)
            if framed:
                self._segments.append(segment)
                # whoever was killed may have written it and not synced it; from now on it counts as had
                await self._files.sync(name)
                if damage is not None and damage.torn:
                    # once others are written behind this file, a torn tail would look like loss
                    await self._forget_tail(segment, len(data) - end)
                elif damage is not None:
                    segment.damage, segment.lost_bytes = damage, len(data) - end
            elif damage is None or damage.torn:
                await self._files.remove(name)
            elif damage.offset:
                await self._files.rename(name, name + DAMAGED_SUFFIX)
        # what was deleted before must not come back behind the files that are written now
        await self._files.sync_names()
        if self._segments:
            self._emit(
                events.SpoolFound(directory=self.directory, rows=len(self), records=self.records, bytes=self.size_bytes)
            )

    async def put(self, record: SpoolRecord, then: Callable[[], None] = lambda: None) -> None:
        """Add a record; it is on the disk when this returns. Raises SpoolUnavailable, and then it is not in here.

        ``then`` is called once it is safe, also when the caller has been cancelled meanwhile.
        """
        async with self._busy:
            await _to_its_end(self._put(record, then))

    async def oldest(self) -> tuple[Segment, list[SpoolRecord]] | None:
        """Return the oldest segment and its records, None when there is none. Give it back to ``done`` afterwards.

        Raises SpoolUnavailable. What cannot be read any more of what was put is told, kept as a file, counted in
        ``unreadable``, and its ids are added to ``missing``.
        """
        async with self._busy:
            if not self._segments:
                return None
            segment = self._segments[0]
            if segment is self._growing:
                self._growing = None
            try:
                data = (await self._files.read(segment.name))[: segment.size]
            except OSError as problem:
                raise self._unavailable("reading", problem) from problem
        framed, damage = scan(data)
        if len(framed) < segment.records and segment.damage is None:
            offset, reason = (
                (damage.offset, damage.reason) if damage else (len(data), "the file is shorter than it was")
            )
            # whatever it looks like, it was whole once: no torn tail, but loss
            segment.damage = Damage(offset, reason, torn=False)
            await self._tell_damage(segment, segment.damage, segment.size - segment.damage.offset)
        records = [decode(data, each) for each in framed]
        if len(framed) < segment.records:
            self._miss(segment, records)
        return segment, records

    def stored(self, segment: Segment, table: Table, rows: int) -> None:
        """Count ``rows`` of a segment as stored or set aside; the file stays until ``done``."""
        segment.rows[table] -= rows

    async def done(self, segment: Segment) -> None:
        """Forget a segment whose rows are all stored.

        A disk that does not delete the file is told and asked again later, and holds nothing up: should the next start
        find the rows, it stores them again, which changes nothing.
        """
        async with self._busy:
            await _to_its_end(self._done(segment))

    async def close(self) -> None:
        """Let the next recorder have it."""
        await self._files.close()

    async def _put(self, record: SpoolRecord, then: Callable[[], None]) -> None:
        segment = self._growing
        if segment is None:
            data, link = encode(record, FIRST_LINK)
            data = HEAD + data
        else:
            data, link = encode(record, self._link)
        if self._debris:
            await self._sweep()
        if self.size_bytes + len(data) > self.limit_bytes:
            raise SpoolUnavailable(
                f"the spool is full: {self.size_bytes} of {self.limit_bytes} bytes are used",
                subject=self.directory,
                hint="Bring the database back, or raise spool_limit",
            )
        if segment is None:
            self._number += 1
            segment = Segment(f"{self._number:08}{SUFFIX}", 0, 0, {})
        try:
            await self._files.write(segment.name, segment.size, data)
            await self._files.sync(segment.name)
            if segment.size == 0:
                await self._files.sync_names()
        except OSError as problem:
            # after a failed sync nobody knows what the disk holds: never write behind it again
            self._growing = None
            await self._forget_tail(segment, len(data))
            raise self._unavailable("writing", problem) from problem
        if segment.size == 0:
            self._segments.append(segment)
        self._growing, self._link = segment, link
        segment.size += len(data)
        segment.records += 1
        segment.rows[record.table] = segment.rows.get(record.table, 0) + len(record.rows)
        _add(segment.ids, record.covered)
        if segment.size >= self._segment_bytes:
            self._growing = None
        then()
        self._changed.set()

    def _miss(self, segment: Segment, readable: list[SpoolRecord]) -> None:
        """Count what was put into the segment and cannot be read any more."""
        for table in segment.rows:
            rows = sum(len(each.rows) for each in readable if each.table is table)
            self.unreadable[table] += segment.rows[table] - rows
            segment.rows[table] = rows
        ids: Ids = {}
        for each in readable:
            _add(ids, each.covered)
        put, segment.ids = segment.ids, ids
        for (venue, symbol), held in put.items():
            # the exchange may have told a trade again, and that may lie in another record
            left = RangeSet(self.ids(venue, symbol))
            self.missing += [(venue, symbol, gap) for each in held.ranges() for gap in left.missing(*each)]

    async def _forget_tail(self, segment: Segment, tail_bytes: int) -> None:
        """Take back what a failed write may have left. A disk that refuses this too leaves rows twice at worst."""
        self._debris[segment.name] = tail_bytes
        await self._sweep()
        if not segment.size and segment.name not in self._debris:
            self._number -= 1  # what a crash brings back of it stands at the end then, where a torn tail may be

    async def _sweep(self) -> None:
        """Try to delete again what the disk did not delete before."""
        sizes = {segment.name: segment.size for segment in self._segments}
        for name in list(self._debris):
            try:
                if name in sizes:
                    await self._files.truncate(name, sizes[name])
                    await self._files.sync(name)
                else:
                    await self._files.remove(name)
            except FileNotFoundError:
                del self._debris[name]
            except OSError:
                continue
            else:
                del self._debris[name]

    async def _done(self, segment: Segment) -> None:
        try:
            if segment.damage is not None:
                await self._files.rename(segment.name, segment.name + DAMAGED_SUFFIX)
            else:
                await self._files.remove(segment.name)
            # not synced: should the name come back after a crash, its rows are stored again, which changes nothing
        except OSError as problem:
            if segment.damage is None:
                self._debris[segment.name] = segment.size + self._debris.get(segment.name, 0)
            cause = str(self._unavailable("deleting from", problem))
            self._emit(events.SpoolRefused(directory=self.directory, cause=cause, in_memory=0))
        else:
            self._debris.pop(segment.name, None)
        if self._growing is segment:
            self._growing = None
        self._segments.remove(segment)
        self._changed.set()

    async def _tell_damage(self, segment: Segment, damage: Damage, lost_bytes: int) -> None:
        path = PurePath(self.directory) / segment.name
        # one that is not ours is left under its name
        kept = "" if damage.torn else str(path) + (DAMAGED_SUFFIX if damage.offset else "")
        self._emit(
            events.SpoolDamaged(
                file=str(path),
                cut_at=damage.offset,
                lost_bytes=lost_bytes,
                reason=damage.reason,
                torn=damage.torn,
                kept=kept,
            )
        )

    def _unavailable(self, operation: str, problem: OSError) -> SpoolUnavailable:
        return SpoolUnavailable(
            f"{operation} the spool failed: {problem.strerror or problem}",
            subject=self.directory,
            hint="Mend or empty that disk, or set spool_dir to another",
        )


def _add(ids: Ids, covered: Iterable[Covered]) -> None:
    for each in covered:
        ids.setdefault((each.venue, each.symbol), RangeSet()).add(each.first, each.last)


async def _to_its_end(work: Coroutine[Any, Any, _Result]) -> _Result:
    """Finish ``work`` even when cancelled meanwhile, so that files and counts agree; then pass the cancellation on."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as again:
            cancelled = again
    if cancelled is not None:
        if not task.cancelled():
            task.exception()
        raise cancelled
    return task.result()
