"""Coverage of candles on real databases: through killed backends, and derived from the rows of earlier versions."""

import asyncio
import random
from contextlib import suppress

import asyncpg
import pytest

from crypto_quant.continuity import RangeSet
from crypto_quant.errors import StoreUnavailable
from crypto_quant.market import DAY_S, NS_PER_S, Candle, Timeframe, Venue
from crypto_quant.rows import TimeText, candle_row
from crypto_quant.seams import Batch, Covered, KnownSlots, Source, Table
from crypto_quant.store import coverage
from crypto_quant.store.ledger import StoreLedger
from crypto_quant.store.timescale import TimescaleSink, open_sink

NOON_NS = 1_790_856_000 * NS_PER_S  # 2026-10-01T12:00:00Z
NOON = Timeframe.M1.slot(NOON_NS)
SERIES = ("spot", "btcusdt", "1m")


def candle(open_ns: int, timeframe: Timeframe = Timeframe.M1, symbol: str = "btcusdt") -> bytes:
    one = Candle(
        venue=Venue.SPOT, symbol=symbol, timeframe=timeframe, open_ns=open_ns, open="1", high="1", low="1", close="1",
        volume="1", quote_volume="1", trade_count=1, taker_buy_volume="1", taker_buy_quote_volume="1",
        first_trade_id=None, last_trade_id=None,
    )  # fmt: skip
    return candle_row(one, TimeText())


def minutes(*numbers: int, covered: bool = True, symbol: str = "btcusdt") -> Batch:
    """Return candles of minutes after noon; without ``covered`` they prove nothing, as those of earlier versions."""
    claims = [Covered("spot", symbol, NOON + n, NOON + n, Source.STREAM, "1m") for n in numbers if covered]
    return Batch(Table.CANDLES, [candle(Timeframe.M1.slot_open_ns(NOON + n), symbol=symbol) for n in numbers], claims)


async def assert_coverage_is_the_rows(connection: asyncpg.Connection, symbols: list[str]) -> None:
    """Both are read in one snapshot."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        held = await coverage.load_slots(connection, [("spot", symbol, "1m") for symbol in symbols])
        rows = await connection.fetch("SELECT symbol, (extract(epoch FROM time) / 60)::bigint FROM candles")
    stored: dict[str, RangeSet] = {}
    for symbol, slot in rows:
        stored.setdefault(symbol, RangeSet()).add(slot, slot)
    assert {key[1]: RangeSet((c.first, c.last) for c in ranges) for key, ranges in held.items()} == stored


async def test_a_backend_that_is_killed_in_mid_write_leaves_coverage_equal_to_the_candles(
    sink: TimescaleSink, connection: asyncpg.Connection
) -> None:
    symbols = [f"s{number}usdt" for number in range(300)]

    def all_of(minute: int) -> Batch:
        parts = [minutes(minute, symbol=symbol) for symbol in symbols]
        return Batch(Table.CANDLES, [r for each in parts for r in each.rows], [c for p in parts for c in p.covered])

    ended = 0
    for minute in range(24):
        write = asyncio.create_task(sink.write(all_of(minute)))
        await asyncio.sleep(0.0015 * (minute % 12))
        killed = await connection.fetchval(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'"
        )
        with suppress(StoreUnavailable):
            await write
            killed = 0
        ended += killed > 0
        await assert_coverage_is_the_rows(connection, symbols)
    assert ended, "no write was cut short"
    receipts = [await sink.write(all_of(minute)) for minute in range(24)]
    assert all(receipt.written + receipt.duplicates == 300 for receipt in receipts)
    await assert_coverage_is_the_rows(connection, symbols)
    assert set(await coverage.load_slots(connection, [("spot", s, "1m") for s in symbols])) == {
        ("spot", symbol, "1m") for symbol in symbols
    }


@pytest.mark.parametrize("timeframe", Timeframe)
async def test_slots_derived_from_the_rows_are_those_of_the_timeframe(timeframe: Timeframe, timescale_url: str) -> None:
    dice = random.Random(timeframe)  # noqa: S311
    first = timeframe.slot(timeframe.open_ns(NOON_NS))
    slots = sorted({max(0, first - dice.randrange(40)) for _ in range(25)})
    # of 3d the raster may lie anywhere
    shift_ns = DAY_S * NS_PER_S if timeframe is Timeframe.D3 else 0
    rows = [candle(timeframe.slot_open_ns(slot) + shift_ns, timeframe) for slot in slots]
    off_raster = [] if timeframe in (Timeframe.D3, Timeframe.S1) else [timeframe.slot_open_ns(first + 2) + NS_PER_S]
    sink = await open_sink(timescale_url)
    try:
        await sink.write(Batch(Table.CANDLES, rows + [candle(open_ns, timeframe) for open_ns in off_raster]))
        known = await StoreLedger(sink).known_slots("spot", {("btcusdt", timeframe): 0})
    finally:
        await sink.close()
    found = known["btcusdt", timeframe]
    # a candle off its raster lies in the slot in which it opens
    slots += [first + 2] if off_raster else []
    assert found.covered == RangeSet((slot, slot) for slot in slots).ranges()
    assert found.newest_ns == (off_raster or [timeframe.slot_open_ns(slots[-1]) + shift_ns])[-1]


async def test_candles_of_earlier_versions_are_proven_as_far_back_as_is_asked(
    sink: TimescaleSink, connection: asyncpg.Connection
) -> None:
    ledger = StoreLedger(sink)
    key = ("btcusdt", Timeframe.M1)
    assert await ledger.known_slots("spot", {key: 0}) == {}
    await sink.write(minutes(0, 1, 5, 6, 9, covered=False))
    since_ns = Timeframe.M1.slot_open_ns(NOON + 1)
    newest = Timeframe.M1.slot_open_ns(NOON + 9)
    expected = [(NOON + a, NOON + b) for a, b in ((1, 1), (5, 6), (9, 9))]
    for _ in range(2):
        assert await ledger.known_slots("spot", {key: since_ns}) == {key: KnownSlots(expected, (), newest)}
    sources = (await coverage.load_slots(connection, [SERIES]))[SERIES]
    assert {each.source for each in sources} == {Source.STORED}


async def test_candles_before_everything_proven_are_found_later_as_well(sink: TimescaleSink) -> None:
    """A recorder with --no-backfill has stored live candles before anybody looked at the older ones."""
    key = ("btcusdt", Timeframe.M1)
    await sink.write(minutes(0, 1, 3, covered=False))
    await sink.write(minutes(7, 8))
    known = await StoreLedger(sink).known_slots("spot", {key: 0})
    assert known[key].covered == [(NOON + a, NOON + b) for a, b in ((0, 1), (3, 3), (7, 8))]


async def test_what_is_held_is_told_by_the_rows_and_the_absences(
    sink: TimescaleSink, connection: asyncpg.Connection
) -> None:
    ledger = StoreLedger(sink)
    await sink.write(minutes(0, 1, 2))
    await sink.write(minutes(4, 12, covered=False))
    await connection.execute("DELETE FROM candles WHERE time = '2026-10-01 12:01Z'")
    await ledger.record_absent_slots("spot", "btcusdt", "1m", [(NOON + 5, NOON + 6), (NOON + 4, NOON + 9)], "asked")
    span = NOON_NS, Timeframe.M1.slot_open_ns(NOON + 11)
    held = await ledger.held_slots("spot", "btcusdt", Timeframe.M1, *span)
    # 1 was proven and has gone; 4 is stored though nothing had proven it before, so it was called absent wrongly
    assert held == [(NOON, NOON), (NOON + 2, NOON + 2), (NOON + 4, NOON + 9)]
    known = (await coverage.load_slots(connection, [SERIES]))[SERIES]
    assert (NOON + 4, NOON + 4, Source.STORED) in [(c.first, c.last, c.source) for c in known]
    # what is stored exists
    await ledger.record_absent_slots("spot", "btcusdt", "1m", [(NOON + 2, NOON + 3)], "asked")
    assert (await coverage.load_absent_slots(connection, [SERIES]))[SERIES] == [
        (NOON + 5, NOON + 6), (NOON + 7, NOON + 9),
    ]  # fmt: skip
