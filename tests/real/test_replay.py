"""Recorded exchange data through the whole recorder: real sockets, a real TimescaleDB, and an independent oracle."""

import csv
import gzip
import json
import os
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from recording import assert_trades_equal, recording

from crypto_quant import events
from crypto_quant.evidence import Scope
from crypto_quant.flow.audit import Auditor
from crypto_quant.sim.capture import CaptureTape, read_frames
from crypto_quant.sim.clock import MAX
from crypto_quant.sim.server import SimulatedExchange
from crypto_quant.sim.verbatim import VerbatimServer
from crypto_quant.store.as_text import candles_as_text, trades_as_text
from crypto_quant.store.audit_queries import open_reader

DATA = Path(os.environ.get("CRYPTO_QUANT_TEST_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"no recorded captures at {DATA}")

CAPTURES_2024 = [
    DATA / "raw" / "spot_2024-08-08_btcusdt_trade-ticker-depth.gz",
    DATA / "raw" / "spot_2024-08-09_btcusdt_trade-ticker-depth.gz",
]
CAPTURE_2021 = DATA / "raw" / "spot_2021-04-04_btc-eth-dot_aggtrade-kline-depth.txt.gz"
ORACLE = DATA / "klines" / "spot_2024-08-08_2024-08-09_btcusdt_5m.csv"
FIRST_ID, LAST_ID = 3735683259, 3735703162


async def test_the_2024_capture_replayed(timescale_url: str, tmp_path: Path) -> None:
    """All 19,904 single trades are in the stored aggregates' id ranges, once, and the candles are the oracle's."""
    async with SimulatedExchange(CaptureTape.read(CAPTURES_2024), speed=MAX, hold_until_subscribed=True) as exchange:
        async with recording(
            timescale_url, exchange.ws_url, exchange.rest_url, tmp_path, streams=("aggTrade", "kline_5m")
        ) as run:
            await exchange.finished()
            await run.until(lambda: run.stats.candles_written >= 4)
            final = await run.stop()
        count = await assert_trades_equal(timescale_url, exchange, "btcusdt")
    async with open_reader(timescale_url) as reader:
        report = await Auditor(reader, Scope(), deep=True).run(database=reader.database, now_ns=0, version="0")
    assert report.complete, report.to_json()
    assert [each.rows for each in report.symbols] == [count]
    # the two candles that the tape holds whole; those at its edges are not judged
    assert report.candles[0].equal >= 2
    assert final["trades_written"] == final["trades_received"] == count
    assert final["frames_set_aside"] == final["gaps"] == 0

    ranges = [(int(row[3]), int(row[4])) for row in await trades_as_text(timescale_url, "spot", "btcusdt")]
    covered = [number for first, last in ranges for number in range(first, last + 1)]
    assert len(covered) == 19_904
    assert covered == list(range(FIRST_ID, LAST_ID + 1))

    # the oracle was downloaded by somebody else; the tape covers these candles from their first to their last trade
    with ORACLE.open() as file:
        oracle = {row["date"]: row for row in csv.DictReader(file)}
    stored = {_iso(row[0]): row for row in await candles_as_text(timescale_url, "spot", "btcusdt", "5m")}
    whole = [date for date in stored if date in oracle and _is_whole(date)]
    assert whole == ["2024-08-08T23:55:00Z", "2024-08-09T00:00:00Z"]
    for date in whole:
        told = [Decimal(oracle[date][name]) for name in ("open", "high", "low", "close", "volume")]
        assert [Decimal(value) for value in stored[date][1:6]] == told


def _iso(time_us: str) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(time_us))).strftime("%Y-%m-%dT%H:%M:%SZ")


def _is_whole(date: str) -> bool:
    """Tell whether the tape, 23:54:13 to 00:05:04, holds all of the candle that opens at ``date``."""
    return "2024-08-08T23:54:15Z" <= date <= "2024-08-09T00:00:00Z"


async def test_the_2021_capture_as_it_is(timescale_url: str, tmp_path: Path) -> None:
    """The frames of 2021 unaltered, noise and REST lines among them: every aggregate trade, each closed candle."""
    with gzip.open(CAPTURE_2021, "rt", encoding="utf-8") as file:
        bodies = [line.split(": ", 1)[1].rstrip("\n").encode() for line in file if ": {" in line]
    frames = list(read_frames(CAPTURE_2021))
    # REST answers stand among the frames of the capture, as a client would never get them: noise to be set aside
    assert len(bodies) > len(frames)
    messages = [json.loads(body) for body in bodies]
    trades = [m["data"] for m in messages if m.get("stream", "").endswith("@aggTrade")]
    closed = [m["data"]["k"] for m in messages if "@kline" in m.get("stream", "") and m["data"]["k"]["x"]]
    assert (len(trades), len(closed)) == (1910, 3)
    symbols = ("btcusdt", "ethusdt", "dotusdt")
    now_us = trades[0]["E"] * 1000
    async with (
        VerbatimServer(bodies, symbols=[symbol.upper() for symbol in symbols], now_us=now_us) as server,
        recording(
            timescale_url, server.ws_url, server.rest_url, tmp_path, symbols=symbols, streams=("aggTrade", "kline_1m")
        ) as run,
    ):
        await server.finished()
        await run.until(lambda: run.stats.frames_received >= len(bodies))
        final = await run.stop()
    assert final["trades_written"] == 1910
    assert final["candles_written"] == len(run.told.of(events.CandleStored)) == 3
    # depth updates are known and not wanted; REST answers are depth too
    assert final["frames_ignored"] + final["frames_set_aside"] == len(bodies) - 1910 - _count(messages, "@kline")
    for symbol in symbols:
        expected = [_trade_row(trade) for trade in trades if trade["s"].lower() == symbol]
        assert await trades_as_text(timescale_url, "spot", symbol) == sorted(expected, key=lambda row: int(row[0]))
    stored = {symbol: await candles_as_text(timescale_url, "spot", symbol, "1m") for symbol in symbols}
    assert [row for rows in stored.values() for row in rows] == [
        _candle_row(candle) for symbol in symbols for candle in closed if candle["s"].lower() == symbol
    ]
    connection = await asyncpg.connect(timescale_url)
    received = await connection.fetchval("SELECT min(received_at) FROM trades")
    await connection.close()
    assert received > datetime.now(UTC) - timedelta(minutes=5)


def _count(messages: list[dict[str, Any]], stream: str) -> int:
    return sum(stream in message.get("stream", "") for message in messages)


def _trade_row(trade: dict[str, Any]) -> tuple[str, ...]:
    return (
        str(trade["a"]), trade["p"], trade["q"], str(trade["f"]), str(trade["l"]), str(trade["T"] * 1000),
        "t" if trade["m"] else "f",
    )  # fmt: skip


def _candle_row(candle: dict[str, Any]) -> tuple[str, ...]:
    return (
        str(candle["t"] * 1000), candle["o"], candle["h"], candle["l"], candle["c"], candle["v"], candle["q"],
        str(candle["n"]), candle["V"], candle["Q"],
    )  # fmt: skip
