"""The tape: every trade of the simulated exchange in the order of time. Everything else is derived from it."""

from collections.abc import Iterator, Sequence
from typing import Protocol

import msgspec

from crypto_quant.sim.numbers import ONE


class Trade(msgspec.Struct, frozen=True, gc=False):
    """One print. Price and quantity are fixed-point (eight decimals), the time is µs since the epoch.

    A raw trade has ``first_id == last_id`` and no ``agg_id``. Where a recording holds aggregates alone, one print
    is one aggregate: it covers the trades ``first_id`` to ``last_id`` (inclusive) and brings its ``agg_id``.
    ``maker`` is true when the buyer was the maker, that is: the taker sold.
    """

    symbol: str
    first_id: int
    last_id: int
    price: int
    quantity: int
    time_us: int
    maker: bool
    best: bool = True
    agg_id: int | None = None


class SymbolInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A listed symbol. ``name`` is in the exchange's upper case; tick and step are fixed-point.

    ``status`` other than ``TRADING`` is a listed symbol that prints nothing (``BREAK``: delisted or halted).
    ``reference`` is the price before the first trade: with it, candles exist from the tape's start and empty ones
    carry it; without it, candles begin with the first trade. ``first_agg_id`` is the number of the first aggregate.
    """

    name: str
    base: str
    quote: str
    tick: int = ONE // 100
    step: int = ONE // 100_000
    status: str = "TRADING"
    reference: int | None = None
    first_agg_id: int = 1


class Tape(Protocol):
    """A market's trades."""

    @property
    def symbols(self) -> Sequence[SymbolInfo]:
        """Every listed symbol."""
        ...

    @property
    def start_us(self) -> int:
        """The exchange time at which the tape begins, at or before its first trade."""
        ...

    def blocks(self) -> Iterator[Sequence[Trade]]:
        """Begin anew and yield the trades in blocks, in order of time; all trades of one instant in one block.

        Blocks keep the cost of an endless tape low: one is made when the exchange needs it. Empty ones are allowed.
        """
        ...


class ListTape:
    """A tape that is given as a list, mostly by tests."""

    def __init__(self, symbols: Sequence[SymbolInfo], trades: Sequence[Trade], start_us: int | None = None) -> None:
        self.symbols: Sequence[SymbolInfo] = tuple(symbols)
        self.trades = sorted(trades, key=lambda trade: trade.time_us)
        self.start_us = start_us if start_us is not None else (self.trades[0].time_us if self.trades else 0)

    def blocks(self) -> Iterator[Sequence[Trade]]:
        """Yield all of it at once."""
        yield self.trades
