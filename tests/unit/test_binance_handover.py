"""The rules of a handover, one by one (see property/test_handover for all orders of them)."""

import pytest

from crypto_quant.binance.handover import Handover


def test_the_first_connection_owns_the_slot() -> None:
    slot = Handover()
    assert slot.wanted
    first = slot.opened()
    assert (slot.owner, slot.heir, slot.wanted, slot.rolling) == (first, None, False, False)
    assert slot.proven(first) is None


def test_an_heir_takes_over_when_it_is_proven() -> None:
    slot = Handover()
    old = slot.opened()
    slot.must_go(old)
    assert slot.wanted
    assert slot.rolling
    heir = slot.opened()
    assert (slot.owner, slot.heir, slot.wanted) == (old, heir, False)
    assert slot.proven(heir) == old
    assert (slot.owner, slot.heir, slot.wanted) == (heir, None, False)
    slot.ended(old)
    assert slot.owner == heir


def test_an_heir_that_was_told_to_go_takes_over_and_is_replaced_in_turn() -> None:
    slot = Handover()
    old = slot.opened()
    slot.must_go(old)
    heir = slot.opened()
    slot.must_go(heir)
    slot.proven(heir)
    assert slot.owner == heir
    assert slot.wanted


def test_an_owner_that_ends_leaves_the_slot_to_its_heir() -> None:
    slot = Handover()
    old = slot.opened()
    slot.must_go(old)
    heir = slot.opened()
    slot.ended(old)
    assert (slot.owner, slot.heir, slot.wanted) == (heir, None, False)
    slot.ended(heir)
    assert slot.owner is None
    assert slot.wanted


def test_an_heir_that_ends_leaves_the_owner_where_it_is() -> None:
    slot = Handover()
    old = slot.opened()
    slot.must_go(old)
    slot.ended(slot.opened())
    assert slot.owner == old
    assert slot.wanted


def test_a_slot_takes_no_connection_that_it_does_not_want() -> None:
    slot = Handover()
    slot.opened()
    with pytest.raises(ValueError, match="only when it wants one"):
        slot.opened()
