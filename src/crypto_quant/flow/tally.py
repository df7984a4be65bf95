"""What has happened in a run, counted and remembered for watchers: it hears every event on its way to the log."""

from collections import Counter, deque

import msgspec

from crypto_quant import events
from crypto_quant.seams import Clock, Emit
from crypto_quant.snapshot import HAPPENINGS_MAX, Happening

_WORTH_A_LOOK = ("warning", "error")
# what keeps gaps open is remembered for so many of each symbol
_NOTES_MAX = 50


class Trouble(msgspec.Struct, frozen=True):
    """What was heard of a link between two lives: the attempt that comes, and why the last one failed."""

    attempt: int
    cause: str


class Tally:
    """Counts events and passes them on to ``emit``; called as that would be.

    ``links`` holds what keeps a link away, by its number, ``away`` the tables that the store does not take, with when
    that was first heard and why; ``notes`` the gaps of a symbol that were left open.
    """

    def __init__(self, emit: Emit, clock: Clock) -> None:
        self.counts: Counter[str] = Counter()
        self.links: dict[int, Trouble] = {}
        self.away: dict[str, tuple[int, str]] = {}
        self.notes: dict[str, deque[events.GapLeftOpen]] = {}
        self.tier = ""
        self._emit = emit
        self._clock = clock
        self._happened: deque[tuple[int, events.Event]] = deque(maxlen=HAPPENINGS_MAX)

    def __call__(self, event: object) -> None:
        """Note an event and pass it on."""
        if isinstance(event, events.Event):
            self.counts[event.message] += 1
            if event.level in _WORTH_A_LOOK:
                self._happened.append((self._clock.now_ns(), event))
            self._note(event)
        self._emit(event)

    def _note(self, event: events.Event) -> None:
        match event:
            case events.ReconnectScheduled():
                self.links[event.link] = Trouble(event.attempt, event.cause)
            case events.LinkOpened():
                self.links.pop(event.link, None)
            case events.StoreLost():
                since_ns, _ = self.away.get(event.table, (self._clock.now_ns(), ""))
                self.away[event.table] = since_ns, event.cause
            case events.StoreBack():
                self.away.pop(event.table, None)
            case events.StoreReady():
                self.tier = event.tier
            case events.GapLeftOpen():
                self.notes.setdefault(event.symbol, deque(maxlen=_NOTES_MAX)).append(event)
            case _:
                pass

    def note_of(self, symbol: str, first: int, last: int) -> str:
        """Return what was last told of why some of these ids (inclusive) are left open and what closes them."""
        for told in reversed(self.notes.get(symbol, ())):
            if told.first <= last and told.last >= first:
                return f"{told.cause}. {told.hint}"
        return ""

    def happenings(self) -> tuple[Happening, ...]:
        """Return the last warnings and errors, newest last."""
        return tuple(
            Happening(at_ns=at_ns, level=event.level, message=event.message, fields=msgspec.to_builtins(event))
            for at_ns, event in self._happened
        )
