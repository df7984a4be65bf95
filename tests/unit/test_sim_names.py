import pytest

from crypto_quant.sim.names import Stream, names_in_path, parse_stream

SYMBOLS = {"BTCUSDT", "1INCHUSDT", "币安人生USDT"}
EAST_8 = 8 * 3600 * 1_000_000


@pytest.mark.parametrize(
    ("name", "stream"),
    [
        ("btcusdt@aggTrade", Stream("btcusdt@aggTrade", "aggTrade", "BTCUSDT")),
        ("1inchusdt@trade", Stream("1inchusdt@trade", "trade", "1INCHUSDT")),
        ("币安人生usdt@trade", Stream("币安人生usdt@trade", "trade", "币安人生USDT")),
        ("btcusdt@kline_1m", Stream("btcusdt@kline_1m", "kline", "BTCUSDT", "1m")),
        ("btcusdt@kline_1M", Stream("btcusdt@kline_1M", "kline", "BTCUSDT", "1M")),
        ("btcusdt@kline_1d@+08:00", Stream("btcusdt@kline_1d@+08:00", "kline", "BTCUSDT", "1d", EAST_8)),
    ],
)
def test_names_that_mean_something(name: str, stream: Stream) -> None:
    assert parse_stream(name, SYMBOLS) == stream


@pytest.mark.parametrize(
    "name",
    [
        "BTCUSDT@aggTrade", "btcusdt@aggtrade", "btcusdt@AGGTRADE", "btcusdt", "", "@", "xyzusdt@aggTrade",
        "btcusdt@kline_2m", "btcusdt@kline_1D", "btcusdt@kline_", "btcusdt@kline_1d@+09:00", "btcusdt@depth", "0",
        "btcusdt@aggTrade ",
    ],
)  # fmt: skip
def test_names_that_stay_silent(name: str) -> None:
    assert parse_stream(name, SYMBOLS) is None


@pytest.mark.parametrize(
    ("path", "meaning"),
    [
        ("/ws", (False, [], None)),
        ("/ws/", (False, [], None)),
        ("/ws/btcusdt@aggTrade", (False, ["btcusdt@aggTrade"], None)),
        ("/ws/btcusdt@aggTrade/ethusdt@kline_1m", (False, ["btcusdt@aggTrade", "ethusdt@kline_1m"], None)),
        ("/ws/btcusdt@trade?timeUnit=MICROSECOND", (False, ["btcusdt@trade"], "MICROSECOND")),
        ("/stream", (True, [], None)),
        ("/stream?streams=a@trade/b@trade", (True, ["a@trade", "b@trade"], None)),
        ("/stream?streams=a@trade&timeUnit=microsecond", (True, ["a@trade"], "microsecond")),
        ("/stream?timeUnit=MILLISECOND&streams=a@trade", (True, ["a@trade"], "MILLISECOND")),
        # a plus is a plus here, not a blank
        ("/stream?streams=btcusdt@kline_1d@+08:00", (True, ["btcusdt@kline_1d@+08:00"], None)),
        ("/stream?streams=btcusdt%40kline_1d%40%2B08%3A00", (True, ["btcusdt@kline_1d@+08:00"], None)),
        ("/stream?streams=a%40trade%2Fb%40trade", (True, ["a@trade", "b@trade"], None)),
        ("/ws/%E5%B8%81%E5%AE%89%E4%BA%BA%E7%94%9Fusdt@trade", (False, ["币安人生usdt@trade"], None)),
    ],
)  # fmt: skip
def test_urls(path: str, meaning: tuple[bool, list[str], str | None]) -> None:
    assert names_in_path(path) == meaning


def test_other_paths_are_no_streams() -> None:
    assert names_in_path("/wsx") is None
    assert names_in_path("/api/v3/ping") is None
