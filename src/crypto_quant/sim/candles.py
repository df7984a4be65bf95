"""Candles of every interval from one stream of trades, to the last digit.

Trades are folded into the running second, closed seconds into the running minute, closed minutes into everything
longer: a trade costs the same however many intervals there are. Only candles that hold trades are stored; empty ones
are made when somebody asks.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator

import msgspec

from crypto_quant.sim.intervals import INTERVALS, end_of, open_of
from crypto_quant.sim.numbers import quote_of
from crypto_quant.sim.tape import Trade


class Candle(msgspec.Struct, gc=False):
    """One candle: fixed-point numbers, ``open_us`` inclusive, ``end_us`` exclusive; ids are -1 when it is empty."""

    open_us: int
    end_us: int
    open: int
    high: int
    low: int
    close: int
    volume: int = 0
    quote: int = 0
    taker_volume: int = 0
    taker_quote: int = 0
    count: int = 0
    first_id: int = -1
    last_id: int = -1


def _merge(into: Candle, later: Candle) -> None:
    into.high = max(into.high, later.high)
    into.low = min(into.low, later.low)
    into.close = later.close
    into.volume += later.volume
    into.quote += later.quote
    into.taker_volume += later.taker_volume
    into.taker_quote += later.taker_quote
    into.count += later.count
    into.last_id = later.last_id


def _widened(candle: Candle, open_us: int, end_us: int) -> Candle:
    wide = msgspec.structs.replace(candle)
    wide.open_us = open_us
    wide.end_us = end_us
    return wide


class _Series:
    """One interval's candles that hold trades: closed ones in order, and the running one."""

    def __init__(self, interval: str, offset_us: int, keep: int) -> None:
        self.interval = interval
        self.offset_us = offset_us
        self.closed: list[Candle] = []
        self.running: Candle | None = None
        # what opened before this is forgotten
        self.floor_us = 0
        self._keep = keep

    def fold(self, part: Candle) -> Candle | None:
        """Add a closed part; return the candle that it has shown to be over."""
        running = self.running
        if running is not None and part.open_us < running.end_us:
            _merge(running, part)
            return None
        open_us = open_of(part.open_us, self.interval, self.offset_us)
        self.running = _widened(part, open_us, end_of(open_us, self.interval, self.offset_us))
        if running is not None:
            self.closed.append(running)
            if len(self.closed) > 2 * self._keep:
                self.drop(self._keep)
        return running

    def drop(self, count: int) -> None:
        """Forget the oldest closed candles."""
        if count > 0:
            del self.closed[:count]
            self.floor_us = self.closed[0].open_us if self.closed else self.floor_us


class CandleBook:
    """The candles of one symbol.

    ``reference`` and ``start_us`` give the price and time from which empty candles exist; with None they begin with
    the first trade. ``keep`` bounds how many closed candles with trades are held per interval.
    """

    def __init__(self, reference: int | None = None, start_us: int = 0, keep: int = 10_000) -> None:
        self._keep = keep
        self._reference = reference
        self._start_us: int | None = start_us if reference is not None else None
        self._second: Candle | None = None
        self._seconds = _Series("1s", 0, keep)
        self._minutes = _Series("1m", 0, keep)
        self._longer = {(name, 0): _Series(name, 0, keep) for name in INTERVALS if name not in {"1s", "1m"}}
        self.version = 0

    def add(self, trade: Trade) -> None:
        """Fold one trade. Trades come in order of time."""
        time_us, price, quantity = trade.time_us, trade.price, trade.quantity
        second = self._second
        if second is None or time_us >= second.end_us:
            if second is not None:
                self._close_second(second)
            elif self._start_us is None:
                self._start_us = time_us
            open_us = time_us // 1_000_000 * 1_000_000
            second = Candle(open_us, open_us + 1_000_000, price, price, price, price, first_id=trade.first_id)
            self._second = second
        elif price > second.high:
            second.high = price
        elif price < second.low:
            second.low = price
        quote = quote_of(price, quantity)
        second.close = price
        second.volume += quantity
        second.quote += quote
        second.count += trade.last_id - trade.first_id + 1
        second.last_id = trade.last_id
        if not trade.maker:
            second.taker_volume += quantity
            second.taker_quote += quote
        self.version += 1

    def _close_second(self, second: Candle) -> None:
        self._seconds.fold(second)
        minute = self._minutes.fold(second)
        if minute is not None:
            for series in self._longer.values():
                series.fold(minute)

    def candle(self, interval: str, open_us: int, offset_us: int = 0) -> Candle | None:
        """Return the candle that opens at ``open_us``, as far as trades have come; an empty one where none came.

        None before the first candle of all. The caller knows the time, and thus whether it is closed.
        """
        return next(self.span(interval, open_us, open_us, offset_us), None)

    def span(self, interval: str, first_us: int, last_us: int, offset_us: int = 0) -> Iterator[Candle]:
        """Yield the candles that open from ``first_us`` to ``last_us`` (both inclusive), empty ones among them."""
        start_us = self._start_us
        if start_us is None:
            return
        series = self._series(interval, offset_us)
        rows = self._rows(series, first_us)
        begin_us = max(first_us, open_of(start_us, interval, offset_us), series.floor_us)
        open_us = open_of(begin_us, interval, offset_us)
        if open_us < begin_us:
            open_us = end_of(open_us, interval, offset_us)
        previous = self._reference
        at = 0
        while at < len(rows) and rows[at].open_us < open_us:
            previous = rows[at].close
            at += 1
        while open_us <= last_us:
            end_us = end_of(open_us, interval, offset_us)
            if at < len(rows) and rows[at].open_us == open_us:
                previous = rows[at].close
                yield rows[at]
                at += 1
            elif previous is not None:
                yield Candle(open_us, end_us, previous, previous, previous, previous)
            open_us = end_us

    def _rows(self, series: _Series, from_us: int) -> list[Candle]:
        """Return candles with trades from the one before ``from_us`` on, the running ones merged in at the end."""
        at = bisect_left(series.closed, from_us, key=lambda candle: candle.open_us)
        parts = [series.running, self._second]
        if series is not self._seconds and series is not self._minutes:
            parts.insert(1, self._minutes.running)
        tail: list[Candle] = []
        for part in parts:
            if part is None:
                continue
            if tail and part.open_us < tail[-1].end_us:
                _merge(tail[-1], part)
            else:
                open_us = open_of(part.open_us, series.interval, series.offset_us)
                tail.append(_widened(part, open_us, end_of(open_us, series.interval, series.offset_us)))
        return series.closed[max(0, at - 1) :] + tail

    def _series(self, interval: str, offset_us: int) -> _Series:
        if interval == "1s":
            return self._seconds
        if interval == "1m":
            return self._minutes
        series = self._longer.get((interval, offset_us))
        if series is None:
            # other time zones are rare: their candles are built from the minutes at hand when first asked for
            series = _Series(interval, offset_us, self._keep)
            if self._minutes.floor_us:
                # the candle in which memory begins would lack its first minutes
                series.floor_us = end_of(open_of(self._minutes.floor_us, interval, offset_us), interval, offset_us)
            for minute in self._minutes.closed:
                series.fold(minute)
            self._longer[interval, offset_us] = series
        return series

    def forget_seconds(self, before_us: int) -> None:
        """Drop 1-second candles that ended before ``before_us``; they are by far the most."""
        cut = bisect_right(self._seconds.closed, before_us, key=lambda candle: candle.end_us)
        # one is kept: empty candles after it carry its close
        self._seconds.drop(cut - 1)
