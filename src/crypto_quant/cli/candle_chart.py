"""Candles drawn with characters, two steps of price a line. Decides and does not print."""

from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

HEIGHT = 12
# by what the upper and the lower half of a place hold: nothing, wick or body
_MARKS = ((" ", "╷", "╻"), ("╵", "│", "╽"), ("╹", "╿", "┃"))
_WICK, _BODY = 1, 2
MISSING = "×"


class Shape(NamedTuple):
    """One candle: what is drawn of it."""

    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal

    @property
    def rises(self) -> bool:
        """Whether it closes no lower than it opens."""
        return self.close >= self.open


class Cell(NamedTuple):
    """A character of the chart and what it belongs to: ``up``, ``down``, ``missing``, or empty."""

    mark: str
    of: str


class Chart(NamedTuple):
    """Lines of cells, the highest price first; labels of the same number, many empty; how many candles they show."""

    lines: Sequence[Sequence[Cell]]
    labels: Sequence[str]
    shown: int


def draw(candles: Sequence[Shape | None], width: int, height: int = HEIGHT) -> Chart:
    """Return the chart of the last candles that ``width`` characters, labels and all, have room for.

    None among the candles is one that is missing. There must be one that is not.
    """
    there = [each for each in candles if each is not None]
    label_width = max(len(price_text(price)) for each in there for price in (each.high, each.low))
    room = max(1, width - label_width - 1)
    shown = candles[-room:]
    there = [each for each in shown if each is not None] or there[-1:]
    step = 2 if 2 * len(shown) <= room + 1 else 1
    high, low = max(each.high for each in there), min(each.low for each in there)
    columns = [_column(each, low, high, height) for each in shown]
    lines = []
    for row in range(height):
        line: list[Cell] = []
        for each, column in zip(shown, columns, strict=True):
            if each is None:
                line.append(Cell(MISSING if row == height - 1 else " ", "missing"))
            else:
                mark = _MARKS[column[2 * row]][column[2 * row + 1]]
                line.append(Cell(mark, "up" if each.rises else "down"))
            line += [Cell(" ", "")] * (step - 1)
        lines.append(line[: len(line) - step + 1])
    labels = [""] * height
    labels[0], labels[-1] = price_text(high), price_text(low)
    finest = Decimal(1).scaleb(-max(len(label.partition(".")[2]) for label in (labels[0], labels[-1])))
    labels[height // 2] = price_text(((high + low) / 2).quantize(finest))
    return Chart(lines, [label.rjust(label_width) for label in labels], len(shown))


def price_text(price: Decimal) -> str:
    """Return a price for the eye: at most eight decimals, and no zeros at its end but two."""
    text = f"{price:,.8f}".rstrip("0")
    whole, _, decimals = text.partition(".")
    return f"{whole}.{decimals.ljust(2, '0')}"


def _column(candle: Shape | None, low: Decimal, high: Decimal, height: int) -> list[int]:
    """Return what a candle has in each half line, from the highest down."""
    halves = [0] * (2 * height)
    if candle is None:
        return halves
    span = high - low

    def place(price: Decimal) -> int:
        return height if not span else int((high - price) / span * (2 * height - 1) + Decimal("0.5"))

    for at in range(place(candle.high), place(candle.low) + 1):
        halves[at] = _WICK
    for at in range(place(max(candle.open, candle.close)), place(min(candle.open, candle.close)) + 1):
        halves[at] = _BODY
    return halves
