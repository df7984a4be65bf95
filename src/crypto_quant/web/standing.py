"""How each recorder stands, judged from its board: whether it is well, and what it is called."""

import zlib
from collections import Counter
from collections.abc import Iterable

import msgspec

from crypto_quant.seams import Clock
from crypto_quant.snapshot import Phase, Snapshot
from crypto_quant.web.follow import Follower

# A recorder shows itself once a second, from its event loop. One that has shown nothing for so long hangs. It is twice
# what people are told by (``health.STALE_S``): supervisors restart by it, and alerts wake somebody.
STALE_S = 10.0


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """A recorder as it stands. ``snapshot`` is None while it has just started, or when its board cannot be read.

    ``alive``: its process runs; ``ended``: it has ended in good order, less than a minute ago. ``age_s`` is how old
    what it shows is.
    """

    name: str
    snapshot: Snapshot | None
    alive: bool
    ended: bool
    age_s: float

    @property
    def up(self) -> bool:
        """Whether it runs and shows what it does now."""
        return self.alive and self.snapshot is not None and self.age_s <= STALE_S

    @property
    def live(self) -> bool:
        """Whether its event loop turns, as far as one can tell: one that has just started is believed."""
        return self.up or (self.alive and self.snapshot is None)

    def complaint(self) -> str:
        """Return why it is not ready to record; empty when it is."""
        shown = self.snapshot
        if not self.alive:
            return "has ended" if self.ended else f"is dead; it last showed itself {self.age_s:.0f} s ago"
        if shown is None:
            return "has just started"
        if not self.up:
            return f"hangs: it has shown nothing for {self.age_s:.0f} s"
        return "" if shown.ready else _not_ready(shown)


def standings(follower: Follower, clock: Clock) -> list[Standing]:
    """Return how every recorder stands that is known of, by the name of its file.

    A dead one is left out when a living one has its name: that is its successor.
    """
    known = [(path, board, named(board.snapshot)) for path, board in follower.boards.items()]
    living = Counter(name for _, board, name in known if board.alive)
    found = []
    for path, board, name in known:
        if not board.alive and living[name]:
            continue
        twins = living[name] if board.alive else sum(name == other for _, _, other in known)
        unchanged_s = follower.unchanged_s(path)
        shown = board.snapshot
        # by whichever clock it is older: one of them may have been set, or may have begun only now
        age_s = unchanged_s if shown is None else max(unchanged_s, (clock.now_ns() - shown.taken_ns) / 1e9)
        found.append(
            Standing(
                name=name if twins < 2 else f"{name}-{path.stem}",
                snapshot=shown,
                alive=board.alive,
                ended=path in follower.ended,
                age_s=age_s,
            )
        )
    return found


def named(snapshot: Snapshot | None) -> str:
    """Return a name for a recorder that it keeps when it is started again as before, as in ``btcusdt+2-1c291ca3``.

    It is made of the first symbol, how many more there are, and a checksum of what is recorded into which database.
    """
    if snapshot is None:
        return "starting"
    symbols = list(dict.fromkeys(each.symbol for each in snapshot.streams))
    what = [snapshot.venue, snapshot.store.database, *(each.stream for each in snapshot.streams)]
    first = symbols[0] if symbols else "none"
    more = f"+{len(symbols) - 1}" if len(symbols) > 1 else ""
    return f"{first}{more}-{zlib.crc32(chr(0).join(what).encode()):08x}"


def is_live(all_of_them: Iterable[Standing]) -> tuple[bool, str]:
    """Return whether there is a recorder and all of them show themselves, and a line on each that does not."""
    wanted = [each for each in all_of_them if not each.ended]
    ailing = [f"{each.name} {each.complaint()}" for each in wanted if not each.live]
    return _verdict(wanted, ailing)


def is_ready(all_of_them: Iterable[Standing]) -> tuple[bool, str]:
    """Return whether there is a recorder and all have their source and their store, and a line on each that has not."""
    wanted = [each for each in all_of_them if not each.ended]
    ailing = [f"{each.name} {each.complaint()}" for each in wanted if each.complaint()]
    return _verdict(wanted, ailing)


def _verdict(wanted: list[Standing], ailing: list[str]) -> tuple[bool, str]:
    if not wanted:
        return False, "no recorder runs here\n"
    return not ailing, "\n".join(ailing or ["ok"]) + "\n"


def _not_ready(shown: Snapshot) -> str:
    reasons = []
    if shown.phase in (Phase.STARTING, Phase.DRAINING, Phase.ENDED):
        reasons.append(f"is {shown.phase.value}")
    down = [each for each in shown.links if not each.state.up]
    if down or not shown.links:
        cause = next((f": {each.cause}" for each in down if each.cause), "")
        reasons.append(f"has {len(down)} of {len(shown.links)} links down{cause}")
    if shown.store.away_since_ns is not None:
        reasons.append(f"cannot reach its database {shown.store.database}: {shown.store.cause}")
    return "; ".join(reasons)
