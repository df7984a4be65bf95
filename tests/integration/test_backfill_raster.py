"""Candles that opened off their raster: stored, whole to every judge, and fetched again when they are lost."""

from datetime import date, timedelta
from pathlib import Path

import asyncpg
import pytest
from exports import exported
from history_exchange import PrintedHistory, begin_ms, day_at
from recording import Told

from crypto_quant import compose
from crypto_quant.binance.streams import Stream
from crypto_quant.binance.venues import StreamKind
from crypto_quant.cli.repair import _repair
from crypto_quant.config import Settings
from crypto_quant.evidence import Scope
from crypto_quant.flow.audit import Auditor
from crypto_quant.flow.loading import Outcome
from crypto_quant.flow.report import Report
from crypto_quant.manifest import Series
from crypto_quant.market import Timeframe
from crypto_quant.store.audit_queries import open_reader

FIRST, LAST = date(2018, 2, 8), date(2018, 2, 10)
HOURS = Stream(StreamKind.KLINE, Timeframe.M5)
STEP_MS = 300_000
# as they were: from this moment of the 8th to the 10th each candle opened so much behind its five minutes
SHIFT_MS = 194_789
SHIFTED = range(begin_ms(FIRST) + 23 * 3_600_000, begin_ms(LAST) + 9 * 3_600_000)


@pytest.fixture
def exchange(monkeypatch: pytest.MonkeyPatch) -> PrintedHistory:
    """An exchange with daily files of three days of candles."""
    market = PrintedHistory()
    raster = range(begin_ms(FIRST), begin_ms(LAST + timedelta(days=1)), STEP_MS)
    market.candles = [at + SHIFT_MS if at in SHIFTED else at for at in raster]
    for day in (FIRST, FIRST + timedelta(days=1), LAST):
        market.file(HOURS, day, day, market.candle_lines(lambda at: day_at(at) == day))  # noqa: B023
    monkeypatch.setattr(compose, "AiohttpClient", lambda: market)
    return market


def settings(url: str, tmp_path: Path) -> Settings:
    return Settings(
        symbols=("btcusdt",), streams=("kline_5m",), database_url=url, data_dir=str(tmp_path),
        check_symbols=False, rest_url="http://exchange", archive_url="http://archive",
    )  # fmt: skip


async def load(url: str, tmp_path: Path, first: date = FIRST, last: date = LAST) -> Outcome:
    async with compose.open_history(
        settings(url, tmp_path), first, last, jobs=1, emit=Told(), report=lambda *_: None
    ) as history:
        [outcome] = await history.run.run(history.wanted)
    return outcome


async def audit(url: str, *, deep: bool) -> Report:
    async with open_reader(url) as reader:
        auditor = Auditor(reader, Scope(), deep=deep)
        return await auditor.run(database=reader.database, now_ns=1_800_000_000_000_000_000, version="0")


async def opens(url: str) -> list[int]:
    connection = await asyncpg.connect(url)
    try:
        rows = await connection.fetch('SELECT (extract(epoch FROM "time") * 1000)::bigint FROM candles ORDER BY 1')
        return [row[0] for row in rows]
    finally:
        await connection.close()


async def test_a_record_with_them_is_whole(database_url: str, exchange: PrintedHistory, tmp_path: Path) -> None:
    outcome = await load(database_url, tmp_path)
    assert await opens(database_url) == exchange.candles
    assert (outcome.missing, outcome.absent, outcome.days_without_data) == (0, 0, 0)
    again = await load(database_url, tmp_path)
    assert (again.days_proven, again.rows_read) == (3, 0)
    for deep in (False, True):
        report = await audit(database_url, deep=deep)
        assert report.complete
        assert report.candles[0].misplaced == len(SHIFTED) // STEP_MS


async def test_an_export_has_them_all(postgres_url: str, exchange: PrintedHistory, tmp_path: Path) -> None:
    await load(postgres_url, tmp_path / "data")
    [outcome] = exported(postgres_url, tmp_path / "lake", "parquet", Series("spot", "candles", "btcusdt", "5m"))
    assert outcome.rows == len(exchange.candles)


async def test_a_record_that_begins_with_one_is_whole(
    postgres_url: str, exchange: PrintedHistory, tmp_path: Path
) -> None:
    day = FIRST + timedelta(days=1)
    await load(postgres_url, tmp_path / "data", day, day)
    assert await opens(postgres_url) == [at for at in exchange.candles if day_at(at) == day]
    assert (await audit(postgres_url, deep=True)).complete
    [outcome] = exported(postgres_url, tmp_path / "lake", "parquet", Series("spot", "candles", "btcusdt", "5m"))
    assert outcome.rows == 288


@pytest.mark.parametrize("from_files", [True, False])
async def test_repair_fetches_those_that_are_lost(
    postgres_url: str, exchange: PrintedHistory, tmp_path: Path, from_files: bool
) -> None:
    await load(postgres_url, tmp_path)
    connection = await asyncpg.connect(postgres_url)
    await connection.execute(
        """DELETE FROM candles WHERE "time" >= '2018-02-08 22:00Z' AND "time" < '2018-02-09 01:00Z'"""
    )
    await connection.close()
    if not from_files:
        exchange.files.clear()
    exchange.most = 7
    assert not (await audit(postgres_url, deep=False)).complete
    code = await _repair(settings(postgres_url, tmp_path), Scope("spot", ("btcusdt",)), (None, None), deep=False)
    assert code == 0
    assert await opens(postgres_url) == exchange.candles
