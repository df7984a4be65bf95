"""When a silence is looked up, and what an answer proves."""

from itertools import pairwise

from crypto_quant.binance.liveness import CandleLiveness, LivenessLimits, StreamLiveness
from crypto_quant.market import NS_PER_S

S = NS_PER_S
LIMITS = LivenessLimits()


def busy(rate: int = 10, seconds: int = 100) -> tuple[StreamLiveness, int]:
    """A stream of so many trades a second, listened to from 0 on; return it and the last id, had at ``seconds``."""
    live = StreamLiveness(["a"], LIMITS)
    for second in range(seconds + 1):
        live.sample("a", 1000 + second * rate, 0, second * S)
    return live, 1000 + seconds * rate


def test_a_busy_stream_is_looked_up_soon_after_it_falls_silent() -> None:
    live, _ = busy(rate=10)
    assert live.suspect(114 * S) is None
    assert live.suspect(115 * S) == "a"


def test_patience_follows_the_streams_own_rate() -> None:
    live = StreamLiveness(["a"], LIMITS)
    for number in range(20):
        live.sample("a", number, 0, number * 20 * S)  # a trade every 20 s
    assert live.patience_s("a") == 600
    live, _ = busy(rate=1)
    assert live.patience_s("a") == 30


def test_no_silence_is_believed_unseen_for_longer_than_the_most() -> None:
    live = StreamLiveness(["a"], LIMITS)
    for number in range(4):
        live.sample("a", number, 0, number * 3600 * S)
    assert live.patience_s("a") == LIMITS.most_s


def test_a_single_trade_tells_no_rate() -> None:
    live = StreamLiveness(["a"], LIMITS)
    live.sample("a", 189, 0, 0)  # of an earlier run
    live.sample("a", 190, 0, 5 * S)
    assert live.patience_s("a") == LIMITS.first_s


def test_what_has_moved_on_while_we_listened_has_stalled() -> None:
    live, last = busy()
    assert live.suspect(115 * S) == "a"
    assert live.answered("a", last + 50, last, 0, 118 * S)


def test_a_quiet_market_is_no_stall_and_is_asked_less_and_less_often() -> None:
    live, last = busy()
    asked = []
    for now in range(115, 8000):
        live.sample("a", last, 0, now * S)
        if live.suspect(now * S):
            asked.append(now)
            assert not live.answered("a", last, last, 0, (now + 3) * S)
    gaps = [later - sooner for sooner, later in pairwise(asked)]
    assert gaps == sorted(gaps)
    assert gaps[0] >= 2 * LIMITS.again_s
    assert len(asked) < 10


def test_a_trade_that_was_on_its_way_proves_nothing() -> None:
    live, last = busy()
    live.suspect(115 * S)
    assert not live.answered("a", last + 5, last + 5, 0, 118 * S)
    assert live.suspect(119 * S) is None  # it moves: the account begins anew


def test_what_was_printed_before_we_listened_proves_nothing() -> None:
    """A recorder that starts on old coverage: the exchange is ahead, and the stream is merely quiet."""
    live = StreamLiveness(["a"], LIMITS)
    live.sample("a", 500, 10 * S, 10 * S)
    assert live.suspect(69 * S) is None
    assert live.suspect(70 * S) == "a"
    assert not live.answered("a", 900, 500, 10 * S, 73 * S)
    assert live.suspect(92 * S) is None
    assert live.suspect(93 * S) == "a"
    assert not live.answered("a", 900, 500, 10 * S, 96 * S)  # still the same: quiet


def test_a_stream_that_was_acknowledged_and_never_came_is_found_in_two_look_ups() -> None:
    live = StreamLiveness(["a"], LIMITS)
    live.sample("a", -1, 0, 0)
    assert live.suspect(60 * S) == "a"
    assert not live.answered("a", 100, -1, 0, 63 * S)
    assert live.suspect(83 * S) == "a"
    assert live.answered("a", 101, -1, 0, 86 * S)


def test_after_an_outage_the_account_of_what_we_heard_begins_anew() -> None:
    live, last = busy()
    live.sample("a", last, None, 101 * S)
    assert live.suspect(10_000 * S) is None  # nobody listens
    live.sample("a", last, 200 * S, 200 * S)
    assert live.suspect(214 * S) is None
    assert live.suspect(215 * S) == "a"
    assert not live.answered("a", last + 900, last, 200 * S, 218 * S)  # perhaps all of them in the outage
    assert live.suspect(238 * S) == "a"
    assert live.answered("a", last + 901, last, 200 * S, 241 * S)


def test_a_link_that_was_replaced_meanwhile_makes_the_answer_void() -> None:
    live, last = busy()
    live.suspect(115 * S)
    assert not live.answered("a", last + 50, last, None, 118 * S)
    live, last = busy()
    live.suspect(115 * S)
    assert not live.answered("a", last + 50, last, 117 * S, 118 * S)


def test_a_stream_that_stalls_for_ever_does_not_have_its_link_replaced_for_ever_as_often() -> None:
    live, last = busy()
    stalls = []
    since = 0
    exchanges = last
    for now in range(101, 20_000):
        exchanges += 10
        live.sample("a", last, since, now * S)
        if live.suspect(now * S) and live.answered("a", exchanges, last, since, now * S):
            stalls.append(now)
            since = now * S  # a new link
    assert 3 < len(stalls) < 20
    assert stalls[-1] - stalls[-2] > 1800


def test_the_most_suspicious_comes_first_and_only_a_few_a_minute() -> None:
    symbols = [f"s{number}" for number in range(20)]
    live = StreamLiveness(symbols, LIMITS)
    for second in range(101):
        for rate, symbol in enumerate(symbols, start=1):
            live.sample(symbol, second * rate, 0, second * S)
    now = 200 * S
    asked = [live.suspect(now) for _ in range(10)]
    # one trade a second is believed silent for 30 s, from two a second on it is the least that counts
    assert asked[:6] == [f"s{number}" for number in range(1, 7)]
    assert asked[6:] == [None] * 4
    assert live.suspect(now + 59 * S) is None
    assert live.suspect(now + 60 * S) is not None


def test_without_rest_only_a_long_silence_counts() -> None:
    live, _ = busy()
    assert live.suspect(115 * S) == "a"
    assert not live.unanswered("a", 115 * S)
    assert live.suspect(154 * S) is None
    assert live.suspect(155 * S) == "a"
    assert live.unanswered("a", (100 + 900) * S)


def test_final_candles_that_rest_had_to_give_again_and_again_are_a_stall() -> None:
    candles = CandleLiveness()
    assert not candles.stalled(60, -1, 5)
    assert not candles.stalled(60, 120, 5)
    assert not candles.stalled(60, 180, 5)
    assert not candles.stalled(60, 180, 5)
    assert candles.stalled(60, 240, 5)
    assert not candles.stalled(60, 240, 5)


def test_one_missing_final_candle_is_no_stall() -> None:
    candles = CandleLiveness()
    for minute in range(0, 6000, 120):
        assert not candles.stalled(minute, minute + 60, 5)
        assert not candles.stalled(minute + 120, minute + 60, 5)


def test_candles_of_an_outage_are_no_stall() -> None:
    candles = CandleLiveness()
    assert not candles.stalled(60, 120, None)
    assert not candles.stalled(60, 180, None)
    assert not candles.stalled(60, 240, 7)
    assert not candles.stalled(60, 300, 8)
