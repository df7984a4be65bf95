"""Seals on real tables: made at an hour's end and at a recorder's, anew after a repair, and held against the rows."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
from commands import program
from recording import Told, recording

from crypto_quant import events
from crypto_quant.evidence import Scope
from crypto_quant.flow.audit import Auditor
from crypto_quant.flow.report import Report
from crypto_quant.flow.sealing import Sealer
from crypto_quant.market import DAY_NS, day_of
from crypto_quant.sim.clock import MAX
from crypto_quant.sim.server import SimulatedExchange
from crypto_quant.sim.symbols import invented
from crypto_quant.sim.synthetic import SyntheticTape
from crypto_quant.store.audit_queries import open_reader
from crypto_quant.store.seal_store import SealStore
from crypto_quant.upkeep import RecordUpkeep, open_audit, seal

START_US = 1_790_891_400_000_000  # 2026-10-01T21:50:00Z
HOURS = 3


@pytest.fixture
async def recorded(database_url: str, tmp_path: Path) -> AsyncIterator[tuple[str, SimulatedExchange, Told]]:
    """A whole record of three hours over midnight; the exchange is still there."""
    tape = SyntheticTape(invented(["BTCUSDT"]), rate=0.5, seed=5, start_us=START_US, seconds=HOURS * 3600)
    async with SimulatedExchange(tape, speed=MAX, hold_until_subscribed=True) as market:
        async with recording(
            database_url, market.ws_url, market.rest_url, tmp_path, streams=("aggTrade", "kline_1m", "kline_1h")
        ) as run:
            await market.finished()
            await run.until(lambda: run.stats.candles_received >= HOURS * 60 - 1 + HOURS - 1)
            await run.stop()
        yield database_url, market, run.told


async def execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(statement)
    await connection.close()


async def fetch(url: str, statement: str) -> list[tuple[object, ...]]:
    connection = await asyncpg.connect(url)
    try:
        return [tuple(row) for row in await connection.fetch(statement)]
    finally:
        await connection.close()


async def audit(url: str) -> Report:
    async with open_audit(url, Scope(), deep=True) as (reader, seals):
        return await Auditor(reader, Scope(), deep=True, seals=seals).run(database="", now_ns=2 * 10**18, version="0")


async def test_a_recorder_that_ends_leaves_everything_sealed(recorded: tuple[str, SimulatedExchange, Told]) -> None:
    url, _market, told = recorded
    (sealed,) = told.of(events.RecordSealed)
    assert (
        sealed.rows == (await fetch(url, "SELECT (SELECT count(*) FROM trades) + (SELECT count(*) FROM candles)"))[0][0]
    )
    # of trades and minutes a seal an hour, of longer candles one a day
    hours = await fetch(url, "SELECT stream, count(*) FROM seals GROUP BY 1 ORDER BY 1")
    assert hours == await fetch(
        url,
        "SELECT 'aggTrade', count(DISTINCT date_trunc('hour', time)) FROM trades UNION ALL"
        " SELECT 'kline_1h', count(DISTINCT date_trunc('day', time, 'UTC')) FROM candles WHERE timeframe = '1h'"
        " UNION ALL SELECT 'kline_1m', count(DISTINCT date_trunc('hour', time)) FROM candles WHERE timeframe = '1m'",
    )
    report = await audit(url)
    assert report.complete
    assert [(each.stream, each.unsealed) for each in report.seals] == [
        ("aggTrade", 0), ("kline_1h", 0), ("kline_1m", 0),
    ]  # fmt: skip
    assert all(each.checked == each.seals for each in report.seals)
    assert (await seal(url, Scope())).seals == 0


async def test_only_hours_that_are_over_are_sealed_beside_a_recorder(
    recorded: tuple[str, SimulatedExchange, Told],
) -> None:
    url, _market, _told = recorded
    await execute(url, "TRUNCATE seals; TRUNCATE seal_heads")
    now_ns = (START_US + 90 * 60 * 1_000_000) * 1000  # 23:20, so the hours of 21 and 22 are over
    async with open_reader(url) as reader:
        sealer = Sealer(reader, SealStore(reader.connection), Scope(), share=0.5)
        since = await sealer.since()
        assert since == day_of(START_US * 1000)
        done = await sealer.run(since, day_of(START_US * 1000 + DAY_NS), closed_ns=now_ns)
    assert done.refused == []
    rows = await fetch(url, "SELECT stream, max(last_time)::text FROM seals GROUP BY 1 ORDER BY 1")
    assert [(stream, str(until)[:13]) for stream, until in rows] == [
        ("aggTrade", "2026-10-01 22"), ("kline_1m", "2026-10-01 22"),
    ]  # fmt: skip
    # the rest later, each row once
    again = await seal(url, Scope())
    total = await fetch(url, "SELECT (SELECT count(*) FROM trades) + (SELECT count(*) FROM candles)")
    assert done.rows + again.rows == total[0][0]
    assert (await audit(url)).complete


async def test_rows_that_are_not_those_that_are_claimed_are_not_sealed(
    recorded: tuple[str, SimulatedExchange, Told],
) -> None:
    url, _market, _told = recorded
    await execute(
        url,
        "TRUNCATE seals; TRUNCATE seal_heads;"
        " DELETE FROM trades WHERE trade_id = (SELECT min(trade_id) + 100 FROM trades)",
    )
    (refused,) = (await seal(url, Scope())).refused
    assert (refused.key, refused.claimed - refused.stored) == (("spot", "btcusdt", "aggTrade"), 1)
    assert not (await audit(url)).complete


async def test_a_repair_is_sealed_anew_and_told_apart_from_a_change(
    recorded: tuple[str, SimulatedExchange, Told], tmp_path: Path
) -> None:
    url, market, _told = recorded
    certificate = tmp_path / "certificate.json"
    made = await program(url, tmp_path, "verify", "--certificate", str(certificate))
    assert made.code == 0, made
    held = await program(url, tmp_path, "verify", "--against", str(certificate))
    assert (held.code, held.out.startswith("The certified record is there")) == (0, True), held
    await execute(
        url,
        "DELETE FROM trades WHERE trade_id < (SELECT min(trade_id) + 20 FROM trades);"
        " DELETE FROM candles WHERE timeframe = '1m' AND time < '2026-10-01 21:53Z'",
    )
    lost = await program(url, tmp_path, "verify", "--against", str(certificate), "--json")
    assert (lost.code, json.loads(lost.out)["holds"]) == (3, False)
    # what was lost at the edge comes back by its ids, and the new seals say what happened
    repaired = await program(url, tmp_path, "repair", "--deep", "--rest-url", market.rest_url)
    assert repaired.code == 0, repaired.out + repaired.err
    reasons = await fetch(url, "SELECT stream, replaces, reason FROM seals WHERE replaces IS NOT NULL ORDER BY 1")
    assert [(stream, replaces, "fetched again from" in str(reason)) for stream, replaces, reason in reasons] == [
        ("aggTrade", 0, True), ("kline_1m", 0, True),
    ]  # fmt: skip
    since = await program(url, tmp_path, "verify", "--against", str(certificate))
    assert since.code == 0, since.out
    assert "REPAIRED  spot btcusdt aggTrade" in since.out
    # a change is no repair
    await execute(
        url, "UPDATE trades SET price = price + 0.00000001 WHERE trade_id = (SELECT max(trade_id) FROM trades)"
    )
    changed = await program(url, tmp_path, "verify", "--against", str(certificate))
    assert changed.code == 3
    assert "CHANGED   spot btcusdt aggTrade" in changed.out
    deep = await program(url, tmp_path, "verify", "--deep")
    assert deep.code == 3
    assert "rows are not those that were sealed" in deep.out


async def test_somebody_who_seals_anew_what_he_changed_is_contradicted_by_the_certificate(
    recorded: tuple[str, SimulatedExchange, Told], tmp_path: Path
) -> None:
    """Its owner can write everything: the rows, and all seals anew. Not what he has given away."""
    url, _market, _told = recorded
    certificate = tmp_path / "certificate.json"
    assert (await program(url, tmp_path, "verify", "--certificate", str(certificate))).code == 0
    await execute(
        url,
        "UPDATE trades SET is_buyer_maker = NOT is_buyer_maker WHERE trade_id = (SELECT max(trade_id) FROM trades);"
        " TRUNCATE seals; TRUNCATE seal_heads",
    )
    made = await program(url, tmp_path, "seal")
    assert (made.code, "seals over" in made.out) == (0, True), made
    held = await program(url, tmp_path, "verify", "--against", str(certificate))
    assert held.code == 3
    assert "is not the one that was certified" in held.out


async def test_a_start_tells_what_has_changed_since(recorded: tuple[str, SimulatedExchange, Told]) -> None:
    url, _market, _told = recorded
    upkeep = RecordUpkeep(url, "spot", ["btcusdt"])
    now_ns = START_US * 1000 + DAY_NS
    assert await upkeep.keep(now_ns) == []
    await execute(
        url,
        "DELETE FROM trades WHERE trade_id > (SELECT max(trade_id) - 20 FROM trades);"
        " DELETE FROM candles WHERE timeframe = '1m' AND time > (SELECT max(time) - interval '8 minutes' FROM candles)",
    )
    found = await upkeep.keep(now_ns)
    assert [(each.stream, each.missing) for each in found if isinstance(each, events.RecordDiffers)] == [
        ("aggTrade", 20), ("kline_1m", 8),
    ]  # fmt: skip
    assert await upkeep.keep(now_ns) == []  # once


async def test_a_table_that_was_emptied_is_told_too(recorded: tuple[str, SimulatedExchange, Told]) -> None:
    url, _market, _told = recorded
    ((stored,),) = await fetch(url, "SELECT count(*) FROM trades")
    await execute(url, "TRUNCATE trades; TRUNCATE candles")
    (trades, *candles) = await RecordUpkeep(url, "spot", ["btcusdt"]).keep(START_US * 1000 + DAY_NS)
    assert isinstance(trades, events.RecordDiffers)
    assert trades.missing == stored
    assert {each.stream for each in candles if isinstance(each, events.RecordDiffers)} == {"kline_1m", "kline_1h"}
    report = await audit(url)
    assert not report.complete
    assert report.totals()["lost"] == trades.missing
