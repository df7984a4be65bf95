"""Any archive rows, in any order, cut anywhere: the same rows, and an honest account of what they prove."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from crypto_quant.binance.archive import TradeReader
from crypto_quant.continuity import Gap, Sequencer, runs, without
from crypto_quant.market import Venue

ids = st.sets(st.integers(0, 300), min_size=1, max_size=60)


def line(number: int, microseconds: bool) -> str:
    time = 1_790_856_000_000_000 + number * 1000 + number
    return (
        f"{number},{number}.50,0.0{number},{number},{number + 1},{time if microseconds else time // 1000},True,True\n"
    )


@given(ids, st.booleans(), st.randoms(use_true_random=False), st.booleans())
def test_any_order_gives_the_same_rows(numbers: set[int], micro: bool, random: object, header: bool) -> None:
    ordered = [line(number, micro) for number in sorted(numbers)]
    shuffled = list(ordered)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    head = "agg_trade_id,price,quantity\n" if header else ""
    reader = TradeReader(Venue.SPOT, "btcusdt")
    straight = reader.read("".join(ordered).encode())
    assert reader.read((head + "".join(shuffled)).encode()) == straight
    assert straight.ids == sorted(numbers)
    assert [int(row.split(b"\t")[3]) for row in straight.rows] == straight.ids


@given(ids, st.lists(st.tuples(st.integers(-5, 310), st.integers(0, 40)), max_size=8))
def test_ranges_against_sets(numbers: set[int], spans: list[tuple[int, int]]) -> None:
    found = runs(sorted(numbers))
    assert {n for gap in found for n in range(gap.first, gap.last + 1)} == numbers
    assert all(a.last + 1 < b.first for a, b in itertools.pairwise(found))
    had = [(first, first + length) for first, length in spans]
    left = without(Gap(0, 300), had)
    assert {n for gap in left for n in range(gap.first, gap.last + 1)} == set(range(301)) - {
        n for first, last in had for n in range(first, last + 1)
    }
    assert all(a.last + 1 < b.first for a, b in itertools.pairwise(left))


@given(ids, st.lists(st.tuples(st.integers(0, 310), st.integers(0, 40)), max_size=8))
def test_what_a_backfill_finds_is_no_longer_missing(numbers: set[int], spans: list[tuple[int, int]]) -> None:
    """A sequencer against a set: ids that are found, in any ranges, are missing no more, and nothing else changes."""
    sequencer = Sequencer()
    for number in sorted(numbers):
        sequencer.observe(number)
    missing = set(range(min(numbers), max(numbers) + 1)) - numbers
    for first, length in spans:
        sequencer.found(first, first + length)
        missing -= set(range(first, first + length + 1))
        assert {n for gap in sequencer.gaps for n in range(gap.first, gap.last + 1)} == missing
        assert sequencer.missing == len(missing)
        inside = sequencer.missing_within(first - 20, first + 20)
        assert {n for gap in inside for n in range(gap.first, gap.last + 1)} == {
            n for n in missing if first - 20 <= n <= first + 20
        }
