"""Symbols fold ASCII alone; a timeframe cuts time as the exchange does."""

from datetime import UTC, date, datetime

import pytest

from crypto_quant.errors import ConfigError
from crypto_quant.market import (
    DAY_NS,
    NS_PER_S,
    Timeframe,
    day_ns,
    day_of,
    fold_symbol,
    parse_day,
    utc_text,
    wire_symbol,
)


def ns(*fields: int) -> int:
    return int(datetime(*fields, tzinfo=UTC).timestamp()) * NS_PER_S  # type: ignore[arg-type,misc]


@pytest.mark.parametrize(
    ("wire", "stored"),
    [
        ("BTCUSDT", "btcusdt"),
        ("1000SATSUSDT", "1000satsusdt"),
        ("BTCUSD_PERP", "btcusd_perp"),
        ("币安人生USDT", "币安人生usdt"),
        ("这是测试币456", "这是测试币456"),
    ],
)
def test_symbols_go_there_and_back(wire: str, stored: str) -> None:
    assert fold_symbol(wire) == stored
    assert wire_symbol(stored) == wire
    assert fold_symbol(stored) == stored
    assert wire_symbol(wire) == wire


@pytest.mark.parametrize("text", ["ÄÖÜ", "ß", "İ", "ǅ", "Σς"])
def test_other_letters_keep_their_case(text: str) -> None:
    assert fold_symbol(text) == text
    assert wire_symbol(text) == text


@pytest.mark.parametrize(
    ("name", "moment", "opens", "ends"),
    [
        ("1s", ns(2026, 10, 1, 12, 0, 1) + 999_999_999, ns(2026, 10, 1, 12, 0, 1), ns(2026, 10, 1, 12, 0, 2)),
        ("1m", ns(2026, 10, 1, 12, 0, 59), ns(2026, 10, 1, 12), ns(2026, 10, 1, 12, 1)),
        ("5m", ns(2026, 10, 1, 12, 4, 59), ns(2026, 10, 1, 12), ns(2026, 10, 1, 12, 5)),
        ("5m", ns(2026, 10, 1, 12, 5), ns(2026, 10, 1, 12, 5), ns(2026, 10, 1, 12, 10)),
        ("1h", ns(2026, 10, 1, 12, 59), ns(2026, 10, 1, 12), ns(2026, 10, 1, 13)),
        ("4h", ns(2026, 10, 1, 15, 59), ns(2026, 10, 1, 12), ns(2026, 10, 1, 16)),
        ("1d", ns(2026, 10, 1, 23, 59, 59), ns(2026, 10, 1), ns(2026, 10, 2)),
        # 2026-10-01 is a Thursday; its week opened on Monday, the 28th of September
        ("1w", ns(2026, 10, 1, 12), ns(2026, 9, 28), ns(2026, 10, 5)),
        ("1w", ns(2026, 9, 28), ns(2026, 9, 28), ns(2026, 10, 5)),
        ("1w", ns(2026, 9, 27, 23, 59, 59), ns(2026, 9, 21), ns(2026, 9, 28)),
        ("1M", ns(2026, 12, 31, 23, 59, 59), ns(2026, 12, 1), ns(2027, 1, 1)),
        ("1M", ns(2024, 2, 29), ns(2024, 2, 1), ns(2024, 3, 1)),
        ("1M", ns(2026, 1, 31), ns(2026, 1, 1), ns(2026, 2, 1)),
    ],
)
def test_a_timeframe_cuts_time_as_the_exchange_does(name: str, moment: int, opens: int, ends: int) -> None:
    timeframe = Timeframe.parse(name)
    assert timeframe.open_ns(moment) == opens
    assert timeframe.next_open_ns(opens) == ends


@pytest.mark.parametrize("timeframe", Timeframe)
def test_each_candle_begins_where_the_one_before_ended(timeframe: Timeframe) -> None:
    opens = timeframe.open_ns(ns(2023, 12, 30))
    for _ in range(40):
        ends = timeframe.next_open_ns(opens)
        assert ends > opens
        assert timeframe.open_ns(ends) == ends
        assert timeframe.open_ns(ends - 1) == opens
        opens = ends


@pytest.mark.parametrize("name", ["1S", "5M", "1", "", "2m", "60"])
def test_an_unknown_timeframe_is_refused_with_the_valid_names(name: str) -> None:
    with pytest.raises(ConfigError, match="case matters") as caught:
        Timeframe.parse(name)
    assert "1m" in caught.value.hint


@pytest.mark.parametrize(
    ("time_ns", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (ns(2024, 8, 9, 0, 5), "2024-08-09T00:05:00Z"),
        (ns(2024, 8, 9, 0, 5) + 1_000, "2024-08-09T00:05:00.000001Z"),
        (ns(2024, 8, 9, 0, 5) + 999_999_999, "2024-08-09T00:05:00.999999Z"),
    ],
)
def test_a_time_as_text(time_ns: int, text: str) -> None:
    assert utc_text(time_ns) == text


@pytest.mark.parametrize("timeframe", Timeframe)
def test_slots_count_the_candles_from_1970_on(timeframe: Timeframe) -> None:
    opens = timeframe.open_ns(0)
    assert timeframe.slot(opens) == 0
    for number in range(200):
        assert timeframe.slot(opens) == number
        assert timeframe.slot_open_ns(number) == opens
        opens = timeframe.next_open_ns(opens)
    opens = timeframe.open_ns(ns(2026, 10, 1, 12))
    assert timeframe.slot_open_ns(timeframe.slot(opens)) == opens
    assert timeframe.slot(timeframe.next_open_ns(opens)) == timeframe.slot(opens) + 1


def test_a_raster_of_3d_that_lies_elsewhere_has_slots_as_well() -> None:
    opens = ns(2026, 10, 1)
    slots = [Timeframe.D3.slot(opens + number * 3 * 86_400 * NS_PER_S) for number in range(10)]
    assert slots == list(range(slots[0], slots[0] + 10))


@pytest.mark.parametrize(
    ("time_ns", "day"),
    [(0, date(1970, 1, 1)), (-1, date(1969, 12, 31)), (ns(2024, 2, 29), date(2024, 2, 29)),
     (ns(2024, 3, 1) - 1, date(2024, 2, 29))],
)  # fmt: skip
def test_a_day_begins_at_midnight_utc(time_ns: int, day: date) -> None:
    assert day_of(time_ns) == day
    assert day_ns(day) <= time_ns < day_ns(day) + DAY_NS


def test_a_day_is_written_as_iso_8601() -> None:
    assert parse_day("2024-02-29") == date(2024, 2, 29)
    with pytest.raises(ConfigError, match="not a day"):
        parse_day("2023-02-29")
