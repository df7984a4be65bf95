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
# few enough that they are still in the processor's cache
_SETTLE = 256


class Log:
    """The prints of one symbol: aggregates, or raw trades (whose own ids then stand for the aggregates').

    Columns take 8 bytes a value, a sixth of what objects take; a million rows fit in 56 MB. New rows wait as
    objects and are put into the columns many at a time, which is much cheaper than one by one.
    """

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self._new: list[Aggregate | Trade] = []
        self._ids = array("q")
        self._times = array("q")
        self._prices = array("q")
        self._quantities = array("q")
        self._firsts = array("q")
        self._lasts = array("q")
        self._flags = array("b")

    def __len__(self) -> int:
        return len(self._ids) + len(self._new)

    def append(self, one: Aggregate | Trade) -> None:
        """Add the next print."""
        self._new.append(one)
        if len(self._new) >= _SETTLE:
            self._settle()

    def _settle(self) -> None:
        new = self._new
        if not new:
            return
        # a raw trade has no aggregate id; its own is its first and last
        self._ids.fromlist([one.first_id if one.agg_id is None else one.agg_id for one in new])
        self._times.fromlist([one.time_us for one in new])
        self._prices.fromlist([one.price for one in new])
        self._quantities.fromlist([one.quantity for one in new])
        self._firsts.fromlist([one.first_id for one in new])
        self._lasts.fromlist([one.last_id for one in new])
        self._flags.fromlist([one.maker * _MAKER | one.best * _BEST for one in new])
        new.clear()

    def at_id(self, number: int) -> int:
        """Return the position of the first row whose id is ``number`` or later."""
        self._settle()
        return bisect_left(self._ids, number)

    def at_time(self, time_us: int) -> int:
        """Return the position of the first row printed at ``time_us`` or later."""
        self._settle()
        return bisect_left(self._times, time_us)

    def rows(self, begin: int, end: int) -> Iterator[Aggregate]:
        """Yield the rows at positions ``begin`` (inclusive) to ``end`` (exclusive)."""
        self._settle()
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
        self.aggregates = {name: Log(name) for name in symbols}
        self.trades = {name: Log(name) for name in symbols}
        self.limit = limit
        self.horizon_us = 0
        self._kept = 0
        # how many rows came in since the marker before, and the time of the marker
        self._marks: deque[tuple[int, int]] = deque()
        self._since_mark = 0

    def add(self, trades: list[Trade], aggregates: list[Aggregate]) -> None:
        """Note the prints of one instant; one that stands for several trades has no raw trades."""
        for trade in trades:
            if trade.agg_id is None:
                self.trades[trade.symbol].append(trade)
        for one in aggregates:
            self.aggregates[one.symbol].append(one)
        # what stands for several trades is counted twice: the bound is a bound
        rows = len(trades) + len(aggregates)
        self._kept += rows
        self._since_mark += rows
        if self._since_mark * 16 >= self.limit:
            self._marks.append((self._since_mark, trades[-1].time_us))
            self._since_mark = 0
            if self._kept > self.limit:
                self._forget()

    def _forget(self) -> None:
        while self._kept > self.limit and len(self._marks) > 1:
            rows, self.horizon_us = self._marks.popleft()
            self._kept -= rows
        for logs in (self.aggregates, self.trades):
            for log in logs.values():
                log.forget(self.horizon_us)
