"""A recorder that starts while REST bans its address, is away or hangs: it records, or ends in order when told."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from programs import SYMBOLS, Program, assert_all_stored, market, program

from crypto_quant.sim.server import SimulatedExchange

HOURS_S = 7200


@pytest.mark.parametrize("status", [418, 429])
async def test_it_records_at_once_and_ends_in_order(timescale_url: str, tmp_path: Path, status: int) -> None:
    """Nothing is known of these symbols here: the exchange that asks for a pause is the right one all the same."""
    async with market(500) as exchange:
        exchange.faults.rest_errors(status, seconds=3600, retry_after_s=HOURS_S)
        async with program(timescale_url, exchange, tmp_path) as run:
            (told,) = run.of("Symbols not checked")
            assert (told["symbols"], told["new"], told["retry_in_s"]) == (2, ", ".join(SYMBOLS), HOURS_S)
            await run.until(lambda: run.stats["candles_written"] > len(SYMBOLS))
            assert await run.end(signal.SIGTERM) == 0
        assert run.lines[-1]["event"] == "Final statistics"
        assert await assert_all_stored(timescale_url, exchange) > 100
        # one request was answered with the pause, and no other was sent
        assert len(run.of("REST request failed")) == 1


async def test_the_check_is_made_up_for_and_what_was_missed_is_fetched(timescale_url: str, tmp_path: Path) -> None:
    async with market(500) as exchange:
        async with program(timescale_url, exchange, tmp_path) as run:
            assert await run.end() == 0
        exchange.faults.rest_errors(429, count=1, retry_after_s=8)
        async with program(timescale_url, exchange, tmp_path) as run:
            (told,) = run.of("Symbols not checked")
            assert told["new"] == ""
            await run.until(lambda: run.of("Symbols checked"))
            await run.until(lambda: not run.stats["trades_missing"])
            assert await run.end() == 0
        assert await assert_all_stored(timescale_url, exchange) > 100


async def test_a_rest_that_is_away_stops_no_recording_of_what_was_recorded_before(
    timescale_url: str, tmp_path: Path
) -> None:
    async with market(500) as exchange:
        exchange.faults.rest_errors(503, seconds=3600)
        done, lines = await refused(timescale_url, exchange, tmp_path)
        assert (done, lines) == (1, [])
        exchange.faults.rest.clear()
        async with program(timescale_url, exchange, tmp_path) as run:
            assert await run.end() == 0
        exchange.faults.rest_errors(503, seconds=3600)
        async with program(timescale_url, exchange, tmp_path) as run:
            assert run.of("Symbols not checked")
            assert await run.end() == 0


def command(url: str, exchange: SimulatedExchange) -> list[str]:
    return [
        sys.executable, "-m", "crypto_quant", "record", *SYMBOLS, "--database-url", url, "--ws-url", exchange.ws_url,
        "--rest-url", exchange.rest_url, "--log-format", "json",
    ]  # fmt: skip


def environment(directory: Path) -> Mapping[str, str]:
    return {**os.environ, "CRYPTO_QUANT_DATA_DIR": str(directory)}


async def refused(url: str, exchange: SimulatedExchange, directory: Path) -> tuple[int, list[dict[str, Any]]]:
    """Run a recorder that cannot start; return its exit code and what it told of recording."""
    done = await asyncio.to_thread(
        subprocess.run, command(url, exchange), env=environment(directory), stderr=subprocess.PIPE, text=True
    )
    lines = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    return done.returncode, [line for line in lines if line["event"] == "Recording started"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_a_start_that_waits(timescale_url: str, tmp_path: Path, number: signal.Signals) -> None:
    """REST takes the question and does not answer."""
    async with market(500) as exchange:
        exchange.faults.rest_delay(3600, count=1000)
        run = Program(
            subprocess.Popen(  # noqa: ASYNC220
                command(timescale_url, exchange), env=environment(tmp_path), stderr=subprocess.PIPE, text=True
            )
        )
        try:
            await run.until(lambda: exchange.faults.rest_delays_left < 1000)
            code = await run.end(number)
        finally:
            run.process.kill()
    assert code == 0
    assert [line["event"] for line in run.lines] == ["Ended before recording began"]
