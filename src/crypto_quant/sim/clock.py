"""The exchange's time: real, N times as fast, or as fast as the clients read."""

import math
from collections.abc import Callable

from crypto_quant.errors import ConfigError
from crypto_quant.sim.intervals import US_PER_S

REAL = 1.0
# time jumps from event to event, held back by the slowest reader
MAX = math.inf


def parse_speed(text: str) -> float:
    """Return the speed of ``max`` or of a positive number; raise ConfigError otherwise."""
    if text.lower() == "max":
        return MAX
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0 < speed < MAX:
        raise ConfigError("not a speed", subject=repr(text), hint="A number above 0 (1 is real time), or max")
    return speed


class ExchangeClock:
    """Maps a monotonic clock (seconds) to exchange time (µs since the epoch). Stands still until ``start``."""

    def __init__(self, start_us: int, speed: float, monotonic: Callable[[], float]) -> None:
        self._base_us = start_us
        self._speed = speed
        self._monotonic = monotonic
        self._base_s: float | None = None

    @property
    def started(self) -> bool:
        """Whether time runs."""
        return self._base_s is not None

    @property
    def jumps(self) -> bool:
        """Whether time has no pace of its own."""
        return self._speed == MAX

    def start(self) -> None:
        """Let time run; later calls do nothing."""
        if self._base_s is None:
            self._base_s = self._monotonic()

    def go_on_from(self, now_us: int, speed: float) -> None:
        """Run on from ``now_us`` at another speed."""
        self._base_us = now_us
        self._speed = speed
        self._base_s = self._monotonic()

    def now_us(self) -> int:
        """Return the exchange time. Not for a clock that jumps: there the market says what time it is."""
        if self._base_s is None:
            return self._base_us
        return self._base_us + int((self._monotonic() - self._base_s) * US_PER_S * self._speed)

    def wait_s(self, due_us: int) -> float:
        """Return the real seconds until exchange time ``due_us``, at least 0."""
        return max(0.0, (due_us - self.now_us()) / US_PER_S / self._speed)
