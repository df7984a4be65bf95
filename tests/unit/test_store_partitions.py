"""Partitions: which day belongs where."""

from datetime import UTC, date, datetime

import pytest

from crypto_quant.seams import Table
from crypto_quant.store.partitions import Partition, partition_of, partitions_around, partitions_of, row_day


def test_a_day_of_trades() -> None:
    partition = partition_of(Table.TRADES, date(2024, 2, 29))
    assert partition == Partition(Table.TRADES, date(2024, 2, 29), date(2024, 3, 1))
    assert partition.name == "trades_p20240229"


@pytest.mark.parametrize(
    ("day", "end", "name"),
    [
        (date(2024, 1, 31), date(2024, 2, 1), "candles_p202401"),
        (date(2024, 2, 1), date(2024, 3, 1), "candles_p202402"),
        (date(2025, 12, 31), date(2026, 1, 1), "candles_p202512"),
    ],
)
def test_a_month_of_candles(day: date, end: date, name: str) -> None:
    partition = partition_of(Table.CANDLES, day)
    assert (partition.first, partition.end, partition.name) == (day.replace(day=1), end, name)


@pytest.mark.parametrize("table", Table)
def test_partitions_follow_each_other_without_a_hole(table: Table) -> None:
    partition = partition_of(table, date(2017, 7, 14))
    for _ in range(200):
        following = partition.following()
        assert following.first == partition.end
        assert following.end > following.first
        partition = following


def test_the_days_of_rows() -> None:
    rows = [b"2024-08-09 00:00:00+00\tx\n", b"2024-08-08 23:59:59.999+00\tx\n", b"2024-08-08 1\n"]
    assert [p.name for p in partitions_of(Table.TRADES, rows)] == ["trades_p20240808", "trades_p20240809"]
    assert [p.name for p in partitions_of(Table.CANDLES, rows)] == ["candles_p202408"]


@pytest.mark.parametrize(
    "row", [b"", b"yesterday at noon", b"2024-02-30 00:00", b"\xff" * 12, b"9999-12-31 00:00:00+00"]
)
def test_what_is_no_day_asks_for_no_partition(row: bytes) -> None:
    assert partitions_of(Table.TRADES, [row]) == []


def test_row_day() -> None:
    assert row_day(b"2024-08-08 12:00:00+00\t") == date(2024, 8, 8)
    assert row_day(b"2024-08-8 12:00") is None


def test_around_the_last_second_of_a_year() -> None:
    moment_ns = int(datetime(2025, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()) * 1_000_000_000
    assert [p.name for p in partitions_around(moment_ns)] == [
        "trades_p20251231", "trades_p20260101", "candles_p202512", "candles_p202601",
    ]  # fmt: skip
