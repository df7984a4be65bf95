"""Names: what a person types, what the exchange wants, and what is said when the two do not meet."""

import pytest

from crypto_quant.binance.streams import (
    Stream,
    archive_base,
    available_streams,
    check_symbols,
    link_url,
    not_trading,
    parse_stream,
    plan_links,
    rest_base,
    stream_name,
)
from crypto_quant.binance.venues import StreamKind, venue_spec
from crypto_quant.errors import ConfigError
from crypto_quant.market import Timeframe, Venue

SPOT = venue_spec(Venue.SPOT)
USDM = venue_spec(Venue.USDM)
COINM = venue_spec(Venue.COINM)
KNOWN = {
    "BTCUSDT": "TRADING",
    "BTCUSDC": "TRADING",
    "ETHUSDT": "TRADING",
    "ETHBTC": "TRADING",
    "LUNAUSDT": "BREAK",
    "1000SATSUSDT": "TRADING",
    "币安人生USDT": "TRADING",
}


# -- streams ----------------------------------------------------------------------------------------------


def test_agg_trade_and_every_timeframe_of_the_venue_are_streams() -> None:
    assert parse_stream("aggTrade", SPOT) == Stream(StreamKind.AGG_TRADE)
    for timeframe in Timeframe:
        assert parse_stream(f"kline_{timeframe.value}", SPOT) == Stream(StreamKind.KLINE, timeframe)
    assert len(available_streams(SPOT)) == 17
    assert len(available_streams(USDM)) == 16


def test_minute_and_month_differ_by_case_alone() -> None:
    assert parse_stream("kline_1m", SPOT).timeframe is Timeframe.M1
    assert parse_stream("kline_1M", SPOT).timeframe is Timeframe.MO1


@pytest.mark.parametrize("name", ["aggTrade", "kline_1s", "kline_1M"])
def test_a_streams_text_is_its_name(name: str) -> None:
    assert str(parse_stream(name, SPOT)) == name


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("aggtrade", "Did you mean aggTrade?"),
        ("AGGTRADE", "Did you mean aggTrade?"),
        ("kline_5M", "Did you mean kline_5m?"),
        ("KLINE_1M", "Did you mean kline_1m or kline_1M?"),
        ("kline_7m", "kline_"),
        ("agg_trade", "aggTrade"),
        ("btcusdt@aggTrade", "aggTrade"),
    ],
)
def test_a_wrong_name_is_answered_with_the_nearest(typed: str, meant: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_stream(typed, SPOT)
    assert caught.value.what == "unknown stream"
    assert caught.value.subject == repr(typed)
    assert meant in caught.value.hint
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("typed", ["", "xyzzy", "\x1b[31m"])
def test_a_name_like_no_other_is_answered_with_all(typed: str) -> None:
    with pytest.raises(ConfigError, match=r"One of: aggTrade, kline_1s, kline_1m") as caught:
        parse_stream(typed, SPOT)
    assert str(caught.value).isprintable()


def test_a_timeframe_that_the_venue_lacks() -> None:
    with pytest.raises(ConfigError, match=r"venue usdm has no such stream: 'kline_1s'. It has aggTrade, kline_1m"):
        parse_stream("kline_1s", USDM)


@pytest.mark.parametrize("typed", ["trade", "depth", "depth20@100ms", "bookTicker", "ticker_1h", "markPrice@1s"])
def test_a_stream_that_is_not_recorded(typed: str) -> None:
    with pytest.raises(ConfigError, match="does not record that stream"):
        parse_stream(typed, SPOT)


# -- symbols ----------------------------------------------------------------------------------------------


def test_any_ascii_case_is_taken_and_each_symbol_once_in_order() -> None:
    given = ["EthUsdt", "btcusdt", "BTCUSDT", "币安人生usdt", "1000satsUSDT"]
    assert check_symbols(given, KNOWN) == ["ethusdt", "btcusdt", "币安人生usdt", "1000satsusdt"]


def test_every_unknown_symbol_is_named_with_the_nearest() -> None:
    with pytest.raises(ConfigError) as caught:
        check_symbols(["btcusdt", "btcusd", "ETHUSTD", "qqqqqqqq", "btcusd"], KNOWN)
    assert caught.value.what == "unknown symbols"
    assert caught.value.subject == "btcusd, ETHUSTD, qqqqqqqq"
    assert "For btcusd did you mean btcusdt" in caught.value.hint
    assert "For ETHUSTD did you mean ethusdt" in caught.value.hint
    assert "For qqqqqqqq" not in caught.value.hint


def test_one_unknown_symbol_that_resembles_none() -> None:
    with pytest.raises(ConfigError, match=r"unknown symbol: qqqqqqqq. The exchange lists 7 symbols and none is alike"):
        check_symbols(["qqqqqqqq"], KNOWN)


@pytest.mark.parametrize("typed", ["btc", "BTC-USDT", "btc_usdt"])
def test_the_way_people_write_pairs_leads_to_the_symbol(typed: str) -> None:
    with pytest.raises(ConfigError, match="did you mean btcusdt"):
        check_symbols([typed], KNOWN)


@pytest.mark.parametrize("typed", ["BTC/USDT", " btcusdt", "btcusdt\n", "btc\x00usdt", "btc\u200busdt"])
def test_what_can_be_no_symbol_is_refused_and_guessed(typed: str) -> None:
    with pytest.raises(ConfigError, match="not a symbol") as caught:
        check_symbols([typed], KNOWN)
    assert caught.value.hint == "Did you mean btcusdt?"
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("typed", ["", " ", "@", "\udcff"])
def test_what_is_like_no_symbol_at_all(typed: str) -> None:
    with pytest.raises(ConfigError, match="Write it as the exchange does") as caught:
        check_symbols([typed], KNOWN)
    str(caught.value).encode()  # also a byte that was no UTF-8 can be shown


def test_a_whole_stream_name_is_no_symbol() -> None:
    with pytest.raises(ConfigError, match="not a symbol"):
        check_symbols(["btcusdt@aggTrade"], KNOWN)


def test_no_symbol_at_all() -> None:
    with pytest.raises(ConfigError, match="no symbol given"):
        check_symbols([], KNOWN)


def test_a_symbol_that_does_not_trade_is_taken_and_told() -> None:
    symbols = check_symbols(["lunausdt", "btcusdt"], KNOWN)
    assert symbols == ["lunausdt", "btcusdt"]
    assert not_trading(symbols, KNOWN) == {"lunausdt": "BREAK"}


# -- names, links, URLs -----------------------------------------------------------------------------------


def test_stream_names_fold_ascii_alone() -> None:
    assert stream_name("BTCUSDT", Stream(StreamKind.AGG_TRADE)) == "btcusdt@aggTrade"
    assert stream_name("币安人生USDT", Stream(StreamKind.KLINE, Timeframe.MO1)) == "币安人生usdt@kline_1M"


@pytest.mark.parametrize(
    ("count", "per_link", "sizes"),
    [(0, 1024, []), (1, 1024, [1]), (1024, 1024, [1024]), (1025, 1024, [512, 513]), (7, 3, [2, 2, 3]), (3, 1, [1] * 3)],
)
def test_links_are_few_and_balanced(count: int, per_link: int, sizes: list[int]) -> None:
    names = [f"s{number}@aggTrade" for number in range(count)]
    plan = plan_links(names, per_link)
    assert [len(link) for link in plan] == sizes
    assert [name for link in plan for name in link] == names


def test_a_name_is_subscribed_once() -> None:
    assert plan_links(["a", "b", "a"], 2) == [("a", "b")]


def test_a_link_without_streams_makes_no_plan() -> None:
    with pytest.raises(ValueError, match="at least one"):
        plan_links(["a"], 0)


@pytest.mark.parametrize(
    ("base", "spec", "url"),
    [
        (SPOT.ws_url, SPOT, "wss://data-stream.binance.vision/stream?timeUnit=MICROSECOND"),
        (USDM.ws_url, USDM, "wss://fstream.binance.com/market/stream"),
        (COINM.ws_url, COINM, "wss://dstream.binance.com/stream"),
        ("ws://127.0.0.1:9443/", SPOT, "ws://127.0.0.1:9443/stream?timeUnit=MICROSECOND"),
        ("ws://[::1]:9443", COINM, "ws://[::1]:9443/stream"),
        ("ws://proxy/binance/", COINM, "ws://proxy/binance/stream"),
    ],
)
def test_the_url_of_a_link(base: str, spec: object, url: str) -> None:
    assert link_url(base, spec) == url  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "base",
    [
        "",
        "stream.binance.com",
        "https://stream.binance.com",
        "ws://",
        "ws://:9443",
        "ws://host:port",
        "ws://host:99999",
        "ws://ho st",
        "ws://host\n",
        "ws://host/?streams=a",
        "ws://host/#x",
        "ws://[::1",
    ],
)
def test_what_is_no_websocket_url(base: str) -> None:
    with pytest.raises(ConfigError, match="not a WebSocket URL") as caught:
        link_url(base, SPOT)
    assert "ws://HOST[:PORT]" in caught.value.hint
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("tail", ["/ws", "/stream", "/stream/"])
def test_a_url_that_has_the_path_already(tail: str) -> None:
    with pytest.raises(ConfigError, match=r"Leave /(ws|stream) away"):
        link_url(f"wss://stream.binance.com:9443{tail}", SPOT)


def test_rest_base() -> None:
    assert rest_base("http://127.0.0.1:9443/") == "http://127.0.0.1:9443"
    assert rest_base(SPOT.rest_url) == SPOT.rest_url
    with pytest.raises(ConfigError, match="not a REST URL"):
        rest_base("ws://127.0.0.1:9443")


def test_a_wrong_url_is_told_without_its_password() -> None:
    for refuse in (rest_base, archive_base, lambda url: link_url(url, SPOT)):
        with pytest.raises(ConfigError, match=r"//me:\*\*\*@host") as caught:
            refuse("ftp://me:secret@host/ws")
        assert "secret" not in str(caught.value)
    with pytest.raises(ConfigError, match=r"Leave /ws away") as caught:
        link_url("wss://me:secret@host/ws", SPOT)
    assert "secret" not in str(caught.value)
