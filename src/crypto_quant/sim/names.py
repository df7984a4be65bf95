"""Stream names: what a name means, and which names mean nothing."""

import re
from collections.abc import Container
from urllib.parse import unquote

import msgspec

from crypto_quant.sim.intervals import INTERVALS, US_PER_S

_KLINE = re.compile(r"kline_(\w+?)(@\+08:00)?")
_UTC8_US = 8 * 3600 * US_PER_S


class Stream(msgspec.Struct, frozen=True):
    """What a stream carries. ``interval`` and ``offset_us`` are those of ``kline``."""

    name: str
    kind: str
    symbol: str
    interval: str = ""
    offset_us: int = 0


def parse_stream(name: str, symbols: Container[str]) -> Stream | None:
    """Return the meaning of a name; None for one that the exchange would acknowledge and never feed.

    The symbol must be in lower case (its ASCII letters), the rest is case-sensitive.
    """
    folded, _, kind = name.partition("@")
    symbol = "".join(chr(ord(c) - 32) if "a" <= c <= "z" else c for c in folded)
    if symbol not in symbols or any("A" <= c <= "Z" for c in folded):
        return None
    if kind in {"aggTrade", "trade"}:
        return Stream(name, kind, symbol)
    match = _KLINE.fullmatch(kind)
    if match and match[1] in INTERVALS:
        return Stream(name, "kline", symbol, match[1], _UTC8_US if match[2] else 0)
    return None


def names_in_path(raw_path: str) -> tuple[bool, list[str], str | None] | None:
    """Read a WebSocket URL: whether it is combined, the names it asks for, and its ``timeUnit`` if it has one.

    ``raw_path`` is path and query as they came. Names may be percent-encoded; a plain ``+`` is a plus, as the
    ``@+08:00`` streams need it. None when it is no stream URL.
    """
    path, _, query = raw_path.partition("?")
    parameters = dict(part.partition("=")[::2] for part in query.split("&") if part)
    unit = parameters.get("timeUnit")
    if path in {"/stream", "/stream/"}:
        return True, [name for name in unquote(parameters.get("streams", "")).split("/") if name], unit
    if path == "/ws" or path.startswith("/ws/"):
        return False, [unquote(name) for name in path[len("/ws") :].split("/") if name], unit
    return None
