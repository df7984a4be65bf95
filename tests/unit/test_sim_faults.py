from collections.abc import Callable

import pytest

from crypto_quant.errors import ConfigError
from crypto_quant.sim.faults import Aim, EventFaults, Refusals
from crypto_quant.sim.messages import TimeUnit
from crypto_quant.sim.names import Stream

TRADES = Stream("btcusdt@aggTrade", "aggTrade", "BTCUSDT")
CANDLES = Stream("btcusdt@kline_5m", "kline", "BTCUSDT", "5m")
OTHERS = Stream("ethusdt@aggTrade", "aggTrade", "ETHUSDT")


def event(name: str) -> Callable[[TimeUnit], bytes]:
    return lambda _: name.encode()


def sent(faults: EventFaults, names: str, stream: Stream = TRADES, *, final: bool = False) -> str:
    out = [build for name in names for build in faults.arrange(stream, event(name), final)]
    return b"".join(build(TimeUnit.MILLISECOND) for build in out).decode()


def armed(kind: str, count: int | None, **aim: str) -> EventFaults:
    faults = EventFaults()
    faults.arm(kind, Aim(**aim), count)
    return faults


def test_skip() -> None:
    assert sent(armed("skip", 2), "abcd") == "cd"


def test_duplicate() -> None:
    assert sent(armed("duplicate", 2), "abcd") == "aabbcd"


def test_reorder() -> None:
    assert sent(armed("reorder", 1), "abcd") == "bacd"
    assert sent(armed("reorder", 2), "abcd") == "badc"
    assert sent(armed("reorder", 3), "abcdefg") == "badcfeg"


def test_an_event_that_is_held_back_is_not_lost_when_faults_end() -> None:
    faults = armed("reorder", 5)
    assert sent(faults, "a") == ""
    faults.clear()
    assert faults.active
    assert sent(faults, "bc") == "bac"
    assert not faults.active


def test_missing_final_spares_everything_else() -> None:
    faults = armed("missing_final", None, stream="btcusdt@kline_5m")
    assert sent(faults, "a", CANDLES) == "a"
    assert sent(faults, "b", CANDLES, final=True) == ""
    assert sent(faults, "c", OTHERS, final=True) == "c"


def test_faults_aim() -> None:
    faults = armed("skip", 9, symbol="ethusdt")
    assert sent(faults, "a", TRADES) == "a"
    assert sent(faults, "b", OTHERS) == ""
    faults = armed("skip", 9, stream="btcusdt@kline_5m")
    assert sent(faults, "a", TRADES) == "a"
    assert sent(faults, "b", CANDLES) == ""


def test_a_fault_that_has_struck_is_gone() -> None:
    faults = armed("skip", 1)
    assert faults.active
    sent(faults, "a")
    assert not faults.active


def test_a_count_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError):
        armed("skip", 0)


def test_refusals_by_count_and_by_time() -> None:
    refusals = Refusals()
    assert not refusals.hit(0.0)
    refusals.arm(10.0, count=2, seconds=None, status=503, retry_after_s=None)
    assert [refusals.hit(99.0) for _ in range(3)] == [True, True, False]
    refusals.arm(10.0, count=None, seconds=5, status=None, retry_after_s=None)
    assert [refusals.hit(second) for second in (10.0, 14.9, 15.0)] == [True, True, False]
    with pytest.raises(ConfigError):
        refusals.arm(10.0, count=None, seconds=None, status=None, retry_after_s=None)


def test_so_many_subscriptions_stay_silent() -> None:
    faults = EventFaults()
    faults.mute("btcusdt@aggTrade", 2)
    assert not faults.muted("ethusdt@aggTrade")
    assert [faults.muted("btcusdt@aggTrade") for _ in range(3)] == [True, True, False]
    faults.mute("btcusdt@aggTrade", 1)
    faults.clear()
    assert not faults.muted("btcusdt@aggTrade")
    with pytest.raises(ConfigError, match="not negative"):
        faults.mute("btcusdt@aggTrade", -1)
