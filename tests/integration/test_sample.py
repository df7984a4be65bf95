"""`verify --sample`: what is claimed, fetched anew from the exchange and compared to the last digit."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
from commands import program
from recording import recording

from crypto_quant.sim.clock import MAX
from crypto_quant.sim.server import SimulatedExchange
from crypto_quant.sim.symbols import invented
from crypto_quant.sim.synthetic import SyntheticTape

START_US = 1_790_898_600_000_000  # 2026-10-01T23:50:00Z
# enough to meet everything: some 600 trades and 60 candles
ALL = ("--sample", "400", "--sample-seed", "7")


@pytest.fixture
async def recorded(timescale_url: str, tmp_path: Path) -> AsyncIterator[tuple[str, SimulatedExchange]]:
    tape = SyntheticTape(invented(["BTCUSDT"]), rate=0.5, seed=5, start_us=START_US, seconds=1200)
    async with SimulatedExchange(tape, speed=MAX, hold_until_subscribed=True) as market:
        async with recording(
            timescale_url, market.ws_url, market.rest_url, tmp_path, streams=("aggTrade", "kline_1m")
        ) as run:
            await market.finished()
            await run.until(lambda: run.stats.candles_received >= 19)
            await run.stop()
        yield timescale_url, market


CHANGES = {
    "price": "UPDATE trades SET price = price + 0.00000001 WHERE trade_id = {id}",
    "quantity": "UPDATE trades SET quantity = quantity + 1 WHERE trade_id = {id}",
    "is_buyer_maker": "UPDATE trades SET is_buyer_maker = NOT is_buyer_maker WHERE trade_id = {id}",
    "time": "UPDATE trades SET time = time + interval '1 microsecond' WHERE trade_id = {id}",
    "last_trade_id": "UPDATE trades SET last_trade_id = last_trade_id + 1 WHERE trade_id = {id}",
    "row": "DELETE FROM trades WHERE trade_id = {id}",
    "volume": "UPDATE candles SET volume = volume + 0.00000001 WHERE time = (SELECT min(time) FROM candles)",
    "trade_count": "UPDATE candles SET trade_count = trade_count + 1 WHERE time = (SELECT max(time) FROM candles)",
}


async def test_any_change_is_named_by_its_position_and_field(
    recorded: tuple[str, SimulatedExchange], tmp_path: Path
) -> None:
    url, market = recorded
    words = ("verify", *ALL, "--rest-url", market.rest_url)
    whole = await program(url, tmp_path, *words)
    assert whole.code == 0, whole.out + whole.err
    assert ", 0 differ (--sample-seed 7 chooses them again)" in whole.out
    connection = await asyncpg.connect(url)
    try:
        counts = await connection.fetchrow("SELECT (SELECT count(*) FROM trades), (SELECT count(*) FROM candles)")
        assert f"with {sum(counts):,} rows" in whole.out, whole.out[-600:]
        first = await connection.fetchval("SELECT min(trade_id) FROM trades")
        for number, change in enumerate(CHANGES.values()):
            await connection.execute(change.format(id=first + 10 * number))
        done = await program(url, tmp_path, *words, "--json")
    finally:
        await connection.close()
    assert done.code == 3
    report = json.loads(done.out)
    found = [each for stretch in report["sample"]["stretches"] for each in stretch["differences"]]
    assert {each["field"] for each in found} == set(CHANGES)
    assert {each["position"] for each in found if each["field"] == "price"} == {first}
    shown = await program(url, tmp_path, *words)
    assert f"spot btcusdt aggTrade {first}: price is" in shown.out


async def test_the_sample_stands_in_the_certificate(recorded: tuple[str, SimulatedExchange], tmp_path: Path) -> None:
    url, market = recorded
    file = tmp_path / "certificate.json"
    made = await program(
        url, tmp_path, "verify", "--sample", "3", "--certificate", str(file), "--rest-url", market.rest_url
    )
    assert made.code == 0, made.out + made.err
    sample = json.loads(file.read_text())["statement"]["sample"]
    assert sample["seed"] >= 0
    assert all(each["source"] == "rest" and each["checked"] for each in sample["stretches"])


async def test_what_nobody_could_be_asked_is_said_and_never_called_equal(
    recorded: tuple[str, SimulatedExchange], tmp_path: Path
) -> None:
    url, _market = recorded
    away = await program(url, tmp_path, "verify", "--sample", "1", "--rest-url", "http://127.0.0.1:9")
    assert "UNCHECKED spot btcusdt" in away.out
    assert "Sample: 0 of 1 stretches with 0 rows were fetched" in away.out
