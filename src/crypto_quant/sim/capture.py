"""Recorded captures as tapes.

A capture is a text file, gzip or not, one received frame a line, in one of three forms:

- ``<receive ns> <frame>``
- ``<receive seconds>: <frame>``, between lines ``URL <-> time`` (a connection) and ``URL -> time: body`` (REST)
- ``<frame>``

Of these the ``trade`` and ``aggTrade`` messages of spot are read, raw or combined. Where a symbol has raw trades they
make the tape, and its aggregates are made of them; where it has aggregates alone, they are the tape.
"""

import gzip
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from crypto_quant.errors import ConfigError
from crypto_quant.sim.numbers import parse8
from crypto_quant.sim.symbols import assets, grid, wire_name
from crypto_quant.sim.tape import SymbolInfo, Trade

_LINE = re.compile(rb"(?:\d{16,19} |\d{9,11}(?:\.\d+)?: )?(\{.*\})\s*")
_US_FROM = 10**14


def read_frames(path: Path) -> Iterator[bytes]:
    """Yield every frame of a capture as it was received; lines of other kinds are passed over.

    Raises ConfigError when the file cannot be read.
    """
    try:
        with path.open("rb") as probe:
            packed = probe.read(2) == b"\x1f\x8b"
        with gzip.open(path, "rb") if packed else path.open("rb") as lines:
            for line in lines:
                match = _LINE.fullmatch(line)
                if match:
                    yield match[1]
    except (OSError, EOFError, zlib.error) as problem:
        raise ConfigError("cannot read the capture", subject=f"{path} ({problem})") from problem


class _Print(msgspec.Struct):
    """The members of ``trade`` and ``aggTrade`` that make a tape."""

    e: str
    s: str
    p: str
    q: str
    T: int
    m: bool
    M: bool = True
    t: int | None = None
    a: int | None = None
    f: int | None = None
    l: int | None = None  # noqa: E741 - the exchange's letter


class _Event(msgspec.Struct):
    e: str | None = None
    data: msgspec.Raw = msgspec.Raw(b"")


class CaptureTape:
    """The trades of recorded captures, in order of time, each once."""

    def __init__(self, trades: Sequence[Trade]) -> None:
        if not trades:
            raise ConfigError("the capture holds no trades", hint="It needs trade or aggTrade messages of spot")
        self.trades = sorted(trades, key=lambda trade: (trade.time_us, trade.first_id))
        self.start_us = self.trades[0].time_us
        self.symbols: Sequence[SymbolInfo] = _listings(self.trades)

    @classmethod
    def read(cls, paths: Iterable[Path]) -> "CaptureTape":
        """Read captures that join into one tape; raise ConfigError when there is nothing in them."""
        raw: dict[tuple[str, int], Trade] = {}
        joined: dict[tuple[str, int], Trade] = {}
        for path in paths:
            for frame in read_frames(path):
                trade = _trade_of(frame, path)
                if trade is not None:
                    # a frame recorded twice is one trade
                    if trade.agg_id is None:
                        raw.setdefault((trade.symbol, trade.first_id), trade)
                    else:
                        joined.setdefault((trade.symbol, trade.agg_id), trade)
        with_raw = {symbol for symbol, _ in raw}
        return cls([*raw.values(), *(one for one in joined.values() if one.symbol not in with_raw)])

    def blocks(self) -> Iterator[Sequence[Trade]]:
        """Yield all of it at once."""
        yield self.trades


def _trade_of(frame: bytes, path: Path) -> Trade | None:
    try:
        event = msgspec.json.decode(frame, type=_Event)
        payload = bytes(event.data)
        if payload:
            event = msgspec.json.decode(payload, type=_Event)
        if event.e not in {"trade", "aggTrade"}:
            return None
        one = msgspec.json.decode(payload or frame, type=_Print)
    except msgspec.DecodeError as problem:
        raise ConfigError("a frame of the capture is damaged", subject=f"{path}: {problem}") from problem
    if one.e == "trade" and one.t is not None:
        first, last, agg_id = one.t, one.t, None
    elif one.e == "aggTrade" and one.a is not None and one.f is not None and one.l is not None:
        first, last, agg_id = one.f, one.l, one.a
    else:
        raise ConfigError("a trade of the capture has no ids", subject=f"{path}: {frame[:80]!r}")
    time_us = one.T if one.T >= _US_FROM else one.T * 1000
    return Trade(wire_name(one.s), first, last, parse8(one.p), parse8(one.q), time_us, one.m, one.M, agg_id)


def _listings(trades: Sequence[Trade]) -> list[SymbolInfo]:
    prices: dict[str, set[int]] = {}
    quantities: dict[str, set[int]] = {}
    for trade in trades:
        prices.setdefault(trade.symbol, set()).add(trade.price)
        quantities.setdefault(trade.symbol, set()).add(trade.quantity)
    out = []
    for name, seen in prices.items():
        base, quote = assets(name)
        out.append(SymbolInfo(name=name, base=base, quote=quote, tick=grid(seen), step=grid(quantities[name])))
    return out
