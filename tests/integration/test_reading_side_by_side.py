"""Large ranges are read by two connections that see one moment: what comes, and what becomes of them."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from records import DAY, SERVERS, Record, record_on, trade

from crypto_quant.errors import StoreUnavailable
from crypto_quant.evidence import Span
from crypto_quant.reading import fixed, streams
from crypto_quant.reading.database import Database
from crypto_quant.store import readout
from crypto_quant.store.readout import Send, Snapshot
from crypto_quant.store.tier import Tier

ROWS = 6000
END = DAY + timedelta(seconds=2 * ROWS)


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


@pytest.fixture(autouse=True)
def connections(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Small ranges count as large ones; returns how many connections each of them was read by."""
    used: list[int] = []
    side_by_side = streams.copy_side_by_side

    async def noted(snapshots: Sequence[Snapshot], query: str, pieces: Sequence[Sequence[object]], send: Send) -> None:
        used.append(len(snapshots))
        assert len(pieces) >= 2 * (len(snapshots) - 1)
        await side_by_side(snapshots, query, pieces, send)

    monkeypatch.setattr(streams, "copy_side_by_side", noted)
    monkeypatch.setattr(streams, "_SIDE_BY_SIDE_ROWS", 100)
    monkeypatch.setattr(streams, "_PIECE_ROWS", ROWS // 10)
    monkeypatch.setattr(readout, "BLOCK_BYTES", 5000)
    return used


def ids(db: Database) -> list[int]:
    return db.trades("btcusdt").column("trade_id").to_pylist()  # type: ignore[no-any-return]


async def sessions(record: Record, wanted: int) -> int:
    """Return how many connections to the record there are besides the asking one; waits for it to be ``wanted``."""
    there = -1
    for _ in range(100):
        async with record.connection() as connection:
            there = await connection.fetchval(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
                " AND application_name = 'crypto-quant'"
            )
        if there == wanted:
            break
        await asyncio.sleep(0.05)
    return there


async def test_each_trade_comes_once_and_in_order(record: Record, db: Database, connections: list[int]) -> None:
    rng = random.Random(4)  # noqa: S311
    at, rows = DAY, []
    for number in range(ROWS):
        # as near to each other as can be, so that every piece ends between two that another would like to have
        at += timedelta(microseconds=rng.choice((0, 0, 1, 1, 2)))
        rows.append(trade(number, at))
    await record.trades(rng.sample(rows, len(rows)))
    table = db.trades("btcusdt")
    assert [tuple(row.values()) for row in table.to_pylist()] == rows
    # that edition's server takes one connection at a time
    assert connections == [1 if record.tier is Tier.TIMESCALE_COMMUNITY else 2]


async def test_a_small_range_is_read_by_one(record: Record, db: Database, connections: list[int]) -> None:
    await record.trades([trade(number) for number in range(99)])
    assert ids(db) == list(range(99))
    assert connections == [1]


async def test_both_see_the_moment_of_the_first(
    record: Record, db: Database, connections: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    if record.tier is Tier.TIMESCALE_COMMUNITY:
        pytest.skip("takes one connection at a time")
    share = Snapshot.shared

    async def meanwhile(snapshot: Snapshot) -> str:
        moment = await share(snapshot)
        await record.trades([trade(number) for number in range(ROWS, ROWS + 500)])
        await record.execute("DELETE FROM trades WHERE trade_id < $1", ROWS // 2)
        return moment

    monkeypatch.setattr(Snapshot, "shared", meanwhile)
    await record.trades([trade(number) for number in range(ROWS)])
    assert db.trades("btcusdt", DAY, END, on_gap="ignore").column("trade_id").to_pylist() == list(range(ROWS))
    assert connections == [2]


async def test_a_number_that_does_not_fit_comes_in_a_later_piece(
    record: Record, db: Database, connections: list[int]
) -> None:
    wide = Decimal("999999999999.99999999")
    rows = [trade(number, quantity=wide) if number in (2900, 5900) else trade(number) for number in range(ROWS)]
    await record.trades(rows)
    found = db.trades("btcusdt")
    assert found.column("trade_id").to_pylist() == list(range(ROWS))
    assert found.column("quantity").to_pylist() == [row[3] for row in rows]
    assert len(connections) == 1


async def test_whoever_leaves_early_leaves_no_session(record: Record, db: Database, connections: list[int]) -> None:
    if record.tier is Tier.TIMESCALE_COMMUNITY:
        pytest.skip("takes one connection at a time")
    await record.trades([trade(number) for number in range(ROWS)])
    for _ in range(3):
        with db.trade_batches("btcusdt") as batches:
            assert next(batches).column("trade_id")[0].as_py() == 0
    assert ids(db) == list(range(ROWS))
    assert connections == [2, 2, 2, 2]
    assert await sessions(record, 2) == 2, "the two that read to the end are kept"
    db.close()
    assert await sessions(record, 0) == 0


async def test_an_interrupt_leaves_no_session(
    record: Record, db: Database, connections: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    if record.tier is Tier.TIMESCALE_COMMUNITY:
        pytest.skip("takes one connection at a time")
    await record.trades([trade(number) for number in range(ROWS)])
    decoded, read = [], fixed._batch

    def interrupted(*given: object) -> pa.RecordBatch:
        decoded.append(1)
        if len(decoded) == 3:
            raise KeyboardInterrupt
        return read(*given)

    monkeypatch.setattr(fixed, "_batch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        db.trades("btcusdt")
    assert connections == [2]
    db.close()
    assert await sessions(record, 0) == 0
    assert ids(db) == list(range(ROWS))


@pytest.mark.parametrize("which", [0, 1])
async def test_when_one_connection_is_lost_both_end(
    record: Record, db: Database, connections: list[int], which: int
) -> None:
    if record.tier is Tier.TIMESCALE_COMMUNITY:
        pytest.skip("takes one connection at a time")
    await record.trades([trade(number) for number in range(ROWS)])
    batches = db.trade_batches("btcusdt")
    next(batches)
    async with record.connection() as connection:
        pids = await connection.fetch(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            " AND application_name = 'crypto-quant' ORDER BY backend_start"
        )
        assert len(pids) == 2
        await connection.execute("SELECT pg_terminate_backend($1)", pids[which][0])
    with pytest.raises(StoreUnavailable):
        list(batches)
    assert connections == [2]
    assert await sessions(record, 0) in (0, 1)
    assert ids(db) == list(range(ROWS)), "the next one reads again"


async def test_where_no_second_connection_is_to_be_had_one_reads(
    record: Record, db: Database, connections: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0
    connect = readout.connect

    async def one_alone(url: str, **options: float) -> object:
        nonlocal asked
        asked += 1
        if asked > 1:
            raise StoreUnavailable("too many clients already")
        return await connect(url, **options)

    monkeypatch.setattr(readout, "connect", one_alone)
    await record.trades([trade(number) for number in range(ROWS)])
    for _ in range(3):
        assert ids(db) == list(range(ROWS))
        if record.tier is Tier.TIMESCALE_COMMUNITY:
            break
    assert set(connections) == {1}
    assert asked == 2, "it was to be tried once"


@given(start=st.integers(-(10**18), 10**18), length=st.integers(1, 10**16), number=st.integers(1, 50))
def test_a_span_is_cut_without_a_hole(start: int, length: int, number: int) -> None:
    span = Span(start, start + length)
    pieces = streams.cut(span, number)
    assert len(pieces) == number
    assert (pieces[0].start, pieces[-1].end) == (span.start, span.end)
    assert all(a.end == b.start for a, b in pairwise(pieces))
    assert max(each.end - each.start for each in pieces) - min(each.end - each.start for each in pieces) <= 1
