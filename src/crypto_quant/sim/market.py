"""The matching engine's voice: the tape's trades and the clockwork of candles, in one order of time.

Pure: no sockets, no clock. ``advance`` moves the exchange's time on and tells a listener what is to be sent.
"""

from collections.abc import Iterator
from typing import Protocol

from crypto_quant.sim.aggregate import Aggregate, Aggregator
from crypto_quant.sim.candles import Candle, CandleBook
from crypto_quant.sim.history import History
from crypto_quant.sim.intervals import US_PER_MS, US_PER_S
from crypto_quant.sim.tape import SymbolInfo, Tape, Trade

# from the engine to the stream server: what lies between T and E
STREAM_LATENCY_US = 800
# the second's appointments, after its start: closed 1s candles, other closed candles, updates of running ones
CLOSE_1S_US = 2 * US_PER_MS
CLOSE_US = 4 * US_PER_MS
UPDATE_US = 15 * US_PER_MS
_APPOINTMENTS = (CLOSE_1S_US, CLOSE_US, UPDATE_US)


class Listener(Protocol):
    """Who sends. ``event_us`` is the event time E of the message."""

    def on_trade(self, trade: Trade, event_us: int) -> None:
        """One raw trade."""
        ...

    def on_aggregate(self, one: Aggregate, event_us: int) -> None:
        """One complete aggregate."""
        ...

    def on_second(self, second_us: int, event_us: int) -> None:
        """A second begins: candles of 1 s that ended with the last one are final."""
        ...

    def on_minute(self, minute_us: int, event_us: int) -> None:
        """A minute begins: candles that ended with the last one are final."""
        ...

    def on_update(self, event_us: int) -> None:
        """Every other second: running candles that have changed."""
        ...


class Market:
    """All that has been printed up to ``now_us`` (the exchange's time in µs), and nothing of what comes after."""

    def __init__(self, tape: Tape, *, history_limit: int) -> None:
        self.symbols: dict[str, SymbolInfo] = {symbol.name: symbol for symbol in tape.symbols}
        self.history = History(list(self.symbols), history_limit)
        self.books = {
            symbol.name: CandleBook(symbol.reference if symbol.status == "TRADING" else None, tape.start_us)
            for symbol in tape.symbols
        }
        self.now_us = tape.start_us
        self.printed = 0
        self._aggregator = Aggregator({symbol.name: symbol.first_agg_id for symbol in tape.symbols})
        self._trades = _flat(tape)
        self._next: Trade | None = next(self._trades, None)
        # the tape's end is the last trade's time
        self.last_trade_us = tape.start_us
        self._second_us = tape.start_us // US_PER_S * US_PER_S + US_PER_S
        self._appointment = 0

    @property
    def ended(self) -> bool:
        """Whether every trade of the tape has been printed."""
        return self._next is None

    def next_agg_id(self, symbol: str) -> int:
        """Return the id of the next aggregate of a symbol."""
        return self._aggregator.next_id(symbol)

    def skip_agg_ids(self, symbol: str, count: int) -> None:
        """Let the next ``count`` ids of a symbol be those of no trade."""
        self._aggregator.skip(symbol, count)

    def next_due_us(self) -> int:
        """Return when the next thing happens."""
        timer_us = self._second_us + _APPOINTMENTS[self._appointment]
        if self._next is None:
            return timer_us
        return min(timer_us, self._next.time_us + STREAM_LATENCY_US)

    def advance(self, until_us: int, listener: Listener, max_trades: int) -> bool:
        """Let time run to ``until_us``, but print little more than ``max_trades``; return whether it got there.

        It stops after the tape's last trade too, so that the caller can think again about where to go. It never stops
        between two trades of one instant: such trades can belong to one aggregate.
        """
        left = max_trades
        while True:
            trade = self._next
            timer_us = self._second_us + _APPOINTMENTS[self._appointment]
            if trade is not None and trade.time_us + STREAM_LATENCY_US <= timer_us:
                due_us = trade.time_us + STREAM_LATENCY_US
                if due_us > until_us:
                    break
                if due_us > self.now_us:
                    self.now_us = due_us
                left -= self._print_instant(trade, due_us, listener)
                if self._next is None:
                    return False
            else:
                if timer_us > until_us:
                    break
                self.now_us = max(self.now_us, timer_us)
                self._keep_appointment(timer_us, listener)
                # silence costs too: an hour without a trade must not hold up everybody else
                left -= 1
            if left <= 0:
                return False
        self.now_us = max(self.now_us, until_us)
        return True

    def _print_instant(self, trade: Trade, event_us: int, listener: Listener) -> int:
        time_us = trade.time_us
        instant = [trade]
        following = next(self._trades, None)
        while following is not None and following.time_us == time_us:
            instant.append(following)
            following = next(self._trades, None)
        self._next = following
        for one in instant:
            self.books[one.symbol].add(one)
            listener.on_trade(one, event_us)
        aggregates = self._aggregator.join(instant)
        self.history.add(instant, aggregates)
        for whole in aggregates:
            listener.on_aggregate(whole, event_us)
        self.last_trade_us = time_us
        self.printed += len(instant)
        return len(instant)

    def _keep_appointment(self, event_us: int, listener: Listener) -> None:
        second_us = self._second_us
        if self._appointment == 0:
            listener.on_second(second_us, event_us)
        elif self._appointment == 1:
            if second_us % (60 * US_PER_S) == 0:
                listener.on_minute(second_us, event_us)
                for book in self.books.values():
                    book.forget_seconds(self.history.horizon_us)
        elif second_us % (2 * US_PER_S) == 0:
            listener.on_update(event_us)
        self._appointment += 1
        if self._appointment == len(_APPOINTMENTS):
            self._appointment = 0
            self._second_us = second_us + US_PER_S

    # -- the truth, to compare a record with --------------------------------------------------------------

    def agg_trades(self, symbol: str) -> list[Aggregate]:
        """Return every aggregate of a symbol printed so far, as far as the history reaches back."""
        log = self.history.aggregates[symbol]
        return list(log.rows(0, len(log)))

    def closed_candles(self, symbol: str, interval: str, offset_us: int = 0) -> list[Candle]:
        """Return every candle of a symbol that is over by now, empty ones too."""
        candles = self.books[symbol].span(interval, 0, self.now_us, offset_us)
        return [candle for candle in candles if candle.end_us + CLOSE_US <= self.now_us]


def _flat(tape: Tape) -> Iterator[Trade]:
    for block in tape.blocks():
        yield from block
