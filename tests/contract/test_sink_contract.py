"""What every Sink promises; run against the one in memory and against each real database."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from decimal import Decimal

import msgspec
import pytest
from databases import fresh_database
from doubles import MemorySink

from crypto_quant.continuity import RangeSet
from crypto_quant.errors import StoreRejected, StoreUnavailable
from crypto_quant.market import Timeframe
from crypto_quant.seams import COLUMNS, Batch, Covered, Receipt, Sink, Source, Table
from crypto_quant.store import coverage
from crypto_quant.store.timescale import TimescaleSink, open_sink


def trade(number: int, *, day: str = "2024-08-08", symbol: str = "btcusdt", **changed: str) -> bytes:
    values = {
        "time": f"{day} 12:00:{number % 60:02}.123+00",
        "venue": "spot",
        "symbol": symbol,
        "trade_id": str(number),
        "price": "57034.01000000",
        "quantity": "0.00010000",
        "first_trade_id": str(number * 2),
        "last_trade_id": str(number * 2 + 1),
        "is_buyer_maker": "t",
        "received_at": r"\N",
    } | changed
    return "\t".join(values[column] for column in COLUMNS[Table.TRADES]).encode() + b"\n"


def candle(time: str, *, symbol: str = "btcusdt", **changed: str) -> bytes:
    values = {
        "time": time, "venue": "spot", "symbol": symbol, "timeframe": "5m", "open": "1", "high": "2", "low": "0.5",
        "close": "1.5", "volume": "10", "quote_volume": "15", "trade_count": "7", "taker_buy_volume": "4",
        "taker_buy_quote_volume": "6", "first_trade_id": r"\N", "last_trade_id": r"\N",
    } | changed  # fmt: skip
    return "\t".join(values[column] for column in COLUMNS[Table.CANDLES]).encode() + b"\n"


def trades(ids: Sequence[int], **changed: str) -> Batch:
    return Batch(Table.TRADES, [trade(i, **changed) for i in ids])


def proving(ids: Sequence[int], *, symbol: str = "btcusdt", **changed: str) -> Batch:
    """Return a batch of trades that says which ids it proves."""
    ranges = RangeSet((i, i) for i in ids).ranges()
    covered = [Covered("spot", symbol, first, last, Source.STREAM) for first, last in ranges]
    return Batch(Table.TRADES, [trade(i, symbol=symbol, **changed) for i in ids], covered)


async def proven(sink: Sink, symbol: str = "btcusdt") -> list[tuple[int, int]]:
    """Return the ids that the sink's coverage claims for a symbol."""
    if isinstance(sink, MemorySink):
        return sink.coverage.get(("spot", symbol), RangeSet()).ranges()
    assert isinstance(sink, TimescaleSink)
    async with sink.reading() as connection:
        ranges = (await coverage.load(connection, "spot", [symbol])).get(symbol, [])
    pairs = [(each.first, each.last) for each in ranges]
    assert len(RangeSet(pairs)) <= len(pairs)
    assert RangeSet(pairs).size == sum(b - a + 1 for a, b in pairs), "ranges overlap"
    return RangeSet(pairs).ranges()


async def stored(sink: Sink, column: str, table: Table = Table.TRADES) -> list[object]:
    """Return a column of what is stored, in order."""
    if isinstance(sink, MemorySink):
        return sorted(row[column] for row in sink.rows[table].values())
    assert isinstance(sink, TimescaleSink)
    async with sink.reading() as connection:
        return [row[0] for row in await connection.fetch(f'SELECT "{column}" FROM {table} ORDER BY 1')]


class Stores:
    """Opens sinks on one store."""

    def __init__(self, stack: AsyncExitStack, url: str | None) -> None:
        self._stack = stack
        self._url = url
        self._memory = MemorySink()

    async def open(self) -> Sink:
        if self._url is None:
            return self._memory
        sink = await open_sink(self._url)
        self._stack.push_async_callback(sink.close)
        return sink


@pytest.fixture(params=["memory", "timescaledb", "postgresql"])
async def stores(request: pytest.FixtureRequest) -> AsyncIterator[Stores]:
    async with AsyncExitStack() as stack:
        url = None if request.param == "memory" else await stack.enter_async_context(fresh_database(request.param))
        yield Stores(stack, url)


@pytest.fixture
async def sink(stores: Stores) -> Sink:
    return await stores.open()


async def test_new_rows_are_written(sink: Sink) -> None:
    assert await sink.write(trades(range(100))) == Receipt(written=100, duplicates=0)
    assert await stored(sink, "trade_id") == list(range(100))


async def test_an_empty_batch_is_nothing(sink: Sink) -> None:
    assert await sink.write(trades([])) == Receipt(written=0, duplicates=0)


async def test_a_replay_leaves_the_rows_as_they_are(sink: Sink) -> None:
    await sink.write(trades(range(100)))
    assert await sink.write(trades(range(100), received_at="2024-08-08 13:00Z")) == Receipt(0, 100)
    conflicting = Receipt(written=0, duplicates=0, conflicting=tuple(range(100)))
    assert await sink.write(trades(range(100), price="1")) == conflicting
    assert await sink.write(trades(range(100), price="1")) == conflicting
    assert set(await stored(sink, "price")) == {Decimal("57034.01000000")}
    assert await stored(sink, "trade_id") == list(range(100))


async def test_an_overlap_is_counted_exactly(sink: Sink) -> None:
    await sink.write(trades(range(60)))
    assert await sink.write(trades(range(40, 130))) == Receipt(written=70, duplicates=20)
    assert await sink.write(trades(range(130, 140))) == Receipt(written=10, duplicates=0)
    assert await sink.write(trades(range(140, 150))) == Receipt(written=10, duplicates=0)
    assert await stored(sink, "trade_id") == list(range(150))


async def test_duplicates_within_one_batch(sink: Sink) -> None:
    assert await sink.write(trades([1, 2, 2, 3, 1])) == Receipt(written=3, duplicates=2)
    assert await stored(sink, "trade_id") == [1, 2, 3]


async def test_the_venue_and_the_symbol_are_part_of_the_key(sink: Sink) -> None:
    rows = [trade(1), trade(1, symbol="ethusdt"), trade(1, venue="usdm")]
    assert await sink.write(Batch(Table.TRADES, rows)) == Receipt(written=3, duplicates=0)


async def test_candles_are_written_once(sink: Sink) -> None:
    rows = [candle("2024-08-08 12:00:00+00"), candle("2024-08-08 12:05:00+00"), candle("2024-08-08 12:00:00+00")]
    assert await sink.write(Batch(Table.CANDLES, rows)) == Receipt(written=2, duplicates=1, repeated=(2,))
    other = candle("2024-08-08 12:00:00+00", timeframe="15m")
    assert await sink.write(Batch(Table.CANDLES, [other])) == Receipt(written=1, duplicates=0)


async def test_the_places_of_repeated_candles_are_told(sink: Sink) -> None:
    def minutes(*numbers: int) -> Batch:
        return Batch(Table.CANDLES, [candle(f"2024-08-08 12:{number:02}:00+00") for number in numbers])

    assert await sink.write(minutes(20, 5, 30)) == Receipt(written=3, duplicates=0)
    assert await sink.write(minutes(30, 10, 20, 15, 10)) == Receipt(2, 3, repeated=(0, 2, 4))
    assert await sink.write(minutes(25, 10)) == Receipt(1, 1, repeated=(1,))
    assert await sink.write(minutes(10, 20)) == Receipt(0, 2, repeated=(0, 1))


async def proven_slots(sink: Sink, timeframe: str = "5m") -> list[tuple[int, int]]:
    """Return the slots that the sink's coverage claims for btcusdt."""
    series = ("spot", "btcusdt", timeframe)
    if isinstance(sink, MemorySink):
        return sink.slots.get(series, RangeSet()).ranges()
    assert isinstance(sink, TimescaleSink)
    async with sink.reading() as connection:
        ranges = (await coverage.load_slots(connection, [series])).get(series, [])
    return RangeSet((each.first, each.last) for each in ranges).ranges()


@pytest.mark.parametrize("seed", range(3))
async def test_coverage_of_candles_is_the_rows_after_any_writes(sink: Sink, seed: int) -> None:
    dice = random.Random(seed)  # noqa: S311
    noon = Timeframe.M5.slot(1_723_118_400 * 10**9)  # 2024-08-08 12:00Z
    seen: set[int] = set()
    for _ in range(25):
        first = dice.randrange(100)
        numbers = [n for n in range(first, first + dice.randrange(1, 15)) if dice.random() < 0.8] or [first]
        dice.shuffle(numbers)
        rows = [candle(f"2024-08-08 {12 + n * 5 // 60:02}:{n * 5 % 60:02}:00+00") for n in numbers]
        refused = dice.random() < 0.2
        if refused:
            rows[-1] = rows[-1].replace(b"\t10\t", b"\tten\t")
        covered = [Covered("spot", "btcusdt", noon + n, noon + n, Source.STREAM, "5m") for n in numbers]
        if refused:
            with pytest.raises(StoreRejected):
                await sink.write(Batch(Table.CANDLES, rows, covered))
        else:
            receipt = await sink.write(Batch(Table.CANDLES, rows, covered))
            repeated = tuple(place for place, n in enumerate(numbers) if n in seen)
            assert receipt == Receipt(len(set(numbers) - seen), len(repeated), repeated=repeated)
            seen.update(numbers)
        assert await proven_slots(sink) == RangeSet((noon + n, noon + n) for n in seen).ranges()
    assert await proven(sink) == []
    assert await proven_slots(sink, "1m") == []


async def test_a_candle_that_was_deleted_is_stored_again(sink: Sink) -> None:
    slot = Timeframe.M5.slot(1_723_118_400 * 10**9)
    claim = [Covered("spot", "btcusdt", slot, slot, Source.STREAM, "5m")]
    assert await sink.write(Batch(Table.CANDLES, [], claim)) == Receipt(0, 0)
    row = candle("2024-08-08 12:00:00+00")
    assert await sink.write(Batch(Table.CANDLES, [row], claim)) == Receipt(written=1, duplicates=0)


async def test_two_sinks_race_on_the_same_candles(stores: Stores) -> None:
    first, second = await stores.open(), await stores.open()
    noon = Timeframe.M5.slot(1_723_118_400 * 10**9)

    async def write(sink: Sink, order: list[int]) -> list[Receipt]:
        receipts = []
        for at in range(0, len(order), 8):
            numbers = order[at : at + 8]
            rows = [candle(f"2024-08-08 {12 + n * 5 // 60:02}:{n * 5 % 60:02}:00+00") for n in numbers]
            covered = [Covered("spot", "btcusdt", noon + n, noon + n, Source.STREAM, "5m") for n in numbers]
            receipts.append(await sink.write(Batch(Table.CANDLES, rows, covered)))
        return receipts

    numbers = list(range(140))
    told = await asyncio.gather(write(first, numbers), write(second, numbers[::-1]), write(first, numbers[::-1]))
    receipts = [receipt for each in told for receipt in each]
    assert sum(receipt.written for receipt in receipts) == 140
    assert all(len(receipt.repeated) == receipt.duplicates for receipt in receipts)
    assert await proven_slots(first) == [(noon, noon + 139)]
    assert len(await stored(first, "time", Table.CANDLES)) == 140


REFUSED = {
    "a price that is too large": {"price": "1000000000000"},
    "a price that is no number": {"price": "12,5"},
    "an empty price": {"price": ""},
    "a missing price": {"price": r"\N"},
    "an id that is too large": {"trade_id": str(2**63)},
    "a time that does not exist": {"time": "2024-02-30 00:00:00+00"},
    "a time that is no date": {"time": "yesterdayish at noon"},
    "a column too many": {"received_at": "\\N\t1"},
    "a NUL": {"symbol": "btc\0usdt"},
}


@pytest.mark.parametrize("changed", REFUSED.values(), ids=REFUSED.keys())
@pytest.mark.parametrize("seen_before", [False, True])
async def test_a_refused_row_leaves_nothing_of_its_batch(
    sink: Sink, changed: dict[str, str], seen_before: bool
) -> None:
    if seen_before:  # the batch then goes the way of batches with duplicates
        await sink.write(trades([0]))
        await sink.write(trades([0]))
    rows = [trade(0), trade(1), trade(2, **changed), trade(3)]
    with pytest.raises(StoreRejected):
        await sink.write(Batch(Table.TRADES, rows))
    assert await stored(sink, "trade_id") == ([0] if seen_before else [])
    # the neighbours can be stored, on the same sink
    assert await sink.write(trades([0, 1, 3])) == Receipt(written=2 + (not seen_before), duplicates=int(seen_before))


async def test_bytes_that_are_not_text_are_refused(sink: Sink) -> None:
    broken = trade(2).replace(b"btcusdt", b"btc\xff\xfeusdt")
    with pytest.raises(StoreRejected):
        await sink.write(Batch(Table.TRADES, [trade(1), broken]))
    assert await stored(sink, "trade_id") == []


async def test_a_symbol_of_any_script_is_kept(sink: Sink) -> None:
    await sink.write(trades([1], symbol="币安人生usdt"))
    assert await stored(sink, "symbol") == ["币安人生usdt"]


async def test_rows_of_any_year_find_a_place(sink: Sink) -> None:
    days = [f"{year}-{month_day}" for year in range(2017, 2031) for month_day in ("01-01", "02-28", "12-31")]
    rows = [trade(number, day=day) for number, day in enumerate(days)]
    assert await sink.write(Batch(Table.TRADES, rows)) == Receipt(written=len(days), duplicates=0)
    assert await sink.write(Batch(Table.TRADES, rows)) == Receipt(written=0, duplicates=len(days))
    opens = [candle(f"{day} 00:00:00+00") for day in days]
    assert await sink.write(Batch(Table.CANDLES, opens)) == Receipt(written=len(days), duplicates=0)


async def test_the_last_instant_of_a_day_and_the_first_of_the_next(sink: Sink) -> None:
    rows = [trade(1, time="2024-02-29 23:59:59.999999+00"), trade(2, time="2024-03-01 00:00:00+00")]
    assert await sink.write(Batch(Table.TRADES, rows)) == Receipt(written=2, duplicates=0)


async def test_numbers_are_kept_to_the_last_digit(sink: Sink) -> None:
    prices = ["99999999999.99999999", "999999999999.99999999", "0.00000001", "0.10000000"]
    await sink.write(Batch(Table.TRADES, [trade(i, price=price) for i, price in enumerate(prices)]))
    assert await stored(sink, "price") == sorted(map(Decimal, prices))
    volume = "123456789012345678901234567890.12345678"
    await sink.write(Batch(Table.CANDLES, [candle("2024-08-08 12:00:00+00", volume=volume)]))
    assert [str(value) for value in await stored(sink, "volume", Table.CANDLES)] == [volume]


async def test_two_sinks_race_on_the_same_rows(stores: Stores) -> None:
    first, second = await stores.open(), await stores.open()
    ids = list(range(2000))

    async def write(sink: Sink, order: list[int]) -> list[Receipt]:
        return [await sink.write(trades(order[i : i + 100])) for i in range(0, len(order), 100)]

    # opposite orders within and between batches: the worst case for locks
    receipts = await asyncio.gather(write(first, ids), write(second, ids[::-1]), write(first, ids[::-1]))
    flat = [receipt for each in receipts for receipt in each]
    assert sum(receipt.written for receipt in flat) == len(ids)
    assert sum(receipt.duplicates for receipt in flat) == 2 * len(ids)
    assert await stored(first, "trade_id") == ids


@pytest.mark.parametrize("replay", [False, True])
async def test_after_a_cancelled_write_the_next_one_works(sink: Sink, replay: bool) -> None:
    ids = list(range(5000))
    if replay:
        await sink.write(trades(ids[:10]))
        await sink.write(trades(ids[:10]))
    for delay_s in (0.0, 0.0005, 0.002, 0.005, 0.01, 0.02):
        task = asyncio.create_task(sink.write(trades(ids)))
        await asyncio.sleep(delay_s)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        # whole or not at all
        assert len(await stored(sink, "trade_id")) in ((10 if replay else 0), 5000)
    receipt = await sink.write(trades(ids))
    assert receipt.written + receipt.duplicates == 5000
    assert await stored(sink, "trade_id") == ids
    assert sink.pool_use().busy == 0


async def test_pool_use_is_within_its_limit(sink: Sink) -> None:
    await asyncio.gather(*(sink.write(trades([i])) for i in range(20)))
    use = sink.pool_use()
    assert 0 <= use.busy <= use.open <= use.limit
    assert use.open >= 1


async def test_closing_is_idempotent_and_final(sink: Sink) -> None:
    await sink.write(trades([1]))
    await sink.close()
    await sink.close()
    with pytest.raises(StoreUnavailable):
        await sink.write(trades([2]))
    assert sink.pool_use().open == 0


# -- coverage -----------------------------------------------------------------------------------------------


async def test_what_is_written_is_covered(sink: Sink) -> None:
    await sink.write(proving(range(10, 20)))
    await sink.write(proving(range(20, 30)))
    assert await proven(sink) == [(10, 29)]
    await sink.write(proving([35, 36, 40]))
    await sink.write(proving([5, 6], symbol="ethusdt"))
    assert await proven(sink) == [(10, 29), (35, 36), (40, 40)]
    await sink.write(proving([37, 38, 39, 30, 31, 32, 33, 34]))
    assert await proven(sink) == [(10, 40)]
    assert await proven(sink, "ethusdt") == [(5, 6)]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(range(5000), range(5000, 5010), id="one after the other"),
        pytest.param(range(5000), range(4990, 5010), id="the second repeats rows of the first"),
        # whoever comes second in the database waits for the other one there, and that one for its turn: not for ever
        pytest.param(range(10, 5010), range(5000, 5020), id="each may wait for the other"),
        pytest.param(range(5000, 5010), range(5000), id="the later ids first"),
    ],
)
async def test_batches_in_an_order_at_once(sink: Sink, first: range, second: range) -> None:
    batches = [msgspec.structs.replace(proving(ids), order=order) for order, ids in ((1, first), (2, second))]
    receipts = await asyncio.gather(*(sink.write(batch) for batch in batches))
    ids = sorted({*first, *second})
    assert [receipt.written + receipt.duplicates for receipt in receipts] == [len(first), len(second)]
    assert sum(receipt.written for receipt in receipts) == len(ids)
    assert await stored(sink, "trade_id") == ids
    assert await proven(sink) == [(ids[0], ids[-1])]
    # and nobody waits for a batch that has been refused
    refused = Batch(
        Table.TRADES, [trade(9000, price="12,5")], [Covered("spot", "btcusdt", 9000, 9000, Source.STREAM)], 3
    )
    outcome = await asyncio.gather(
        sink.write(refused), sink.write(msgspec.structs.replace(proving([9001]), order=4)), return_exceptions=True
    )
    assert isinstance(outcome[0], StoreRejected)
    assert await proven(sink) == [(ids[0], ids[-1]), (9001, 9001)]


async def test_ids_without_a_row_are_covered(sink: Sink) -> None:
    covered = [Covered("spot", "btcusdt", 7, 9, Source.VOID)]
    assert await sink.write(Batch(Table.TRADES, [], covered)) == Receipt(written=0, duplicates=0)
    assert await proven(sink) == [(7, 9)]
    assert await stored(sink, "trade_id") == []


@pytest.mark.parametrize("seen_before", [False, True])
async def test_a_refused_batch_covers_nothing(sink: Sink, seen_before: bool) -> None:
    if seen_before:
        await sink.write(proving([0]))
        await sink.write(proving([0]))
    refused = proving([0, 1, 2, 3])
    rows = [*refused.rows[:3], trade(3, price="no price")]
    with pytest.raises(StoreRejected):
        await sink.write(Batch(Table.TRADES, rows, refused.covered))
    assert await proven(sink) == ([(0, 0)] if seen_before else [])
    await sink.write(proving([0, 1, 2]))
    assert await proven(sink) == [(0, 2)]


@pytest.mark.parametrize("seed", range(4))
async def test_coverage_is_the_rows_after_any_writes(sink: Sink, seed: int) -> None:
    dice = random.Random(seed)  # noqa: S311
    seen: set[int] = set()
    for _ in range(25):
        first = dice.randrange(200)
        ids = [i for i in range(first, first + dice.randrange(1, 40)) if dice.random() < 0.9] or [first]
        if dice.random() < 0.3:
            dice.shuffle(ids)
        receipt = await sink.write(proving(ids))
        assert receipt == Receipt(written=len(set(ids) - seen), duplicates=len(set(ids) & seen))
        seen.update(ids)
        assert await proven(sink) == RangeSet((i, i) for i in seen).ranges()
    assert await stored(sink, "trade_id") == sorted(seen)


async def test_two_sinks_race_on_the_same_symbols(stores: Stores) -> None:
    first, second = await stores.open(), await stores.open()
    names = [f"s{number}usdt" for number in range(20)]

    async def write(sink: Sink, order: list[int], symbols: list[str]) -> None:
        for at in range(0, len(order), 20):
            parts = [proving(order[at : at + 20], symbol=symbol) for symbol in symbols]
            await sink.write(Batch(
                Table.TRADES, [row for part in parts for row in part.rows], [c for part in parts for c in part.covered]
            ))  # fmt: skip

    ids = list(range(200))
    await asyncio.gather(
        write(first, ids, names), write(second, ids[::-1], names[::-1]), write(first, ids[100:], names[5:15])
    )
    for name in names:
        assert await proven(first, name) == [(0, 199)]
    assert len(await stored(first, "trade_id")) == 200 * len(names)


@pytest.mark.parametrize("replay", [False, True])
async def test_a_cancelled_write_covers_what_it_stored(sink: Sink, replay: bool) -> None:
    if replay:
        await sink.write(proving([0]))
        await sink.write(proving([0]))
    ids = list(range(5000))
    for delay_s in (0.0, 0.001, 0.003, 0.006, 0.012, 0.02, 0.03):
        task = asyncio.create_task(sink.write(proving(ids)))
        await asyncio.sleep(delay_s)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        seen = await stored(sink, "trade_id")
        assert await proven(sink) == RangeSet((int(str(i)), int(str(i))) for i in seen).ranges()
    await sink.write(proving(ids))
    assert await proven(sink) == [(0, 4999)]


async def test_another_content_is_told_and_the_first_one_kept(sink: Sink) -> None:
    await sink.write(proving(range(5)))
    changed = [trade(3), trade(4, quantity="2"), trade(5), trade(2, is_buyer_maker="f"), trade(1, last_trade_id="99")]
    batch = Batch(Table.TRADES, changed, proving(range(1, 6)).covered)
    assert await sink.write(batch) == Receipt(written=1, duplicates=1, conflicting=(1, 3, 4))
    assert await stored(sink, "quantity") == [Decimal("0.0001")] * 6
    assert await proven(sink) == [(0, 5)]


async def test_the_same_trade_under_another_time_is_not_stored_twice(sink: Sink) -> None:
    """The unique key holds the time; that the id is stored is known by its coverage."""
    await sink.write(proving([1, 2, 3], time="2024-08-08 12:00:01.123456+00"))
    again = [trade(i, time="2024-08-08 12:00:01.123+00") for i in (2, 3, 4)]
    batch = Batch(Table.TRADES, again, proving([2, 3, 4]).covered)
    assert await sink.write(batch) == Receipt(written=1, duplicates=0, conflicting=(0, 1))
    assert await stored(sink, "trade_id") == [1, 2, 3, 4]
    # once more on the staged way, and over midnight
    assert await sink.write(batch) == Receipt(written=0, duplicates=1, conflicting=(0, 1))
    over = Batch(Table.TRADES, [trade(1, time="2024-08-09 00:30:00+00")], proving([1]).covered)
    assert await sink.write(over) == Receipt(written=0, duplicates=0, conflicting=(0,))


async def test_two_versions_in_one_batch_are_told_apart_and_the_first_stays(sink: Sink) -> None:
    """One differs in its content, the other in its time alone, which no unique key finds."""
    for first in (1, 11):  # once into a fresh table, once beside rows that are there
        told = [
            trade(first),
            trade(first, quantity="2"),
            trade(first + 1),
            trade(first + 1, time="2024-08-08 13:00:00+00"),
        ]
        covered = [*proving([first]).covered, *proving([first, first + 1]).covered, *proving([first + 1]).covered]
        receipt = await sink.write(Batch(Table.TRADES, [*told, trade(first)], [*covered, *proving([first]).covered]))
        assert receipt == Receipt(written=2, duplicates=1, conflicting=(1, 3))
    assert await stored(sink, "trade_id") == [1, 2, 11, 12]
    assert await stored(sink, "quantity") == [Decimal("0.0001")] * 4
    assert await proven(sink) == [(1, 2), (11, 12)]


async def test_an_id_that_the_exchange_uses_again_years_later_is_stored(sink: Sink) -> None:
    await sink.write(proving([1, 2, 3]))
    assert await sink.write(proving([1, 2, 3], day="2026-08-08")) == Receipt(written=3, duplicates=0)
    assert await stored(sink, "trade_id") == [1, 1, 2, 2, 3, 3]
