"""Whatever opens, ends, proves itself or must go, in any order: one owner a slot, and never none where one could be."""

from hypothesis import given
from hypothesis import strategies as st

from crypto_quant.binance.handover import Handover

MOVES = st.lists(st.tuples(st.sampled_from(["open", "must_go", "proven", "end"]), st.integers(0, 3)), max_size=60)


@given(MOVES)
def test_one_owner_and_no_break_that_was_not_an_end(moves: list[tuple[str, int]]) -> None:
    slot = Handover()
    live: list[int] = []  # connections that are up: the slot's and those it let go
    told_to_go: set[int] = set()
    for move, pick in moves:
        had_owner = slot.owner is not None
        if move == "open":
            if slot.wanted:
                live.append(slot.opened())
            continue
        if not live:
            continue
        number = live[pick % len(live)]
        if move == "must_go":
            slot.must_go(number)
            told_to_go.add(number)
        elif move == "proven":
            was_heir = number == slot.heir
            old = slot.proven(number)
            assert (old is not None) == was_heir
            if old is not None:
                # only one that was told to go is let go, and only for one that is up
                assert old in told_to_go
                assert slot.owner == number
                live.remove(old)
        else:
            live.remove(number)
            slot.ended(number)
        if had_owner and move != "end":
            assert slot.owner is not None
        # the slot's connections are just those that are up: an owner first, an heir only beside it
        assert sorted(live) == sorted(each for each in (slot.owner, slot.heir) if each is not None)
        assert slot.owner is not None or slot.heir is None
        # an owner that must go always gets an heir, one that need not never does
        if slot.owner is not None and slot.heir is None:
            assert slot.wanted == (slot.owner in told_to_go)
        if slot.owner is None:
            assert slot.wanted
