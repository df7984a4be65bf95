"""Absences that turn out wrong are undone: what some source has after all is stored, and is absent no more."""

from datetime import date
from pathlib import Path

import asyncpg
import pytest
from history_exchange import PrintedHistory, begin_ms, day_at
from recording import Told

from crypto_quant import compose
from crypto_quant.binance.streams import Stream
from crypto_quant.binance.venues import StreamKind
from crypto_quant.cli.repair import _repair
from crypto_quant.config import Settings
from crypto_quant.evidence import Scope
from crypto_quant.market import Timeframe

DAY = date(2021, 3, 10)
TRADES, FIVES = Stream(StreamKind.AGG_TRADE), Stream(StreamKind.KLINE, Timeframe.M5)
GONE = range(1_000_040, 1_000_060)
GONE_OPENS = range(begin_ms(DAY) + 100 * 300_000, begin_ms(DAY) + 120 * 300_000, 300_000)
ALL = Scope("spot", ("btcusdt",))


@pytest.fixture
def exchange(monkeypatch: pytest.MonkeyPatch) -> PrintedHistory:
    """A day of trades and candles, of which neither the files nor REST have some."""
    market = PrintedHistory()
    market.trades = {1_000_000 + at: begin_ms(DAY) + at * 600_000 for at in range(144)}
    market.trades |= {2_000_000: begin_ms(DAY) + 90_000_000}
    market.candles = list(range(begin_ms(DAY), begin_ms(DAY) + 86_400_000, 300_000))
    market.rest_trades = set(market.trades) - set(GONE)
    market.rest_candles = set(market.candles) - set(GONE_OPENS)
    market.file(TRADES, DAY, DAY, market.trade_lines(lambda one, at: at == DAY and one not in GONE))
    market.file(FIVES, DAY, DAY, market.candle_lines(lambda at: at not in GONE_OPENS))
    del market.trades[2_000_000]
    market.rest_trades.discard(2_000_000)
    monkeypatch.setattr(compose, "AiohttpClient", lambda: market)
    return market


def settings(url: str, tmp_path: Path) -> Settings:
    return Settings(
        symbols=("btcusdt",), streams=("aggTrade", "kline_5m"), database_url=url, data_dir=str(tmp_path),
        check_symbols=False, rest_url="http://exchange", archive_url="http://archive",
    )  # fmt: skip


async def load(url: str, tmp_path: Path) -> None:
    async with compose.open_history(
        settings(url, tmp_path), DAY, DAY, jobs=1, emit=Told(), report=lambda *_: None
    ) as history:
        await history.run.run(history.wanted)


async def rows(url: str, sql: str) -> list[tuple[int, ...]]:
    connection = await asyncpg.connect(url)
    try:
        return [tuple(row) for row in await connection.fetch(sql)]
    finally:
        await connection.close()


async def absent(url: str) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    return (
        await rows(url, "SELECT first_id, last_id FROM absences ORDER BY 1"),
        await rows(url, "SELECT first_slot, last_slot FROM candle_absences ORDER BY 1"),
    )


async def recheck(url: str, tmp_path: Path) -> int:
    return await _repair(settings(url, tmp_path), ALL, (None, None), deep=False, recheck=True)


SLOTS = GONE_OPENS[0] // 300_000, GONE_OPENS[-1] // 300_000


async def test_what_no_source_has_keeps_its_proof(postgres_url: str, exchange: PrintedHistory, tmp_path: Path) -> None:
    await load(postgres_url, tmp_path)
    known = ([(GONE[0], GONE[-1])], [SLOTS])
    assert await absent(postgres_url) == known
    before = await rows(postgres_url, "SELECT first_id, proof, proven_at FROM absences")
    assert await recheck(postgres_url, tmp_path) == 0
    exchange.rest_status = 400
    exchange.files.clear()
    assert await recheck(postgres_url, tmp_path) == 0
    assert await absent(postgres_url) == known
    assert await rows(postgres_url, "SELECT first_id, proof, proven_at FROM absences") == before


@pytest.mark.parametrize("source", ["rest", "file", "backfill", "part"])
async def test_what_a_source_has_after_all_is_stored(
    database_url: str, exchange: PrintedHistory, tmp_path: Path, source: str
) -> None:
    await load(database_url, tmp_path)
    back, opens = (GONE[5:9], GONE_OPENS[5:9]) if source == "part" else (GONE, GONE_OPENS)
    if source in ("rest", "part"):
        exchange.rest_trades = (exchange.rest_trades or set()) | set(back)
        exchange.rest_candles = (exchange.rest_candles or set()) | set(opens)
    else:
        exchange.file(TRADES, DAY, DAY, exchange.trade_lines(lambda _, at: at == DAY))
        exchange.file(FIVES, DAY, DAY, exchange.candle_lines(lambda at: day_at(at) == DAY))
    assert await recheck(database_url, tmp_path) == 0
    stored = [number for (number,) in await rows(database_url, "SELECT trade_id FROM trades ORDER BY 1")]
    assert stored == [one for one in exchange.trades if one not in GONE or one in back]
    [(candles,)] = await rows(database_url, "SELECT count(*) FROM candles")
    assert candles == 288 - 20 + len(opens)
    if source == "part":
        first, last = SLOTS
        wanted = [(GONE[0], GONE[4]), (GONE[9], GONE[-1])], [(first, first + 4), (first + 9, last)]
        assert await absent(database_url) == wanted
    else:
        assert await absent(database_url) == ([], [])
