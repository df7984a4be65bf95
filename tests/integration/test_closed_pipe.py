"""``crypto-quant … | head -1``: every verb that prints results ends without a word when nobody reads them any more."""

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from records import Record, trade

from crypto_quant.cli import VERBS, crypto_quant
from crypto_quant.store.migrate import migrate
from crypto_quant.store.tier import Tier
from crypto_quant.store.timescale import connect

# what each verb is asked, and how it ends with nobody there; those with a verdict keep it. {} is the data directory
SPOKEN: dict[str, tuple[tuple[str, ...], int]] = {
    "backfill": (("btcusdt", "--from", "2020-01-01", "--to", "2020-01-01", "--rest-url", "http://127.0.0.1:1"), 1),
    "candles": (("btcusdt", "1m"), 0),
    "completion": (("bash",), 0),
    "config": (("show",), 0),
    "db": (("policy", "show"), 0),
    "export": (("btcusdt", "--out", "{}/lake", "--on-gap", "ignore"), 0),
    "import": (("{}/lake",), 0),
    "query": (("SELECT * FROM generate_series(1, 1000000)",), 0),
    "repair": (("--rest-url", "http://127.0.0.1:1"), 3),
    "seal": ((), 0),
    "sim": (("--seeds", "1"), 0),
    "status": ((), 1),
    "verify": ((), 3),
}
# record logs to stderr alone, init writes a file; demo and doctor are the same with much work; the others serve
NOT_SPOKEN = {"record", "init", "demo", "doctor", "simulate", "serve"}
GROUPS = {
    "db": [("status",), ("url",), ("migrate",), ("rollups", "create"), ("rollups", "show"), ("rollups", "refresh"),
           ("policy", "run"), ("drop", "--before", "2020-01-01"), ("rollups", "drop")],
}  # fmt: skip


def alone(url: str, directory: Path, *words: str, unbuffered: str = "") -> tuple[int, str]:
    """Run it with a stdout whose reader has gone; return its exit code and what it said."""
    variables = {key: value for key, value in os.environ.items() if not key.startswith("CRYPTO_QUANT_")}
    variables |= {"CRYPTO_QUANT_DATABASE_URL": url, "CRYPTO_QUANT_DATA_DIR": str(directory)}
    variables["PYTHONUNBUFFERED"] = unbuffered
    ours, theirs = os.pipe()
    os.close(ours)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "crypto_quant", *words], stdout=theirs, stderr=subprocess.PIPE, env=variables,
            timeout=120, check=False, text=True,
        )  # fmt: skip
    finally:
        os.close(theirs)
    return done.returncode, done.stderr


def test_every_verb_is_here() -> None:
    assert set(VERBS) - NOT_SPOKEN == set(SPOKEN)


async def test_a_reader_who_has_gone_is_no_error(postgres_url: str, tmp_path: Path) -> None:
    connection = await connect(postgres_url)
    await migrate(connection)
    await connection.close()
    record = Record(postgres_url, Tier.POSTGRESQL)
    await record.trades([trade(number) for number in (*range(50), *range(60, 130))])
    told = {}
    for verb, (words, code) in SPOKEN.items():
        given = [word.replace("{}", str(tmp_path)) for word in words]
        told[verb] = (*alone(postgres_url, tmp_path, verb, *given), code)
    wrong = {verb: each for verb, each in told.items() if each[0] != each[2] or "Traceback" in each[1]}
    assert wrong == {}
    assert [said for _, said, _ in told.values() if "Broken pipe" in said or "BrokenPipe" in said] == []


async def test_of_the_verbs_of_db_as_well(postgres_url: str, tmp_path: Path) -> None:
    told = {words: alone(postgres_url, tmp_path, "db", *words) for words in GROUPS["db"]}
    assert {words: said for words, (code, said) in told.items() if said or code != (words == ("status",))} == {}


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_help_into_nowhere(verb: str, tmp_path: Path) -> None:
    command = crypto_quant.get_command(click.Context(crypto_quant), verb)
    assert command is not None
    assert alone("", tmp_path, verb, "--help") == (0, "")
    assert alone("", tmp_path, verb, "--help", unbuffered="1") == (0, "")


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("words", [("status",), ("config", "show"), ("config", "show", "--json")])
def test_a_full_disk_is_told(words: tuple[str, ...], unbuffered: str, tmp_path: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "crypto_quant", *words], stdout=full, stderr=subprocess.PIPE, text=True, check=False,
            env={**os.environ, "CRYPTO_QUANT_DATA_DIR": str(tmp_path), "PYTHONUNBUFFERED": unbuffered},
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == (
        "crypto-quant: the answer could not be written: stdout. No space left on device; it is not whole\n"
    )


def test_stderr_that_nobody_reads_is_no_error(tmp_path: Path) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    done = subprocess.run(
        [sys.executable, "-m", "crypto_quant", "status", "--watch"], stderr=theirs, stdout=subprocess.DEVNULL,
        env={**os.environ, "CRYPTO_QUANT_DATA_DIR": str(tmp_path)}, check=False,
    )  # fmt: skip
    os.close(theirs)
    assert done.returncode == 2


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_standard_streams_that_are_closed(postgres_url: str, closed: str, tmp_path: Path) -> None:
    """Else a connection would take the number of one, and the event loop would end the program."""
    variables = {**os.environ, "CRYPTO_QUANT_DATABASE_URL": postgres_url, "CRYPTO_QUANT_DATA_DIR": str(tmp_path)}
    for words, code in ((("query", "SELECT 1"), 0), (("candles", "btcusdt", "1m"), 2)):
        done = subprocess.run(
            ["sh", "-c", f'"$@" {closed}', "sh", sys.executable, "-m", "crypto_quant", *words],
            capture_output=True, text=True, check=False, env=variables, timeout=60,
        )  # fmt: skip
        assert done.returncode == code, done
        assert "Traceback" not in done.stderr
