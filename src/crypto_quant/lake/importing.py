"""The way back: a lake's rows into a database, each once, with what was proven of them.

First every file is held against its manifest, then rows are stored; a file that is not what it was is told by name, and
nothing of it is stored.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from crypto_quant.continuity import RangeSet
from crypto_quant.errors import ConfigError
from crypto_quant.lake.disk import checksum
from crypto_quant.lake.rowtext import lines, table_of
from crypto_quant.manifest import LakeDamaged, Manifest, Part, Series, below, beside, read
from crypto_quant.market import NS_PER_S, Timeframe
from crypto_quant.reading.batches import runs_of, slots_of
from crypto_quant.reading.decode import CANDLES, TRADES
from crypto_quant.seams import Batch, Covered, KnownSlots, Ledger, Sink, Source

# rows in one transaction
BATCH_ROWS = 50_000
# no candle opens so late: nothing is proven by asking
_NEVER_NS = 253_402_300_000 * NS_PER_S

Progress = Callable[[int, int, str], None]


class Found(msgspec.Struct, frozen=True):
    """One file of a lake that is as its manifest says, or (``damage`` not empty) is not."""

    series: Series
    part: Part
    path: Path
    damage: str = ""


class Lake(msgspec.Struct, frozen=True):
    """What lies in a directory: manifests, and every file that they name."""

    manifests: Sequence[tuple[Path, Manifest]]
    files: Sequence[Found]
    strange: Sequence[str] = ()
    """Damage that is no file's: a manifest that cannot be read, a Parquet file that none names."""

    @property
    def damage(self) -> list[str]:
        """Everything that is not as it should be, by name."""
        return [*self.strange, *(f"{each.path}: {each.damage}" for each in self.files if each.damage)]


class Outcome(msgspec.Struct, kw_only=True):
    """What an import has done for one series: rows that are ``new``, that were ``known``, and such as ``conflict``.

    A conflict is a trade that is stored with another content; the stored one stays.
    """

    series: Series
    files: int = 0
    rows: int = 0
    new: int = 0
    known: int = 0
    conflicts: int = 0


def look(directory: Path, progress: Progress) -> Lake:
    """Read every manifest below a directory and hold every file against it; ``progress`` counts bytes.

    Raises ConfigError when there is none.
    """
    paths = list(below(directory)) if directory.is_dir() else []
    if not paths:
        raise ConfigError(
            "there is no lake", subject=str(directory), hint="Give the --out of crypto-quant export --format parquet"
        )
    manifests, strange = [], []
    for path in paths:
        try:
            manifest = read(path)
        except LakeDamaged as problem:
            strange.append(str(problem))
            continue
        if manifest.format != "parquet":
            raise ConfigError(
                "only parquet can be imported", subject=f"{path}: {manifest.format}", hint="Its prices are exact"
            )
        manifests.append((path, manifest))
    due = [
        (beside(path), manifest.series, part) for path, manifest in manifests for part in manifest.parts if part.file
    ]
    files = []
    hashed, total = 0, sum(part.bytes for _, _, part in due)
    for folder, series, part in due:
        assert part.file is not None  # noqa: S101 - those alone are due
        path = folder / part.file
        progress(hashed, total, f"checking {path.name} of {series} {part.day}")
        files.append(Found(series, part, path, _damage(path, part)))
        hashed += part.bytes
    named = {each.path.absolute() for each in files}
    strange += [
        f"{path}: no manifest names it"
        for path in sorted(directory.rglob("*.parquet"))
        if path.absolute() not in named and not path.name.startswith(".")
    ]
    return Lake(manifests, files, strange)


def _damage(path: Path, part: Part) -> str:
    """Return what is wrong with a file; empty: nothing."""
    try:
        size, sha256 = checksum(path)
    except FileNotFoundError:
        return "it is missing"
    except OSError as problem:
        return f"it cannot be read: {problem.strerror or problem}"
    if size < part.bytes:
        return f"it was cut: {size:,} bytes of {part.bytes:,}"
    if (size, sha256) != (part.bytes, part.sha256):
        return "it was altered: its checksum is not that of the manifest"
    return ""


class Importer:
    """Stores the files of a lake; what is stored already stays as it is. ``progress`` counts rows."""

    def __init__(self, sink: Sink, ledger: Ledger, progress: Progress) -> None:
        self._sink = sink
        self._ledger = ledger
        self._progress = progress
        self._rows = self._total = 0

    async def run(self, lake: Lake) -> list[Outcome]:
        """Store the rows of every sound file and then what is proven to be nowhere; return what became of them.

        Cancelling is safe: what is stored is proven, and the next import goes on. Raises LakeDamaged for a file that
        changes meanwhile, and the store's errors.
        """
        outcomes = {manifest.series: Outcome(series=manifest.series) for _, manifest in lake.manifests}
        sound = [each for each in lake.files if not each.damage]
        self._rows, self._total = 0, sum(each.part.rows for each in sound)
        for each in sound:
            self._progress(self._rows, self._total, f"{each.series} {each.part.day}")
            await self._store(each, outcomes[each.series])
        for _, manifest in lake.manifests:
            await self._prove_absences(manifest)
        return list(outcomes.values())

    async def _store(self, found: Found, outcome: Outcome) -> None:
        batches = _batches(found)
        following = await asyncio.to_thread(next, batches, None)
        while following is not None:
            batch = following
            # the next one is made while the database takes this one
            ahead = asyncio.ensure_future(asyncio.to_thread(next, batches, None))
            try:
                receipt = await self._sink.write(batch)
            except BaseException:
                await _settled(ahead)
                raise
            outcome.rows += len(batch.rows)
            outcome.new += receipt.written
            outcome.known += receipt.duplicates
            outcome.conflicts += len(receipt.conflicting)
            self._rows += len(batch.rows)
            self._progress(self._rows, self._total, "")
            following = await ahead
        outcome.files += 1

    async def _prove_absences(self, manifest: Manifest) -> None:
        venue, symbol, timeframe = manifest.series.venue, manifest.series.symbol, manifest.series.timeframe
        if manifest.void:
            void = [Covered(venue, symbol, each.first, each.last, Source.VOID) for each in manifest.void]
            await self._sink.write(Batch(table_of(manifest.series), (), void))
        for each in manifest.absent:
            # what is stored here exists, whatever was not to be had elsewhere
            if timeframe is None:
                known = RangeSet(await self._ledger.covered(venue, symbol, each.first, each.last))
                for gap in known.missing(each.first, each.last):
                    await self._ledger.record_absence(venue, symbol, gap.first, gap.last, each.proof)
            else:
                gaps = RangeSet(await self._slots(venue, symbol, Timeframe(timeframe))).missing(each.first, each.last)
                await self._ledger.record_absent_slots(venue, symbol, timeframe, gaps, each.proof)

    async def _slots(self, venue: str, symbol: str, frame: Timeframe) -> list[tuple[int, int]]:
        found = await self._ledger.known_slots(venue, {(symbol, frame): _NEVER_NS})
        known = found.get((symbol, frame), KnownSlots())
        return [*known.covered, *known.absent]


async def _settled(ahead: Awaitable[object]) -> None:
    """Wait until a thread is done with the file."""
    await asyncio.gather(ahead, return_exceptions=True)


def _batches(found: Found) -> Iterator[Batch]:
    """Yield the rows of a file as batches, each with what is proven of it. Raises LakeDamaged before the first."""
    series, part = found.series, found.part
    data = pa.OSFile(str(found.path)).read_buffer() if part.rows else b""
    # what is stored is what was checked, whatever has become of the file since
    if hashlib.sha256(data).hexdigest() != part.sha256:
        raise LakeDamaged("a file has changed while it was imported", subject=str(found.path), hint="Import it again")
    frame = None if series.timeframe is None else Timeframe(series.timeframe)
    wanted = TRADES if frame is None else CANDLES
    try:
        parquet = pq.ParquetFile(pa.BufferReader(data))
        if not parquet.schema_arrow.equals(wanted) or parquet.metadata.num_rows != part.rows:
            raise LakeDamaged(
                "a file does not hold what its manifest says", subject=str(found.path), hint="Export it again"
            )
        for batch in parquet.iter_batches(BATCH_ROWS):
            numbers = batch.column("trade_id").to_numpy() if frame is None else slots_of(batch.column("time"), frame)
            yield Batch(table_of(series), lines(batch, series), tuple(_proven(series, part, runs_of(numbers))))
    except (pa.ArrowException, OSError) as problem:
        raise LakeDamaged("a file cannot be read as Parquet", subject=str(found.path), hint=str(problem)) from problem


def _proven(series: Series, part: Part, runs: Sequence[tuple[int, int]]) -> Iterator[Covered]:
    """Yield what is proven of some rows, by what their manifest says."""
    here = RangeSet(runs)
    for each in part.proven:
        for first, last in here.within(each.first, each.last):
            yield Covered(series.venue, series.symbol, first, last, Source(each.source), series.timeframe)
