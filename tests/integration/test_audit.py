"""The audit on real tables, and on real recorded runs."""

from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path

import asyncpg
import pytest
from recording import recording

from crypto_quant.evidence import Scope
from crypto_quant.flow.audit import Auditor
from crypto_quant.flow.report import Report
from crypto_quant.sim.clock import MAX
from crypto_quant.sim.server import SimulatedExchange
from crypto_quant.sim.symbols import invented
from crypto_quant.sim.synthetic import SyntheticTape
from crypto_quant.store.audit_queries import open_reader

START_US = 1_790_898_600_000_000  # 2026-10-01T23:50:00Z, so that a record goes over midnight
NOW_NS = 1_800_000_000_000_000_000
DAYS = [date(2026, 10, 1), date(2026, 10, 2)]


async def audit(
    url: str, *symbols: str, first: date | None = None, last: date | None = None, deep: bool = True
) -> Report:
    async with open_reader(url) as reader:
        auditor = Auditor(reader, Scope(None, symbols), first, last, deep=deep)
        return await auditor.run(database=reader.database, now_ns=NOW_NS, version="0")


@pytest.fixture
async def recorded(database_url: str, tmp_path: Path) -> AsyncIterator[tuple[str, SimulatedExchange]]:
    """A whole record of twenty minutes of two symbols over midnight."""
    tape = SyntheticTape(invented(["BTCUSDT", "ETHUSDT"]), rate=20, seed=5, start_us=START_US, seconds=1200)
    async with SimulatedExchange(tape, speed=MAX, hold_until_subscribed=True) as market:
        streams = ("aggTrade", "kline_1s", "kline_1m", "kline_5m")
        async with recording(
            database_url, market.ws_url, market.rest_url, tmp_path, symbols=("btcusdt", "ethusdt"), streams=streams
        ) as run:
            await market.finished()
            await run.until(lambda: run.stats.candles_received >= 2 * (1200 + 19 + 3))
            await run.stop()
        yield database_url, market


async def execute(url: str, statement: str, *values: object) -> str:
    connection = await asyncpg.connect(url)
    try:
        status: str = await connection.execute(statement, *values)
        return status
    finally:
        await connection.close()


async def test_a_whole_record_is_complete(recorded: tuple[str, SimulatedExchange]) -> None:
    url, market = recorded
    report = await audit(url)
    assert report.complete, report.to_json()
    assert [each.symbol for each in report.symbols] == ["btcusdt", "ethusdt"]
    for symbol in report.symbols:
        truth = [each.agg_id for each in market.agg_trades(symbol.symbol.upper())]
        assert (symbol.rows, symbol.first_id, symbol.last_id) == (len(truth), truth[0], truth[-1])
        assert [each.day for each in symbol.days] == ["2026-10-01", "2026-10-02"]
    minutes = next(each for each in report.candles if (each.symbol, each.timeframe) == ("btcusdt", "1m"))
    assert minutes.equal >= 17
    assert minutes.different == 0
