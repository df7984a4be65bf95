"""What ``crypto_quant.connect`` gives, on every kind of database."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from records import DAY, SERVERS, Record, record_on, trade

import crypto_quant as cq
from crypto_quant.errors import ConfigError, Incomplete
from crypto_quant.reading.fixed import from_binary
from crypto_quant.seams import Source
from crypto_quant.store import readout
from crypto_quant.store.tier import Tier

MINUTE = timedelta(minutes=1)


@pytest.fixture(params=SERVERS)
async def record(request: pytest.FixtureRequest) -> AsyncIterator[Record]:
    async with record_on(request.param) as record:
        yield record


@pytest.fixture
def db(record: Record) -> Iterator[cq.Database]:
    with cq.connect(record.url) as opened:
        if record.tier is Tier.TIMESCALE_COMMUNITY:
            record.release = opened.close
        yield opened


def at(second: float) -> datetime:
    return DAY + timedelta(seconds=second)


async def test_a_running_loop_is_no_hindrance(record: Record, db: cq.Database) -> None:
    await record.trades([trade(n) for n in range(3)])
    assert asyncio.get_running_loop().is_running()
    assert db.trades("btcusdt").num_rows == 3
    assert "***" in repr(db)
    assert "reading" in repr(db)


async def test_tables_are_as_asked_for(record: Record, db: cq.Database) -> None:
    await record.trades([trade(n, received_at=at(n) if n else None) for n in range(3)])
    exact = [Decimal("57034.01000000"), Decimal("57035.01000000"), Decimal("57036.01000000")]
    arrow = db.trades("btcusdt")
    assert arrow.column("price").to_pylist() == exact
    polars = db.trades("btcusdt", as_="polars")
    assert polars["price"].to_list() == exact
    assert str(polars.schema["time"]) == "Datetime(time_unit='us', time_zone='UTC')"
    pandas = db.trades("btcusdt", as_="pandas")
    assert pandas["price"].tolist() == exact
    assert str(pandas["price"].dtype) == "decimal128(20, 8)[pyarrow]"
    for as_ in ("arrow", "polars", "pandas"):
        frame = db.trades("btcusdt", as_=as_, decimals="float64")
        assert list(frame["price"].to_pylist() if as_ == "arrow" else frame["price"]) == [57034.01, 57035.01, 57036.01]
        assert list(frame["trade_id"].to_pylist() if as_ == "arrow" else frame["trade_id"]) == [0, 1, 2]
    with pytest.raises(ConfigError, match=r"unknown as_: 'numpy'. One of: 'arrow'"):
        db.trades("btcusdt", as_="numpy")
    with pytest.raises(ConfigError, match="unknown decimals"):
        db.trades("btcusdt", decimals="float32")


# -- candles --------------------------------------------------------------------------------------------------


def candle_of(rows: list[tuple[object, ...]]) -> dict[str, object]:
    """A candle as its definition says it, from the rows of ``trade``."""
    by_id = sorted(rows, key=lambda row: row[1])  # type: ignore[arg-type,return-value]
    prices = [row[2] for row in by_id]
    taker = [row for row in by_id if not row[6]]

    def quote(part: list[tuple[object, ...]]) -> Decimal:
        cut = [(row[2] * row[3]).quantize(Decimal("1e-8"), rounding="ROUND_DOWN") for row in part]  # type: ignore[operator]
        return sum(cut, Decimal(0))

    return {
        "open": prices[0], "high": max(prices), "low": min(prices), "close": prices[-1],  # type: ignore[type-var]
        "volume": sum(row[3] for row in by_id), "quote_volume": quote(by_id),  # type: ignore[misc]
        "trade_count": sum(row[5] - row[4] + 1 for row in by_id),  # type: ignore[operator,misc]
        "taker_buy_volume": sum((row[3] for row in taker), Decimal(0)),  # type: ignore[misc]
        "taker_buy_quote_volume": quote(taker),
        "first_trade_id": min(row[4] for row in by_id), "last_trade_id": max(row[5] for row in by_id),  # type: ignore[type-var]
    }  # fmt: skip


@pytest.mark.parametrize("timeframe", ["1m", "2m", "90s", "10s", "1h"])
async def test_candles_are_made_from_trades(record: Record, db: cq.Database, timeframe: str) -> None:
    length = {"1m": 60, "2m": 120, "90s": 90, "10s": 10, "1h": 3600}[timeframe]
    rows = [trade(n, at(n * 7), price=Decimal(100) + n * 37 % 11) for n in range(1200)]
    await record.trades(rows)
    table = db.candles("btcusdt", timeframe, at(0), at(7200))
    assert table.column("time").to_pylist() == [at(n) for n in range(0, 7200, length)]
    close = rows[0][2]
    for found in table.to_pylist():
        opens = found.pop("time")
        mine = [row for row in rows if opens <= row[0] < opens + timedelta(seconds=length)]
        if mine:
            assert found == candle_of(mine)  # type: ignore[arg-type]
        else:
            assert {found[name] for name in ("open", "high", "low", "close")} == {close}
            assert {found[name] for name in ("volume", "trade_count", "taker_buy_quote_volume")} == {0}
            assert (found["first_trade_id"], found["last_trade_id"]) == (-1, -1)
        close = found["close"]
    # the same in pieces
    batches = list(db.candle_batches("btcusdt", timeframe, at(0), at(7200)))
    assert pa.Table.from_batches(batches).to_pylist() == table.to_pylist()


async def test_candles_over_days_weeks_and_months(record: Record, db: cq.Database) -> None:
    days = [datetime(2024, 7, 31, 23, tzinfo=UTC) + n * timedelta(hours=8) for n in range(120)]
    rows = [trade(n, when) for n, when in enumerate(days)]
    await record.trades(rows)
    for timeframe, opens in {
        "8h": [datetime(2024, 8, 1, tzinfo=UTC) + n * timedelta(hours=8) for n in range(118)],
        "1d": [datetime(2024, 8, 1, tzinfo=UTC) + n * timedelta(days=1) for n in range(39)],
        "1w": [datetime(2024, 8, day, tzinfo=UTC) for day in (5, 12, 19, 26)] + [datetime(2024, 9, 2, tzinfo=UTC)],
        "1M": [datetime(2024, 8, 1, tzinfo=UTC)],
    }.items():
        table = db.candles("btcusdt", timeframe)
        assert table.column("time").to_pylist()[: len(opens)] == opens, timeframe
        assert table.num_rows - len(opens) in (0, 1), timeframe
        first = [row for row in rows if opens[0] <= row[0] < [*opens, datetime(2024, 9, 1, tzinfo=UTC)][1]]
        assert table.slice(0, 1).drop_columns("time").to_pylist() == [candle_of(first)], timeframe  # type: ignore[arg-type]


async def test_no_candle_is_made_up_where_trades_lack(record: Record, db: cq.Database) -> None:
    # nothing was traded in minutes 1 and 2; of minutes 4 and 5 nobody knows
    await record.trades([trade(n, at(s)) for n, s in ((0, 5), (1, 185), (2, 200), (5, 365), (6, 425))])
    with pytest.raises(Incomplete, match="3 to 4 missing"):
        db.candles("btcusdt", "1m", at(0), at(420))
    with pytest.warns(cq.IncompleteWarning) as warned:
        table = db.candles("btcusdt", "1m", at(0), at(420), on_gap="warn")
    assert warned[0].filename == __file__
    assert table.column("time").to_pylist() == [at(60 * n) for n in (0, 1, 2, 3, 6)]
    assert table.column("trade_count").to_pylist() == [2, 0, 0, 4, 2]
    assert db.candles("btcusdt", "1m", at(60), at(180)).column("close").to_pylist() == [Decimal("57034.01")] * 2


async def test_trades_that_are_gone_are_missed_in_candles(record: Record, db: cq.Database) -> None:
    await record.trades([trade(n) for n in range(300)])
    await record.execute("DELETE FROM trades WHERE trade_id = 100")
    with pytest.raises(Incomplete, match=": 100 missing"):
        db.candles("btcusdt", "1m", at(0), at(240))
    assert db.candles("btcusdt", "1m", at(120), at(240)).num_rows == 2


async def test_all_pieces_are_of_one_moment(record: Record, db: cq.Database) -> None:
    if record.tier is Tier.TIMESCALE_COMMUNITY:
        pytest.skip("takes one connection at a time")
    await record.trades([trade(n, at(n * 3600)) for n in range(73)])
    with db.candle_batches("btcusdt", "1h", at(3600), at(72 * 3600)) as batches:
        first = next(batches)
        await record.execute("DELETE FROM trades WHERE trade_id > 24")
        assert first.num_rows + sum(each.num_rows for each in batches) == 71


async def test_stored_candles_come_first(record: Record, db: cq.Database) -> None:
    await record.trades([trade(n) for n in range(700)])
    await record.candles([DAY, DAY + 5 * MINUTE])
    assert db.candles("btcusdt", "5m").column("trade_count").to_pylist() == [7, 7]
    assert db.candles("btcusdt", "5m", source="trades").column("trade_count").to_pylist() == [600, 600]
    assert (
        db.candles("btcusdt", "5m", source="stored", columns=["close"]).to_pylist() == [{"close": Decimal("1.5")}] * 2
    )
    assert db.candles("btcusdt", "1m", at(0), at(600)).num_rows == 10
    for arguments, message in (
        (("btcusdt", "7m"), "does not divide a day: 7m. Near it: 6m, 8m"),
        (("btcusdt", "5 min"), "not a timeframe: '5 min'"),
        (("btcusdt", "2d"), "does not divide a day: 2d. Near it: 1d, 3d, 1w, 1M"),
        (("ethusdt", "5m"), "no trades of this symbol were ever recorded"),
    ):
        with pytest.raises(ConfigError, match=message):
            db.candles(*arguments)
    with pytest.raises(ConfigError, match=r"no 15m candles of this symbol were ever recorded.*not as this"):
        db.candles("btcusdt", "15m", source="stored")
    with pytest.raises(ConfigError, match="unknown timeframe: '10m'"):
        db.candles("btcusdt", "10m", source="stored")
    with pytest.raises(ConfigError, match="unknown source"):
        db.candles("btcusdt", "5m", source="both")
    with pytest.raises(ConfigError, match="not made from trades"):
        db.candles("btcusd_perp", "1m", venue="coinm")


# -- what is known --------------------------------------------------------------------------------------------


async def test_gaps_and_coverage_are_tables(record: Record, db: cq.Database) -> None:
    await record.trades([trade(n) for n in (*range(5), *range(8, 12))])
    await record.cover([(5, 5)], Source.VOID)
    await record.candles([DAY, DAY + 10 * MINUTE])
    assert db.gaps("btcusdt", at(1), at(10)).to_pylist() == [
        {"start": at(4), "end": at(8.000001), "first": 6, "last": 7, "missing": 2, "why": "missing"}
    ]
    assert db.gaps("btcusdt", at(1), at(4)).num_rows == 0
    assert db.gaps("btcusdt", timeframe="5m").to_pylist() == [
        {"start": at(300), "end": at(600), "missing": 1, "why": "missing"}
    ]
    claims = [(row["first"], row["last"], row["source"]) for row in db.coverage("btcusdt").to_pylist()]
    assert claims == [(0, 4, "stream"), (5, 5, "void"), (8, 11, "stream")]
    assert db.coverage("btcusdt", timeframe="5m").column("first").to_pylist() == [DAY, DAY + 10 * MINUTE]
    assert db.coverage("dogeusdt").num_rows == 0
    recorded = db.symbols().select(["venue", "symbol", "kind", "proven", "ranges"]).to_pylist()
    assert [tuple(row.values()) for row in recorded] == [
        ("spot", "btcusdt", "5m", 2, 2), ("spot", "btcusdt", "trades", 9, 2),
    ]  # fmt: skip


# -- anything -------------------------------------------------------------------------------------------------


async def test_any_query(record: Record, db: cq.Database) -> None:
    await record.trades([trade(n) for n in range(3)])
    table = db.sql(
        "SELECT trade_id, trade_id, price, 1/3::numeric AS third, time, symbol, NULL AS nothing, E'a\"\\n,b' AS odd,"
        " '' AS empty, 1.5::float8 AS float, true AS yes, time::date AS day, ARRAY[1] AS list"
        " FROM trades WHERE trade_id < $1 ORDER BY trade_id DESC;",
        2,
    )
    row = [column.to_pylist()[0] for column in table.columns]
    assert row[:3] == [1, 1, Decimal("57035.01000000")]
    assert row[3] == Decimal("0.33333333333333333333")
    assert row[4:] == [at(1), "btcusdt", None, 'a"\n,b', "", 1.5, True, DAY.date(), "{1}"]
    assert table.schema.names[:2] == ["trade_id", "trade_id"]
    assert db.sql("SELECT 'NaN'::numeric AS x UNION ALL SELECT 1.5").to_pylist() == [{"x": "NaN"}, {"x": "1.5"}]
    assert db.sql("SELECT 1e60::numeric AS x").to_pylist() == [{"x": Decimal(10) ** 60}]
    assert "Scan" in "".join(db.sql("EXPLAIN SELECT * FROM trades").column(0).to_pylist())
    assert db.sql("TABLE trades", as_="polars").shape == (3, 10)
    assert db.sql("SELECT 1.5 AS x", decimals="float64").to_pylist() == [{"x": 1.5}]
    assert db.sql("SELECT 1 WHERE false").num_rows == 0


WRITES = [
    "INSERT INTO trades SELECT * FROM trades",
    "DELETE FROM trades RETURNING *",
    "WITH gone AS (DELETE FROM trades RETURNING *) SELECT * FROM gone",
    "DROP TABLE trades",
    "CREATE TABLE mine AS SELECT 1",
    "SELECT * FROM trades FOR UPDATE",
]


async def test_a_query_that_writes_is_refused(record: Record, db: cq.Database) -> None:
    await record.trades([trade(n) for n in range(3)])
    for query in WRITES:
        with pytest.raises(ConfigError, match="this query writes, and nothing is written here") as told:
            db.sql(query)
        assert told.value.exit_code == 2
    for query in ("SELEC 1", "SELECT nope FROM trades", "SELECT 1; DELETE FROM trades", "SELECT 1/0", "", "SELECT $1"):
        with pytest.raises(ConfigError, match="query"):
            db.sql(query)
    # no way round: each statement has a transaction of its own, which is rolled back
    db.sql("SET TRANSACTION READ WRITE")
    with pytest.raises(ConfigError, match="writes"):
        db.sql("DELETE FROM trades")
    assert db.trades("btcusdt").num_rows == 3


# -- to the last digit ----------------------------------------------------------------------------------------

PRICES = st.one_of(
    st.decimals("-999999999999.99999999", "999999999999.99999999", places=8),
    st.sampled_from([Decimal("92233720368.54775807"), Decimal("92233720368.54775808"), Decimal("-92233720368.54775808"),
                     Decimal("999999999999.99999999"), Decimal("0.00000001"), Decimal(0)]),
    st.decimals(0, 100_000, places=8),
)  # fmt: skip
MOMENTS = st.integers(0, 86_399_999_999)
IDS = st.integers(-(2**63), 2**63 - 1)


@pytest.mark.parametrize("server", ["postgresql"])
async def test_rows_come_back_to_the_last_digit(server: str) -> None:
    async with record_on(server) as record:
        await record.trades([trade(0)], symbol="seed")
        connection_ids = iter(range(10**6))

        @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
        @given(rows=st.lists(
            st.tuples(MOMENTS, PRICES, PRICES, IDS, IDS, st.booleans(), st.none() | MOMENTS), min_size=1, max_size=30
        ))  # fmt: skip
        def holds(rows: list[tuple[int, Decimal, Decimal, int, int, bool, int | None]]) -> None:
            symbol = f"s{next(connection_ids)}"
            stored = [
                (DAY + timedelta(microseconds=us), number, price, quantity, first, last, maker,
                 None if received is None else DAY + timedelta(microseconds=received))
                for number, (us, price, quantity, first, last, maker, received) in enumerate(rows)
            ]  # fmt: skip
            asyncio.run(record.trades(stored, symbol=symbol))
            with cq.connect(record.url) as db:
                found = db.trades(symbol, on_gap="ignore")
                assert [tuple(row.values()) for row in found.to_pylist()] == sorted(stored, key=lambda row: row[:2])
                floats = db.trades(symbol, on_gap="ignore", decimals="float64", columns=["price"])
                assert floats.column(0).to_pylist() == [float(str(each)) for each in found.column("price").to_pylist()]

        await asyncio.to_thread(holds)


async def test_a_number_that_does_not_fit_comes_in_the_midst(
    record: Record, db: cq.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = Decimal("999999999999.99999999")
    rows = [trade(n) for n in range(6000)]
    rows[5000] = trade(5000, quantity=wide)
    await record.trades(rows)
    monkeypatch.setattr(readout, "BLOCK_BYTES", 1000)
    found = db.trades("btcusdt")
    assert found.column("trade_id").to_pylist() == list(range(6000))
    assert found.column("quantity").to_pylist() == [row[3] for row in rows]


def test_what_is_not_the_agreed_format_is_refused() -> None:
    schema = pa.schema([pa.field("trade_id", pa.int64(), nullable=False)])
    head = b"PGCOPY\n\xff\r\n\0" + bytes(8)
    row = b"\0\1" + b"\0\0\0\x08" + (7).to_bytes(8, "big")
    whole = head + row + b"\xff\xff"
    for cut in range(1, len(whole)):
        pieces = [bytearray(whole[:cut]), bytearray(whole[cut:])]
        if cut >= len(head):
            assert [batch.to_pydict() for batch in from_binary(pieces, schema)] == [{"trade_id": [7]}]
    for broken in (b"PGCOPX" + whole[6:], head + b"\0\2" + row[2:] + b"\xff\xff", whole[:-2], head + row + row[:-1]):
        with pytest.raises(AssertionError):
            list(from_binary([bytearray(broken)], schema))
