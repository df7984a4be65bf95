"""How long the rest will take, from how fast it has gone; pure.

Work is uneven: what was there already is skipped in no time, files differ in size by a thousand, the first second goes
into connections. So the pace is that of the later half of the time so far, which forgets what is no longer so and is
not upset by one step. Between two steps the time left runs down as a clock does, and rises again when a step takes
longer than it should. Nothing is said before something is known.
"""

from bisect import bisect_right

# before this, and before so many steps, nothing is said
KNOWN_AFTER_S = 2.0
KNOWN_AFTER_STEPS = 2
# what lasts longer is no estimate any more
LONGEST_S = 99 * 86_400.0
_KEPT = 4096


class Eta:
    """The time left of ``total`` units of work; tell it how far it is whenever that changes. Seconds are monotonic."""

    def __init__(self, now_s: float) -> None:
        self._times = [now_s]
        self._done = [0.0]
        self._largest = 0.0
        self.total = 0.0

    @property
    def done(self) -> float:
        """How much is done."""
        return self._done[-1]

    def tell(self, done: float, total: float, now_s: float) -> None:
        """Take note that ``done`` of ``total`` is done.

        Less of another total, or nothing, is another piece of work, and begins anew; less of the same is done again.
        """
        if done < self._done[-1] and (not done or total != self.total):
            self._times, self._done, self._largest = [now_s], [done], 0.0
        self.total = total
        if done > self._done[-1]:
            self._largest = max(self._largest, done - self._done[-1])
            self._times.append(now_s)
            self._done.append(done)
        if len(self._times) > _KEPT:
            # every second one will do: the later half of the time is known still
            self._times = [*self._times[:-1:2], self._times[-1]]
            self._done = [*self._done[:-1:2], self._done[-1]]

    def left_s(self, now_s: float) -> float | None:
        """Return the seconds left; None while nobody can know. Never negative."""
        left = self.total - self._done[-1]
        if self.total <= 0 or left <= 0:
            return None
        steps = len(self._times) - 1
        if now_s - self._times[0] < KNOWN_AFTER_S or steps < KNOWN_AFTER_STEPS:
            return None
        last = self._times[-1]
        # the step that stands at half of the time, or the one before the last
        begin = min(max(0, bisect_right(self._times, (self._times[0] + last) / 2) - 1), steps - 1)
        took_s, went = last - self._times[begin], self._done[-1] - self._done[begin]
        if took_s <= 0:
            return None
        as_it_went = left * took_s / went - (now_s - last)
        # were the step that is under way as large as any, and to end now, this would be the pace
        step = min(left, self._largest)
        at_least = (left - step) * (now_s - self._times[begin]) / (went + step)
        seconds = max(as_it_went, at_least)
        # the last step takes longer than it should
        return seconds if 0 <= seconds <= LONGEST_S else None
