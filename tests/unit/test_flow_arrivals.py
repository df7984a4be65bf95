"""Second arrivals over another link, and repetitions on one."""

from crypto_quant.flow.arrivals import Arrivals, Contents


def test_each_link_tells_a_number_first_once() -> None:
    arrivals = Arrivals()
    assert [arrivals.first(1, "BTCUSDT", 5), arrivals.first(2, "BTCUSDT", 5)] == [True, True]
    assert [arrivals.first(1, "BTCUSDT", 5), arrivals.first(2, "BTCUSDT", 4)] == [False, False]
    assert arrivals.first(2, "BTCUSDT", 6)
    assert arrivals.first(1, "ETHUSDT", 5)


def test_contents_are_compared_as_long_as_they_are_remembered() -> None:
    contents = Contents()
    assert [contents.told(5, ("1", "2")), contents.told(5, ("1", "2")), contents.told(5, ("1", "3"))] == [
        False, True, False,
    ]  # fmt: skip
    assert not contents.told(5 + 1024, ("1", "3"))
    assert not contents.told(5, ("1", "3"))
