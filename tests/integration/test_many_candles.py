"""The log of a recorder of many candles: a line a close, none of them lost in counting."""

from pathlib import Path

import pytest
from recording import recording

from crypto_quant import events
from crypto_quant.sim.clock import MAX
from crypto_quant.sim.server import SimulatedExchange
from crypto_quant.sim.symbols import invented
from crypto_quant.sim.synthetic import SyntheticTape

START_US = 1_790_898_600_000_000  # 2026-10-01T23:50:00Z


@pytest.mark.parametrize("limit", [3, 4])
async def test_a_candle_has_its_line_up_to_so_many_series(database_url: str, tmp_path: Path, limit: int) -> None:
    names = ["BTCUSDT", "ETHUSDT"]
    tape = SyntheticTape(invented(names), rate=5, seed=5, start_us=START_US, seconds=700)
    async with SimulatedExchange(tape, speed=MAX, hold_until_subscribed=True) as market:
        async with recording(
            database_url, market.ws_url, market.rest_url, tmp_path, symbols=names, streams=("kline_1m", "kline_5m"),
            candle_lines=limit,
        ) as run:  # fmt: skip
            await market.finished()
            await run.until(lambda: run.stats.candles_received >= 26)
            final = await run.stop()
        each, closes = run.told.of(events.CandleStored), run.told.of(events.CandlesStored)
        if limit == 4:
            assert (len(each), closes) == (final["candles_written"], [])
        else:
            assert each == []
            assert sum(close.candles for close in closes) == final["candles_written"]
            assert {close.timeframe for close in closes} == {"1m", "5m"}
            assert {close.symbols for close in closes} <= {1, 2}
