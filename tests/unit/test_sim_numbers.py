import pytest

from crypto_quant.errors import ConfigError
from crypto_quant.sim.numbers import parse8, quote_of, text8


@pytest.mark.parametrize(
    ("text", "scaled"),
    [
        ("64250.10000000", 6_425_010_000_000),
        ("0.00000001", 1),
        ("46116860414.00000000", 4_611_686_041_400_000_000),
        ("0", 0),
        ("12", 1_200_000_000),
        ("0.1000000000", 10_000_000),
    ],
)
def test_text_becomes_fixed_point(text: str, scaled: int) -> None:
    assert parse8(text) == scaled


@pytest.mark.parametrize("text", ["", "-1", "+1", "1e5", "NaN", ".5", "1.000000001", "1 ", "1.2.3", "١", "1.-2"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        parse8(text)


def test_text_has_always_eight_decimals() -> None:
    assert text8(0) == "0.00000000"
    assert text8(1) == "0.00000001"
    assert text8(6_425_010_000_000) == "64250.10000000"
    assert text8(10**26) == "1000000000000000000.00000000"


def test_quote_is_cut_not_rounded() -> None:
    # 0.00000003 × 0.5 = 0.000000015: half a digit is dropped
    assert quote_of(3, 50_000_000) == 1
    assert quote_of(parse8("64250.10000000"), parse8("0.00400000")) == parse8("257.00040000")
