"""Progress on real terminals: there where somebody looks, and nowhere else."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from terminals import window

# a verb that takes its time, told step by step: it goes on when it is told to
WORK = """
import pathlib, sys, termios, tty, click
from crypto_quant.cli.bar import Bar, Upgrade, quiet_option, waiting
from crypto_quant.events import SchemaOutdated, StoreReady

def step(name):
    pathlib.Path(files.pop(0)).touch()
    sys.stdin.readline()

@click.command()
@quiet_option
def work():
    with waiting("Making the embedded database, once"):
        step("waited")
    with Bar("days") as bar:
        with Upgrade() as upgrade:
            upgrade(SchemaOutdated(version=4, of=5, step="candle_coverage"))
            step("upgrading")
            upgrade(StoreReady(database="d", tier="t", schema_version=5))
        bar(3, 12, "btcusdt\\x1b[31m [red]2026-09-01")
        step("working")
    print("done", flush=True)

if sys.stdin.isatty():
    tty.setcbreak(0)  # what is typed is not echoed
files, sys.argv[1:] = sys.argv[1:4], sys.argv[4:]
work()
"""


def steps(directory: Path) -> list[str]:
    """Return the files with which it tells where it is."""
    return [str(directory / name) for name in ("waited", "upgrading", "working")]


def test_each_step_is_seen_and_goes_again(tmp_path: Path) -> None:
    with window(*steps(tmp_path), python=WORK, columns=120) as (seen, process):
        seen.until(lambda text: "Making the embedded database, once 0:00:0" in text)
        seen.type(b"\n")
        text = seen.until(lambda text: "candle coverage, version 4 of 5" in text)
        assert "Making" not in text
        seen.type(b"\n")
        text = seen.until(lambda text: "3/12 days" in text and "version 4" not in text)
        assert "btcusdt�[31m [red]2026-09-01" in text
        assert " left" not in text  # nobody can know yet
        seen.type(b"\n")
        assert process.wait(20) == 0
        assert "days" not in seen.until(lambda text: "done" in text)


@pytest.mark.parametrize(("words", "environment"), [(("--quiet",), {}), (("-q",), {}), ((), {"TERM": "dumb"})])
def test_quiet_is_quiet(tmp_path: Path, words: tuple[str, ...], environment: Mapping[str, str]) -> None:
    files = steps(tmp_path)
    with window(*files, *words, python=WORK, environment=environment) as (seen, process):
        for file in files:
            seen.until(lambda _, file=file: Path(file).exists())
            seen.type(b"\n")
        assert process.wait(20) == 0
        seen.until(lambda text: "done" in text)
        assert seen.raw == b"done\r\n"


def test_in_a_pipe_there_is_none(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WORK, *steps(tmp_path)]
    done = subprocess.run(command, input="\n\n\n", capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("done\n", "")
