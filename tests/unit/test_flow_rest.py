"""REST within its limits: weight, pauses, retries."""

import asyncio
import json
import random
import time

import pytest
from flow_doubles import Journal, ScriptedHttp

from crypto_quant import events
from crypto_quant.binance.venues import venue_spec
from crypto_quant.errors import ConfigError, ExchangeUnavailable, RequestRefused, Throttled, UndecodableFrame
from crypto_quant.flow import rest as rest_module
from crypto_quant.flow.rest import ExchangeRest
from crypto_quant.market import Timeframe, Venue
from crypto_quant.seams import HttpAnswer

NOW_MS = 1_790_856_000_000
TIME = HttpAnswer(200, {}, b'{"serverTime":1790856000123}')


def answer(status: int, body: object, **headers: str) -> HttpAnswer:
    return HttpAnswer(status, {k.replace("_", "-"): v for k, v in headers.items()}, json.dumps(body).encode())


def asking(http: ScriptedHttp) -> tuple[ExchangeRest, Journal]:
    journal = Journal()
    rng = random.Random(1)  # noqa: S311
    return ExchangeRest(venue_spec(Venue.SPOT), "http://exchange", http, journal, rng), journal


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest_module, "_FIRST_RETRY_S", 0.001)


async def test_the_exchanges_time_is_in_ns() -> None:
    http = ScriptedHttp(TIME)
    assert await asking(http)[0].server_time_ns() == 1_790_856_000_123_000_000
    assert http.asked == [("http://exchange/api/v3/time", {})]


async def test_the_newest_trade_is_one_look() -> None:
    newest = {"a": 77, "p": "1.5", "q": "2", "f": 90, "l": 91, "T": 1_790_856_000_000_000, "m": True, "M": True}
    http = ScriptedHttp(answer(200, [newest]), answer(200, []))
    rest, _ = asking(http)
    assert await rest.newest_trade_id("btcusdt") == 77
    assert await rest.newest_trade_id("btcusdt") == -1
    assert http.asked[0] == ("http://exchange/api/v3/aggTrades", {"symbol": "BTCUSDT", "limit": "1"})


async def test_exchange_info_sets_the_limit() -> None:
    limits = [{"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 50}]
    body = {"serverTime": NOW_MS, "rateLimits": limits, "symbols": [{"symbol": "BTCUSDT", "status": "TRADING"}]}
    http = ScriptedHttp(answer(200, body))
    rest, _ = asking(http)
    info = await rest.exchange_info()
    assert info.symbols == {"BTCUSDT": "TRADING"}
    # 20 of the 40 that a limit of 50 leaves are spent: a second asking fits, a third has to wait
    await rest.exchange_info()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(rest.exchange_info(), 0.02)
    assert len(http.asked) == 2


async def test_what_others_use_counts_too() -> None:
    http = ScriptedHttp(HttpAnswer(200, {"x-mbx-used-weight-1m": "6000"}, TIME.body))
    rest, _ = asking(http)
    await rest.server_time_ns()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(rest.server_time_ns(), 0.02)


async def test_after_a_429_nothing_is_asked_before_its_time() -> None:
    http = ScriptedHttp(answer(429, {"code": -1003, "msg": "slow down"}, retry_after="1"), TIME)
    rest, _ = asking(http)
    with pytest.raises(Throttled) as caught:
        await rest.server_time_ns()
    assert caught.value.retry_after_s == 1.0
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(rest.server_time_ns(), 0.05)
    assert len(http.asked) == 1


async def test_a_pause_is_waited_out_by_whoever_insists(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Throttled("slow down", retry_after_s=0.05)
    monkeypatch.setattr(rest_module.history, "interpret", lambda a, _: _raise(real) if a.status == 429 else a.body)
    http = ScriptedHttp(answer(429, {}), TIME)
    rest, journal = asking(http)
    started = time.monotonic()
    assert await rest.insist("time", rest.server_time_ns, 3) == 1_790_856_000_123_000_000
    assert time.monotonic() - started >= 0.045
    assert [event.retry_in_s for event in journal.of(events.RestFailed)] == [0.05]


def _raise(error: Exception) -> bytes:
    raise error


@pytest.mark.parametrize("failure", [
    ExchangeUnavailable("no answer"), answer(502, {}), HttpAnswer(200, {}, b"<html>"), answer(400, {"code": -1001}),
])  # fmt: skip
async def test_what_may_pass_is_asked_again(failure: HttpAnswer | Exception, short_pauses: None) -> None:
    http = ScriptedHttp(failure, failure, TIME)
    rest, journal = asking(http)
    assert await rest.insist("time", rest.server_time_ns, 3) > 0
    assert len(journal.of(events.RestFailed)) == 2
    assert all(event.request == "time" and event.retry_in_s for event in journal.of(events.RestFailed))


async def test_the_last_failure_is_raised_and_told_as_given_up(short_pauses: None) -> None:
    http = ScriptedHttp(ExchangeUnavailable("no answer"))
    rest, journal = asking(http)
    with pytest.raises(ExchangeUnavailable):
        await rest.insist("time", rest.server_time_ns, 3)
    assert len(http.asked) == 3
    assert [event.retry_in_s is None for event in journal.of(events.RestFailed)] == [False, False, True]


@pytest.mark.parametrize(("failure", "kind"), [
    (answer(400, {"code": -1121, "msg": "Invalid symbol."}), RequestRefused),
    (answer(451, {}), ConfigError),
    (answer(200, {"serverTime": "x"}), UndecodableFrame),
])  # fmt: skip
async def test_what_will_not_pass_is_not_asked_again(failure: HttpAnswer, kind: type[Exception]) -> None:
    http = ScriptedHttp(failure)
    rest, journal = asking(http)
    with pytest.raises(kind):
        await rest.insist("time", rest.server_time_ns, 3)
    assert len(http.asked) == 1
    assert journal.events == []


async def test_no_try_at_all_is_no_answer() -> None:
    rest, _ = asking(ScriptedHttp(TIME))
    with pytest.raises(ExchangeUnavailable, match="never asked"):
        await rest.insist("time", rest.server_time_ns, 0)


async def test_candles_are_asked_for_by_the_page_and_joined() -> None:
    def page(url: str, params: object) -> HttpAnswer:
        assert isinstance(params, dict)
        opens = range(int(params["startTime"]), int(params["endTime"]) + 1, 60_000)
        return answer(200, [[o, "1", "2", "1", "2", "5", o + 59_999, "9", 3, "1", "1", "0"] for o in opens])

    http = ScriptedHttp(page)
    rest, _ = asking(http)
    first = NOW_MS * 1_000_000
    candles = await rest.klines("btcusdt", Timeframe.M1, first, first + 1499 * 60 * 10**9)
    assert [candle.open_ns for candle in candles] == [first + n * 60 * 10**9 for n in range(1500)]
    assert [params["limit"] for _, params in http.asked] == ["1000", "500"]
