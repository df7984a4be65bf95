"""``verify`` and ``repair`` as the programs that they are: exit codes, stdout for results, stderr for the rest."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
from commands import program
from recording import assert_candles_equal, assert_trades_equal, recording
from terminals import window

from crypto_quant.seams import Table
from crypto_quant.sim.clock import MAX
from crypto_quant.sim.server import SimulatedExchange
from crypto_quant.sim.symbols import invented
from crypto_quant.sim.synthetic import SyntheticTape
from crypto_quant.spoolformat import FIRST_LINK, HEAD, SpoolRecord, encode
from crypto_quant.store.spoolfiles import target_of

START_US = 1_790_898_600_000_000  # 2026-10-01T23:50:00Z


@pytest.fixture
async def recorded(timescale_url: str, tmp_path: Path) -> AsyncIterator[tuple[str, SimulatedExchange]]:
    """A whole record of fifteen minutes over midnight; the exchange is still there."""
    tape = SyntheticTape(invented(["BTCUSDT"]), rate=10, seed=5, start_us=START_US, seconds=900)
    async with SimulatedExchange(tape, speed=MAX, hold_until_subscribed=True) as market:
        async with recording(
            timescale_url, market.ws_url, market.rest_url, tmp_path, streams=("aggTrade", "kline_1m")
        ) as run:
            await market.finished()
            await run.until(lambda: run.stats.candles_received >= 14)
            await run.stop()
        yield timescale_url, market


async def execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(statement)
    await connection.close()


async def test_verify_says_what_there_is(recorded: tuple[str, SimulatedExchange], tmp_path: Path) -> None:
    url, _market = recorded
    whole = await program(url, tmp_path, "verify", "BTCUSDT", "--deep")
    assert whole.code == 0, whole
    assert "COMPLETE: 1 symbols, 2026-10-01 to 2026-10-02" in whole.out
    # plain when piped: no colours, no lines broken at the width of a terminal
    assert "\x1b" not in whole.out
    assert any(line.split()[:3] == ["spot", "btcusdt", "2026-10-02"] for line in whole.out.splitlines())
    await execute(url, "DELETE FROM trades WHERE trade_id = (SELECT min(trade_id) + 100 FROM trades)")
    holed = await program(url, tmp_path, "verify", "--deep")
    assert holed.code == 3
    assert "crypto-quant repair btcusdt --from 2026-10-01 --to 2026-10-01" in holed.out
    told = await program(url, tmp_path, "verify", "--deep", "--json")
    assert told.code == 3
    report = json.loads(told.out)
    assert report["complete"] is False
    assert report["totals"]["missing"] == 1
    assert report["symbols"][0]["holes"][0]["repair"] in holed.out
    assert f"ids {report['symbols'][0]['holes'][0]['first']} to" in holed.out


WRONG = [
    (["DOGEUSDT"], "never recorded in this database: dogeusdt. There are: btcusdt (spot)"),
    (["--from", "2026-10-02", "--to", "2026-10-01"], "the days end before they begin"),
    (["--from", "yesterday"], "not a day: 'yesterday'. Expected YYYY-MM-DD"),
    (["--from", "2027-01-01"], "The record goes from 2026-10-01 to 2026-10-02"),
    (["--check-certificate", "nothing.json"], "cannot read the certificate"),
    (["--check-certificate", "nothing.json", "--deep"], "--check-certificate stands alone"),
]


async def test_wrong_words_are_told(recorded: tuple[str, SimulatedExchange], tmp_path: Path) -> None:
    for words, said in WRONG:
        done = await program(recorded[0], tmp_path, "verify", *words)
        assert (done.code, done.out) == (2, "")
        assert said in done.err
        assert "Traceback" not in done.err


async def test_a_database_in_which_nothing_was_recorded(database_url: str, tmp_path: Path) -> None:
    for verb in ("verify", "repair"):
        done = await program(database_url, tmp_path, verb)
        assert (done.code, done.out) == (2, "")
        assert "nothing is recorded in this database: it has no table trades" in done.err


async def test_a_certificate_is_written_once_and_checked(
    recorded: tuple[str, SimulatedExchange], tmp_path: Path
) -> None:
    url, _market = recorded
    file = tmp_path / "statement.json"
    made = await program(url, tmp_path, "verify", "--certificate", str(file))
    assert made.code == 0, made
    assert "every row was read" in made.out
    again = await program(url, tmp_path, "verify", "--certificate", str(file))
    assert again.code == 2
    assert "--force" in again.err
    assert (await program(url, tmp_path, "verify", "--certificate", str(file), "--force")).code == 0
    assert [name for name in os.listdir(tmp_path) if "statement" in name] == ["statement.json"]  # noqa: PTH208
    assert (await program(url, tmp_path, "verify", "--check-certificate", str(file))).code == 0
    await execute(
        url, "UPDATE trades SET quantity = quantity + 0.00000001 WHERE trade_id IN (SELECT max(trade_id) FROM trades)"
    )
    wrong = await program(url, tmp_path, "verify", "--check-certificate", str(file))
    assert wrong.code == 3
    assert "spot btcusdt trades on 2026-10-02" in wrong.out
    document = json.loads(file.read_text())
    document["issued_at"] = "2020-01-01T00:00:00Z"
    file.write_text(json.dumps(document))
    altered = await program(url, tmp_path, "verify", "--check-certificate", str(file))
    assert altered.code == 3
    assert "was altered" in altered.out
    file.write_text('{"kind": "something"}')
    assert (await program(url, tmp_path, "verify", "--check-certificate", str(file))).code == 2


async def test_repair_closes_what_verify_finds(recorded: tuple[str, SimulatedExchange], tmp_path: Path) -> None:
    url, market = recorded
    await execute(
        url,
        "DELETE FROM trades WHERE trade_id % 700 < 40 AND trade_id BETWEEN (SELECT min(trade_id) + 1 FROM trades)"
        " AND (SELECT max(trade_id) - 1 FROM trades);"
        " DELETE FROM candles WHERE time BETWEEN '2026-10-01 23:57:00+00' AND '2026-10-02 00:01:00+00'",
    )
    assert (await program(url, tmp_path, "verify", "--deep")).code == 3
    done = await program(url, tmp_path, "repair", "btcusdt", "--deep", "--rest-url", market.rest_url)
    assert done.code == 0, done.out + done.err
    assert "now: 0 trades, 0 candles" in done.out
    await assert_trades_equal(url, market, "btcusdt")
    await assert_candles_equal(url, market, "btcusdt", "1m")
    for words in (["verify"], ["verify", "--deep"]):
        assert (await program(url, tmp_path, *words)).code == 0
    again = await program(url, tmp_path, "repair", "--rest-url", market.rest_url)
    assert (again.code, again.out.splitlines()[0]) == (0, "Nothing was missing.")


async def test_repair_says_what_remains(recorded: tuple[str, SimulatedExchange], tmp_path: Path) -> None:
    """An exchange that cannot be reached closes nothing, and that is no success."""
    url, _market = recorded
    await execute(url, "DELETE FROM trades WHERE trade_id = (SELECT min(trade_id) + 100 FROM trades)")
    done = await program(url, tmp_path, "repair", "--deep", "--rest-url", "http://127.0.0.1:9")
    assert done.code in {1, 3}, done
    assert "Traceback" not in done.err
    assert (await program(url, tmp_path, "verify", "--deep")).code == 3


@pytest.mark.parametrize("columns", [40, 80, 100])
async def test_no_number_is_cut_on_a_terminal(
    recorded: tuple[str, SimulatedExchange], tmp_path: Path, columns: int
) -> None:
    """Whatever the width: each id, count and time that a pipe gets stands whole on the terminal too, or its column is
    named as left out."""
    url, market = recorded
    environment = {"CRYPTO_QUANT_DATABASE_URL": url, "CRYPTO_QUANT_DATA_DIR": str(tmp_path)}
    report = json.loads((await program(url, tmp_path, "verify", "--deep", "--json")).out)
    (symbol,) = report["symbols"]
    wanted = [f"{day['rows']:,}" for day in symbol["days"]] + [day["day"] for day in symbol["days"]]
    ids = [str(day[name]) for day in symbol["days"] for name in ("first_id", "last_id")]
    for words in (("verify",), ("verify", "--deep"), ("repair", "--rest-url", market.rest_url)):
        shown = await asyncio.to_thread(on_terminal, words, columns, environment)
        assert "…" not in shown
        for value in [*wanted, *(ids if "first id" not in shown.partition("too narrow for:")[2] else [])]:
            assert value in shown, (words, columns, value, shown)
        assert "COMPLETE: 1 symbols" in shown.replace("\n", " ")


def on_terminal(words: tuple[str, ...], columns: int, environment: dict[str, str]) -> str:
    """Return all that a program writes on a terminal of that width, without colours."""
    with window(*words, columns=columns, lines=200, environment=environment) as (seen, process):
        assert process.wait(60) == 0
        seen.until(lambda text: "COMPLETE" in text)
        return seen.text


async def _trades(url: str, above: str) -> list[bytes]:
    """Return stored rows of trades as COPY text, their ids raised by an expression."""
    connection = await asyncpg.connect(url)
    try:
        rows = await connection.fetch(
            "SELECT concat_ws(E'\\t', to_char(time AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') || '+00', venue,"
            f" symbol, trade_id + {above}, price, quantity, first_trade_id, last_trade_id, 'f', 'x') FROM trades"
            " ORDER BY trade_id DESC LIMIT 50"
        )
    finally:
        await connection.close()
    return [f"{row[0]}\n".encode() for row in rows]


async def test_rows_that_wait_in_a_spool_are_not_complete(
    recorded: tuple[str, SimulatedExchange], tmp_path: Path
) -> None:
    """Received, and not in the database: verify, repair, status and doctor count them, and no other rows."""
    url, market = recorded
    candle = b"2026-10-02 00:01:00+00\tspot\tbtcusdt\t5m\t1\t1\t1\t1\t1\t1\t1\t1\t1\t1\t1\n"
    stored, received = await _trades(url, "0"), await _trades(url, "1000000")
    elsewhere = [row.replace(b"btcusdt", b"ethusdt") for row in received]
    directory = tmp_path / "spool" / "1"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "target").write_text(target_of(url))
    segment = directory / "00000001.spool"

    def leave(*rows: bytes, candles: tuple[bytes, ...] = ()) -> None:
        first, link = encode(SpoolRecord(Table.TRADES, list(rows)), FIRST_LINK)
        segment.write_bytes(HEAD + first + encode(SpoolRecord(Table.CANDLES, list(candles)), link)[0])

    leave(*stored)  # a recorder died between its commit and its file
    whole = await program(url, tmp_path, "verify", "--deep")
    assert (whole.code, "WAITING" in whole.out) == (0, False), whole
    leave(*stored, *received, candles=(candle,))
    waits = await program(url, tmp_path, "verify")
    assert waits.code == 3
    assert f"WAITING   50 trades and 1 candle in the spool {directory}" in waits.out
    assert "INCOMPLETE: 1 symbols" in waits.out
    assert "51 rows waiting in a spool" in waits.out
    told = json.loads((await program(url, tmp_path, "verify", "--json")).out)
    assert (told["complete"], told["totals"]["spooled"]) == (False, 51)
    assert told["spooled"] == [{"directory": str(directory), "trades": 50, "candles": 1}]
    repaired = await program(
        url, tmp_path, "repair", "--rest-url", market.rest_url, "--archive-url", market.rest_url
    )  # fmt: skip
    assert repaired.code == 3
    assert "WAITING" in repaired.out
    # what is quick counts all of it
    held = await program(url, tmp_path, "status")
    assert f"100 trades and 1 candle in the spool {directory}" in held.out
    shown = await program(url, tmp_path, "status", "--json")
    assert json.loads(shown.out)["spooled"] == [{"directory": str(directory), "trades": 100, "candles": 1}]
    other = await program(url, tmp_path, "verify", "--to", "2026-10-01")
    assert (other.code, "WAITING" in other.out) == (0, False), "another day"
    leave(*elsewhere)
    assert (await program(url, tmp_path, "verify", "btcusdt")).code == 0, "another series"
    assert (await program(url, tmp_path, "verify")).code == 3
    (directory / "target").write_text("elsewhere:5432/x")
    assert (await program(url, tmp_path, "verify")).code == 0, "another database"
