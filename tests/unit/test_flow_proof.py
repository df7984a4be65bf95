"""Which ids a batch proves: those of its marks, no more and no less."""

from hypothesis import given
from hypothesis import strategies as st

from crypto_quant.flow.proof import AllSeries, Series
from crypto_quant.seams import Covered, Source

BTC, ETH = Series("spot", "btcusdt", Source.STREAM), Series("spot", "ethusdt", Source.STREAM)
VOID = Series("spot", "btcusdt", Source.VOID)


def test_a_series_keeps_its_number() -> None:
    every = AllSeries()
    assert [every.number(series) for series in (BTC, ETH, BTC, VOID, Series(*ETH))] == [0, 1, 0, 2, 1]


def test_ids_in_order_make_one_range_a_series() -> None:
    every = AllSeries()
    btc, eth, void = map(every.number, (BTC, ETH, VOID))
    marks = [(0, 0, btc, 5), (0, 0, eth, 90), (0, 0, btc, 6), (0, 0, void, 7), (0, 0, btc, 8), (0, 0, eth, 91)]
    assert sorted(every.covered_by(marks), key=lambda each: each.first) == [
        Covered("spot", "btcusdt", 5, 6, Source.STREAM),
        Covered("spot", "btcusdt", 7, 7, Source.VOID),
        Covered("spot", "btcusdt", 8, 8, Source.STREAM),
        Covered("spot", "ethusdt", 90, 91, Source.STREAM),
    ]
    assert every.covered_by([]) == []


@given(st.lists(st.tuples(st.sampled_from([BTC, ETH, VOID]), st.integers(0, 30))))
def test_exactly_the_ids_of_the_marks_are_covered(told: list[tuple[Series, int]]) -> None:
    every = AllSeries()
    covered = every.covered_by((0, 0, every.number(series), trade_id) for series, trade_id in told)
    assert {
        (each.venue, each.symbol, each.source, trade_id)
        for each in covered
        for trade_id in range(each.first, each.last + 1)
    } == {(*series, trade_id) for series, trade_id in told}
