import pytest

from crypto_quant.errors import ConfigError
from crypto_quant.sim.numbers import ONE, parse8
from crypto_quant.sim.symbols import assets, first_names, grid, invented, wire_name


def test_names_are_taken_in_any_case() -> None:
    assert wire_name("btcUsdt") == "BTCUSDT"
    assert wire_name("币安人生usdt") == "币安人生USDT"


@pytest.mark.parametrize("text", ["", "  ", "BTC/USDT", 'a"b', "a b"])
def test_what_is_no_symbol(text: str) -> None:
    with pytest.raises(ConfigError):
        wire_name(text)


def test_assets_are_split_at_the_quote() -> None:
    assert assets("BTCUSDT") == ("BTC", "USDT")
    assert assets("ETHBTC") == ("ETH", "BTC")
    assert assets("BTCFDUSD") == ("BTC", "FDUSD")
    assert all(assets("QWERTY"))


def test_the_grid_of_prices() -> None:
    assert grid([parse8("64250.1"), parse8("64250.55"), parse8("1")]) == ONE // 100
    assert grid([parse8("100"), parse8("250")]) == 10 * ONE
    assert grid([1]) == 1


def test_listings() -> None:
    listed = invented(["btcusdt", "ETHBTC"], delisted=["LUNAUSDT"])
    assert [(one.name, one.status) for one in listed] == [
        ("BTCUSDT", "TRADING"), ("ETHBTC", "TRADING"), ("LUNAUSDT", "BREAK"),
    ]  # fmt: skip
    assert all(one.reference and one.reference % one.tick == 0 for one in listed)
    assert listed[0].tick == ONE // 100
    with pytest.raises(ConfigError):
        invented(["BTCUSDT", "btcusdt"])


def test_as_many_names_as_wanted() -> None:
    assert first_names(2) == ["BTCUSDT", "ETHUSDT"]
    many = first_names(1000)
    assert len(set(many)) == 1000
    assert all(one.reference and one.reference >= 2 * one.tick for one in invented(many))
