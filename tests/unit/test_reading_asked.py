from datetime import UTC, date, datetime, timedelta, timezone

import pandas as pd
import pytest

from crypto_quant.errors import ConfigError
from crypto_quant.market import Timeframe
from crypto_quant.reading.asked import Step, moment_ns, span_of, symbol_of

NOON_NS = 1_723_118_400 * 10**9  # 2024-08-08 12:00Z


@pytest.mark.parametrize(
    "value",
    [
        "2024-08-08 12:00", "2024-08-08T12:00Z", " 2024-08-08T14:00:00+02:00 ", datetime(2024, 8, 8, 12),  # noqa: DTZ001
        datetime(2024, 8, 8, 12, tzinfo=UTC), datetime(2024, 8, 8, 7, tzinfo=timezone(timedelta(hours=-5))),
        pd.Timestamp("2024-08-08 12:00"), pd.Timestamp("2024-08-08 12:00", tz="UTC"),
    ],
)  # fmt: skip
def test_a_time_in_any_form_is_utc_unless_it_says_otherwise(value: object) -> None:
    assert moment_ns(value, "start") == NOON_NS  # type: ignore[arg-type]


def test_a_day_is_its_first_moment_and_what_is_finer_the_next_microsecond() -> None:
    midnight = NOON_NS - 43_200 * 10**9
    assert moment_ns("2024-08-08", "start") == moment_ns(date(2024, 8, 8), "start") == midnight
    assert moment_ns("2024-08-08T12:00:00.000001", "start") == NOON_NS + 1000
    assert moment_ns(pd.Timestamp("2024-08-08 12:00:00.000000001"), "start") == NOON_NS + 1000
    assert moment_ns("1969-12-31T23:59:59.999999", "start") == -1000


@pytest.mark.parametrize("value", ["", "soon", "2024-02-30", 7, 1.5, True, object()])
def test_what_is_no_time_is_refused(value: object) -> None:
    with pytest.raises(ConfigError, match="end is no time"):
        moment_ns(value, "end")  # type: ignore[arg-type]


def test_a_span_does_not_end_before_it_begins() -> None:
    assert span_of("2024-08-08", "2024-08-09").end - span_of("2024-08-08", None).start == 86_400 * 10**9
    with pytest.raises(ConfigError, match=r"ends before it begins: 2024-08-09T00:00:00Z to 2024-08-08T"):
        span_of("2024-08-09", "2024-08-08")


def test_a_symbol_is_folded() -> None:
    assert symbol_of(" BTCUSDT ") == "btcusdt"
    assert symbol_of("币安人生USDT") == "币安人生usdt"
    with pytest.raises(ConfigError):
        symbol_of(None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "length_s"),
    [("1s", 1), ("90s", 90), ("10m", 600), ("48m", 2880), ("6h", 21_600), ("1d", 86_400), ("86400s", 86_400)],
)
def test_a_step_divides_a_day(text: str, length_s: int) -> None:
    step = Step(text)
    assert step.length_s == length_s
    opens = step.open_ns(NOON_NS + 1)
    assert opens <= NOON_NS < step.next_open_ns(opens)
    assert step.next_open_ns(opens) - opens == length_s * 10**9
    assert opens % (length_s * 10**9) == 0
    assert step.first_open_ns(opens) == opens
    assert step.first_open_ns(opens + 1) == opens + length_s * 10**9


@pytest.mark.parametrize("frame", Timeframe)
def test_the_exchanges_timeframes_are_steps(frame: Timeframe) -> None:
    assert Step(frame.value).open_ns(NOON_NS) == frame.open_ns(NOON_NS)


@pytest.mark.parametrize(
    "text", ["", "m", "0m", "-1m", "1.5m", "5 m", "5M", "1y", "1m ", "7m", "25h", "2d", "1w2", None, 5]
)
def test_what_divides_nothing_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="timeframe"):
        Step(text)
