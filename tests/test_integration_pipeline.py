"""The whole pipeline: a local WebSocket server → the recorder → a real database.

Everything is real but the exchange, which is the project's simulated one, over real sockets.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
from recording import assert_candles_equal, assert_trades_equal, recording

from crypto_quant import events
from crypto_quant.errors import ConfigError, StoreDenied, StoreUnavailable
from crypto_quant.sim.clock import MAX
from crypto_quant.sim.limits import Limits
from crypto_quant.sim.server import SimulatedExchange
from crypto_quant.sim.symbols import invented
from crypto_quant.sim.synthetic import SyntheticTape
from crypto_quant.store.as_text import trades_as_text

START_US = 1_790_856_000_000_000  # 2026-10-01T12:00:00Z
SYMBOLS = ("btcusdt", "ethusdt")


def tape(seconds: float | None = None, rate: float = 400.0, seed: int = 5) -> SyntheticTape:
    """Return a market of two symbols."""
    return SyntheticTape(invented(["BTCUSDT", "ETHUSDT"]), rate=rate, seed=seed, start_us=START_US, seconds=seconds)


@pytest.fixture
async def exchange() -> AsyncIterator[SimulatedExchange]:
    """An endless market in real time, that begins with the first subscription."""
    async with SimulatedExchange(tape(), hold_until_subscribed=True) as running:
        yield running


# -- the full pipeline ------------------------------------------------------------------------------------


async def test_full_pipeline(database_url: str, tmp_path: Path) -> None:
    """Trades and candles of two symbols and three timeframes, every one of them, to the last digit."""
    timeframes = ("1s", "1m", "5m")
    streams = ("aggTrade", *(f"kline_{each}" for each in timeframes))
    async with SimulatedExchange(tape(seconds=630), speed=MAX, hold_until_subscribed=True) as market:
        async with recording(
            database_url, market.ws_url, market.rest_url, tmp_path, symbols=SYMBOLS, streams=streams
        ) as run:
            await market.finished()
            await run.until(lambda: run.stats.candles_received >= 2 * (1500 + 25 + 5))
            final = await run.stop()
        total = 0
        for symbol in SYMBOLS:
            total += await assert_trades_equal(database_url, market, symbol)
            for timeframe in timeframes:
                stored = await assert_candles_equal(database_url, market, symbol, timeframe)
                # 630 s of trades and 900 s without any, from a full hour on; time goes on in real time after that
                assert len(stored) >= {"1s": 1530, "1m": 25, "5m": 5}[timeframe]
    assert total > 50_000
    assert final["trades_received"] == final["trades_written"] == total
    assert final["pending_trades"] == final["trades_duplicate"] == final["trades_set_aside"] == 0
    assert final["gaps"] == final["frames_set_aside"] == 0
    told = run.told.of(events.CandleStored)
    assert len(told) == final["candles_written"] > 1000
    assert {(event.symbol, event.timeframe) for event in told} == {(s, t) for s in SYMBOLS for t in timeframes}
    assert told[0].message == "CLOSED candle stored"
    assert told[0].open_time.startswith("2026-10-01T12:")


async def test_as_many_links_as_the_limits_ask_for(postgres_url: str, tmp_path: Path) -> None:
    names = [f"S{number}USDT" for number in range(400)]
    market_tape = SyntheticTape(invented(names), rate=2000, seed=3, start_us=START_US)
    streams = ("aggTrade", "kline_1s", "kline_1m")
    async with SimulatedExchange(market_tape) as market:
        async with recording(
            postgres_url, market.ws_url, market.rest_url, tmp_path, symbols=names, streams=streams
        ) as run:
            await run.until(lambda: len(run.told.of(events.Subscribed)) == 2)
            assert market.links == run.stats.links == 2
            assert sum(event.streams for event in run.told.of(events.Subscribed)) == 1200
            await run.until(lambda: run.stats.candles_written >= 400)
        for symbol in ("s0usdt", "s399usdt"):
            await assert_trades_equal(postgres_url, market, symbol, whole=False)


# -- connection failure and recovery ----------------------------------------------------------------------


async def test_connection_failure_and_recovery(timescale_url: str, exchange: SimulatedExchange, tmp_path: Path) -> None:
    """A dropped link comes back by itself; what was missed meanwhile is known, to the id."""
    async with recording(
        timescale_url, exchange.ws_url, exchange.rest_url, tmp_path, symbols=SYMBOLS, backfill=False
    ) as run:
        await run.until(lambda: run.stats.trades_written > 100)
        assert exchange.faults.drop_links() == 1
        await run.until(lambda: len(run.told.of(events.LinkOpened)) == 2)
        seen = run.stats.trades_written
        await run.until(lambda: run.stats.trades_written > seen + 100)
        final = await run.stop()
    assert final["reconnects"] == 1
    ended = run.told.of(events.LinkEnded)
    assert [event.code for event in ended] == [1006]
    stored = 0
    for symbol in SYMBOLS:
        count = await assert_trades_equal(timescale_url, exchange, symbol, whole=False)
        ids = [int(row[0]) for row in await trades_as_text(timescale_url, "spot", symbol)]
        holes = [(g.first, g.last) for g in run.told.of(events.GapFound) if g.symbol == symbol]
        missing = sorted(set(range(ids[0], ids[-1] + 1)) - set(ids))
        assert missing == [number for first, last in holes for number in range(first, last + 1)]
        stored += count
    assert stored == final["trades_written"]


async def test_refused_connections_are_tried_again(
    postgres_url: str, exchange: SimulatedExchange, tmp_path: Path
) -> None:
    exchange.faults.refuse_connections(count=3)
    async with recording(postgres_url, exchange.ws_url, exchange.rest_url, tmp_path) as run:
        await run.until(lambda: run.stats.trades_written > 20)
        assert run.stats.reconnects == 3
        assert [event.attempt for event in run.told.of(events.ReconnectScheduled)] == [1, 2, 3]


async def test_server_shutdown_replaces_the_link(
    postgres_url: str, exchange: SimulatedExchange, tmp_path: Path
) -> None:
    async with recording(postgres_url, exchange.ws_url, exchange.rest_url, tmp_path) as run:
        await run.until(lambda: run.stats.trades_written > 20)
        exchange.faults.server_shutdown()
        await run.until(lambda: len(run.told.of(events.LinkOpened)) == 2)
        assert [event.cause for event in run.told.of(events.LinkExpiring)] == ["server shutdown"]


async def test_pings_are_answered_in_time(postgres_url: str, tmp_path: Path) -> None:
    """A link whose pongs came late or not at all would be closed with 1008."""
    limits = Limits(ping_interval_s=0.25, pong_deadline_s=0.5)
    async with (
        SimulatedExchange(tape(), hold_until_subscribed=True, limits=limits) as market,
        recording(postgres_url, market.ws_url, market.rest_url, tmp_path) as run,
    ):
        await run.until(lambda: run.stats.trades_written > 20)
        await asyncio.sleep(2.0)
        assert run.stats.links == 1
        assert not run.told.of(events.LinkEnded)


async def test_duplicates_and_reordering_leave_no_trace(
    timescale_url: str, exchange: SimulatedExchange, tmp_path: Path
) -> None:
    async with recording(timescale_url, exchange.ws_url, exchange.rest_url, tmp_path) as run:
        await run.until(lambda: run.stats.trades_written > 50)
        exchange.faults.duplicate(20, stream="btcusdt@aggTrade")
        exchange.faults.reorder(20, stream="btcusdt@aggTrade")
        await run.until(lambda: run.stats.trades_duplicate >= 20)
        seen = run.stats.trades_written
        await run.until(lambda: run.stats.trades_written > seen + 100)
        final = await run.stop()
    assert final["trades_missing"] == 0
    stored = await assert_trades_equal(timescale_url, exchange, "btcusdt", whole=False)
    assert stored == final["trades_written"] == final["trades_received"] - final["trades_duplicate"]


async def test_skipped_trades_are_known(postgres_url: str, exchange: SimulatedExchange, tmp_path: Path) -> None:
    async with recording(postgres_url, exchange.ws_url, exchange.rest_url, tmp_path, backfill=False) as run:
        await run.until(lambda: run.stats.trades_written > 50)
        exchange.faults.skip(3, stream="btcusdt@aggTrade")
        await run.until(lambda: run.stats.missing_trades == 3)
        final = await run.stop()
    assert final["trades_missing"] == 3
    assert sum(event.last - event.first + 1 for event in run.told.of(events.GapFound)) == 3


async def test_a_garbage_frame_takes_no_neighbour_with_it(
    postgres_url: str, exchange: SimulatedExchange, tmp_path: Path
) -> None:
    bad = [
        b"not json", b"[1,2]", b"{}", b'{"stream":"btcusdt@aggTrade","data":{"e":"wedding","E":1}}', b"\xff\xfe",
        b'{"stream":"x","data":{"e":"aggTrade","E":1,"s":"BTCUSDT","a":5,"p":"NaN","q":"1","f":1,"l":1,"T":1,"m":true}}',
    ]  # fmt: skip
    async with recording(postgres_url, exchange.ws_url, exchange.rest_url, tmp_path) as run:
        for payload in bad:
            await run.until(lambda: run.stats.trades_written > 10)
            exchange.faults.garbage(payload)
        await run.until(lambda: run.stats.frames_set_aside == len(bad))
        final = await run.stop()
    assert final["reconnects"] == final["gaps"] == 0
    assert final["trades_written"] == final["trades_received"]
    kept = "".join(path.read_text() for path in (tmp_path / "set-aside").glob("*"))
    assert kept.count("\n") == len(bad)
    assert "wedding" in kept


async def test_a_missing_final_candle_is_fetched(postgres_url: str, tmp_path: Path) -> None:
    """REST gives the candle that never said goodbye; the open candle that it returns last is not stored."""
    async with SimulatedExchange(tape(), speed=20, hold_until_subscribed=True) as market:
        market.faults.missing_final_candle(stream="btcusdt@kline_1m")
        async with recording(
            postgres_url, market.ws_url, market.rest_url, tmp_path, symbols=SYMBOLS, streams=("kline_1m",)
        ) as run:
            await run.until(lambda: run.stats.candles_fetched >= 2)
            await run.stop()
        fetched = [event for event in run.told.of(events.CandleStored) if event.source == "rest"]
        assert fetched
        assert {event.symbol for event in fetched} == {"btcusdt"}
        assert await assert_candles_equal(postgres_url, market, "btcusdt", "1m")
        assert await assert_candles_equal(postgres_url, market, "ethusdt", "1m")


# -- batching ---------------------------------------------------------------------------------------------


async def test_batching(database_url: str, tmp_path: Path) -> None:
    """A batch is stored when it is full, and when it is old."""
    async with SimulatedExchange(tape(rate=2000), hold_until_subscribed=True) as market:
        async with recording(
            database_url, market.ws_url, market.rest_url, tmp_path, symbols=SYMBOLS, batch_size=100, batch_age=60.0
        ) as run:
            await run.until(lambda: run.stats.batches_written >= 5)
            batches = [event.rows for event in run.told.of(events.BatchStored)]
            assert all(rows >= 100 for rows in batches)
            final = await run.stop()
        assert final["batch_size"] == 100
        assert final["pending_trades"] == 0
        async with recording(
            database_url, market.ws_url, market.rest_url, tmp_path, symbols=("ethusdt",), batch_size=1_000_000
        ) as run:
            await run.until(lambda: run.stats.batches_written >= 3)
            assert max(event.rows for event in run.told.of(events.BatchStored)) < 1000
        for symbol in SYMBOLS:
            await assert_trades_equal(database_url, market, symbol, whole=False)


async def test_a_row_that_the_database_refuses_is_set_aside(
    database_url: str, exchange: SimulatedExchange, tmp_path: Path
) -> None:
    """Bisection finds every refused row; all its neighbours are stored."""
    async with recording(database_url, exchange.ws_url, exchange.rest_url, tmp_path) as run:
        await run.until(lambda: run.stats.trades_written > 20)
        connection = await asyncpg.connect(database_url)
        await connection.execute("ALTER TABLE trades ADD CONSTRAINT no_thirteen CHECK (trade_id % 13 <> 0) NOT VALID")
        await connection.close()
        await run.until(lambda: run.stats.trades_set_aside >= 5)
        final = await run.stop()
        refused = final["trades_set_aside"]
    assert final["trades_received"] == final["trades_written"] + refused
    assert final["pending_trades"] == 0
    truth = {each.agg_id for each in exchange.agg_trades("BTCUSDT")}
    stored = {int(row[0]) for row in await trades_as_text(database_url, "spot", "btcusdt")}
    kept = [
        json.loads(line) for path in (tmp_path / "set-aside").glob("rows*") for line in path.read_text().splitlines()
    ]
    assert len(kept) == refused
    apart = {int(line["raw"].split("\t")[3]) for line in kept}
    assert all(number % 13 == 0 for number in apart)
    assert stored | apart == {number for number in truth if number <= max(stored | apart)}
    assert "no_thirteen" in kept[0]["reason"]


# -- data integrity ---------------------------------------------------------------------------------------


async def test_replaying_the_same_tape_adds_no_row(database_url: str, tmp_path: Path) -> None:
    """A restart of everything, the same frames again: the counts stay."""
    counts = []
    for _ in range(2):
        async with SimulatedExchange(tape(seconds=65), speed=MAX, hold_until_subscribed=True) as market:
            async with recording(
                database_url,
                market.ws_url,
                market.rest_url,
                tmp_path,
                symbols=SYMBOLS,
                streams=("aggTrade", "kline_1m"),
            ) as run:
                await market.finished()
                await run.until(lambda: run.stats.candles_received >= 20)
                final = await run.stop()
            counts.append([await assert_trades_equal(database_url, market, symbol) for symbol in SYMBOLS])
            counts[-1] += [len(await assert_candles_equal(database_url, market, s, "1m")) for s in SYMBOLS]
    assert counts[0] == counts[1]
    assert final["trades_written"] == final["candles_written"] == 0
    assert final["trades_duplicate"] == final["trades_received"] == sum(counts[0][:2])
    assert final["candles_duplicate"] == final["candles_received"]
    assert not run.told.of(events.CandleStored)


async def test_two_recorders_share_one_table(timescale_url: str, exchange: SimulatedExchange, tmp_path: Path) -> None:
    async with (
        recording(timescale_url, exchange.ws_url, exchange.rest_url, tmp_path, symbols=SYMBOLS) as one,
        recording(timescale_url, exchange.ws_url, exchange.rest_url, tmp_path, symbols=SYMBOLS) as two,
    ):
        await two.until(lambda: one.stats.trades_received > 400 and two.stats.trades_received > 400)
        finals = [await one.stop(), await two.stop()]
    total = sum([await assert_trades_equal(timescale_url, exchange, symbol, whole=False) for symbol in SYMBOLS])
    assert sum(final["trades_written"] for final in finals) == total
    assert sum(final["trades_duplicate"] for final in finals) > 0


async def test_a_database_that_goes_away_and_comes_back(
    timescale_url: str, exchange: SimulatedExchange, tmp_path: Path
) -> None:
    """Rows wait in order while connections are cut and refused; nothing is lost or doubled."""
    database = timescale_url.rpartition("/")[2].partition("?")[0]
    async with recording(timescale_url, exchange.ws_url, exchange.rest_url, tmp_path, symbols=SYMBOLS) as run:
        await run.until(lambda: run.stats.trades_written > 50)
        admin = await asyncpg.connect(os.environ["CRYPTO_QUANT_TEST_TIMESCALE_URL"])
        await admin.execute(f"ALTER DATABASE {database} ALLOW_CONNECTIONS false")
        await admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", database)
        await run.until(lambda: run.told.of(events.StoreLost))
        await asyncio.sleep(1.0)
        assert run.stats.pending_trades > 0
        await admin.execute(f"ALTER DATABASE {database} ALLOW_CONNECTIONS true")
        await admin.close()
        await run.until(lambda: run.told.of(events.StoreBack))
        await run.until(lambda: run.stats.pending_trades < 200)
        final = await run.stop()
    assert final["store_failures"] > 0
    assert final["pending_trades"] == final["trades_duplicate"] == final["gaps"] == 0
    total = sum([await assert_trades_equal(timescale_url, exchange, symbol, whole=False) for symbol in SYMBOLS])
    assert total == final["trades_written"] == final["trades_received"]


# -- graceful shutdown ------------------------------------------------------------------------------------

DRAIN = ["stopped accepting", "flushed pending batches", "closed the WebSocket", "closed the database"]


def start(database_url: str, exchange: SimulatedExchange, data_dir: Path, *more: str) -> "subprocess.Popen[str]":
    """Start ``crypto-quant record`` as a program of its own."""
    command = [
        sys.executable, "-m", "crypto_quant", "record", *SYMBOLS, "--stream", "aggTrade", "--stream", "kline_1s",
        "--database-url", database_url, "--ws-url", exchange.ws_url, "--rest-url", exchange.rest_url, *more,
    ]  # fmt: skip
    environment = {**os.environ, "CRYPTO_QUANT_DATA_DIR": str(data_dir)}
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)


async def lines_until(process: "subprocess.Popen[str]", event: str) -> list[dict[str, object]]:
    """Read the log until a line tells of ``event``."""
    lines: list[dict[str, object]] = []
    assert process.stderr is not None
    while line := await asyncio.to_thread(process.stderr.readline):
        lines.append(json.loads(line))
        if lines[-1]["event"] == event:
            return lines
    raise AssertionError(lines[-5:])


async def rest_of(process: "subprocess.Popen[str]") -> list[dict[str, object]]:
    """Read the log to its end and reap the process."""
    _, text = await asyncio.to_thread(process.communicate)
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
async def test_graceful_shutdown(
    timescale_url: str, exchange: SimulatedExchange, tmp_path: Path, number: signal.Signals
) -> None:
    """A signal drains in the founding order, and nothing that was received is lost."""
    # a batch that would stay pending for a minute shows that it is the drain which stores it
    process = start(timescale_url, exchange, tmp_path, "--batch-size", "100000", "--batch-age", "60")
    await lines_until(process, "Subscribed")
    await asyncio.sleep(1.5)
    process.send_signal(number)
    lines = await rest_of(process)
    assert process.returncode == 0
    assert [line["step"] for line in lines if line["event"] == "Drain"] == DRAIN
    final = lines[-1]
    assert final["event"] == "Final statistics"
    assert final["trades_received"] == final["trades_written"] > 100  # type: ignore[operator]
    assert final["pending_trades"] == final["pending_candles"] == 0
    total = sum([await assert_trades_equal(timescale_url, exchange, symbol, whole=False) for symbol in SYMBOLS])
    assert total == final["trades_written"]


async def test_duration_ends_in_the_same_drain(postgres_url: str, exchange: SimulatedExchange, tmp_path: Path) -> None:
    process = start(postgres_url, exchange, tmp_path, "--duration", "2", "--batch-age", "60", "--stats-interval", "0.5")
    lines = await rest_of(process)
    assert process.returncode == 0
    assert [line["step"] for line in lines if line["event"] == "Drain"] == DRAIN
    reports = [line for line in lines if line["event"] == "Pipeline statistics"]
    assert len(reports) >= 3
    assert list(reports[0])[:3] == ["event", "level", "timestamp"]
    assert {"trades_received", "trades_written", "pending_trades", "elapsed_seconds", "trades_per_second"} <= set(
        reports[0]
    )
    assert lines[-1]["trades_written"] == lines[-1]["trades_received"] > 100  # type: ignore[operator]


async def test_a_second_interrupt_ends_at_once_and_keeps_the_rows(
    timescale_url: str, exchange: SimulatedExchange, tmp_path: Path
) -> None:
    """With the database locked and no spool a second Ctrl-C ends the drain and says where the rows are."""
    process = start(timescale_url, exchange, tmp_path, "--batch-age", "0.2", "--no-spool")
    await lines_until(process, "CLOSED candle stored")
    lock = await asyncpg.connect(timescale_url)
    transaction = lock.transaction()
    await transaction.start()
    await lock.execute("LOCK TABLE trades, candles IN ACCESS EXCLUSIVE MODE")
    await asyncio.sleep(1.0)
    process.send_signal(signal.SIGINT)
    await lines_until(process, "Drain")
    await asyncio.sleep(0.5)
    process.send_signal(signal.SIGINT)
    lines = await rest_of(process)
    await transaction.rollback()
    await lock.close()
    assert process.returncode == 130
    left = [line for line in lines if line["event"] == "Rows not stored"]
    assert left
    final = lines[-1]
    assert final["event"] == "Final statistics"
    # the hint loads them, and then nothing is missing
    for line in left:
        environment = {**os.environ, "CRYPTO_QUANT_DATABASE_URL": timescale_url}
        environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
        done = await asyncio.to_thread(  # noqa: S604  # the hint is meant for a shell
            subprocess.run,
            str(line["hint"]).removeprefix("Load them with: "),
            shell=True,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
    total = sum([await assert_trades_equal(timescale_url, exchange, symbol, whole=False) for symbol in SYMBOLS])
    assert total == final["trades_received"]


# -- what a person may get wrong --------------------------------------------------------------------------


async def test_mistakes_are_told_before_anything_is_started(
    postgres_url: str, exchange: SimulatedExchange, tmp_path: Path
) -> None:
    async def refusal(**more: object) -> str:
        settings = {"symbols": ("btcusdt",), **more}
        with pytest.raises((ConfigError, StoreDenied, StoreUnavailable)) as caught:
            async with recording(
                str(settings.pop("url", postgres_url)),
                exchange.ws_url,
                exchange.rest_url,
                tmp_path,
                **settings,  # type: ignore[arg-type]
            ):
                raise AssertionError("it started")
        return str(caught.value)

    assert "btcusdt" in await refusal(symbols=("btcusdtt",))
    assert "aggTrade" in await refusal(streams=("aggtrade",))
    assert "kline_5m" in await refusal(streams=("kline_5M",))
    assert "Is the database running" in await refusal(url="postgresql://test:test@127.0.0.1:1/nowhere")
    wrong = postgres_url.replace("//test:", "//nobody_at_all:")
    assert "nobody_at_all" in await refusal(url=wrong)
    assert exchange.links == 0
