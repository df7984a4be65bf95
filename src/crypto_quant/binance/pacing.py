"""How often the exchange may be asked: the pause before the next connection, and the weight of REST requests.

``now_ns`` is monotonic. What is spent is remembered over a sliding window, which keeps within a limit however the
exchange cuts its own windows.
"""

import random
from collections import deque

from crypto_quant.binance.venues import VenueSpec
from crypto_quant.market import NS_PER_MS, NS_PER_S

_MINUTE_NS = 60 * NS_PER_S
# doubling beyond this changes nothing under any sensible cap, and would overflow a float in the end
_DOUBLINGS_MAX = 30


class Backoff:
    """The pauses before the attempts to connect of one link: full jitter under a doubling, capped ceiling.

    ``attempt`` counts the pauses since the link was last known to be well.
    """

    def __init__(self, rng: random.Random, *, base_s: float = 0.5, cap_s: float = 60.0, stable_s: float = 60.0) -> None:
        self._rng = rng
        self._base_s = base_s
        self._cap_s = cap_s
        self._stable_s = stable_s
        self.attempt = 0

    def next_delay_s(self, retry_after_s: float = 0.0) -> float:
        """Return the seconds to wait before the next attempt, and count it.

        ``retry_after_s`` is what the exchange asked for; the jitter comes on top of it, so that many links told to
        wait for the same time do not return together.
        """
        ceiling_s = min(self._cap_s, self._base_s * 2.0 ** min(self.attempt, _DOUBLINGS_MAX))
        self.attempt += 1
        return max(0.0, retry_after_s) + self._rng.uniform(0.0, ceiling_s)

    def ended(self, lived_s: float) -> None:
        """A link has ended after ``lived_s``: only one that lived long enough makes the next pause short again."""
        if lived_s >= self._stable_s:
            self.stable()

    def stable(self) -> None:
        """The link has proved itself: begin anew with the shortest pause."""
        self.attempt = 0


class Pacer:
    """When the next connection may be tried, over all links of an address.

    Keeps within the exchange's limit less a reserve, and keeps simultaneous attempts ``gap_ns`` apart. Ask
    ``wait_ns`` until it answers 0 and call ``took`` at once, with nothing awaited in between.
    """

    def __init__(self, spec: VenueSpec, *, gap_ns: int = 100 * NS_PER_MS) -> None:
        self._limit = spec.connects - spec.connects_reserve
        self._window_ns = spec.connects_window_s * NS_PER_S
        self._gap_ns = gap_ns
        self._taken: deque[int] = deque(maxlen=self._limit)

    def wait_ns(self, now_ns: int) -> int:
        """Return how long the next attempt has to wait; 0 when it may be made now."""
        if not self._taken:
            return 0
        at = self._taken[-1] + self._gap_ns
        if len(self._taken) == self._limit:
            at = max(at, self._taken[0] + self._window_ns)
        return max(0, at - now_ns)

    def took(self, now_ns: int) -> None:
        """An attempt is made now."""
        self._taken.append(now_ns)


class WeightBudget:
    """The weight of REST requests in any minute, kept under the exchange's limit less a reserve of a fifth.

    The limit counts per address, and other programs may share it: ``observe`` takes in what they use. ``limit`` may
    be set to what exchangeInfo says.
    """

    def __init__(self, limit: int, *, reserve: float = 0.2) -> None:
        self.limit = limit
        self._reserve = reserve
        self._spent: deque[tuple[int, int]] = deque()  # (when, weight), oldest first
        self._sum = 0
        self._punished_until_ns: int | None = None

    def reserve(self, weight: int, now_ns: int, share: float = 1.0) -> int:
        """Book a request's weight and return 0, or book nothing and return how long to wait before asking again.

        ``share`` below 1 leaves the rest of the budget to others: whatever can wait asks with less, so that live
        needs find the budget free. A request heavier than the whole budget is let through alone.
        """
        if self._punished_until_ns is not None:
            if now_ns < self._punished_until_ns:
                return self._punished_until_ns - now_ns
            self._punished_until_ns = None
        self._forget(now_ns)
        free = int(self.limit * (1 - self._reserve) * share) - self._sum
        if weight > free and self._spent:
            wait_until_ns = 0
            for when, spent in self._spent:
                free += spent
                wait_until_ns = when + _MINUTE_NS
                if weight <= free:
                    break
            return wait_until_ns - now_ns
        self._book(weight, now_ns)
        return 0

    def observe(self, used_weight_1m: int, now_ns: int) -> None:
        """Take in the exchange's own count (``x-mbx-used-weight-1m``): what is not ours was used by others."""
        self._forget(now_ns)
        if used_weight_1m > self._sum:
            self._book(used_weight_1m - self._sum, now_ns)

    def punish(self, until_ns: int) -> None:
        """Ask for nothing before ``until_ns``: the exchange has answered 429 or 418."""
        self._punished_until_ns = max(until_ns, self._punished_until_ns or until_ns)

    def _book(self, weight: int, now_ns: int) -> None:
        self._spent.append((now_ns, weight))
        self._sum += weight

    def _forget(self, now_ns: int) -> None:
        while self._spent and self._spent[0][0] <= now_ns - _MINUTE_NS:
            self._sum -= self._spent.popleft()[1]
