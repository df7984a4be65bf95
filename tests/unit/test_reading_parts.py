"""The parts of reading that need no database: the worker, candles without trades, frames, what is imported when."""

import asyncio
import subprocess
import sys
from decimal import Decimal

import pyarrow as pa
import pytest

import crypto_quant as cq
from crypto_quant.completeness import MISSING, Lack
from crypto_quant.errors import ConfigError, MissingExtra
from crypto_quant.evidence import Span
from crypto_quant.market import DAY_S, NS_PER_S
from crypto_quant.reading import connecting, decode, frames
from crypto_quant.reading.anything import copyable
from crypto_quant.reading.asked import Step
from crypto_quant.reading.batches import runs_of
from crypto_quant.reading.building import Filler, pieces
from crypto_quant.reading.worker import Send, Worker

MINUTE_NS = 60 * NS_PER_S


# -- the worker -----------------------------------------------------------------------------------------------


async def test_blocks_come_in_order_and_no_faster_than_they_are_taken() -> None:
    sent = 0

    async def produce(send: Send) -> None:
        nonlocal sent
        for number in range(20):
            await send(bytearray([number]))
            sent += 1

    worker = Worker()
    taken = []
    for block in worker.blocks(produce):
        taken += block
        assert sent <= len(taken) + 3
    worker.close()
    assert taken == list(range(20))


def test_an_error_comes_behind_what_was_sent() -> None:
    async def produce(send: Send) -> None:
        await send(bytearray(b"a"))
        await send(bytearray(b"b"))
        raise ValueError("broken")

    worker = Worker()
    blocks = worker.blocks(produce)
    assert [bytes(next(blocks)), bytes(next(blocks))] == [b"a", b"b"]
    with pytest.raises(ValueError, match="broken"):
        next(blocks)
    worker.close()
    worker.close()


def test_whoever_leaves_ends_it() -> None:
    ended = []

    async def produce(send: Send) -> None:
        try:
            while True:
                await send(bytearray(1))
        finally:
            ended.append(True)

    worker = Worker()
    blocks = worker.blocks(produce)
    next(blocks)
    blocks.close()  # type: ignore[attr-defined]
    assert ended == [True]
    assert worker.run(asyncio.sleep(0, "and it goes on")) == "and it goes on"
    worker.close()


# -- candles --------------------------------------------------------------------------------------------------


def test_pieces_are_days_or_single_candles() -> None:
    day = DAY_S * NS_PER_S
    assert list(pieces(Step("6h"), Span(day // 2, 2 * day + day // 4))) == [
        (Span(day // 2, day), 21_600), (Span(day, 2 * day), 21_600), (Span(2 * day, 2 * day + day // 4), 21_600),
    ]  # fmt: skip
    assert [length for _, length in pieces(Step("1M"), Span(0, 59 * day))] == [31 * DAY_S, 28 * DAY_S]
    assert list(pieces(Step("1m"), Span(day, day))) == []


def candle(minute: int, close: str) -> dict[str, object]:
    values: dict[str, object] = dict.fromkeys(decode.CANDLES.names, 7)
    return values | {"time": minute * 60_000_000, "open": Decimal(1), "close": Decimal(close)}


def filled(filler: Filler, minutes: list[tuple[int, str]], first: int, last: int) -> list[tuple[int, str, int]]:
    rows = [candle(*each) for each in minutes]
    batch = pa.RecordBatch.from_pylist(rows, schema=decode.CANDLES)
    table = filler.filled(batch, Span(first * MINUTE_NS, (last + 1) * MINUTE_NS), 60)
    opens = table.column("time").cast(pa.int64()).to_pylist()
    closes = table.column("close").to_pylist()
    counts = table.column("trade_count").to_pylist()
    return [(at // 60_000_000, str(close.normalize()), n) for at, close, n in zip(opens, closes, counts, strict=True)]


def test_a_candle_without_trades_has_the_close_before() -> None:
    filler = Filler(lambda: pytest.fail("nobody needs it"), ())
    assert filled(filler, [(0, "5"), (2, "6")], 0, 3) == [(0, "5", 7), (1, "5", 0), (2, "6", 7), (3, "6", 0)]
    assert filled(filler, [], 4, 5) == [(4, "6", 0), (5, "6", 0)]
    assert filled(filler, [(6, "8")], 6, 6) == [(6, "8", 7)]


def test_the_first_one_asks_for_the_price_before() -> None:
    assert filled(Filler(lambda: Decimal(3), ()), [(1, "5")], 0, 1) == [(0, "3", 0), (1, "5", 7)]
    assert filled(Filler(lambda: None, ()), [(1, "5")], 0, 2) == [(1, "5", 7), (2, "5", 0)]


def test_none_is_made_up_where_trades_lack() -> None:
    lack = Lack(150 * NS_PER_S, 190 * NS_PER_S, 1, 2, MISSING)
    assert [each[0] for each in filled(Filler(lambda: None, [lack]), [(0, "5")], 0, 5)] == [0, 1, 4, 5]


# -- tables ---------------------------------------------------------------------------------------------------


def test_runs_of_ids() -> None:
    def found(*ids: int) -> list[tuple[int, int]]:
        return runs_of(pa.array(ids, pa.int64()).to_numpy())

    assert (found(), found(3), found(3, 4, 5)) == ([], [(3, 3)], [(3, 5)])
    assert found(3, 4, 4, 9, 8) == [(3, 4), (4, 4), (9, 9), (8, 8)]


def test_floats_are_the_nearest_ones() -> None:
    texts = ["0.1", "-0.00000001", "90071992.54740993", "99999999999.99999999", "999999999999.99999999", None]
    column = pa.array([None if text is None else Decimal(text) for text in texts], decode.PRICE)
    for array in (column, column[:2], column[1:3], column[3:]):
        table = frames.with_floats(pa.table({"x": array}))
        expected = [None if each is None else float(str(each)) for each in array.to_pylist()]
        assert table.column("x").to_pylist() == expected


@pytest.mark.parametrize("extra", ["polars", "pandas"])
def test_a_missing_extra_names_the_command(extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, extra, None)
    with pytest.raises(
        MissingExtra, match=rf"{extra} is not installed\. .*--extra {extra} .* pip install pyarrow numpy {extra}"
    ):
        frames.checked(extra, "exact")


def test_without_pyarrow_connect_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connecting.importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(
        MissingExtra, match=r"pyarrow, which is not installed.*--extra arrow .* pip install pyarrow numpy$"
    ):
        cq.connect("postgresql://nobody@localhost/none")


def test_connect_takes_the_settings_of_record(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setenv("CRYPTO_QUANT_DATABASE_URL", "postgresql://me:secret@db/quant")
    with cq.connect() as db:
        assert repr(db) == "<crypto_quant.Database postgresql://me:***@db/quant, for reading>"
    monkeypatch.delenv("CRYPTO_QUANT_DATABASE_URL")
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.setenv("CRYPTO_QUANT_DATA_DIR", str(tmp_path))
    with pytest.raises(ConfigError, match="nothing was ever recorded here"):
        cq.connect()
    with pytest.raises(ConfigError, match="not a PostgreSQL database URL"):
        cq.connect("sqlite:///x")


def test_the_package_alone_imports_nothing_heavy() -> None:
    program = (
        "import sys, crypto_quant as cq; cq.connect;"
        " print(sorted({name.split('.')[0] for name in sys.modules}"
        " & {'pyarrow', 'numpy', 'polars', 'pandas', 'asyncpg', 'aiohttp'}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("query", "expected"),
    [("SELECT 1", True), (" \n(select 1)", True), ("With x AS (SELECT 1) TABLE x", True), ("VALUES (1)", True),
     ("EXPLAIN SELECT 1", False), ("SHOW ALL", False), ("selection", False), ("DELETE FROM trades", False)],
)  # fmt: skip
def test_what_copy_takes(query: str, expected: bool) -> None:
    assert copyable(query) is expected
