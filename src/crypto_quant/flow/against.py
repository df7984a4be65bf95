"""A database held against a certificate of long ago: what is as it was, what was repaired since, what was changed.

The heads of the chains that the certificate holds answer for every seal before them. Each of those is computed again
from its fields and from the rows that it names; so the certificate, kept elsewhere, speaks against everybody who can
write the database.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from crypto_quant.claims import Claims
from crypto_quant.continuity import RangeSet
from crypto_quant.errors import ConfigError
from crypto_quant.evidence import Reader, Scope, Span
from crypto_quant.flow.audit import Progress
from crypto_quant.flow.certificate import check_document, compare, difference
from crypto_quant.flow.claimed import claims_by_stream
from crypto_quant.market import utc_text
from crypto_quant.seals import (
    HOUR_NS,
    TRADES,
    Key,
    Seal,
    SealKeeper,
    Wanted,
    broken_links,
    changes,
    head_of,
    same_rows,
    stream_of,
)


class Finding(msgspec.Struct, frozen=True):
    """One thing that is not as it was certified; ``since`` and ``until`` bound the rows, in UTC."""

    venue: str
    symbol: str
    stream: str
    since: str
    until: str
    what: str


class Against(msgspec.Struct):
    """What became of a certified record: ``seals`` and ``digests`` were checked.

    What was ``repaired`` (or dropped) on purpose is recorded as such and no fault; what was ``changed`` is.
    """

    issued_at: str
    seals: int = 0
    digests: int = 0
    repaired: list[Finding] = []
    changed: list[Finding] = []


class Head(msgspec.Struct, frozen=True):
    """The head of a chain as a certificate holds it."""

    venue: str
    symbol: str
    stream: str
    number: int
    seal: str
    sealed_until: str


class _Day(NamedTuple):
    key: Key
    day: str


async def hold_against(reader: Reader, keeper: SealKeeper, document: Mapping[str, Any], progress: Progress) -> Against:
    """Hold the database against a certificate.

    Raises ConfigError when this is no certificate, or one that was made with other SQL.
    """
    found = Against(str(document.get("issued_at")))
    if (altered := check_document(document, reader.digest_sql)) is not None:
        found.changed.append(Finding("", "", "", "", "", altered))
        return found
    try:
        heads = msgspec.convert(document.get("heads", []), list[Head])
    except msgspec.ValidationError as problem:
        raise ConfigError("the certificate's heads cannot be read", hint=str(problem)) from problem
    if heads and not await keeper.kept():
        found.changed.append(Finding("", "", "", "", "", "the table seals is gone"))
    else:
        for number, head in enumerate(heads):
            progress(f"seals of {head.symbol} {head.stream}", number, len(heads))
            await _chain(reader, keeper, head, found)
    await _days(reader, document, found, progress)
    return found


async def _chain(reader: Reader, keeper: SealKeeper, head: Head, found: Against) -> None:
    """Check every seal up to a certified head: the links, what is claimed now, and the rows."""
    key: Key = (head.venue, head.symbol, head.stream)
    whole = await keeper.chain(key)
    chain = [seal for seal in whole if seal.number <= head.number]
    if not chain or chain[-1].number != head.number:
        found.changed.append(Finding(*key, "", head.sealed_until, f"seal {head.number}, which was certified, is gone"))
        return
    found.seals += len(chain)
    for number, what in broken_links(chain, head_of(chain)):
        found.changed.append(_finding(next((each for each in chain if each.number == number), chain[-1]), what))
    if chain[-1].seal != head.seal:
        found.changed.append(_finding(chain[-1], f"seal {head.number} is not the one that was certified"))
    claims = (await claims_by_stream(reader, Scope(head.venue, (head.symbol,)))).get(key, Claims())
    left = RangeSet((gap.first, gap.last) for _, gap in claims.left())
    checked: list[Seal] = []
    for seal in chain:
        if not seal.intact():
            continue
        for each in changes(seal, claims):
            told = found.repaired if each.excused else found.changed
            told.append(_finding(seal, f"{each.first} to {each.last} {each.what}"))
        if seal.rows and not any(left.within(*each) for each in seal.stored().ranges()):
            checked.append(seal)
    for batch in _hours(checked):
        wanted = [Wanted(key, seal.stored().ranges(), Span(seal.first_ns, seal.last_ns + 1)) for seal in batch]
        for seal, digest in zip(batch, await keeper.digests(wanted), strict=True):
            if not same_rows(seal, digest, claims):
                found.changed.append(_finding(seal, f"the {seal.rows:,} rows are not those that were sealed"))


async def _days(reader: Reader, document: Mapping[str, Any], found: Against, progress: Progress) -> None:
    """Compare the digests of whole days; one that differs where something was repaired, and only that, is repaired."""
    changed, repaired = _touched(found.changed), _touched(found.repaired)
    for then, now in await compare(reader, document, progress):
        found.digests += 1
        if then == now:
            continue
        day = _Day((then.venue, then.symbol, stream_of(then.timeframe)), then.day)
        told = found.repaired if day in repaired and day not in changed else found.changed
        told.append(Finding(*day.key, then.day, then.day, difference(then, now)))


def _touched(findings: Sequence[Finding]) -> set[_Day]:
    return {
        _Day((each.venue, each.symbol, each.stream), moment[:10])
        for each in findings
        for moment in (each.since, each.until)
    }


def _hours(seals: Sequence[Seal]) -> list[list[Seal]]:
    """Return the seals by the hour of their first row: their rows are read at once."""
    hours: dict[tuple[bool, int], list[Seal]] = {}
    for seal in sorted(seals, key=lambda each: each.first_ns):
        hours.setdefault((seal.stream == TRADES, seal.first_ns // HOUR_NS), []).append(seal)
    return list(hours.values())


def _finding(seal: Seal, what: str) -> Finding:
    return Finding(*seal.key, utc_text(seal.first_ns), utc_text(seal.last_ns), what)
