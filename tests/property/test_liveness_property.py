"""Whatever a market does: a stream that gives all there is never stalls, one that gives nothing of it always does."""

from hypothesis import given
from hypothesis import strategies as st

from crypto_quant.binance.liveness import LivenessLimits, StreamLiveness
from crypto_quant.market import NS_PER_S

LIMITS = LivenessLimits()
# seconds without a trade, then trades in one second
MARKET = st.lists(st.tuples(st.integers(1, 2000), st.integers(1, 500)), min_size=1, max_size=30)


def walk(
    market: list[tuple[int, int]], outages: set[int], mute_from: int | None
) -> tuple[list[int], list[int], int | None]:
    """Run a market against a stream; return when it was looked up, when it stalled, when the exchange went ahead."""
    live = StreamLiveness(["a"], LIMITS)
    exchanges = ours = 100
    asked: list[int] = []
    stalls: list[int] = []
    ahead: int | None = None
    now = 0
    since: int | None = 0
    for number, (pause, trades) in enumerate(market):
        for _ in range(pause):
            now += 1
            live.sample("a", ours, since, now * NS_PER_S)
            if live.suspect(now * NS_PER_S) is not None:
                asked.append(now)
                if live.answered("a", exchanges, ours, since, now * NS_PER_S):
                    stalls.append(now)
        exchanges += trades
        if number in outages:
            since = now * NS_PER_S  # what was printed in the break is not had, and the next link is up
        elif mute_from is None or number < mute_from:
            ours = exchanges
        elif ahead is None:
            ahead = now
    return asked, stalls, ahead


@given(MARKET, st.sets(st.integers(0, 30)))
def test_a_stream_that_delivers_never_stalls(market: list[tuple[int, int]], outages: set[int]) -> None:
    asked, stalls, _ = walk(market, outages, None)
    assert stalls == []
    for first, seventh in zip(asked, asked[LIMITS.checks_per_minute :], strict=False):
        assert seventh - first >= 60


@given(MARKET, st.integers(0, 10))
def test_a_stream_that_is_mute_while_the_exchange_moves_on_is_found(market: list[tuple[int, int]], at: int) -> None:
    # the exchange goes on with a trade a second for two hours
    _, stalls, ahead = walk([*market[: at + 1], *[(1, 1)] * 9000], set(), min(at, len(market)))
    assert ahead is not None
    assert stalls
    assert stalls[0] <= ahead + 2 * LIMITS.pause_most_s
