"""The end of every world: what it has stored is changed behind its back, and the proof must not fail to see it."""

from collections.abc import Iterable
from random import Random

import msgspec

from crypto_quant.claims import Claims, contradictions, hold
from crypto_quant.continuity import RangeSet
from crypto_quant.seals import Group, Seal, changes, known, stretches
from crypto_quant.sim.world.broken import Broken
from crypto_quant.sim.world.database import Database, ranges

# so many changes are made to each series, one after the other, each to the untouched record
_CHANGES = 8
# claims were made before the record was sealed, and changes come after
_CLAIMED_NS, _SEALED_NS, _CHANGED_NS = 10, 20, 30
_NOW_NS = 10**18


class _Range(msgspec.Struct, frozen=True):
    first: int
    last: int
    source: str = "stream"
    since_ns: int = _CLAIMED_NS
    until_ns: int = _CLAIMED_NS
    proof: str = "asked"
    proven_ns: int = _CLAIMED_NS


def tamper(database: Database, rng: Random) -> int:
    """Change each series of a record that has come to rest; return how many changes were seen. Raises Broken."""
    seen = 0
    for symbol, covered in sorted(database.covered.items()):
        stored = database.ids.get(symbol, set()) & covered
        seen += _series(symbol, stored, covered, database.absent.get(symbol, set()) - covered, rng)
    for key, slots in sorted(database.slots.items()):
        seen += _series(" ".join(key), set(slots), slots, database.absent_slots.get(key, set()) - slots, rng)
    return seen


def _series(name: str, rows: set[int], covered: set[int], absent: set[int], rng: Random) -> int:
    if not rows:
        return 0
    # what lies beyond the record is told apart by its time, which this model has not
    absent = {each for each in absent if min(covered) < each < max(covered)}
    record = RangeSet(ranges(rows)), _claims(covered, absent)
    seals = _sealed(record[1])
    if told := _seen(*record, seals):
        raise Broken(f"{name}: the record is whole, and called {told}")
    ways = (_lose, _lose_edge, _add, _claim_more, _claim_less, _deny, _drop)
    for _ in range(_CHANGES):
        way = rng.choice(ways)
        what, changed = way(set(rows), set(covered), set(absent), rng)
        if not _seen(*changed, seals):
            raise Broken(f"{name}: {what}, and the record is called whole")
    return _CHANGES


def _seen(rows: RangeSet, claims: Claims, seals: Iterable[Seal]) -> str:
    """Return what an audit finds wrong, '' for nothing."""
    claimed = claims.stored()
    bounds = [each.ranges() for each in (rows, claimed) if len(each)]
    outer = (min(each[0][0] for each in bounds), max(each[-1][1] for each in bounds)) if bounds else None
    held = hold(rows, claims, claims, outer)
    found = [*held.lost, *held.faults, *contradictions(claims, now_ns=_NOW_NS, ids=True)]
    found += [each for seal in seals for each in changes(seal, claims) if not each.excused]
    return ", ".join(map(str, found))


def _claims(covered: Iterable[int], absent: Iterable[int], dropped: Iterable[_Range] = ()) -> Claims:
    return Claims([_Range(*each) for each in ranges(covered)], [_Range(*each) for each in ranges(absent)], [*dropped])


def _sealed(claims: Claims) -> list[Seal]:
    """Return the record's seals, without digests: of what is in a row this model knows nothing."""
    found = claims.stored().ranges()
    groups = [Group(first, last) for first, last in found]
    return [
        Seal("", "", "", number, each.first, each.last, 0, 0, 1, known(claims, each.first, each.last), "", None, "",
             _SEALED_NS, "", "")
        for number, each in enumerate(stretches(groups, claims, RangeSet(), None))
    ]  # fmt: skip


Changed = tuple[str, tuple[RangeSet, Claims]]


def _lose(rows: set[int], covered: set[int], absent: set[int], rng: Random) -> Changed:
    gone = rng.choice(sorted(rows))
    return f"row {gone} is deleted", (RangeSet(ranges(rows - {gone})), _claims(covered, absent))


def _lose_edge(rows: set[int], covered: set[int], absent: set[int], rng: Random) -> Changed:
    count = rng.choice((rng.randint(1, len(rows)), len(rows)))
    ordered = sorted(rows, reverse=rng.random() < 0.5)
    return f"{count} rows at an edge are deleted", (RangeSet(ranges(ordered[count:])), _claims(covered, absent))


def _add(rows: set[int], covered: set[int], absent: set[int], rng: Random) -> Changed:
    more = rng.choice((max(rows | covered) + rng.randint(1, 1000), min(rows | covered) - rng.randint(1, 1000)))
    return f"row {more} is added", (RangeSet(ranges(rows | {more})), _claims(covered, absent))


def _claim_more(rows: set[int], covered: set[int], absent: set[int], rng: Random) -> Changed:
    more = rng.choice((max(rows | covered) + rng.randint(1, 1000), min(rows | covered) - rng.randint(1, 1000)))
    return f"{more} is claimed", (RangeSet(ranges(rows)), _claims(covered | {more}, absent))


def _claim_less(rows: set[int], covered: set[int], absent: set[int], rng: Random) -> Changed:
    less = rng.choice((min(rows), max(rows), rng.choice(sorted(rows))))
    return f"{less} is claimed no more", (RangeSet(ranges(rows)), _claims(covered - {less}, absent))


def _deny(rows: set[int], covered: set[int], absent: set[int], rng: Random) -> Changed:
    false = rng.choice(sorted(rows))
    return f"{false} is called absent", (RangeSet(ranges(rows)), _claims(covered, absent | {false}))


def _drop(rows: set[int], covered: set[int], absent: set[int], rng: Random) -> Changed:
    false = rng.choice(sorted(rows))
    note = _Range(false, false, "hand", _CHANGED_NS, _CHANGED_NS)
    return f"{false} is noted as dropped", (RangeSet(ranges(rows)), _claims(covered, absent, [note]))
