"""The system's wall clock."""

import time


class SystemClock:
    """A ``Clock`` that asks the operating system."""

    def now_ns(self) -> int:
        """Nanoseconds since the epoch, UTC."""
        return time.time_ns()
