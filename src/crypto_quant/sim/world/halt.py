"""A market that halts: from a moment on, one symbol is traded no more."""

from collections.abc import Iterator, Sequence

from crypto_quant.sim.tape import SymbolInfo, Tape, Trade


class HaltingTape:
    """A ``Tape`` without the trades of ``symbol`` from ``from_us`` on; when it has no other, it ends there."""

    def __init__(self, tape: Tape, symbol: str, from_us: int) -> None:
        self.symbols: Sequence[SymbolInfo] = tape.symbols
        self.start_us = tape.start_us
        self._tape = tape
        self._symbol = symbol
        self._from_us = from_us

    def blocks(self) -> Iterator[Sequence[Trade]]:
        """Yield the trades that are left."""
        for block in self._tape.blocks():
            if len(self.symbols) == 1 and block and block[0].time_us >= self._from_us:
                return
            yield [trade for trade in block if trade.symbol != self._symbol or trade.time_us < self._from_us]
