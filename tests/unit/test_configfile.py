"""The configuration file that is written for people, and what is said of each setting."""

import re
from pathlib import Path

import pytest

from crypto_quant.config import Settings, load, resolve
from crypto_quant.configfile import default_text, file_text, limits_text, reference, shape_of
from crypto_quant.settings_table import ABOUT, Secret

SETTING = re.compile(r"^#(?=[a-z_]+ = )", re.MULTILINE)
NAMES = Settings.__struct_fields__


def test_every_setting_is_told_of_and_nothing_else() -> None:
    assert set(ABOUT) == set(NAMES)
    for name, about in ABOUT.items():
        assert about.help, name
        assert not about.help.endswith("."), name


def test_what_sounds_secret_is_secret() -> None:
    for name in NAMES:
        if re.search(r"token|password|secret|key$", name):
            assert ABOUT[name].secret is Secret.WHOLE, name
        if name.endswith("_url"):
            assert ABOUT[name].secret is Secret.IN_URL, name


def test_the_file_as_written_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "crypto-quant.toml"
    file.write_text(file_text(), encoding="utf-8")
    resolved = resolve({}, {}, file)
    assert resolved.settings == Settings()
    assert {str(source) for source in resolved.sources.values()} == {"default"}


def test_every_line_uncommented_is_the_default_still(tmp_path: Path) -> None:
    file = tmp_path / "crypto-quant.toml"
    text, count = SETTING.subn("", file_text())
    assert count == len(NAMES)
    file.write_text(text, encoding="utf-8")
    assert load({}, {}, file) == Settings()


def test_each_line_alone_is_the_default_still(tmp_path: Path) -> None:
    file = tmp_path / "crypto-quant.toml"
    for line in SETTING.sub("", file_text()).splitlines():
        if line and not line.startswith("#"):
            file.write_text(line, encoding="utf-8")
            assert load({}, {}, file) == Settings(), line


@pytest.mark.parametrize("symbol", ["btcusdt", "币安人生usdt", 'a"b', "a\\b", "a\x7fb", "a'b"])
def test_symbols_are_filled_in_as_toml(tmp_path: Path, symbol: str) -> None:
    file = tmp_path / "crypto-quant.toml"
    file.write_text(file_text([symbol, "ethusdt"]), encoding="utf-8")
    assert load({}, {}, file) == Settings(symbols=(symbol, "ethusdt"))


def test_shapes_and_words() -> None:
    assert shape_of("links").kind == "integer"
    assert limits_text("links") == "1 to 4"
    assert limits_text("spool_limit") == "at least 1,048,576"
    assert limits_text("stats_interval") == "above 0, at most 1,000,000,000"
    assert limits_text("batch_age") == "0 to 60"
    assert shape_of("batch_age").optional
    assert limits_text("venue") == "spot, usdm or coinm"
    assert limits_text("log_level") == "DEBUG, INFO, WARNING or ERROR"
    assert limits_text("spool") == "true or false"
    assert limits_text("database_url") == ""
    assert shape_of("symbols").kind == "list"
    assert (default_text("batch_size"), default_text("spool"), default_text("symbols")) == ("1,000", "on", "none")


def test_the_reference_has_a_row_for_each() -> None:
    assert [line.split("`")[1] for line in reference().splitlines()[2:]] == list(NAMES)
