"""Whether an export holds what is about to be dropped, by its manifests and the checksums of its files.

It talks with the export through files alone: the manifest of each series below the directory given.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from crypto_quant import manifest
from crypto_quant.continuity import RangeSet
from crypto_quant.errors import ConfigError
from crypto_quant.manifest import LakeDamaged, Manifest, Part
from crypto_quant.seams import Table
from crypto_quant.store.ranges import Series
from crypto_quant.store.retention import Gate, Piece, Ranges

# formats that give back what was stored, to the last digit
_WHOLE_FORMATS = ("parquet", "csv")


def export_gate(directory: str) -> Gate:
    """Return a gate that lets a piece go when files below ``directory`` hold all of its ids or slots.

    Manifests and files are read when the gate is asked: an export may go on beside it. Raises ConfigError when the
    directory does not exist.
    """
    root = Path(directory)
    if not root.is_dir():
        raise ConfigError("no such directory of an export", subject=directory, hint="Export there first")

    def gate(piece: Piece, ranges: Ranges) -> str:
        manifests = _manifests(root)
        for series, wanted in ranges.items():
            told = manifests.get((piece.table, series), [])
            if not told:
                return f"{_name(series)}: {directory} has no manifest of it"
            held = RangeSet()
            for path, exported in told:
                for part in exported.parts:
                    proven = [(each.first, each.last) for each in part.proven]
                    if _meets(proven, wanted) and (wrong := _wrong(manifest.beside(path), part)):
                        return f"{_name(series)}: {wrong}"
                    for first, last in proven:
                        held.add(first, last)
            for first, last in wanted:
                lacking = held.missing(first, last)
                if lacking:
                    return f"{_name(series)}: {lacking[0].first} to {lacking[0].last} are not exported to {directory}"
        return ""

    return gate


def _manifests(root: Path) -> dict[tuple[Table, Series], list[tuple[Path, Manifest]]]:
    found: dict[tuple[Table, Series], list[tuple[Path, Manifest]]] = {}
    for path in manifest.below(root):
        try:
            told = manifest.read(path)
        except LakeDamaged:
            continue  # what cannot be read, or does not match its seal, proves nothing
        if told.format not in _WHOLE_FORMATS:
            continue
        of = told.series
        table = Table.CANDLES if of.timeframe else Table.TRADES
        key = (table, (of.venue, of.symbol, of.timeframe) if of.timeframe else (of.venue, of.symbol))
        found.setdefault(key, []).append((path, told))
    return found


def _meets(proven: Sequence[tuple[int, int]], wanted: Sequence[tuple[int, int]]) -> bool:
    held = RangeSet(proven)
    return any(held.within(first, last) for first, last in wanted)


def _wrong(directory: Path, part: Part) -> str:
    """Return what is wrong with the file of a part; empty when it is what its manifest says."""
    path = directory / str(part.file)
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as problem:
        return f"{path}: {problem.strerror}"
    return "" if digest == part.sha256 else f"{path} is not what its manifest says"


def _name(series: Series) -> str:
    return " ".join(series)
