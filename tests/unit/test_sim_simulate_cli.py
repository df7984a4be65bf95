"""Bad input of ``crypto-quant simulate`` gets one clear line and exit code 2."""

import gzip
from pathlib import Path

import pytest
from click.testing import CliRunner

from crypto_quant.cli.simulate import simulate
from crypto_quant.errors import ConfigError


def refused(*arguments: str) -> ConfigError:
    problem = CliRunner().invoke(simulate, ["--port", "0", *arguments]).exception
    assert isinstance(problem, ConfigError), problem
    assert problem.exit_code == 2
    return problem


@pytest.mark.parametrize(
    ("arguments", "gist"),
    [
        (["--host", "0.0.0.0"], "--allow-remote"),  # noqa: S104
        (["--host", "192.168.1.7"], "--allow-remote"),
        (["--host", "example.org"], "not an address"),
        (["--speed", "fast"], "not a speed"),
        (["--speed", "0"], "not a speed"),
        (["--rate", "0"], "rate out of range"),
        (["--rate", "nan"], "rate out of range"),
        (["--start", "yesterday"], "not a start time"),
        (["--symbols", "2", "--symbol", "BTCUSDT"], "exclude each other"),
        (["--symbol", "BTC/USDT"], "not a symbol"),
        (["--symbol", "BTCUSDT", "--symbol", "btcusdt"], "given twice"),
        (["--tape", "/nowhere/at/all"], "cannot read the capture"),
        (["--tape", "x", "--symbols", "2"], "brings its own symbols"),
    ],
)
def test_bad_input(arguments: list[str], gist: str) -> None:
    assert gist in str(refused(*arguments))


def test_a_capture_without_trades(tmp_path: Path) -> None:
    path = tmp_path / "empty.gz"
    path.write_bytes(gzip.compress(b"noise\n"))
    assert "no trades" in str(refused("--tape", str(path)))


@pytest.mark.parametrize(
    "arguments",
    [
        ["--port", "70000"],
        ["--symbols", "0"],
        ["--life", "0"],
        ["--colour", "red"],
        ["--life", "nan"],
        ["--lead", "inf"],
        ["--seconds", "nan"],
        ["--seconds", "-1"],
    ],
)
def test_usage(arguments: list[str]) -> None:
    assert CliRunner().invoke(simulate, arguments).exit_code == 2
