"""The audit on real tables, and on real recorded runs."""

import asyncio
import json
import os
import shutil
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from recording import recording

from crypto_quant.errors import ConfigError
from crypto_quant.evidence import Scope
from crypto_quant.flow.audit import Auditor
from crypto_quant.flow.certificate import canonical_sha256, certify, recheck
from crypto_quant.flow.repair import hole_days
from crypto_quant.flow.report import CandleReport, Report
from crypto_quant.market import Timeframe, parse_utc
from crypto_quant.seams import Batch, Covered, Source, Table
from crypto_quant.sim.clock import MAX
from crypto_quant.sim.server import SimulatedExchange
from crypto_quant.sim.symbols import invented
from crypto_quant.sim.synthetic import SyntheticTape
from crypto_quant.store.audit_queries import open_reader
from crypto_quant.store.timescale import open_sink

START_US = 1_790_898_600_000_000  # 2026-10-01T23:50:00Z, so that a record goes over midnight
NOW_NS = 1_800_000_000_000_000_000
DAYS = [date(2026, 10, 1), date(2026, 10, 2)]


async def audit(
    url: str, *symbols: str, first: date | None = None, last: date | None = None, deep: bool = True
) -> Report:
    async with open_reader(url) as reader:
        auditor = Auditor(reader, Scope(None, symbols), first, last, deep=deep)
        return await auditor.run(database=reader.database, now_ns=NOW_NS, version="0")


@pytest.fixture
async def recorded(database_url: str, tmp_path: Path) -> AsyncIterator[tuple[str, SimulatedExchange]]:
    """A whole record of twenty minutes of two symbols over midnight."""
    tape = SyntheticTape(invented(["BTCUSDT", "ETHUSDT"]), rate=20, seed=5, start_us=START_US, seconds=1200)
    async with SimulatedExchange(tape, speed=MAX, hold_until_subscribed=True) as market:
        streams = ("aggTrade", "kline_1s", "kline_1m", "kline_5m")
        async with recording(
            database_url, market.ws_url, market.rest_url, tmp_path, symbols=("btcusdt", "ethusdt"), streams=streams
        ) as run:
            await market.finished()
            await run.until(lambda: run.stats.candles_received >= 2 * (1200 + 19 + 3))
            await run.stop()
        yield database_url, market


async def execute(url: str, statement: str, *values: object) -> str:
    connection = await asyncpg.connect(url)
    try:
        status: str = await connection.execute(statement, *values)
        return status
    finally:
        await connection.close()


async def test_a_whole_record_is_complete(recorded: tuple[str, SimulatedExchange]) -> None:
    url, market = recorded
    report = await audit(url)
    assert report.complete, report.to_json()
    assert [each.symbol for each in report.symbols] == ["btcusdt", "ethusdt"]
    for symbol in report.symbols:
        truth = [each.agg_id for each in market.agg_trades(symbol.symbol.upper())]
        assert (symbol.rows, symbol.first_id, symbol.last_id) == (len(truth), truth[0], truth[-1])
        assert [each.day for each in symbol.days] == ["2026-10-01", "2026-10-02"]
    minutes = next(each for each in report.candles if (each.symbol, each.timeframe) == ("btcusdt", "1m"))
    assert minutes.equal >= 17
    assert minutes.different == 0


async def test_coverage_is_trusted_and_the_rows_are_counted_against_it(
    recorded: tuple[str, SimulatedExchange],
) -> None:
    url, _market = recorded
    report = await audit(url, deep=False)
    trusted = {each.symbol for each in report.symbols if not each.rows_read}
    assert report.complete, report.to_json()
    connection = await asyncpg.connect(url)
    claimed = {row[0] for row in await connection.fetch("SELECT DISTINCT symbol FROM coverage")}
    if not claimed:  # a record of something that keeps no coverage: say it here, as the recorder would
        for symbol in report.symbols:
            await connection.execute(
                "INSERT INTO coverage VALUES ('spot', $1, $2, $3, 'stream', true)",
                symbol.symbol,
                symbol.first_id,
                symbol.last_id,
            )
    await connection.close()
    report = await audit(url, deep=False)
    assert report.complete, report.to_json()
    assert trusted == claimed
    assert not any(each.rows_read for each in report.symbols)
    assert report.symbols[0].days[0].sources == {"stream": report.symbols[0].days[0].rows}
    # a row that goes behind its back is missed, though only reading tells which
    gone = report.symbols[0].first_id + 50
    await execute(url, "DELETE FROM trades WHERE symbol = 'btcusdt' AND trade_id = $1", gone)
    counted = await audit(url, deep=False)
    assert not counted.complete
    assert counted.symbols[0].unaccounted == 1
    read = await audit(url)
    hole = read.symbols[0].holes[0]
    assert (hole.first, hole.last, hole.claimed) == (gone, gone, 1)
    # a hole that coverage knows is named without reading
    await execute(url, "UPDATE coverage SET last_id = $1, newest = false WHERE symbol = 'btcusdt'", gone - 1)
    await execute(
        url,
        "INSERT INTO coverage VALUES ('spot', 'btcusdt', $1, $2, 'rest', true)",
        gone + 1,
        read.symbols[0].last_id,
    )
    known = await audit(url, deep=False)
    assert [(each.first, each.last, each.day) for each in known.symbols[0].holes] == [(gone, gone, "2026-10-01")]
    assert known.symbols[0].unaccounted == 0
    # and what is proven to exist nowhere, or was neutralised, is no hole
    await execute(url, "INSERT INTO absences VALUES ('spot', 'btcusdt', $1, $1, 'nobody has it')", gone)
    for deep in (False, True):
        excused = await audit(url, "BTCUSDT".lower(), deep=deep)
        assert excused.symbols[0].missing == 0
        assert [(each.first, each.source) for each in excused.symbols[0].absent] == [(gone, "nobody has it")]


async def test_a_hole_is_named_exactly_also_over_midnight(recorded: tuple[str, SimulatedExchange]) -> None:
    url, _market = recorded
    before = (await audit(url, "btcusdt")).symbols[0]
    border = before.days[0].last_id
    await execute(
        url, "DELETE FROM trades WHERE symbol = 'btcusdt' AND trade_id BETWEEN $1 AND $2", border - 2, border + 3
    )
    await execute(url, "DELETE FROM trades WHERE symbol = 'btcusdt' AND trade_id = $1", before.first_id + 7)
    report = await audit(url)
    btc, eth = report.symbols
    assert [(each.first, each.last, each.missing, each.day) for each in btc.holes] == [
        (before.first_id + 7, before.first_id + 7, 1, "2026-10-01"),
        (border - 2, border + 3, 6, "2026-10-01"),
    ]
    assert (str(btc.holes[1].after)[:10], str(btc.holes[1].before)[:10]) == ("2026-10-01", "2026-10-02")
    assert [each.missing for each in btc.days] == [7, 0]
    assert (eth.missing, report.complete) == (0, False)
    # each of the two days alone sees the hole at its edge
    for day in DAYS:
        alone = await audit(url, "btcusdt", first=day, last=day)
        assert (border - 2, border + 3) in [(each.first, each.last) for each in alone.symbols[0].holes]
        assert [each.day for each in alone.symbols[0].days] == [day.isoformat()]
    # candles beside a hole cannot be judged, and are not said to differ
    assert all(each.different == 0 for each in report.candles)


async def test_an_id_that_is_there_twice_is_found(recorded: tuple[str, SimulatedExchange]) -> None:
    url, _market = recorded
    before = (await audit(url, "btcusdt")).symbols[0]
    again = (
        "INSERT INTO trades SELECT time + $2::interval, venue, symbol, trade_id, price, quantity, first_trade_id,"
        " last_trade_id, is_buyer_maker FROM trades WHERE symbol = 'btcusdt' AND trade_id = $1"
    )
    connection = await asyncpg.connect(url)
    await connection.execute(again, before.first_id + 3, timedelta(milliseconds=1))
    await connection.execute(again, before.first_id + 9, timedelta(hours=20))
    await connection.close()
    report = (await audit(url)).symbols[0]
    assert report.duplicates == 2
    assert report.missing == 0
    assert [(each.first, each.last, len(each.times)) for each in report.doubled] == [
        (before.first_id + 3, before.first_id + 3, 2),
        (before.first_id + 9, before.first_id + 9, 0),
    ]
    assert sum(each.duplicates for each in report.days) == 2


async def test_single_trades_that_do_not_continue_are_found(recorded: tuple[str, SimulatedExchange]) -> None:
    url, _market = recorded
    before = (await audit(url, "btcusdt")).symbols[0]
    inside, border = before.first_id + 3, before.days[1].first_id
    for trade_id in (inside, border):
        await execute(
            url,
            "UPDATE trades SET first_trade_id = first_trade_id + 1, last_trade_id = last_trade_id + 1"
            " WHERE symbol = 'btcusdt' AND trade_id = $1",
            trade_id,
        )
    report = (await audit(url, "btcusdt")).symbols[0]
    found = [each.trade_id for each in report.broken]
    assert sorted(found) == sorted([inside, inside + 1, border, border + 1])
    assert report.breaks == 4


CHANGES = {
    "close": "close + 0.00000001",
    "volume": "volume - 0.00000001",
    "trade_count": "trade_count + 1",
    # above what the aggregates allow, by the least there is
    "quote_volume": "(SELECT sum(trunc(price * quantity, 8)) + 0.00000001 FROM trades WHERE symbol = 'btcusdt'"
    " AND time >= '2026-10-01 23:55:00+00' AND time < '2026-10-01 23:56:00+00')",
    "taker_buy_quote_volume": "taker_buy_quote_volume - 1",
}


async def test_a_changed_candle_gets_a_verdict(recorded: tuple[str, SimulatedExchange]) -> None:
    url, _market = recorded
    where = "symbol = 'btcusdt' AND timeframe = '1m' AND time = '2026-10-01 23:55:00+00'"
    connection = await asyncpg.connect(url)
    original = await connection.fetchrow(f"SELECT * FROM candles WHERE {where}")
    for field, change in CHANGES.items():
        await connection.execute(f"UPDATE candles SET {field} = {change} WHERE {where}")
        for _ in range(2):  # doing it twice changes nothing
            report = await audit(url)
            minutes = next(each for each in report.candles if (each.symbol, each.timeframe) == ("btcusdt", "1m"))
            assert not report.complete
            assert [(each.field, each.open_text) for each in minutes.verdicts] == [(field, "2026-10-01T23:55:00Z")]
            assert minutes.different == 1
            rows = await connection.fetch("SELECT symbol, timeframe, field, stored FROM verdicts")
            assert [tuple(row) for row in rows] == [("btcusdt", "1m", field, minutes.verdicts[0].stored)]
        await connection.execute(f"UPDATE candles SET {field} = $1 WHERE {where}", original[field])
    assert (await audit(url)).complete
    assert await connection.fetchval("SELECT count(*) FROM verdicts") == 0
    await connection.close()


async def test_who_may_only_read_is_answered_all_the_same(recorded: tuple[str, SimulatedExchange]) -> None:
    url, _market = recorded
    role = f"reader_{uuid.uuid4().hex[:8]}"
    await execute(url, f"CREATE ROLE {role} LOGIN PASSWORD 'x'; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
    try:
        async with open_reader(f"{url}?options=-crole%3D{role}") as reader:
            report = await Auditor(reader, Scope(), deep=True).run(database="", now_ns=0, version="0")
        assert report.complete
        assert report.verdicts_stored is False
    finally:
        await execute(url, f"DROP OWNED BY {role}; DROP ROLE {role}")


async def test_a_missing_candle_is_named(recorded: tuple[str, SimulatedExchange]) -> None:
    url, _market = recorded
    await execute(
        url,
        "DELETE FROM candles WHERE symbol = 'ethusdt' AND timeframe = '1m' AND time BETWEEN"
        " '2026-10-01 23:58:00+00' AND '2026-10-02 00:01:00+00'",
    )
    for deep in (False, True):
        report = await audit(url, deep=deep)
        minutes = next(each for each in report.candles if (each.symbol, each.timeframe) == ("ethusdt", "1m"))
        assert [(each.first_open, each.last_open, each.slots) for each in minutes.holes] == [
            ("2026-10-01T23:58:00Z", "2026-10-02T00:01:00Z", 4)
        ]
        assert not report.complete


def series_of(report: Report, symbol: str, timeframe: str) -> CandleReport:
    return next(each for each in report.candles if (each.symbol, each.timeframe) == (symbol, timeframe))


async def test_candles_are_counted_against_their_coverage_and_read_where_they_do_not_fit(
    recorded: tuple[str, SimulatedExchange],
) -> None:
    url, _market = recorded
    report = await audit(url, deep=False)
    assert not any(each.rows_read for each in report.candles)
    assert all(sum(each.sources.values()) == each.rows for each in report.candles), report.to_json()
    minutes = series_of(report, "btcusdt", "1m")
    assert sum(each.slots for each in minutes.covered) == minutes.rows
    assert minutes.covered[0].first_open == minutes.first_open
    # a hole that coverage knows is named without reading
    await execute(url, "DELETE FROM candles WHERE timeframe = '1m' AND time = '2026-10-01 23:58Z'")
    await execute(url, "DELETE FROM candle_coverage WHERE timeframe = '1m' AND symbol = 'btcusdt'")
    slot = Timeframe.M1.slot(parse_utc("2026-10-01T23:58:00Z"))
    first, last = (Timeframe.M1.slot(parse_utc(text)) for text in (minutes.first_open, minutes.last_open))
    claim = "INSERT INTO candle_coverage VALUES ('spot', 'btcusdt', '1m', $1, $2, $3, $4)"
    await execute(url, claim, first, slot - 1, "stream", False)
    await execute(url, claim, slot + 1, last, "rest", True)
    # of ethusdt it claims what is not there: that is found by reading
    report = await audit(url, deep=False)
    for symbol, read in (("btcusdt", False), ("ethusdt", True)):
        found = series_of(report, symbol, "1m")
        assert found.rows_read is read
        assert [(each.first_open, each.slots) for each in found.holes] == [("2026-10-01T23:58:00Z", 1)]
    assert series_of(report, "btcusdt", "1m").sources == {"stream": slot - first, "rest": last - slot}
    # what is proven to exist nowhere is no hole
    await execute(url, "INSERT INTO candle_absences VALUES ('spot', 'btcusdt', '1m', $1, $1, 'nobody has it')", slot)
    for deep in (False, True):
        excused = series_of(await audit(url, "btcusdt", deep=deep), "btcusdt", "1m")
        assert (excused.missing, excused.holes) == (0, [])
        assert [(each.first_open, each.slots, each.source) for each in excused.absent] == [
            ("2026-10-01T23:58:00Z", 1, "nobody has it")
        ]
    # without any of these tables the rows alone tell
    await execute(url, "DROP TABLE candle_coverage, candle_absences")
    report = await audit(url, deep=False)
    assert all(each.rows_read for each in report.candles)
    assert [series_of(report, symbol, "1m").missing for symbol in ("btcusdt", "ethusdt")] == [1, 1]


async def test_what_was_never_recorded_is_told_with_what_is_there(recorded: tuple[str, SimulatedExchange]) -> None:
    url, _market = recorded
    with pytest.raises(ConfigError, match=r"never recorded.*dogeusdt.*btcusdt \(spot\), ethusdt \(spot\)"):
        await audit(url, "btcusdt", "dogeusdt")
    with pytest.raises(ConfigError, match="2026-10-01 to 2026-10-02"):
        await audit(url, first=date(2026, 9, 1), last=date(2026, 9, 30))
    with pytest.raises(ConfigError, match="2026-10-01 to 2026-10-02"):
        await audit(url, first=date(2027, 1, 16))  # it has not begun


@pytest.mark.parametrize("deep", [False, True])
async def test_a_day_without_a_row_is_missing(recorded: tuple[str, SimulatedExchange], *, deep: bool) -> None:
    """The worst day: nothing was recorded on it, and it is a finding like any other hole."""
    url, _market = recorded
    behind = await audit(url, first=date(2026, 10, 3), last=date(2026, 10, 4), deep=deep)
    assert behind.empty_days == ["2026-10-03", "2026-10-04"]
    assert behind.empty_stretches() == [("2026-10-03", "2026-10-04")]
    assert not behind.complete
    partly = await audit(url, first=date(2026, 10, 2), last=date(2026, 10, 3), deep=deep)
    assert partly.empty_days == ["2026-10-03"]
    assert partly.symbols
    assert not partly.complete
    open_end = await audit(url, first=date(2027, 1, 14), deep=deep)
    assert open_end.empty_days == ["2027-01-14", "2027-01-15"]  # up to now
    assert (await audit(url, first=date(2026, 10, 2), deep=deep)).empty_days == []


@pytest.mark.parametrize("claimed", [True, False])
@pytest.mark.parametrize("deep", [False, True])
async def test_a_day_between_recorded_ones_is_missing(database_url: str, *, deep: bool, claimed: bool) -> None:
    sink = await open_sink(database_url)
    for day, first in (("2026-10-01", 1), ("2026-10-03", 21)):
        line = f"{day} 12:00:00+00\tspot\tbtcusdt\t%d\t1\t1\t1\t1\tt\t\\N\n"
        rows = [(line % number).encode() for number in range(first, first + 10)]
        proof = [Covered("spot", "btcusdt", first, first + 9, Source.STREAM)] if claimed else []
        await sink.write(Batch(Table.TRADES, rows, proof))
    await sink.close()
    report = await audit(database_url, first=date(2026, 10, 2), last=date(2026, 10, 2), deep=deep)
    assert not report.complete
    assert (report.totals()["missing"], report.empty_days) == ((10, []) if claimed else (0, ["2026-10-02"]))


async def test_long_candles_are_held_against_days(database_url: str) -> None:
    """A week and a month from trades hours apart; what lies beyond the record is not judged."""
    sink = await open_sink(database_url)
    start = datetime(2026, 8, 30, tzinfo=UTC)
    rows, held = [], []
    for number in range(40 * 4):
        moment = start + timedelta(hours=6 * number)
        price = Decimal(100) + number % 7
        rows.append(
            f"{moment:%Y-%m-%d %H:%M:%S}+00\tspot\tbtcusdt\t{number}\t{price}\t1\t{number}\t{number}\tf\t\\N\n".encode()
        )
        held.append((moment, price, number))
    await sink.write(Batch(Table.TRADES, rows))

    def candle(frame: str, opens: datetime, ends: datetime, *, wrong: int = 0) -> bytes:
        inside = [each for each in held if opens <= each[0] < ends]
        prices = [each[1] for each in inside]
        count, quote = len(inside), sum(prices) + wrong
        values = (prices[0], max(prices), min(prices), prices[-1], count, quote, count, count, sum(prices))
        told = "\t".join(map(str, (*values, inside[0][2], inside[-1][2])))
        return f"{opens:%Y-%m-%d} 00:00:00+00\tspot\tbtcusdt\t{frame}\t{told}\n".encode()

    def day(month: int, number: int) -> datetime:
        return datetime(2026, month, number, tzinfo=UTC)

    await sink.write(
        Batch(
            Table.CANDLES,
            [
                candle("1w", day(8, 31), day(9, 7)),
                candle("1w", day(9, 7), day(9, 14), wrong=1),
                candle("1w", day(9, 14), day(9, 21)),
                candle("1M", day(8, 1), day(9, 1)),
                candle("1M", day(9, 1), day(10, 1)),
                candle("3d", day(9, 2), day(9, 5)),
            ],
        )
    )
    await sink.close()
    report = await audit(database_url)
    found = {each.timeframe: (each.equal, each.different, each.not_checkable) for each in report.candles}
    assert found == {"1w": (2, 1, 0), "1M": (2, 0, 0), "3d": (1, 0, 0)}
    assert [(each.field, each.open_text) for series in report.candles for each in series.verdicts] == [
        ("quote_volume", "2026-09-07T00:00:00Z")
    ]


async def test_tables_that_something_else_has_made(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    await connection.execute(
        "CREATE TABLE trades (time timestamptz, venue text, symbol text, trade_id bigint, price numeric(20,8),"
        " quantity numeric(20,8), first_trade_id bigint, last_trade_id bigint, is_buyer_maker boolean);"
        " CREATE TABLE candles (time timestamptz, venue text, symbol text, timeframe text, open numeric, high numeric,"
        " low numeric, close numeric, volume numeric, quote_volume numeric, trade_count bigint, taker_buy_volume"
        " numeric, taker_buy_quote_volume numeric, first_trade_id bigint, last_trade_id bigint)"
    )
    with pytest.raises(ConfigError, match="nothing is recorded"):
        await audit(database_url)
    await connection.execute(
        "INSERT INTO trades SELECT '2024-08-08 12:00+00'::timestamptz + n * interval '1 second', 'usdm', 'btcusdt', n,"
        " 1, 1, n * 3, n * 3, true FROM generate_series(1, 100) n WHERE n NOT IN (5, 6)"
    )
    await connection.execute(
        "INSERT INTO candles VALUES ('2024-08-08 12:00:30+00', 'usdm', 'btcusdt', '1m', 1,1,1,1,1)"
    )
    await connection.close()
    for deep in (False, True):
        report = await audit(database_url, deep=deep)
        symbol = report.symbols[0]
        assert symbol.rows_read
        assert [(each.first, each.last) for each in symbol.holes] == [(5, 6)]
        assert symbol.breaks == 0  # single trades have holes of their own on futures
        assert report.candles[0].misplaced == 1
        assert report.verdicts_stored is (False if deep else None)


# -- the certificate --------------------------------------------------------------------------------------


async def certificate(url: str) -> dict[str, Any]:
    async with open_reader(url) as reader:
        auditor = Auditor(reader, Scope(), deep=True)
        report = await auditor.run(database=reader.database, now_ns=NOW_NS, version="0")
        return json.loads(json.dumps(await certify(reader, report, lambda *_: None)))


async def check(url: str, document: dict[str, Any]) -> list[str]:
    async with open_reader(url) as reader:
        return await recheck(reader, document, lambda *_: None)


async def test_a_certificate_holds_until_a_digit_changes(recorded: tuple[str, SimulatedExchange]) -> None:
    url, _market = recorded
    document = await certificate(url)
    assert document["statement"]["complete"]
    assert len(document["digests"]) == 2 * 2 * (1 + 3)
    assert await check(url, document) == []
    # who recorded when does not matter; nor does what is recorded later
    await execute(url, "UPDATE trades SET received_at = NULL")
    last = document["statement"]["symbols"][0]["last_id"]
    await execute(
        url,
        "INSERT INTO trades SELECT time + interval '1 minute', venue, symbol, trade_id + 1, price, quantity,"
        " last_trade_id + 1, last_trade_id + 1, is_buyer_maker FROM trades WHERE symbol = 'btcusdt' AND trade_id = $1",
        last,
    )
    assert await check(url, document) == []
    first = document["statement"]["symbols"][1]["days"][1]["first_id"]
    await execute(
        url, "UPDATE trades SET price = price + 0.00000001 WHERE symbol = 'ethusdt' AND trade_id = $1", first + 5
    )
    wrong = await check(url, document)
    assert len(wrong) == 1
    assert wrong[0].startswith("spot ethusdt trades on 2026-10-02:")
    await execute(url, "DELETE FROM trades WHERE symbol = 'ethusdt' AND trade_id = $1", first + 5)
    assert "rows were certified" in (await check(url, document))[0]
    await execute(url, "UPDATE candles SET high = high + 1 WHERE timeframe = '5m' AND symbol = 'btcusdt'")
    assert [each.split(":")[0] for each in await check(url, document)] == [
        "spot btcusdt 5m on 2026-10-01",
        "spot btcusdt 5m on 2026-10-02",
        "spot ethusdt trades on 2026-10-02",
    ]


async def test_an_altered_certificate_does_not_hold(recorded: tuple[str, SimulatedExchange]) -> None:
    url, _market = recorded
    document = await certificate(url)
    altered = json.loads(json.dumps(document))
    altered["statement"]["symbols"][0]["rows"] += 1
    assert await check(url, altered) == ["the certificate was altered: its sha256 is not that of its text"]
    altered["sha256"] = canonical_sha256(altered)
    assert await check(url, altered) == []  # a new hash is a new document, and its digests are true
    altered["digests"][0]["rows"] += 1
    altered["sha256"] = canonical_sha256(altered)
    assert len(await check(url, altered)) == 1
    altered["sql"]["trades"] = "DROP TABLE trades"
    altered["sha256"] = canonical_sha256(altered)
    with pytest.raises(ConfigError, match="other SQL"):
        await check(url, altered)


async def test_the_certificates_sql_works_in_psql(recorded: tuple[str, SimulatedExchange], tmp_path: Path) -> None:
    psql = shutil.which("psql")
    if psql is None:
        pytest.skip("no psql on this machine")
    url, _market = recorded
    document = await certificate(url)
    for each in document["digests"]:
        variables = {
            "venues": f"{{{each['venue']}}}", "symbols": f"{{{each['symbol']}}}",
            "timeframes": f"{{{each['timeframe']}}}", "firsts": f"{{{each['first']}}}", "lasts": f"{{{each['last']}}}",
            "day": each["day"],
        }  # fmt: skip
        given = [word for name, value in variables.items() for word in ("-v", f"{name}={value}")]
        script = tmp_path / "digest.sql"
        script.write_text(document["sql"][each["series"]] + ";\n")
        done = await asyncio.create_subprocess_exec(
            psql, url, "-At", *given, "-f", str(script), stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PGTZ": "Asia/Kathmandu"},
        )  # fmt: skip
        answer, _ = await done.communicate()
        assert answer.decode().strip().split("|")[3:] == [str(each["rows"]), each["sha256"]]


@pytest.mark.parametrize("deep", [False, True])
async def test_a_day_inside_a_hole_has_that_hole(database_url: str, deep: bool) -> None:
    """Nothing is recorded on that day, and the record goes on behind it: this is a hole, and no wrong date."""
    sink = await open_sink(database_url)
    for day, first in ((1, 0), (6, 60)):
        rows = [
            f"2026-10-{day:02} 12:00:{n:02}+00\tusdm\tbtcusdt\t{first + n}\t1\t1\t{n}\t{n}\tf\t\\N\n".encode()
            for n in range(10)
        ]
        await sink.write(Batch(Table.TRADES, rows, [Covered("usdm", "btcusdt", first, first + 9, Source.STREAM)]))
    await sink.close()
    for asked in (date(2026, 10, 3), None):
        report = await audit(database_url, "btcusdt", first=asked, last=asked, deep=deep)
        assert not report.complete
        [hole] = report.symbols[0].holes
        assert (hole.first, hole.last) == (10, 59)
        assert hole_days(report.symbols[0], hole) == (date(2026, 10, 1), date(2026, 10, 6))
