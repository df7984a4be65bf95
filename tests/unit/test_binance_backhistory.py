"""Pages of aggregate trades: what is asked for, what is taken, what is refused."""

import json

import pytest

from crypto_quant.binance.backhistory import (
    Page,
    agg_trades_request,
    agg_trades_since_request,
    newest_agg_trade_request,
    parse_agg_trades,
)
from crypto_quant.binance.decode import decode
from crypto_quant.binance.venues import venue_spec
from crypto_quant.errors import UndecodableFrame
from crypto_quant.market import Venue
from crypto_quant.rows import TimeText, key_text, trade_row

SPOT = venue_spec(Venue.SPOT)
KEY = key_text(Venue.SPOT, "btcusdt")
# the documented sample, in microseconds
ROW = {
    "a": 3000000001, "p": "64250.10000000", "q": "0.01000000", "f": 5000000001, "l": 5000000002,
    "T": 1790856001200874, "m": True, "M": True,
}  # fmt: skip


def page(*rows: dict[str, object]) -> Page:
    return parse_agg_trades(json.dumps(rows).encode(), KEY, TimeText())


def test_spot_is_asked_for_microseconds() -> None:
    request = agg_trades_request(SPOT, "btcusdt", 42)
    assert request.path == "/api/v3/aggTrades"
    assert request.params == {"symbol": "BTCUSDT", "fromId": "42", "limit": "1000"}
    assert request.headers == {"X-MBX-TIME-UNIT": "MICROSECOND"}
    assert request.weight == 4


def test_futures_know_milliseconds_alone_and_an_hour_at_a_time() -> None:
    spec = venue_spec(Venue.USDM)
    assert agg_trades_request(spec, "btcusdt", 42).headers == {}
    assert agg_trades_request(spec, "btcusdt", 42).weight == 20
    since = agg_trades_since_request(spec, "btcusdt", 1_790_856_000_000_000_000).params
    assert int(since["endTime"]) - int(since["startTime"]) < 3_600_000
    # an id and times are never mixed
    assert "fromId" not in since
    assert "fromId" not in newest_agg_trade_request(spec, "btcusdt").params


def test_a_row_is_the_one_that_the_stream_makes_but_for_its_receive_time() -> None:
    held = page(ROW)
    frame = {"e": "aggTrade", "E": ROW["T"], "s": "BTCUSDT", **ROW}
    told = decode(json.dumps({"stream": "btcusdt@aggTrade", "data": frame}).encode())
    times = TimeText()
    streamed = trade_row(times(told.T), KEY, told.a, told.p, told.q, told.f, told.l, told.m, "\\N")  # type: ignore[union-attr]
    assert held.rows == [streamed]
    assert b"2026-10-01 12:00:01.200874+00\tspot\tbtcusdt\t3000000001\t64250.10000000" in streamed
    assert held.times_ns == [1_790_856_001_200_874_000]


def test_a_neutralised_id_is_known_and_has_no_row() -> None:
    void = {**ROW, "a": 3000000002, "p": "0", "q": "0.00000000", "f": -1, "l": -1}
    held = page(ROW, void, {**ROW, "a": 3000000003})
    assert held.ids == [3000000001, 3000000002, 3000000003]
    assert held.row_ids == [3000000001, 3000000003]
    assert (len(held.rows), held.voids) == (2, 1)
    cut = held.upto(3000000002)
    assert (cut.ids, cut.row_ids, cut.voids, len(cut.rows)) == ([3000000001, 3000000002], [3000000001], 1, 1)
    assert held.upto(3000000003) is held


@pytest.mark.parametrize(
    "wrong",
    [
        {"p": "6.4e4"}, {"p": "-1"}, {"q": "0.123456789"}, {"q": "NaN"}, {"a": -1}, {"a": "1"}, {"T": -5},
        {"f": -1}, {"f": 6000000000}, {"l": 2**63}, {"m": "true"}, {"T": 10**19}, {"p": "٣"},
    ],
    ids=str,
)  # fmt: skip
def test_a_row_that_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UndecodableFrame, match="not a valid aggTrades answer"):
        page({**ROW, **wrong})


@pytest.mark.parametrize("body", [b"", b"{}", b"[1]", b"[[]]", b'{"code":-1121}', b"\xff", b"[{}]"])
def test_a_body_that_is_no_page_is_refused(body: bytes) -> None:
    with pytest.raises(UndecodableFrame):
        parse_agg_trades(body, KEY, TimeText())


def test_ids_have_to_rise() -> None:
    with pytest.raises(UndecodableFrame, match="comes after"):
        page(ROW, ROW)
    with pytest.raises(UndecodableFrame, match="comes after"):
        page(ROW, {**ROW, "a": 3000000000})
