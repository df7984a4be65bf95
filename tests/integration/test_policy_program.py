"""``crypto-quant db policy`` and ``db drop`` as programs: what they say, and what bad input gets."""

import asyncio
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from recording import recording
from test_retention import DAY, claimed, three_days

from crypto_quant import events
from crypto_quant.compose import _known_ids
from crypto_quant.errors import CryptoQuantError
from crypto_quant.flow import assembly
from crypto_quant.flow.upkeep import Upkeep
from crypto_quant.market import Timeframe
from crypto_quant.seams import Batch, Covered, Source, Table
from crypto_quant.sim.server import SimulatedExchange
from crypto_quant.sim.symbols import invented
from crypto_quant.sim.synthetic import SyntheticTape
from crypto_quant.store.ledger import StoreLedger
from crypto_quant.store.migrate import migrate
from crypto_quant.store.policy import Rule, declare
from crypto_quant.store.retention import drop_before
from crypto_quant.store.timescale import connect, open_sink
from crypto_quant.store.upkeep import StoreUpkeep


async def call(url: str, *words: str) -> tuple[int, str, str]:
    """Run a verb of db; return its exit code and what it said."""
    command = [sys.executable, "-m", "crypto_quant", "db", *words, "--database-url", url]
    done = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = await done.communicate()
    assert b"Traceback" not in err, err.decode()
    assert done.returncode is not None
    return done.returncode, out.decode(), err.decode()


async def test_a_rule_is_set_shown_kept_and_cleared(database_url: str) -> None:
    connection = await connect(database_url)
    await migrate(connection)
    await three_days(connection)
    assert await call(database_url, "policy", "show") == (0, "no rule is declared: everything is kept\n", "")
    assert await call(database_url, "policy", "run") == (0, "nothing to drop\n", "")
    assert await call(database_url, "policy", "set", "--drop-after", "52w") == (0, "trades: dropped after 364 d\n", "")
    assert await call(database_url, "policy", "show") == (0, "trades: dropped after 364 d\n", "")
    (told,) = json.loads((await call(database_url, "policy", "show", "--json"))[1])
    assert (told["table"], told["drop_after_days"], told["columnstore_after_days"]) == ("trades", 364, None)
    code, out, _ = await call(database_url, "policy", "run")
    assert (code, out.splitlines()[0]) == (0, "dropped  trades 2024-08-08 to 2024-08-09: 10 rows")
    assert await claimed(connection) == []
    assert await call(database_url, "policy", "clear") == (0, "trades: the rule is gone\n", "")
    assert await call(database_url, "policy", "clear") == (0, "trades: there was no rule\n", "")
    await connection.close()


async def test_days_are_dropped_by_hand_once_they_are_exported(database_url: str, tmp_path: Path) -> None:
    connection = await connect(database_url)
    await migrate(connection)
    await three_days(connection)
    code, out, err = await call(database_url, "drop", "--before", "2024-08-10", "--require-export", str(tmp_path))
    assert (code, out) == (1, "")
    assert f"kept     trades 2024-08-08 to 2024-08-09: spot btcusdt: {tmp_path} has no manifest of it" in err
    assert await claimed(connection) == [(1, 30)]
    code, out, err = await call(database_url, "drop", "--before", "2024-08-10")
    assert (code, len(out.splitlines()), err) == (0, 2, "")
    assert await claimed(connection) == [(21, 30)]
    await connection.close()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["policy", "set"], "nothing is declared"),
        (["policy", "set", "--drop-after", "90"], "not an age: '90'. Expected days or weeks"),
        (["policy", "set", "--drop-after", "0d"], "not an age"),
        (["policy", "set", "--drop-after", "1d"], "too early to be dropped"),
        (["policy", "set", "--table", "ticks", "--drop-after", "9d"], "'ticks' is not one of"),
        (["policy", "set", "--columnstore-after", "9d"], "has no columnstore"),
        (["policy", "set", "--drop-after", "9d", "--require-export", "/nowhere/at/all"], "no such directory"),
        (["drop", "--before", "yesterday"], "not a day: 'yesterday'"),
        (["drop", "--before", "2924-08-10"], "a day that has not begun: 2924-08-10"),
        (["drop"], "Missing option '--before'"),
        (["drop", "--before", "2024-08-10", "--require-export", "/nowhere/at/all"], "no such directory"),
    ],
)
async def test_what_bad_input_gets(postgres_url: str, words: list[str], said: str) -> None:
    code, out, err = await call(postgres_url, *words)
    assert (code, out) == (2, "")
    assert said in err


async def test_the_recorder_neither_misses_nor_owes_what_was_dropped(database_url: str) -> None:
    """A day and a month in the midst are gone on purpose: known at the start, and to who fetches on demand not."""
    sink = await open_sink(database_url)
    ledger = StoreLedger(sink)
    row = b"2024-08-%02d 12:00:00+00\tspot\tbtcusdt\t%d\t1\t1\t1\t1\tt\t\\N\n"
    for day in (8, 9, 10):
        await sink.write(Batch(Table.TRADES, [row % (day, day)], [Covered("spot", "btcusdt", day, day, Source.STREAM)]))
    candle = b"%s\tspot\tbtcusdt\t1m\t1\t1\t1\t1\t1\t\\N\t\\N\t\\N\t\\N\t\\N\t\\N\n"
    slots = {}
    for month in (5, 6, 9):
        moment = datetime(2024, month, 15, tzinfo=UTC)
        slots[month] = int(moment.timestamp()) // 60
        covered = Covered("spot", "btcusdt", slots[month], slots[month], Source.STREAM, "1m")
        await sink.write(Batch(Table.CANDLES, [candle % str(moment).encode()], [covered]))
    connection = await connect(database_url)
    await drop_before(connection, Table.TRADES, DAY + timedelta(days=2), source="hand")
    await drop_before(connection, Table.CANDLES, datetime(2024, 8, 15, tzinfo=UTC), source="hand")
    await connection.close()

    known = (await _known_ids(sink, "spot", ["btcusdt"]))["btcusdt"]
    assert (list(known.covered), list(known.absent)) == ([(10, 10)], [(8, 9)])
    assert await ledger.dropped("spot", "btcusdt", None, 9, 100) == [(9, 9)]
    assert await ledger.covered("spot", "btcusdt", 0, 100) == [(10, 10)]

    found = (await ledger.known_slots("spot", {("btcusdt", Timeframe.M1): 0}))["btcusdt", Timeframe.M1]
    assert list(found.covered) == [(slots[9], slots[9])]
    assert list(found.absent) == [(slots[5], slots[5]), (slots[6], slots[6])]
    assert await ledger.dropped("spot", "btcusdt", "1m", 0, slots[5]) == [(slots[5], slots[5])]
    month_ns = int(datetime(2024, 5, 15, tzinfo=UTC).timestamp()) * 10**9
    assert await ledger.held_slots("spot", "btcusdt", Timeframe.M1, month_ns, month_ns + 10**12) == []
    await sink.close()


async def test_the_housekeeper_tells_what_it_did(database_url: str, tmp_path: Path) -> None:
    connection = await connect(database_url)
    await migrate(connection)
    await three_days(connection)
    now_ns = int((DAY + timedelta(days=12)).timestamp()) * 10**9
    upkeep = StoreUpkeep(database_url)
    assert await upkeep.keep(now_ns) == []
    await declare(connection, Rule(Table.TRADES, drop_after=timedelta(days=11), export_directory=str(tmp_path)))
    reason = f"spot btcusdt: {tmp_path} has no manifest of it"
    days = {"table": "trades", "first_day": "2024-08-08", "end_day": "2024-08-09"}
    assert await upkeep.keep(now_ns) == [events.OldRowsKept(**days, reason=reason)]
    await declare(connection, Rule(Table.TRADES, drop_after=timedelta(days=11)))
    assert await upkeep.keep(now_ns) == [events.OldRowsDropped(**days, rows=10)]
    # what goes wrong is ours to tell, and no end of a recording
    await connection.execute("DROP TABLE policies")
    with pytest.raises(CryptoQuantError, match="reading the policies"):
        await upkeep.keep(now_ns)
    await connection.close()


async def test_verify_says_dropped_and_is_content(database_url: str) -> None:
    connection = await connect(database_url)
    await migrate(connection)
    await three_days(connection)
    await drop_before(connection, Table.TRADES, DAY + timedelta(days=1), source="policy")

    async def verify(*words: str) -> tuple[int, str, str]:
        command = [sys.executable, "-m", "crypto_quant", "verify", *words, "--database-url", database_url]
        done = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        out, err = await done.communicate()
        assert done.returncode is not None
        return done.returncode, out.decode(), err.decode()

    code, out, _ = await verify()
    assert code == 0
    assert "DROPPED   spot btcusdt: ids 1 to 10 (10), on purpose, by policy\n" in out
    assert "10 trades dropped on purpose" in out
    assert "MISSING" not in out
    code, out, _ = await verify("--json", "--deep")
    told = json.loads(out)
    assert (code, told["totals"]["dropped"], told["totals"]["missing"]) == (0, 10, 0)
    assert [(each["first"], each["last"]) for each in told["symbols"][0]["dropped"]] == [(1, 10)]
    # all of it: still no word of "never recorded"
    await drop_before(connection, Table.TRADES, DAY + timedelta(days=9), source="policy")
    code, _, err = await verify("btcusdt")
    assert (code, "all that was recorded of it was dropped on purpose: btcusdt" in err) == (2, True)
    await connection.close()


async def test_a_recorder_keeps_the_rules(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside the live rows, without a verb; and what it dropped it does not fetch."""
    monkeypatch.setattr(assembly, "Upkeep", partial(Upkeep, first_s=0.2, spacing_s=0.2))
    connection = await connect(database_url)
    await migrate(connection)
    await three_days(connection)
    await declare(connection, Rule(Table.TRADES, drop_after=timedelta(days=400)))
    tape = SyntheticTape(invented(["ETHUSDT"]), rate=300.0, seed=11, start_us=1_790_856_000_000_000)
    async with (
        SimulatedExchange(tape, hold_until_subscribed=True) as exchange,
        recording(database_url, exchange.ws_url, exchange.rest_url, tmp_path, symbols=["ethusdt"]) as run,
    ):
        await run.until(lambda: len(run.told.of(events.OldRowsDropped)) == 3 and run.stats.trades_written > 50)
        final = await run.stop()
    assert (final["gaps_open"], final["trades_missing"]) == (0, 0)
    assert [each.rows for each in run.told.of(events.OldRowsDropped)] == [10, 10, 10]
    assert run.told.of(events.UpkeepFailed) == []
    assert await claimed(connection) == []
    await connection.close()
