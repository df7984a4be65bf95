"""Whatever is asked, the simulated exchange answers as an exchange: rows or a refusal with a code, never a crash."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_quant.sim.control import answer
from crypto_quant.sim.hub import Hub
from crypto_quant.sim.intervals import INTERVALS
from crypto_quant.sim.limits import Limits
from crypto_quant.sim.market import Market
from crypto_quant.sim.rest import Desk
from crypto_quant.sim.symbols import invented
from crypto_quant.sim.synthetic import SyntheticTape

START_US = 1_790_856_000_000_000


def _market() -> Market:
    tape = SyntheticTape(invented(["BTCUSDT"]), rate=20, seed=2, start_us=START_US, seconds=60)
    market = Market(tape, history_limit=10_000)
    hub = Hub(market)
    while not market.advance(START_US + 120_000_000, hub, 1000):
        pass
    return market


MARKET = _market()
DESK = Desk(MARKET, Limits())

_times = st.one_of(
    st.integers(0, 2**64).map(str),
    st.integers(START_US - 10**8, START_US + 2 * 10**8).map(str),
    st.integers(START_US // 1000 - 10**5, START_US // 1000 + 2 * 10**5).map(str),
    st.text(max_size=4),
)
_values = {
    "symbol": st.sampled_from(["BTCUSDT", "btcusdt", "NOSUCH", "", "BTC USDT", "'"]),
    "interval": st.sampled_from([*INTERVALS, "2m", ""]),
    "startTime": _times,
    "endTime": _times,
    "fromId": _times,
    "limit": st.one_of(st.integers(-1, 2000).map(str), st.text(max_size=3)),
    "timeZone": st.sampled_from(["0", "+8", "-12:00", "14:00", "05:45", "99", "", "x"]),
    "symbols": st.one_of(st.just('["BTCUSDT"]'), st.text(max_size=5)),
    "symbolStatus": st.sampled_from(["TRADING", "BREAK", "?"]),
    "unknown": st.text(max_size=3),
}
_paths = st.sampled_from(["klines", "aggTrades", "trades", "historicalTrades", "exchangeInfo", "time", "ping", "depth"])


@settings(max_examples=300, deadline=None)
@given(
    _paths,
    st.lists(
        st.sampled_from(sorted(_values)).flatmap(lambda name: st.tuples(st.just(name), _values[name])), max_size=5
    ),
    st.sampled_from([None, "MICROSECOND", "x"]),
)
def test_every_request_gets_an_answer(path: str, parameters: list[tuple[str, str]], unit: str | None) -> None:
    given_answer = DESK.answer(f"/api/v3/{path}", parameters, unit)
    body = json.loads(given_answer.body)
    if given_answer.status == 400:
        assert body["code"] < -1000
        assert body["msg"]
    else:
        assert given_answer.status in {200, 404}
    if isinstance(body, list):
        assert len(body) <= 1000
        keys = [row[0] if isinstance(row, list) else row.get("a", row.get("id")) for row in body]
        assert keys == sorted(set(keys))


@settings(max_examples=200, deadline=None)
@given(_times, _times, st.sampled_from(INTERVALS), st.integers(1, 20))
def test_klines_keep_to_their_bounds(start: str, end: str, interval: str, limit: int) -> None:
    parameters = [("symbol", "BTCUSDT"), ("interval", interval), ("startTime", start), ("endTime", end)]
    given_answer = DESK.answer("/api/v3/klines", [*parameters, ("limit", str(limit))], "MICROSECOND")
    if given_answer.status == 400:
        return
    low, high = (int(text) if int(text) >= 10**14 else int(text) * 1000 for text in (start, end))
    for row in json.loads(given_answer.body):
        assert low <= row[0] <= high + 999
        assert row[0] <= MARKET.now_us


class _Viewer:
    combined = False

    def subscribe(self, names: list[str]) -> None:
        pass

    def unsubscribe(self, names: list[str]) -> None:
        pass

    def subscriptions(self) -> list[str]:
        return []


_json = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.text(max_size=20),
        _json.map(json.dumps),
        st.fixed_dictionaries(
            {"method": st.one_of(_json, st.sampled_from(["SUBSCRIBE", "SET_PROPERTY", "GET_PROPERTY"]))},
            optional={"id": _json, "params": _json},
        ).map(json.dumps),
    )
)
def test_every_control_message_gets_an_answer(text: str) -> None:
    reply = json.loads(answer(text, _Viewer()))
    assert "id" in reply
    assert ("result" in reply) != ("error" in reply)
