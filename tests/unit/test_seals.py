"""Seals: what they hold, what is to be sealed, how a change shows, and the chain."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_quant.claims import Claims
from crypto_quant.continuity import RangeSet
from crypto_quant.seals import (
    Group,
    Head,
    Seal,
    Stretch,
    broken_links,
    changes,
    current,
    head_of,
    known,
    parse_known,
    stretches,
)

SEALED_NS = 100


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


def seal(claims: Claims, first: int, last: int, *, number: int = 0, before: str = "", **more: object) -> Seal:
    given = {"replaces": None, "reason": "", "rows": claims.stored().size} | more
    made = Seal(
        "spot", "btcusdt", "aggTrade", number, first, last, 1000, 2000, digest="d", known=known(claims, first, last),
        sealed_ns=SEALED_NS, before=before, seal="", **given,
    )  # type: ignore[arg-type]  # fmt: skip
    return msgspec.structs.replace(made, seal=made.computed())


def chain(count: int) -> list[Seal]:
    seals: list[Seal] = []
    for number in range(count):
        claims = Claims([Covered(number * 10, number * 10 + 9)])
        before = seals[-1].seal if seals else ""
        seals.append(seal(claims, number * 10, number * 10 + 9, number=number, before=before))
    return seals


# -- what is known ----------------------------------------------------------------------------------------


def test_what_is_known_is_cut_to_the_stretch_and_read_back() -> None:
    claims = Claims([Covered(5, 9), Covered(10, 12, "rest")], [Absence(13, 14)], [Covered(1, 4, "hand")])
    text = known(claims, 3, 13)
    assert text.startswith("3-4:dropped:hand 5-9:stream 10-12:rest 13-13:absent:")
    assert {label.partition(":")[0] for label in parse_known(text)} == {"dropped", "stream", "rest", "absent"}
    assert parse_known(text)["stream"] == RangeSet([(5, 9)])


def test_equal_claims_have_equal_text_however_they_are_cut() -> None:
    whole, cut = Claims([Covered(0, 9)]), Claims([Covered(0, 4), Covered(5, 9)])
    assert known(whole, 0, 9) == known(cut, 0, 9)


# -- what is to be sealed ---------------------------------------------------------------------------------


def test_each_hour_is_a_stretch_and_reaches_over_what_lies_between() -> None:
    claims = Claims([Covered(3, 10), Covered(13, 20)], [Absence(11, 12), Absence(21, 22)], [Covered(0, 2, "hand")])
    found = stretches([Group(3, 10), Group(13, 20)], claims, RangeSet(), None)
    assert found == [Stretch(0, 10, [(3, 10)]), Stretch(11, 22, [(13, 20)])]


def test_what_is_sealed_is_not_sealed_again() -> None:
    claims = Claims([Covered(0, 30)])
    assert stretches([Group(5, 20)], claims, RangeSet([(0, 12)]), 12) == [Stretch(13, 20, [(13, 20)])]
    assert stretches([Group(5, 12)], claims, RangeSet([(0, 12)]), 12) == []
    # a stretch never reaches over one that is sealed
    parts = stretches([Group(0, 30)], claims, RangeSet([(10, 12)]), 12)
    assert parts == [Stretch(0, 9, [(0, 9)]), Stretch(13, 30, [(13, 30)])]


def test_hours_whose_ids_cross_are_one_stretch() -> None:
    claims = Claims([Covered(0, 30)])
    assert stretches([Group(0, 16), Group(15, 30)], claims, RangeSet(), None) == [Stretch(0, 30, [(0, 30)])]


@given(
    st.sets(st.integers(0, 60), min_size=1),
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 8)), max_size=6),
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 8)), max_size=3),
)
def test_stretches_seal_what_is_claimed_once(
    claimed: set[int], groups: list[tuple[int, int]], sealed: list[tuple[int, int]]
) -> None:
    """Whatever the groups and the sealed stretches: no position twice, and all that was claimed in the groups."""
    claims = Claims([Covered(*each) for each in RangeSet((each, each) for each in claimed).ranges()])
    done = RangeSet((first, first + size) for first, size in sealed)
    reach = done.ranges()[-1][1] if len(done) else None
    wanted = [Group(first, first + size) for first, size in groups]
    found = stretches(wanted, claims, done, reach)
    domains = RangeSet(done.ranges())
    for each in found:
        assert not domains.within(each.first, each.last), (found, done)
        domains.add(each.first, each.last)
        assert all(each.first <= low <= high <= each.last for low, high in each.ranges)
    covered = {at for each in found for low, high in each.ranges for at in range(low, high + 1)}
    asked = {at for group in wanted for at in range(group.first, group.last + 1)}
    assert covered == {at for at in claimed & asked if at not in done} | (covered - asked)
    assert covered <= claimed


# -- how a change shows -----------------------------------------------------------------------------------

WHOLE = Claims([Covered(0, 9)], [Absence(10, 11)], [])


@pytest.mark.parametrize(
    ("now", "excused"),
    [
        (Claims([Covered(0, 9)], [Absence(10, 11)], []), None),
        (Claims([Covered(0, 4), Covered(5, 9, "rest", 90, 110)], [Absence(10, 11)]), True),  # fetched again
        (Claims([Covered(0, 4), Covered(5, 9, "rest", 10, 20)], [Absence(10, 11)]), False),  # the source was altered
        (Claims([Covered(0, 8)], [Absence(10, 11)]), False),
        (Claims([], [Absence(10, 11)], [Covered(0, 9, "policy", 110, 110)]), True),  # dropped
        (Claims([Covered(0, 9)], [Absence(10, 10)]), False),
        (Claims([Covered(0, 9)], [Absence(10, 11, "another proof")]), False),
        (Claims([Covered(0, 9), Covered(10, 11, "archive", 110, 110)]), True),  # it was somewhere after all
        (Claims([Covered(0, 9)], [Absence(10, 11)], [Covered(3, 4, "hand", 110, 110)]), False),
    ],
)
def test_a_change_is_excused_only_when_it_was_made_on_purpose_since(now: Claims, excused: bool | None) -> None:
    found = changes(seal(WHOLE, 0, 11), now)
    assert [all(each.excused for each in found)] * bool(found) == [excused] * (excused is not None)


# -- the chain --------------------------------------------------------------------------------------------


def test_a_whole_chain_has_nothing_wrong() -> None:
    seals = chain(4)
    assert broken_links(seals, head_of(seals)) == []
    assert broken_links([], None) == []


@pytest.mark.parametrize("gone", range(4))
def test_a_seal_that_is_gone_is_missed(gone: int) -> None:
    seals = chain(4)
    head = head_of(seals)
    assert broken_links([each for each in seals if each.number != gone], head)


@pytest.mark.parametrize("field", [name for name in Seal.__struct_fields__ if name not in {"before", "replaces"}])
def test_any_changed_field_shows(field: str) -> None:
    seals = chain(3)
    value = getattr(seals[1], field)
    seals[1] = msgspec.structs.replace(seals[1], **{field: value + 1000 if isinstance(value, int) else value + "x"})
    assert broken_links(seals, head_of(chain(3)))


def test_a_head_that_does_not_fit_shows() -> None:
    seals = chain(3)
    head = head_of(seals)
    assert broken_links(seals, None)
    assert broken_links(seals[:2], head)
    assert broken_links([], head)
    wrong = [
        head._replace(seal="x"),
        head._replace(reach=5),
        head._replace(until_ns=5),
        Head(1, seals[1].seal, 29, 2000),
    ]
    for each in wrong:
        assert broken_links(seals, each)


def test_a_seal_that_replaces_another_answers_alone() -> None:
    seals = chain(2)
    claims = Claims([Covered(0, 9, "rest")])
    seals.append(seal(claims, 0, 9, number=2, before=seals[1].seal, replaces=0, reason="repaired"))
    assert broken_links(seals, head_of(seals)) == []
    assert [each.number for each in current(seals)] == [1, 2]
    # the same without saying that it replaces one
    seals[2] = seal(claims, 0, 9, number=2, before=seals[1].seal)
    assert broken_links(seals, head_of(seals))
