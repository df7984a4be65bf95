"""``crypto-quant query``: exact answers in every form, as they come; and nothing is written by it."""

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest
from commands import program

from crypto_quant.store.timescale import open_sink

VALUES = """
SELECT 12345678901.12345678::numeric(20,8) AS price, 9007199254740993::bigint AS id, NULL::text AS nothing,
       E'tab\\tback\\\\slash, "quote"\\nline' AS words, '' AS empty, true AS yes, 0.1::float8 AS g,
       'NaN'::float8 AS nan, '2026-10-01 23:50:00.123456+02'::timestamptz AS at, '{"a": [1]}'::jsonb AS j,
       ARRAY[1, 2] AS several"""
WORDS = 'tab\tback\\slash, "quote"\nline'


async def test_json_keeps_every_digit(database_url: str, tmp_path: Path) -> None:
    expected = {
        "price": "12345678901.12345678", "id": 9007199254740993, "nothing": None, "words": WORDS, "empty": "",
        "yes": True, "g": 0.1, "nan": "NaN", "at": "2026-10-01T21:50:00.123456Z", "j": {"a": [1]}, "several": "{1,2}",
    }  # fmt: skip
    whole = await program(database_url, tmp_path, "query", VALUES, "--format", "json")
    assert (whole.code, whole.err) == (0, "")
    assert json.loads(whole.out) == [expected]
    lines = await program(database_url, tmp_path, "query", f"{VALUES} FROM generate_series(1, 3)", "--format", "ndjson")
    assert [json.loads(line) for line in lines.out.splitlines()] == [expected] * 3
    empty = await program(database_url, tmp_path, "query", "SELECT 1 AS a WHERE false", "--format", "json")
    assert json.loads(empty.out) == []


async def test_csv_is_what_postgresql_writes(database_url: str, tmp_path: Path) -> None:
    done = await program(database_url, tmp_path, "query", VALUES, "--format", "csv")
    names, values = csv.reader(io.StringIO(done.out))
    row = dict(zip(names, values, strict=True))
    assert (row["price"], row["words"], row["nothing"]) == ("12345678901.12345678", WORDS, "")
    assert row["at"] == "2026-10-01 21:50:00.123456+00"


async def test_a_table_is_plain_and_straight(database_url: str, tmp_path: Path) -> None:
    done = await program(
        database_url, tmp_path, "query", "SELECT g AS n, repeat('x', g) AS t FROM generate_series(1, 2000) g"
    )
    names, line, *rows = done.out.splitlines()
    assert names == "   n  t"
    assert line.startswith("----  --")
    assert (rows[0], rows[1999]) == ("   1  x", f"2000  {'x' * 2000}")  # wider than what decided the widths
    hidden = await program(database_url, tmp_path, "query", "SELECT E'\\x1b]0;gotcha\\x07' AS t")
    assert "\x1b" not in hidden.out


async def test_what_is_no_select_is_answered_too(database_url: str, tmp_path: Path) -> None:
    plan = await program(database_url, tmp_path, "query", "-", stdin="-- the plan\nEXPLAIN SELECT 1;")
    assert "Result" in plan.out
    shown = await program(database_url, tmp_path, "query", "SHOW transaction_read_only", "--format", "csv")
    assert shown.out == "transaction_read_only\non\n"
    asked = await program(
        database_url,
        tmp_path,
        "query",
        "-",
        stdin="SELECT 7 AS n -- from stdin",
    )
    assert asked.out.split() == ["n", "-", "7"]


WRITES = [
    ("INSERT INTO coverage VALUES ('spot', 'x', 1, 2, 'rest', true)", "gives no rows, and query only reads"),
    ("DELETE FROM trades RETURNING *", "writes, and query only reads; nothing was changed"),
    ("WITH gone AS (DELETE FROM trades RETURNING *) SELECT * FROM gone", "writes, and query only reads"),
    ("SELECT 1; DELETE FROM trades", "cannot insert multiple commands"),
    ("SELECT 1) TO STDOUT; COMMIT; DELETE FROM trades; --", "syntax error"),
    ("COMMIT", "gives no rows, and query only reads"),
    ("SELECT set_config('transaction_read_only', 'off', true)", "must be set before any query"),
    ("EXPLAIN ANALYZE DELETE FROM trades", "writes, and query only reads"),
    ("COPY trades TO '/tmp/trades'", "gives no rows, and query only reads"),
]


async def test_a_statement_that_writes_is_refused(database_url: str, tmp_path: Path) -> None:
    await (await open_sink(database_url)).close()
    connection = await asyncpg.connect(database_url)
    await connection.execute(
        "INSERT INTO trades (time, symbol, trade_id, price, quantity, first_trade_id, last_trade_id, is_buyer_maker)"
        " SELECT now(), 'btcusdt', 1, 1, 1, 1, 1, true"
    )
    for statement, said in WRITES:
        for form in ("ndjson", "csv"):
            done = await program(database_url, tmp_path, "query", statement, "--format", form)
            assert done.code in {1, 2}, (statement, done)
            assert said in done.err, (statement, done)
            assert "Traceback" not in done.err
            assert done.out == ""
    assert await connection.fetchval("SELECT count(*) FROM trades") == 1
    assert await connection.fetchval("SELECT count(*) FROM coverage") == 0
    await connection.close()


WRONG = [
    ("SELECT price\nFROM tradez", 'line 2, column 6. relation "tradez" does not exist'),
    ("SELECT 1/0", "division by zero"),
    ("", "gives no rows"),
]


@pytest.mark.parametrize(("statement", "said"), WRONG)
async def test_a_wrong_statement_is_told(postgres_url: str, tmp_path: Path, statement: str, said: str) -> None:
    done = await program(postgres_url, tmp_path, "query", statement)
    assert (done.code, done.out) == (2, "")
    assert said in done.err


@pytest.mark.parametrize("unbuffered", ["", "1"])
async def test_rows_come_as_they_are_made(postgres_url: str, unbuffered: str) -> None:
    """More than memory would hold, were it collected; and a reader that leaves ends it quietly."""
    endless = "SELECT g, repeat('x', 1000) FROM generate_series(1, 100000000) g"
    words = [sys.executable, "-m", "crypto_quant", "query", endless, "--format", "ndjson"]
    with subprocess.Popen(  # noqa: ASYNC220
        words,
        env={**os.environ, "DATABASE_URL": postgres_url, "PYTHONUNBUFFERED": unbuffered},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        for _ in range(100_000):
            assert process.stdout.readline()
        pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])  # noqa: ASYNC240
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""
    assert process.returncode == 0
    assert pages * os.sysconf("SC_PAGESIZE") < 150e6


async def test_a_full_disk_is_told(postgres_url: str, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "crypto_quant", "query", "SELECT * FROM generate_series(1, 100000)"]
    with open("/dev/full", "wb") as full:  # noqa: ASYNC230, PTH123
        done = subprocess.run(  # noqa: ASYNC221
            words, env={**os.environ, "DATABASE_URL": postgres_url}, stdout=full, stderr=subprocess.PIPE, text=True,
            check=False, cwd=tmp_path,
        )  # fmt: skip
    assert done.returncode == 1
    assert "No space left on device; it is not whole" in done.stderr


async def test_one_connection_is_enough(community_url: str, tmp_path: Path) -> None:
    done = await program(community_url, tmp_path, "query", "SELECT g, g * 1.50 AS p FROM generate_series(1, 2) g",
                         "--format", "ndjson")  # fmt: skip
    assert done.out == '{"g":1,"p":"1.50"}\n{"g":2,"p":"3.00"}\n'
