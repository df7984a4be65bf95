"""``init`` and ``config show``: what they write and tell."""

import json
import os
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from crypto_quant.cli import crypto_quant
from crypto_quant.cli.config import masked
from crypto_quant.cli.record import record
from crypto_quant.config import Settings, load
from crypto_quant.errors import ConfigError
from crypto_quant.settings_table import ABOUT, About, Secret, flag_of


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory of its own, and an environment that says nothing."""
    monkeypatch.chdir(tmp_path)
    for name in [*os.environ]:
        if name.startswith("CRYPTO_QUANT_") or name == "DATABASE_URL":
            monkeypatch.delenv(name)
    return tmp_path


def run(*words: str) -> Result:
    return CliRunner().invoke(crypto_quant, words, catch_exceptions=True)


def shown(*words: str) -> dict[str, Any]:
    done = run("config", "show", "--json", *words)
    assert done.exit_code == 0, done.output
    return dict(json.loads(done.stdout))


def test_init_writes_a_file_that_is_read_from_then_on(here: Path) -> None:
    assert run("init", "BTCUSDT", "ethusdt", "BTCUSDT").exit_code == 0
    assert load({}, {}, cwd=here) == Settings(symbols=("btcusdt", "ethusdt"))
    assert [path.name for path in here.iterdir()] == ["crypto-quant.toml"]
    assert (here / "crypto-quant.toml").stat().st_mode & 0o777 == 0o644


def test_init_never_overwrites_unless_told_to(here: Path) -> None:
    file = here / "crypto-quant.toml"
    file.write_text("mine")
    file.chmod(0o600)
    done = run("init")
    assert isinstance(done.exception, ConfigError)
    assert file.read_text() == "mine"
    assert run("init", "--force").exit_code == 0
    assert load({}, {}, cwd=here) == Settings()
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in here.iterdir()] == ["crypto-quant.toml"]


def test_init_writes_where_it_is_told(here: Path) -> None:
    assert run("init", "--path", "other.toml").exit_code == 0
    assert load({}, {}, here / "other.toml") == Settings()
    assert isinstance(run("init", "--path", "nowhere/x.toml").exception, ConfigError)


@pytest.mark.parametrize("symbol", ["BTC/USDT", "btc usdt", "btcusdt@trade", ""])
def test_init_refuses_what_can_be_no_symbol(here: Path, symbol: str) -> None:
    assert isinstance(run("init", symbol).exception, ConfigError)
    assert not list(here.iterdir())


def test_show_tells_every_value_and_its_source(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "crypto-quant.toml").write_text("# mine\nlinks = 2\n")
    monkeypatch.setenv("CRYPTO_QUANT_POOL_SIZE", "3")
    monkeypatch.setenv("CRYPTO_QUANT_UNHEARD_OF", "3")
    told = shown("btcusdt", "--ws-url", "ws://a:1", "--stream", "kline_5m", "--no-spool")
    assert list(told["settings"]) == list(Settings.__struct_fields__)
    assert told["file"] == "crypto-quant.toml"
    assert told["ignored"] == ["CRYPTO_QUANT_UNHEARD_OF"]
    expected = {
        "links": (2, "file", "crypto-quant.toml", 2),
        "pool_size": (3, "environment", "CRYPTO_QUANT_POOL_SIZE", None),
        "ws_url": ("ws://a:1", "flag", "--ws-url", None),
        "rest_url": ("http://a:1", "derived", "ws_url", None),
        "symbols": (["btcusdt"], "flag", "SYMBOL", None),
        "streams": (["kline_5m"], "flag", "--stream", None),
        "spool": (False, "flag", "--spool", None),
        "batch_size": (1000, "default", None, None),
    }
    for name, (value, origin, source, line) in expected.items():
        assert told["settings"][name] == {"value": value, "origin": origin, "name": source, "line": line}, name
    lines = run("config", "show").stdout.splitlines()
    assert len(lines) == len(Settings.__struct_fields__)
    assert lines[[line.split()[0] for line in lines].index("links")].split(maxsplit=2)[1:] == [
        "2", "crypto-quant.toml, line 2",
    ]  # fmt: skip


SECRETS = [
    ("database_url", "postgresql://u:geheim@h/d"),
    ("database_url", "postgresql://u@h/d?password=geheim&sslmode=require"),
    ("database_url", "postgresql://u:ge/geheim@h/d"),
    ("ws_url", "wss://u:geheim@h"),
    ("rest_url", "https://h/?token=geheim"),
    ("archive_url", "https://h/?apikey=geheim"),
]


@pytest.mark.parametrize(("name", "value"), SECRETS)
def test_show_hides_what_is_secret_in_a_url(here: Path, name: str, value: str) -> None:
    for words in (("--json",), ()):
        done = run("config", "show", flag_of(name), value, *words)
        assert done.exit_code == 0
        assert "geheim" not in done.output
        assert "***" in done.output


def test_a_setting_that_is_secret_is_hidden_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crypto_quant.cli.config.ABOUT", {**ABOUT, "spool_dir": About(help="x", secret=Secret.WHOLE)})
    assert masked("spool_dir", "geheim") == "***"
    assert masked("spool_dir", None) is None
    assert masked("data_dir", "geheim") == "geheim"


def test_every_setting_can_be_a_flag_of_record_with_its_own_limits() -> None:
    options = {option.name: option for option in record.params if isinstance(option, click.Option)}
    for name in Settings.__struct_fields__:
        if name != "symbols":
            assert flag_of(name) in options[name].opts, name
    assert options["links"].type.to_info_dict()["max"] == 4
    assert isinstance(options["links"].type, click.IntRange)
    assert isinstance(options["venue"].type, click.Choice)
    assert options["duration"].type.to_info_dict()["min_open"] is True


@pytest.mark.parametrize("words", [("--links", "5"), ("--duration", "0"), ("--venue", "moon"), ("--batch-age", "61")])
def test_a_flag_beyond_its_limits_is_a_usage_error(here: Path, words: tuple[str, ...]) -> None:
    done = run("config", "show", *words)
    assert done.exit_code == 2
    assert words[0] in done.stderr


@pytest.mark.parametrize(("words", "near"), [
    (("recrod",), "'record'"), (("completions",), "'completion'"), (("db", "strat"), "'start'"),
    (("config", "sho"), "'show'"), (("record", "--batchsize", "1"), "'--batch-size'"),
])  # fmt: skip
def test_a_typo_is_answered_with_what_is_nearest(words: tuple[str, ...], near: str) -> None:
    done = run(*words)
    assert done.exit_code == 2
    assert "Did you mean" in done.stderr
    assert near in done.stderr


def test_a_recording_says_which_variables_it_ignores(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRYPTO_QUANT_DBURL", "postgresql://u:geheim@h/d")
    monkeypatch.setattr("crypto_quant.cli.record.run", lambda _: 0)
    done = run("record", "btcusdt")
    assert done.exit_code == 0
    assert done.stderr == "crypto-quant: CRYPTO_QUANT_DBURL in the environment is no setting, and is ignored\n"
