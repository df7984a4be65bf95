"""Rows held against claims: whatever is claimed has a row, whatever has a row is claimed, and excuses are true."""

from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_quant.claims import FAULTS, Claims, contradictions, hold
from crypto_quant.continuity import Gap, RangeSet

NOW_NS = 10**18


class Covered(msgspec.Struct, frozen=True):
    first: int
    last: int
    source: str = "stream"
    since_ns: int = 10
    until_ns: int = 20


class Absence(msgspec.Struct, frozen=True):
    first: int
    last: int
    proof: str = "asked"
    proven_ns: int = 15


def claims(*covered: tuple[int, int], absent: Sequence[Absence] = (), dropped: Sequence[Covered] = ()) -> Claims:
    return Claims([Covered(*each) for each in covered], list(absent), list(dropped))


def kinds(of: Sequence[object]) -> list[str]:
    return [each.kind for each in of]  # type: ignore[attr-defined]


@given(st.sets(st.integers(0, 40)), st.sets(st.integers(0, 40)), st.sets(st.integers(0, 40)))
def test_each_position_is_judged_as_a_naive_model_judges_it(
    stored: set[int], claimed: set[int], absent: set[int]
) -> None:
    absent -= claimed
    mine = claims(
        *RangeSet((each, each) for each in claimed).ranges(),
        absent=[Absence(*each) for each in RangeSet((each, each) for each in absent).ranges()],
    )
    known = stored | claimed
    bounds = (min(known), max(known)) if known else None
    held = hold(RangeSet((each, each) for each in stored), mine, mine, bounds)
    lost = {each for gap in held.lost for each in range(gap.first, gap.last + 1)}
    missing = {each for gap in held.missing for each in range(gap.first, gap.last + 1)}
    assert lost == claimed - stored
    assert missing == ({*range(bounds[0], bounds[1] + 1)} if bounds else set()) - stored - claimed - absent
    told = {each.kind: each.count for each in held.faults}
    assert told.get("unclaimed", 0) == len(stored - claimed - absent)
    assert told.get("absent and stored", 0) == len(stored & absent)


def test_rows_and_claims_of_a_recorder_that_goes_on_are_no_fault() -> None:
    """Rows 11 to 20 came after the first look at the claims; rows 1 to 5 were dropped before the second."""
    before = claims((1, 10))
    after = claims((6, 20), dropped=[Covered(1, 5, "hand", 15, 15)])
    held = hold(RangeSet([(6, 15)]), before, after, (6, 15))
    assert (held.lost, held.missing, held.faults) == ([], [], [])


def test_edges_are_accounted_for_as_the_middle_is() -> None:
    mine = claims((1, 100))
    held = hold(RangeSet([(11, 50), (60, 90)]), mine, mine, (1, 100))
    assert held.lost == [Gap(1, 10), Gap(51, 59), Gap(91, 100)]
    assert hold(RangeSet(), mine, mine, (1, 100)).lost == [Gap(1, 100)]


def test_a_drop_that_is_under_way_is_no_fault_and_a_row_that_nothing_explains_is() -> None:
    mine = claims((11, 20), dropped=[Covered(1, 10, "policy")])
    assert hold(RangeSet([(1, 20)]), mine, mine, (1, 20)).faults == []
    assert kinds(hold(RangeSet([(1, 21)]), mine, mine, (1, 21)).faults) == ["unclaimed"]


@pytest.mark.parametrize(
    ("mine", "kind"),
    [
        (claims((1, 10), (5, 12)), "claimed twice"),
        (claims((1, 10), (5, 6)), "claimed twice"),
        (claims((1, 10), absent=[Absence(9, 9)]), "absent and claimed"),
        (claims((1, 10), dropped=[Covered(4, 5, "hand", 30, 30)]), "dropped and claimed"),
        (claims((1, 10), absent=[Absence(11, 11)]), "absent beyond the record"),
        (claims((2, 10), absent=[Absence(1, 1)]), "absent beyond the record"),
    ],
)
def test_claims_that_contradict_each_other_are_named(mine: Claims, kind: str) -> None:
    assert kinds(contradictions(mine, now_ns=NOW_NS, ids=True)) == [kind]
    assert kind in FAULTS


def test_claims_that_agree_are_no_contradiction() -> None:
    again = Covered(4, 5, "hand", 5, 50)  # dropped, and claimed anew later: the drops around it were noted since
    mine = claims((1, 10), (12, 20), absent=[Absence(11, 11)], dropped=[again])
    assert contradictions(mine, now_ns=NOW_NS, ids=True) == []
    # an absence of just now may be ahead of the rows behind it
    fresh = claims((1, 10), absent=[Absence(11, 11, proven_ns=NOW_NS)])
    assert contradictions(fresh, now_ns=NOW_NS, ids=True) == []
    # nor is a candle bounded by others: the exchange may have ended with it
    assert contradictions(claims((1, 10), absent=[Absence(11, 11)]), now_ns=NOW_NS, ids=False) == []
