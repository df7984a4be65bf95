"""What a collector drives: one life of one link, the slot that it fills, and the group of slots that carry the same."""

import asyncio
from collections.abc import Callable, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Protocol

from crypto_quant.binance import wire
from crypto_quant.binance.handover import Handover
from crypto_quant.binance.session import Session, Text
from crypto_quant.seams import Link
from crypto_quant.snapshot import LinkState

_ABNORMAL = 1006
# So many frames of a newcomer are held at most (some 25 MB); beyond that they are fed, though a gap may then be told
# and closed again within the second.
HELD_MAX = 100_000
# How a frame of a stream begins. Answers do not, and the exchange's own notices come from a stream called "!…".
_STREAM = b'{"stream":"'
_NOTICE = b'{"stream":"!'


class FrameTaker(Protocol):
    """Who takes the frames: ``Intake``, or anything with its ``frames``."""

    def frames(self, payloads: Sequence[bytes], received_ns: int, link: int = 0) -> Sequence[wire.Message]:
        """Take text frames in their order; return those decoded that concern the link itself.

        ``link`` is not 0 while another link carries the same streams; it then tells these links apart.
        """
        ...


class Now(Protocol):
    """The two clocks of a drive."""

    def ns(self) -> int:
        """Monotonic."""
        ...

    @property
    def wall_ns(self) -> Callable[[], int]:
        """Since the epoch."""
        ...


class Drive:
    """One life of one link: the ``LinkHandler`` that feeds its session, and through ``take`` the rest of the house.

    While ``held`` is a list, frames of streams are kept in it: a newcomer's ids would lie ahead of what its elders
    have yet to deliver, and look like a gap.
    """

    def __init__(
        self, session: Session, slot: "Slot", take: Callable[["Drive", Sequence[bytes], int], None], now: Now
    ) -> None:
        self.session = session
        self.slot = slot
        self.link: Link = _Unconnected()
        self.number = 0  # in its slot's handover; 0 until the link is up
        self.frames = 0  # since the session was last told that data flow
        self.held: list[tuple[bytes, int]] | None = None
        self.release_at_ns: int | None = None  # when a newcomer has run beside its elders for long enough
        self.tag = 0  # what the taker is told: 0 while it is alone
        self.leave = False  # its successor has taken over
        self.opened_ns = 0
        self.wake = asyncio.Event()
        self.ended = asyncio.Event()
        self.code = _ABNORMAL
        self.reason = ""
        self.failure: Exception | None = None
        self._take = take
        self._now = now

    def on_texts(self, payloads: Sequence[bytes]) -> None:
        received_ns = self._now.wall_ns()
        if self.held is None:
            self.feed(payloads, received_ns)
            return
        for payload in payloads:
            held = self.held
            if held is None or payload.startswith(_NOTICE) or not payload.startswith(_STREAM):
                self.feed((payload,), received_ns)
                continue
            self.frames += 1
            held.append((payload, received_ns))
            if len(held) >= HELD_MAX:
                self.release()

    def feed(self, payloads: Sequence[bytes], received_ns: int) -> None:
        """Hand frames on."""
        if self.failure is not None:
            return
        try:
            self._take(self, payloads, received_ns)
        except Exception as failure:  # noqa: BLE001  # see fail
            self.fail(failure)

    def fail(self, failure: Exception) -> None:
        """End with an error: a broken invariant must end the run, not one link in silence."""
        self.failure = failure
        self.wake.set()
        self.link.abort()

    def release(self) -> None:
        """Hand on what was held, in order, and hold nothing any more."""
        held, self.held = self.held, None
        for received_ns, frames in groupby(held or (), key=itemgetter(1)):
            self.feed([payload for payload, _ in frames], received_ns)

    def on_ping(self, payload: bytes) -> None:
        self.session.on_ping(payload, self._now.ns())
        self.speak()

    def on_closed(self, code: int, reason: str) -> None:
        self.code = code
        self.reason = reason
        self.ended.set()
        self.wake.set()

    def read(self, on: bool) -> None:
        """Read the socket, or let it be; the session must know whose silence it is."""
        if on:
            self.link.resume_reading()
        else:
            self.link.pause_reading()
        # what stood still in the sockets has to be read before a newcomer can be said to have run beside its elders
        self.release_at_ns = None
        self.session.on_reading(not on, self._now.ns())
        self.wake.set()

    def speak(self) -> None:
        """Send what the session wants sent; before the link is up it keeps."""
        if isinstance(self.link, _Unconnected):
            return
        for item in self.session.to_send():
            if isinstance(item, Text):
                self.link.send(item.payload)
            else:
                self.link.pong(item.payload)


class Group:
    """The links that carry the same streams: one a slot, and for the time of a handover two."""

    def __init__(self, streams: tuple[str, ...]) -> None:
        self.streams = streams
        self.slots: list[Slot] = []
        self.drives: list[Drive] = []

    def join(self, drive: Drive) -> None:
        """A link is up. Beside others that feed, its frames are held back for a while."""
        if any(other.held is None for other in self.drives):
            drive.held = []
        self.drives.append(drive)
        self._tag()

    def part(self, drive: Drive) -> None:
        """A link is no more; what it still held is fed, and without any that feeds the newcomers do not wait."""
        self.drives.remove(drive)
        drive.release()
        if all(other.held is not None for other in self.drives):
            for other in self.drives:
                other.release()
        # what was held came while two told it
        self._tag()

    def _tag(self) -> None:
        for drive in self.drives:
            # two lives of a slot can be told apart, and the numbers never grow
            drive.tag = 2 * drive.slot.link + drive.number % 2 if len(self.drives) > 1 else 0


class Slot:
    """One place in a group; ``link`` is the number under which people know it.

    ``lost`` is the end of a life (or of an attempt) that the next attempt has to be paced for: cause, seconds lived,
    seconds to wait at least.
    """

    def __init__(self, link: int, group: Group) -> None:
        self.link = link
        self.group = group
        self.handover = Handover()
        self.drives: dict[int, Drive] = {}
        self.opening = False
        self.lost: tuple[str, float, float] | None = None
        self.changed = asyncio.Event()
        group.slots.append(self)

    @property
    def state(self) -> LinkState:
        """What the link of this slot does; of two, during a handover, what the better one does."""
        if any(drive.session.delivering for drive in self.drives.values()):
            return LinkState.DELIVERING
        if self.drives:
            return LinkState.OPEN
        return LinkState.CONNECTING if self.opening else LinkState.WAITING

    @property
    def must_wait(self) -> bool:
        """Whether another slot of the group is being rolled over: one at a time, so that the others stand firm."""
        return self.handover.rolling and any(
            other is not self and (other.handover.heir is not None or (other.opening and other.handover.rolling))
            for other in self.group.slots
        )

    def up(self, drive: Drive) -> None:
        """A link of this slot is up."""
        drive.number = self.handover.opened()
        self.drives[drive.number] = drive
        self.group.join(drive)

    def proven(self, drive: Drive) -> bool:
        """A link has shown that it delivers; tell whether the old one has just been replaced by it."""
        old = self.handover.proven(drive.number)
        if old is None:
            return False
        self.drives[old].leave = True
        self.drives[old].wake.set()
        return True

    def must_go(self, drive: Drive) -> None:
        """A link is to be replaced, and goes on meanwhile."""
        self.handover.must_go(drive.number)
        self.changed.set()

    def down(self, drive: Drive) -> None:
        """A link of this slot is no more."""
        del self.drives[drive.number]
        self.handover.ended(drive.number)
        self.group.part(drive)
        self.changed.set()


class _Unconnected:
    """What a drive holds until its link is up; frames cannot come before that, but a close may."""

    def send(self, text: bytes) -> None: ...
    def pong(self, payload: bytes) -> None: ...
    def close(self, code: int = 1000) -> None: ...
    def abort(self) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
