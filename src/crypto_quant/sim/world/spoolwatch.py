"""What the recorders' spools have called safe, held against what is really on the disk.

Segments are read here with a reader of its own, from the description in ``docs/spool.md``: one that shared the
recorder's could not find its mistakes.
"""

import struct
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from crypto_quant import events
from crypto_quant.continuity import Gap
from crypto_quant.flow.lane import Lane
from crypto_quant.flow.spool import Spool
from crypto_quant.flow.writer import TimescaleWriter
from crypto_quant.seams import Emit, Table
from crypto_quant.sim.world.broken import Broken
from crypto_quant.sim.world.database import Database, microseconds, parse
from crypto_quant.sim.world.disk import Disk, WorldFiles
from crypto_quant.sim.world.volume import Inode
from crypto_quant.spoolformat import SpoolRecord

Key = tuple[str, ...]
"""What a row is: table, symbol, and id (trades), or timeframe and open time (candles)."""

_HEAD = b"CQSPOOL1"
_FRAME = struct.Struct("<IIIB")
_TABLES = {1: Table.TRADES, 2: Table.CANDLES}


class SpoolUse(msgspec.Struct):
    """What became of the spool in a world, in numbers: worlds in which it is idle prove nothing of it."""

    records: int = 0
    replays: int = 0
    taken_over: int = 0
    taken_over_after_power_cut: int = 0
    full: int = 0
    disk_full: int = 0
    disk_failed: int = 0
    torn: int = 0
    rotten: int = 0


class SpoolWatch:
    """Follows the spool of a world through every life of its recorder."""

    def __init__(self, disk: Disk, database: Database) -> None:
        self.use = SpoolUse()
        # what was found in the midst of a recorder's own work; told to the world and not to the recorder
        self.broken: Broken | None = None
        self._disk = disk
        self._database = database
        self._safe: set[Key] = set()
        # rows that the disk itself has destroyed
        self._rotten: set[Key] = set()
        self._read: dict[int, tuple[Inode, int, int, frozenset[Key]]] = {}
        self._power_was_cut = False
        # a disk that fails or rots may leave what looks like loss
        self._excused = False

    # -- what happens ------------------------------------------------------------------------------------

    def spool(self, limit_bytes: int, segment_bytes: int, emit: Emit) -> Spool:
        """Return the spool of a recorder that starts."""
        return _Watched(self, WorldFiles(self._disk), limit_bytes=limit_bytes, segment_bytes=segment_bytes, emit=emit)

    def is_safe(self, record: SpoolRecord) -> None:
        """The spool says that this record outlives everything from now on."""
        self.use.records += 1
        keys = set(_keys(record.table, record.rows))
        self._safe |= keys
        if self._rots_unread():
            # what is written behind a rotten place shares its fate
            self._rotten |= keys - self.on_disk()

    def strike(self, kind: str, for_s: float) -> None:
        """Let something happen to the disk."""
        before = self.on_disk() if kind == "disk rots" else frozenset[Key]()
        self._disk.strike(kind, for_s)
        self._excused |= kind in ("disk fails", "disk rots")
        if kind == "power cut":
            self._power_was_cut = True
            self._look()
        elif kind == "disk rots":
            rotten = before - self.on_disk()
            self.use.rotten += bool(rotten)
            self._rotten |= rotten

    def on_event(self, event: object) -> None:
        """Count what a recorder tells of its spool."""
        use = self.use
        if isinstance(event, events.SpoolReplayed):
            use.replays += 1
        elif isinstance(event, events.SpoolDamaged):
            use.torn += event.torn
            if not event.torn and event.reason.startswith("the file") and not self._excused:
                self._found(f"a loss is told, and nothing that was safe is lost: {event}")
        elif isinstance(event, events.SpoolRefused):
            use.full += "the spool is full" in event.cause
            use.disk_full += "No space left" in event.cause
            use.disk_failed += "Input/output error" in event.cause

    # -- what must hold ----------------------------------------------------------------------------------

    def opened(self, spool: Spool) -> None:
        """A recorder that starts finds everything that earlier ones have left."""
        found = self.on_disk()
        for table in Table:
            left = sum(key[0] == table.value for key in found)
            if spool.rows[table] < left:
                self._found(f"{left} rows of {table} lie in the spool, a new recorder sees {spool.rows[table]}")
        for name, inode in self._disk.spool.names.items():
            # once others are written behind it, nobody can tell it from loss
            if name.endswith(".spool") and not self._excused and _is_torn(bytes(inode.content)):
                self._found(f"a torn tail stays in {name}")
        self._look()
        self.use.taken_over += bool(found)
        self.use.taken_over_after_power_cut += bool(found) and self._power_was_cut
        self._power_was_cut = False

    def check(self) -> None:
        """What the spool has called safe is on the disk until the database has it. Raises Broken."""
        self._look()
        if self.broken is not None:
            raise self.broken

    def _look(self) -> None:
        self._safe = {key for key in self._safe - self._rotten if not self.settled(key)}
        gone = self._safe - self.on_disk()
        if gone:
            self._found(f"{len(gone)} rows were called safe and are neither stored nor in the spool: {min(gone)}")

    def bounded(self, limit_bytes: int) -> None:
        """The spool keeps its bound on the disk."""
        used = sum(len(inode.content) for name, inode in self._disk.spool.names.items() if name.endswith(".spool"))
        if used > limit_bytes:
            raise Broken(f"the spool has {used} bytes on the disk, the limit is {limit_bytes}")

    @property
    def harmed(self) -> bool:
        """Whether anything in the spool has rotted."""
        return bool(self._rotten)

    def settled(self, key: Key) -> bool:
        """Tell whether the database has that row, or refuses it for ever."""
        database = self._database
        if key[0] == Table.TRADES.value:
            symbol, number = key[1], int(key[2])
            return number in database.ids.get(symbol, ()) or number in database.refused.get(symbol, ())
        return ("candles", "spot", *key[1:]) in database.keys

    def gap(self, symbol: str, gap: Gap) -> None:
        """Nothing may be called missing that waits in the spool."""
        known = {int(key[2]) for key in self.on_disk() - self._rotten if key[:2] == (Table.TRADES.value, symbol)}
        false = [number for number in known if gap.first <= number <= gap.last]
        if false:
            self._found(f"{symbol}: {len(false)} ids are called missing and lie in the spool, first {min(false)}")

    def _found(self, what: str) -> None:
        self.broken = self.broken or Broken(what)

    def held(self, writer: TimescaleWriter | None) -> dict[str, set[int]]:
        """Return the trade ids of each symbol that wait in a writer or on the disk, or have rotted there unread."""
        waiting = set(self.on_disk())
        if self._rots_unread():
            waiting |= self._rotten
        if writer is not None:
            lane = writer._trades  # what waits in memory is nobody's business but a world's
            waiting |= set(_keys(lane.table, _rows(lane)))
        return _ids(waiting)

    def lost(self) -> dict[str, set[int]]:
        """Return the trade ids of each symbol that the disk has destroyed: from when they are read they are a gap."""
        return _ids(self._rotten)

    def _rots_unread(self) -> bool:
        names = self._disk.spool.names
        return any(inode in self._disk.rotten for name, inode in names.items() if name.endswith(".spool"))

    def destroyed(self, symbol: str, timeframe: str) -> set[int]:
        """Return the open times (µs) of candles that the disk has destroyed in the spool: no recorder fetches them."""
        series = Table.CANDLES.value, symbol, timeframe
        return {microseconds(key[3]) for key in self._rotten if key[:3] == series}

    # -- reading the disk --------------------------------------------------------------------------------

    def on_disk(self) -> frozenset[Key]:
        """Return the rows that can be read in the files of the spool."""
        found: set[Key] = set()
        for name, inode in self._disk.spool.names.items():
            if name.endswith(".spool"):
                found |= self._read_once(inode)
        return frozenset(found)

    def _read_once(self, inode: Inode) -> frozenset[Key]:
        known = self._read.get(id(inode))
        content = bytes(inode.content)
        mark = zlib.crc32(content)
        if known is None or known[:3] != (inode, len(content), mark):
            known = inode, len(content), mark, frozenset(_readable(content))
            self._read[id(inode)] = known
        return known[3]


class _Watched(Spool):
    """The recorder's spool; what it calls safe is noted."""

    def __init__(self, watch: SpoolWatch, files: WorldFiles, **options: Any) -> None:  # noqa: ANN401  # as Spool's own
        super().__init__(files, **options)
        self._watch = watch

    async def put(self, record: SpoolRecord, then: Callable[[], None] = lambda: None) -> None:
        """Add a record, and note when it is called safe."""

        def safe() -> None:
            self._watch.is_safe(record)
            then()

        await super().put(record, safe)


def _ids(keys: Iterable[Key]) -> dict[str, set[int]]:
    found: dict[str, set[int]] = {}
    for key in keys:
        if key[0] == Table.TRADES.value:
            found.setdefault(key[1], set()).add(int(key[2]))
    return found


def _rows(lane: Lane) -> Iterator[bytes]:
    for chunk in (*lane.in_flight, *lane.batcher._chunks):
        for part in chunk.parts:
            yield from part.splitlines(keepends=True)


def _keys(table: Table, rows: Iterable[bytes]) -> Iterator[Key]:
    for line in rows:
        if line:  # else an id that is rightly without a row
            row = parse(table, line)
            if table is Table.TRADES:
                yield table.value, row["symbol"], row["trade_id"]
            else:
                yield table.value, row["symbol"], row["timeframe"], row["time"]


def _readable(content: bytes) -> Iterator[Key]:
    """Yield the rows of a segment's valid records."""
    for code, body in _bodies(content):
        if body is not None:
            yield from _keys(_TABLES[code], msgspec.msgpack.decode(body)[1])


def _is_torn(content: bytes) -> bool:
    """Tell whether a segment ends in the midst of a record."""
    return any(body is None for _, body in _bodies(content))


def _bodies(content: bytes) -> Iterator[tuple[int, bytes | None]]:
    """Yield table and body of each valid record, and None for one that the end of the file cuts off."""
    if not content.startswith(_HEAD):
        return
    at, link = len(_HEAD), zlib.crc32(_HEAD)
    while at < len(content):
        if at + _FRAME.size > len(content):
            yield 0, None
            return
        length, checksum, rows, code = _FRAME.unpack_from(content, at)
        body = content[at + _FRAME.size : at + _FRAME.size + length]
        link = zlib.crc32(body, zlib.crc32(struct.pack("<IIB", length, rows, code), link))
        if code not in _TABLES:
            return
        if len(body) < length:
            yield code, None
            return
        if link != checksum:
            return
        yield code, body
        at += _FRAME.size + length


def sums(uses: Iterable[SpoolUse]) -> Counter[str]:
    """Return what many worlds have made of their spools, in all."""
    total: Counter[str] = Counter()
    for use in uses:
        total.update(msgspec.structs.asdict(use))
    return total
