"""The exchange's limits, each adjustable, and the counters that watch them. Pure: the caller tells the time."""

from collections import deque

import msgspec


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What the exchange grants; the defaults are the real ones of spot. Seconds are real seconds, at any speed.

    Not documented, hence chosen: ``ban_after`` (requests ignored while 429 is being answered before the address is
    banned), ``buffer_bytes`` (what a slow reader may leave unread before it is dropped, except where the market
    waits for its readers), ``life_close_code`` (None drops the connection without a closing handshake).
    """

    ping_interval_s: float = 20.0
    pong_deadline_s: float = 60.0
    life_s: float = 24 * 3600.0
    life_close_code: int | None = 1001
    messages_per_s: int = 5
    streams_per_link: int = 1024
    connects: int = 300
    connects_window_s: float = 300.0
    weight_per_minute: int = 6000
    ban_after: int = 10
    ban_s: float = 120.0
    rows_max: int = 1000
    buffer_bytes: int = 64 * 1024 * 1024


class RateWindow:
    """Counts events in a sliding window."""

    def __init__(self, limit: int, window_s: float) -> None:
        self._limit = limit
        self._window_s = window_s
        self._times: deque[float] = deque()

    def allow(self, now_s: float) -> bool:
        """Note one event; return whether it is within the limit. A refused event does not count."""
        while self._times and self._times[0] <= now_s - self._window_s:
            self._times.popleft()
        if len(self._times) >= self._limit:
            return False
        self._times.append(now_s)
        return True

    def retry_after_s(self, now_s: float) -> float:
        """Return how long until the next event is allowed, if it is refused now."""
        return max(0.0, self._times[0] + self._window_s - now_s) if self._times else 0.0


class Verdict(msgspec.Struct, frozen=True):
    """What a REST request gets: ``status`` 200, 429 or 418; the weight used this minute; seconds to wait."""

    status: int
    used: int
    retry_after_s: int = 0


class WeightMeter:
    """The request weight of one address, by the minute; 429 beyond the limit, 418 for those who ignore that."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._minute = -1
        self._used = 0
        self._ignored = 0
        self._bans = 0
        self._banned_until_s = 0.0

    def spend(self, weight: int, now_s: float) -> Verdict:
        """Book one request at ``now_s`` (any clock whose minutes are minutes)."""
        minute = int(now_s // 60)
        if minute != self._minute:
            self._minute, self._used, self._ignored = minute, 0, 0
        if now_s < self._banned_until_s:
            return Verdict(418, self._used, _up(self._banned_until_s - now_s))
        self._used += weight
        if self._used <= self._limits.weight_per_minute:
            return Verdict(200, self._used)
        self._ignored += 1
        if self._ignored > self._limits.ban_after:
            # 2 minutes growing to 3 days
            ban_s = min(self._limits.ban_s * 2**self._bans, 3 * 86400.0)
            self._bans += 1
            self._banned_until_s = now_s + ban_s
            return Verdict(418, self._used, _up(ban_s))
        return Verdict(429, self._used, _up((minute + 1) * 60 - now_s))


def _up(seconds: float) -> int:
    return int(seconds) + 1
