"""A sample of what is claimed, to be held against the exchange: what is chosen, and where two rows differ. Pure.

Every claimed position is equally likely to be chosen. Who changes a fraction p of a record goes unseen by k positions
with probability (1 - p) ** k.
"""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from random import Random
from typing import NamedTuple

from crypto_quant.claims import Claims
from crypto_quant.seals import Key

# a page of REST holds as many
STRETCH = 1000

# the fields of a row by name, as exact decimals, integers, flags and times in µs; None: the source does not tell
Fields = Mapping[str, Decimal | int | bool | None]


class Sample(NamedTuple):
    """Positions ``first`` to ``last`` (inclusive) of one series, all of them claimed."""

    key: Key
    first: int
    last: int


class Difference(NamedTuple):
    """A position whose row is not the exchange's: the field, what is stored and what the exchange has."""

    position: int
    field: str
    stored: str
    exchange: str


def choose(claims: Mapping[Key, Claims], count: int, rng: Random) -> list[Sample]:
    """Return ``count`` stretches around positions drawn at random, fewer where two of them meet."""
    ranges = [(key, first, last) for key in sorted(claims) for first, last in claims[key].stored().ranges()]
    total = sum(last - first + 1 for _, first, last in ranges)
    found: list[Sample] = []
    for place in sorted(rng.randrange(total) for _ in range(count if total else 0)):
        at = place
        for key, first, last in ranges:
            size = last - first + 1
            if at < size:
                start = max(first, first + at - rng.randrange(STRETCH))
                found.append(Sample(key, start, min(last, start + STRETCH - 1)))
                break
            at -= size
    return _apart(found)


def _apart(samples: Iterable[Sample]) -> list[Sample]:
    """Return the samples without what an earlier one has already."""
    found: list[Sample] = []
    for each in sorted(samples):
        if found and found[-1].key == each.key and each.first <= found[-1].last:
            each = each._replace(first=found[-1].last + 1)  # noqa: PLW2901
        if each.first <= each.last:
            found.append(each)
    return found


def compare(sample: Sample, stored: Mapping[int, Sequence[Fields]], exchange: Mapping[int, Fields]) -> list[Difference]:
    """Return where the stored rows of a sample differ from the exchange's, each by position.

    Fields of which either does not tell are not compared.
    """
    found: list[Difference] = []
    for position in range(sample.first, sample.last + 1):
        rows, true = stored.get(position, ()), exchange.get(position)
        if true is None:
            if rows:
                found.append(Difference(position, "row", "stored", "the exchange has no such row"))
            continue
        if len(rows) != 1:
            found.append(Difference(position, "row", f"{len(rows)} rows", "one row"))
        for row in rows[:1]:
            found += [
                Difference(position, field, _text(row[field]), _text(value))
                for field, value in true.items()
                if value is not None and row.get(field) is not None and row[field] != value
            ]
    return found


def _text(value: Decimal | int | bool | None) -> str:
    return f"{value:f}" if isinstance(value, Decimal) else str(value)
