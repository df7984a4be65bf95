"""What the page asks of a database, on every kind of it: candles with their marks, the heat map, gaps and commands."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable
from datetime import timedelta
from typing import Any

import pytest
from records import DAY, SECOND, SERVERS, Record, record_on, trade

from crypto_quant.errors import ConfigError, StoreUnavailable
from crypto_quant.seams import Source
from crypto_quant.web.readings import Readings

ONE_DAY = timedelta(days=1)
HOSTILE = "<img src=x onerror=alert(1)>\u202e'; rm -rf ~"


@pytest.fixture(params=SERVERS)
async def record(request: pytest.FixtureRequest) -> AsyncIterator[Record]:
    async with record_on(request.param) as lent:
        yield lent


class Asked:
    """Readings whose clock is set by hand, so that every question is asked anew when it is wanted."""

    def __init__(self, record: Record) -> None:
        self.now_s = 0.0
        # the Community edition's server takes one connection at a time
        self.readings = Readings(record.url, lambda: self.now_s, connections=1)

    async def anew(self, reading: Awaitable[bytes]) -> Any:
        self.now_s += 1000.0
        answer = json.loads(await reading)
        await self.readings.let_go()
        return answer

    async def map(self, kind: str = "trades") -> dict[str, tuple[str, dict[str, Any]]]:
        """The heat map when every day is read: by symbol the states and the notes."""
        while True:
            answer = await self.anew(self.readings.completeness(kind))
            if not answer["unread"]:
                await self.readings.let_go()
                return {symbol: (states.lstrip("n"), notes) for _, symbol, states, notes in answer["rows"]}
            await asyncio.sleep(0.02)


@pytest.fixture
async def asked(record: Record) -> AsyncIterator[Asked]:
    lent = Asked(record)
    yield lent
    await lent.readings.close()


async def test_candles_of_trades_with_a_hole_that_is_filled(record: Record, asked: Asked) -> None:
    rows = [trade(number) for number in range(240) if number not in (100, 101, 102)]
    await record.trades(rows)

    answer = await asked.anew(asked.readings.candles("spot", "btcusdt", "1m"))
    assert answer["source"] == "trades"
    assert [row[0] - int(DAY.timestamp()) for row in answer["candles"]] == [0, 60, 120, 180]
    # decimal text, to the last digit
    assert answer["candles"][0][1:] == ["57034.01000000", "57093.01000000", "57034.01000000", "57093.01000000",
                                        "0.18300000"]  # fmt: skip
    begin_ms = int(DAY.timestamp()) * 1000
    assert answer["marks"] == [[begin_ms + 99_000, begin_ms + 103_000, 3, "open", "", None]]

    await record.trades([trade(number) for number in (100, 101, 102)], covered=False)
    await record.cover([(100, 102)], Source.REST)
    answer = await asked.anew(asked.readings.candles("spot", "btcusdt", "1m"))
    [[start, end, size, state, source, at]] = answer["marks"]
    assert (start, end, size, state, source) == (begin_ms + 100_000, begin_ms + 102_000, 3, "fetched", "rest")
    assert at > begin_ms


async def test_stored_candles_come_first_and_the_running_one_of_trades(record: Record, asked: Asked) -> None:
    await record.candles([DAY + each * 60 * SECOND for each in range(3)], "1m")
    await record.trades([trade(number) for number in range(175, 190)])
    answer = await asked.anew(asked.readings.candles("spot", "btcusdt", "1m"))
    assert answer["source"] == "stored"
    assert [row[0] - int(DAY.timestamp()) for row in answer["candles"]] == [0, 60, 120, 180]
    assert answer["candles"][2][4] == "1.50000000"
    assert answer["candles"][3][1] == "57214.01000000"


async def test_the_map_tells_holes_from_repairs_and_from_what_was_dropped(record: Record, asked: Asked) -> None:
    def rows(day: int, first: int, last: int) -> list[Any]:
        return [
            trade(number, DAY + day * ONE_DAY + (7200 + number % 1000) * SECOND) for number in range(first, last + 1)
        ]

    # a day each: begins, whole, with a hole, nothing traded, its end missing, the last
    await record.trades(rows(0, 1000, 1009) + rows(1, 1010, 1019) + rows(2, 1020, 1023) + rows(2, 1026, 1029))
    await record.trades(rows(4, 1030, 1036) + rows(5, 1040, 1049))
    await record.trades(rows(5, 10, 19), symbol="ethusdt", covered=False)
    found = await asked.map()
    states, notes = found["btcusdt"]
    assert states == "cchchc"
    by_day = {int(at) - 24: cell for at, cell in notes.items()}
    # state, missing, gone, unproven, dropped, fetched, rows, from, to
    assert by_day[0][7] > 0
    assert by_day[2][:7] == ["h", 2, 0, 0, 0, 0, 8]
    assert by_day[4][:7] == ["h", 3, 0, 0, 0, 0, 7]
    assert found["ethusdt"][0] == "u"

    await record.trades(rows(2, 1024, 1025), covered=False)
    await record.cover([(1024, 1025)], Source.ARCHIVE)
    states, notes = (await asked.map())["btcusdt"]
    assert states == "ccrchc"
    assert notes["26"][5] == 2
    # a row that is proven and gone
    await record.execute("DELETE FROM trades WHERE trade_id = 1015")
    fresh = Asked(record)
    assert (await fresh.map())["btcusdt"][0] == "chrchc"

    await record.drop_before(DAY + ONE_DAY)
    assert (await fresh.map())["btcusdt"][0].endswith("hrchc")
    told = await fresh.anew(fresh.readings.gaps("spot", "btcusdt", str((DAY + 4 * ONE_DAY).date()), "trades"))
    assert told["command"] == "crypto-quant repair btcusdt --from 2024-08-12 --to 2024-08-12"
    [hole] = [part for part in told["parts"] if part["state"] == "open"]
    assert (hole["first"], hole["last"], hole["missing"]) == ("1037", "1039", 3)
    assert (hole["from"], hole["to"]) == (
        int((DAY + 4 * ONE_DAY + 7236 * SECOND).timestamp() * 1000),
        int((DAY + 5 * ONE_DAY + 7240 * SECOND).timestamp() * 1000),
    )
    told = await fresh.anew(fresh.readings.gaps("spot", "btcusdt", str((DAY + 2 * ONE_DAY).date()), "trades"))
    [filled] = told["parts"]
    assert (filled["state"], filled["source"], filled["missing"]) == ("fetched", "archive", 2)
    assert "command" not in told
    await fresh.readings.close()


async def test_a_hole_that_is_filled_is_seen_without_counting_the_day_again(record: Record, asked: Asked) -> None:
    await record.trades([trade(number) for number in range(50) if number != 20])
    assert (await asked.map())["btcusdt"][0] == "h"
    await asked.readings.let_go()
    await record.trades([trade(20)], covered=False)
    await record.cover([(20, 20)], Source.REST)
    # time stands still but for the age of the answer
    asked.now_s += 6.0
    answer = json.loads(await asked.readings.completeness("trades"))
    await asked.readings.let_go()
    assert answer["rows"][0][2].lstrip("n") == "r"


async def test_the_map_of_candles(record: Record, asked: Asked) -> None:
    hour = timedelta(hours=1)
    await record.candles([DAY + each * hour for each in range(12, 72) if each not in (30, 31)], "1h")
    states, notes = (await asked.map("1h"))["btcusdt"]
    assert states == "chc"
    [begins, hole] = [notes[at] for at in sorted(notes)]
    assert begins[7] == 500
    assert hole[1] == 2
    told = await asked.anew(asked.readings.gaps("spot", "btcusdt", "2024-08-09", "1h"))
    assert [(part["first"], part["last"]) for part in told["parts"]] == [
        ("2024-08-09T06:00:00Z", "2024-08-09T07:00:00Z")
    ]
    assert told["command"].startswith("crypto-quant repair btcusdt ")


async def test_a_hostile_symbol_is_a_name_as_any_other(record: Record, asked: Asked) -> None:
    await record.trades([trade(number) for number in range(20) if number != 7], symbol=HOSTILE)
    answer = await asked.anew(asked.readings.series())
    assert answer["series"] == [["spot", HOSTILE, "trades"]]
    assert len((await asked.anew(asked.readings.candles("spot", HOSTILE, "1m")))["candles"]) == 1
    assert (await asked.map())[HOSTILE][0] == "h"
    told = await asked.anew(asked.readings.gaps("spot", HOSTILE, str(DAY.date()), "trades"))
    # a shell takes it for one word
    assert told["command"].startswith("crypto-quant repair '<img src=x")
    assert "'\"'\"'; rm -rf ~' --from" in told["command"]


async def test_tables_have_sizes(record: Record, asked: Asked) -> None:
    await record.trades([trade(number) for number in range(20)])
    tables = (await asked.anew(asked.readings.tables()))["tables"]
    assert [table[0] for table in tables] == ["trades", "candles"]
    assert tables[0][1] > 0
    assert tables[0][2] == 1


@pytest.mark.parametrize(
    ("timeframe", "kind", "day"), [("2m", "trades", "2024-08-08"), ("1m", "1w", "2024-08-08"), ("1m", "1m", "8 August")]
)
async def test_what_makes_no_sense_is_refused(timeframe: str, kind: str, day: str) -> None:
    readings = Readings("postgresql://nobody@127.0.0.1:1/none")
    with pytest.raises(ConfigError):  # noqa: PT012 - one of the three it is
        if timeframe == "2m":
            await readings.candles("spot", "btcusdt", timeframe)
        if kind == "1w":
            await readings.completeness(kind)
        await readings.gaps("spot", "btcusdt", day, "trades")


async def test_a_database_that_is_away_is_asked_once_for_all_and_again_later() -> None:
    now_s = 0.0
    readings = Readings("postgresql://nobody@127.0.0.1:1/none", lambda: now_s)
    answers = await asyncio.gather(*(readings.tables() for _ in range(50)), return_exceptions=True)
    assert all(isinstance(answer, StoreUnavailable) for answer in answers)
    assert len({id(answer) for answer in answers}) == 1
    now_s = 1.0
    with pytest.raises(StoreUnavailable) as first:
        await readings.tables()
    assert first.value is answers[0]
    now_s = 10.0
    with pytest.raises(StoreUnavailable) as second:
        await readings.tables()
    assert second.value is not answers[0]
    await readings.close()


async def test_without_a_database_it_says_so() -> None:
    with pytest.raises(ConfigError, match="no database to read from"):
        await Readings(None, why_none="None is known").completeness("trades")
