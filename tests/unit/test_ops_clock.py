"""The system's clock is the system's time."""

import time

from crypto_quant.ops.clock import SystemClock


def test_it_tells_the_time_in_ns() -> None:
    before = time.time_ns()
    assert before <= SystemClock().now_ns() <= time.time_ns()
