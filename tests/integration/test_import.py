"""A lake put back: equal rows, equal coverage, each once; and files that are not what they were."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from commands import program
from databases import fresh_database
from exports import BTC, BTC_5M, FOLDER, HOUR, TOLD, everything, exported, imported, rich, three_days
from records import DAY, Record, record_on, trade

from crypto_quant.errors import ConfigError
from crypto_quant.lake.disk import write_whole
from crypto_quant.lake.importing import look
from crypto_quant.manifest import Proven, encoded, read
from crypto_quant.seams import Source

FIRST = DAY.date()


@pytest.fixture(params=["timescaledb", "postgresql", "community"])
async def record(request: pytest.FixtureRequest) -> AsyncIterator[Record]:
    async with record_on(request.param) as lent:
        yield lent


@pytest.fixture
async def lake(tmp_path: Path) -> AsyncIterator[tuple[Record, Path]]:
    """Three whole days, exported."""
    async with record_on("postgresql") as lent:
        await three_days(lent)
        exported(lent.url, tmp_path / "lake")
        yield lent, tmp_path / "lake"


async def test_all_of_a_record_comes_back(record: Record, tmp_path: Path) -> None:
    await rich(record)
    exported(record.url, tmp_path, "parquet", BTC, BTC_5M, on_gap="ignore")
    before = await everything(record.url)
    assert [len(table) for table in before] == [34, 298, 6, 1, 2, 1]
    async with AsyncExitStack() as stack:
        for server in ("timescaledb", "postgresql"):
            target = await stack.enter_async_context(fresh_database(server))
            told = await imported(target, tmp_path)
            assert [(each.rows, each.new, each.known) for each in told] == [(298, 298, 0), (34, 34, 0)]
            assert await everything(target) == before
            again = await imported(target, tmp_path)
            assert [(each.new, each.known, each.conflicts) for each in again] == [(0, 298, 0), (0, 34, 0)]
            assert await everything(target) == before


async def test_a_database_that_has_a_part_gets_the_rest(lake: tuple[Record, Path]) -> None:
    source, directory = lake
    whole = await everything(source.url)
    async with record_on("timescaledb") as target:
        await target.trades([trade(n, DAY + n * 2.4 * HOUR) for n in (*range(8, 14), 29, 40)], covered=False)
        await target.cover([(8, 13), (29, 29), (40, 40)], Source.STREAM)
        [told] = await imported(target.url, directory)
        assert (told.rows, told.new, told.known, told.conflicts) == (30, 23, 7, 0)
        trades, _, coverage, *_ = await everything(target.url)
        assert trades[:30] == whole[0]
        assert [row[2:5] for row in coverage] == [(0, 29, "stream"), (40, 40, "stream")]


async def test_what_is_stored_otherwise_stays(lake: tuple[Record, Path], tmp_path: Path) -> None:
    _, directory = lake
    async with record_on("postgresql") as target:
        await target.trades([trade(12, DAY + 12 * 2.4 * HOUR, first_trade_id=7)])
        done = await program(target.url, tmp_path, "import", str(directory))
        assert (done.code, done.err) == (3, "")
        assert "29 rows new, 1 STORED WITH ANOTHER CONTENT" in done.out
        trades, *_ = await everything(target.url)
        assert (len(trades), trades[12][6]) == (30, 7)


async def test_absences_make_way_for_what_is_stored(tmp_path: Path) -> None:
    async with record_on("postgresql") as source, record_on("postgresql") as target:
        await rich(source)
        exported(source.url, tmp_path, "parquet", BTC, BTC_5M, on_gap="ignore")
        await target.trades([trade(31, DAY + 31 * HOUR)])
        await target.candles([DAY + timedelta(minutes=35)])
        await imported(target.url, tmp_path)
        told = await everything(target.url)
        assert [row[2:4] for row in told[3]] == [(30, 30), (32, 32)]
        assert [row[3] - row[4] for row in told[5]] == [0]
        again = await everything(target.url)
        await imported(target.url, tmp_path)
        assert await everything(target.url) == again


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-7])


def _altered(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(bytes(data))


HARM = [
    ("cut", _cut, "it was cut: "),
    ("altered", _altered, "it was altered: its checksum is not that of the manifest"),
    ("gone", Path.unlink, "it is missing"),
    ("empty", lambda file: file.write_bytes(b""), "it was cut: 0 bytes of "),
]


@pytest.mark.parametrize(("harm", "said"), [each[1:] for each in HARM], ids=[each[0] for each in HARM])
async def test_a_harmed_file_is_told_by_name(
    lake: tuple[Record, Path], tmp_path: Path, harm: Callable[[Path], object], said: str
) -> None:
    _, directory = lake
    file = directory / FOLDER / f"date={FIRST + timedelta(1)}" / "trades.parquet"
    harm(file)
    async with record_on("postgresql") as target:
        empty = await everything(target.url)
        done = await program(target.url, tmp_path, "import", str(directory))
        assert done.code == 1
        assert f"DAMAGED {file}: {said}" in done.err
        assert "Nothing was stored" in done.err
        assert await everything(target.url) == empty
        done = await program(target.url, tmp_path, "import", str(directory), "--skip-damaged")
        assert done.code == 1
        trades, _, coverage, *_ = await everything(target.url)
        assert [row[3] for row in trades] == [*range(10), *range(20, 30)]
        assert [row[2:4] for row in coverage] == [(0, 9), (20, 29)]


async def test_manifests_that_do_not_hold(lake: tuple[Record, Path], tmp_path: Path) -> None:
    source, directory = lake
    told = directory / TOLD
    whole = told.read_bytes()
    document = json.loads(whole)
    document["parts"][0]["proven"][0]["last"] = 999  # would prove what is not there
    stranger = told.parent / "date=2024-08-11" / "trades.parquet"
    stranger.parent.mkdir()
    for data, said in (
        (json.dumps(document).encode(), "does not match its own checksum"),
        (whole[:-30], "cannot be read"),
        (b'{"what": "something else"}', "no manifest of crypto-quant"),
        (whole.replace(b'"version": 1', b'"version": 2'), "has another version"),
    ):
        told.write_bytes(data)
        done = await program(source.url, tmp_path, "import", str(directory), "--check")
        assert done.code == 1
        assert said in done.err, done
        assert f"{FOLDER}/date={FIRST}/trades.parquet: no manifest names it" in done.err
    told.write_bytes(whole)
    assert (await program(source.url, tmp_path, "import", str(directory), "--check")).code == 0
    stranger.write_bytes(b"PAR1")
    done = await program(source.url, tmp_path, "import", str(directory))
    assert done.code == 1
    assert f"{stranger}: no manifest names it" in done.err


async def test_what_is_no_lake_is_refused(lake: tuple[Record, Path], tmp_path: Path) -> None:
    source, _ = lake
    with pytest.raises(ConfigError, match="there is no lake"):
        look(tmp_path / "nowhere", lambda *_: None)
    exported(source.url, tmp_path / "csv", "csv")
    with pytest.raises(ConfigError, match="only parquet can be imported"):
        look(tmp_path / "csv", lambda *_: None)


async def test_a_seal_without_the_rows_is_no_proof(lake: tuple[Record, Path]) -> None:
    """A manifest made by hand, sealed and all, proves no id whose row is not in the file."""
    _, directory = lake
    told = directory / TOLD
    honest = read(told)
    parts = tuple(msgspec.structs.replace(part, proven=(Proven(0, 500, "stream"),)) for part in honest.parts)
    write_whole(told, encoded(msgspec.structs.replace(honest, parts=parts)))
    async with record_on("postgresql") as target:
        await imported(target.url, directory)
        assert [row[2:4] for row in (await everything(target.url))[2]] == [(0, 29)]
