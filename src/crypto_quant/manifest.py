"""What stands beside the files of an export: what each holds, what it lacks, and the checksum that proves it.

One manifest a series, sealed by a checksum of its own. Nothing counts as exported that no manifest names.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from crypto_quant.completeness import Lack
from crypto_quant.errors import CryptoQuantError
from crypto_quant.market import utc_text

NAME = "manifest.json"
# Where a lake's manifests stand, below its root, in the folders of their series. Arrow, Spark and Hive pass over the
# name; polars passes over nothing, so that the folders of the data must hold data alone.
APART = "_manifests"
_IS = "crypto-quant export"
_VERSION = 1


class LakeDamaged(CryptoQuantError):
    """A file of an export is not what its manifest says; nothing of it is stored."""


class Series(msgspec.Struct, frozen=True):
    """One symbol's trades, or its candles of one timeframe."""

    venue: str
    kind: str
    symbol: str
    timeframe: str | None = None

    def __str__(self) -> str:
        return f"{self.venue} {self.symbol} {self.timeframe or 'trades'}"


class Range(msgspec.Struct, frozen=True):
    """Ids, or slots of candles, ``first`` to ``last``, both inclusive."""

    first: int
    last: int


class Proven(Range, frozen=True):
    """Ids or slots whose rows coverage vouches for, with its source."""

    source: str


class Absent(Range, frozen=True):
    """Ids or slots that no source has, with the proof."""

    proof: str


class Missing(msgspec.Struct, frozen=True):
    """What is not in a file though it belongs to its time (``completeness.Lack``), times as text."""

    start: str
    end: str
    first: int | None
    last: int | None
    why: str

    @classmethod
    def of(cls, lack: Lack) -> "Missing":
        """Return a lack as it is written down."""
        return cls(utc_text(lack.start), utc_text(lack.end), lack.first, lack.last, lack.why)


class Part(msgspec.Struct, frozen=True):
    """What is exported of one stretch of time: ``start`` inclusive, ``end`` exclusive.

    ``file`` is where, from the manifest's directory; None: there are no rows. ``first`` and ``last`` are the lowest and
    the highest id (of candles: slot). ``missing`` empty: it is all there is of this time.
    """

    day: str
    start: str
    end: str
    file: str | None
    rows: int
    bytes: int
    sha256: str
    first: int | None
    last: int | None
    missing: tuple[Missing, ...]
    proven: tuple[Proven, ...]

    @property
    def complete(self) -> bool:
        """Whether nothing is missing."""
        return not self.missing


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """All that is exported of one series in one format. ``void`` are ids that are rightly without a row."""

    what: str = _IS
    version: int = _VERSION
    made_by: str
    format: str
    series: Series
    settings: Mapping[str, str] = {}
    void: tuple[Range, ...] = ()
    absent: tuple[Absent, ...] = ()
    parts: tuple[Part, ...] = ()
    seal: str = ""

    def with_part(self, part: Part) -> "Manifest":
        """Return it with this part in the place of the one of its day."""
        others = [each for each in self.parts if each.day != part.day]
        return msgspec.structs.replace(self, parts=tuple(sorted([*others, part], key=lambda each: each.day)))

    def part(self, day: str) -> Part | None:
        """Return the part of a day."""
        return next((each for each in self.parts if each.day == day), None)


def beside(path: Path) -> Path:
    """Return the directory from which the manifest at ``path`` counts its files.

    It is the manifest's own, as lakes of old have it, or that of the series whose manifest stands apart.
    """
    folder = path.parent
    apart = next((each for each in (folder, *folder.parents) if each.name == APART), None)
    return folder if apart is None else apart.parent / folder.relative_to(apart)


def below(directory: Path) -> Iterator[Path]:
    """Yield the manifests of all that lies below a directory, a lake or a part of one, in their order."""
    found = set(directory.rglob(NAME))
    whole = directory.absolute()
    for root in whole.parents:
        if (root / APART).is_dir():
            found.update((root / APART / whole.relative_to(root)).rglob(NAME))
    yield from sorted(found)


def encoded(manifest: Manifest) -> bytes:
    """Return a manifest as it is written, sealed."""
    sealed = msgspec.structs.replace(manifest, seal=_seal(manifest))
    return msgspec.json.format(msgspec.json.encode(sealed), indent=1) + b"\n"


def read(path: Path) -> Manifest:
    """Return the manifest at ``path``. Raises LakeDamaged when it is none, was altered, or is of another version."""
    try:
        data = path.read_bytes()
    except OSError as problem:
        raise LakeDamaged("cannot read the manifest", subject=str(path), hint=str(problem)) from problem
    try:
        head = msgspec.json.decode(data)
        if not isinstance(head, dict) or head.get("what") != _IS:
            raise LakeDamaged("this is no manifest of crypto-quant", subject=str(path), hint="Another tool's file?")
        if head.get("version") != _VERSION:
            hint = f"This crypto-quant knows version {_VERSION}; a newer one may know it"
            raise LakeDamaged("the manifest has another version", subject=f"{path}: {head.get('version')}", hint=hint)
        manifest = msgspec.json.decode(data, type=Manifest)
    except msgspec.MsgspecError as problem:
        raise LakeDamaged("the manifest cannot be read", subject=str(path), hint=str(problem)) from problem
    if manifest.seal != _seal(manifest):
        hint = "It was altered, or written half; export again (its files are checked and kept)"
        raise LakeDamaged("the manifest does not match its own checksum", subject=str(path), hint=hint)
    return manifest


def _seal(manifest: Manifest) -> str:
    return hashlib.sha256(msgspec.json.encode(msgspec.structs.replace(manifest, seal=""))).hexdigest()


def missing_of(lacks: Sequence[Lack]) -> tuple[Missing, ...]:
    """Return lacks as they are written down."""
    return tuple(map(Missing.of, lacks))
