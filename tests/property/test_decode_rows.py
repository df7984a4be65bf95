"""Arbitrary input into the decoder, and what a row says against what was put in."""

import json
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from flow_doubles import agg_frame, kline_frame
from hypothesis import given
from hypothesis import strategies as st

from crypto_quant.binance import wire
from crypto_quant.binance.decode import decode
from crypto_quant.errors import UndecodableFrame
from crypto_quant.market import AggTrade, Candle, Timeframe, Venue
from crypto_quant.rows import (
    MICROSECONDS_FROM,
    TimeText,
    agg_trade_row,
    candle_row,
    copy_escape,
    is_decimal,
    key_text,
    trade_row,
)
from crypto_quant.seams import COLUMNS, Table

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
KINDS = (wire.AggTrade, wire.Kline, wire.ServerShutdown, wire.Reply, wire.Ignored)
digits = st.text("0123456789", min_size=1, max_size=12)
decimals = st.one_of(digits, st.builds("{}.{}".format, digits, st.text("0123456789", min_size=1, max_size=8)))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
names = st.sampled_from(["e", "E", "s", "a", "p", "q", "f", "l", "T", "m", "k", "t", "x", "i", "data", "stream", "id"])


def takes_or_refuses(payload: bytes) -> None:
    outcome: object
    try:
        outcome = decode(payload)
    except UndecodableFrame as problem:
        outcome = str(problem)
    assert isinstance(outcome, KINDS) or (isinstance(outcome, str) and outcome.strip())


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_taken_or_refused(payload: bytes) -> None:
    takes_or_refuses(payload)


@given(json_values)
def test_arbitrary_json_is_taken_or_refused(value: Any) -> None:
    takes_or_refuses(json.dumps(value).encode("utf-8", "surrogatepass"))
    takes_or_refuses(json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass"))


@given(st.dictionaries(names, json_values, max_size=8), st.sampled_from(["aggTrade", "kline", "serverShutdown", "x"]))
def test_objects_that_look_like_events_are_taken_or_refused(value: Any, event: str) -> None:
    takes_or_refuses(json.dumps(value | {"e": event}).encode("utf-8", "surrogatepass"))
    takes_or_refuses(json.dumps({"stream": "x", "data": value | {"e": event}}).encode("utf-8", "surrogatepass"))


@given(
    st.sampled_from([agg_frame(7), kline_frame(), kline_frame(closed=False)]),
    st.lists(st.tuples(st.integers(0, 400), st.binary(max_size=3), st.integers(0, 3)), min_size=1, max_size=4),
)
def test_damaged_frames_are_taken_or_refused(payload: bytes, edits: list[tuple[int, bytes, int]]) -> None:
    damaged = bytearray(payload)
    for at, insert, cut in edits:
        at %= len(damaged) + 1  # noqa: PLW2901
        damaged[at : at + cut] = insert
    takes_or_refuses(bytes(damaged))


# -- decimals ---------------------------------------------------------------------------------------------

number_like = st.one_of(decimals, st.text("0123456789.-+eE ١\n²", max_size=40), st.text(max_size=15))


@given(number_like, st.sampled_from([12, 30]))
def test_is_decimal_agrees_with_a_plain_pattern(text: str, most: int) -> None:
    naive = re.fullmatch(rf"[0-9]{{1,{most}}}(\.[0-9]{{1,8}})?", text) is not None
    assert is_decimal(text, most) is naive


@given(number_like)
def test_what_is_a_decimal_fits_its_column_without_rounding(text: str) -> None:
    if is_decimal(text):
        number = Decimal(text)
        assert 0 <= number < 10**12
        assert number == number.quantize(Decimal("1e-8"))


@given(decimals, decimals)
def test_the_exchanges_text_reaches_the_row_to_the_last_digit(price: str, quantity: str) -> None:
    message = decode(agg_frame(5, price=price, quantity=quantity))
    row = trade_row("t", "k\tk", 5, message.p, message.q, 1, 2, True, "r")
    columns = row.decode().rstrip("\n").split("\t")
    assert columns[4] == price
    assert columns[5] == quantity


# -- COPY text --------------------------------------------------------------------------------------------


def copy_unescape(text: str) -> str:
    """Read one column as PostgreSQL's COPY does (docs, "File Formats", text)."""
    plain = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
    return re.sub(r"\\(.)", lambda m: plain.get(m[1], m[1]), text, flags=re.DOTALL)


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))


@given(texts)
def test_copy_escaping_is_undone_by_copys_own_rules(text: str) -> None:
    escaped = copy_escape(text)
    assert copy_unescape(escaped) == text
    assert not set(escaped) & {"\t", "\n", "\r"}
    assert escaped not in ("\\N", "\\.")


@given(texts.filter(bool), st.integers(0, 2**63 - 1), decimals, st.booleans(), st.none() | st.integers(0, 4 * 10**18))
def test_a_trade_row_reads_back_as_the_trade(
    symbol: str, number: Any, price: str, maker: bool, received_ns: int | None
) -> None:
    trade = AggTrade(
        venue=Venue.SPOT,
        symbol=symbol,
        trade_id=number,
        price=price,
        quantity=price,
        first_trade_id=number,
        last_trade_id=number,
        time_ns=1_790_856_001_200_874_000,
        is_buyer_maker=maker,
        received_ns=received_ns,
    )
    row = agg_trade_row(trade, TimeText())
    assert row.endswith(b"\n")
    assert row.count(b"\n") == 1
    got = dict(zip(COLUMNS[Table.TRADES], row[:-1].decode().split("\t"), strict=True))
    assert copy_unescape(got["symbol"]) == symbol
    assert (got["venue"], got["trade_id"], got["price"], got["quantity"]) == ("spot", str(number), price, price)
    assert (got["time"], got["is_buyer_maker"]) == ("2026-10-01 12:00:01.200874+00", "t" if maker else "f")
    if received_ns is None:
        assert got["received_at"] == "\\N"
    else:
        assert moment(got["received_at"]) == EPOCH + timedelta(microseconds=received_ns // 1000)


@given(st.none() | st.integers(-1, 2**63 - 1), st.sampled_from(list(Timeframe)), decimals)
def test_a_candle_row_reads_back_as_the_candle(trade_id: int | None, timeframe: Timeframe, number: Any) -> None:
    candle = Candle(
        venue=Venue.USDM,
        symbol="btcusdt",
        timeframe=timeframe,
        open_ns=1_790_856_000_000_000_000,
        open=number,
        high=number,
        low=number,
        close=number,
        volume=number,
        quote_volume=number,
        trade_count=3,
        taker_buy_volume=number,
        taker_buy_quote_volume=number,
        first_trade_id=trade_id,
        last_trade_id=trade_id,
    )
    columns = candle_row(candle, TimeText())[:-1].decode().split("\t")
    got = dict(zip(COLUMNS[Table.CANDLES], columns, strict=True))
    known = "\\N" if trade_id is None else str(trade_id)
    assert (got["timeframe"], got["first_trade_id"], got["last_trade_id"]) == (timeframe.value, known, known)
    assert {got[name] for name in ("open", "high", "low", "close", "volume", "quote_volume")} == {number}
    assert got["time"] == "2026-10-01 12:00:00.000000+00"


# -- times ------------------------------------------------------------------------------------------------


def moment(text: str) -> datetime:
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}\+00", text)
    return datetime.strptime(text[:-3], "%Y-%m-%d %H:%M:%S.%f").replace(tzinfo=UTC)


@given(st.integers(0, 253_402_300_799_999_999))
def test_times_are_exact_in_either_unit(time: int) -> None:
    step = timedelta(microseconds=time) if time >= MICROSECONDS_FROM else timedelta(milliseconds=time)
    times = TimeText()
    assert moment(times(time)) == EPOCH + step
    assert times(time) == times(time)  # from the cache too


@given(st.integers(0, 253_402_300_799_999_999_999))
def test_a_time_in_ns_is_cut_to_the_microsecond(time_ns: int) -> None:
    trade = AggTrade(
        venue=Venue.SPOT,
        symbol="a",
        trade_id=0,
        price="1",
        quantity="1",
        first_trade_id=0,
        last_trade_id=0,
        time_ns=time_ns,
        is_buyer_maker=False,
    )
    text = agg_trade_row(trade, TimeText()).split(b"\t")[0].decode()
    assert moment(text) == EPOCH + timedelta(microseconds=time_ns // 1000)


@pytest.mark.parametrize(("time", "text"), [
    (0, "1970-01-01 00:00:00.000000+00"),
    (1_790_856_001_200, "2026-10-01 12:00:01.200000+00"),
    (1_790_856_001_200_874, "2026-10-01 12:00:01.200874+00"),
    (MICROSECONDS_FROM - 1, "5138-11-16 09:46:39.999000+00"),
    (MICROSECONDS_FROM, "1973-03-03 09:46:40.000000+00"),
    (253_402_300_799_999_999, "9999-12-31 23:59:59.999999+00"),
])  # fmt: skip
def test_where_one_unit_ends_and_the_other_begins(time: int, text: str) -> None:
    assert TimeText()(time) == text


def test_the_cache_of_seconds_is_bounded() -> None:
    times = TimeText()
    for second in range(10_000):
        times(second * 1000)
    assert len(times._seconds) <= 4096
    assert times(5000) == "1970-01-01 00:00:05.000000+00"


def test_years_are_padded_where_the_platform_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    times = TimeText()
    assert times._second(-62_135_596_800) == "0001-01-01 00:00:00."


def test_the_key_columns_are_escaped() -> None:
    assert key_text(Venue.SPOT, "a\tb\\") == "spot\ta\\tb\\\\"
