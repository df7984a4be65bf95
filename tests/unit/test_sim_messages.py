"""Byte for byte against the sample messages of the exchange's documentation."""

import json

from crypto_quant.sim import messages
from crypto_quant.sim.aggregate import Aggregate
from crypto_quant.sim.candles import Candle
from crypto_quant.sim.messages import TimeUnit
from crypto_quant.sim.numbers import parse8
from crypto_quant.sim.tape import Trade

MS, US = TimeUnit.MILLISECOND, TimeUnit.MICROSECOND
NOON = 1_790_856_000_000_000

ONE = Aggregate(
    "BTCUSDT", 3_000_000_001, parse8("64250.1"), parse8("0.01"), 5_000_000_001, 5_000_000_002,
    NOON + 1_200_874, True, True,
)  # fmt: skip


def test_agg_trade() -> None:
    assert messages.agg_trade(ONE, NOON + 1_201_213, MS) == (
        b'{"e":"aggTrade","E":1790856001201,"s":"BTCUSDT","a":3000000001,"p":"64250.10000000","q":"0.01000000",'
        b'"f":5000000001,"l":5000000002,"T":1790856001200,"m":true,"M":true}'
    )


def test_agg_trade_combined_and_in_microseconds() -> None:
    payload = messages.agg_trade(ONE, NOON + 1_201_213, US)
    assert messages.combined("btcusdt@aggTrade", payload) == (
        b'{"stream":"btcusdt@aggTrade","data":{"e":"aggTrade","E":1790856001201213,"s":"BTCUSDT","a":3000000001,'
        b'"p":"64250.10000000","q":"0.01000000","f":5000000001,"l":5000000002,"T":1790856001200874,"m":true,"M":true}}'
    )


def test_trade() -> None:
    one = Trade("BTCUSDT", 5_000_000_004, 5_000_000_004, parse8("64250.5"), parse8("0.001"), NOON + 41_007_000, False)
    assert messages.trade(one, NOON + 41_008_000, MS) == (
        b'{"e":"trade","E":1790856041008,"s":"BTCUSDT","t":5000000004,"p":"64250.50000000","q":"0.00100000",'
        b'"T":1790856041007,"m":false,"M":true}'
    )


CANDLE = Candle(
    NOON, NOON + 60_000_000, parse8("64250.1"), parse8("64250.5"), parse8("64250.0"), parse8("64250.5"),
    parse8("0.015"), parse8("963.75225"), parse8("0.0025"), parse8("160.62625"), 5, 5_000_000_001, 5_000_000_005,
)  # fmt: skip


def test_kline() -> None:
    assert messages.kline("BTCUSDT", "1m", CANDLE, NOON + 42_015_000, MS, final=False) == (
        b'{"e":"kline","E":1790856042015,"s":"BTCUSDT","k":{"t":1790856000000,"T":1790856059999,"s":"BTCUSDT",'
        b'"i":"1m","f":5000000001,"L":5000000005,"o":"64250.10000000","c":"64250.50000000","h":"64250.50000000",'
        b'"l":"64250.00000000","v":"0.01500000","n":5,"x":false,"q":"963.75225000","V":"0.00250000",'
        b'"Q":"160.62625000","B":"0"}}'
    )


def test_kline_in_microseconds_closes_one_microsecond_before_the_next() -> None:
    told = json.loads(messages.kline("BTCUSDT", "1m", CANDLE, NOON + 60_004_000, US, final=True))["k"]
    assert (told["t"], told["T"], told["x"]) == (NOON, NOON + 59_999_999, True)


def test_empty_kline() -> None:
    price = parse8("64250.5")
    empty = Candle(NOON + 60_000_000, NOON + 61_000_000, price, price, price, price)
    assert messages.kline("BTCUSDT", "1s", empty, NOON + 61_002_000, MS, final=True) == (
        b'{"e":"kline","E":1790856061002,"s":"BTCUSDT","k":{"t":1790856060000,"T":1790856060999,"s":"BTCUSDT",'
        b'"i":"1s","f":-1,"L":-1,"o":"64250.50000000","c":"64250.50000000","h":"64250.50000000",'
        b'"l":"64250.50000000","v":"0.00000000","n":0,"x":true,"q":"0.00000000","V":"0.00000000",'
        b'"Q":"0.00000000","B":"0"}}'
    )


def test_server_shutdown() -> None:
    payload = messages.server_shutdown(NOON + 30_000_000, MS)
    assert payload == b'{"e":"serverShutdown","E":1790856030000}'
    assert messages.combined("!serverShutdown", payload) == (
        b'{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1790856030000}}'
    )


def test_frames_carry_their_length() -> None:
    assert messages.text_frame(b"x" * 125)[:2] == b"\x81\x7d"
    assert messages.text_frame(b"x" * 126)[:4] == b"\x81\x7e\x00\x7e"
    assert messages.text_frame(b"x" * 65_535)[:4] == b"\x81\x7e\xff\xff"
    assert messages.text_frame(b"x" * 65_536)[:10] == b"\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00"
    assert messages.text_frame(b"abc") == b"\x81\x03abc"


def test_symbols_stay_utf8() -> None:
    one = Trade("币安人生USDT", 1, 1, 1, 1, NOON, False)
    assert json.loads(messages.trade(one, NOON, MS))["s"] == "币安人生USDT"
    assert "币安人生usdt@trade".encode() in messages.combined("币安人生usdt@trade", b"{}")


def test_time_units_are_written_in_one_case() -> None:
    assert messages.time_unit("MICROSECOND") is messages.time_unit("microsecond") is US
    assert messages.time_unit("MILLISECOND") is messages.time_unit("millisecond") is MS
    assert messages.time_unit("Microsecond") is None
    assert messages.time_unit("NANOSECOND") is None
