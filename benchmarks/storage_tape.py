"""Made trades for ``storage.py``: many symbols mixed as the market mixes them, some of which fall silent for good.

The symbols' shares follow Zipf: of 1000 symbols the first has an eighth of the trades, the last one in seven thousand.
Prices walk by ticks, quantities are round or not, times grow by microseconds, a trade is received some ms later: what
a columnstore makes of the rows depends on this.
"""

import random
from collections.abc import Iterator
from datetime import date, timedelta
from itertools import accumulate

FIRST_DAY = date(2026, 9, 1)
# traded on the first day alone: the question for its last trades has to find that out
GONE = "goneusdt"
# so many ids lie between the same trade of two days: no id comes twice
IDS_A_DAY = 10_000_000


def names(symbols: int) -> list[str]:
    """Return the symbols, the busiest first."""
    return [f"sym{number:04d}usdt" for number in range(symbols)]


class Tape:
    """One day of trades, made once; every day is the same but for its date and its ids."""

    def __init__(self, rows: int, symbols: int, seed: int = 1) -> None:
        rng = random.Random(seed)  # noqa: S311
        self.names = names(symbols)
        shares = list(accumulate(1 / rank for rank in range(1, symbols + 1)))
        prices = [rng.randint(100, 9_000_000) for _ in self.names]
        ids, singles = [0] * symbols, [0] * symbols
        drawn = rng.choices(range(symbols), cum_weights=shares, k=rows)
        # each symbol has at least one trade
        drawn[:symbols] = range(symbols)
        self._rows = []
        for number, at in enumerate(drawn):
            prices[at] = max(1, prices[at] + rng.choice((-3, -1, -1, 0, 0, 0, 0, 0, 1, 1, 3)))
            quantity = rng.choice((rng.randint(1, 50) * 1000, rng.randint(1, 9_999_999)))
            first, count = singles[at] + 1, rng.choice((1, 1, 1, 2, 5))
            singles[at] += count
            time_us = number * 86_000_000_000 // rows + rng.randrange(200)
            price, received = f"{prices[at] // 100}.{prices[at] % 100:02d}000000", time_us + rng.randint(3_000, 9_000)
            self._rows.append(
                (_clock(time_us), self.names[at], ids[at], price, f"{quantity // 10**5}.{quantity % 10**5:05d}000",
                 first, singles[at], "f" if rng.random() < 0.5 else "t", _clock(received))
            )  # fmt: skip
            ids[at] += 1

    def day(self, number: int) -> Iterator[tuple[str, ...]]:
        """Yield the rows of a day as text, in the order of the columns of ``trades``."""
        day, base = FIRST_DAY + timedelta(days=number), (number + 1) * IDS_A_DAY
        for at, (clock, symbol, id_, price, quantity, first, last, maker, received) in enumerate(self._rows):
            yield (
                f"{day} {clock}", "spot", GONE if number == 0 and at % 997 == 3 else symbol, str(base + id_), price,
                quantity, str(base + first), str(base + last), maker, f"{day} {received}",
            )  # fmt: skip

    def copies(self, number: int, batch: int) -> list[bytes]:
        """Return the rows of a day as COPY text, a value a batch."""
        lines = ["\t".join(row) + "\n" for row in self.day(number)]
        return ["".join(lines[at : at + batch]).encode() for at in range(0, len(lines), batch)]


def _clock(time_us: int) -> str:
    seconds, micros = divmod(time_us, 1_000_000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{micros:06d}+00"
