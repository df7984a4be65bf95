"""Pairs as a person gives them."""

import pytest

from crypto_quant.errors import ConfigError
from crypto_quant.lake.pairs import given_pairs, pair_of


def test_pairs_are_taken_in_any_case_and_once() -> None:
    given = given_pairs(["ADAEUR=ADA/EUR", " btcusdt = btc/USDT", "adaeur=ada/eur", "币安人生usdt=币安人生/usdt"])
    assert given == {"adaeur": ("ADA", "EUR"), "btcusdt": ("BTC", "USDT"), "币安人生usdt": ("币安人生", "USDT")}


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["ADAEUR"], "not a pair: --pair ADAEUR. Give it as ADAEUR=ADA/EUR"),
        (["ADAEUR=ADAEUR"], "not a pair"),
        (["ADAEUR=ADA/E/UR"], "not a pair"),
        (["=/"], "not a pair"),
        (["ADAEUR=ADA/USD"], "this pair is not that symbol's.*ADA/USD is ADAUSD"),
        (["ADAEUR=ADA/EUR", "ADAEUR=AD/AEUR"], "two pairs for one symbol"),
    ],
)
def test_what_is_no_pair_is_refused(texts: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        given_pairs(texts)


def test_a_given_pair_goes_before_the_recorded_one() -> None:
    assert pair_of("adaeur", {"adaeur": ("AD", "AEUR")}, ("ADA", "EUR")) == ("AD", "AEUR")
    assert pair_of("adaeur", {}, ("ADA", "EUR")) == ("ADA", "EUR")
