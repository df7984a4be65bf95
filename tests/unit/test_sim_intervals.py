from datetime import UTC, datetime

import pytest

from crypto_quant.market import Timeframe
from crypto_quant.sim.intervals import INTERVALS, US_PER_S, end_of, open_of

EAST_8 = 8 * 3600 * US_PER_S


def us(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * US_PER_S


@pytest.mark.parametrize(
    ("interval", "opens", "ends"),
    [
        ("1s", "2026-10-01T12:34:56", "2026-10-01T12:34:57"),
        ("1m", "2026-10-01T12:34:00", "2026-10-01T12:35:00"),
        ("3m", "2026-10-01T12:33:00", "2026-10-01T12:36:00"),
        ("5m", "2026-10-01T12:30:00", "2026-10-01T12:35:00"),
        ("15m", "2026-10-01T12:30:00", "2026-10-01T12:45:00"),
        ("30m", "2026-10-01T12:30:00", "2026-10-01T13:00:00"),
        ("1h", "2026-10-01T12:00:00", "2026-10-01T13:00:00"),
        ("2h", "2026-10-01T12:00:00", "2026-10-01T14:00:00"),
        ("4h", "2026-10-01T12:00:00", "2026-10-01T16:00:00"),
        ("6h", "2026-10-01T12:00:00", "2026-10-01T18:00:00"),
        ("8h", "2026-10-01T08:00:00", "2026-10-01T16:00:00"),
        ("12h", "2026-10-01T12:00:00", "2026-10-02T00:00:00"),
        ("1d", "2026-10-01T00:00:00", "2026-10-02T00:00:00"),
        # a Thursday: the week opened on Monday
        ("1w", "2026-09-28T00:00:00", "2026-10-05T00:00:00"),
        ("1M", "2026-10-01T00:00:00", "2026-11-01T00:00:00"),
    ],
)
def test_where_candles_are_cut(interval: str, opens: str, ends: str) -> None:
    moment = us("2026-10-01T12:34:56") + 789_012
    assert open_of(moment, interval) == us(opens)
    assert end_of(us(opens), interval) == us(ends)
    assert open_of(us(ends) - 1, interval) == us(opens)
    assert open_of(us(ends), interval) == us(ends)


def test_there_are_sixteen_intervals_and_the_recorder_knows_the_same() -> None:
    assert len(INTERVALS) == 16
    assert set(INTERVALS) == {timeframe.value for timeframe in Timeframe}


def test_months_follow_the_calendar() -> None:
    opens = us("2024-01-01T00:00:00")
    lengths = []
    for _ in range(12):
        ends = end_of(opens, "1M")
        lengths.append((ends - opens) // (86_400 * US_PER_S))
        opens = ends
    assert lengths == [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]


def test_days_in_another_time_zone_open_at_its_midnight() -> None:
    # the exchange's own example: the daily candle of +08:00 opens at 16:00 UTC of the day before
    assert open_of(us("2026-10-01T12:00:41"), "1d", EAST_8) == us("2026-09-30T16:00:00")
    assert open_of(us("2026-09-30T17:00:00"), "1M", EAST_8) == us("2026-09-30T16:00:00")
    assert end_of(us("2026-09-30T16:00:00"), "1M", EAST_8) == us("2026-10-31T16:00:00")
    assert open_of(us("2026-10-01T12:00:41"), "4h", EAST_8) == open_of(us("2026-10-01T12:00:41"), "4h")
