"""What a caller asks for, checked before anything is read: symbols, times, timeframes, choices."""

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

from crypto_quant.errors import ConfigError
from crypto_quant.evidence import Span
from crypto_quant.market import DAY_S, NS_PER_S, NS_PER_US, Timeframe, Venue, fold_symbol, utc_text

# A time: text in ISO 8601, a datetime, or a day, which stands for its first moment; without a zone it is UTC.
When = str | date | datetime

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": DAY_S}
ALWAYS = Span(-(2**62), 2**62)


def moment_ns(value: When, name: str) -> int:
    """Return a time in ns since the epoch; finer than µs it is the next µs. Raises ConfigError."""
    finer = getattr(value, "nanosecond", 0)  # pandas' Timestamp
    try:
        if isinstance(value, str):
            value = datetime.fromisoformat(value.strip())
        if not isinstance(value, datetime):
            value = datetime(value.year, value.month, value.day, tzinfo=UTC)
    except (ValueError, AttributeError, TypeError):
        raise ConfigError(
            f"{name} is no time", subject=repr(value), hint="Give it as '2026-09-01', '2026-09-01T12:00Z' or a datetime"
        ) from None
    aware = value.replace(tzinfo=UTC) if value.tzinfo is None else value
    return ((aware - _EPOCH) // timedelta(microseconds=1) + bool(finer)) * NS_PER_US


def span_of(start: When | None, end: When | None) -> Span:
    """Return the time from ``start`` (inclusive) to ``end`` (exclusive); None is open. Raises ConfigError."""
    span = Span(
        ALWAYS.start if start is None else moment_ns(start, "start"),
        ALWAYS.end if end is None else moment_ns(end, "end"),
    )
    if span.end <= span.start:
        raise ConfigError(
            "the range ends before it begins",
            subject=f"{utc_text(span.start)} to {utc_text(span.end)}",
            hint="start is inclusive, end is exclusive: a day is '2026-09-01' to '2026-09-02'",
        )
    return span


def open_start(span: Span) -> bool:
    """Tell whether a span has no beginning of its own."""
    return span.start == ALWAYS.start


def open_end(span: Span) -> bool:
    """Tell whether a span has no end of its own."""
    return span.end == ALWAYS.end


def symbol_of(text: str) -> str:
    """Return a symbol as it is stored. Raises ConfigError when it is none."""
    if not isinstance(text, str) or not text.strip():
        raise ConfigError("not a symbol", subject=repr(text), hint="Give one as 'btcusdt', in any case")
    return fold_symbol(text.strip())


def venue_of(text: str) -> str:
    """Return a venue as it is stored. Raises ConfigError with the valid ones."""
    try:
        return Venue(text).value
    except ValueError:
        raise ConfigError("unknown venue", subject=repr(text), hint=f"One of: {', '.join(Venue)}") from None


def choice_of(value: Any, name: str, valid: Sequence[str]) -> str:  # noqa: ANN401 - whatever a caller gives
    """Return ``value`` if it is one of those that are valid. Raises ConfigError with them otherwise."""
    if value not in valid:
        raise ConfigError(f"unknown {name}", subject=repr(value), hint=f"One of: {', '.join(map(repr, valid))}")
    return str(value)


class Step:
    """A timeframe, the exchange's or any other that divides a day: its raster is cut anew at each midnight UTC."""

    def __init__(self, text: str) -> None:
        """Raises ConfigError for what is no timeframe, or does not divide."""
        self.name = text
        self.known = Timeframe(text) if text in set(Timeframe) else None
        found = re.fullmatch(r"([1-9][0-9]{0,5})([smhd])", text) if isinstance(text, str) else None
        if self.known is not None:
            self.length_s = self.known.length_s
        elif found is None:
            raise ConfigError(
                "not a timeframe",
                subject=repr(text),
                hint="Give a number and s, m, h or d, as '90s' or '10m', or one of the exchange's: "
                f"{', '.join(Timeframe)} (case matters)",
            )
        else:
            self.length_s = int(found[1]) * _UNITS[found[2]]
            if DAY_S % self.length_s:
                raise ConfigError(
                    "this timeframe does not divide a day",
                    subject=text,
                    hint=f"Near it: {', '.join(_near(self.length_s, found[2]))}",
                )

    def open_ns(self, time_ns: int) -> int:
        """Return the open time of the candle that holds ``time_ns``."""
        if self.known is not None:
            return self.known.open_ns(time_ns)
        assert self.length_s is not None  # noqa: S101 - months are known
        length_ns = self.length_s * NS_PER_S
        return time_ns // length_ns * length_ns

    def next_open_ns(self, open_ns: int) -> int:
        """Return the open time that follows: the exclusive end of the candle that opens at ``open_ns``."""
        if self.known is not None:
            return self.known.next_open_ns(open_ns)
        assert self.length_s is not None  # noqa: S101
        return open_ns + self.length_s * NS_PER_S

    def first_open_ns(self, time_ns: int) -> int:
        """Return the open time of the first candle that opens at ``time_ns`` or later."""
        opens = self.open_ns(time_ns)
        return opens if opens == time_ns else self.next_open_ns(opens)


def _near(length_s: int, unit: str) -> list[str]:
    """Return the timeframes of that unit that divide a day, next below and above, as text."""
    size = _UNITS[unit]
    whole = [number for number in range(1, DAY_S // size + 1) if DAY_S % (number * size) == 0]
    below = [number for number in whole if number * size < length_s]
    above = [number for number in whole if number * size > length_s]
    near = [f"{number}{unit}" for number in (*below[-1:], *above[:1])]
    return near if unit != "d" else [*near, Timeframe.D3.value, Timeframe.W1.value, Timeframe.MO1.value]
