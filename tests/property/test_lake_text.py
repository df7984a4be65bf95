"""Exact numbers and times on their way through Arrow into text, and what no number may lose there."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_quant.errors import ConfigError
from crypto_quant.lake.columns import Hearing, nearest_floats, plain_text, shortest_text
from crypto_quant.lake.nautilus import fixed
from crypto_quant.lake.rowtext import lines
from crypto_quant.manifest import Series
from crypto_quant.reading.decode import PRICE, TIME, TRADES, VOLUME

BEGIN = datetime(2017, 7, 14, tzinfo=UTC)
prices = st.decimals(0, Decimal("999999999999.99999999"), places=8, allow_nan=False)
volumes = st.decimals(0, Decimal("999999999999999999999999999999.99999999"), places=8, allow_nan=False)
moments = st.integers(0, 10**15).map(lambda us: BEGIN + timedelta(microseconds=us))


@settings(deadline=None)
@given(st.lists(st.none() | volumes | prices, min_size=1), st.data())
def test_decimals_are_written_plainly(numbers: list[Decimal | None], data: st.DataObject) -> None:
    column = pa.array(numbers, VOLUME)
    start = data.draw(st.integers(0, len(numbers)))
    for part, expected in ((column, numbers), (column.slice(start), numbers[start:])):
        assert plain_text(part).to_pylist() == [None if each is None else f"{each:.8f}" for each in expected]
        short = shortest_text(part).to_pylist()
        assert [None if each is None else Decimal(each) for each in short] == expected
        assert not any(each and ("E" in each or each.endswith(".")) for each in short)


@settings(deadline=None)
@given(st.lists(prices, min_size=1))
def test_floats_are_the_nearest_ones(numbers: list[Decimal]) -> None:
    assert nearest_floats(pa.array(numbers, PRICE)).to_pylist() == [float(str(each)) for each in numbers]


@settings(deadline=None)
@given(st.lists(prices, min_size=1), st.data())
def test_fixed_point_numbers_are_exact(numbers: list[Decimal], data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(numbers) - 1))
    told = fixed(pa.array(numbers, PRICE).slice(start)).to_pylist()
    assert [int.from_bytes(each, "little") for each in told] == [int(each * 10**16) for each in numbers[start:]]


def test_a_volume_beyond_fixed_point_numbers_is_refused() -> None:
    most = Decimal(17_014_118_346_046)
    assert len(fixed(pa.array([most], VOLUME))) == 1
    with pytest.raises(ConfigError, match=r"no numbers that large: 17014118346047.00000000"):
        fixed(pa.array([most, most + 1], VOLUME))


rows = st.tuples(
    moments, st.integers(0, 2**62), prices, prices, st.integers(-1, 2**62), st.integers(-1, 2**62), st.booleans(),
    st.none() | moments,
)  # fmt: skip


@settings(deadline=None)
@given(st.lists(rows, min_size=1))
def test_rows_become_lines_that_say_the_same(given: list[tuple]) -> None:  # type: ignore[type-arg]
    batch = pa.RecordBatch.from_arrays(
        [pa.array(column, field.type) for column, field in zip(zip(*given, strict=True), TRADES, strict=True)],
        schema=TRADES,
    )
    made = lines(batch, Series("spot", "trades", "b\\t\nc"))
    assert len(made) == len(given)
    assert len(list(made)) == len(given)
    for line, row in zip(made, given, strict=True):
        cells = line.decode().removesuffix("\n").split("\t")
        assert cells[1:4] == ["spot", "b\\\\t\\nc", str(row[1])]
        assert [Decimal(cells[4]), Decimal(cells[5])] == [row[2], row[3]]
        assert cells[6:9] == [str(row[4]), str(row[5]), "t" if row[6] else "f"]
        assert datetime.fromisoformat(cells[0]) == row[0]
        assert (None if cells[9] == "\\N" else datetime.fromisoformat(cells[9])) == row[7]


@settings(deadline=None)
@given(st.lists(st.tuples(moments, st.none() | moments), min_size=1), st.integers(1, 5))
def test_hearing_never_goes_back(given: list[tuple[datetime, datetime | None]], size: int) -> None:
    given = sorted(given, key=lambda each: each[0])
    hearing, heard = Hearing(), []
    for at in range(0, len(given), size):
        part = given[at : at + size]
        batch = pa.RecordBatch.from_arrays(
            [pa.array([each[0] for each in part], TIME), pa.array([each[1] for each in part], TIME)],
            names=["time", "received_at"],
        )
        heard += hearing.micros(batch).tolist()
    assert heard == sorted(heard)
    latest = BEGIN
    for (time, received), us in zip(given, heard, strict=True):
        latest = max(latest, time, received or time)
        assert us == (latest - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
