import pytest

from crypto_quant.errors import ConfigError
from crypto_quant.sim.clock import MAX, ExchangeClock, parse_speed


class Monotonic:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_time_stands_still_until_it_is_started() -> None:
    monotonic = Monotonic()
    clock = ExchangeClock(5_000_000, 2.0, monotonic)
    monotonic.now_s = 200.0
    assert (clock.started, clock.now_us()) == (False, 5_000_000)
    clock.start()
    monotonic.now_s = 203.0
    clock.start()
    assert clock.now_us() == 11_000_000
    assert clock.wait_s(13_000_000) == 1.0
    assert clock.wait_s(1) == 0.0


def test_it_goes_on_at_another_speed() -> None:
    monotonic = Monotonic()
    clock = ExchangeClock(0, MAX, monotonic)
    clock.start()
    assert clock.jumps
    clock.go_on_from(7_000_000, 1.0)
    monotonic.now_s += 1.5
    assert (clock.jumps, clock.now_us()) == (False, 8_500_000)


def test_speeds() -> None:
    assert [parse_speed(text) for text in ("1", "0.5", "1000", "max", "MAX")] == [1.0, 0.5, 1000.0, MAX, MAX]


@pytest.mark.parametrize("text", ["0", "-1", "fast", "", "nan", "inf"])
def test_what_is_no_speed(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_speed(text)
