"""Where settings come from, and what a wrong one is told."""

import math
from pathlib import Path
from typing import Any

import pytest

from crypto_quant.config import Origin, Settings, Source, load, resolve
from crypto_quant.errors import ConfigError
from crypto_quant.market import Venue


def from_file(tmp_path: Path, text: str, environ: dict[str, str] | None = None, **flags: Any) -> Settings:
    (tmp_path / "crypto-quant.toml").write_text(text, encoding="utf-8")
    return load(flags, environ or {}, cwd=tmp_path)


def refusal(flags: dict[str, Any] | None = None, environ: dict[str, str] | None = None, **where: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load(flags or {}, environ or {}, **where)
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_without_anything_the_defaults_hold(tmp_path: Path) -> None:
    settings = load({}, {}, cwd=tmp_path)
    assert settings == Settings()
    assert (settings.batch_size, settings.streams, settings.venue) == (1000, ("aggTrade",), Venue.SPOT)


def test_flag_then_environment_then_file_then_default(tmp_path: Path) -> None:
    text = "batch_size = 1\npool_size = 1\nstats_interval = 1\n"
    environ = {"CRYPTO_QUANT_BATCH_SIZE": "2", "CRYPTO_QUANT_POOL_SIZE": "2"}
    settings = from_file(tmp_path, text, environ, batch_size=3, duration=None)
    assert (settings.batch_size, settings.pool_size, settings.stats_interval, settings.drain_deadline) == (3, 2, 1, 30)


@pytest.mark.parametrize(("environ", "url"), [
    ({"DATABASE_URL": "a"}, "a"),
    ({"CRYPTO_QUANT_DATABASE_URL": "b"}, "b"),
    ({"DATABASE_URL": "a", "CRYPTO_QUANT_DATABASE_URL": "b"}, "b"),
    ({"DATABASE_URL": "", "CRYPTO_QUANT_DATABASE_URL": ""}, "file"),
    ({}, "file"),
])  # fmt: skip
def test_the_projects_own_database_variable_wins_over_the_common_one(
    tmp_path: Path, environ: dict[str, str], url: str
) -> None:
    assert from_file(tmp_path, 'database_url = "file"', environ).database_url == url


def test_lists_in_the_environment_take_commas_and_blanks() -> None:
    environ = {"CRYPTO_QUANT_SYMBOLS": "btcusdt, ethusdt  币安人生usdt", "CRYPTO_QUANT_STREAMS": "kline_5m,aggTrade"}
    settings = load({}, environ)
    assert settings.symbols == ("btcusdt", "ethusdt", "币安人生usdt")
    assert settings.streams == ("kline_5m", "aggTrade")


def test_text_becomes_its_type() -> None:
    environ = {
        "CRYPTO_QUANT_DURATION": "1.5", "CRYPTO_QUANT_CHECK_SYMBOLS": "false", "CRYPTO_QUANT_VENUE": "usdm",
        "CRYPTO_QUANT_LOG_LEVEL": "debug", "CRYPTO_QUANT_BATCH_AGE": "0",
    }  # fmt: skip
    settings = load({}, environ)
    assert (settings.duration, settings.check_symbols, settings.venue) == (1.5, False, Venue.USDM)
    assert (settings.log_level, settings.batch_age) == ("DEBUG", 0.0)


def test_every_setting_can_stand_in_a_file(tmp_path: Path) -> None:
    text = """
        symbols = ["btcusdt"]
        streams = ["aggTrade", "kline_5m"]
        venue = "coinm"
        database_url = "postgresql://x"
        ws_url = "ws://a:1"
        rest_url = "http://b:2"
        archive_url = "http://c:3"
        check_symbols = false
        backfill = false
        backfill_reach = 7
        links = 2
        batch_size = 5
        batch_age = 0.5
        duration = 60
        drain_deadline = 5.0
        stats_interval = 1
        candle_grace = 2
        candle_lines = 3
        pending_limit = 5000
        spool = false
        spool_limit = 2097152
        spool_dir = "~/spool"
        pool_size = 2
        log_level = "warning"
        log_format = "json"
        data_dir = "~/x"
        serve = "127.0.0.1:1"
        serve_token = "0123456789abcdef"
        metrics_port = 9464
        metrics_host = "0.0.0.0"
        metrics_streams = 0
    """
    settings = from_file(tmp_path, text)
    differing = [name for name in Settings.__struct_fields__ if getattr(settings, name) != getattr(Settings(), name)]
    assert differing == list(Settings.__struct_fields__)


@pytest.mark.parametrize(("text", "near"), [
    ("batch_siz = 1", "Did you mean 'batch_size'?"),
    ("symbol = ['btcusdt']", "Did you mean 'symbols'?"),
    ('databaseurl = "x"', "Did you mean 'database_url'?"),
    ("zzz = 1", "Known: archive_url,"),
    ("[record]\nbatch_size = 1", "unknown setting"),
])  # fmt: skip
def test_a_typo_is_named_with_what_is_nearest(tmp_path: Path, text: str, near: str) -> None:
    (tmp_path / "crypto-quant.toml").write_text(text)
    told = refusal(cwd=tmp_path)
    assert near in told
    assert "crypto-quant.toml" in told


@pytest.mark.parametrize("text", [
    'batch_size = "1000"', "batch_size = 0", "batch_size = -5", "batch_size = 1.5", "batch_size = true",
    "batch_size = 1000001", 'symbols = "btcusdt"', "symbols = [1]", 'venue = "SPOT"', "duration = 0", "duration = -1",
    "duration = nan", "duration = inf", "candle_grace = inf", "stats_interval = inf", "drain_deadline = inf",
    "batch_age = nan", "batch_age = 61", "pending_limit = 999", "pool_size = 0", "links = 0", "links = 5",
    'log_level = "LOUD"',
    'log_level = "INFO\\n"', 'log_format = "xml"', 'log_format = "json\\n"', "check_symbols = 1", "database_url = 5",
    "batch_size = 99999999999999999999999",
])  # fmt: skip
def test_a_wrong_value_is_named_with_its_source(tmp_path: Path, text: str) -> None:
    (tmp_path / "crypto-quant.toml").write_text(text)
    told = refusal(cwd=tmp_path)
    assert text.split(maxsplit=1)[0] in told
    assert "crypto-quant.toml" in told


@pytest.mark.parametrize(("name", "text"), [
    ("BATCH_SIZE", "0"), ("BATCH_SIZE", "1.5"), ("BATCH_SIZE", "ten"), ("DURATION", "nan"), ("DURATION", "inf"),
    ("DURATION", "soon"), ("CHECK_SYMBOLS", "perhaps"), ("VENUE", "moon"), ("LOG_LEVEL", "loud"),
])  # fmt: skip
def test_a_wrong_variable_is_named(name: str, text: str) -> None:
    told = refusal(environ={f"CRYPTO_QUANT_{name}": text})
    assert f"CRYPTO_QUANT_{name}" in told
    assert text.upper() in told.upper()


@pytest.mark.parametrize("flags", [{"batch_size": 0}, {"duration": math.nan}, {"duration": math.inf}, {"nope": 1}])
def test_a_wrong_flag_is_named(flags: dict[str, Any]) -> None:
    told = refusal(flags)
    assert "command line" in told
    assert next(iter(flags)) in told


def test_a_word_that_is_none_of_a_few_is_told_with_them(tmp_path: Path) -> None:
    assert "Expected one of: spot, usdm, coinm" in refusal(environ={"CRYPTO_QUANT_VENUE": "moon"})
    (tmp_path / "crypto-quant.toml").write_text('log_level = "loud"')
    assert "Expected one of: DEBUG, INFO, WARNING, ERROR" in refusal(cwd=tmp_path)


def test_the_mark_with_which_some_editors_begin_a_file_is_no_matter(tmp_path: Path) -> None:
    (tmp_path / "crypto-quant.toml").write_bytes(b"\xef\xbb\xbflinks = 2\r\nlinks_ = 3\r\n")
    assert "line 2: 'links_'" in refusal(cwd=tmp_path)
    (tmp_path / "crypto-quant.toml").write_bytes(b"\xef\xbb\xbflinks = 2\r\n")
    assert load({}, {}, cwd=tmp_path).links == 2


@pytest.mark.parametrize("text", [f"links = {'9' * 5000}", f"symbols = {'[' * 5000}{']' * 5000}"])
def test_what_no_reader_of_toml_can_take_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "crypto-quant.toml").write_text(text)
    assert "not TOML" in refusal(cwd=tmp_path)


def test_a_broken_file_says_where(tmp_path: Path) -> None:
    (tmp_path / "crypto-quant.toml").write_text("batch_size = = 1\n")
    told = refusal(cwd=tmp_path)
    assert "not TOML" in told
    assert "line 1" in told


@pytest.mark.parametrize("content", [b"\xff\xfe", None])
def test_a_file_that_cannot_be_read_says_which(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "mine.toml"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    told = refusal(file=path)
    assert "cannot read" in told
    assert str(path) in told


def test_a_file_that_was_asked_for_must_be_there(tmp_path: Path) -> None:
    assert "missing.toml" in refusal(file=tmp_path / "missing.toml")


def test_the_file_asked_for_stands_in_for_the_usual_one(tmp_path: Path) -> None:
    (tmp_path / "crypto-quant.toml").write_text("batch_size = 1")
    (tmp_path / "other.toml").write_text("batch_size = 2")
    assert load({}, {}, tmp_path / "other.toml", cwd=tmp_path).batch_size == 2


@pytest.mark.parametrize(("ws_url", "rest_url"), [
    ("ws://127.0.0.1:9443", "http://127.0.0.1:9443"),
    ("wss://data-stream.binance.vision", "https://data-stream.binance.vision"),
    ("WSS://host", "https://host"),
])  # fmt: skip
def test_rest_is_where_the_streams_are_unless_said_otherwise(ws_url: str, rest_url: str) -> None:
    assert load({"ws_url": ws_url}, {}).rest_url == rest_url
    assert load({"ws_url": ws_url, "rest_url": "http://own"}, {}).rest_url == "http://own"


def test_a_stream_url_without_a_scheme_is_itself_to_blame() -> None:
    assert "not a WebSocket URL: 'localhost:9443'" in refusal({"ws_url": "localhost:9443"})
    assert "not a WebSocket URL: 'me:***@host'" in refusal({"ws_url": "me:secret@host"})


def test_the_archive_is_where_the_exchange_is() -> None:
    assert load({}, {}).archive_url is None
    assert load({"ws_url": "ws://a:1"}, {}).archive_url == "http://a:1"
    assert load({"ws_url": "ws://a:1", "archive_url": "http://b:2"}, {}).archive_url == "http://b:2"
    assert load({"rest_url": "http://a:1"}, {}).archive_url == "http://a:1"
    assert load({"rest_url": "http://a:1", "archive_url": "http://b:2"}, {}).archive_url == "http://b:2"


def test_each_value_knows_where_it_comes_from(tmp_path: Path) -> None:
    text = 'symbols = [\n  "links = 9",\n]\n\nlinks=2\n"pool_size" = 3\nstats_interval = 4\n'
    (tmp_path / "crypto-quant.toml").write_text(text, encoding="utf-8")
    environ = {"CRYPTO_QUANT_STATS_INTERVAL": "5", "DATABASE_URL": "postgresql://h/d"}
    resolved = resolve({"batch_size": 7, "ws_url": "ws://a:1", "duration": None}, environ, cwd=tmp_path)
    file = str(tmp_path / "crypto-quant.toml")
    told = {name: source for name, source in resolved.sources.items() if source.origin is not Origin.DEFAULT}
    assert told == {
        "symbols": Source(Origin.FILE, file, 1),
        "links": Source(Origin.FILE, file, 5),
        "pool_size": Source(Origin.FILE, file, 6),
        "stats_interval": Source(Origin.ENVIRONMENT, "CRYPTO_QUANT_STATS_INTERVAL"),
        "database_url": Source(Origin.ENVIRONMENT, "DATABASE_URL"),
        "batch_size": Source(Origin.FLAG, "--batch-size"),
        "ws_url": Source(Origin.FLAG, "--ws-url"),
        "rest_url": Source(Origin.DERIVED, "ws_url"),
        "archive_url": Source(Origin.DERIVED, "ws_url"),
    }
    assert resolved.file == tmp_path / "crypto-quant.toml"
    assert list(resolved.sources) == list(Settings.__struct_fields__)
    assert resolved.settings == load({"batch_size": 7, "ws_url": "ws://a:1"}, environ, cwd=tmp_path)


@pytest.mark.parametrize("text", ["# a\r\nlinks = 2\r\n", "\nlinks = 2", "# a\u2028b\nlinks=2"])
def test_the_line_is_that_of_an_editor(tmp_path: Path, text: str) -> None:
    (tmp_path / "crypto-quant.toml").write_bytes(text.encode())
    assert resolve({}, {}, cwd=tmp_path).sources["links"].line == 2


def test_a_wrong_value_in_a_file_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "crypto-quant.toml").write_text("links = 2\nbatch_size = 0\n")
    assert "crypto-quant.toml, line 2" in refusal(cwd=tmp_path)


def test_a_secret_is_not_told_when_it_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "crypto-quant.toml").write_text('database_url = ["postgresql://u:geheim@h/d"]\n')
    told = refusal(cwd=tmp_path)
    assert "database_url" in told
    assert "geheim" not in told


@pytest.mark.parametrize(("name", "near"), [
    ("BATCHSIZE", "BATCH_SIZE"), ("SYMBOL", "SYMBOLS"), ("STREAM", "STREAMS"), ("LOGLEVEL", "LOG_LEVEL"),
    ("DATABSE_URL", "DATABASE_URL"), ("BATCH_SIZES", "BATCH_SIZE"),
])  # fmt: skip
def test_a_misspelt_variable_is_named_with_what_is_nearest(name: str, near: str) -> None:
    told = refusal(environ={f"CRYPTO_QUANT_{name}": "1"})
    assert f"CRYPTO_QUANT_{name}" in told
    assert f"Did you mean CRYPTO_QUANT_{near}?" in told


def test_variables_that_are_no_settings_are_left_alone() -> None:
    theirs = ("TEST_POSTGRES_URL", "REQUIRE_DATABASES", "PEERS_PYTHON", "DATABASE_PASSWORD")
    environ = {f"CRYPTO_QUANT_{name}": "x" for name in theirs}
    resolved = resolve({}, {**environ, "CRYPTO_QUANT_OTHER": "x", "CRYPTO_QUANT_BATCHSIZE": "", "PATH": "x"})
    assert resolved.settings == Settings()
    assert resolved.ignored == ("CRYPTO_QUANT_OTHER",)
