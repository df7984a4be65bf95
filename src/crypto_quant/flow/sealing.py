"""Closed stretches of the record are sealed: each row is read once, behind the live work, never in its way.

A stretch is sealed only when its rows are exactly those that are claimed. One whose claims have changed on purpose
since (a repair) is sealed anew, after its old rows were found unchanged; the new seal names the old one and why.
"""

import asyncio
from collections.abc import Awaitable, Iterable, Sequence
from datetime import date, timedelta
from typing import NamedTuple, TypeVar

import msgspec

from crypto_quant.claims import Claims
from crypto_quant.continuity import RangeSet
from crypto_quant.evidence import Reader, Scope, Span
from crypto_quant.flow.audit import Progress, day_span
from crypto_quant.flow.claimed import claims_by_stream
from crypto_quant.market import DAY_NS, NS_PER_S, NS_PER_US, day_of
from crypto_quant.seals import (
    DROPPED,
    GRACE_NS,
    HOUR_NS,
    NOTHING,
    STORED,
    TRADES,
    Digested,
    Group,
    Key,
    Seal,
    SealKeeper,
    Stretch,
    Wanted,
    changes,
    current,
    head_of,
    known,
    minus,
    parse_known,
    same_rows,
    stretches,
)

# beside a recorder: sealing takes no more of the time than this
SHARE = 0.03
# stretches of so many rows are read in one statement, and their seals written in one transaction
_BATCH = 2000
# ids may cross the end of an hour, by a little
_SLACK_NS = 600 * NS_PER_S

_T = TypeVar("_T")


class Refusal(NamedTuple):
    """A stretch that is not sealed: its rows are not those that are claimed, or not those that were sealed."""

    key: Key
    first: int
    last: int
    claimed: int
    stored: int


class Sealed(msgspec.Struct):
    """What was done: new seals, the rows they answer for, how many replace others, and what was refused.

    ``busy``: somebody else was sealing, so nothing was done.
    """

    seals: int = 0
    rows: int = 0
    replaced: int = 0
    refused: list[Refusal] = []
    busy: bool = False


class _Due(NamedTuple):
    """A stretch to be sealed, the time in which its rows lie, and the seal that is replaced, with the reason."""

    key: Key
    stretch: Stretch
    span: Span
    replaces: Seal | None
    reason: str


class Sealer:
    """Seals what is claimed of a scope, day by day. Cancelling is safe: what is written is whole.

    ``share`` is how much of the time it may spend reading; 1 is all of it.
    """

    def __init__(
        self, reader: Reader, keeper: SealKeeper, scope: Scope, *, share: float = 1.0, progress: Progress | None = None
    ) -> None:
        self._reader = reader
        self._keeper = keeper
        self._scope = scope
        self._share = share
        self._progress = progress or (lambda _step, _done, _total: None)
        self._done = Sealed()

    async def since(self) -> date | None:
        """Return the day from which on something is unsealed that came behind what is sealed; None: nothing is."""
        extent = await self._reader.extent(self._scope)
        if extent is None:
            return None
        heads = await self._keeper.heads(self._scope)
        begins: list[int] = []
        for key, claims in (await claims_by_stream(self._reader, self._scope)).items():
            if claims.covered and key not in heads:
                begins.append(extent.start)
            elif claims.covered and claims.covered[-1].last > heads[key].reach:
                begins.append(heads[key].until_ns)
        return day_of(max(min(begins), extent.start)) if begins else None

    async def run(self, first: date, last: date, *, closed_ns: int | None = None) -> Sealed:
        """Seal the stretches of these days (inclusive, UTC); ``closed_ns``: only those that were over by then.

        Raises the store's errors.
        """
        self._done = Sealed()
        if not await self._keeper.kept():
            return self._done
        async with self._keeper.exclusive() as alone:
            if not alone:
                return Sealed(busy=True)
            total = (last - first).days + 1
            for number in range(total):
                day = first + timedelta(days=number)
                self._progress(f"sealing {day}", number, total)
                await self._day(day_span(day), closed_ns)
        return self._done

    async def seal_claims(self) -> Sealed:
        """Seal what is known of positions without rows: absences, and drops; return all that was done.

        A stretch of which all rows were dropped on purpose is sealed anew without them. It reads every seal of the
        scope. Raises the store's errors.
        """
        async with self._keeper.exclusive() as alone:
            if not alone or not await self._keeper.kept():
                return self._done
            for key, claims in (await claims_by_stream(self._reader, self._scope)).items():
                seals = _intact(await self._keeper.chain(key))
                sealed = RangeSet((seal.first, seal.last) for seal in seals)
                bare = minus(minus(claims.excused(), claims.stored()), sealed)
                due = [_Due(key, Stretch(*each, []), Span(0, 0), None, "") for each in bare.ranges()]
                due += [each for seal in seals if (each := _emptied(seal, claims)) is not None]
                if due:
                    emptied = {each.replaces.seal for each in due if each.replaces is not None}
                    await self._write(due, [NOTHING] * len(due), emptied)
        return self._done

    async def _day(self, span: Span, closed_ns: int | None) -> None:
        groups = await self._paced(self._keeper.groups(self._scope, span))
        if not groups:
            return
        claims = await claims_by_stream(self._reader, self._scope)
        heads = await self._keeper.heads(self._scope)
        around = await self._keeper.seals(self._scope, Span(span.start - DAY_NS, span.end + DAY_NS))
        due: list[_Due] = []
        for key, found in groups.items():
            mine, seals = claims.get(key, Claims()), _intact(around.get(key, ()))
            due += [each for seal in seals if (each := _repaired(seal, mine, span)) is not None]
            sealed = RangeSet((seal.first, seal.last) for seal in seals)
            reach = heads[key].reach if key in heads else None
            closed = [group for end, group in found if closed_ns is None or end + GRACE_NS <= closed_ns]
            for stretch in stretches(closed, mine, sealed, reach):
                due.append(_Due(key, stretch, _span_of(stretch, closed), None, ""))
        # those of one hour together: their rows are read at once
        due.sort(key=lambda each: (each.key[2] != TRADES, each.span.start, each.key))
        for batch in _batches(due):
            await self._seal(batch)

    async def _seal(self, batch: Sequence[_Due]) -> None:
        digests = await self._paced(
            self._keeper.digests([Wanted(each.key, each.stretch.ranges, each.span) for each in batch])
        )
        old = [each.replaces for each in batch if each.replaces is not None]
        await self._write(batch, digests, await self._unchanged(old) if old else set())

    async def _write(self, batch: Sequence[_Due], digests: Sequence[Digested], unchanged: set[str]) -> None:
        """Write the seals, unless what they seal has changed meanwhile; ``unchanged`` of the replaced ones are true."""
        keys = {each.key for each in batch}
        async with self._keeper.holding(keys) as now_ns:
            scope = Scope(None, tuple(sorted({key[1] for key in keys})))
            claims = await claims_by_stream(self._reader, scope)
            heads = await self._keeper.heads(scope)
            new: list[Seal] = []
            for each, digest in zip(batch, digests, strict=True):
                first, last, ranges = each.stretch
                mine, size = claims.get(each.key, Claims()), RangeSet(ranges).size
                if mine.stored().within(first, last) != RangeSet(ranges).ranges():
                    continue  # it has changed meanwhile: the next run seals it
                if digest.rows != size or (each.replaces is not None and each.replaces.seal not in unchanged):
                    self._done.refused.append(Refusal(each.key, first, last, size, digest.rows))
                    continue
                head = heads.get(each.key)
                first_ns, last_ns = (digest.first_ns, digest.last_ns) if digest.rows else (now_ns, now_ns)
                seal = Seal(
                    *each.key, 0 if head is None else head.number + 1, first, last, first_ns, last_ns,
                    digest.rows, known(mine, first, last), digest.digest,
                    None if each.replaces is None else each.replaces.number, each.reason,
                    now_ns // NS_PER_US * NS_PER_US, "" if head is None else head.seal, "",
                )  # fmt: skip
                seal = msgspec.structs.replace(seal, seal=seal.computed())
                heads[each.key] = head_of([seal], head)
                new.append(seal)
            if new:
                await self._keeper.append(new)
        self._done.seals += len(new)
        self._done.rows += sum(seal.rows for seal in new)
        self._done.replaced += sum(seal.replaces is not None for seal in new)

    async def _unchanged(self, seals: Sequence[Seal]) -> set[str]:
        """Return those of these seals whose rows are what they were, by their digests."""
        found: set[str] = set()
        claims = await claims_by_stream(self._reader, Scope(None, tuple(sorted({seal.symbol for seal in seals}))))
        for kind in (True, False):
            mine = [seal for seal in seals if (seal.key[2] == TRADES) is kind]
            wanted = [Wanted(seal.key, seal.stored().ranges(), Span(seal.first_ns, seal.last_ns + 1)) for seal in mine]
            digests = await self._paced(self._keeper.digests(wanted))
            for seal, digest in zip(mine, digests, strict=True):
                if same_rows(seal, digest, claims.get(seal.key, Claims())):
                    found.add(seal.seal)
        return found

    async def _paced(self, work: Awaitable[_T]) -> _T:
        """Do a piece of work, then rest, so that it takes no more than its share of the time."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        result = await work
        if self._share < 1:
            await asyncio.sleep((loop.time() - begun) * (1 / self._share - 1))
        return result


def _intact(seals: Iterable[Seal]) -> list[Seal]:
    """Return the seals that count: no other replaces them, and they are as they were written."""
    return [seal for seal in current(seals) if seal.intact()]


def _repaired(seal: Seal, claims: Claims, span: Span) -> _Due | None:
    """Return what seals a stretch anew: what is claimed there was changed on purpose, and nothing of it dropped."""
    if not span.start <= seal.first_ns < span.end:
        return None
    changed = changes(seal, claims)
    now = parse_known(known(claims, seal.first, seal.last))
    if not changed or not all(each.excused for each in changed) or any(label.startswith(DROPPED) for label in now):
        return None
    ranges = RangeSet(part for label in STORED if label in now for part in now[label].ranges()).ranges()
    reason = "; ".join(f"{each.first} to {each.last} {each.what}" for each in sorted(set(changed)))
    wide = Span(min(span.start, seal.first_ns) - _SLACK_NS, max(span.end, seal.last_ns + 1) + _SLACK_NS)
    return _Due(seal.key, Stretch(seal.first, seal.last, ranges), wide, seal, reason)


def _emptied(seal: Seal, claims: Claims) -> _Due | None:
    """Return what seals a stretch anew of which all rows were dropped on purpose."""
    changed = changes(seal, claims)
    if not seal.rows or not changed or not all(each.excused for each in changed):
        return None
    if claims.stored().within(seal.first, seal.last):
        return None
    return _Due(seal.key, Stretch(seal.first, seal.last, []), Span(0, 0), seal, "dropped on purpose")


def _span_of(stretch: Stretch, groups: Iterable[Group]) -> Span:
    """Return the time in which the rows of a stretch lie: that of the groups that it touches."""
    first, last = stretch.ranges[0][0], stretch.ranges[-1][1]
    touched = [group for group in groups if group.first <= last and first <= group.last]
    return Span(min(each.first_ns for each in touched), max(each.last_ns for each in touched) + 1)


def _hour(due: _Due) -> tuple[bool, int]:
    return due.key[2] == TRADES, due.span.start // HOUR_NS


def _batches(due: Sequence[_Due]) -> list[list[_Due]]:
    """Return what is due in batches: of one kind and one time each, and not too many."""
    batches: list[list[_Due]] = []
    for each in due:
        last = batches[-1] if batches else None
        alike = last and _hour(last[0]) == _hour(each)
        if last is not None and alike and len(last) < _BATCH:
            last.append(each)
        else:
            batches.append([each])
    return batches
