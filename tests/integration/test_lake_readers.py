"""The lake as others read it: as a directory, in the ways that their manuals show; and lakes of earlier versions."""

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from exports import BTC, BTC_5M, FOLDER, TOLD, everything, exported, files, imported, three_days
from records import DAY, SECOND, Record, record_on

from crypto_quant.continuity import RangeSet
from crypto_quant.lake.importing import look
from crypto_quant.seams import Table
from crypto_quant.store.exported import export_gate
from crypto_quant.store.retention import Piece

SERIES = {"symbol", "date"}
WAYS: dict[str, Callable[[str], tuple[int, set[str]]]] = {
    "pandas": lambda at: seen(pd.read_parquet(at)),
    "pyarrow": lambda at: named(pq.read_table(at)),
    "pyarrow.dataset": lambda at: named(ds.dataset(at, partitioning="hive").to_table()),
    "pyarrow.dataset, no partitions": lambda at: (ds.dataset(at).count_rows(), SERIES),
    "polars scan": lambda at: seen(pl.scan_parquet(f"{at}/").collect()),
    "polars scan hive": lambda at: seen(pl.scan_parquet(at, hive_partitioning=True).collect()),
    "polars read": lambda at: seen(pl.read_parquet(f"{at}/**/*.parquet", hive_partitioning=True)),
    "polars all": lambda at: seen(pl.read_parquet(f"{at}/**/*", hive_partitioning=True)),
    "duckdb": lambda at: relation(f"FROM '{at}/**/*.parquet'"),
    "duckdb all": lambda at: relation(f"FROM read_parquet('{at}/**', hive_partitioning = true)"),
}
# those that see the lake's root too, where the manifests are
AT_ROOT = ("pandas", "pyarrow", "pyarrow.dataset", "pyarrow.dataset, no partitions", "polars read", "duckdb")


def seen(frame: pd.DataFrame | pl.DataFrame) -> tuple[int, set[str]]:
    return len(frame), set(frame.columns)


def named(table: pa.Table) -> tuple[int, set[str]]:
    return table.num_rows, set(table.column_names)


def relation(query: str) -> tuple[int, set[str]]:
    found = duckdb.sql(query)
    return len(found.fetchall()), set(found.columns)


@pytest.fixture
async def record() -> AsyncIterator[Record]:
    async with record_on("postgresql") as lent:
        yield lent


@pytest.fixture
async def lake(record: Record, tmp_path: Path) -> Path:
    """Two symbols' trades and candles side by side; and what an export that was killed leaves behind."""
    await three_days(record)
    await record.candles([DAY + number * 300 * SECOND for number in range(288 * 2)])
    out = tmp_path / "lake"
    exported(record.url, out, "parquet", BTC, BTC_5M)
    (out / TOLD).with_name(".2026-09-09.part").write_bytes(b"PAR1 and no end")
    return out


@pytest.mark.parametrize("way", WAYS)
async def test_the_directory_of_a_kind_is_read_as_a_whole(lake: Path, way: str) -> None:
    for kind, rows, column in (("trades", 30, "trade_id"), ("candles_5m", 576, "open")):
        found, columns = WAYS[way](f"{lake}/venue=spot/kind={kind}")
        assert found == rows
        if "no partitions" not in way:
            assert columns > {column, *SERIES}


@pytest.mark.parametrize("way", AT_ROOT)
async def test_the_whole_lake_is_read_when_it_has_one_kind(record: Record, tmp_path: Path, way: str) -> None:
    await three_days(record)
    exported(record.url, tmp_path)
    assert WAYS[way](str(tmp_path))[0] == 30


async def test_nothing_but_data_is_where_readers_look(lake: Path) -> None:
    """Spark, Hive and dask pass over names that begin with ``_`` or ``.``, at any depth; whole files are left."""
    shown = [Path(name) for name in files(lake) if not name.startswith(("_", "."))]
    assert len(shown) == 5
    for name in shown:
        assert name.suffix == ".parquet"
        assert not any(part.startswith(("_", ".")) for part in name.parts)
        assert [part.partition("=")[0] for part in name.parts[:-1]] == ["venue", "kind", "symbol", "date"]
        assert pq.read_metadata(lake / name).num_rows > 0


# -- lakes of earlier versions -------------------------------------------------------------------------------------


def aged(out: Path) -> Path:
    """Put the manifests where earlier versions had them; return where that of the trades is."""
    for told in sorted((out / "_manifests").rglob("manifest.json")):
        told.rename(out / told.parent.relative_to(out / "_manifests") / told.name)
    for part in sorted((out / "_manifests").rglob("*"), reverse=True):
        part.rmdir() if part.is_dir() else part.unlink()
    (out / "_manifests").rmdir()
    return out / FOLDER / "manifest.json"


async def test_an_earlier_lake_is_gone_on_with_and_its_manifest_moved(lake: Path, record: Record) -> None:
    former = aged(lake)
    text = former.read_bytes()
    times = {name: (lake / name).stat().st_mtime_ns for name in files(lake)}
    [trades] = exported(record.url, lake)
    assert trades.kept == 3
    assert not former.exists()
    assert json.loads((lake / TOLD).read_bytes())["parts"] == json.loads(text)["parts"]
    assert all((lake / name).stat().st_mtime_ns == times[name] for name in files(lake) if name in times)
    assert WAYS["polars scan"](f"{lake}/venue=spot/kind=trades")[0] == 30


@pytest.mark.parametrize("part", ["", "venue=spot", str(FOLDER)])
@pytest.mark.parametrize("age", [lambda _out: None, aged])
async def test_lakes_of_both_kinds_are_imported_whole_or_in_part(
    lake: Path, record: Record, part: str, age: Callable[[Path], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    age(lake)
    monkeypatch.chdir(lake)
    async with record_on("postgresql") as other:
        found = look(Path(part), lambda *_: None)
        assert (found.damage, len(found.files)) == ([], 3 if part == str(FOLDER) else 5)
        await imported(other.url, lake / part)
        assert (await everything(other.url))[0] == (await everything(record.url))[0]


@pytest.mark.parametrize("age", [lambda _out: None, aged])
async def test_both_vouch_for_what_is_dropped(lake: Path, age: Callable[[Path], object]) -> None:
    age(lake)
    gate = export_gate(str(lake))
    ids = {("spot", "btcusdt"): RangeSet([(0, 29)]).ranges()}
    piece = Piece(Table.TRADES, "a piece", DAY, DAY)
    assert gate(piece, ids) == ""
    file = next((lake / FOLDER).rglob("*.parquet"))
    file.write_bytes(file.read_bytes()[:-1])
    assert "is not what its manifest says" in gate(piece, ids)
