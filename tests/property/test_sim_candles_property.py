"""Candles of every interval against the plain definition: the trades between open and end, one after the other."""

from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_quant.sim.candles import Candle, CandleBook
from crypto_quant.sim.intervals import INTERVALS, US_PER_S, end_of, open_of
from crypto_quant.sim.numbers import quote_of
from crypto_quant.sim.tape import Trade

START = 1_790_856_000 * US_PER_S
EAST_8 = 8 * 3600 * US_PER_S

# pauses from nothing to days, so that candles of all lengths end, and some stay empty
_pauses = st.one_of(
    st.integers(0, 3), st.integers(0, 90 * US_PER_S), st.integers(0, 5 * 86_400 * US_PER_S)
)  # fmt: skip
_trades = st.lists(
    st.tuples(_pauses, st.integers(1, 10**13), st.integers(1, 10**12), st.booleans()), min_size=1, max_size=40
)


def build(rows: list[tuple[int, int, int, bool]]) -> list[Trade]:
    out = []
    time_us = START
    for number, (pause, price, quantity, maker) in enumerate(rows, 1):
        time_us += pause
        out.append(Trade("X", number, number, price, quantity, time_us, maker))
    return out


def plain(trades: list[Trade], open_us: int, end_us: int) -> Candle:
    inside = [one for one in trades if open_us <= one.time_us < end_us]
    if not inside:
        last = [one.price for one in trades if one.time_us < open_us][-1]
        return Candle(open_us, end_us, last, last, last, last)
    prices = [one.price for one in inside]
    taken = [one for one in inside if not one.maker]
    return Candle(
        open_us, end_us, prices[0], max(prices), min(prices), prices[-1],
        sum(one.quantity for one in inside), sum(quote_of(one.price, one.quantity) for one in inside),
        sum(one.quantity for one in taken), sum(quote_of(one.price, one.quantity) for one in taken),
        len(inside), inside[0].first_id, inside[-1].last_id,
    )  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(_trades, st.sampled_from([*((name, 0) for name in INTERVALS), ("1d", EAST_8), ("1w", EAST_8), ("1M", EAST_8)]))
def test_candles_equal_the_definition(rows: list[tuple[int, int, int, bool]], which: tuple[str, int]) -> None:
    interval, offset_us = which
    trades = build(rows)
    book = CandleBook(keep=10_000)
    for one in trades:
        book.add(one)
    last_us = trades[-1].time_us
    # two candles without trades at the end; not all seconds of a month
    first_us = max(trades[0].time_us, last_us - 200 * US_PER_S) if interval in {"1s", "1m"} else trades[0].time_us
    opens = open_of(first_us, interval, offset_us)
    expected = []
    while opens <= end_of(end_of(last_us, interval, offset_us), interval, offset_us):
        opens = open_of(opens, interval, offset_us)
        expected.append(plain(trades, opens, end_of(opens, interval, offset_us)))
        opens = expected[-1].end_us
    got = list(book.span(interval, expected[0].open_us, expected[-1].open_us, offset_us))
    assert got == expected


@settings(max_examples=40, deadline=None)
@given(_trades)
def test_five_minutes_are_the_merge_of_their_minutes(rows: list[tuple[int, int, int, bool]]) -> None:
    trades = build(rows)[:12]
    book = CandleBook()
    for one in trades:
        book.add(one)
    for five in book.span("5m", trades[-1].time_us - 3600 * US_PER_S, trades[-1].time_us):
        minutes = [one for one in book.span("1m", five.open_us, five.end_us - 1) if one.open_us >= five.open_us]
        full = [one for one in minutes if one.count]
        for name in ("volume", "quote", "taker_volume", "taker_quote", "count"):
            assert getattr(five, name) == sum(getattr(one, name) for one in minutes), name
        assert five.close == minutes[-1].close
        if full:
            assert (five.open, five.first_id, five.last_id) == (full[0].open, full[0].first_id, full[-1].last_id)
            assert five.high == max(one.high for one in full)
            assert five.low == min(one.low for one in full)
