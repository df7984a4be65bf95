"""A synthetic market: endless, seeded, cheap. It looks like a market where a recorder would notice.

Prices walk on ticks; activity comes in bursts; taker orders sweep several makers at one or more prices, so that
aggregates span several trades; popularity falls off from symbol to symbol, and the last of many hardly trades, so
that there are candles without trades; times are µs, ids exceed 32 bits.
"""

import math
from collections.abc import Iterator, Sequence
from random import Random

from crypto_quant.errors import ConfigError
from crypto_quant.sim.intervals import US_PER_S
from crypto_quant.sim.tape import SymbolInfo, Trade

_FIRST_TRADE_ID = 5_000_000_001
# how many makers a taker order meets
_FILLS = (1, 1, 1, 1, 1, 1, 2, 2, 3, 7)
_FILLS_MEAN = sum(_FILLS) / len(_FILLS)
_ORDERS_PER_BLOCK = 2_000
RATE_MAX = 200_000.0


class _Walk:
    """Where one symbol stands; prices and quantities count ticks and steps."""

    __slots__ = ("ceiling", "floor", "next_id", "price", "size", "stride", "symbol")

    def __init__(self, symbol: SymbolInfo) -> None:
        reference = symbol.reference or 100 * symbol.tick
        self.symbol = symbol
        self.price = max(2, reference // symbol.tick)
        self.floor = max(2, self.price // 4)
        self.ceiling = self.price * 4
        # a move is some millionths of the price, an order a few hundred units of quote
        self.stride = max(1, self.price // 500_000)
        self.size = max(1.0, 2_000 * 10**16 / (reference * symbol.step))
        self.next_id = _FIRST_TRADE_ID


class SyntheticTape:
    """Trades of ``symbols`` at ``rate`` raw trades a second over all of them, from ``start_us`` on.

    The same arguments give the same trades. ``seconds`` None is endless. Raises ConfigError for a rate out of range.
    """

    def __init__(
        self, symbols: Sequence[SymbolInfo], *, rate: float, seed: int, start_us: int, seconds: float | None = None
    ) -> None:
        if not 0 < rate <= RATE_MAX:
            raise ConfigError("rate out of range", subject=repr(rate), hint=f"Above 0, at most {RATE_MAX:.0f} a second")
        self.symbols: Sequence[SymbolInfo] = tuple(symbols)
        self.start_us = start_us
        self._rate = rate
        self._seed = seed
        self._end_us = None if seconds is None else start_us + int(seconds * US_PER_S)

    def blocks(self) -> Iterator[Sequence[Trade]]:
        """Yield the trades second by second, or in smaller pieces when there are many."""
        random = Random(self._seed)  # noqa: S311 - a market, not a secret
        walks = [_Walk(symbol) for symbol in self.symbols if symbol.status == "TRADING"]
        # symbols of less and less interest; the last of a larger market is nearly asleep
        weights = [1.0 / (rank + 1) for rank in range(len(walks))]
        if len(walks) > 3:
            weights[-1] *= 0.02
        orders_per_s = self._rate / _FILLS_MEAN
        block_us = int(US_PER_S / max(1, math.ceil(orders_per_s / _ORDERS_PER_BLOCK)))
        mood = 0.0
        begin_us = self.start_us
        while walks and (self._end_us is None or begin_us < self._end_us):
            mood = 0.8 * mood + random.gauss(0.0, 0.15)
            burst = 4.0 if random.random() < 0.03 else 1.0
            # 1 on average over time: the mood's variance is 0.15² / (1 - 0.8²), a burst adds 9 %
            mean = orders_per_s * block_us / US_PER_S * math.exp(mood - 0.031) * burst / 1.09
            count = min(_poisson(random, mean), block_us // 2)
            trades: list[Trade] = []
            if count:
                # no two orders at one instant: what the exchange would join stays apart
                times = sorted(random.sample(range(begin_us, begin_us + block_us), count))
                for time_us, walk in zip(times, random.choices(walks, weights, k=count), strict=True):
                    _order(random, walk, time_us, trades)
            if self._end_us is not None and begin_us + block_us > self._end_us:
                trades = [trade for trade in trades if trade.time_us < self._end_us]
            yield trades
            begin_us += block_us


def _order(random: Random, walk: _Walk, time_us: int, out: list[Trade]) -> None:
    draw = random.random
    sells = draw() < 0.5
    direction = -1 if sells else 1
    price = walk.price
    symbol = walk.symbol
    name, tick, step = symbol.name, symbol.tick, symbol.step
    number = walk.next_id
    fills = _FILLS[int(draw() * len(_FILLS))]
    for _ in range(fills):
        size = draw()
        out.append(Trade(name, number, number, price * tick, (1 + int(walk.size * size * size * size)) * step,
                         time_us, sells))  # fmt: skip
        number += 1
        # this maker's level is eaten up: on to the next
        if draw() < 0.25:
            price = max(walk.floor, price + direction)
    walk.next_id = number
    # the market follows the taker, or comes back
    price += direction * int(walk.stride * (draw() * 6 - 2.7))
    walk.price = min(walk.ceiling, max(walk.floor, price))


def _poisson(random: Random, mean: float) -> int:
    if mean > 50:
        return max(0, round(random.gauss(mean, math.sqrt(mean))))
    threshold = math.exp(-mean)
    count, product = 0, random.random()
    while product > threshold:
        count += 1
        product *= random.random()
    return count
