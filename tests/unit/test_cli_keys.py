"""Keys: whatever a terminal sends, whole or in pieces."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_quant.cli.keys import Keys

ALL = b"q?s \x1b[A\x1bOB\x1b[5~\x1b[6~\x1b[H\x1b[4~\tG\x1b[1;5C+"
NAMES = ["q", "?", "s", "space", "up", "down", "page up", "page down", "home", "end", "tab", "end", "+"]


def test_keys_by_name() -> None:
    assert Keys().feed(ALL) == NAMES


@given(st.lists(st.integers(0, len(ALL)), max_size=12))
def test_a_key_that_comes_in_pieces_is_one_key(cuts: list[int]) -> None:
    keys = Keys()
    ends = [0, *sorted(cuts), len(ALL)]
    assert [key for begin, end in pairwise(ends) for key in keys.feed(ALL[begin:end])] == NAMES


def test_escape_alone_holds_up_no_other_key() -> None:
    keys = Keys()
    assert keys.feed(b"\x1b") == []
    assert keys.feed(b"q") == ["q"]


@given(st.lists(st.binary(max_size=40), max_size=5))
def test_nothing_that_is_typed_breaks_it_or_is_kept_for_ever(pieces: list[bytes]) -> None:
    keys = Keys()
    for piece in pieces:
        keys.feed(piece)
    assert keys.feed(b"\x1b" * 40 + b"  q")[-1:] == ["q"]
    assert len(keys._begun) < 20


@pytest.mark.parametrize("data", ["é".encode(), b"\xff\x80", b"\x1b[200~"])
def test_what_is_unknown_is_no_key(data: bytes) -> None:
    assert Keys().feed(data) == []
