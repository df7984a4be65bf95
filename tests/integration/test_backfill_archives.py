"""Days of the past, from the simulated exchange's archive and REST into real databases, held against its tape."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path

import asyncpg
import pytest
from loading import load_history
from recording import Told, assert_candles_equal, assert_trades_equal

from crypto_quant import events
from crypto_quant.compose import open_history
from crypto_quant.config import Settings
from crypto_quant.errors import ConfigError
from crypto_quant.sim.server import SimulatedExchange
from crypto_quant.sim.symbols import invented
from crypto_quant.sim.synthetic import SyntheticTape

# two hours before midnight at a month's end; the exchange is two hours into the next day when it opens
START_US = 1_790_805_600_000_000  # 2026-09-30T22:00:00Z
YESTERDAY = date(2026, 9, 30)
TODAY = date(2026, 10, 1)
MIDNIGHT_US = START_US + 7_200_000_000


@pytest.fixture
async def exchange() -> AsyncIterator[SimulatedExchange]:
    """A market whose first day, of two hours, is over; time stands still, so that the tape can be compared."""
    tape = SyntheticTape(invented(["BTCUSDT", "ETHUSDT"]), rate=4, seed=11, start_us=START_US)
    async with SimulatedExchange(tape, lead_s=4 * 3600 + 30, hold_until_subscribed=True) as running:
        yield running


def day_one(exchange: SimulatedExchange, symbol: str = "BTCUSDT") -> list[int]:
    """Return the ids printed on the first day."""
    return [one.agg_id for one in exchange.agg_trades(symbol) if one.time_us < MIDNIGHT_US]


async def ids_of(url: str, symbol: str = "btcusdt") -> list[int]:
    connection = await asyncpg.connect(url)
    try:
        rows = await connection.fetch("SELECT trade_id FROM trades WHERE symbol = $1 ORDER BY trade_id", symbol)
        return [row["trade_id"] for row in rows]
    finally:
        await connection.close()


async def coverage_of(url: str, symbol: str = "btcusdt") -> list[tuple[int, int, str]]:
    connection = await asyncpg.connect(url)
    try:
        rows = await connection.fetch(
            "SELECT first_id, last_id, source FROM coverage WHERE symbol = $1 ORDER BY first_id", symbol
        )
        return [tuple(row) for row in rows]
    finally:
        await connection.close()


async def test_a_day_from_the_archive_is_the_tape_and_is_not_loaded_twice(
    database_url: str, exchange: SimulatedExchange, tmp_path: Path
) -> None:
    wanted = day_one(exchange)
    [outcome] = await load_history(database_url, exchange, tmp_path, YESTERDAY, YESTERDAY)
    assert await ids_of(database_url) == wanted
    await assert_trades_equal(database_url, exchange, "btcusdt", whole=False)
    assert outcome.rows_written == outcome.rows_read == len(wanted)
    assert (outcome.files, outcome.rows_from_rest, outcome.missing, outcome.failures) == (1, 0, 0, [])
    assert await coverage_of(database_url) == [(wanted[0], wanted[-1], "archive")]
    assert not list((tmp_path / "archive").iterdir()), "a file that is stored is not kept"

    [again] = await load_history(database_url, exchange, tmp_path, YESTERDAY, YESTERDAY)
    assert (again.days_proven, again.files, again.rows_read, again.rows_written) == (1, 0, 0, 0)
    assert await ids_of(database_url) == wanted


@pytest.mark.parametrize("stream", ["aggTrade", "kline_1m"])
async def test_of_several_runs_in_one_data_directory_one_fetches_and_the_others_wait(
    database_url: str, exchange: SimulatedExchange, tmp_path: Path, stream: str
) -> None:
    runs = (load_history(database_url, exchange, tmp_path, YESTERDAY, YESTERDAY, streams=(stream,)) for _ in range(3))
    outcomes = [outcome for [outcome] in await asyncio.gather(*runs)]
    assert [outcome.failures for outcome in outcomes] == [[], [], []]
    assert sorted((outcome.files, outcome.days_proven) for outcome in outcomes) == [(0, 1), (0, 1), (1, 0)]
    assert sum(outcome.rows_read > 0 for outcome in outcomes) == 1
    assert not list((tmp_path / "archive").iterdir())
    if stream == "aggTrade":
        assert await ids_of(database_url) == day_one(exchange)


async def test_today_comes_over_rest_and_joins_the_archive(
    timescale_url: str, exchange: SimulatedExchange, tmp_path: Path
) -> None:
    outcomes = await load_history(
        timescale_url, exchange, tmp_path, YESTERDAY, TODAY, symbols=("btcusdt", "ETHUSDT"), jobs=4
    )
    for outcome, symbol in zip(outcomes, ("btcusdt", "ethusdt"), strict=True):
        count = await assert_trades_equal(timescale_url, exchange, symbol)
        assert outcome.rows_written == count
        assert 0 < outcome.rows_from_rest < count
        ids = await ids_of(timescale_url, symbol)
        sources = await coverage_of(timescale_url, symbol)
        last = day_one(exchange, symbol.upper())[-1]
        assert sources == [(ids[0], last, "archive"), (last + 1, ids[-1], "rest")]


async def test_a_month_that_is_over_is_one_file(
    timescale_url: str, exchange: SimulatedExchange, tmp_path: Path
) -> None:
    told = Told()
    [outcome] = await load_history(timescale_url, exchange, tmp_path, date(2026, 9, 1), YESTERDAY, told=told)
    assert [event.file for event in told.of(events.ArchiveLoaded)] == ["BTCUSDT-aggTrades-2026-09.zip"]
    assert await ids_of(timescale_url) == day_one(exchange)
    assert outcome.files == 1


async def test_a_month_without_a_file_comes_by_the_day(
    timescale_url: str, exchange: SimulatedExchange, tmp_path: Path
) -> None:
    exchange.faults.archive("missing", name="aggTrades-2026-09.zip")
    [outcome] = await load_history(timescale_url, exchange, tmp_path, date(2026, 9, 1), YESTERDAY)
    assert await ids_of(timescale_url) == day_one(exchange)
    assert (outcome.files, outcome.days_without_data) == (1, 29)


async def test_days_before_the_listing_hold_nothing_and_ask_the_archive_for_nothing(
    postgres_url: str, exchange: SimulatedExchange, tmp_path: Path
) -> None:
    [outcome] = await load_history(postgres_url, exchange, tmp_path, date(2026, 9, 28), date(2026, 9, 29))
    assert (outcome.days_without_data, outcome.files, outcome.rows_written) == (2, 0, 0)


@pytest.mark.parametrize("flaw", ["unordered", "duplicated", "header"])
async def test_flaws_of_a_file_leave_no_trace_in_the_table(
    timescale_url: str, exchange: SimulatedExchange, tmp_path: Path, flaw: str
) -> None:
    exchange.faults.archive(flaw)
    wanted = day_one(exchange)
    [outcome] = await load_history(timescale_url, exchange, tmp_path, YESTERDAY, YESTERDAY)
    assert await ids_of(timescale_url) == wanted
    await assert_trades_equal(timescale_url, exchange, "btcusdt", whole=False)
    assert await coverage_of(timescale_url) == [(wanted[0], wanted[-1], "archive")]
    assert outcome.conflicts == 0
    assert (outcome.duplicates > 0) == (flaw == "duplicated")


async def test_holes_of_a_file_are_filled_over_rest(
    timescale_url: str, exchange: SimulatedExchange, tmp_path: Path
) -> None:
    exchange.faults.archive("holes")
    [outcome] = await load_history(timescale_url, exchange, tmp_path, YESTERDAY, YESTERDAY)
    assert await ids_of(timescale_url) == day_one(exchange)
    assert outcome.rows_from_rest == sum(at % 50 in (7, 8) for at in range(len(day_one(exchange))))
    assert outcome.missing == 0


async def test_ids_that_no_source_has_are_recorded_as_absent(
    timescale_url: str, exchange: SimulatedExchange, tmp_path: Path
) -> None:
    exchange.faults.archive("holes")
    wanted = day_one(exchange)
    gone = wanted[57:59]
    exchange.faults.rest_forget("btcusdt", gone[0], gone[1])
    told = Told()
    [outcome] = await load_history(timescale_url, exchange, tmp_path, YESTERDAY, YESTERDAY, told=told)
    assert (outcome.absent, outcome.missing) == (2, 0)
    assert await ids_of(timescale_url) == [number for number in wanted if number not in gone]
    [event] = told.of(events.TradesAbsent)
    assert (event.first, event.last) == (gone[0], gone[1])
    connection = await asyncpg.connect(timescale_url)
    try:
        rows = [tuple(row) for row in await connection.fetch("SELECT first_id, last_id, proof FROM absences")]
    finally:
        await connection.close()
    assert rows == [(gone[0], gone[1], event.proof)]
    # what is proven is not looked for again
    [again] = await load_history(timescale_url, exchange, tmp_path, YESTERDAY, YESTERDAY)
    assert (again.days_proven, again.rows_read) == (1, 0)


async def test_a_file_in_milliseconds_does_not_store_a_trade_twice(
    timescale_url: str, exchange: SimulatedExchange, tmp_path: Path
) -> None:
    """The trap of decision 0004: what REST has given in µs is not stored again from a file in ms."""
    exchange.faults.archive("missing")
    wanted = day_one(exchange)
    await load_history(timescale_url, exchange, tmp_path, YESTERDAY, YESTERDAY)
    assert await coverage_of(timescale_url) == [(wanted[0], wanted[-1], "rest")]
    connection = await asyncpg.connect(timescale_url)
    try:  # a hole, so that the file is wanted
        lost = wanted[100:110]
        await connection.execute("DELETE FROM trades WHERE trade_id = ANY ($1::bigint[])", lost)
        await connection.execute("DELETE FROM coverage")
        for first, last in ((wanted[0], lost[0] - 1), (lost[-1] + 1, wanted[-1])):
            await connection.execute(
                "INSERT INTO coverage (venue, symbol, first_id, last_id, source, newest)"
                " VALUES ('spot', 'btcusdt', $1, $2, 'rest', $3)", first, last, last == wanted[-1],
            )  # fmt: skip
    finally:
        await connection.close()
    exchange.faults.clear()
    exchange.faults.archive("milliseconds")
    [outcome] = await load_history(timescale_url, exchange, tmp_path, YESTERDAY, YESTERDAY)
    assert outcome.rows_written == len(lost)
    assert await ids_of(timescale_url) == wanted


async def test_a_cut_download_goes_on_and_a_wrong_checksum_is_tried_once_more(
    postgres_url: str, exchange: SimulatedExchange, tmp_path: Path
) -> None:
    exchange.faults.archive("cut", count=2)
    exchange.faults.archive("checksum", count=1)
    told = Told()
    [outcome] = await load_history(postgres_url, exchange, tmp_path, YESTERDAY, YESTERDAY, told=told)
    assert await ids_of(postgres_url) == day_one(exchange)
    assert len(told.of(events.ArchiveFlaw)) == 1
    assert outcome.failures == []


@pytest.mark.parametrize("flaw", ["checksum", "truncated"])
async def test_a_file_that_stays_wrong_is_named_and_other_sources_are_asked(
    postgres_url: str, exchange: SimulatedExchange, tmp_path: Path, flaw: str
) -> None:
    exchange.faults.archive(flaw, name="BTCUSDT")
    wrong, right = await load_history(
        postgres_url, exchange, tmp_path, YESTERDAY, YESTERDAY, symbols=("btcusdt", "ethusdt")
    )
    [refusal] = wrong.refused
    assert "BTCUSDT-aggTrades-2026-09-30.zip" in refusal
    assert "twice" in refusal
    assert (wrong.failures, wrong.missing, wrong.files) == ([], 0, 0)
    assert await coverage_of(postgres_url) == [(day_one(exchange)[0], day_one(exchange)[-1], "rest")]
    assert (right.failures, right.refused) == ([], [])
    assert await coverage_of(postgres_url, "ethusdt") == [
        (day_one(exchange, "ETHUSDT")[0], day_one(exchange, "ETHUSDT")[-1], "archive")
    ]


async def test_candles_of_archives_and_of_rest(database_url: str, exchange: SimulatedExchange, tmp_path: Path) -> None:
    streams = ("kline_1m", "kline_5m", "kline_1h")
    outcomes = await load_history(database_url, exchange, tmp_path, YESTERDAY, TODAY, streams=streams)
    for stream, outcome in zip(streams, outcomes, strict=True):
        stored = await assert_candles_equal(database_url, exchange, "btcusdt", stream.removeprefix("kline_"))
        # four hours, the candle open now left out
        assert len(stored) == {"kline_1m": 240, "kline_5m": 48, "kline_1h": 4}[stream]
        assert outcome.rows_written == len(stored)
        assert outcome.files == 1
    again = await load_history(database_url, exchange, tmp_path, TODAY, TODAY, streams=streams)
    assert [(outcome.days_proven, outcome.rows_read) for outcome in again] == [(1, 0)] * 3


async def test_a_load_that_was_cut_goes_on(timescale_url: str, exchange: SimulatedExchange, tmp_path: Path) -> None:
    """Cancelled in the middle of a file, again and again: what is there is proven, and in the end all is there."""
    wanted = day_one(exchange)
    settings = Settings(
        symbols=("btcusdt",), database_url=timescale_url, rest_url=exchange.rest_url, archive_url=exchange.rest_url,
        data_dir=str(tmp_path),
    )  # fmt: skip
    for wait_s in (0.02, 0.05, 0.1, 0.2):
        async with open_history(settings, YESTERDAY, TODAY, jobs=2, emit=Told(), report=lambda *_: None) as history:
            loading = asyncio.create_task(history.run.run(history.wanted))
            await asyncio.sleep(wait_s)
            loading.cancel()
            await asyncio.wait({loading})
        stored = set(await ids_of(timescale_url))
        proven = {number for first, last, _ in await coverage_of(timescale_url) for number in range(first, last + 1)}
        assert stored == proven
    await load_history(timescale_url, exchange, tmp_path, YESTERDAY, TODAY)
    assert (await ids_of(timescale_url))[: len(wanted)] == wanted
    await assert_trades_equal(timescale_url, exchange, "btcusdt")


async def test_days_that_cannot_be_are_refused(postgres_url: str, exchange: SimulatedExchange, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="end before they begin"):
        await load_history(postgres_url, exchange, tmp_path, TODAY, YESTERDAY)
    with pytest.raises(ConfigError, match="2026-10-01 at the exchange"):
        await load_history(postgres_url, exchange, tmp_path, YESTERDAY, date(2026, 10, 2))


async def test_the_program(timescale_url: str, exchange: SimulatedExchange, tmp_path: Path) -> None:
    command = [
        sys.executable, "-m", "crypto_quant", "backfill", "btcusdt", "--from", "2026-09-30", "--to", "2026-09-30",
        "--stream", "aggTrade", "--stream", "kline_1m", "--database-url", timescale_url,
        "--rest-url", exchange.rest_url, "--json",
    ]  # fmt: skip
    environment = {"CRYPTO_QUANT_DATA_DIR": str(tmp_path), "PATH": "/usr/bin:/bin"}

    async def run(*more: str) -> subprocess.CompletedProcess[str]:
        return await asyncio.to_thread(
            subprocess.run, [*command, *more], capture_output=True, text=True, timeout=60, env=environment, check=False
        )

    done = await run()
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    trades, candles = summary["outcomes"]
    assert trades["rows_written"] == len(day_one(exchange)) == len(await ids_of(timescale_url))
    assert candles["rows_written"] == 120
    assert done.stderr == ""
    exchange.faults.archive("checksum")
    failed = await run("--from", "2026-09-29", "--stream", "kline_5m")
    assert failed.returncode == 3  # before the market began REST has none, and no file says so
    assert "BTCUSDT-5m-2026-09-30.zip" in failed.stdout
    accepted = await run("--stream", "kline_15m", "--accept", "BTCUSDT-15m-2026-09-30.zip")
    assert accepted.returncode == 0
    assert [one["files"] for one in json.loads(accepted.stdout)["outcomes"]] == [0, 0, 1]
    wrong = await run("--to", "2026-09-01")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr.startswith("crypto-quant: the days end before they begin")
