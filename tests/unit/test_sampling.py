"""What is drawn, and where two rows differ."""

# ruff: noqa: S311 - to be repeated, not to be secret

from collections import Counter
from decimal import Decimal
from random import Random

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from crypto_quant.claims import Claims
from crypto_quant.continuity import RangeSet
from crypto_quant.sampling import STRETCH, Difference, Sample, choose, compare

KEY = ("spot", "btcusdt", "aggTrade")


class Covered(msgspec.Struct, frozen=True):
    first: int
    last: int
    source: str = "stream"
    since_ns: int = 0
    until_ns: int = 0


RANGES = st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 3000)), max_size=5)


@given(RANGES, st.integers(1, 20), st.integers())
def test_only_what_is_claimed_is_drawn_and_nothing_twice(
    given_ranges: list[tuple[int, int]], count: int, seed: int
) -> None:
    held = RangeSet((first, first + size) for first, size in given_ranges)
    claims = {KEY: Claims([Covered(*each) for each in held.ranges()])}
    found = choose(claims, count, Random(seed))
    assert found == choose(claims, count, Random(seed))
    assert bool(found) == bool(len(held))
    seen = RangeSet()
    for each in found:
        assert not held.missing(each.first, each.last)
        assert not seen.within(each.first, each.last)
        assert each.last - each.first < STRETCH
        seen.add(each.first, each.last)


def test_no_edge_is_never_drawn() -> None:
    """The first and the last position of a record, and a series of one candle, are drawn as others are."""
    claims = {KEY: Claims([Covered(0, 9)]), ("spot", "btcusdt", "kline_1M"): Claims([Covered(7, 7)])}
    drawn = Counter(
        (each.key, position)
        for seed in range(300)
        for each in choose(claims, 1, Random(seed))
        for position in range(each.first, each.last + 1)
    )
    assert set(drawn) == {*((KEY, at) for at in range(10)), (("spot", "btcusdt", "kline_1M"), 7)}


def test_void_ids_are_not_drawn() -> None:
    claims = {KEY: Claims([Covered(0, 9, "void")])}
    assert choose(claims, 5, Random(1)) == []


def test_a_difference_names_position_field_and_both_values() -> None:
    sample = Sample(KEY, 1, 4)
    stored = {
        1: [{"price": Decimal("1.50000000"), "id": 5}],
        2: [{"price": Decimal("2.00000001"), "id": 6}],
        3: [{"price": Decimal(3)}, {"price": Decimal(3)}],
        9: [{"price": Decimal(1)}],
    }
    exchange = {1: {"price": Decimal("1.5"), "id": None}, 2: {"price": Decimal(2), "id": 6}, 3: {"price": Decimal(3)},
                4: {"price": Decimal(4)}}  # fmt: skip
    assert compare(sample, stored, exchange) == [
        Difference(2, "price", "2.00000001", "2"),
        Difference(3, "row", "2 rows", "one row"),
        Difference(4, "row", "0 rows", "one row"),
    ]
    assert compare(sample, {1: stored[1]}, {}) == [Difference(1, "row", "stored", "the exchange has no such row")]
