"""What has been printed so far, for REST: columns of integers, bounded, found by id or by time."""

from array import array
from bisect import bisect_left
from collections import deque
from collections.abc import Iterator

from crypto_quant.sim.aggregate import Aggregate
from crypto_quant.sim.tape import Trade

# flags of a row
_MAKER = 1
_BEST = 2


class TradeLog:
    """The prints of one symbol: raw trades, or aggregates (whose ids are then the aggregates').

    Columns take 8 bytes a value, a sixth of what objects take; a million rows fit in 56 MB.
    """

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self._ids = array("q")
        self._times = array("q")
        self._prices = array("q")
        self._quantities = array("q")
        self._firsts = array("q")
        self._lasts = array("q")
        self._flags = array("b")

    def __len__(self) -> int:
        return len(self._ids)

    def append(self, one: Aggregate) -> None:
        """Add the next print."""
        self._ids.append(one.agg_id)
        self._times.append(one.time_us)
        self._prices.append(one.price)
        self._quantities.append(one.quantity)
        self._firsts.append(one.first_id)
        self._lasts.append(one.last_id)
        self._flags.append(one.maker * _MAKER | one.best * _BEST)

    def at_id(self, number: int) -> int:
        """Return the position of the first row whose id is ``number`` or later."""
        return bisect_left(self._ids, number)

    def at_time(self, time_us: int) -> int:
        """Return the position of the first row printed at ``time_us`` or later."""
        return bisect_left(self._times, time_us)

    def rows(self, begin: int, end: int) -> Iterator[Aggregate]:
        """Yield the rows at positions ``begin`` (inclusive) to ``end`` (exclusive)."""
        for i in range(max(0, begin), min(end, len(self._ids))):
            flags = self._flags[i]
            yield Aggregate(
                self.symbol, self._ids[i], self._prices[i], self._quantities[i], self._firsts[i], self._lasts[i],
                self._times[i], bool(flags & _MAKER), bool(flags & _BEST),
            )  # fmt: skip

    def forget(self, before_us: int) -> int:
        """Drop the rows printed before ``before_us``; return how many."""
        cut = self.at_time(before_us)
        if cut:
            for column in (
                self._ids, self._times, self._prices, self._quantities, self._firsts, self._lasts, self._flags,
            ):  # fmt: skip
                del column[:cut]
        return cut


class History:
    """The prints of all symbols back to one common moment, at most about ``limit`` of them.

    When there are more, the oldest are dropped, for every symbol up to the same time: like the exchange, it reaches
    back equally far for a busy symbol and a quiet one.
    """

    def __init__(self, symbols: list[str], limit: int) -> None:
        self.aggregates = {name: TradeLog(name) for name in symbols}
        self.trades = {name: TradeLog(name) for name in symbols}
        self.limit = limit
        self.horizon_us = 0
        self._kept = 0
        # how many rows came in since the marker before, and the time of the marker
        self._marks: deque[tuple[int, int]] = deque()
        self._since_mark = 0

    def add_trade(self, trade: Trade) -> None:
        """Note a raw trade; a print that stands for several trades has no rows of its own here."""
        if trade.agg_id is None:
            number = trade.first_id
            row = Aggregate(
                trade.symbol, number, trade.price, trade.quantity, number, number,
                trade.time_us, trade.maker, trade.best,
            )  # fmt: skip
            self.trades[trade.symbol].append(row)
            self._count(trade.time_us)

    def add_aggregate(self, one: Aggregate) -> None:
        """Note an aggregate."""
        self.aggregates[one.symbol].append(one)
        self._count(one.time_us)

    def _count(self, time_us: int) -> None:
        self._kept += 1
        self._since_mark += 1
        if self._since_mark >= max(1, self.limit // 16):
            self._marks.append((self._since_mark, time_us))
            self._since_mark = 0
            if self._kept > self.limit:
                self._forget()

    def _forget(self) -> None:
        while self._kept > self.limit and len(self._marks) > 1:
            _, self.horizon_us = self._marks.popleft()
            for logs in (self.aggregates, self.trades):
                self._kept -= sum(log.forget(self.horizon_us) for log in logs.values())
