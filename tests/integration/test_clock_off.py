"""A recorder on a machine whose clock is off: the log, the status and the lags tell it, and nothing else is touched."""

import asyncio
import json
import time
from pathlib import Path

import pytest
from commands import program as command
from programs import SYMBOLS, program

from crypto_quant.sim.server import SimulatedExchange
from crypto_quant.sim.symbols import invented
from crypto_quant.sim.synthetic import SyntheticTape


@pytest.mark.parametrize(("exchange_s", "says"), [(-21, "ahead of the exchange's"), (21, "behind the exchange's")])
async def test_a_clock_that_is_off(timescale_url: str, tmp_path: Path, exchange_s: int, says: str) -> None:
    """By the exchange's clock that is so many seconds apart from ours."""
    start_us = time.time_ns() // 1000 + exchange_s * 1_000_000
    tape = SyntheticTape(invented([name.upper() for name in SYMBOLS]), rate=300, seed=3, start_us=start_us)
    async with SimulatedExchange(tape) as exchange, program(timescale_url, exchange, tmp_path) as run:
        await run.until(lambda: run.of("Clock off"))
        assert round(run.of("Clock off")[0]["ahead_s"]) == -exchange_s
        found: list[str] = []
        while not any("clock is 2" in each for each in found):
            assert run.process.poll() is None
            done = await command("", tmp_path, "status", "--json")
            (shown,) = json.loads(done.out)["recorders"]
            found = [each["what"] for each in shown["problems"]]
        assert any(each.endswith(says) for each in found), found
        assert round(shown["snapshot"]["clock"]["ahead_ms"] / 1000) == -exchange_s
        # the trades of late came as soon as ever: 21 s are of the clock
        streams = [each["lag_ms"] for each in shown["snapshot"]["streams"] if each["lag_ms"] is not None]
        while not streams or max(map(abs, streams)) > 15_000:
            done = await command("", tmp_path, "status", "--json")
            (shown,) = json.loads(done.out)["recorders"]
            streams = [each["lag_ms"] for each in shown["snapshot"]["streams"] if each["lag_ms"] is not None]
            await asyncio.sleep(0.2)
        assert await run.end() == 0
