"""Raw trades into aggregates, as the exchange makes them."""

import msgspec

from crypto_quant.sim.tape import Trade


class Aggregate(msgspec.Struct, frozen=True, gc=False):
    """The fills of one taker order at one price. Fixed-point numbers, µs, inclusive trade ids."""

    symbol: str
    agg_id: int
    price: int
    quantity: int
    first_id: int
    last_id: int
    time_us: int
    maker: bool
    best: bool


class Aggregator:
    """Joins trades of the same time, price and side with consecutive ids; a new price is a new aggregate.

    Fed with the trades of all symbols in order of time. An aggregate is complete once time has moved on: ``add``
    returns those of the instant before, ``flush`` those of the last instant, so the caller must not flush in the
    middle of one. Tapes do not name taker orders: two orders of one side that hit one price in one instant and took
    consecutive ids are told apart by nobody, and become one aggregate.
    """

    def __init__(self, first_ids: dict[str, int]) -> None:
        self._next_ids = dict(first_ids)
        self._open: list[Aggregate] = []
        self._time_us = -1

    def add(self, trade: Trade) -> list[Aggregate]:
        """Take one trade; return the aggregates that its time has completed, in the order of their first trades."""
        done: list[Aggregate] = []
        if trade.time_us != self._time_us:
            done = self._open
            self._open = []
            self._time_us = trade.time_us
        if trade.agg_id is not None:
            self._open.append(_whole(trade, trade.agg_id))
            return done
        mine = next((i for i in range(len(self._open) - 1, -1, -1) if self._open[i].symbol == trade.symbol), -1)
        if mine >= 0:
            last = self._open[mine]
            if last.price == trade.price and last.maker == trade.maker and last.last_id + 1 == trade.first_id:
                self._open[mine] = _joined(last, trade)
                return done
        number = self._next_ids[trade.symbol]
        self._next_ids[trade.symbol] = number + 1
        self._open.append(_whole(trade, number))
        return done

    def flush(self) -> list[Aggregate]:
        """Return the aggregates of the last instant."""
        done, self._open = self._open, []
        return done


def _whole(trade: Trade, agg_id: int) -> Aggregate:
    return Aggregate(
        trade.symbol, agg_id, trade.price, trade.quantity,
        trade.first_id, trade.last_id, trade.time_us, trade.maker, trade.best,
    )  # fmt: skip


def _joined(one: Aggregate, trade: Trade) -> Aggregate:
    return Aggregate(
        one.symbol, one.agg_id, one.price, one.quantity + trade.quantity,
        one.first_id, trade.last_id, one.time_us, one.maker, one.best,
    )  # fmt: skip
