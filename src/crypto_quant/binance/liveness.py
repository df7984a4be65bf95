"""Which streams are suspiciously silent, and what the exchange's REST proves about them.

A quiet market and a stream that the exchange has forgotten look alike on the socket. What tells them apart is whether
the exchange has moved on, and only REST knows: so a stream that is silent beyond what its own rate makes plausible is
looked up, a few a minute, the most suspicious first; and it counts as stalled only when the exchange has printed what
we, though listening, never got. Pure: samples (taken about once a second, not per frame) and answers come in.
"""

from collections import deque
from collections.abc import Iterable

import msgspec

from crypto_quant.market import NS_PER_S


class LivenessLimits(msgspec.Struct, frozen=True, kw_only=True):
    """When a silence is looked up. All times in seconds.

    ``trades_expected``: so many trades, by the stream's own rate, must be overdue. Were they independent, thirty would
    be missing by chance once in 10**13; real trades come in bursts, hence so many. ``least_s`` keeps short pauses of
    the busiest out of it, ``most_s`` is the longest silence that is believed unseen, and ``first_s`` how long a stream
    that has not delivered since its link was up is given. A look-up weighs 4 of 6000 a minute on spot and 20 of 2400
    on futures: ``checks_per_minute`` of them are a twentieth at most. ``again_s`` lies between the first look-up of a
    stream and the one that can show that the exchange moves on; ``settle_s`` is what a trade may need to reach us.
    What was found quiet, and what stalls again and again, is looked up at growing distances, up to ``pause_most_s``.
    """

    trades_expected: float = 30.0
    least_s: float = 15.0
    first_s: float = 60.0
    most_s: float = 900.0
    checks_per_minute: int = 6
    again_s: float = 20.0
    settle_s: float = 3.0
    pause_most_s: float = 3600.0
    rate_memory_s: float = 300.0


DEFAULT_LIMITS = LivenessLimits()


class _Pulse:
    """What is known of one stream."""

    __slots__ = ("base", "delivered", "moved_ns", "newest", "not_before_ns", "pause_s", "rate", "since_ns")

    def __init__(self, limits: LivenessLimits) -> None:
        self.newest: int | None = None  # None before the first sample
        self.moved_ns = 0
        self.rate = 0.0  # trades a second, the older the less they count
        self.since_ns: int | None = None  # since when it is listened to without a break
        self.delivered = False  # since then
        self.base: int | None = None  # an id that was printed before or while we listened, the highest known
        self.not_before_ns = 0
        self.pause_s = limits.again_s


class StreamLiveness:
    """Judges the trade streams of ``symbols``. ``now_ns`` is monotonic."""

    def __init__(self, symbols: Iterable[str], limits: LivenessLimits = DEFAULT_LIMITS) -> None:
        self.limits = limits
        self._pulses = {symbol: _Pulse(limits) for symbol in symbols}
        self._checks: deque[int] = deque(maxlen=limits.checks_per_minute)

    def sample(self, symbol: str, newest: int, since_ns: int | None, now_ns: int) -> None:
        """Take in the highest id had of a symbol, and since when its stream is listened to (None: not now)."""
        pulse = self._pulses[symbol]
        if since_ns != pulse.since_ns:
            # what was printed while nobody listened proves nothing
            pulse.since_ns = since_ns
            pulse.delivered = False
            pulse.base = None
        if newest == pulse.newest:
            return
        if pulse.newest is None:
            pulse.newest = newest  # perhaps of an earlier run: nothing has come yet
            return
        if pulse.newest >= 0 and pulse.moved_ns:
            passed_s = max(now_ns - pulse.moved_ns, 1) / NS_PER_S
            weight = passed_s / (passed_s + self.limits.rate_memory_s)
            # the first estimate is taken whole: there is nothing to weigh it against
            seen = abs(newest - pulse.newest) / passed_s
            pulse.rate += (weight if pulse.rate else 1.0) * (seen - pulse.rate)
        pulse.newest = pulse.base = newest
        pulse.moved_ns = now_ns
        pulse.delivered = since_ns is not None
        pulse.not_before_ns = 0
        pulse.pause_s = self.limits.again_s

    def suspect(self, now_ns: int) -> str | None:
        """Return the most suspicious symbol that may be looked up now, and book the look-up; None: there is none."""
        checks = self._checks
        if len(checks) == checks.maxlen and now_ns - checks[0] < 60 * NS_PER_S:
            return None
        worst, worst_score = None, 1.0
        for symbol, pulse in self._pulses.items():
            if pulse.since_ns is None or now_ns < pulse.not_before_ns:
                continue
            score = (now_ns - max(pulse.moved_ns, pulse.since_ns)) / NS_PER_S / self.patience_s(symbol)
            if score > worst_score or (worst is None and score == worst_score):
                worst, worst_score = symbol, score
        if worst is not None:
            checks.append(now_ns)
            # until the answer is in; each outcome sets its own
            self._pulses[worst].not_before_ns = now_ns + int(self.limits.again_s * NS_PER_S)
        return worst

    def patience_s(self, symbol: str) -> float:
        """Return how long a symbol's stream may be silent before it is looked up."""
        limits, pulse = self.limits, self._pulses[symbol]
        # one trade tells no rate: it says no more than none
        most_s = limits.most_s if pulse.delivered and pulse.rate else limits.first_s
        return min(max(limits.trades_expected / pulse.rate, limits.least_s), most_s) if pulse.rate else most_s

    def silent_s(self, symbol: str, now_ns: int) -> float:
        """Return for how long a symbol's stream has been silent while it was listened to."""
        pulse = self._pulses[symbol]
        return 0.0 if pulse.since_ns is None else (now_ns - max(pulse.moved_ns, pulse.since_ns)) / NS_PER_S

    def answered(self, symbol: str, exchanges: int, newest: int, since_ns: int | None, now_ns: int) -> bool:
        """Take in the exchange's last id (-1: none); return whether the stream has stalled.

        ``newest`` and ``since_ns`` are what holds *now*, ``settle_s`` after the answer: a trade on its way has come.
        """
        before = self._pulses[symbol].newest
        self.sample(symbol, newest, since_ns, now_ns)
        pulse = self._pulses[symbol]
        if newest != before or since_ns is None:
            return False  # it has come meanwhile, or nobody listens any more
        if pulse.base is None:
            # printed before we listened, or since: the next look-up tells
            pulse.base = max(exchanges, newest)
            pulse.not_before_ns = now_ns + int(self.limits.again_s * NS_PER_S)
            return False
        stalled = exchanges > pulse.base
        pulse.base = max(pulse.base, exchanges)
        self._wait_longer(pulse, now_ns)
        return stalled

    def unanswered(self, symbol: str, now_ns: int) -> bool:
        """REST gave no answer; return whether the silence is so long that the link is better replaced unproven."""
        pulse = self._pulses[symbol]
        too_long = self.silent_s(symbol, now_ns) >= self.limits.most_s
        self._wait_longer(pulse, now_ns)
        return too_long

    def _wait_longer(self, pulse: _Pulse, now_ns: int) -> None:
        pulse.pause_s = min(pulse.pause_s * 2, self.limits.pause_most_s)
        pulse.not_before_ns = now_ns + int(pulse.pause_s * NS_PER_S)


class CandleLiveness:
    """One candle stream, judged by what REST had to be asked for in its place: no look-up of its own is needed.

    One final message that does not come is not rare. ``steps`` in a row, each newer than the one before and none
    from the stream between them, mean that the stream does not come.
    """

    def __init__(self, steps: int = 2) -> None:
        self._steps = steps
        self._since_ns: int | None = None
        self._base: int | None = None
        self._taken = 0

    def stalled(self, streamed: int, fetched: int, since_ns: int | None) -> bool:
        """Take in the newest open times (-1: none) that the stream told and that REST gave; tell whether it stalls."""
        if since_ns is None or since_ns != self._since_ns or streamed >= fetched:
            self._since_ns = since_ns
            self._base, self._taken = None, 0
        if since_ns is None or streamed >= fetched:
            return False
        if self._base is None:
            self._base = fetched  # it may be of the time before we listened
        elif fetched > self._base:
            self._base = fetched
            self._taken += 1
        if self._taken < self._steps:
            return False
        self._taken = 0
        return True
