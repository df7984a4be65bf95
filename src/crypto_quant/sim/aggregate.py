"""Raw trades into aggregates, as the exchange makes them."""

from collections.abc import Sequence

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

    Tapes do not name taker orders: two orders of one side that hit one price in one instant and took consecutive ids
    are told apart by nobody, and become one aggregate.
    """

    def __init__(self, first_ids: dict[str, int]) -> None:
        self._next_ids = dict(first_ids)

    def next_id(self, symbol: str) -> int:
        """Return the id of the next aggregate of a symbol."""
        return self._next_ids[symbol]

    def skip(self, symbol: str, count: int) -> None:
        """Give the next ``count`` ids of a symbol to nothing."""
        self._next_ids[symbol] += count

    def join(self, instant: Sequence[Trade]) -> list[Aggregate]:
        """Return the aggregates of one instant: all trades, of all symbols, that have one time.

        They come in the order of their first trades. Prints that are aggregates already keep their ids.
        """
        if len(instant) == 1:
            return [self._aggregate(instant[0], instant[0])]
        groups: list[list[Trade]] = []
        latest: dict[str, list[Trade]] = {}
        for trade in instant:
            group = latest.get(trade.symbol)
            if group is not None and _continues(group[-1], trade):
                group.append(trade)
            else:
                groups.append([trade])
                latest[trade.symbol] = groups[-1]
        return [
            self._aggregate(group[0], group[-1], sum(trade.quantity for trade in group)) for group in groups
        ]  # fmt: skip

    def _aggregate(self, first: Trade, last: Trade, quantity: int | None = None) -> Aggregate:
        number = first.agg_id
        if number is None:
            number = self._next_ids[first.symbol]
            self._next_ids[first.symbol] = number + 1
        return Aggregate(
            first.symbol, number, first.price, first.quantity if quantity is None else quantity,
            first.first_id, last.last_id, first.time_us, first.maker, first.best,
        )  # fmt: skip


def _continues(last: Trade, trade: Trade) -> bool:
    return (
        last.price == trade.price
        and last.maker == trade.maker
        and last.last_id + 1 == trade.first_id
        and trade.agg_id is None
    )
