"""Faults on command: what goes wrong, to which symbol or stream, how often. Pure; the server acts on it."""

from collections.abc import Callable

import msgspec

from crypto_quant.errors import ConfigError
from crypto_quant.sim.messages import TimeUnit
from crypto_quant.sim.names import Stream

# the text of an event, once its time unit is known
Build = Callable[[TimeUnit], bytes]

GARBAGE = b'{"stream":"btcusdt@aggTrade","data":{"e":"aggTrade","E":17908560'


class Aim(msgspec.Struct, frozen=True, kw_only=True):
    """Whom a fault hits: everybody, or those with this symbol (any case) or this exact stream name."""

    symbol: str | None = None
    stream: str | None = None

    def hits(self, stream: Stream) -> bool:
        """Return whether a stream is meant."""
        if self.stream is not None and self.stream != stream.name:
            return False
        return self.symbol is None or self.symbol.upper() == stream.symbol.upper()


class _Armed:
    """A fault that waits for its victims."""

    def __init__(self, kind: str, aim: Aim, count: int | None) -> None:
        self.kind = kind
        self.aim = aim
        self.left = count


class EventFaults:
    """Faults that lie between the market and the links: whole events, the same for every link.

    REST knows nothing of them: it still has what was skipped.
    """

    def __init__(self) -> None:
        self._armed: list[_Armed] = []
        self._held: dict[str, Build] = {}
        self._mutes: dict[str, int] = {}

    @property
    def active(self) -> bool:
        """Whether events have to pass through here at all."""
        return bool(self._armed or self._held)

    def arm(self, kind: str, aim: Aim, count: int | None) -> None:
        """Make the next ``count`` matching events suffer (None: all of them until ``clear``)."""
        if count is not None and count < 1:
            raise ConfigError("a fault needs a count of at least 1", subject=f"{kind} count={count}")
        self._armed.append(_Armed(kind, aim, count))

    def clear(self) -> None:
        """Forget all faults; an event that is held back for reordering is sent with the next one of its stream."""
        self._armed.clear()
        self._mutes.clear()

    def mute(self, name: str, count: int) -> None:
        """Let the next ``count`` subscriptions to a stream be acknowledged and nothing more."""
        if count < 0:
            raise ConfigError("a count is not negative", subject=f"mute_stream count={count}")
        self._mutes[name] = count

    def muted(self, name: str) -> bool:
        """Return whether a subscription that is just made stays silent."""
        left = self._mutes.get(name, 0)
        if left > 0:
            self._mutes[name] = left - 1
        return left > 0

    def arrange(self, stream: Stream, build: Build, final: bool) -> list[Build]:
        """Return what is sent in place of one event: nothing, it, or more."""
        held = self._held.pop(stream.name, None)
        fault = next((armed for armed in self._armed if self._matches(armed, stream, final, held is not None)), None)
        out = [build]
        if fault is not None:
            if fault.left is not None:
                fault.left -= 1
                if fault.left == 0:
                    self._armed.remove(fault)
            if fault.kind == "reorder":
                self._held[stream.name] = build
                return []
            out = [build, build] if fault.kind == "duplicate" else []
        # an event that was held back comes after its successor, whatever became of that
        return out if held is None else [*out, held]

    def _matches(self, armed: _Armed, stream: Stream, final: bool, follows_held: bool) -> bool:
        if armed.kind == "missing_final" and not final:
            return False
        if armed.kind == "reorder" and follows_held:
            return False
        return armed.aim.hits(stream)


class Refusals:
    """Requests that are turned away: the next ``count`` of them, or all for some seconds."""

    def __init__(self) -> None:
        self.status: int | None = None
        self.retry_after_s: int | None = None
        self._left = 0
        self._until_s = 0.0

    def arm(
        self, now_s: float, *, count: int | None, seconds: float | None, status: int | None, retry_after_s: int | None
    ) -> None:
        """Begin. One of ``count`` and ``seconds`` is needed; ``status`` None drops the connection."""
        if count is None and seconds is None:
            raise ConfigError("a refusal needs a count or seconds")
        self.status = status
        self.retry_after_s = retry_after_s
        self._left = count or 0
        self._until_s = now_s + seconds if seconds is not None else 0.0

    def clear(self) -> None:
        """Turn nobody away any more."""
        self._left = 0
        self._until_s = 0.0

    def hit(self, now_s: float) -> bool:
        """Return whether the request at ``now_s`` is turned away."""
        if now_s < self._until_s:
            return True
        if self._left > 0:
            self._left -= 1
            return True
        return False
