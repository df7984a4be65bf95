"""One WebSocket link as a value machine: subscribe, acknowledge, answer pings, notice the end before it comes.

It never touches a socket or a clock: the driver tells it what came and what time it is (monotonic ``now_ns``), sends
what ``to_send`` gives, emits what ``events`` gives, and calls ``tick`` at ``deadline``. When ``replace`` says why,
the driver opens another link in its place; this one goes on receiving until then, and still answers pings and watches
for silence. Once it is ``dead`` there is nothing to keep it for.

The rules are those of ``venues`` (sources there). Data may come before its acknowledgement.
"""

from collections import deque
from collections.abc import Sequence

import msgspec

from crypto_quant import events
from crypto_quant.binance.venues import VenueSpec
from crypto_quant.market import NS_PER_S

# Links opened together would all be replaced in the same moment, 23 hours on; each leaves a little before the next.
_STAGGERED_LINKS = 64


class SessionLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How patient a link is.

    ``silence_s`` (neither data nor a ping; None: three pings' time) and ``quiet_s`` (no data, though pings come: the
    exchange has been seen to keep such links alive for hours, and to acknowledge streams that it never sends)
    replace a link; ``quiet_s`` None leaves the latter to whoever watches each stream. ``leave_early_s`` before the end
    of its life (``life_s``; None: what the exchange grants) a link is replaced too, ``stagger_s`` from the next one. An
    hour is early enough to go on trying through a long refusal of new connections. A batch of names is subscribed at
    most ``attempts`` times, ``retry_pause_s`` after a refusal.

    ``overlap_s`` is how long a newcomer, once subscribed, runs beside the links that carry the same streams before
    they may go: more than two servers of the exchange have been seen to lie apart (1.3 s).
    """

    ack_timeout_s: float = 10.0
    silence_s: float | None = None
    quiet_s: float | None = 900.0
    life_s: float | None = None
    leave_early_s: float = 3600.0
    stagger_s: float = 15.0
    overlap_s: float = 2.0
    attempts: int = 3
    retry_pause_s: float = 5.0


DEFAULT_LIMITS = SessionLimits()


class Text(msgspec.Struct, frozen=True):
    """A text frame to send."""

    payload: bytes


class Pong(msgspec.Struct, frozen=True):
    """A pong to send, with its ping's own payload."""

    payload: bytes


class _Batch:
    """Names subscribed by one message: to be sent at ``send_at_ns``, or awaiting an answer since ``sent_ns``."""

    __slots__ = ("answered", "attempts", "names", "send_at_ns", "sent_ns")

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        self.attempts = 0
        self.answered = False
        self.send_at_ns: int | None = 0
        self.sent_ns: int | None = None


class Session:
    """The life of one link, from its opening to the reason why it must be replaced."""

    def __init__(
        self, link: int, streams: Sequence[str], spec: VenueSpec, limits: SessionLimits = DEFAULT_LIMITS
    ) -> None:
        if not 0 < len(streams) <= spec.streams_per_link:
            raise ValueError(f"a link carries 1 to {spec.streams_per_link} streams, not {len(streams)}")
        self.link = link
        self.streams = tuple(streams)
        size = spec.names_per_subscribe
        # a batch's request id is its place in this list, from 1, also when it is sent again
        self._batches = [_Batch(self.streams[start : start + size]) for start in range(0, len(streams), size)]
        self._attempts = limits.attempts
        self._ack_timeout_ns = _ns(limits.ack_timeout_s)
        self._retry_pause_ns = _ns(limits.retry_pause_s)
        self._silence_ns = _ns(3.0 * spec.ping_every_s if limits.silence_s is None else limits.silence_s)
        self._quiet_ns = None if limits.quiet_s is None else _ns(limits.quiet_s)
        life_s = spec.life_s if limits.life_s is None else limits.life_s
        self._life_ns = _ns(life_s - limits.leave_early_s - link % _STAGGERED_LINKS * limits.stagger_s)
        # One message less than is allowed, since one ping may have to be answered at any moment; evenly spaced, so
        # that a delay on the way cannot press two seconds' messages into one.
        self._messages = spec.messages_per_s - 1
        self._spacing_ns = -(-NS_PER_S // self._messages)
        self._sent: deque[int] = deque(maxlen=self._messages)
        self._last_text_ns: int | None = None
        self._opened_ns: int | None = None
        self._listening_ns = 0  # since when the socket is read: its opening, or the end of our last pause
        self._data_ns: int | None = None
        self._heard_ns = 0  # pings and answers; data has its own
        self._paused = False
        self._subscribed = False
        self._unanswered = False
        self._replace: str | None = None
        self._dead = False
        self._out: list[Text | Pong] = []
        self._events: list[events.Event] = []

    # -- what came ------------------------------------------------------------------------------------------

    def on_open(self, now_ns: int) -> None:
        """The link is up; subscribing begins."""
        self._opened_ns = self._listening_ns = now_ns
        self.tick(now_ns)

    def on_data(self, now_ns: int) -> None:
        """A frame of a stream came (called for each: it only takes the time down)."""
        self._data_ns = now_ns

    def on_ping(self, payload: bytes, now_ns: int) -> None:
        """A ping came; its pong is never delayed, the next subscription waits instead."""
        self._heard_ns = now_ns
        self._sent.append(now_ns)
        self._out.append(Pong(payload))

    def on_reply(self, request_id: int | None, error: tuple[int, str] | None, now_ns: int) -> None:
        """A control message was answered; ``error`` is (code, text) when it was refused.

        Answers to ids that are not awaited are ignored. A refusal without an id (the exchange could not read the
        message) is taken for that of the oldest message which awaits an answer.
        """
        self._heard_ns = now_ns
        batch = self._answered_batch(request_id, error)
        if batch is None:
            return
        batch.sent_ns = batch.send_at_ns = None
        if error is None:
            batch.answered = True
            if not self._subscribed and all(other.answered for other in self._batches):
                self._subscribed = True
                self._events.append(events.Subscribed(link=self.link, streams=len(self.streams)))
        else:
            code, reason = error
            refused = events.SubscriptionRefused(link=self.link, code=code, reason=reason, streams=batch.names)
            self._events.append(refused)
            if batch.attempts < self._attempts:
                batch.send_at_ns = now_ns + self._retry_pause_ns
            else:
                self._give_way("subscription refused", dead=self._data_ns is None)
        self.tick(now_ns)

    def on_server_shutdown(self, now_ns: int) -> None:
        """The exchange says that it will soon drop this link."""
        self._heard_ns = now_ns
        self._expire("server shutdown")

    def on_stalled(self, cause: str) -> None:
        """Whoever watches the streams has found that one of them does not come."""
        self._give_way(cause)

    def on_reading(self, paused: bool, now_ns: int) -> None:
        """Our side has stopped taking bytes from the socket, or takes them again: its silence is then ours."""
        self._paused = paused
        if not paused:
            self._listening_ns = now_ns
            for batch in self._batches:
                if batch.sent_ns is not None:
                    batch.sent_ns = now_ns  # its answer may be among what was not read
        self.tick(now_ns)

    def tick(self, now_ns: int) -> None:
        """Do what is due by now."""
        if self._opened_ns is None:
            return
        self._watch_silence(now_ns)
        if self._replace is not None:
            return
        self._watch_acknowledgements(now_ns)
        if now_ns >= self._opened_ns + self._life_ns:
            self._expire("end of life")
        if self._replace is None:
            self._subscribe(now_ns)

    # -- what to do -----------------------------------------------------------------------------------------

    def to_send(self) -> list[Text | Pong]:
        """Return the frames to send now, in order; they are handed out once."""
        out, self._out = self._out, []
        return out

    def events(self) -> list[events.Event]:
        """Return what has happened since the last call."""
        happened, self._events = self._events, []
        return happened

    def deadline(self) -> int | None:
        """Return when ``tick`` must be called next, at the latest; None when there is nothing to wait for."""
        if self._opened_ns is None or self._dead:
            return None
        if self._replace is not None:
            return None if self._paused else self._last_heard_ns() + self._silence_ns
        due = [self._opened_ns + self._life_ns]
        if not self._paused:
            due.append(self._last_heard_ns() + self._silence_ns)
            if self._quiet_ns is not None:
                due.append(self._last_data_ns() + self._quiet_ns)
            due += [batch.sent_ns + self._ack_timeout_ns for batch in self._batches if batch.sent_ns is not None]
        waiting = [batch.send_at_ns for batch in self._batches if batch.send_at_ns is not None]
        if waiting:
            due.append(max(min(waiting), self._may_send_at_ns()))
        return min(due)

    @property
    def replace(self) -> str | None:
        """Why this link must be replaced; None while it is well. The first reason stays."""
        return self._replace

    @property
    def dead(self) -> bool:
        """Whether the link must be replaced and gives nothing more: there is no reason to wait for its successor."""
        return self._dead

    @property
    def delivering(self) -> bool:
        """Whether its streams come: all acknowledged; or all asked for, no answer in time, yet data flow."""
        if self._subscribed:
            return True
        asked = all(batch.attempts for batch in self._batches)
        return asked and self._unanswered and self._data_ns is not None

    @property
    def subscribed(self) -> bool:
        """Whether every stream has been acknowledged."""
        return self._subscribed

    # -- within ---------------------------------------------------------------------------------------------

    def _answered_batch(self, request_id: int | None, error: tuple[int, str] | None) -> _Batch | None:
        if request_id is None:
            awaiting = [batch for batch in self._batches if batch.sent_ns is not None]
            return min(awaiting, key=_sent_ns) if awaiting and error is not None else None
        if not 1 <= request_id <= len(self._batches):
            return None
        batch = self._batches[request_id - 1]
        return None if batch.answered or not batch.attempts else batch

    def _subscribe(self, now_ns: int) -> None:
        for number, batch in enumerate(self._batches, start=1):
            if batch.send_at_ns is None or now_ns < batch.send_at_ns:
                continue
            if now_ns < self._may_send_at_ns():
                return
            message = {"method": "SUBSCRIBE", "params": batch.names, "id": number}
            self._out.append(Text(msgspec.json.encode(message)))
            self._sent.append(now_ns)
            self._last_text_ns = batch.sent_ns = now_ns
            batch.send_at_ns = None
            batch.attempts += 1

    def _may_send_at_ns(self) -> int:
        at = 0 if self._last_text_ns is None else self._last_text_ns + self._spacing_ns
        if len(self._sent) == self._messages:
            at = max(at, self._sent[0] + NS_PER_S)
        return at

    def _watch_acknowledgements(self, now_ns: int) -> None:
        if self._paused:
            return
        for batch in self._batches:
            if batch.sent_ns is None or now_ns < batch.sent_ns + self._ack_timeout_ns:
                continue
            if not self._unanswered:
                self._unanswered = True
                waited_s = (now_ns - batch.sent_ns) / NS_PER_S
                self._events.append(events.SubscriptionUnanswered(link=self.link, waited_s=waited_s))
            batch.sent_ns = None
            if self._data_ns is None:
                self._give_way("subscription not acknowledged", dead=True)
            elif batch.attempts < self._attempts:
                # data flows, yet perhaps not of these names; to subscribe again what is subscribed does no harm
                batch.send_at_ns = now_ns

    def _watch_silence(self, now_ns: int) -> None:
        if self._paused or self._dead:
            return
        heard_ns, data_ns = self._last_heard_ns(), self._last_data_ns()
        if now_ns >= heard_ns + self._silence_ns:
            self._give_way("silence", dead=True)
            self._events.append(events.LinkSilent(link=self.link, silent_s=(now_ns - heard_ns) / NS_PER_S))
        elif self._replace is None and self._quiet_ns is not None and now_ns >= data_ns + self._quiet_ns:
            self._give_way("no data")
            self._events.append(events.LinkSilent(link=self.link, silent_s=(now_ns - data_ns) / NS_PER_S))

    def _last_data_ns(self) -> int:
        return max(self._listening_ns, self._data_ns or 0)

    def _last_heard_ns(self) -> int:
        return max(self._heard_ns, self._last_data_ns())

    def _expire(self, cause: str) -> None:
        if self._replace is None:
            self._events.append(events.LinkExpiring(link=self.link, cause=cause))
        self._give_way(cause)

    def _give_way(self, reason: str, *, dead: bool = False) -> None:
        self._dead = self._dead or dead
        if self._replace is None:
            self._replace = reason


def _ns(seconds: float) -> int:
    return round(seconds * NS_PER_S)


def _sent_ns(batch: _Batch) -> int:
    return batch.sent_ns or 0
