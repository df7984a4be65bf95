"""Batches of trades and candles, and what lacks of them, on every kind of database."""

import warnings
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pyarrow as pa
import pytest
from records import DAY, SECOND, SERVERS, Record, record_on, trade

from crypto_quant.completeness import DROPPED, GONE, MISSING, UNPROVEN
from crypto_quant.errors import ConfigError, Incomplete
from crypto_quant.market import NS_PER_S
from crypto_quant.reading.database import Database, IncompleteWarning
from crypto_quant.seams import Source, Table
from crypto_quant.store import readout
from crypto_quant.store.tier import Tier

DAY_NS = int(DAY.timestamp()) * NS_PER_S


@pytest.fixture(params=SERVERS)
async def record(request: pytest.FixtureRequest) -> AsyncIterator[Record]:
    async with record_on(request.param) as record:
        yield record


@pytest.fixture
def db(record: Record) -> Iterator[Database]:
    with Database(record.url) as opened:
        if record.tier is Tier.TIMESCALE_COMMUNITY:
            record.release = opened.close
        yield opened


def at(second: float) -> datetime:
    return DAY + timedelta(seconds=second)


def ids(table: pa.Table) -> list[int]:
    return table.column("trade_id").to_pylist()  # type: ignore[no-any-return]


def told(db: Database, start: float, end: float) -> list[tuple[float, float, int | None, int | None, str]]:
    """What lacks, with times as seconds of the day."""
    return [
        ((each.start - DAY_NS) / NS_PER_S, (each.end - DAY_NS) / NS_PER_S, each.first, each.last, each.why)
        for each in db.lacks("btcusdt", at(start), at(end))
    ]


async def test_trades_come_whole_and_in_order(record: Record, db: Database) -> None:
    rows = [trade(n) for n in range(10)]
    rows[4] = trade(4, at(3), received_at=at(3.000007))  # at the same moment as number 3
    await record.trades(rows[::-1])
    await record.trades([trade(n) for n in range(5)], symbol="ethusdt")
    table = db.trade_batches("BTCUSDT", at(1), at(8)).read_all()
    assert [tuple(row.values()) for row in table.to_pylist()] == rows[1:8]
    assert {name: str(kind) for name, kind in zip(table.schema.names, table.schema.types, strict=True)} == {
        "time": "timestamp[us, tz=UTC]", "trade_id": "int64", "price": "decimal128(20, 8)",
        "quantity": "decimal128(20, 8)", "first_trade_id": "int64", "last_trade_id": "int64",
        "is_buyer_maker": "bool", "received_at": "timestamp[us, tz=UTC]",
    }  # fmt: skip
    assert table.schema.metadata == {b"kind": b"trades", b"venue": b"spot", b"symbol": b"btcusdt"}


async def test_open_ends_are_those_of_the_record(record: Record, db: Database) -> None:
    await record.trades([trade(n) for n in range(100, 110)])
    batches = db.trade_batches("btcusdt")
    assert batches.lacks == ()
    assert (batches.span.start, batches.span.end) == (DAY_NS + 100 * NS_PER_S, DAY_NS + 109 * NS_PER_S + 1000)
    assert ids(batches.read_all()) == list(range(100, 110))
    assert ids(db.trade_batches("btcusdt", end=at(103)).read_all()) == [100, 101, 102]
    assert ids(db.trade_batches("btcusdt", start=at(108)).read_all()) == [108, 109]


async def test_columns_can_be_chosen(record: Record, db: Database) -> None:
    await record.trades([trade(n) for n in range(3)])
    table = db.trade_batches("btcusdt", columns=["price", "time"]).read_all()
    assert table.schema.names == ["price", "time"]
    assert table.column("price").to_pylist() == [Decimal("57034.01000000") + n for n in range(3)]
    with pytest.raises(ConfigError, match=r"unknown column: 'prize'.*price"):
        db.trade_batches("btcusdt", columns=["prize"])


async def test_what_lacks_is_told(record: Record, db: Database) -> None:
    await record.trades([trade(n) for n in (*range(10, 20), *range(23, 30), 31)])
    assert told(db, 10, 20) == [(10, 10, None, None, UNPROVEN), (19.000001, 20, 20, 22, MISSING)]
    assert told(db, 11, 19) == []
    assert told(db, 12, 28) == [(19, 23.000001, 20, 22, MISSING)]
    assert told(db, 20.5, 22.5) == [(20.5, 22.5, 20, 22, MISSING)]
    assert told(db, 18.5, 18.7) == []
    assert told(db, 25, 40) == [(29, 31.000001, 30, 30, MISSING), (31.000001, 40, None, None, UNPROVEN)]
    await record.execute(
        "INSERT INTO absences (venue, symbol, first_id, last_id, proof) VALUES ('spot', 'btcusdt', 20, 21, 'asked')"
    )
    await record.cover([(22, 22)], Source.VOID)
    assert told(db, 11, 20) == []
    assert told(db, 12, 28) == []
    assert told(db, 20.5, 22.5) == []


async def test_the_first_trade_of_all_has_none_before_it(record: Record, db: Database) -> None:
    await record.trades([trade(n) for n in range(5)])
    assert told(db, -1000, 3) == []
    assert db.trade_batches("btcusdt", at(-1000), at(3)).read_all().num_rows == 3


async def test_rows_prove_themselves_where_coverage_says_nothing(record: Record, db: Database) -> None:
    await record.trades([trade(n) for n in (*range(10, 20), *range(23, 30))], covered=False)
    assert told(db, 11, 19) == []
    assert told(db, 12, 28) == [(19, 23.000001, 20, 22, MISSING)]
    await record.cover([(10, 13)])
    assert told(db, 11, 19) == []
    assert ids(db.trade_batches("btcusdt", at(11), at(19)).read_all()) == list(range(11, 19))


async def test_on_gap(record: Record, db: Database) -> None:
    await record.trades([trade(n) for n in (1, 2, 4, 5)])
    with pytest.raises(Incomplete, match=r"not all trades of btcusdt \(spot\) are there.*: 3 missing.*repair") as told:
        db.trade_batches("btcusdt", at(2), at(5))
    assert told.value.exit_code == 3
    with pytest.warns(IncompleteWarning, match="3 missing"):
        batches = db.trade_batches("btcusdt", at(2), at(5), on_gap="warn")
    assert [each.first for each in batches.lacks] == [3]
    assert ids(batches.read_all()) == [2, 4]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ids(db.trade_batches("btcusdt", at(2), at(5), on_gap="ignore").read_all()) == [2, 4]
    with pytest.raises(ConfigError, match=r"unknown on_gap: 'shrug'"):
        db.trade_batches("btcusdt", on_gap="shrug")


async def test_rows_that_are_gone_are_found(record: Record, db: Database) -> None:
    await record.trades([trade(n) for n in range(20)])
    await record.execute("DELETE FROM trades WHERE trade_id BETWEEN 7 AND 9 OR trade_id <= 2")
    # in the midst coverage is believed, until the rows have been read
    batches = db.trade_batches("btcusdt", at(5), at(15))
    assert batches.lacks == ()
    with pytest.raises(Incomplete, match=r"00:00:06Z to .*00:00:10\.000001Z: 7 to 9 gone"):
        batches.read_all()
    assert told(db, 5, 15) == [(6, 10.000001, 7, 9, MISSING)]
    # at an end it is not: on which side of it the rows were, nobody can tell
    assert [each[2:] for each in told(db, 1, 6)] == [(None, None, UNPROVEN)]
    assert [each[2:] for each in told(db, 8, 15)] == [(7, 9, MISSING)]
    with pytest.warns(IncompleteWarning, match="7 to 9 gone"):
        assert db.trade_batches("btcusdt", at(5), at(15), on_gap="warn").read_all().num_rows == 7


async def test_what_was_dropped_on_purpose_is_told(record: Record, db: Database) -> None:
    # ids 0 to 19 on the first day, 20 to 29 without 25 on the second
    first_day = [trade(n, at(86_380 + n)) for n in range(20)]
    await record.trades([*first_day, *(trade(n, at(86_400 + n)) for n in (*range(20, 25), *range(26, 30)))])
    await record.drop_before(at(86_400))
    assert told(db, 86_421, 86_424) == []
    # before the first trade that is there
    assert told(db, 0, 86_424) == [(0, 86_420, None, None, DROPPED)]
    assert told(db, 3600, 7200) == [(3600, 7200, None, None, DROPPED)]
    # weeks before it
    assert told(db, -86_400 * 30, -86_400 * 29) == [(-86_400 * 30, -86_400 * 29, None, None, DROPPED)]
    # never recorded: a hole, and what is newer than all
    assert told(db, 86_421, 86_428) == [(86_424, 86_426.000001, 25, 25, MISSING)]
    assert [each[2:] for each in told(db, 86_400 * 20, 86_400 * 21)] == [(None, None, UNPROVEN)]
    way = (
        r"not all trades of btcusdt \(spot\) are there: .*dropped on purpose.*`crypto-quant backfill` fetches what was"
    )
    with pytest.raises(Incomplete, match=way) as refused:
        db.trades("btcusdt", at(0), at(86_424))
    assert "repair" not in str(refused.value)
    with pytest.raises(Incomplete, match=r"25 missing.*`crypto-quant repair` or.*purpose again from the archives"):
        db.trades("btcusdt", at(0), at(86_428))
    assert ids(db.trades("btcusdt", at(0), at(86_424), on_gap="ignore")) == list(range(20, 24))
    with pytest.raises(Incomplete, match="dropped on purpose"):
        db.candles("btcusdt", "1m", at(86_340), at(86_460))
    # some of it is fetched again: between rows the ids are known
    await record.trades(first_day[:5])
    assert told(db, 86_382, 86_424) == [(86_384, 86_420.000001, 5, 19, DROPPED)]
    assert db.gaps("btcusdt", at(86_382), at(86_424)).to_pylist() == [
        {"start": at(86_384), "end": at(86_420.000001), "first": 5, "last": 19, "missing": 15, "why": "dropped"}
    ]
    # what was proven again and is gone is not gone on purpose
    await record.execute("DELETE FROM trades WHERE trade_id = 2")
    with pytest.raises(Incomplete, match="2 gone"):
        db.trade_batches("btcusdt", at(86_381), at(86_384)).read_all()
    assert [each[2:] for each in told(db, 86_381, 86_384)] == [(2, 2, MISSING)]
    await record.trades(first_day[2:3], covered=False)
    await record.trades(first_day[5:])
    assert told(db, 86_380, 86_424) == []


async def test_a_symbol_of_which_all_was_dropped(record: Record, db: Database) -> None:
    await record.trades([trade(n) for n in range(5)])
    await record.drop_before(at(86_400))
    with pytest.raises(
        ConfigError, match=r"no trades of this symbol: btcusdt.*dropped on purpose.*`crypto-quant backfill`"
    ):
        db.trades("btcusdt")
    assert [each[2:] for each in told(db, 0, 5)] == [(None, None, DROPPED), (None, None, UNPROVEN)]


async def test_candles_that_were_dropped_on_purpose_are_told(record: Record, db: Database) -> None:
    day = 86_400 * 60
    opens = [DAY + n * 300 * SECOND for n in range(4)]
    later = [DAY + (day + n * 300) * SECOND for n in range(4)]
    await record.candles([*opens, *later])
    await record.drop_before(at(day), Table.CANDLES)

    def lacks(start: float, end: float) -> list[tuple[float, float, str]]:
        found = db.lacks("btcusdt", at(start), at(end), timeframe="5m")
        return [((each.start - DAY_NS) / NS_PER_S, (each.end - DAY_NS) / NS_PER_S, each.why) for each in found]

    assert lacks(-300, 1500) == [(-300, 0, UNPROVEN), (0, 1200, DROPPED), (1200, 1500, MISSING)]
    assert lacks(day, day + 1200) == []
    assert db.gaps("btcusdt", at(300), at(900), timeframe="5m").to_pylist() == [
        {"start": at(300), "end": at(900), "missing": 2, "why": "dropped"}
    ]
    with pytest.raises(Incomplete, match=r"dropped on purpose.*`crypto-quant backfill` fetches what was"):
        db.candles("btcusdt", "5m", at(0), at(1200))
    await record.candles(opens[1:3])
    assert lacks(0, 1200) == [(0, 300, DROPPED), (900, 1200, DROPPED)]
    await record.drop_before(at(day * 2), Table.CANDLES)
    assert lacks(0, 1200) == [(0, 1200, DROPPED)]
    with pytest.raises(ConfigError, match=r"no 5m candles of this symbol.*dropped on purpose"):
        db.candles("btcusdt", "5m")


async def test_a_record_from_before_there_was_dropping(record: Record, db: Database) -> None:
    await record.trades([trade(n) for n in (1, 2, 4, 5)])
    await record.candles([DAY])
    await record.execute("DROP TABLE dropped, candle_dropped")
    assert [each[2:] for each in told(db, 2, 5)] == [(3, 3, MISSING)]
    assert db.lacks("btcusdt", timeframe="5m") == []


async def test_ids_that_do_not_run_with_time_are_not_gone(record: Record, db: Database) -> None:
    rows = [trade(n) for n in range(20)]
    rows[8], rows[12] = trade(8, at(20)), trade(12, at(1))
    await record.trades(rows)
    assert ids(db.trade_batches("btcusdt", at(3), at(18)).read_all()) == [n for n in range(3, 18) if n not in (8, 12)]
    assert told(db, 3, 18) == []


async def test_one_moment_is_seen(record: Record, db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    if record.tier is Tier.TIMESCALE_COMMUNITY:
        pytest.skip("takes one connection at a time")
    await record.trades([trade(n) for n in range(20_000)])
    monkeypatch.setattr(readout, "BLOCK_BYTES", 1000)
    with db.trade_batches("btcusdt", at(1), at(30_000), on_gap="ignore") as batches:
        first = next(batches)
        await record.trades([trade(n) for n in range(20_000, 20_500)])
        rest = list(batches)
    assert len(rest) > 3, "the blocks were meant to be small"
    assert first.num_rows + sum(each.num_rows for each in rest) == 19_999


async def test_a_reader_may_leave_early(record: Record, db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    if record.tier is Tier.TIMESCALE_COMMUNITY:
        pytest.skip("what asks for a cancellation is a second connection")
    await record.trades([trade(n) for n in range(20_000)])
    monkeypatch.setattr(readout, "BLOCK_BYTES", 1000)
    for _ in range(3):
        with db.trade_batches("btcusdt") as batches:
            assert next(batches).column("trade_id")[0].as_py() == 0
        assert list(batches) == []
    unread, begun = db.trade_batches("btcusdt"), db.trade_batches("btcusdt")
    next(begun)
    del unread
    db.close()
    assert list(begun) == []
    assert db.trade_batches("btcusdt").read_all().num_rows == 20_000


async def test_a_range_without_trades(record: Record, db: Database) -> None:
    await record.trades([trade(1), trade(2), trade(3, at(1000))])
    table = db.trade_batches("btcusdt", at(10), at(20)).read_all()
    assert (table.num_rows, table.schema.names[0]) == (0, "time")
    with pytest.raises(Incomplete, match="not proven"):
        db.trade_batches("btcusdt", at(2000), at(3000))


BAD = [
    (("btcusd",), r"no trades of this symbol were ever recorded: btcusd \(spot\)\. Did you mean 'btcusdt'"),
    (("btcusdt", None, None, "usdm"), "Nothing is recorded of usdm, but of other venues"),
    (("btcusdt", "2024-08-09", "2024-08-08"), "the range ends before it begins"),
    (("btcusdt", "2024-08-09", "2024-08-09"), "the range ends before it begins"),
    (("btcusdt", "yesterday"), "start is no time: 'yesterday'"),
    (("btcusdt", None, "2024-13-01"), "end is no time"),
    (("btcusdt", None, None, "moon"), "unknown venue: 'moon'. One of: spot"),
    (("", None, None), "not a symbol: ''"),
]


async def test_bad_input_is_told(record: Record, db: Database) -> None:
    await record.trades([trade(1)])
    for arguments, message in BAD:
        with pytest.raises(ConfigError, match=message):
            db.trade_batches(*arguments)  # type: ignore[arg-type]


async def test_candles_come_whole(record: Record, db: Database) -> None:
    opens = [DAY + n * 300 * SECOND for n in range(12)]
    await record.candles(opens[::-1], volume="123456789012345678901234567890.12345678")
    table = db.candle_batches("BTCUSDT", "5m", opens[2], opens[6]).read_all()
    assert table.column("time").to_pylist() == opens[2:6]
    row = table.to_pylist()[0]
    assert row == {
        "time": opens[2], "open": Decimal(1), "high": Decimal(2), "low": Decimal("0.5"), "close": Decimal("1.5"),
        "volume": Decimal("123456789012345678901234567890.12345678"), "quote_volume": Decimal(15), "trade_count": 7,
        "taker_buy_volume": Decimal(4), "taker_buy_quote_volume": Decimal(6), "first_trade_id": None,
        "last_trade_id": None,
    }  # fmt: skip
    assert db.candle_batches("btcusdt", "5m").read_all().num_rows == 12
    assert table.schema.metadata[b"timeframe"] == b"5m"


async def test_candles_that_lack_are_told(record: Record, db: Database) -> None:
    opens = [DAY + n * 300 * SECOND for n in range(12) if n not in (4, 5)]
    await record.candles(opens[:6])
    await record.candles(opens[6:], covered=False)

    def lacks(start: float, end: float) -> list[tuple[float, float, str]]:
        found = db.lacks("btcusdt", at(start), at(end), timeframe="5m")
        return [((each.start - DAY_NS) / NS_PER_S, (each.end - DAY_NS) / NS_PER_S, each.why) for each in found]

    assert lacks(0, 1200) == []
    assert lacks(1, 1200) == []
    assert lacks(0, 3600) == [(1200, 1800, MISSING)]
    assert lacks(-600, 300) == [(-600, 0, UNPROVEN)]
    assert lacks(3000, 4000) == [(3600, 4200, UNPROVEN)]
    with pytest.raises(Incomplete, match="not all 5m candles of btcusdt"):
        db.candle_batches("btcusdt", "5m", at(0), at(3600))
    await record.execute(
        "INSERT INTO candle_absences (venue, symbol, timeframe, first_slot, last_slot, proof)"
        " VALUES ('spot', 'btcusdt', '5m', $1, $2, 'asked')",
        DAY_NS // NS_PER_S // 300 + 4,
        DAY_NS // NS_PER_S // 300 + 5,
    )
    assert lacks(0, 3600) == []
    await record.execute("DELETE FROM candles WHERE time = $1", DAY + 300 * SECOND)
    with pytest.raises(Incomplete, match=f"{GONE}"):
        db.candle_batches("btcusdt", "5m", at(0), at(3600)).read_all()
    assert lacks(0, 3600) == [(300, 600, MISSING)]


@pytest.mark.parametrize("timeframe", ["1s", "3d", "1w", "1M"])
async def test_every_timeframe_has_slots(record: Record, db: Database, timeframe: str) -> None:
    opens = {
        "1s": [DAY + n * SECOND for n in range(3)],
        "3d": [datetime(2024, 8, day, tzinfo=UTC) for day in (2, 5, 8)],
        "1w": [datetime(2024, 8, day, tzinfo=UTC) for day in (5, 12, 19)],
        "1M": [datetime(2024, month, 1, tzinfo=UTC) for month in (7, 8, 9)],
    }[timeframe]
    await record.candles(opens, timeframe)
    assert (
        db.candle_batches("btcusdt", timeframe, opens[0], opens[2]).read_all().column("time").to_pylist() == opens[:2]
    )
    assert db.lacks("btcusdt", timeframe=timeframe) == []
    await record.execute("DELETE FROM candles WHERE time = $1", opens[1])
    assert [each.why for each in db.lacks("btcusdt", timeframe=timeframe)] == [MISSING]


async def test_a_database_without_our_tables(record: Record) -> None:
    await record.execute("DROP TABLE trades")
    with Database(record.url) as db, pytest.raises(ConfigError, match=r"has no table trades.*\*\*\*.*record"):
        db.trade_batches("btcusdt")
