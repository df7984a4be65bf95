from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from crypto_quant.completeness import (
    DROPPED,
    GONE,
    MISSING,
    UNPROVEN,
    Edge,
    Known,
    Lack,
    Tally,
    lacks_of_candles,
    lacks_of_trades,
    parted,
    timed,
)
from crypto_quant.continuity import RangeSet
from crypto_quant.evidence import Span

US = 1000


def known(stored: list[tuple[int, int]], *excused: tuple[int, int], dropped: Sequence[tuple[int, int]] = ()) -> Known:
    return Known(RangeSet(stored), RangeSet(excused), RangeSet(dropped))


def test_claims_without_rows_are_excused() -> None:
    found = Known.of([(1, 5, "stream"), (6, 7, "void"), (8, 9, "rest"), (10, 10, "absent")])
    assert (found.stored.ranges(), found.excused.ranges()) == ([(1, 5), (8, 9)], [(6, 7), (10, 10)])
    assert found.missing(0, 12) == [(0, 0), (11, 12)]
    assert found.missing(5, 4) == []
    assert found.sides(11, 12) == (9, 13)
    assert found.sides(4, 5) == (3, 8)


def test_what_was_fetched_again_is_not_dropped() -> None:
    found = Known.of([(3, 5, "archive"), (8, 8, "void")], [(1, 4), (7, 9)])
    assert found.dropped.ranges() == [(1, 2), (7, 9)]
    assert found.parts(0, 2) == [(0, 0, False), (1, 2, True)]
    assert found.parts(1, 2) == [(1, 2, True)]


def test_a_lack_says_what_and_when() -> None:
    assert str(Lack(0, 10**9, 3, 5, MISSING)) == "1970-01-01T00:00:00Z to 1970-01-01T00:00:01Z: 3 to 5 missing"
    assert str(Lack(0, 10**9, None, None, UNPROVEN)).endswith(": not proven")
    assert str(Lack(0, 10**9, 3, 5, DROPPED)).endswith(": 3 to 5 dropped on purpose")
    assert str(Lack(0, 10**9, None, None, DROPPED)).endswith(": dropped on purpose, as far as it was recorded")
    assert (Lack(0, 1, 3, 5, MISSING).size, Lack(0, 1, None, None, UNPROVEN).size) == (3, None)


def test_an_edge_is_proven_by_the_row_beyond_it() -> None:
    span, edges = Span(0, 100 * US), (Edge(5, 10 * US), Edge(9, 90 * US))
    whole = known([(1, 20)])
    assert lacks_of_trades(span, whole, edges, Edge(4, -1), Edge(10, 100 * US)) == []
    assert lacks_of_trades(span, whole, edges, Edge(2, -1), Edge(10, 100 * US)) == [
        Lack(0, 10 * US, 3, 4, MISSING)
    ]  # known or not: its row is gone
    assert lacks_of_trades(span, whole, edges, None, None) == [
        Lack(0, 10 * US, None, None, UNPROVEN),
        Lack(91 * US, 100 * US, None, None, UNPROVEN),
    ]
    assert lacks_of_trades(span, whole, edges, None, None, ends=(False, False)) == []
    assert lacks_of_trades(span, known([(5, 9)], (3, 4), (10, 11)), edges, Edge(2, -1), Edge(12, 100 * US)) == []


def test_nothing_precedes_the_first_trade_of_all() -> None:
    span = Span(-1000, 100 * US)
    for claims in (known([(0, 9)]), known([(2, 9)], (0, 1))):
        first = claims.stored.ranges()[0][0]
        assert lacks_of_trades(span, claims, (Edge(first, 0), Edge(9, 9)), None, Edge(10, 100 * US)) == []


def test_a_span_without_trades() -> None:
    span = Span(0, 100)
    assert lacks_of_trades(span, known([]), None, Edge(4, -1), Edge(5, 100)) == []
    assert lacks_of_trades(span, known([]), None, Edge(4, -1), Edge(7, 100)) == [Lack(0, 100, 5, 6, MISSING)]
    for beside in ((None, Edge(5, 100)), (Edge(4, -1), None), (None, None)):
        assert lacks_of_trades(span, known([]), None, *beside) == [Lack(0, 100, None, None, UNPROVEN)]


def test_the_dropped_are_parted_from_the_missing() -> None:
    claims = known([(0, 9)], dropped=[(12, 13), (15, 20)])
    gone, unproven = Lack(0, 9, 12, 13, GONE), Lack(0, 9, None, None, UNPROVEN)
    assert parted([Lack(0, 9, 11, 16, MISSING), gone, unproven], claims) == [
        Lack(0, 9, 11, 11, MISSING), Lack(0, 9, 12, 13, DROPPED), Lack(0, 9, 14, 14, MISSING),
        Lack(0, 9, 15, 16, DROPPED), gone, unproven,
    ]  # fmt: skip


def test_where_no_id_can_be_told_it_was_dropped_when_those_next_to_it_were() -> None:
    span, edges = Span(0, 100 * US), (Edge(50, 10 * US), Edge(59, 90 * US))

    def before(claims: Known) -> list[tuple[int, str]]:
        found = lacks_of_trades(span, claims, edges, None, None, ends=(True, False))
        assert all((each.start, each.first, each.last) == (0, None, None) for each in found)
        assert found == lacks_of_trades(Span(0, 10 * US), claims, None, None, edges[0])  # nothing there but beyond
        return [(each.end // US, each.why) for each in found]

    assert before(known([(50, 59)], dropped=[(20, 49)])) == [(10, DROPPED)]
    assert before(known([(50, 59)], (45, 49), dropped=[(20, 44)])) == [(10, DROPPED)]
    assert before(known([(50, 59)], dropped=[(20, 30), (32, 49)])) == [(10, DROPPED), (10, UNPROVEN)]
    assert before(known([(50, 59)], dropped=[(20, 48)])) == [(10, DROPPED), (10, UNPROVEN)]
    # between those that were dropped and this row others are stored: those that lack here are none of them
    assert before(known([(31, 59)], dropped=[(20, 30)])) == [(10, UNPROVEN)]
    assert before(known([(50, 59)], dropped=[(60, 70)])) == [(10, UNPROVEN)]

    def after(claims: Known) -> list[str]:
        found = lacks_of_trades(span, claims, edges, None, None, ends=(False, True))
        assert found == lacks_of_trades(Span(91 * US, 100 * US), claims, None, edges[1], None)
        return [each.why for each in found]

    assert after(known([(50, 59)], dropped=[(60, 70)])) == [DROPPED, UNPROVEN]
    assert after(known([(50, 59)], dropped=[(20, 49)])) == [UNPROVEN]
    assert [each.why for each in lacks_of_trades(span, known([], dropped=[(0, 9)]), None, None, None)] == [
        DROPPED, UNPROVEN,
    ]  # fmt: skip


def test_times_are_those_of_the_rows_beside() -> None:
    lack = Lack(0, 100 * US, 5, 6, MISSING)
    assert timed(lack, known([]), {}) == lack
    assert timed(lack, known([], (7, 7)), {4: 10 * US, 8: 30 * US}) == Lack(10 * US, 31 * US, 5, 6, MISSING)
    assert timed(lack, known([]), {4: -5, 7: 200 * US}) == lack
    unproven = Lack(0, 1, None, None, UNPROVEN)
    assert timed(unproven, known([]), {4: 1}) == unproven


def test_candles_are_known_by_slot() -> None:
    def found(claims: Known) -> list[tuple[int, int, int, int, str]]:
        return [
            (each.start, each.end, each.first or 0, each.last or 0, each.why)
            for each in lacks_of_candles(10, 20, claims, lambda slot: slot * 60)
        ]

    assert found(known([(5, 25)])) == []
    assert found(known([(12, 14), (16, 18)], (15, 15))) == [
        (600, 720, 10, 11, UNPROVEN), (1140, 1260, 19, 20, UNPROVEN),
    ]  # fmt: skip
    assert found(known([(5, 14), (17, 30)])) == [(900, 1020, 15, 16, MISSING)]
    assert found(known([])) == [(600, 1260, 10, 20, UNPROVEN)]
    assert found(known([(16, 18)], dropped=[(12, 13), (15, 15)])) == [
        (600, 720, 10, 11, UNPROVEN), (720, 840, 12, 13, DROPPED), (840, 900, 14, 14, MISSING),
        (900, 960, 15, 15, DROPPED), (1140, 1260, 19, 20, UNPROVEN),
    ]  # fmt: skip
    assert found(known([], dropped=[(5, 25)])) == [(600, 1260, 10, 20, DROPPED)]


ID = st.integers(0, 60)
RANGES = st.lists(st.tuples(ID, st.integers(0, 8)).map(lambda pair: (pair[0], sum(pair))), max_size=6)


@given(stored=RANGES, excused=RANGES, rows=st.lists(ID, max_size=60), bounds=st.tuples(ID, ID).map(sorted))
def test_what_was_announced_and_did_not_come(
    stored: list[tuple[int, int]], excused: list[tuple[int, int]], rows: list[int], bounds: list[int]
) -> None:
    claims = known(stored, *excused)
    tally = Tally()
    for row in rows:
        tally.add([(row, row)], 1)
    first, last = bounds
    wanted = {each for each in range(first, last + 1) if each in claims.stored and each not in claims.excused} - set(
        rows
    )
    assert {each for gap in tally.unseen(first, last, claims) for each in range(gap.first, gap.last + 1)} == wanted
    assert tally.rows == len(rows)


@given(stored=RANGES, excused=RANGES, bounds=st.tuples(ID, ID).map(sorted))
def test_missing_is_what_nobody_knows(
    stored: list[tuple[int, int]], excused: list[tuple[int, int]], bounds: list[int]
) -> None:
    claims = known(stored, *excused)
    first, last = bounds
    wanted = {each for each in range(first, last + 1) if each not in claims.stored and each not in claims.excused}
    assert {each for gap in claims.missing(first, last) for each in range(gap.first, gap.last + 1)} == wanted
