"""Times as ours (ns since the epoch), as the driver's (datetimes in UTC) and as SQL tells them (microseconds)."""

from datetime import UTC, datetime, timedelta

from crypto_quant.market import NS_PER_US

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def moment(time_ns: int) -> datetime:
    """Return a time in ns as the driver takes it; what lies beyond a datetime's years is its end."""
    try:
        return _EPOCH + timedelta(microseconds=time_ns // NS_PER_US)
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC) if time_ns > 0 else datetime.min.replace(tzinfo=UTC)


def ns_of(at: datetime) -> int:
    """Return a time that the driver gave in ns."""
    return (at - _EPOCH) // timedelta(microseconds=1) * NS_PER_US


def us(expression: str) -> str:
    """Return SQL for an expression of type timestamptz as exact microseconds since the epoch."""
    return f"(extract(epoch FROM {expression}) * 1000000)::bigint"
