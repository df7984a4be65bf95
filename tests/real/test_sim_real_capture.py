"""Recorded captures through the simulated exchange's own arithmetic, against what the real exchange made of them."""

import csv
import os
from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from crypto_quant.sim.candles import CandleBook
from crypto_quant.sim.capture import CaptureTape, read_frames
from crypto_quant.sim.market import Market
from crypto_quant.sim.numbers import parse8, text8
from crypto_quant.sim.tape import Tape, Trade

DATA = Path(os.environ.get("CRYPTO_QUANT_TEST_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
PATH_2021 = DATA / "raw" / "spot_2021-04-04_btc-eth-dot_aggtrade-kline-depth.txt.gz"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"no captures at {DATA} (set CRYPTO_QUANT_TEST_DATA)")

FIRST_ID, LAST_ID = 3735683259, 3735703162


class Deaf:
    """A listener that needs nothing."""

    def on_trade(self, *_: object) -> None:
        pass

    on_aggregate = on_second = on_minute = on_update = on_trade


def printed(tape: Tape, tail_us: int = 400_000_000) -> Market:
    market = Market(tape, history_limit=1_000_000)
    while not market.ended:
        market.advance(2**62, Deaf(), 100_000)
    market.advance(market.last_trade_us + tail_us, Deaf(), 10**9)
    return market


@pytest.fixture(scope="module")
def market_2024() -> Market:
    return printed(CaptureTape.read(sorted((DATA / "raw").glob("spot_2024-08-0*"))))


def test_the_aggregates_of_2024_cover_every_trade_once(market_2024: Market) -> None:
    aggregates = market_2024.agg_trades("BTCUSDT")
    assert market_2024.printed == LAST_ID - FIRST_ID + 1 == 19_904
    following = FIRST_ID
    for number, one in enumerate(aggregates, 1):
        assert one.agg_id == number
        assert one.first_id == following
        following = one.last_id + 1
    assert following == LAST_ID + 1
    # the exchange joins fills: there must be fewer aggregates than trades, and some of several trades
    assert len(aggregates) < 19_904
    assert any(one.last_id > one.first_id for one in aggregates)


def test_the_aggregates_of_2024_hold_exactly_the_quantity_of_their_trades(market_2024: Market) -> None:
    trades = market_2024.history.trades["BTCUSDT"]
    quantity = sum(one.quantity for one in trades.rows(0, len(trades)))
    assert sum(one.quantity for one in market_2024.agg_trades("BTCUSDT")) == quantity
    by_id = {one.first_id: one for one in trades.rows(0, len(trades))}
    for one in market_2024.agg_trades("BTCUSDT"):
        parts = [by_id[number] for number in range(one.first_id, one.last_id + 1)]
        assert {(part.price, part.time_us, part.maker) for part in parts} == {(one.price, one.time_us, one.maker)}
        assert sum(part.quantity for part in parts) == one.quantity


def test_five_minute_candles_of_2024_equal_those_somebody_else_downloaded(market_2024: Market) -> None:
    with (DATA / "klines" / "spot_2024-08-08_2024-08-09_btcusdt_5m.csv").open() as lines:
        oracle = {
            int(datetime.fromisoformat(row["date"]).timestamp()) * 1_000_000: row for row in csv.DictReader(lines)
        }
    first_us = market_2024.agg_trades("BTCUSDT")[0].time_us
    whole = [
        candle
        for candle in market_2024.closed_candles("BTCUSDT", "5m")
        if candle.open_us >= first_us and candle.end_us <= market_2024.last_trade_us
    ]
    assert len(whole) == 2
    for candle in whole:
        row = oracle[candle.open_us]
        for name in ("open", "high", "low", "close", "volume"):
            assert getattr(candle, name) == parse8(row[name]), name


class Kline(msgspec.Struct):
    t: int
    T: int
    s: str
    i: str
    f: int
    L: int
    o: str
    c: str
    h: str
    l: str  # noqa: E741
    v: str
    n: int
    x: bool
    V: str


def klines_2021() -> Iterator[Kline]:
    for frame in read_frames(PATH_2021):
        message = msgspec.json.decode(frame)
        if message.get("stream", "").endswith("@kline_1m"):
            yield msgspec.convert(message["data"]["k"], Kline)


def test_candles_of_2021_equal_the_exchange_s_own_wherever_the_trades_cover_them() -> None:
    market = printed(CaptureTape.read([PATH_2021]))
    compared = 0
    for theirs in klines_2021():
        parts = [one for one in market.agg_trades(theirs.s) if theirs.f <= one.first_id and one.last_id <= theirs.L]
        if not parts or parts[0].first_id != theirs.f or parts[-1].last_id != theirs.L:
            continue  # the capture begins inside this candle, or the message ends inside an aggregate
        book = CandleBook()
        for one in parts:
            book.add(
                Trade(one.symbol, one.first_id, one.last_id, one.price, one.quantity, one.time_us, one.maker)
            )  # fmt: skip
        ours = book.candle("1m", theirs.t * 1000)
        assert ours is not None
        assert ours.end_us == (theirs.T + 1) * 1000
        assert (ours.first_id, ours.last_id, ours.count) == (theirs.f, theirs.L, theirs.n)
        assert [text8(value) for value in (ours.open, ours.high, ours.low, ours.close)] == [
            theirs.o, theirs.h, theirs.l, theirs.c,
        ]  # fmt: skip
        assert (text8(ours.volume), text8(ours.taker_volume)) == (theirs.v, theirs.V)
        compared += 1
    assert compared > 30


def test_the_closed_candles_of_2021_end_with_the_trade_that_ends_ours() -> None:
    market = printed(CaptureTape.read([PATH_2021]))
    final = [theirs for theirs in klines_2021() if theirs.x]
    assert len(final) == 3
    for theirs in final:
        # their beginning is before the capture's, their end is in it
        ours = market.books[theirs.s].candle("1m", theirs.t * 1000)
        assert ours is not None
        assert (ours.last_id, text8(ours.close)) == (theirs.L, theirs.c)


def test_an_aggregate_only_capture_keeps_the_exchange_s_ids() -> None:
    market = printed(CaptureTape.read([PATH_2021]))
    assert sum(len(market.agg_trades(symbol)) for symbol in market.symbols) == 1_910
    for symbol in market.symbols:
        aggregates = market.agg_trades(symbol)
        assert [one.agg_id for one in aggregates] == list(range(aggregates[0].agg_id, aggregates[-1].agg_id + 1))
        assert all(later.first_id == one.last_id + 1 for one, later in pairwise(aggregates))
