"""What a batch proves: the ids of exactly the rows that it holds."""

from collections.abc import Iterable
from typing import NamedTuple

from crypto_quant.seams import Covered, Source


class Series(NamedTuple):
    """Whose ids are counted: one symbol of one venue, told by one source."""

    venue: str
    symbol: str
    source: Source


# What stands beside a row of trades on its way into the store: when it was received and when it happened (ns, for the
# lags alone), the number of its series, and the id that it proves. One is made for each trade, so it is a plain tuple,
# and of numbers alone: such a tuple the garbage collector forgets, where one that leads to an object is looked at
# again and again while it waits (measured: half a microsecond a trade).
TradeMark = tuple[int, int, int, int]


class AllSeries:
    """Gives each series a number, from 0 in the order of asking."""

    def __init__(self) -> None:
        self._numbers: dict[Series, int] = {}
        self._series: list[Series] = []

    def number(self, series: Series) -> int:
        """Return the series' number, the same for ever."""
        number = self._numbers.setdefault(series, len(self._series))
        if number == len(self._series):
            self._series.append(series)
        return number

    def covered_by(self, marks: Iterable[TradeMark]) -> list[Covered]:
        """Return the ids of the marks as ranges; ids that follow each other within a series make one range."""
        first: dict[int, int] = {}
        following: dict[int, int] = {}  # the id that would continue a series' range
        ended: list[tuple[int, int, int]] = []
        for _, _, number, trade_id in marks:
            if following.get(number) != trade_id:
                if number in first:
                    ended.append((number, first[number], following[number]))
                first[number] = trade_id
            following[number] = trade_id + 1
        ended += ((number, low, following[number]) for number, low in first.items())
        series = self._series
        return [Covered(series[n].venue, series[n].symbol, low, end - 1, series[n].source) for n, low, end in ended]
