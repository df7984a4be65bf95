"""The drawing of candles: what each looks like, which have room, and where one is missing."""

from decimal import Decimal

import pytest

from crypto_quant.cli.candle_chart import MISSING, Chart, Shape, draw, price_text


def shape(opened: str, high: str, low: str, close: str) -> Shape:
    return Shape(Decimal(opened), Decimal(high), Decimal(low), Decimal(close))


def picture(chart: Chart) -> list[str]:
    return [
        f"{label}|{''.join(cell.mark for cell in line)}" for label, line in zip(chart.labels, chart.lines, strict=True)
    ]


def test_bodies_and_wicks_are_where_the_prices_are() -> None:
    candles = [shape("3", "7", "0", "5"), None, shape("7", "7", "4", "4")]
    assert picture(draw(candles, 40, height=4)) == [
        "7.00|│   ┃",
        "    |┃   ┃",
        "3.50|╿    ",
        "0.00|│ ×  ",
    ]
    assert [cell.of for cell in draw(candles, 40, height=4).lines[0]] == ["up", "", "missing", "", "down"]


def test_it_is_no_wider_than_it_may_be() -> None:
    candles = [shape(f"{100 + n}.5", f"{101 + n}", f"{99 + n}", f"{100 + n}") for n in range(200)]
    for width in (40, 41, 80, 300, 405, 406, 407, 1000):
        chart = draw(candles, width)
        assert max(map(len, picture(chart))) <= width
        assert chart.shown == min(200, width - len("300.00") - 1)
    # the prices are those of what is shown
    assert draw(candles, 40).labels[-1].strip() == f"{99 + 200 - 33}.00"


def test_a_market_that_stands_still() -> None:
    chart = draw([shape("5", "5", "5", "5")] * 3, 40, height=4)
    assert sum(mark != " " for line in picture(chart) for mark in line.partition("|")[2]) == 3


def test_missing_ones_at_the_end_keep_their_place() -> None:
    chart = draw([shape("1", "2", "1", "2"), *[None] * 50], 20)
    assert {cell.mark for cell in chart.lines[-1]} == {MISSING}


@pytest.mark.parametrize(
    ("price", "text"),
    [("64321.10000000", "64,321.10"), ("0.00001234", "0.00001234"), ("5", "5.00"), ("1234567.125", "1,234,567.125")],
)
def test_prices_for_the_eye(price: str, text: str) -> None:
    assert price_text(Decimal(price)) == text
