"""The Parquet lake: whole files, honest manifests, and an export that goes on where it was."""

import hashlib
import json
import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import duckdb
import polars as pl
import pytest
from exports import BTC, BTC_5M, FOLDER, HOUR, TOLD, exported, files, manifest, three_days
from records import DAY, SECOND, SERVERS, Record, record_on, trade

from crypto_quant.errors import ConfigError, Incomplete
from crypto_quant.lake import disk
from crypto_quant.lake.disk import LakeRefused
from crypto_quant.lake.exporting import Exporter
from crypto_quant.lake.forms import FORMS
from crypto_quant.lake.origin import Origin
from crypto_quant.manifest import Series

FIRST = DAY.date()
DATES = [str(FIRST + timedelta(number)) for number in range(3)]
# of the quantities in exports.three_days
SUM = (
    Decimal("0.0001") * sum(n + 1 for n in range(30) if n not in (3, 4))
    + Decimal("999999999999.99999999")
    + Decimal("1E-7")
)
NAMES = [str(FOLDER / f"date={date}/trades.parquet") for date in DATES]

# these records were made without an exchange
PAIRS = ("BTCUSDT=BTC/USDT",)


@pytest.fixture(params=SERVERS)
async def record(request: pytest.FixtureRequest) -> AsyncIterator[Record]:
    async with record_on(request.param) as lent:
        yield lent


@pytest.fixture
async def days(tmp_path: Path) -> AsyncIterator[tuple[Record, Path]]:
    """Three whole days on plain PostgreSQL, and where they are to go."""
    async with record_on("postgresql") as lent:
        await three_days(lent)
        yield lent, tmp_path / "lake"


async def test_duckdb_and_polars_read_it_in_one_line(record: Record, tmp_path: Path) -> None:
    await three_days(record)
    [outcome] = exported(record.url, tmp_path)
    assert (outcome.files, outcome.rows, outcome.missing) == (3, 30, {})
    assert files(tmp_path) == sorted([*NAMES, str(TOLD)])
    rows = duckdb.sql(f"SELECT count(*), sum(quantity) FROM '{tmp_path}/**/*.parquet'").fetchall()
    assert rows == [(30, SUM)]
    types = {row[0]: row[1] for row in duckdb.sql(f"DESCRIBE FROM '{tmp_path}/**/*.parquet'").fetchall()}
    assert (types["price"], types["time"], types["date"]) == ("DECIMAL(20,8)", "TIMESTAMP WITH TIME ZONE", "DATE")
    assert {"venue", "kind", "symbol"} < set(types)
    frame = pl.scan_parquet(f"{tmp_path}/**/*.parquet", hive_partitioning=True).collect()
    assert frame.sort("trade_id")["price"].to_list()[3:6] == [
        Decimal("0.00000001"), Decimal("999999999999.99999999"), Decimal("57039.01000000")
    ]  # fmt: skip
    assert frame.filter(pl.col("date") == DAY.date()).height == 10
    one = frame.row(by_predicate=pl.col("trade_id") == 5, named=True)
    assert one["received_at"] - one["time"] == timedelta(microseconds=6)


async def test_the_manifest_tells_and_proves(days: tuple[Record, Path]) -> None:
    record, out = days
    exported(record.url, out)
    told = manifest(out)
    assert [part.day for part in told.parts] == DATES
    for part in told.parts:
        data = (out / FOLDER / str(part.file)).read_bytes()
        assert (part.bytes, part.sha256) == (len(data), hashlib.sha256(data).hexdigest())
        assert (part.rows, part.complete) == (10, True)
    assert (told.parts[1].first, told.parts[1].last) == (10, 19)
    assert [(each.first, each.last, each.source) for each in told.parts[1].proven] == [(10, 19, "stream")]


async def test_candles_of_a_minute_and_of_a_month_lie_apart(days: tuple[Record, Path]) -> None:
    record, out = days
    await record.candles([DAY + number * 60 * SECOND for number in range(1440)], "1m")
    await record.candles([DAY.replace(day=1)], "1M")
    series = [Series("spot", "candles", "btcusdt", name) for name in ("1m", "1M")]
    exported(record.url, out, "parquet", *series)
    assert [name for name in files(out) if "1mo" in name]
    minutes = duckdb.sql(f"SELECT count(*), sum(volume) FROM '{out}/venue=spot/kind=candles_1m/**/*.parquet'")
    assert minutes.fetchall() == [(1440, Decimal(14400))]


async def test_what_is_whole_is_kept(days: tuple[Record, Path]) -> None:
    record, out = days
    exported(record.url, out, last=FIRST)
    before = (out / NAMES[0]).stat()
    [outcome] = exported(record.url, out, last=FIRST + timedelta(2), on_gap="warn")
    assert (outcome.files, outcome.kept) == (2, 1)
    [outcome] = exported(record.url, out, last=FIRST + timedelta(2), on_gap="warn")
    assert (outcome.files, outcome.kept) == (0, 3)
    assert (out / NAMES[0]).stat().st_mtime_ns == before.st_mtime_ns


@pytest.mark.parametrize("harm", ["cut", "changed", "gone"])
async def test_a_file_that_was_harmed_is_made_again(days: tuple[Record, Path], harm: str) -> None:
    record, out = days
    exported(record.url, out)
    file = out / NAMES[1]
    whole = file.read_bytes()
    if harm == "gone":
        file.unlink()
    else:
        file.write_bytes(whole[:-9] if harm == "cut" else whole[:50] + bytes([whole[50] ^ 1]) + whole[51:])
    [outcome] = exported(record.url, out)
    assert (outcome.files, outcome.kept) == (1, 2)
    assert file.read_bytes() == whole


async def test_nothing_is_exported_where_not_all_is_there(days: tuple[Record, Path]) -> None:
    record, out = days
    await record.execute("DELETE FROM trades WHERE trade_id = 14")
    await record.execute("DELETE FROM coverage")
    await record.cover([(0, 13), (15, 29)])
    with pytest.raises(Incomplete, match=r"spot btcusdt trades .*: 14 missing.*--on-gap warn"):
        exported(record.url, out)
    assert files(out) == []
    with pytest.raises(Incomplete, match=r"not proven.*without --from and --to"):
        exported(record.url, out, first=FIRST + timedelta(2), last=FIRST + timedelta(5))
    [outcome] = exported(record.url, out, on_gap="warn")
    assert list(outcome.missing) == [DATES[1]]
    told = [(each.first, each.last, each.why) for each in manifest(out).parts[1].missing]
    assert told == [(14, 14, "missing")]
    assert [part.complete for part in manifest(out).parts] == [True, False, True]


async def test_an_incomplete_file_is_made_again_when_there_is_more(days: tuple[Record, Path]) -> None:
    record, out = days
    await record.execute("DELETE FROM trades WHERE trade_id IN (14, 16)")
    await record.execute("DELETE FROM coverage")
    await record.cover([(0, 13), (15, 15), (17, 29)])
    exported(record.url, out, on_gap="ignore")
    [outcome] = exported(record.url, out, on_gap="warn")
    assert (outcome.files, outcome.kept) == (0, 3)  # nothing has come
    assert list(outcome.missing) == [DATES[1]]
    await record.trades([trade(14, DAY + 14 * 2.4 * HOUR)])
    [outcome] = exported(record.url, out, on_gap="warn")
    assert (outcome.files, outcome.kept, outcome.rows) == (1, 2, 9)
    await record.trades([trade(16, DAY + 16 * 2.4 * HOUR)])
    assert exported(record.url, out)[0].files == 1
    assert all(part.complete for part in manifest(out).parts)


async def test_rows_that_are_gone_are_not_claimed(days: tuple[Record, Path]) -> None:
    """Coverage says that they are stored: only reading shows that they are not."""
    record, out = days
    await record.execute("DELETE FROM trades WHERE trade_id = 14")
    with pytest.raises(Incomplete, match="14 to 14 gone"):
        exported(record.url, out)
    assert files(out) == [str(TOLD), NAMES[0]]  # the day before was whole
    exported(record.url, out, on_gap="ignore")
    part = manifest(out).parts[1]
    assert [(each.first, each.last, each.why) for each in part.missing] == [(14, 14, "gone")]
    assert [(each.first, each.last) for each in part.proven] == [(10, 13), (15, 19)]


async def test_a_file_that_holds_more_than_the_database_is_kept(days: tuple[Record, Path]) -> None:
    record, out = days
    await record.execute("DELETE FROM coverage")
    await record.cover([(0, 13), (15, 29)])
    await record.execute("DELETE FROM trades WHERE trade_id = 14")
    exported(record.url, out, on_gap="ignore")
    before = (out / NAMES[1]).read_bytes()
    await record.execute("DELETE FROM trades WHERE trade_id BETWEEN 15 AND 16")
    [outcome] = exported(record.url, out, on_gap="ignore")
    assert outcome.smaller == [DATES[1]]
    assert (out / NAMES[1]).read_bytes() == before
    assert manifest(out).parts[1].rows == 9


class _FullDisk(disk.Draft):
    """Takes so many bytes and no more."""

    room = 3000

    def write(self, data: object, /) -> int:
        if self.size + len(memoryview(data)) > self.room:  # type: ignore[arg-type]
            raise OSError(28, "No space left on device")
        return super().write(data)


@pytest.mark.parametrize("form", sorted(FORMS))
async def test_a_disk_that_fills_up_leaves_no_half_file(
    days: tuple[Record, Path], form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, out = days
    await record.trades([trade(n, DAY + 2 * 24 * HOUR + 23 * HOUR + n * SECOND / 100) for n in range(30, 3000)])
    with monkeypatch.context() as patch:
        patch.setattr(disk, "Draft", _FullDisk)
        with pytest.raises(LakeRefused, match=r"No space left on device: .*goes on from there"):
            exported(record.url, out, form, pairs=PAIRS)
    left = files(out)
    assert not [name for name in left if ".part" in name]
    assert len(left) == (0 if FORMS[form].whole else 3)  # two days, and the manifest that names them and no other
    [outcome] = exported(record.url, out, form, pairs=PAIRS)
    assert (outcome.files, outcome.kept) == ((1, 0) if FORMS[form].whole else (1, 2))


async def test_a_real_disk_that_is_full(days: tuple[Record, Path], tmp_path: Path) -> None:
    record, _ = days
    await record.trades([trade(n, DAY + 2 * 24 * HOUR + 23 * HOUR + n * SECOND / 100) for n in range(30, 9000)])
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(  # noqa: ASYNC221
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", small], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("no right to mount a small disk")
    try:
        with pytest.raises(LakeRefused, match="No space left on device"):
            exported(record.url, small)
        assert not [name for name in files(small) if ".part" in name or DATES[2] in name]
    finally:
        subprocess.run(["umount", small], check=True)  # noqa: ASYNC221


async def test_interrupted_it_leaves_nothing_half_done(days: tuple[Record, Path]) -> None:
    record, out = days

    def stop(done: int, total: int, what: str) -> None:
        if what.endswith(DATES[1]) and "looking" not in what:
            raise KeyboardInterrupt

    with closing(Origin(record.url)) as origin:
        exporter = Exporter(
            origin, FORMS["parquet"], out, on_gap="raise", overwrite=False, made_by="test", progress=stop
        )
        with pytest.raises(KeyboardInterrupt):
            exporter.run([BTC], None, None)
    assert files(out) == [str(TOLD), NAMES[0]]
    # what a kill -9 leaves is overwritten, and read by nobody
    (out / TOLD).with_name(f".{DATES[1]}.part").write_bytes(b"PAR1 and no end")
    [outcome] = exported(record.url, out)
    assert (outcome.files, outcome.kept) == (2, 1)
    assert files(out) == sorted([*NAMES, str(TOLD)])


async def test_a_kill_between_manifest_and_file_is_made_good(
    days: tuple[Record, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    record, out = days
    finish = disk.Draft.finish

    def killed(self: disk.Draft, path: Path) -> None:
        if DATES[1] in str(path):
            raise KeyboardInterrupt
        finish(self, path)

    with monkeypatch.context() as patch:
        patch.setattr(disk.Draft, "finish", killed)
        with pytest.raises(KeyboardInterrupt):
            exported(record.url, out)
    assert len(manifest(out).parts) == 2
    [outcome] = exported(record.url, out)
    assert (outcome.files, outcome.kept) == (2, 1)


async def test_targets_that_are_taken(days: tuple[Record, Path], tmp_path: Path) -> None:
    record, out = days
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ConfigError, match="this is no directory"):
        exported(record.url, tmp_path / "file")
    strange = out / NAMES[1]
    strange.parent.mkdir(parents=True)
    strange.write_bytes(b"mine")
    with pytest.raises(LakeRefused, match="a file is there that no manifest names"):
        exported(record.url, out)
    assert strange.read_bytes() == b"mine"
    assert exported(record.url, out, overwrite=True)[0].files == 2
    told = out / TOLD
    told.write_text(json.dumps(json.loads(told.read_text()) | {"made_by": "me"}))
    with pytest.raises(LakeRefused, match=r"does not match its own checksum.*--force"):
        exported(record.url, out)
    assert exported(record.url, out, overwrite=True)[0].files == 3
    with disk.held(out), pytest.raises(LakeRefused, match="another export writes here"):
        exported(record.url, out)
    with pytest.raises(LakeRefused, match="holds another export"):
        exported(record.url, out, "csv")


async def test_days_beyond_the_record_are_told_once(days: tuple[Record, Path]) -> None:
    """However far one asks, there are files only of days of which there is a record."""
    record, out = days
    far = {"first": FIRST - timedelta(9000), "last": FIRST + timedelta(9000)}
    with pytest.raises(Incomplete, match=f"{far['first']}T00:00:00Z to {FIRST}T00:00:00Z: not proven"):
        exported(record.url, out, **far)
    [outcome] = exported(record.url, out, on_gap="warn", **far)
    assert (outcome.files, outcome.kept) == (3, 0)
    assert list(outcome.missing) == [str(far["first"]), str(FIRST + timedelta(3)), DATES[2]]
    [outcome] = exported(record.url, out, "freqtrade", on_gap="warn", pairs=PAIRS, **far)
    assert (outcome.files, outcome.rows) == (1, 30)


async def test_what_was_never_recorded_is_told(days: tuple[Record, Path]) -> None:
    record, out = days
    with pytest.raises(ConfigError, match=r"ever recorded: btcusd \(spot\).*'btcusdt'"):
        exported(record.url, out, "parquet", Series("spot", "trades", "btcusd"))
    with pytest.raises(ConfigError, match="5m candles"):
        exported(record.url, out, "parquet", BTC_5M)
    with pytest.raises(ConfigError, match="does not reach these days: spot btcusdt trades, 2024-08-08 to 2024-08-10"):
        exported(record.url, out, first=FIRST + timedelta(30))
    assert files(out) == []


async def test_a_directory_that_cannot_be_written(days: tuple[Record, Path], tmp_path: Path) -> None:
    record, _ = days
    target = Path("/proc/nowhere") if os.geteuid() == 0 else tmp_path / "closed" / "lake"
    if os.geteuid():
        target.parent.mkdir(mode=0o500)
    with pytest.raises(LakeRefused, match="cannot write"):
        exported(record.url, target)
