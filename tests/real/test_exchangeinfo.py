"""exchangeInfo as the exchange wrote it (2021), read from the captures."""

import gzip
import os
from pathlib import Path

import pytest

from crypto_quant.binance.history import ExchangeInfo, parse_exchange_info
from crypto_quant.binance.streams import check_symbols, not_trading
from crypto_quant.errors import ConfigError
from crypto_quant.market import NS_PER_MS, fold_symbol

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("CRYPTO_QUANT_TEST_DATA", ROOT.parent / "shared" / "data"))


def read(name: str) -> ExchangeInfo:
    path = DATA / "exchangeinfo" / name
    if not path.exists():
        pytest.skip(f"the capture {path} is absent; set CRYPTO_QUANT_TEST_DATA to the folder of captures")
    return parse_exchange_info(gzip.decompress(path.read_bytes()))


def test_spot() -> None:
    info = read("spot_2021-10-12.json.gz")
    assert len(info.symbols) == 1695
    assert info.server_time_ns == 1_633_998_511_098 * NS_PER_MS
    assert info.weight_per_minute == 1200
    assert info.symbols["BTCUSDT"] == "TRADING"
    assert set(info.symbols.values()) == {"TRADING", "BREAK"}
    assert check_symbols([fold_symbol(symbol) for symbol in info.symbols], info.symbols) == [
        fold_symbol(symbol) for symbol in info.symbols
    ]


def test_spot_symbols_that_had_left_are_accepted_and_told() -> None:
    info = read("spot_2021-10-12.json.gz")
    broken = next(symbol for symbol, status in info.symbols.items() if status == "BREAK")
    symbols = check_symbols(["BTCUSDT", broken], info.symbols)
    assert not_trading(symbols, info.symbols) == {fold_symbol(broken): "BREAK"}


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("btcusd", "btcusdt"), ("ETHUSTD", "ethusdt"), ("BTC-USDT", "btcusdt"), ("eth", "ethusdt"), ("bnb/btc", "bnbbtc")],
)
def test_slips_among_all_the_real_names_find_the_symbol_meant(typed: str, meant: str) -> None:
    info = read("spot_2021-10-12.json.gz")
    with pytest.raises(ConfigError) as caught:
        check_symbols([typed], info.symbols)
    assert meant in caught.value.hint


def test_usdm() -> None:
    info = read("usdm_2021-07-21.json.gz")
    assert len(info.symbols) == 122
    assert info.weight_per_minute == 2400
    assert info.symbols["BTCUSDT"] == "TRADING"
    assert "BTCUSDT_210924" in info.symbols
