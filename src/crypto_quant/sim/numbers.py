"""The exchange's numbers: fixed-point integers of eight decimals inside, padded decimal text outside.

Integers add and compare exactly and cheaply; the text is what the exchange prints (``"64250.10000000"``).
"""

from crypto_quant.errors import ConfigError

DECIMALS = 8
ONE: int = 10**DECIMALS


def text8(scaled: int) -> str:
    """Return the exchange's text of a fixed-point number, always with eight decimals."""
    whole, part = divmod(scaled, ONE)
    return f"{whole}.{part:08d}"


def parse8(text: str) -> int:
    """Return the fixed-point number of a plain, non-negative decimal text.

    Raises ConfigError for anything else: a sign, an exponent, more than eight significant decimals.
    """
    whole, _, part = text.partition(".")
    rest = part[DECIMALS:]
    digits = whole + part
    if not whole or not digits.isascii() or not digits.isdigit() or rest.strip("0"):
        raise ConfigError("not a plain decimal number of at most eight decimals", subject=repr(text))
    return int(whole) * ONE + int(part[:DECIMALS].ljust(DECIMALS, "0"))


def quote_of(price: int, quantity: int) -> int:
    """Return price times quantity of one trade, cut (not rounded) to eight decimals as the exchange cuts it."""
    return price * quantity // ONE
