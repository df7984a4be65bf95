"""Left-over rows: written whole, and loaded once."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from doubles import MemorySink

from crypto_quant.errors import ConfigError
from crypto_quant.seams import Batch, Covered, Source, Table
from crypto_quant.store import coverage, queries
from crypto_quant.store.leftover import Loaded, load_leftover, write_leftover
from crypto_quant.store.timescale import open_sink

TRADE = "2024-08-08 12:00:00.5+00\tspot\t币usdt\t{}\t57034.01000000\t0.00010000\t1\t2\tt\t\\N\n"
CANDLE = b"2024-08-08 12:00:00+00\tspot\tbtcusdt\t5m\t1\t1\t1\t1\t1" + b"\t\\N" * 6 + b"\n"


def batches(count: int) -> list[Batch]:
    rows = [TRADE.format(number).encode() for number in range(count)]
    return [Batch(Table.TRADES, rows[:7]), Batch(Table.CANDLES, [CANDLE]), Batch(Table.TRADES, rows[7:])]


async def test_a_file_a_table_that_loads_once(tmp_path: Path) -> None:
    left = write_leftover(tmp_path / "new", batches(2500))
    assert [(each.table, each.rows) for each in left] == [(Table.TRADES, 2500), (Table.CANDLES, 1)]
    assert sorted(file.suffix for file in (tmp_path / "new").iterdir()) == [".copy", ".copy"]
    sink = MemorySink()
    assert await load_leftover(sink, left[0].path) == Loaded(written=2500, duplicates=0)
    assert await load_leftover(sink, left[0].path) == Loaded(written=0, duplicates=2500)
    assert await load_leftover(sink, left[1].path) == Loaded(written=1, duplicates=0)


def test_nothing_left_is_no_file(tmp_path: Path) -> None:
    assert write_leftover(tmp_path, [Batch(Table.TRADES, [])]) == []
    assert list(tmp_path.iterdir()) == []


def test_a_second_file_never_takes_the_place_of_the_first(tmp_path: Path) -> None:
    paths = {write_leftover(tmp_path, batches(10))[0].path for _ in range(3)}
    assert len(paths) == 3
    assert all(path.exists() for path in paths)


@pytest.mark.parametrize("content", [b"", b"time\tprice\n1\t2\n", b"\xff\xfe\n"])
async def test_another_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.copy"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="left-over rows"):
        await load_leftover(MemorySink(), path)


async def test_a_file_that_was_cut_is_told(tmp_path: Path) -> None:
    (left, _candles) = write_leftover(tmp_path, batches(10))
    left.path.write_bytes(left.path.read_bytes()[:-5])
    with pytest.raises(ConfigError, match="middle of a row"):
        await load_leftover(MemorySink(), left.path)


async def test_the_command_does_what_it_says(tmp_path: Path, database_url: str) -> None:
    left = write_leftover(tmp_path / "a dir with 'quotes'", batches(100))
    sink = await open_sink(database_url)
    await sink.write(Batch(Table.TRADES, [TRADE.format(5).encode()]))
    outputs = [run(each.command, database_url) for each in left * 2]  # the second time changes nothing
    assert [done.returncode for done in outputs] == [0] * 4
    assert "99 rows stored, 1 were there already" in outputs[0].stdout
    assert "0 rows stored, 100 were there already" in outputs[2].stdout
    async with sink.reading() as connection:
        assert await queries.counts(connection) == {Table.TRADES: 100, Table.CANDLES: 1}
        covered = await coverage.load(connection, "spot")
    await sink.close()
    assert [(each.first, each.last) for each in covered["币usdt"]] == [(0, 99)]


async def test_rows_that_cannot_be_stored_are_named_by_their_line(tmp_path: Path, database_url: str) -> None:
    refused = trade_line(4).replace(b"\t1\t1\t", b"\tnonsense\t1\t", 1)
    rows = [trade_line(1), trade_line(2), trade_line(2).replace(b":00", b":01", 1), trade_line(3), refused]
    stored_otherwise = trade_line(3).replace(b":00", b":01", 1)
    assert len({*rows, stored_otherwise}) == 6
    (left,) = write_leftover(tmp_path, [Batch(Table.TRADES, rows)])
    sink = await open_sink(database_url)
    await sink.write(Batch(Table.TRADES, [stored_otherwise], [Covered("spot", "btcusdt", 3, 3, Source.STREAM)]))
    done = run(left.command, database_url)
    assert done.returncode == 1
    assert [line.rpartition(": ")[0].rpartition(":")[2] for line in done.stderr.splitlines()] == ["4", "5", "6"]
    async with sink.reading() as connection:
        found = await connection.fetch("SELECT trade_id, time FROM trades ORDER BY trade_id, time")
        covered = await coverage.load(connection, "spot")
    assert [row["trade_id"] for row in found] == [1, 2, 3]
    assert found[1]["time"] == found[0]["time"] < found[2]["time"]
    assert [(each.first, each.last) for each in covered["btcusdt"]] == [(1, 3)]
    # what comes later under another time is found, since the rows are covered
    later = await sink.write(Batch(Table.TRADES, [trade_line(1).replace(b":00", b":02", 1)],
                                   [Covered("spot", "btcusdt", 1, 1, Source.STREAM)]))  # fmt: skip
    assert (later.written, later.conflicting) == (0, (0,))
    await sink.close()


def test_another_file_is_refused_by_the_command(tmp_path: Path, database_url: str) -> None:
    (tmp_path / "x.copy").write_text("something else\n", encoding="utf-8")
    done = run(f"crypto-quant db load {tmp_path / 'x.copy'}", database_url)
    assert done.returncode != 0
    assert "not a file of left-over rows" in done.stderr
    assert "Traceback" not in done.stderr


def run(command: str, database_url: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"CRYPTO_QUANT_DATABASE_URL": database_url}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    return subprocess.run(["sh", "-c", command], env=environment, capture_output=True, text=True, check=False)


async def test_rows_that_are_stored_with_another_content_are_named_by_their_place(
    database_url: str, tmp_path: Path
) -> None:
    sink = await open_sink(database_url)
    rows = [trade_line(number) for number in range(1500)]
    await sink.write(Batch(Table.TRADES, [rows[3], rows[1200]]))
    changed = [*rows[:3], rows[3].replace(b"\tt\t", b"\tf\t"), *rows[4:1200], rows[1200].replace(b"\tt\t", b"\tf\t")]
    (left,) = write_leftover(tmp_path, [Batch(Table.TRADES, changed)])
    receipt = await load_leftover(sink, left.path)
    await sink.close()
    assert (receipt.written, receipt.duplicates, receipt.conflicting) == (1199, 0, (3, 1200))


def trade_line(number: int) -> bytes:
    return f"2024-08-08 12:00:00+00\tspot\tbtcusdt\t{number}\t1\t1\t{number}\t{number}\tt\t\\N\n".encode()
