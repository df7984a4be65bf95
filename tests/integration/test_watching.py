"""What a real recorder shows on its board, and that nothing which ails the board reaches the recording."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from recording import Running, assert_trades_equal, recording

from crypto_quant import events
from crypto_quant.ops import board
from crypto_quant.sim.server import SimulatedExchange
from crypto_quant.sim.symbols import invented
from crypto_quant.sim.synthetic import SyntheticTape
from crypto_quant.snapshot import LinkState, Phase, Snapshot, StreamState

START_US = 1_790_856_000_000_000  # 2026-10-01T12:00:00Z
STREAMS = ("aggTrade", "kline_1m")


@pytest.fixture
async def exchange() -> AsyncIterator[SimulatedExchange]:
    """An endless market in real time, that begins with the first subscription."""
    tape = SyntheticTape(invented(["BTCUSDT", "ETHUSDT"]), rate=400, seed=5, start_us=START_US)
    async with SimulatedExchange(tape, hold_until_subscribed=True) as running:
        yield running


def shown(data_dir: Path) -> Snapshot | None:
    """Return what the one recorder shows."""
    found = list(board.boards(data_dir / board.DIRECTORY))
    return found[0].snapshot if found else None


async def until_shown(run: Running, data_dir: Path, phase: Phase = Phase.RECORDING, missing: int = 0) -> Snapshot:
    def wanted() -> bool:
        snapshot = shown(data_dir)
        return snapshot is not None and snapshot.phase is phase and snapshot.counts["trades_missing"] == missing

    await run.until(wanted)
    snapshot = shown(data_dir)
    assert snapshot is not None
    return snapshot


async def test_a_recorder_shows_what_it_does(database_url: str, exchange: SimulatedExchange, tmp_path: Path) -> None:
    async with recording(
        database_url, exchange.ws_url, exchange.rest_url, tmp_path, streams=STREAMS, backfill=False
    ) as run:
        await run.until(lambda: run.stats.trades_written > 300)
        await run.until(lambda: (found := shown(tmp_path)) is not None and found.rate > 0)
        snapshot = await until_shown(run, tmp_path)
        assert snapshot.ready
        assert (snapshot.pid, snapshot.venue, snapshot.symbols) == (os.getpid(), "spot", 1)
        assert snapshot.source == exchange.ws_url
        assert [(each.state, each.streams) for each in snapshot.links] == [(LinkState.DELIVERING, 2)]
        trades, candles = snapshot.streams
        assert (trades.stream, trades.state) == ("btcusdt@aggTrade", StreamState.LIVE)
        assert trades.last > 0
        assert trades.rate > 0
        assert trades.lag_ms is not None
        assert (candles.timeframe, candles.last) == ("1m", -1)
        assert snapshot.commit_lag.count > 0
        assert snapshot.commit_lag.buckets[-1][1] == snapshot.commit_lag.count
        assert snapshot.store.last_commit_ns is not None
        assert snapshot.disks[0].free_bytes > 0
        assert snapshot.process.resident_bytes > 1_000_000

        exchange.faults.skip(7, stream="btcusdt@aggTrade")
        snapshot = await until_shown(run, tmp_path, missing=7)
        assert [(gap.symbol, gap.last - gap.first + 1) for gap in snapshot.gaps] == [("btcusdt", 7)]
        assert snapshot.events["Gap found"] == 1
        assert snapshot.happenings[-1].message == "Gap found"
        await run.until(lambda: (found := shown(tmp_path)) is not None and found.streams[0].gaps == 1)
        await run.stop()
    assert list(board.boards(tmp_path / board.DIRECTORY)) == []


async def test_a_link_that_is_away_is_shown_with_its_cause(
    database_url: str, exchange: SimulatedExchange, tmp_path: Path
) -> None:
    async with recording(database_url, exchange.ws_url, exchange.rest_url, tmp_path) as run:
        await until_shown(run, tmp_path)
        exchange.faults.refuse_connections(count=3)
        assert exchange.faults.drop_links() == 1
        await run.until(lambda: (found := shown(tmp_path)) is not None and not found.ready)
        snapshot = shown(tmp_path)
        assert snapshot is not None
        assert snapshot.links[0].state in (LinkState.WAITING, LinkState.CONNECTING)
        assert snapshot.links[0].attempt >= 1
        assert snapshot.links[0].cause
        await run.until(lambda: (found := shown(tmp_path)) is not None and found.ready, within_s=30)


async def test_a_directory_that_takes_no_board_costs_no_trade(
    database_url: str, exchange: SimulatedExchange, tmp_path: Path
) -> None:
    (tmp_path / board.DIRECTORY).write_text("in the way")
    async with recording(database_url, exchange.ws_url, exchange.rest_url, tmp_path) as run:
        await run.until(lambda: run.stats.trades_written > 500)
        await run.until(lambda: run.told.of(events.BoardLost))
        await run.stop()
    assert await assert_trades_equal(database_url, exchange, "btcusdt", whole=False) > 500
    assert len(run.told.of(events.BoardLost)) == 1
