from crypto_quant.sim.candles import Candle, CandleBook
from crypto_quant.sim.intervals import US_PER_S
from crypto_quant.sim.numbers import parse8, text8
from crypto_quant.sim.tape import Trade

MINUTE = 60 * US_PER_S
NOON = 1_790_856_000 * US_PER_S


def trade(number: int, price: str, quantity: str, time_us: int, *, maker: bool = True) -> Trade:
    return Trade("BTCUSDT", number, number, parse8(price), parse8(quantity), time_us, maker)


def scenario() -> CandleBook:
    """The minute of the exchange's documentation."""
    book = CandleBook()
    for one in (
        trade(5_000_000_001, "64250.1", "0.004", NOON + 1_200_000),
        trade(5_000_000_002, "64250.1", "0.006", NOON + 1_200_000),
        trade(5_000_000_003, "64250.0", "0.0025", NOON + 1_200_000),
        trade(5_000_000_004, "64250.5", "0.001", NOON + 41_007_000, maker=False),
        trade(5_000_000_005, "64250.5", "0.0015", NOON + 41_007_000, maker=False),
    ):
        book.add(one)
    return book


def told(candle: Candle | None) -> tuple[object, ...]:
    assert candle is not None
    numbers = (
        candle.open, candle.close, candle.high, candle.low,
        candle.volume, candle.quote, candle.taker_volume, candle.taker_quote,
    )  # fmt: skip
    return (*(text8(number) for number in numbers), candle.count, candle.first_id, candle.last_id)


def test_the_documented_minute() -> None:
    assert told(scenario().candle("1m", NOON)) == (
        "64250.10000000", "64250.50000000", "64250.50000000", "64250.00000000",
        "0.01500000", "963.75225000", "0.00250000", "160.62625000", 5, 5_000_000_001, 5_000_000_005,
    )  # fmt: skip


def test_every_longer_candle_tells_the_same_of_these_five_trades() -> None:
    book = scenario()
    for interval, opens in (("5m", NOON), ("1h", NOON), ("12h", NOON), ("1d", NOON - 12 * 60 * MINUTE)):
        assert told(book.candle(interval, opens)) == told(book.candle("1m", NOON)), interval


def test_the_documented_day_of_another_time_zone() -> None:
    candle = scenario().candle("1d", NOON - 20 * 60 * MINUTE, 8 * 60 * MINUTE)
    assert told(candle)[8:] == (5, 5_000_000_001, 5_000_000_005)
    assert candle is not None
    assert (candle.open_us // 1000, candle.end_us // 1000 - 1) == (1_790_784_000_000, 1_790_870_399_999)


def test_candles_without_trades_carry_the_close() -> None:
    empty = scenario().candle("1s", NOON + 60 * US_PER_S)
    assert told(empty) == (
        "64250.50000000", "64250.50000000", "64250.50000000", "64250.50000000",
        "0.00000000", "0.00000000", "0.00000000", "0.00000000", 0, -1, -1,
    )  # fmt: skip


def test_there_is_nothing_before_the_first_trade() -> None:
    assert CandleBook().candle("1m", NOON) is None
    assert scenario().candle("1m", NOON - MINUTE) is None
    assert [candle.open_us for candle in scenario().span("1m", 0, NOON + MINUTE)] == [NOON, NOON + MINUTE]


def test_a_reference_price_makes_candles_from_the_start() -> None:
    book = CandleBook(reference=parse8("7"), start_us=NOON + 5)
    assert [told(candle)[0] for candle in book.span("1m", 0, NOON + MINUTE)] == ["7.00000000"] * 2
    book.add(trade(1, "8", "1", NOON + MINUTE))
    assert [told(candle)[0] for candle in book.span("1m", 0, NOON + 2 * MINUTE)] == [
        "7.00000000", "8.00000000", "8.00000000",
    ]  # fmt: skip


def test_a_trade_at_the_boundary_opens_the_next_candle() -> None:
    book = CandleBook()
    book.add(trade(1, "1", "1", NOON + MINUTE - 1))
    book.add(trade(2, "2", "1", NOON + MINUTE))
    assert [(one.first_id, one.last_id) for one in book.span("1m", NOON, NOON + MINUTE)] == [(1, 1), (2, 2)]
    assert [(one.first_id, one.last_id) for one in book.span("1s", NOON + MINUTE - 1, NOON + MINUTE)] == [(2, 2)]


def test_bounds_are_opens_and_inclusive() -> None:
    book = scenario()
    assert [one.open_us for one in book.span("1m", NOON, NOON)] == [NOON]
    assert list(book.span("1m", NOON + 1, NOON + MINUTE - 1)) == []


def test_prints_of_several_trades_count_them_all() -> None:
    book = CandleBook()
    book.add(Trade("BTCUSDT", 10, 14, parse8("1"), parse8("1"), NOON, True, agg_id=3))
    candle = book.candle("1m", NOON)
    assert candle is not None
    assert (candle.count, candle.first_id, candle.last_id) == (5, 10, 14)


def test_what_is_forgotten_is_not_invented() -> None:
    book = CandleBook(keep=3)
    for minute in range(20):
        book.add(trade(minute + 1, "1", "1", NOON + minute * MINUTE))
    opens = [one.open_us for one in book.span("1m", 0, NOON + 19 * MINUTE)]
    assert opens[-1] == NOON + 19 * MINUTE
    assert 3 <= len(opens) < 20
    assert all(one.count == 1 for one in book.span("1m", 0, NOON + 19 * MINUTE))


def test_forgotten_seconds_leave_the_last_close() -> None:
    book = CandleBook()
    for second in range(10):
        book.add(trade(second + 1, str(second + 1), "1", NOON + second * 2 * US_PER_S))
    book.forget_seconds(NOON + 9 * US_PER_S)
    kept = list(book.span("1s", 0, NOON + 18 * US_PER_S))
    assert kept[0].open_us == NOON + 8 * US_PER_S
    # the quiet seconds between trades carry the close of the second before
    assert [text8(one.close) for one in kept[:4]] == ["5.00000000", "5.00000000", "6.00000000", "6.00000000"]


def test_a_candle_whose_beginning_is_forgotten_is_not_told() -> None:
    book = CandleBook(keep=3)
    for minute in range(20):
        book.add(trade(minute + 1, "1", "1", NOON + minute * MINUTE))
    # asked for the first time now, when the first minutes of that day are gone
    east = 8 * 60 * MINUTE
    assert list(book.span("1d", 0, NOON + 19 * MINUTE, east)) == []
    (hour,) = book.span("1h", NOON, NOON + 19 * MINUTE)
    assert hour.count == 20
