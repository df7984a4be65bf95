"""``ADAEUR`` taken apart: tools that write ``ADA/EUR`` ask where the one asset ends and the other begins.

The name alone does not tell (AEUR is an asset, too): the exchange says it, or a person does.
"""

import re
from collections.abc import Iterable, Mapping

from crypto_quant.errors import ConfigError
from crypto_quant.market import fold_symbol, wire_symbol

Pair = tuple[str, str]  # base and quote asset


def given_pairs(texts: Iterable[str]) -> dict[str, Pair]:
    """Return the pairs that a person gives as ``ADAEUR=ADA/EUR``, by symbol as it is stored. Raises ConfigError."""
    found: dict[str, Pair] = {}
    for text in texts:
        match = re.fullmatch(r"\s*([^=/\s]+)\s*=\s*([^=/\s]+)/([^=/\s]+)\s*", text)
        if match is None:
            raise ConfigError("not a pair", subject=f"--pair {text}", hint="Give it as ADAEUR=ADA/EUR")
        symbol, base, quote = (wire_symbol(each) for each in match.groups())
        if base + quote != symbol:
            raise ConfigError(
                "this pair is not that symbol's", subject=f"--pair {text}", hint=f"{base}/{quote} is {base}{quote}"
            )
        if found.setdefault(fold_symbol(symbol), (base, quote)) != (base, quote):
            raise ConfigError("two pairs for one symbol", subject=f"--pair {text}", hint="Give one")
    return found


def pair_of(symbol: str, given: Mapping[str, Pair], recorded: Pair | None) -> Pair:
    """Return base and quote asset of a stored symbol: as given, or else as exchangeInfo had them.

    Raises ConfigError when nobody has told, and for a contract that is no pair.
    """
    pair, name = given.get(symbol, recorded), wire_symbol(symbol)
    if pair is None:
        raise ConfigError(
            "base and quote asset of this symbol were never recorded",
            subject=name,
            hint=f"Give them, as --pair {name}=BASE/QUOTE; `crypto-quant record` and `backfill` record them from "
            "exchangeInfo at their start",
        )
    if "".join(pair) != name:
        raise ConfigError(
            "this contract is no pair",
            subject=f"{name}, of {pair[0]} and {pair[1]}",
            hint="Export it as parquet or csv, which keep the symbol as it is",
        )
    return pair
