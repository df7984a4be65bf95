"""Exact columns of pandas and Arrow: what a notebook does first with them, held against Python's own decimals."""

import pickle
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_quant.reading.decode import PRICE, VOLUME
from crypto_quant.reading.frames import framed

WIDE = Context(prec=100)
MOST = Decimal("999999999999.99999999")
# what NUMERIC(20,8) holds, the ends of what narrower types hold among them
NUMBERS = st.decimals(-MOST, MOST, places=8) | st.sampled_from(
    [MOST, -MOST, *map(Decimal, ("0", "1E-8", "9999999999.99999999", "10000000000", "90071992.54740993"))]
)
VOLUMES = st.decimals(0, Decimal("99999999999999999999"), places=8)
START = datetime(2026, 9, 1, tzinfo=UTC)


def table(prices: list[Decimal | None], quantities: list[Decimal | None], kind: pa.DataType = PRICE) -> pa.Table:
    times = [START + timedelta(seconds=at) for at in range(len(prices))]
    return pa.table({
        "time": pa.array(times, pa.timestamp("us", tz="UTC")),
        "price": pa.array(prices, PRICE), "quantity": pa.array(quantities, kind),
    })  # fmt: skip


def usual() -> pa.Table:
    return table([Decimal("64321.12") + at for at in range(20)], [Decimal("0.00012") + at % 3 for at in range(20)])


@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=12), NUMBERS)
def test_pandas_adds_and_multiplies_to_the_last_digit(rows: list[tuple[Decimal, Decimal]], one: Decimal) -> None:
    prices, quantities = map(list, zip(*rows, strict=True))
    frame = framed(table(prices, quantities), "pandas", "exact")
    pairs = list(zip(prices, quantities, strict=True))
    for found, expected in (
        (frame.price * frame.quantity, [WIDE.multiply(a, b) for a, b in pairs]),
        (frame.price + frame.quantity, [WIDE.add(a, b) for a, b in pairs]),
        (frame.price - frame.quantity, [WIDE.subtract(a, b) for a, b in pairs]),
        (frame.price * one, [WIDE.multiply(a, one) for a in prices]),
        (one - frame.price, [WIDE.subtract(one, a) for a in prices]),
        (np.multiply(frame.price, frame.quantity), [WIDE.multiply(a, b) for a, b in pairs]),
        (frame.price * 3, [WIDE.multiply(a, Decimal(3)) for a in prices]),
        ((frame.price * frame.quantity).cumsum(), running([WIDE.multiply(a, b) for a, b in pairs])),
        (frame.quantity.cumsum(), running(quantities)),
    ):
        assert found.tolist() == expected
    assert (frame.price * frame.quantity > frame.price).tolist() == [WIDE.multiply(a, b) > a for a, b in pairs]
    assert (frame.price * frame.quantity).sum() == running([WIDE.multiply(a, b) for a, b in pairs])[-1]


def running(values: list[Decimal]) -> list[Decimal]:
    found = [Decimal(0)]
    for each in values:
        found.append(WIDE.add(found[-1], each))
    return found[1:]


@given(st.lists(st.tuples(NUMBERS, VOLUMES), min_size=1, max_size=8), st.sampled_from(["price", "quantity"]))
def test_arrow_multiplies_to_the_last_digit(rows: list[tuple[Decimal, Decimal]], other: str) -> None:
    prices, volumes = map(list, zip(*rows, strict=True))
    found = framed(table(prices, volumes, VOLUME), "arrow", "exact")
    assert found.column("price").to_pylist() == prices
    right = found.column(other)
    expected = [WIDE.multiply(a, b) for a, b in zip(prices, right.to_pylist(), strict=True)]
    assert pc.multiply(found.column("price"), right).to_pylist() == expected


def test_what_fits_is_as_narrow_as_all_libraries_can_multiply() -> None:
    assert framed(usual(), "arrow", "exact").schema.field("price").type == pa.decimal128(18, 8)
    wide = framed(table([MOST], [Decimal(1)]), "arrow", "exact")
    assert [str(each) for each in wide.schema.types[1:]] == ["decimal256(37, 8)", "decimal128(18, 8)"]
    empty = framed(usual()[:0], "arrow", "exact")
    assert pc.multiply(empty.column("price"), empty.column("quantity")).to_pylist() == []


def test_the_first_lines_of_a_notebook_work_on_pandas() -> None:
    frame = framed(usual(), "pandas", "exact")
    by_time = frame.set_index("time")
    ratio = float(Decimal("64322.12") / Decimal("64321.12"))
    assert (frame.price / frame.price.shift())[1] == pytest.approx(ratio, rel=1e-15)
    assert frame.price.pct_change()[1] == pytest.approx(ratio - 1, rel=1e-10)
    assert np.log(frame.price).tolist() == pytest.approx(np.log([float(each) for each in frame.price]))
    assert (frame.price * 1.5)[0] == 64321.12 * 1.5
    assert frame.price.diff().tolist()[1:] == [Decimal(1)] * 19
    assert frame.price.mean() == pytest.approx(64330.62)
    assert frame.price.quantile(0.5) == pytest.approx(64330.62)
    assert (frame.price % Decimal("0.1"))[0] == Decimal("0.02")
    assert frame.price.shift().interpolate().tolist()[1:] == pytest.approx([64321.12 + at for at in range(19)])
    vwap = (frame.price * frame.quantity).sum() / frame.quantity.sum()
    assert isinstance(vwap, Decimal)
    assert frame.price.rolling(2).mean()[1] == pytest.approx(64321.62)
    assert by_time.quantity.resample("10s").sum().tolist() == [Decimal("9.0012"), Decimal("10.0012")]


def test_ohlc_is_exact_and_has_empty_bins() -> None:
    frame = framed(usual(), "pandas", "exact")[lambda each: (each.index < 4) | (each.index > 13)]
    bars = frame.set_index("time").price.resample("5s").ohlc()
    low = Decimal("64321.12")
    assert bars.iloc[0].tolist() == [low, low + 3, low, low + 3]
    assert bars.isna().all(axis=1).tolist() == [False, True, False, False]
    assert bars.close.ffill().iloc[1] == low + 3
    assert (bars.close - bars.open).iloc[0] == 3
    both = frame.set_index("time")[["price", "quantity"]].resample("5s").ohlc()
    assert both["quantity"].high.iloc[0] == Decimal("2.00012")


def test_running_sums_of_groups_and_around_what_is_missing() -> None:
    values = [Decimal(1), None, Decimal(3), Decimal(4)]
    column = framed(table([Decimal(1)] * 4, values), "pandas", "exact").quantity
    assert column.cumsum().tolist() == [1, pd.NA, 4, 8]
    assert column.cumsum(skipna=False).tolist() == [1, pd.NA, pd.NA, pd.NA]
    assert column.cummax().tolist() == [1, pd.NA, 3, 4]
    groups = pd.Series(["b", "a", "b", None])
    assert column.groupby(groups).cumsum().tolist() == [1, pd.NA, 4, pd.NA]


def test_a_column_goes_where_columns_go() -> None:
    frame = framed(usual(), "pandas", "exact")
    product = frame.price * frame.quantity
    again: Any = pickle.loads(pickle.dumps(product))  # noqa: S301 - our own
    assert (again * 2).tolist() == (product * 2).tolist()
    assert pa.array(product).type == pa.decimal128(38, 16)
    assert pd.concat([frame, frame]).price.dtype == frame.price.dtype
    assert (frame[:0].price * frame[:0].quantity).cumsum().tolist() == []
    assert (frame.price * frame.price > frame.quantity).all()


def test_what_no_decimal_holds_is_refused_with_a_way_out() -> None:
    price = framed(table([MOST], [MOST]), "pandas", "exact").price
    square = price * price
    with pytest.raises(OverflowError, match=r"81 digits, more than the 76 .*round\(\) .*astype"):
        square * square
    assert (square.astype("float64") * square.astype("float64"))[0] == pytest.approx(1e48)


def test_polars_multiplies_exactly_once_told_how_many_decimals() -> None:
    frame = framed(usual(), "polars", "exact")
    product = frame.select(pl.col("price").cast(pl.Decimal(38, 16)) * pl.col("quantity"))["price"].to_list()
    assert product == [a * b for a, b in zip(frame["price"], frame["quantity"], strict=True)]
    assert frame["price"].pct_change().dtype == pl.Float64
    assert (frame["price"] / frame["price"].shift()).null_count() == 1
    assert frame["quantity"].cum_sum()[-1] == sum(frame["quantity"])
