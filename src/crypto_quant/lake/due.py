"""What an export makes a file of each: the days that were asked for, as far as there is any record of them."""

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

from crypto_quant.completeness import UNPROVEN, Lack
from crypto_quant.continuity import RangeSet
from crypto_quant.errors import ConfigError
from crypto_quant.manifest import Series
from crypto_quant.market import NS_PER_S, day_of

_DAY = timedelta(1)


class Unit(NamedTuple):
    """What becomes one file: the UTC day that it holds, or begins with, and its time; None: as far as there is."""

    day: date
    start: datetime | None
    end: datetime | None


def units_of(
    series: Series, bounds_ns: tuple[int, int], first: date | None, last: date | None, *, whole: bool
) -> list[Unit]:
    """Return the units of the days ``first`` to ``last`` (inclusive); ``whole``: one for all of them.

    ``bounds_ns`` are the times of the first and the last row. Where no day is named the record's own end is the end of
    what is asked for. Raises ConfigError when none of the days has a record.
    """
    begun, ended = map(day_of, bounds_ns)
    low, high = max(first or begun, begun), min(last or ended, ended)
    if high < low:
        raise ConfigError(
            "the record of this series does not reach these days",
            subject=f"{series}, {begun} to {ended}",
            hint="Choose others with --from and --to",
        )
    if whole:
        return [Unit(low, _midnight(first) if first else None, _midnight(last + _DAY) if last else None)]
    days = [low + number * _DAY for number in range((high - low).days + 1)]
    return [
        Unit(
            day,
            None if day == low and first is None else _midnight(day),
            None if day == high and last is None else _midnight(day + _DAY),
        )
        for day in days
    ]


def beyond(units: Sequence[Unit], first: date | None, last: date | None, whole: Iterable[str] = ()) -> list[Lack]:
    """Return what was asked for before the first unit and after the last: of that the database has no record.

    ``whole`` are the days of which there is a whole file from before: the database may have dropped them since.
    """
    asked = RangeSet()
    if first and first < units[0].day:
        asked.add(first.toordinal(), units[0].day.toordinal() - 1)
    if last and units[-1].day < last:
        asked.add(units[-1].day.toordinal() + 1, last.toordinal())
    for day in whole:
        number = date.fromisoformat(day).toordinal()
        asked.discard(number, number)
    return [_unproven(date.fromordinal(low), date.fromordinal(high + 1)) for low, high in asked.ranges()]


def ns_of(moment: datetime) -> int:
    """Return a midnight in ns since the epoch."""
    return int(moment.timestamp()) * NS_PER_S


def _unproven(start: date, end: date) -> Lack:
    return Lack(ns_of(_midnight(start)), ns_of(_midnight(end)), None, None, UNPROVEN)


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
