import json
from typing import Any
from urllib.parse import parse_qsl

import pytest

from crypto_quant.sim.limits import Limits
from crypto_quant.sim.market import Market
from crypto_quant.sim.numbers import ONE, parse8
from crypto_quant.sim.rest import Desk
from crypto_quant.sim.tape import ListTape, SymbolInfo, Trade

NOON = 1_790_856_000_000_000
NOON_MS = NOON // 1000
FIRST = 5_000_000_001


class Deaf:
    def on_trade(self, *_: object) -> None:
        pass

    on_aggregate = on_second = on_minute = on_update = on_trade


def trade(number: int, price: str, quantity: str, time_us: int, *, maker: bool = True) -> Trade:
    return Trade("BTCUSDT", number, number, parse8(price), parse8(quantity), NOON + time_us, maker)


# the scenario of the exchange's documentation
SCENARIO = [
    trade(FIRST, "64250.1", "0.004", 1_200_874),
    trade(FIRST + 1, "64250.1", "0.006", 1_200_874),
    trade(FIRST + 2, "64250.0", "0.0025", 1_200_874),
    trade(FIRST + 3, "64250.5", "0.001", 41_007_000, maker=False),
    trade(FIRST + 4, "64250.5", "0.0015", 41_007_000, maker=False),
]
SYMBOLS = [
    SymbolInfo(name="BTCUSDT", base="BTC", quote="USDT", first_agg_id=3_000_000_001),
    SymbolInfo(name="LUNAUSDT", base="LUNA", quote="USDT", status="BREAK", reference=ONE),
    SymbolInfo(name="币安人生USDT", base="币安人生", quote="USDT", reference=ONE),
]


@pytest.fixture
def market() -> Market:
    market = Market(ListTape(SYMBOLS, SCENARIO, NOON), history_limit=1000)
    while not market.advance(NOON + 42_015_000, Deaf(), 100):
        pass
    return market


@pytest.fixture
def desk(market: Market) -> Desk:
    return Desk(market, Limits())


def get(desk: Desk, request: str, unit: str | None = None) -> Any:
    path, _, query = request.partition("?")
    answer = desk.answer(f"/api/v3/{path}", parse_qsl(query, keep_blank_values=True), unit)
    body = json.loads(answer.body)
    if answer.status != 200:
        return answer.status, body["code"]
    return body


def raw(desk: Desk, request: str) -> bytes:
    path, _, query = request.partition("?")
    return desk.answer(f"/api/v3/{path}", parse_qsl(query), None).body


# -- the documented answers, byte for byte ----------------------------------------------------------------


def test_agg_trades_as_documented(desk: Desk) -> None:
    assert raw(desk, "aggTrades?symbol=BTCUSDT") == (
        b'[{"a":3000000001,"p":"64250.10000000","q":"0.01000000","f":5000000001,"l":5000000002,"T":1790856001200,'
        b'"m":true,"M":true},'
        b'{"a":3000000002,"p":"64250.00000000","q":"0.00250000","f":5000000003,"l":5000000003,"T":1790856001200,'
        b'"m":true,"M":true},'
        b'{"a":3000000003,"p":"64250.50000000","q":"0.00250000","f":5000000004,"l":5000000005,"T":1790856041007,'
        b'"m":false,"M":true}]'
    )


def test_trades_as_documented(desk: Desk) -> None:
    assert raw(desk, "historicalTrades?symbol=BTCUSDT&fromId=5000000001&limit=2") == (
        b'[{"id":5000000001,"price":"64250.10000000","qty":"0.00400000","quoteQty":"257.00040000",'
        b'"time":1790856001200,"isBuyerMaker":true,"isBestMatch":true},'
        b'{"id":5000000002,"price":"64250.10000000","qty":"0.00600000","quoteQty":"385.50060000",'
        b'"time":1790856001200,"isBuyerMaker":true,"isBestMatch":true}]'
    )


def test_klines_as_documented_the_running_one_last(desk: Desk) -> None:
    assert raw(desk, "klines?symbol=BTCUSDT&interval=1m") == (
        b'[[1790856000000,"64250.10000000","64250.50000000","64250.00000000","64250.50000000","0.01500000",'
        b'1790856059999,"963.75225000",5,"0.00250000","160.62625000","0"]]'
    )


def test_ping_and_time(desk: Desk) -> None:
    assert raw(desk, "ping") == b"{}"
    assert get(desk, "time") == {"serverTime": NOON_MS + 42_015}
    assert get(desk, "time", "MICROSECOND") == {"serverTime": NOON + 42_015_000}


# -- time and order ---------------------------------------------------------------------------------------


def ids(desk: Desk, query: str) -> list[int]:
    return [row["a"] - 3_000_000_000 for row in get(desk, f"aggTrades?symbol=BTCUSDT&{query}")]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("limit=2", [2, 3]),
        ("fromId=3000000002", [2, 3]),
        ("fromId=3000000001&limit=1", [1]),
        ("fromId=1", [1, 2, 3]),
        ("fromId=3000000004", []),
        (f"startTime={NOON_MS}", [1, 2, 3]),
        (f"startTime={NOON_MS}&limit=1", [1]),
        (f"startTime={NOON_MS + 1201}", [3]),
        (f"endTime={NOON_MS + 1199}", []),
        # a bound in ms takes in the whole ms
        (f"endTime={NOON_MS + 1200}", [1, 2]),
        (f"endTime={NOON_MS + 1200}&limit=1", [2]),
        (f"endTime={NOON_MS + 99_000}&limit=1", [3]),
        (f"startTime={NOON_MS + 1200}&endTime={NOON_MS + 1200}", [1, 2]),
        (f"startTime={NOON_MS}&endTime={NOON_MS + 50_000}&limit=2", [1, 2]),
        (f"startTime={NOON + 1_200_874}&endTime={NOON + 1_200_874}", [1, 2]),
        (f"startTime={NOON + 1_200_875}&endTime={NOON + 41_006_999}", []),
        (f"startTime={NOON_MS + 50_000}&endTime={NOON_MS}", []),
    ],
)
def test_agg_trades_by_id_and_time(desk: Desk, query: str, expected: list[int]) -> None:
    assert ids(desk, query) == expected


def opens(desk: Desk, query: str) -> list[int]:
    return [row[0] - NOON_MS for row in get(desk, f"klines?symbol=BTCUSDT&{query}")]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("interval=1s&limit=3", [40_000, 41_000, 42_000]),
        (f"interval=1s&limit=2&startTime={NOON_MS}", [1000, 2000]),
        (f"interval=1s&startTime={NOON_MS + 40_001}", [41_000, 42_000]),
        (f"interval=1s&limit=2&endTime={NOON_MS + 5_500}", [4000, 5000]),
        (f"interval=1s&startTime={NOON_MS + 2000}&endTime={NOON_MS + 4000}", [2000, 3000, 4000]),
        (f"interval=1s&startTime={NOON_MS + 2000}&endTime={NOON_MS + 2000}", [2000]),
        (f"interval=1m&endTime={NOON_MS - 1}", []),
        ("interval=1M", [-12 * 3_600_000]),
        ("interval=1d&timeZone=8", [-20 * 3_600_000]),
        ("interval=1d&timeZone=-12:00", [0]),
        ("interval=1h&timeZone=05:45", [-45 * 60_000]),
    ],
)
def test_klines_by_time_and_zone(desk: Desk, query: str, expected: list[int]) -> None:
    assert opens(desk, query) == expected


def test_microseconds_on_request(desk: Desk) -> None:
    assert get(desk, "aggTrades?symbol=BTCUSDT&limit=1", "MICROSECOND")[0]["T"] == NOON + 41_007_000
    row = get(desk, "klines?symbol=BTCUSDT&interval=1m", "MICROSECOND")[0]
    assert (row[0], row[6]) == (NOON, NOON + 59_999_999)


def test_there_is_nothing_of_the_future() -> None:
    market = Market(ListTape(SYMBOLS, SCENARIO, NOON), history_limit=1000)
    while not market.advance(NOON + 30_000_000, Deaf(), 100):
        pass
    desk = Desk(market, Limits())
    assert ids(desk, f"endTime={NOON_MS + 99_000}") == [1, 2]
    assert [row["id"] for row in get(desk, "trades?symbol=BTCUSDT")] == [FIRST, FIRST + 1, FIRST + 2]
    assert get(desk, "klines?symbol=BTCUSDT&interval=1m")[0][8] == 3
    assert opens(desk, f"interval=1m&startTime={NOON_MS + 60_000}") == []


def test_a_delisted_symbol_is_listed_and_empty(desk: Desk) -> None:
    assert get(desk, "klines?symbol=LUNAUSDT&interval=1m") == []
    assert get(desk, "aggTrades?symbol=LUNAUSDT") == []
    assert get(desk, "exchangeInfo?symbol=LUNAUSDT")["symbols"][0]["status"] == "BREAK"


def test_limits_are_clamped(market: Market) -> None:
    desk = Desk(market, Limits(rows_max=2))
    assert len(get(desk, "aggTrades?symbol=BTCUSDT&limit=5000")) == 2
    assert len(get(desk, "trades?symbol=BTCUSDT&limit=3")) == 2


# -- exchangeInfo -----------------------------------------------------------------------------------------


def names(desk: Desk, query: str) -> list[str]:
    return [row["symbol"] for row in get(desk, f"exchangeInfo{query}")["symbols"]]


def test_exchange_info_is_filtered(desk: Desk) -> None:
    assert names(desk, "") == ["BTCUSDT", "LUNAUSDT", "币安人生USDT"]
    assert names(desk, "?symbol=BTCUSDT") == ["BTCUSDT"]
    assert names(desk, "?symbols=%5B%22%E5%B8%81%E5%AE%89%E4%BA%BA%E7%94%9FUSDT%22,%22BTCUSDT%22%5D") == [
        "币安人生USDT", "BTCUSDT",
    ]  # fmt: skip
    assert names(desk, "?symbolStatus=BREAK") == ["LUNAUSDT"]
    assert names(desk, "?permissions=SPOT") == ["BTCUSDT", "LUNAUSDT", "币安人生USDT"]
    assert names(desk, '?permissions=["LEVERAGED"]') == []


def test_exchange_info_tells_ticks_and_limits(desk: Desk) -> None:
    info = get(desk, "exchangeInfo?symbol=BTCUSDT")
    filters = {row["filterType"]: row for row in info["symbols"][0]["filters"]}
    assert filters["PRICE_FILTER"]["tickSize"] == "0.01000000"
    assert filters["LOT_SIZE"]["stepSize"] == "0.00001000"
    assert info["rateLimits"][0] == {
        "rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000,
    }  # fmt: skip
    assert info["symbols"][0]["permissionSets"] == [["SPOT", "MARGIN"]]
    assert get(desk, "exchangeInfo?symbol=BTCUSDT&showPermissionSets=false")["symbols"][0]["permissionSets"] == []


# -- refusals ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ("klines?interval=1m", -1102),
        ("klines?symbol=&interval=1m", -1102),
        ("klines?symbol=BTCUSDT", -1102),
        ("klines?symbol=btcusdt&interval=1m", -1100),
        ("klines?symbol=BTC/USDT&interval=1m", -1100),
        ("klines?symbol=NOSUCH&interval=1m", -1121),
        ("klines?symbol=BTCUSDT&interval=2m", -1120),
        ("klines?symbol=BTCUSDT&interval=1D", -1120),
        ("klines?symbol=BTCUSDT&interval=1m&startTime=now", -1100),
        ("klines?symbol=BTCUSDT&interval=1m&startTime=-1", -1100),
        ("klines?symbol=BTCUSDT&interval=1m&startTime=99999999999999999999", -1108),
        ("klines?symbol=BTCUSDT&interval=1m&startTime=", -1105),
        ("klines?symbol=BTCUSDT&interval=1m&limit=0", -1130),
        ("klines?symbol=BTCUSDT&interval=1m&timeZone=15", -1130),
        ("klines?symbol=BTCUSDT&interval=1m&timeZone=Berlin", -1130),
        ("klines?symbol=BTCUSDT&interval=1m&interval=5m", -1101),
        ("aggTrades?symbol=BTCUSDT&fromId=1&startTime=1", -1128),
        ("aggTrades?symbol=BTCUSDT&fromId=1&endTime=1", -1128),
        ("aggTrades?symbol=BTCUSDT&foo=1", -1104),
        ("trades?symbol=BTCUSDT&fromId=1", -1104),
        ("exchangeInfo?symbol=NOSUCH", -1121),
        ("exchangeInfo?symbol=BTCUSDT&symbolStatus=TRADING", -1128),
        ('exchangeInfo?symbol=BTCUSDT&symbols=["BTCUSDT"]', -1128),
        ('exchangeInfo?symbols=["BTCUSDT","NOSUCH"]', -1121),
        ('exchangeInfo?symbols=["BTCUSDT","BTCUSDT"]', -1151),
        ("exchangeInfo?symbols=BTCUSDT", -1135),
        ("exchangeInfo?symbols=[]", -1135),
        ("exchangeInfo?symbolStatus=END", -1122),
    ],
)
def test_refusals(desk: Desk, request_: str, code: int) -> None:
    assert get(desk, request_) == (400, code)


def test_the_text_of_a_refusal_names_the_parameter(desk: Desk) -> None:
    body = json.loads(raw(desk, "klines?symbol=btcusdt&interval=1m"))
    assert body["msg"] == (
        "Illegal characters found in parameter 'symbol'; legal range is '^[\\w\\-._&&[^a-z]]{1,50}$'."
    )


def test_a_bad_time_unit_is_refused(desk: Desk) -> None:
    assert get(desk, "time", "NANOSECOND") == (400, -1194)


def test_an_unknown_path_is_not_found(desk: Desk) -> None:
    assert desk.answer("/api/v3/depth", [], None).status == 404
    assert desk.answer("/api/v1/ping", [], None).status == 404


def test_weights(desk: Desk) -> None:
    paths = ("ping", "time", "exchangeInfo", "trades", "historicalTrades", "aggTrades", "klines")
    assert [desk.weight(f"/api/v3/{path}") for path in paths] == [1, 1, 20, 25, 25, 4, 2]
