"""``crypto-quant export`` as the program that it is: words, exit codes, and stderr that is quiet in a pipe."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import duckdb
import pytest
from commands import program
from exports import everything, files, three_days
from records import Record, record_on


@pytest.fixture
async def record() -> AsyncIterator[Record]:
    async with record_on("postgresql") as lent:
        await three_days(lent)
        yield lent


async def test_export_and_import(record: Record, tmp_path: Path) -> None:
    done = await program(record.url, tmp_path, "export", "BTCUSDT", "--out", "lake")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("spot btcusdt trades: 3 files with 30 rows, ")
    again = await program(record.url, tmp_path, "export", "btcusdt", "--out", "lake", "--json")
    assert json.loads(again.out)[0]["kept"] == 3
    checked = await program(record.url, tmp_path, "import", "lake", "--check")
    assert (checked.code, checked.err) == (0, "")
    assert checked.out == "3 files of 1 series are as their manifests say, 30 rows\n"
    stored = await program(record.url, tmp_path, "import", "lake")
    assert (stored.code, stored.err) == (0, "")
    assert "spot btcusdt trades: 3 files, 0 rows new, 30 were there" in stored.out


async def test_gaps_are_told(record: Record, tmp_path: Path) -> None:
    await record.execute("DELETE FROM trades WHERE trade_id = 14")
    await record.execute("DELETE FROM coverage")
    await record.cover([(0, 13), (15, 29)])
    words = ["export", "btcusdt", "--format", "csv", "--out", "out"]
    refused = await program(record.url, tmp_path, *words)
    assert (refused.code, refused.out) == (3, "")
    assert "14 missing" in refused.err
    assert files(tmp_path) == []
    warned = await program(record.url, tmp_path, *words, "--on-gap", "warn")
    assert warned.code == 0
    assert "1 INCOMPLETE" in warned.out
    assert warned.err.startswith("INCOMPLETE spot btcusdt trades 2024-08-09: 2024-08-09T")
    again = await program(record.url, tmp_path, *words, "--on-gap", "ignore")
    assert (again.code, again.err) == (0, "")


async def test_an_answer_as_parquet(record: Record, tmp_path: Path) -> None:
    question = "SELECT trade_id, price, price * 2 AS twice, NULL AS nothing FROM trades ORDER BY trade_id"
    command = f"import sys; sys.argv[1:] = ['query', {question!r}, '--format', 'parquet']"
    file = tmp_path / "answer.parquet"
    with file.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", f"{command}; from crypto_quant.cli import main; main()",
            env={**os.environ, "CRYPTO_QUANT_DATABASE_URL": record.url}, stdout=out,
        )  # fmt: skip
        assert await process.wait() == 0
    types = [row[1] for row in duckdb.sql(f"DESCRIBE FROM '{file}'").fetchall()]
    assert types[:3] == ["BIGINT", "DECIMAL(38,8)", "DECIMAL(38,8)"]
    assert (
        str(duckdb.sql(f"SELECT twice FROM '{file}' WHERE trade_id = 4").fetchall()[0][0]) == "1999999999999.99999998"
    )


WRONG = [
    (["btcusdt", "--from", "2024-08-09", "--to", "2024-08-08"], "the days end before they begin"),
    (["btcusdt", "--from", "yesterday"], "not a day: 'yesterday'. Expected YYYY-MM-DD"),
    (["btcusd"], "no trades of this symbol were ever recorded: btcusd (spot). Did you mean 'btcusdt'?"),
    (["btcusdt", "--kind", "candles"], "candles of which timeframe?"),
    (["btcusdt", "--kind", "trades", "--timeframe", "5m"], "trades have no timeframe"),
    (["btcusdt", "--timeframe", "7m"], "unknown timeframe: '7m'"),
    (["btcusdt", "--timeframe", "5m", "--format", "hftbacktest"], "hftbacktest has no candles"),
    (["btcusdt", "--from", "2030-01-01"], "the record of this series does not reach these days"),
    (["btcusdt", "--format", "xlsx"], "Invalid value for '--format'"),
    (["btcusdt", "--out", __file__], "this is no directory"),
]


async def test_wrong_words_are_told(record: Record, tmp_path: Path) -> None:
    for words, said in WRONG:
        done = await program(record.url, tmp_path, "export", "--out", "lake", *words)
        assert (done.code, done.out) == (2, ""), (words, done)
        assert said in done.err, done
        assert "Traceback" not in done.err
    assert not (tmp_path / "lake").exists()


async def test_nothing_is_made_to_be_read(tmp_path: Path) -> None:
    """Whoever only reads starts no database where there is none."""
    for words in (["export", "btcusdt", "--out", "lake"], ["candles", "btcusdt", "5m"], ["query", "SELECT 1"]):
        done = await program("", tmp_path, *words)
        assert done.code == 2
        assert "nothing was ever recorded here" in done.err
    assert files(tmp_path) == []


async def test_without_the_extra_it_says_what_to_install(record: Record, tmp_path: Path) -> None:
    code = "import sys; sys.modules['pyarrow'] = None; sys.argv[1:] = ['export', 'btcusdt', '--out', 'lake']"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", f"{code}; from crypto_quant.cli import main; main()", cwd=tmp_path,
        env={**os.environ, "CRYPTO_QUANT_DATABASE_URL": record.url}, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, said = await process.communicate()
    assert process.returncode == 2
    assert b"this needs pyarrow. Install it with: scripts/uv sync --no-dev --inexact --extra arrow (in a clone)" in said


async def test_what_is_exported_may_be_dropped_and_comes_back(record: Record, tmp_path: Path) -> None:
    before = (await everything(record.url))[0]
    drop = ["db", "drop", "--before", "2024-08-10", "--require-export", "lake"]
    (tmp_path / "lake").mkdir()
    await program(record.url, tmp_path, *drop)
    assert (await everything(record.url))[0] == before
    assert (await program(record.url, tmp_path, "export", "btcusdt", "--out", "lake")).code == 0
    dropped = await program(record.url, tmp_path, *drop)
    assert dropped.code == 0, dropped
    assert [row[3] for row in (await everything(record.url))[0]] == list(range(20, 30))
    # the files of what was dropped stay, and count
    again = await program(record.url, tmp_path, "export", "btcusdt", "--out", "lake", "--json")
    assert (again.code, json.loads(again.out)[0]["kept"]) == (0, 1)
    asked = await program(record.url, tmp_path, "export", "btcusdt", "--out", "lake", "--from", "2024-08-07")
    assert asked.code == 3
    assert "trades 2024-08-07T00:00:00Z to 2024-08-08T00:00:00Z: not proven" in asked.err
    stored = await program(record.url, tmp_path, "import", "lake")
    assert "20 rows new, 10 were there" in stored.out
    assert (await everything(record.url))[0] == before
