"""REST as values: what is asked, what an answer means, how a body reads."""

import json

import pytest

from crypto_quant.binance.history import (
    closed_only,
    exchange_info_request,
    interpret,
    klines_request,
    klines_requests,
    parse_exchange_info,
    parse_klines,
    parse_server_time,
    time_request,
    used_weight,
)
from crypto_quant.binance.venues import venue_spec
from crypto_quant.errors import ConfigError, ExchangeUnavailable, RequestRefused, Throttled, UndecodableFrame
from crypto_quant.market import DAY_S, NS_PER_MS, NS_PER_S, Candle, Listing, Timeframe, Venue
from crypto_quant.seams import HttpAnswer

SPOT = venue_spec(Venue.SPOT)
USDM = venue_spec(Venue.USDM)
COINM = venue_spec(Venue.COINM)
NOON = 1_790_856_000 * NS_PER_S  # 2026-10-01T12:00:00Z
MINUTE = 60 * NS_PER_S
ROW = (
    b'[1790856000000,"64250.10000000","64250.50000000","64250.00000000","64250.50000000","0.01500000",'
    b'1790856059999,"963.75225000",5,"0.00250000","160.62625000","0"]'
)


def answer(status: int, body: bytes = b"", **headers: str) -> HttpAnswer:
    return HttpAnswer(status, {name.replace("_", "-"): value for name, value in headers.items()}, body)


# -- requests ---------------------------------------------------------------------------------------------


def test_time_and_exchange_info() -> None:
    assert str(time_request(SPOT)) == "GET /api/v3/time"
    assert time_request(SPOT).weight == 1
    everything = exchange_info_request(SPOT)
    assert str(everything) == "GET /api/v3/exchangeInfo?showPermissionSets=false"
    assert everything.weight == 20
    assert str(exchange_info_request(USDM)) == "GET /fapi/v1/exchangeInfo"
    assert exchange_info_request(COINM).weight == 1


def test_klines_are_asked_for_in_the_exchanges_words() -> None:
    request = klines_request(SPOT, "币安人生usdt", Timeframe.MO1, NOON, NOON + 999)
    assert request.path == "/api/v3/klines"
    assert request.params == {
        "symbol": "币安人生USDT",
        "interval": "1M",
        "startTime": "1790856000000",
        "endTime": "1790856000000",
        "limit": "1000",
    }
    assert request.weight == 2


def spans(requests: object) -> list[tuple[int, int, int]]:
    """(start, end, limit) of each request, the times in minutes since noon."""
    found = []
    for request in requests:  # type: ignore[attr-defined]
        start, end = ((int(request.params[name]) * NS_PER_MS - NOON) // MINUTE for name in ("startTime", "endTime"))
        found.append((start, end, int(request.params["limit"])))
    return found


@pytest.mark.parametrize(
    ("slots", "pages"),
    [
        (1, [(0, 0, 1)]),
        (3, [(0, 2, 3)]),
        (1000, [(0, 999, 1000)]),
        (1001, [(0, 999, 1000), (1000, 1000, 1)]),
        (2500, [(0, 999, 1000), (1000, 1999, 1000), (2000, 2499, 500)]),
    ],
)
def test_a_range_is_cut_into_pages_that_hold_all_they_span(slots: int, pages: list[tuple[int, int, int]]) -> None:
    assert spans(klines_requests(SPOT, "btcusdt", Timeframe.M1, NOON, NOON + (slots - 1) * MINUTE)) == pages


def test_an_empty_range_asks_for_nothing() -> None:
    assert list(klines_requests(SPOT, "btcusdt", Timeframe.M1, NOON, NOON - 1)) == []


def test_coinm_is_never_asked_for_200_days_at_once() -> None:
    days = 500
    opens = Timeframe.D1.open_ns(NOON)
    last = opens + (days - 1) * DAY_S * NS_PER_S
    pages = list(klines_requests(COINM, "btcusd_perp", Timeframe.D1, opens, last))
    assert [int(page.params["limit"]) for page in pages] == [200, 200, 100]
    for page in pages:
        assert int(page.params["endTime"]) - int(page.params["startTime"]) < 200 * DAY_S * 1000
    assert [page.weight for page in pages] == [2, 2, 2]
    assert len(list(klines_requests(USDM, "btcusdt", Timeframe.D1, opens, last))) == 1


# -- answers ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [b"{}", b"[]", b' \n{"serverTime":1}'])
def test_a_good_answer_is_its_body(body: bytes) -> None:
    assert interpret(answer(200, body), "time") == body


@pytest.mark.parametrize("body", [b"", b"<html>log in to the hotel's network</html>", b'"text"'])
def test_a_200_that_is_not_json_is_no_answer(body: bytes) -> None:
    with pytest.raises(ExchangeUnavailable, match="not JSON"):
        interpret(answer(200, body), "time")


TOO_MUCH = b'{"code":-1003,"msg":"Too much request weight used; current limit is 6000 request weight per 1 MINUTE."}'
# banned 600 s after the answer's date
BANNED = b'{"code":-1003,"msg":"Way too much request weight used; IP banned until 1790856600000."}'
DATE = "Thu, 01 Oct 2026 12:00:00 GMT"


@pytest.mark.parametrize(
    ("given", "pause_s"),
    [
        (answer(429, TOO_MUCH, retry_after="17"), 17.0),
        (answer(429, TOO_MUCH), 60.0),
        (answer(429, b"", retry_after="Thu, 01 Oct 2026 12:00:00 GMT"), 60.0),
        (answer(429, b"", retry_after="-3"), 60.0),
        (answer(429, b"", retry_after="999999999"), 259_200.0),
        (answer(429, b"", retry_after="9" * 5000), 60.0),
        (answer(400, TOO_MUCH), 60.0),
        (answer(418, BANNED, retry_after="600"), 600.0),
        (answer(418, BANNED, date=DATE), 600.0),
        (answer(418, BANNED, date="never"), 120.0),
        (answer(418, BANNED), 120.0),
        (answer(418, BANNED, date="Thu, 01 Oct 2026 13:00:00 GMT"), 120.0),
        (answer(418, BANNED, date="Thu, 01 Oct 2020 13:00:00 GMT"), 259_200.0),
        (answer(418, b"<html>", date=DATE), 120.0),
    ],
)
def test_the_pause_that_the_exchange_asks_for(given: HttpAnswer, pause_s: float) -> None:
    with pytest.raises(Throttled) as caught:
        interpret(given, "klines")
    assert caught.value.retry_after_s == pause_s
    assert ("banned" in caught.value.what) == (given.status == 418)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (answer(500, b"<html>oops</html>"), "HTTP 500, <html>oops</html>"),
        (answer(503, b'{"code":-1008,"msg":"Server is busy"}'), "Server is busy"),
        (answer(504), "klines: HTTP 504"),
        (answer(400, b'{"code":-1007,"msg":"Timeout"}'), "Timeout"),
        (answer(403, b"<html>Request blocked</html>"), "firewall"),
        (answer(404, b"<html>not found</html>"), "HTTP 404"),
        (answer(302), "HTTP 302"),
        (answer(400, b'{"msg":"no code"}'), "HTTP 400"),
        (answer(400, b"\xff\xfe"), "HTTP 400"),
    ],
)
def test_what_may_be_better_in_a_moment(given: HttpAnswer, told: str) -> None:
    with pytest.raises(ExchangeUnavailable) as caught:
        interpret(given, "klines")
    assert told in str(caught.value)
    assert "klines" in str(caught.value)


def test_a_restricted_location_is_told_what_may_work() -> None:
    body = b'{"code":0,"msg":"Service unavailable from a restricted location according to \'b. Eligibility\'"}'
    with pytest.raises(ConfigError, match=r"restricted location.*data-api\.binance\.vision"):
        interpret(answer(451, body), "exchangeInfo")


def test_a_refusal_for_good_carries_its_code() -> None:
    with pytest.raises(RequestRefused, match=r"klines: HTTP 400, Invalid symbol\.") as caught:
        interpret(answer(400, b'{"code":-1121,"msg":"Invalid symbol."}'), "klines")
    assert (caught.value.status, caught.value.code) == (400, -1121)
    with pytest.raises(RequestRefused, match=r'\{"code":-1100\}'):
        interpret(answer(400, b'{"code":-1100}'), "klines")


def test_a_long_error_is_cut_and_stays_on_one_line() -> None:
    with pytest.raises(ExchangeUnavailable) as caught:
        interpret(answer(502, b"line\n" * 100_000), "time")
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("text", "weight"), [("41", 41), ("", None), ("4e3", None), ("²", None), ("-1", None)])
def test_the_weight_that_the_exchange_counts(text: str, weight: int | None) -> None:
    assert used_weight(answer(200, x_mbx_used_weight_1m=text)) == weight
    assert used_weight(answer(200)) is None


# -- bodies -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("time", [1_790_856_000_123, 1_790_856_000_123_000])
def test_the_exchanges_time_in_either_unit(time: int) -> None:
    assert parse_server_time(b'{"serverTime":%d}' % time) == NOON + 123 * NS_PER_MS


def test_where_milliseconds_end_and_microseconds_begin() -> None:
    assert parse_server_time(b'{"serverTime":%d}' % (10**14 - 1)) == (10**14 - 1) * 10**6
    assert parse_server_time(b'{"serverTime":%d}' % 10**14) == 10**14 * 10**3


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b'{"serverTime":"1790856000123"}',
        b'{"serverTime":-1}',
        b'{"serverTime":null}',
        b'{"serverTime":1e300}',
        b'{"serverTime":' + b"9" * 40 + b"}",
        b'{"serverTime":1790856000',
        b"\xff",
    ],
)
def test_what_is_no_server_time(body: bytes) -> None:
    with pytest.raises(UndecodableFrame):
        parse_server_time(body)


def info(**fields: object) -> bytes:
    return json.dumps({"serverTime": 1_790_856_000_123, "symbols": [], **fields}).encode()


def test_exchange_info_of_spot_and_futures() -> None:
    body = info(
        timezone="UTC",
        somethingNew={"a": [1]},
        rateLimits=[
            {"rateLimitType": "ORDERS", "interval": "MINUTE", "intervalNum": 1, "limit": 1},
            {"rateLimitType": "REQUEST_WEIGHT", "interval": "HOUR", "intervalNum": 1, "limit": 2},
            {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 5, "limit": 3},
            {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000},
        ],
        symbols=[
            {"symbol": "BTCUSDT", "status": "TRADING", "filters": [], "baseAsset": "BTC", "quoteAsset": "USDT"},
            {"symbol": "币安人生USDT", "status": "A_STATUS_OF_TOMORROW"},
            {"symbol": "BTCUSD_PERP", "contractStatus": "TRADING"},
            {"symbol": "NEWUSDT"},
        ],
    )
    parsed = parse_exchange_info(body)
    assert parsed.server_time_ns == NOON + 123 * NS_PER_MS
    assert parsed.weight_per_minute == 6000
    assert parsed.symbols == {
        "BTCUSDT": "TRADING",
        "币安人生USDT": "A_STATUS_OF_TOMORROW",
        "BTCUSD_PERP": "TRADING",
        "NEWUSDT": "",
    }
    assert parsed.listings[0] == Listing("BTCUSDT", "BTC", "USDT", "TRADING")
    assert parsed.listings[2] == Listing("BTCUSD_PERP", "", "", "TRADING")


@pytest.mark.parametrize("limit", [0, -5])
def test_a_limit_that_is_none_is_not_believed(limit: int) -> None:
    limits = [{"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": limit}]
    assert parse_exchange_info(info(rateLimits=limits)).weight_per_minute is None
    assert parse_exchange_info(info()).weight_per_minute is None


@pytest.mark.parametrize("body", [b"{}", info(symbols=[{"status": "TRADING"}]), info(symbols={}), info(serverTime=-1)])
def test_what_is_no_exchange_info(body: bytes) -> None:
    with pytest.raises(UndecodableFrame, match="exchangeInfo"):
        parse_exchange_info(body)


def candles(rows: bytes = ROW, timeframe: Timeframe = Timeframe.M1) -> list[Candle]:
    return parse_klines(b"[" + rows + b"]", Venue.SPOT, "btcusdt", timeframe)


def test_a_candle_to_the_last_digit() -> None:
    assert candles() == [
        Candle(
            venue=Venue.SPOT,
            symbol="btcusdt",
            timeframe=Timeframe.M1,
            open_ns=NOON,
            open="64250.10000000",
            high="64250.50000000",
            low="64250.00000000",
            close="64250.50000000",
            volume="0.01500000",
            quote_volume="963.75225000",
            trade_count=5,
            taker_buy_volume="0.00250000",
            taker_buy_quote_volume="160.62625000",
            first_trade_id=None,
            last_trade_id=None,
        )
    ]
    assert candles(b"") == []


def test_microseconds_and_more_columns_read_the_same() -> None:
    assert candles(ROW.replace(b"000000,", b"000000000,").replace(b"59999,", b"59999999,")) == candles()
    assert candles(ROW.replace(b'"0"]', b'"0","more",{}]')) == candles()


def test_a_day_of_a_cheap_token_fits() -> None:
    (candle,) = candles(ROW.replace(b"963.75225000", b"9" * 30 + b".99999999"))
    assert candle.quote_volume == "9" * 30 + ".99999999"


@pytest.mark.parametrize(
    "number", ["NaN", "-1", "1e5", "", ".", "1.", ".5", "+1", " 1", "0x1", "\u0661", "1.123456789"]
)
@pytest.mark.parametrize(
    "place", [b"64250.10000000", b"64250.00000000", b"0.01500000", b"963.75225000", b"160.62625000"]
)
def test_a_number_that_is_no_plain_decimal(place: bytes, number: str) -> None:
    with pytest.raises(UndecodableFrame, match="number"):
        candles(ROW.replace(place, number.encode()))


@pytest.mark.parametrize(
    "row",
    [
        ROW.replace(b"64250.10000000", b"1234567890123"),  # 13 digits: not a price that NUMERIC(20,8) holds
        ROW.replace(b"963.75225000", b"1" * 31),
        ROW.replace(b'"0.01500000"', b"0.015"),
        ROW.replace(b",5,", b",-1,"),
        ROW.replace(b",5,", b',"5",'),
        ROW.replace(b",5,", b",9223372036854775808,"),
        ROW.replace(b"1790856000000", b"-1"),
        ROW.replace(b"1790856000000", b"9" * 18),
        b"[1790856000000]",
        b"{}",
        b"null",
    ],
)
def test_a_row_that_is_no_candle(row: bytes) -> None:
    with pytest.raises(UndecodableFrame, match="klines"):
        candles(ROW + b"," + row)


def test_an_endless_nesting_is_no_crash() -> None:
    with pytest.raises(UndecodableFrame):
        parse_klines(b"[" * 100_000, Venue.SPOT, "btcusdt", Timeframe.M1)
    with pytest.raises(UndecodableFrame):
        parse_server_time(b'{"more":' + b"[" * 100_000)
    with pytest.raises(ExchangeUnavailable):
        interpret(answer(400, b'{"more":' + b"[" * 100_000), "time")


def test_only_what_has_ended_by_the_exchanges_time_is_closed() -> None:
    two = candles(ROW + b"," + ROW.replace(b"1790856000000", b"1790856060000"))
    assert closed_only(two, NOON + MINUTE - 1) == []
    assert closed_only(two, NOON + MINUTE) == two[:1]
    assert closed_only(two, NOON + 2 * MINUTE - 1) == two[:1]
    assert closed_only(two, NOON + 2 * MINUTE) == two
