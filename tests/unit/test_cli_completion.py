"""Shell completion: a real bash asks, and what it asks imports nothing heavy."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("asyncpg", "aiohttp", "picows", "structlog", "rich", "uvloop", "pyarrow", "numpy")
REPORT = (
    "import sys, atexit\n"
    f"atexit.register(lambda: print('HEAVY', [m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr))\n"
    "from crypto_quant.cli import main\n"
    "main()"
)


def asked(line: str, *, cwd: Path | None = None) -> tuple[list[str], str]:
    """Return what completes the last word of a command line, and what was said of heavy modules."""
    words = line.split(" ")
    environ = {
        **os.environ, "_CRYPTO_QUANT_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", REPORT], env=environ, capture_output=True, text=True, check=True, cwd=cwd
    )
    return [each.partition(",")[2] for each in done.stdout.split()], done.stderr


@pytest.mark.parametrize(("line", "expected"), [
    ("crypto-quant re", {"record", "repair"}),
    ("crypto-quant config s", {"show"}),
    ("crypto-quant record --batch", {"--batch-size", "--batch-age"}),
    ("crypto-quant record --venue ", {"spot", "usdm", "coinm"}),
    ("crypto-quant record --stream kline_1", {f"kline_1{unit}" for unit in ("s", "m", "5m", "h", "2h", "d", "w", "M")}),
    ("crypto-quant record --venue usdm --stream kline_1",
     {f"kline_1{unit}" for unit in ("m", "5m", "h", "2h", "d", "w", "M")}),
    ("crypto-quant record --log-level ", {"debug", "info", "warning", "error"}),
    ("crypto-quant doctor --pool", {"--pool-size"}),
    ("crypto-quant init --pa", {"--path"}),
    ("crypto-quant query --format ", {"table", "json", "ndjson", "csv", "parquet"}),
    ("crypto-quant export --format ", {"parquet", "csv", "freqtrade", "tardis-csv", "hftbacktest", "nautilus"}),
    ("crypto-quant export --timeframe 1", {f"1{unit}" for unit in ("s", "m", "5m", "h", "2h", "d", "w", "M")}),
    ("crypto-quant candles btcusdt 3", {"3m", "30m", "3d"}),
    ("crypto-quant completion ", {"bash", "zsh", "fish"}),
    ("crypto-quant db st", {"start", "stop", "status"}),
])  # fmt: skip
def test_completing_knows_and_imports_little(line: str, expected: set[str]) -> None:
    found, said = asked(line)
    assert set(found) == expected
    assert said == "HEAVY []\n"


def test_every_verb_is_completed() -> None:
    from crypto_quant.cli import VERBS

    found, said = asked("crypto-quant ")
    assert set(found) == set(VERBS)
    assert said == "HEAVY []\n"


def test_a_heavy_module_would_be_noticed() -> None:
    _, said = asked("crypto-quant demo --")
    assert "asyncpg" in said  # the demo has all of them, and nobody waits for it often


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_its_script(shell: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "crypto_quant", "completion", shell], capture_output=True, text=True, check=True
    )
    assert f"_CRYPTO_QUANT_COMPLETE={shell}_complete" in done.stdout
    assert done.stderr == ""


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
@pytest.mark.parametrize(("line", "expected"), [
    ("crypto-quant reco", "record"),
    ("crypto-quant record --stream aggT", "aggTrade"),
    ("crypto-quant record --no-sp", "--no-spool"),
])  # fmt: skip
def test_a_real_bash_completes(tmp_path: Path, line: str, expected: str) -> None:
    program = tmp_path / "crypto-quant"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m crypto_quant "$@"\n')
    program.chmod(0o755)
    script = """
        eval "$(crypto-quant completion bash)"
        COMP_WORDS=($LINE); COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        $(complete -p crypto-quant | sed 's/.*-F \\([^ ]*\\).*/\\1/') crypto-quant
        echo "${COMPREPLY[@]}"
    """
    done = subprocess.run(
        ["bash", "--norc", "-c", script],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "LINE": line},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == [expected]
