"""The exchange's calendar: where its candles are cut.

Written here once more, apart from ``market.Timeframe``, on purpose: an exchange that shares the recorder's calendar
cannot find a mistake in it.
"""

from datetime import UTC, datetime

US_PER_MS = 1_000
US_PER_S = 1_000_000
_MINUTE = 60 * US_PER_S
_HOUR = 60 * _MINUTE
_DAY = 24 * _HOUR
# 1970-01-01 was a Thursday: the first Monday is the 5th
_FIRST_MONDAY = 4 * _DAY

LENGTHS_US = {
    "1s": US_PER_S, "1m": _MINUTE, "3m": 3 * _MINUTE, "5m": 5 * _MINUTE, "15m": 15 * _MINUTE, "30m": 30 * _MINUTE,
    "1h": _HOUR, "2h": 2 * _HOUR, "4h": 4 * _HOUR, "6h": 6 * _HOUR, "8h": 8 * _HOUR, "12h": 12 * _HOUR,
    "1d": _DAY, "3d": 3 * _DAY, "1w": 7 * _DAY,
}  # fmt: skip
INTERVALS = (*LENGTHS_US, "1M")


def open_of(time_us: int, interval: str, offset_us: int = 0) -> int:
    """Return the open time (µs, UTC) of the candle that holds ``time_us``.

    ``offset_us`` is the time zone that days, weeks and months are cut in (``+08:00`` is 28,800,000,000).
    ``3d`` is cut from the epoch; the exchange's own raster for it is not documented.
    """
    local = time_us + offset_us
    if interval == "1M":
        moment = datetime.fromtimestamp(local // US_PER_S, UTC)
        return int(datetime(moment.year, moment.month, 1, tzinfo=UTC).timestamp()) * US_PER_S - offset_us
    length = LENGTHS_US[interval]
    anchor = _FIRST_MONDAY if interval == "1w" else 0
    return (local - anchor) // length * length + anchor - offset_us


def end_of(open_us: int, interval: str, offset_us: int = 0) -> int:
    """Return the exclusive end (µs, UTC) of the candle that opens at ``open_us``: the next one's open time."""
    if interval == "1M":
        return open_of(open_us + 32 * _DAY, interval, offset_us)
    return open_us + LENGTHS_US[interval]
