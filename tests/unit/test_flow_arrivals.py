"""Second arrivals over another link, and repetitions on one."""

from crypto_quant.flow.arrivals import Arrivals


def test_each_link_tells_a_number_first_once() -> None:
    arrivals = Arrivals()
    assert [arrivals.first(1, "BTCUSDT", 5), arrivals.first(2, "BTCUSDT", 5)] == [True, True]
    assert [arrivals.first(1, "BTCUSDT", 5), arrivals.first(2, "BTCUSDT", 4)] == [False, False]
    assert arrivals.first(2, "BTCUSDT", 6)
    assert arrivals.first(1, "ETHUSDT", 5)
