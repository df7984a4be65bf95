"""What a store claims of one series, and what follows when its rows are held against that. Pure.

A position is the id of an aggregate trade, or the slot of a candle. A store says of each position that it is stored
(``coverage``), void (neutralised by the exchange, rightly without a row), absent (no source has it) or dropped on
purpose. Nothing else excuses a missing row, and each of these is itself checked.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

import msgspec

from crypto_quant.continuity import Gap, RangeSet

# an absence that was recorded this recently may be ahead of the rows around it, which are still on their way
SETTLED_NS = 600 * 10**9


class Range(Protocol):
    """Positions ``first`` to ``last``, inclusive."""

    @property
    def first(self) -> int: ...

    @property
    def last(self) -> int: ...


class Claim(Range, Protocol):
    """Positions that are claimed to be stored, or were dropped: by whom, and when that was recorded, in ns."""

    @property
    def source(self) -> str: ...

    @property
    def since_ns(self) -> int: ...

    @property
    def until_ns(self) -> int: ...


class Absent(Range, Protocol):
    """Positions that no source has, and when that was proven, in ns."""

    @property
    def proof(self) -> str: ...

    @property
    def proven_ns(self) -> int: ...


class Fault(msgspec.Struct, frozen=True):
    """Claims and rows, or two claims, that contradict each other at the positions ``first`` to ``last`` (inclusive).

    ``count`` is how many of these positions are concerned.
    """

    kind: str
    first: int
    last: int
    count: int


UNCLAIMED = "unclaimed"
# kinds of faults, with what they say to a person
FAULTS = {
    UNCLAIMED: "rows that no claim explains",
    "void and stored": "rows of ids that are claimed to be void",
    "absent and stored": "rows that are recorded as absent everywhere",
    "absent and claimed": "claimed as stored and recorded as absent at once",
    "dropped and claimed": "noted as dropped after they were last claimed, and still claimed",
    "absent beyond the record": "recorded as absent where nothing was ever stored on one side",
    "dropped beyond the record": "noted as dropped where nothing was ever stored",
    "absent before its end": "candles recorded as absent before they were over",
    "claimed twice": "claimed by two ranges at once",
}


class Held(NamedTuple):
    """What rows and claims say of each other: ``lost`` was claimed and has no row, ``missing`` is neither."""

    lost: list[Gap]
    missing: list[Gap]
    faults: list[Fault]


class Claims(msgspec.Struct):
    """What a store says of the positions of one series, each list lowest first."""

    covered: list[Claim] = []
    absent: list[Absent] = []
    dropped: list[Claim] = []

    def stored(self) -> RangeSet:
        """Return what is claimed to have a row."""
        return ranges(each for each in self.covered if each.source != "void")

    def void(self) -> RangeSet:
        """Return what is rightly without a row."""
        return ranges(each for each in self.covered if each.source == "void")

    def excused(self) -> RangeSet:
        """Return what may be without a row: void, absent everywhere, dropped and not fetched again."""
        stored, found = self.stored(), RangeSet([*self.void().ranges(), *ranges(self.absent).ranges()])
        for gone in self.dropped:
            for gap in stored.missing(gone.first, gone.last):
                found.add(*gap)
        return found

    def left(self) -> Iterator[tuple[Claim, Gap]]:
        """Return what was dropped and not fetched again."""
        stored = self.stored()
        for gone in self.dropped:
            for gap in stored.missing(gone.first, gone.last):
                yield gone, gap


def ranges(of: Iterable[Range]) -> RangeSet:
    """Return the union."""
    return RangeSet((each.first, each.last) for each in of)


def hold(rows: RangeSet, before: Claims, after: Claims, bounds: tuple[int, int] | None) -> Held:
    """Hold rows against the claims that were read before and after them.

    Whoever records goes on meanwhile: rows that came since are not claimed ``before``, and rows that went since on
    purpose are not claimed ``after``. So what both claim must have a row, and a row must be claimed by either.
    ``bounds`` are the first and the last position to be accounted for, inclusive; None: there is none.
    """
    claimed = intersection(before.stored(), after.stored())
    either = RangeSet([*before.stored().ranges(), *after.stored().ranges()])
    excused = RangeSet([*before.excused().ranges(), *after.excused().ranges()])
    lost: list[Gap] = []
    missing: list[Gap] = []
    for gap in rows.missing(*bounds) if bounds is not None else ():
        lost += [Gap(*each) for each in claimed.within(*gap)]
        missing += [each for part in claimed.missing(*gap) for each in excused.missing(*part)]
    leaving = RangeSet((gap.first, gap.last) for claims in (before, after) for _, gap in claims.left())
    void, absent = after.void(), ranges(after.absent)
    explained = RangeSet([*either.ranges(), *leaving.ranges(), *void.ranges(), *absent.ranges()])
    faults = [
        *_faults(UNCLAIMED, (gap for each in rows.ranges() for gap in explained.missing(*each))),
        *_faults("void and stored", intersection(rows, void).ranges()),
        *_faults("absent and stored", intersection(rows, absent).ranges()),
    ]
    return Held(lost, missing, faults)


def contradictions(claims: Claims, *, now_ns: int, ids: bool) -> list[Fault]:
    """Return where what a store claims contradicts itself, whatever its rows say; ``ids`` of trades or else slots."""
    stored = claims.stored()
    found = list(_faults("claimed twice", _overlaps(claims.covered)))
    found += _faults("absent and claimed", intersection(stored, ranges(claims.absent)).ranges())
    # what was fetched again after a drop was claimed later than the drop was noted
    found += _faults(
        "dropped and claimed",
        [
            (max(gone.first, each.first), min(gone.last, each.last))
            for gone in claims.dropped
            for each in claims.covered
            if each.first <= gone.last and gone.first <= each.last and each.until_ns < gone.since_ns
        ],
    )
    known = RangeSet([*ranges(claims.covered).ranges(), *ranges(claims.dropped).ranges()]).ranges()
    found += _faults("dropped beyond the record", _beyond(claims, stored))
    if ids and known:
        # an id is known to exist nowhere only when ids on both sides of it are known to exist
        low, high = known[0][0], known[-1][1]
        beyond = [each for each in claims.absent if each.proven_ns < now_ns - SETTLED_NS]
        found += _faults(
            "absent beyond the record",
            [gap for each in beyond for gap in RangeSet([(low, high)]).missing(each.first, each.last)],
        )
    return found


def intersection(one: RangeSet, other: RangeSet) -> RangeSet:
    """Return what is in both."""
    return RangeSet(part for each in one.ranges() for part in other.within(*each))


def _beyond(claims: Claims, stored: RangeSet) -> list[tuple[int, int]]:
    """Return drops above everything that is stored which do not follow on it: what is dropped was stored before."""
    highest = max((last for _, last in stored.ranges()), default=None)
    if highest is None:
        return []
    everything = RangeSet([*stored.ranges(), *ranges(claims.absent).ranges(), *ranges(claims.dropped).ranges()])
    return [(each.first, each.last) for each in claims.dropped
            if each.first > highest and everything.missing(highest, each.first)]  # fmt: skip


def _overlaps(claims: Sequence[Claim]) -> list[tuple[int, int]]:
    found = []
    highest: int | None = None
    for each in sorted(claims, key=lambda claim: (claim.first, claim.last)):
        if highest is not None and each.first <= highest:
            found.append((each.first, min(each.last, highest)))
        highest = each.last if highest is None else max(highest, each.last)
    return found


def _faults(kind: str, where: Iterable[tuple[int, int]]) -> list[Fault]:
    """Return one fault for all of it; none where there is nothing."""
    found = sorted(where)
    if not found:
        return []
    count = RangeSet(found).size
    return [Fault(kind, found[0][0], max(last for _, last in found), count)]
