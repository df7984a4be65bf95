"""The export: which files are due, which of them are there and whole, and the others made whole or not at all."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from datetime import date
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from crypto_quant.completeness import GONE, UNPROVEN, Lack
from crypto_quant.continuity import RangeSet
from crypto_quant.errors import Incomplete
from crypto_quant.lake.disk import LakeRefused, checksum, draft, held, write_whole
from crypto_quant.lake.due import Unit, beyond, ns_of, units_of
from crypto_quant.lake.form import Form
from crypto_quant.lake.origin import Origin
from crypto_quant.lake.pairs import Pair, pair_of
from crypto_quant.manifest import (
    NAME,
    LakeDamaged,
    Manifest,
    Missing,
    Part,
    Proven,
    Series,
    encoded,
    missing_of,
    read,
)
from crypto_quant.market import NS_PER_US, Timeframe, utc_text
from crypto_quant.reading.batches import Batches, runs_of, slots_of

# called with what is done and how many files are due in all, and what is being made
Progress = Callable[[int, int, str], None]
# so many of what lacks are named in a message
_NAMED_MAX = 5


class Outcome(msgspec.Struct, kw_only=True):
    """What an export has done for one series; files that were whole already count as ``kept``.

    ``smaller`` are the days of which the database has less than the files, which were therefore kept as they are.
    """

    series: Series
    rows: int = 0
    bytes: int = 0
    files: int = 0
    kept: int = 0
    smaller: list[str] = msgspec.field(default_factory=list)
    missing: dict[str, tuple[Missing, ...]] = msgspec.field(default_factory=dict)


class Exporter:
    """Exports series of a record into a directory, in one form."""

    def __init__(
        self,
        origin: Origin,
        form: Form,
        out: Path,
        *,
        on_gap: str,
        overwrite: bool,
        made_by: str,
        progress: Progress,
        pairs: Mapping[str, Pair] | None = None,
    ) -> None:
        """``pairs`` are base and quote assets that a person gives; others are taken from the record."""
        self._origin = origin
        self._given = pairs or {}
        self._pairs: dict[str, Pair] = {}
        self._form = form
        self._out = out
        self._on_gap = on_gap
        self._overwrite = overwrite
        self._made_by = made_by
        self._progress = progress

    def run(self, wanted: Sequence[Series], first: date | None, last: date | None) -> list[Outcome]:
        """Export the days ``first`` to ``last`` (inclusive; None: as far as the record goes) of each series.

        Where not all is there and ``on_gap`` is ``raise``, nothing is written. What was exported before, is whole and
        lacks no more than the database does is kept. Raises ConfigError, Incomplete, LakeRefused, the store's errors.
        """
        for series in wanted:
            self._form.check(series)
            if self._form.paired:
                self._pairs[series.symbol] = pair_of(series.symbol, self._given, self._origin.pair(series))
        self._form = self._form.with_pairs(self._pairs)
        with held(self._out):
            due = {
                series: units_of(series, self._origin.bounds(series), first, last, whole=self._form.whole)
                for series in wanted
            }
            manifests = {series: self._manifest(series, due[series]) for series in wanted}
            beside = {
                series: [] if self._form.whole else beyond(units, first, last, self._whole_days(manifests[series]))
                for series, units in due.items()
            }
            if self._on_gap == "raise":
                self._refuse_gaps(due, manifests, beside)
            total, done, outcomes = sum(map(len, due.values())), 0, []
            for series, units in due.items():
                outcome = Outcome(series=series)
                outcome.missing.update((each.start[:10], (each,)) for each in missing_of(beside[series]))
                manifest = manifests[series]
                self._move(series, manifest)
                for unit in units:
                    self._progress(done, total, f"{series} {unit.day}")
                    manifest = self._make(series, unit, manifest, outcome)
                    done += 1
                outcomes.append(outcome)
            self._progress(done, total, "")
        return outcomes

    # -- what is due --------------------------------------------------------------------------------------

    def _manifest(self, series: Series, units: Sequence[Unit]) -> Manifest:
        """Return the manifest that is there, or an empty one; raises LakeRefused when it is of something else."""
        settings = self._settings(series, units)
        new = Manifest(made_by=self._made_by, format=self._form.name, series=series, settings=settings)
        path = self._path(series)
        if not path.exists():
            path = self._former_path(series)
        if not path.exists():
            return new
        try:
            found = read(path)
        except LakeDamaged as problem:
            if self._overwrite:
                return new
            raise LakeRefused(
                problem.what, subject=problem.subject, hint="Give another directory, or --force to write it anew"
            ) from problem
        if (found.format, found.series) != (self._form.name, series):
            raise LakeRefused(
                "this directory holds another export",
                subject=f"{path}: {found.format}, {found.series}",
                hint="Give another directory",
            )
        if self._form.whole:
            # one file, whatever day it began with
            parts = tuple(msgspec.structs.replace(part, day=str(units[0].day)) for part in found.parts[:1])
            found = msgspec.structs.replace(found, parts=parts)
        if found.settings != settings:
            # what is there was written in another way, and is due again
            found = msgspec.structs.replace(found, settings=settings, parts=tuple(map(_outdated, found.parts)))
        return msgspec.structs.replace(found, made_by=self._made_by)

    def _whole_days(self, manifest: Manifest) -> set[str]:
        parts = [part for part in manifest.parts if part.complete]
        return {part.day for part in parts if self._intact(manifest.series, part)}

    def _settings(self, series: Series, units: Sequence[Unit]) -> Mapping[str, str]:
        if self._form.paired:  # what was named by another pair is made again
            return {"pair": "/".join(self._pairs[series.symbol])}
        if not self._form.scaled:
            return {}
        price, size = self._origin.scales(series, units[0].start, units[-1].end)
        return {"price_precision": str(price), "size_precision": str(size)}

    def _path(self, series: Series) -> Path:
        return (self._out / self._form.folder(series) / self._form.manifest(series)).resolve()

    def _former_path(self, series: Series) -> Path:
        """Return where earlier versions put the manifest: among the data."""
        return (self._out / self._form.folder(series) / NAME).resolve()

    def _move(self, series: Series, manifest: Manifest) -> None:
        """Take a manifest that lies among the data from there."""
        former, path = self._former_path(series), self._path(series)
        if former != path and former.exists():
            if not path.exists():
                write_whole(path, encoded(manifest))
            former.unlink()

    # -- what lacks ---------------------------------------------------------------------------------------

    def _refuse_gaps(
        self,
        due: Mapping[Series, Sequence[Unit]],
        manifests: Mapping[Series, Manifest],
        beside: Mapping[Series, Sequence[Lack]],
    ) -> None:
        lacks = [(series, each) for series, found in beside.items() for each in found]
        units = [(series, unit) for series, each in due.items() for unit in each]
        for number, (series, unit) in enumerate(units):
            self._progress(number, len(units), f"looking at {series} {unit.day}")
            if not self._whole_already(series, unit, manifests[series].part(str(unit.day))):
                with closing(self._batches(series, unit)) as batches:
                    lacks += [(series, each) for each in batches.lacks]
        if lacks:
            ends = any(each.why == UNPROVEN or each.first is None for _, each in lacks)
            raise _incomplete([f"{series} {each}" for series, each in lacks], ends=ends)

    def _batches(self, series: Series, unit: Unit) -> Batches:
        if series.timeframe is None:
            return self._origin.trade_batches(series.symbol, unit.start, unit.end, series.venue, on_gap="ignore")
        return self._origin.candle_batches(
            series.symbol, series.timeframe, unit.start, unit.end, series.venue, source="stored", on_gap="ignore"
        )

    # -- one file -----------------------------------------------------------------------------------------

    def _whole_already(self, series: Series, unit: Unit, part: Part | None) -> bool:
        """Tell whether a unit was exported with nothing missing, and its file is as it was written."""
        if part is None or not part.complete or not self._answers(unit, part):
            return False
        return self._intact(series, part)

    def _answers(self, unit: Unit, part: Part) -> bool:
        """Tell whether a part is about no less time than a unit."""
        if unit.start is None or unit.end is None:
            return False  # the record may have grown since
        start, end = utc_text(ns_of(unit.start)), utc_text(ns_of(unit.end))
        if self._form.whole:
            return (part.start, part.end) == (start, end)
        return part.start <= start and end <= part.end

    def _intact(self, series: Series, part: Part) -> bool:
        if part.file is None:
            return True
        try:
            return checksum(self._out / self._form.folder(series) / part.file) == (part.bytes, part.sha256)
        except OSError:
            return False

    def _make(self, series: Series, unit: Unit, manifest: Manifest, outcome: Outcome) -> Manifest:
        """Bring one file up to what the database has; return the manifest as it stands then, written."""
        old = manifest.part(str(unit.day))
        if self._whole_already(series, unit, old):
            outcome.kept += 1
            return manifest
        folder = self._out / self._form.folder(series)
        with closing(self._batches(series, unit)) as batches:
            intact = old is not None and self._intact(series, old)
            if old is not None and intact and self._same(batches, old):
                outcome.kept += 1
                self._judge(series, unit, old.missing, outcome)
                return manifest
            # where no reader of the data looks
            with draft(self._path(series).parent, str(unit.day)) as file:
                writer = self._form.writer(file, series, manifest.settings)
                seen = _Seen(series)
                for batch in batches:
                    writer.write(batch)
                    seen.add(batch)
                if seen.rows:
                    writer.finish()
                self._judge(series, unit, missing_of(batches.lacks), outcome)
                same_time = old is not None and (not self._form.whole or self._answers(unit, old))
                if old is not None and intact and same_time and seen.rows < old.rows:
                    outcome.smaller.append(str(unit.day))
                    return manifest
                name = self._form.file(series, unit.day, seen.ends_ns) if seen.rows else None
                known = self._origin.proofs(series, seen.bounds)
                part = Part(
                    day=str(unit.day),
                    start=utc_text(batches.span.start),
                    end=utc_text(batches.span.end),
                    file=name,
                    rows=seen.rows,
                    bytes=file.size if name else 0,
                    sha256=file.sha256 if name else "",
                    first=seen.bounds[0],
                    last=seen.bounds[1],
                    missing=missing_of(batches.lacks),
                    proven=tuple(seen.proven(known.proven)),
                )
                if name and (folder / name).exists() and (old is None or old.file != name) and not self._overwrite:
                    raise LakeRefused(
                        "a file is there that no manifest names",
                        subject=str(folder / name),
                        hint="Give another directory, or --force to overwrite it",
                    )
                # First the manifest, then the file: one that is not as the manifest says is made again. An old file of
                # another name would be read beside the new one.
                manifest = msgspec.structs.replace(manifest.with_part(part), void=known.void, absent=known.absent)
                write_whole(self._path(series), encoded(manifest))
                if old is not None and old.file is not None and old.file != name:
                    (folder / old.file).unlink(missing_ok=True)
                if name:
                    file.finish(folder / name)
        outcome.rows += part.rows
        outcome.bytes += part.bytes
        outcome.files += name is not None
        return manifest

    def _same(self, batches: Batches, old: Part) -> bool:
        """Tell whether the database has nothing that the file lacks."""
        start, end = utc_text(batches.span.start), utc_text(batches.span.end)
        if old.complete and not self._form.whole and old.start <= start and end <= old.end:
            return True
        lacked = (start, end, missing_of(batches.lacks))
        return lacked == (old.start, old.end, old.missing) and all(each.why != GONE for each in old.missing)

    def _judge(self, series: Series, unit: Unit, missing: tuple[Missing, ...], outcome: Outcome) -> None:
        if not missing:
            return
        if self._on_gap == "raise":
            raise _incomplete([f"{series} {_told(each)}" for each in missing], ends=False)
        outcome.missing[str(unit.day)] = missing


class _Seen:
    """What the rows of one file tell: how many, from when to when, which ids."""

    def __init__(self, series: Series) -> None:
        self._frame = None if series.timeframe is None else Timeframe(series.timeframe)
        self._ids = RangeSet()
        self._ends: list[int] = []
        self.rows = 0

    def add(self, batch: pa.RecordBatch) -> None:
        if not batch.num_rows:
            return
        times = batch.column("time")
        numbers = batch.column("trade_id").to_numpy() if self._frame is None else slots_of(times, self._frame)
        for run in runs_of(numbers):
            self._ids.add(*run)
        ends = pc.min_max(times.cast(pa.int64()))
        self._ends = [*self._ends[:1], ends["min"].as_py(), ends["max"].as_py()]
        self.rows += batch.num_rows

    @property
    def ends_ns(self) -> tuple[int, int]:
        return self._ends[0] * NS_PER_US, self._ends[-1] * NS_PER_US

    @property
    def bounds(self) -> tuple[int, int] | tuple[None, None]:
        ranges = self._ids.ranges()
        return (ranges[0][0], ranges[-1][1]) if ranges else (None, None)

    def proven(self, claims: Sequence[Proven]) -> list[Proven]:
        """Return what of the claims has rows here."""
        return [Proven(*pair, each.source) for each in claims for pair in self._ids.within(each.first, each.last)]


def _outdated(part: Part) -> Part:
    """Return a part so that its file counts as not what it should be."""
    return msgspec.structs.replace(part, sha256="")


def _incomplete(named: Sequence[str], *, ends: bool) -> Incomplete:
    """Return the error that names what lacks; ``ends``: it is at an end of what was asked for."""
    more = f"; and {len(named) - _NAMED_MAX} more" if len(named) > _NAMED_MAX else ""
    hints = ["`crypto-quant repair` or `backfill` fetches what can be had"]
    hints += ["without --from and --to the export goes as far as the record is proven"] if ends else []
    hints += ["--on-gap warn exports what there is, and the manifest says what is missing"]
    return Incomplete(
        "not all of it is there, so it was not exported",
        subject="; ".join(named[:_NAMED_MAX]) + more,
        hint="; ".join(hints),
    )


def _told(missing: Missing) -> str:
    ids = "" if missing.first is None else f" {missing.first} to {missing.last}"
    return f"{missing.start} to {missing.end}:{ids} {missing.why}"
