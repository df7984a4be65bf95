"""Names, checksums and lines of the public archive."""

from datetime import date

import pytest

from crypto_quant.binance.archive import (
    ArchiveFile,
    TradeReader,
    candle_rows,
    files_for,
    parse_checksum,
    read_candles,
)
from crypto_quant.binance.streams import Stream
from crypto_quant.binance.venues import StreamKind
from crypto_quant.errors import UndecodableFrame
from crypto_quant.market import Timeframe, Venue

TRADES = Stream(StreamKind.AGG_TRADE)
TODAY = date(2026, 10, 5)
# the documented line
LINE = b"3000000001,64250.10000000,0.01000000,5000000001,5000000002,1790856001200874,True,True\n"
ROW = (
    b"2026-10-01 12:00:01.200874+00\tspot\tbtcusdt\t3000000001\t64250.10000000\t0.01000000\t5000000001\t5000000002"
    b"\tt\t\\N\n"
)
KLINE = (
    b"1790856000000000,64250.10000000,64250.50000000,64250.00000000,64250.50000000,0.01500000,1790856059999999,"
    b"963.75225000,5,0.00250000,160.62625000,0\n"
)


def kline(timeframe: Timeframe) -> Stream:
    return Stream(StreamKind.KLINE, timeframe)


def names(stream: Stream, first: date, last: date) -> list[str]:
    return [file.name for file in files_for(Venue.SPOT, "btcusdt", stream, first, last, TODAY)]


@pytest.mark.parametrize(
    ("venue", "stream", "monthly", "path"),
    [
        (Venue.SPOT, TRADES, False, "/data/spot/daily/aggTrades/BTCUSDT/BTCUSDT-aggTrades-2026-09-01.zip"),
        (Venue.USDM, TRADES, True, "/data/futures/um/monthly/aggTrades/BTCUSDT/BTCUSDT-aggTrades-2026-09.zip"),
        (Venue.COINM, kline(Timeframe.M5), False, "/data/futures/cm/daily/klines/BTCUSDT/5m/BTCUSDT-5m-2026-09-01.zip"),
        (Venue.SPOT, kline(Timeframe.MO1), True, "/data/spot/monthly/klines/BTCUSDT/1mo/BTCUSDT-1mo-2026-09.zip"),
    ],
)
def test_paths(venue: Venue, stream: Stream, monthly: bool, path: str) -> None:
    assert ArchiveFile(venue, "btcusdt", stream, date(2026, 9, 1), date(2026, 9, 1), monthly).path == path


def test_a_symbol_that_is_not_ascii_is_percent_encoded() -> None:
    file = ArchiveFile(Venue.SPOT, "币安人生usdt", TRADES, date(2026, 9, 1), date(2026, 9, 1), False)
    assert file.name == "币安人生USDT-aggTrades-2026-09-01.zip"
    assert file.path.isascii()
    assert "/%E5%B8%81%E5%AE%89%E4%BA%BA%E7%94%9FUSDT/" in file.path


def test_whole_months_that_are_over_are_one_file_and_the_rest_comes_by_the_day() -> None:
    assert names(TRADES, date(2026, 7, 30), date(2026, 10, 2)) == [
        "BTCUSDT-aggTrades-2026-07-30.zip", "BTCUSDT-aggTrades-2026-07-31.zip",
        "BTCUSDT-aggTrades-2026-08.zip", "BTCUSDT-aggTrades-2026-09.zip",
        "BTCUSDT-aggTrades-2026-10-01.zip", "BTCUSDT-aggTrades-2026-10-02.zip",
    ]  # fmt: skip
    assert len(names(TRADES, date(2024, 2, 1), date(2024, 2, 29))) == 1
    assert len(names(TRADES, date(2024, 2, 1), date(2024, 2, 28))) == 28


def test_today_has_no_file() -> None:
    assert names(TRADES, TODAY, TODAY) == []
    assert names(TRADES, date(2026, 10, 4), date(2026, 10, 9)) == ["BTCUSDT-aggTrades-2026-10-04.zip"]


def test_weeks_and_months_of_candles_come_by_the_month_alone() -> None:
    files = files_for(Venue.SPOT, "btcusdt", kline(Timeframe.W1), date(2026, 8, 20), date(2026, 10, 2), TODAY)
    assert [file.name for file in files] == ["BTCUSDT-1w-2026-08.zip", "BTCUSDT-1w-2026-09.zip"]
    assert files[0].days() == []


def test_a_month_is_its_days() -> None:
    [month] = files_for(Venue.SPOT, "btcusdt", TRADES, date(2024, 2, 1), date(2024, 2, 29), TODAY)
    days = month.days()
    assert (len(days), days[0].name, days[-1].name) == (
        29, "BTCUSDT-aggTrades-2024-02-01.zip", "BTCUSDT-aggTrades-2024-02-29.zip",
    )  # fmt: skip
    assert days[0].days() == []


def test_checksum_lines() -> None:
    digest = "ab" * 32
    assert parse_checksum(f"{digest}  x.zip\n".encode(), "x.zip") == digest
    assert parse_checksum(f"{digest.upper()} *x.zip".encode(), "x.zip") == digest
    for wrong in (b"", b"x.zip", f"{digest}  y.zip".encode(), f"{digest[:-1]}  x.zip".encode(), b"<html>"):
        with pytest.raises(UndecodableFrame, match=r"x\.zip\.CHECKSUM"):
            parse_checksum(wrong, "x.zip")


def test_a_line_keeps_the_exchanges_text() -> None:
    reader = TradeReader(Venue.SPOT, "btcusdt")
    assert reader.read(LINE) == ([3000000001], [ROW])
    assert reader.read(LINE.rstrip(b"\n")) == ([3000000001], [ROW])
    assert reader.read(LINE.replace(b"\n", b"\r\n")) == ([3000000001], [ROW])


def test_milliseconds_are_told_by_their_size() -> None:
    [row] = TradeReader(Venue.SPOT, "btcusdt").read(LINE.replace(b"1790856001200874", b"1790856001200")).rows
    assert row.startswith(b"2026-10-01 12:00:01.200000+00\t")


def test_the_futures_form_with_its_header() -> None:
    lines = (
        b"agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker\n"
        b"3500000001,64231.50,0.120,8100000001,8100000004,1790856001203,true\n"
        b"3500000002,64231,7,8100000005,8100000005,1790856001203,false\n"
    )
    held = TradeReader(Venue.USDM, "btcusdt").read(lines)
    assert held.ids == [3500000001, 3500000002]
    assert b"\t64231.50\t0.120\t8100000001\t8100000004\tt\t" in held.rows[0]
    assert b"\t64231\t7\t8100000005\t8100000005\tf\t" in held.rows[1]


def test_rows_out_of_order_are_sorted_and_equal_ids_keep_their_order() -> None:
    def line(number: int, price: str) -> bytes:
        return LINE.replace(b"3000000001", str(number).encode()).replace(b"64250.10000000", price.encode())

    held = TradeReader(Venue.SPOT, "btcusdt").read(line(9, "3") + line(7, "1") + line(9, "2") + line(8, "4"))
    assert held.ids == [7, 8, 9, 9]
    assert [row.split(b"\t")[4] for row in held.rows] == [b"1", b"4", b"3", b"2"]


def test_a_neutralised_id_has_no_row() -> None:
    assert TradeReader(Venue.SPOT, "btcusdt").read(b"12,0.00000000,0,-1,-1,1790856001200874,True,True\n") == (
        [12],
        [b""],
    )


@pytest.mark.parametrize(
    "wrong",
    [
        b"12,1.5,-1,5,5,1790856001200874,True,True\n",
        b"12,1e5,1,5,5,1790856001200874,True,True\n",
        b"12,1.123456789,1,5,5,1790856001200874,True,True\n",
        b"12,1,1,5,4,1790856001200874,True,True\n",
        b"12,1,1,-1,5,1790856001200874,True,True\n",
        b"12,1,1,-1,-1,1790856001200874,True,True\n",
        b"12,1,1,5,5,1790856001200874\n",
        b"12,1,1,5,5,1790856001200874,Yes,True\n",
        "١٢,1,1,5,5,1790856001200874,True,True\n".encode(),
        b"half a li",
        b"\xff\xfe\n",
    ],
)
def test_a_line_that_is_no_trade_is_refused_and_shown(wrong: bytes) -> None:
    with pytest.raises(UndecodableFrame):
        TradeReader(Venue.SPOT, "btcusdt").read(LINE + wrong + LINE)


def test_candles() -> None:
    header = b"open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,x,ignore\n"
    later = KLINE.replace(b"1790856000000000", b"1790856060000000").replace(b",0\n", b",17.5\n")
    candles = read_candles(header + later + KLINE + later, Venue.SPOT, "btcusdt", Timeframe.M1)
    assert [candle.open_ns for candle in candles] == [1_790_856_000_000_000_000, 1_790_856_060_000_000_000]
    first = candles[0]
    assert (first.open, first.close, first.volume, first.quote_volume, first.trade_count, first.first_trade_id) == (
        "64250.10000000", "64250.50000000", "0.01500000", "963.75225000", 5, None,
    )  # fmt: skip
    assert candle_rows(candles)[0].startswith(b"2026-10-01 12:00:00.000000+00\tspot\tbtcusdt\t1m\t64250.10000000\t")
    for wrong in (b"1,2,3\n", KLINE.replace(b"64250.50000000", b"6e4", 1), KLINE.replace(b",5,", b",-5,")):
        with pytest.raises(UndecodableFrame, match="not a line of klines"):
            read_candles(wrong, Venue.SPOT, "btcusdt", Timeframe.M1)
