"""A record of the simulated exchange, read back: candles from trades are the exchange's own, trades its tape."""

from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
from recording import recording

import crypto_quant as cq
from crypto_quant.sim.clock import MAX
from crypto_quant.sim.server import SimulatedExchange
from crypto_quant.sim.symbols import invented
from crypto_quant.sim.synthetic import SyntheticTape

START_US = 1_790_898_600_000_000  # 2026-10-01T23:50:00Z, so that the record goes over midnight
UNIT = Decimal("0.00000001")


async def test_candles_from_trades_are_the_exchanges_own(database_url: str, tmp_path: Path) -> None:
    # rarely a trade, so that there are candles without any
    tape = SyntheticTape(invented(["BTCUSDT"]), rate=0.5, seed=5, start_us=START_US, seconds=1200)
    async with SimulatedExchange(tape, speed=MAX, hold_until_subscribed=True) as market:
        streams = ("aggTrade", "kline_1s", "kline_1m", "kline_5m")
        async with recording(
            database_url, market.ws_url, market.rest_url, tmp_path, symbols=("btcusdt",), streams=streams
        ) as run:
            await market.finished()
            await run.until(lambda: run.stats.candles_received >= 1190 + 18 + 3)
            await run.stop()
        with cq.connect(database_url) as db:
            trades = db.trades("btcusdt")
            truth = market.agg_trades("BTCUSDT")
            assert trades.column("trade_id").to_pylist() == [each.agg_id for each in truth]
            assert [int(each * 10**8) for each in trades.column("price").to_pylist()] == [each.price for each in truth]
            for timeframe in ("1s", "1m", "5m"):
                built = db.candles("btcusdt", timeframe, source="trades")
                opens = built.column("time").to_pylist()
                end = db.candles("btcusdt", timeframe, columns=["time"]).column("time").to_pylist()[-1]
                stored = db.candles("btcusdt", timeframe, opens[0])
                both = [each for each in built.to_pylist() if each["time"] <= end]
                assert_equal(both, stored, timeframe)
                if timeframe == "1s":
                    assert any(each["trade_count"] == 0 for each in both), "none without trades: nothing was shown"


def assert_equal(built: list[dict[str, object]], stored: pa.Table, timeframe: str) -> None:
    wanted = [each for each in stored.to_pylist() if each["time"] <= built[-1]["time"]]
    assert len(built) == len(wanted) >= {"1s": 1000, "1m": 17, "5m": 2}[timeframe]
    for ours, theirs in zip(built, wanted, strict=True):
        for name in ("quote_volume", "taker_buy_quote_volume"):
            above = ours.pop(name) - theirs.pop(name)  # type: ignore[operator]
            assert 0 <= above <= UNIT * ours["trade_count"], (name, ours)  # type: ignore[operator]
        for name in ("first_trade_id", "last_trade_id"):
            if theirs[name] is None:  # from REST, which does not tell
                ours[name] = None
        assert ours == theirs


async def test_what_was_not_recorded_is_not_read_by_accident(database_url: str, tmp_path: Path) -> None:
    tape = SyntheticTape(invented(["BTCUSDT"]), rate=5, seed=6, start_us=START_US, seconds=60)
    async with SimulatedExchange(tape, speed=MAX, hold_until_subscribed=True) as market:
        async with recording(database_url, market.ws_url, market.rest_url, tmp_path) as run:
            await market.finished()
            await run.until(lambda: run.stats.trades_received >= len(market.agg_trades("BTCUSDT")))
            await run.stop()
        with cq.connect(database_url) as db:
            assert db.gaps("btcusdt").num_rows == 0
            with pytest.raises(cq.Incomplete, match="not proven"):
                db.trades("btcusdt", "2026-10-01", "2026-10-02")
