"""Times as ours and as the driver's."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_quant.store.moments import moment, ns_of


@given(st.integers(-(10**16), 10**17))
def test_microseconds_go_there_and_back(time_us: int) -> None:
    assert ns_of(moment(time_us * 1000)) == time_us * 1000


def test_what_is_finer_belongs_to_the_microsecond_before() -> None:
    assert moment(1_999) == datetime(1970, 1, 1, 0, 0, 0, 1, tzinfo=UTC)
    assert moment(-1) == datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)


@pytest.mark.parametrize(("time_ns", "year"), [(10**30, 9999), (-(10**30), 1)])
def test_a_time_beyond_all_years_is_their_end(time_ns: int, year: int) -> None:
    assert moment(time_ns).year == year
