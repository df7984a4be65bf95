"""Symbols for tapes that do not come with a listing: assets from the name, tick and step from the price."""

from collections.abc import Iterable

from crypto_quant.errors import ConfigError
from crypto_quant.sim.numbers import DECIMALS, ONE
from crypto_quant.sim.tape import SymbolInfo

_QUOTES = ("USDT", "USDC", "FDUSD", "TUSD", "BUSD", "TRY", "EUR", "BRL", "BTC", "ETH", "BNB")

# price of one unit in whole cents of quote, roughly those of 2026: enough to look like a market
_KNOWN = {
    "BTCUSDT": 64_250_00, "ETHUSDT": 3_180_00, "SOLUSDT": 148_20, "BNBUSDT": 587_40, "XRPUSDT": 58,
    "DOGEUSDT": 12, "ADAUSDT": 38, "LINKUSDT": 11_35, "AVAXUSDT": 26_90, "DOTUSDT": 4_35,
    "LTCUSDT": 66_70, "TRXUSDT": 15, "NEARUSDT": 4_80, "ATOMUSDT": 4_55, "UNIUSDT": 7_20,
}  # fmt: skip


def wire_name(text: str) -> str:
    """Return a symbol's name as the exchange writes it: ASCII letters in upper case. Raises ConfigError."""
    name = "".join(chr(ord(c) - 32) if "a" <= c <= "z" else c for c in text.strip())
    if not name or not all(c.isalnum() or c in "-._" for c in name):
        raise ConfigError("not a symbol", subject=repr(text), hint="Letters and digits, like BTCUSDT")
    return name


def assets(name: str) -> tuple[str, str]:
    """Return base and quote asset of a symbol's name; a name without a known quote asset is split in the middle."""
    for quote in _QUOTES:
        if name.endswith(quote) and len(name) > len(quote):
            return name[: -len(quote)], quote
    middle = (len(name) + 1) // 2
    return name[:middle], name[middle:] or name


def grid(values: Iterable[int]) -> int:
    """Return the coarsest power of ten (fixed-point) that all values are multiples of: their tick or step."""
    exponent = 2 * DECIMALS
    for value in values:
        while exponent and value % 10**exponent:
            exponent -= 1
    return int(10**exponent)


def invented(names: Iterable[str], *, delisted: Iterable[str] = ()) -> list[SymbolInfo]:
    """Return listings for a synthetic market; ``delisted`` ones are listed with status BREAK and never trade."""
    out: list[SymbolInfo] = []
    seen: set[str] = set()
    for status, group in (("TRADING", names), ("BREAK", delisted)):
        for text in group:
            name = wire_name(text)
            if name in seen:
                raise ConfigError("symbol given twice", subject=name)
            seen.add(name)
            out.append(_listing(name, status))
    return out


def first_names(count: int) -> list[str]:
    """Return ``count`` symbol names: well-known ones first, then invented ones."""
    known = list(_KNOWN)
    return known[:count] + [f"COIN{i:04d}USDT" for i in range(1, count - len(known) + 1)]


def _listing(name: str, status: str) -> SymbolInfo:
    cents = _KNOWN.get(name)
    if cents is None:
        # from the name alone, so that a symbol looks the same in every market
        cents = 5 + sum(ord(c) * (i + 1) for i, c in enumerate(name)) % 9_000
    base, quote = assets(name)
    # about five significant digits in the price, a quote unit or less in the step
    digits = len(str(cents)) - 2
    return SymbolInfo(
        name=name, base=base, quote=quote, status=status,
        tick=10 ** max(2, min(6, 1 + digits)), step=10 ** max(3, min(7, 8 - digits)),
        reference=cents * ONE // 100,
        # numbers that do not fit in 32 bits, as the real ones
        first_agg_id=3_000_000_001,
    )  # fmt: skip
