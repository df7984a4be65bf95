"""Seals: what was stored in a closed stretch of a series, in a form that a later change contradicts. Pure.

A seal answers for the positions ``first`` to ``last`` of one series (ids of aggregate trades, or slots of candles). It
holds what was claimed there (``known``), a digest of the rows, and the digest of the seal before it: a chain a series.
A repaired stretch gets a new seal, which names the one that it replaces. Seals are never changed and never removed.
"""

import hashlib
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple, Protocol, TypeVar

import msgspec

from crypto_quant.claims import Claims, Range, intersection
from crypto_quant.continuity import Gap, RangeSet
from crypto_quant.evidence import Scope, Span
from crypto_quant.market import NS_PER_S, NS_PER_US, Timeframe

TRADES = "aggTrade"
CANDLES = "kline_"
# an hour is closed when it ended this long ago: what was missed at its end has been fetched by then
GRACE_NS = 300 * NS_PER_S
HOUR_NS = 3600 * NS_PER_S

_R = TypeVar("_R", bound=Range)

# venue, symbol, stream
Key = tuple[str, str, str]


class Seal(msgspec.Struct, frozen=True):
    """One seal, as the table ``seals`` holds it; times in ns, to the microsecond."""

    venue: str
    symbol: str
    stream: str
    number: int
    first: int
    last: int
    first_ns: int
    last_ns: int
    rows: int
    known: str
    digest: str
    replaces: int | None
    reason: str
    sealed_ns: int
    before: str
    seal: str

    @property
    def key(self) -> Key:
        """The series."""
        return self.venue, self.symbol, self.stream

    def computed(self) -> str:
        """Return what ``seal`` must be: the SHA-256 (hex) of the other fields, a line each."""
        fields = (
            "crypto-quant seal 1", self.venue, self.symbol, self.stream, self.number, self.first, self.last,
            self.first_ns // NS_PER_US, self.last_ns // NS_PER_US, self.rows, self.known, self.digest,
            "" if self.replaces is None else self.replaces, self.reason, self.sealed_ns // NS_PER_US, self.before,
        )  # fmt: skip
        return hashlib.sha256("\n".join(map(str, fields)).encode()).hexdigest()

    def intact(self) -> bool:
        """Tell whether it is as it was written: nothing may be concluded from one that is not."""
        try:
            parse_known(self.known)
        except ValueError:
            return False
        return self.first <= self.last and self.computed() == self.seal

    def stored(self) -> RangeSet:
        """Return the positions whose rows the digest covers."""
        return RangeSet(part for label, held in parse_known(self.known).items() if label in STORED
                        for part in held.ranges())  # fmt: skip


# what claims that a row is there, as a label of ``known``
STORED = ("stream", "rest", "archive", "stored")
VOID, ABSENT, DROPPED = "void", "absent", "dropped"
AGAIN = "fetched again"


class Head(NamedTuple):
    """The newest seal of a series, the highest position that any of its seals answers for, and the latest time."""

    number: int
    seal: str
    reach: int
    until_ns: int


class Group(NamedTuple):
    """Rows of one series that fall into the same hour (of longer candles: day): their outermost positions and times."""

    first: int
    last: int
    first_ns: int = 0
    last_ns: int = 0

    def with_(self, other: "Group") -> "Group":
        """Return both as one."""
        return Group(
            min(self.first, other.first), max(self.last, other.last),
            min(self.first_ns, other.first_ns), max(self.last_ns, other.last_ns),
        )  # fmt: skip


class Stretch(NamedTuple):
    """What a new seal is to answer for (``first`` to ``last``), and the ranges in it that have rows."""

    first: int
    last: int
    ranges: list[tuple[int, int]]


class Change(NamedTuple):
    """Claims of a sealed stretch that are not what they were.

    ``excused``: it was changed on purpose, since it was sealed, by what ``what`` says.
    """

    what: str
    first: int
    last: int
    excused: bool


def stream_of(timeframe: str) -> str:
    """Return the stream of a timeframe; of trades for an empty text."""
    return CANDLES + timeframe if timeframe else TRADES


def timeframe_of(stream: str) -> str:
    """Return the timeframe of a stream; empty for trades."""
    return stream.removeprefix(CANDLES) if stream.startswith(CANDLES) else ""


def stretch_ns(stream: str) -> int:
    """Return how long a stretch lasts: an hour; of candles longer than a minute a day."""
    timeframe = timeframe_of(stream)
    length_s = Timeframe(timeframe).length_s if timeframe else 1
    return HOUR_NS if length_s is not None and length_s <= 60 else 24 * HOUR_NS


# -- what a store of seals is asked -----------------------------------------------------------------------


class Wanted(NamedTuple):
    """Rows of one series to make a digest of: ranges of positions, inclusive, within a time in ns."""

    key: Key
    ranges: Sequence[tuple[int, int]]
    span: Span


class Digested(NamedTuple):
    """A digest of ``rows`` rows, the outermost of them at these times. Singles are those of trades, in all."""

    rows: int
    digest: str
    first_ns: int
    last_ns: int
    first_single: int
    last_single: int
    singles: int


NOTHING = Digested(0, "", 0, 0, 0, 0, 0)


class SealKeeper(Protocol):
    """A store of seals. Raises StoreUnavailable and StoreDenied."""

    async def kept(self) -> bool:
        """Tell whether this database keeps seals; an older schema, or another's, does not."""
        ...

    def exclusive(self) -> AbstractAsyncContextManager[bool]:
        """Be the only one who seals in this database; yield false when somebody else does."""
        ...

    async def heads(self, scope: Scope) -> dict[Key, Head]:
        """Return the head of each chain of the scope."""
        ...

    async def series(self, scope: Scope) -> list[Key]:
        """Return the series of the scope that have seals."""
        ...

    async def chain(self, key: Key) -> list[Seal]:
        """Return the seals of one series, in the order of their numbers."""
        ...

    async def seals(self, scope: Scope, span: Span) -> dict[Key, list[Seal]]:
        """Return the seals whose first row lies in the span, by series, in the order of their numbers."""
        ...

    async def groups(self, scope: Scope, span: Span) -> dict[Key, list[tuple[int, Group]]]:
        """Return the rows of each series within the span, by stretch: the end of its time in ns, and its bounds."""
        ...

    async def digests(self, wanted: Sequence[Wanted]) -> list[Digested]:
        """Return the digest of each; all are of trades, or all of candles. Reads the union of their times once."""
        ...

    def holding(self, keys: Iterable[Key]) -> AbstractAsyncContextManager[int]:
        """Keep the claims of these series as they are, for a moment; yield the database's time in ns."""
        ...

    async def append(self, seals: Sequence[Seal]) -> None:
        """Store new seals and make them the heads of their chains; call it while ``holding`` their series."""
        ...


def same_rows(seal: Seal, found: Digested, claims: Claims) -> bool:
    """Tell whether the rows are those that were sealed.

    Candles that were fetched again have no trade ids, which the stream alone gives: those of their stretch are not
    compared.
    """
    if found.rows != seal.rows:
        return False
    if found.digest == seal.digest or seal.stream == TRADES:
        return found.digest == seal.digest
    again = any(each.what.startswith(AGAIN) and each.excused for each in changes(seal, claims))
    return again and found.digest.split()[0] == seal.digest.split()[0]


# -- what is known of a stretch ---------------------------------------------------------------------------


def known(claims: Claims, first: int, last: int) -> str:
    """Return what is claimed of ``first`` to ``last``, as text: equal claims, equal text."""
    held: dict[str, RangeSet] = {}

    def note(label: str, each: Range) -> None:
        held.setdefault(label, RangeSet()).add(max(first, each.first), min(last, each.last))

    for claim in _touching(claims.covered, first, last):
        note(claim.source, claim)
    for absent in _touching(claims.absent, first, last):
        note(f"{ABSENT}:{hashlib.sha256(absent.proof.encode()).hexdigest()[:16]}", absent)
    for gone in _touching(claims.dropped, first, last):
        note(f"{DROPPED}:{gone.source}", gone)
    parts = sorted((low, high, label) for label, each in held.items() for low, high in each.ranges())
    return " ".join(f"{low}-{high}:{label}" for low, high, label in parts)


def _touching(ranges: Sequence[_R], first: int, last: int) -> Sequence[_R]:
    """Return those of the ranges, lowest first, that have a part between two positions."""
    low = bisect_left(ranges, first, key=lambda each: each.last)
    return ranges[low : bisect_right(ranges, last, key=lambda each: each.first)]


def parse_known(text: str) -> dict[str, RangeSet]:
    """Return the ranges of a text of ``known``, by label. Raises ValueError for any other text."""
    held: dict[str, RangeSet] = {}
    for part in text.split():
        numbers, _, label = part.partition(":")
        low, _, high = numbers.partition("-")
        held.setdefault(label, RangeSet()).add(int(low), int(high))
    return held


def highest_known(claims: Claims) -> int | None:
    """Return the highest position of which anything is known."""
    everything: list[Range] = [*claims.covered, *claims.absent, *claims.dropped]
    return max((each.last for each in everything), default=None)


# -- what is to be sealed ---------------------------------------------------------------------------------


def stretches(groups: Iterable[Group], claims: Claims, sealed: RangeSet, reach: int | None) -> list[Stretch]:
    """Return what is to be sealed of these groups of rows: what is claimed and lies in no sealed stretch.

    ``sealed`` are the stretches around these rows, ``reach`` is the highest position that is sealed at all (None: none
    is). Stretches never overlap. Each reaches down to what is known below it, so that absences and drops between rows
    are sealed as well; the highest one up to the end of what is known.
    """
    stored = claims.stored()
    done = RangeSet(sealed.ranges())
    found: list[Stretch] = []
    for group in _apart(groups):
        open_ranges = [gap for part in stored.within(group.first, group.last) for gap in done.missing(*part)]
        for ranges in _split(open_ranges, done):
            first = _down(ranges[0].first, claims, stored, done, reach)
            last = _up(ranges[-1].last, claims, stored, reach)
            found.append(Stretch(first, last, [(low, high) for low, high in ranges]))
            done.add(first, last)
    return found


def _apart(groups: Iterable[Group]) -> list[Group]:
    """Return the groups, lowest first, those that overlap joined: ids may cross the end of an hour."""
    joined: list[Group] = []
    for each in sorted(groups):
        if joined and each.first <= joined[-1].last:
            joined[-1] = joined[-1].with_(each)
        else:
            joined.append(each)
    return joined


def _split(ranges: Sequence[Gap], done: RangeSet) -> list[list[Gap]]:
    """Return the ranges, parted where a sealed stretch lies between two of them."""
    parts: list[list[Gap]] = []
    for each in ranges:
        apart = not parts or bool(done.within(parts[-1][-1].last + 1, each.first - 1)
                                  if parts[-1][-1].last + 1 < each.first else ())  # fmt: skip
        if apart:
            parts.append([each])
        else:
            parts[-1].append(each)
    return parts


def _down(first: int, claims: Claims, stored: RangeSet, done: RangeSet, reach: int | None) -> int:
    below = [high for held in (stored, done) for _, high in held.within(0, first - 1)] if first else []
    if below:
        return max(below) + 1
    if reach is not None:
        return reach + 1 if reach < first else first
    other: list[Range] = [*claims.covered, *claims.absent, *claims.dropped]
    return min([first, *(each.first for each in other)])


def _up(last: int, claims: Claims, stored: RangeSet, reach: int | None) -> int:
    if last < stored.ranges()[-1][1] or (reach is not None and reach > last):
        return last
    return max(last, highest_known(claims) or last)


# -- what has changed since -------------------------------------------------------------------------------


def changes(seal: Seal, claims: Claims) -> list[Change]:
    """Return how what is claimed of a stretch differs from what was sealed; empty: not at all."""
    if known(claims, seal.first, seal.last) == seal.known:
        return []
    was = parse_known(seal.known)
    now = parse_known(known(claims, seal.first, seal.last))
    was_stored, now_stored = _labelled(was, *STORED), _labelled(now, *STORED)
    was_dropped, now_dropped = _labelled(was, DROPPED), _labelled(now, DROPPED)
    found: list[Change] = []

    def add(what: str, ranges: RangeSet, excused: bool) -> None:
        found.extend(Change(what, low, high, excused) for low, high in ranges.ranges())

    gone = minus(was_stored, now_stored)
    add("dropped on purpose", intersection(gone, now_dropped), True)
    add("no longer claimed", minus(gone, now_dropped), False)
    for claim in claims.covered:
        if claim.source not in STORED:
            continue
        mine = clip(claim, seal.first, seal.last)
        elsewhere = intersection(mine, minus(was_stored, was.get(claim.source, RangeSet())))
        since = claim.until_ns > seal.sealed_ns
        add(f"{AGAIN} from {claim.source}", elsewhere, since)
        add(f"added from {claim.source}", minus(mine, was_stored), since)
        again = intersection(
            intersection(mine, intersection(was_stored, was.get(claim.source, RangeSet()))),
            minus(now_dropped, was_dropped),
        )
        add(f"dropped and fetched again from {claim.source}", again, since)
    for absent in claims.absent:
        mine = clip(absent, seal.first, seal.last)
        label = f"{ABSENT}:{hashlib.sha256(absent.proof.encode()).hexdigest()[:16]}"
        add("absent everywhere", minus(mine, was.get(label, RangeSet())), absent.proven_ns > seal.sealed_ns)
    for label, excuse in ((ABSENT, "absence"), (DROPPED, "drop"), (VOID, "void")):
        left = minus(minus(_labelled(was, label), _labelled(now, label)), now_stored)
        add(f"the {excuse} is no longer recorded", left, False)
    void = minus(_labelled(now, VOID), _labelled(was, VOID))
    add("void", void, any(each.source == VOID and each.until_ns > seal.sealed_ns for each in claims.covered))
    fresh = minus(minus(minus(now_dropped, was_dropped), was_stored), now_stored)
    add("dropped on purpose", fresh, any(each.until_ns > seal.sealed_ns for each in claims.dropped))
    return found or [Change("claimed otherwise", seal.first, seal.last, False)]


def _labelled(held: Mapping[str, RangeSet], *labels: str) -> RangeSet:
    return RangeSet(part for label, each in held.items() if label.partition(":")[0] in labels
                    for part in each.ranges())  # fmt: skip


def clip(each: Range, first: int, last: int) -> RangeSet:
    """Return the part of a range that lies between two positions, inclusive."""
    low, high = max(first, each.first), min(last, each.last)
    return RangeSet([(low, high)]) if low <= high else RangeSet()


def minus(one: RangeSet, other: RangeSet) -> RangeSet:
    """Return what is in the first and not in the second."""
    return RangeSet(gap for each in one.ranges() for gap in other.missing(*each))


# -- the chain --------------------------------------------------------------------------------------------


def broken_links(chain: Sequence[Seal], head: Head | None) -> list[tuple[int, str]]:
    """Return what is wrong with a chain, lowest number first, and its head: numbers, and what is wrong there."""
    found: list[tuple[int, str]] = []
    before, number = "", 0
    for seal in chain:
        if seal.number != number:
            found.append((number, f"seals {number} to {seal.number - 1} are gone"))
        elif seal.before != before:
            found.append((number, f"seal {number} does not follow seal {number - 1}"))
        if not seal.intact():
            found.append((seal.number, f"seal {seal.number} was changed"))
        before, number = seal.seal, seal.number + 1
    if head is None:
        if chain:
            found.append((chain[-1].number, "the head of the chain is gone"))
    elif not chain or head.number >= number:
        found.append((number, f"seals {number} to {head.number} are gone"))
    elif head != head_of(chain):
        found.append((head.number, f"the head of the chain does not fit the newest seal, {chain[-1].number}"))
    overlap = RangeSet()
    for seal in current(seal for seal in chain if seal.intact()):
        if overlap.within(seal.first, seal.last):
            found.append((seal.number, f"seal {seal.number} answers for what another one answers for"))
        overlap.add(seal.first, seal.last)
    return found


def head_of(chain: Sequence[Seal], before: Head | None = None) -> Head:
    """Return the head of a chain that ends with these seals, which follow ``before``."""
    reach = max([*(seal.last for seal in chain), *([before.reach] if before else [])])
    until_ns = max([*(seal.last_ns for seal in chain), *([before.until_ns] if before else [])])
    return Head(chain[-1].number, chain[-1].seal, reach, until_ns)


def current(chain: Iterable[Seal]) -> list[Seal]:
    """Return the seals that no other replaces, in the order of their numbers."""
    seals = list(chain)
    replaced = {seal.replaces for seal in seals if seal.replaces is not None}
    return [seal for seal in seals if seal.number not in replaced]
