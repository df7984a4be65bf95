"""When a batch is full."""

import pytest

from crypto_quant.batch import Batcher


def filled(size: int, rows: int, merge: int = 1, max_age_ns: int = 100) -> Batcher[int]:
    batcher: Batcher[int] = Batcher(size, max_age_ns, merge)
    for number in range(rows):
        batcher.add(b"%d\n" % number, number, 1000 + number)
    return batcher


def test_an_empty_batch_is_never_due() -> None:
    assert filled(3, 0).due_ns() is None
    assert filled(3, 0).take(0) == ([], [])


def test_it_is_due_by_the_age_of_its_first_row() -> None:
    assert filled(3, 1).due_ns() == 1100
    assert filled(3, 2).due_ns() == 1100


def test_a_full_batch_is_due_at_once() -> None:
    assert filled(3, 3).due_ns() == 0
    assert filled(3, 4).due_ns() == 0


def test_add_tells_how_many_wait() -> None:
    batcher: Batcher[None] = Batcher(2, 0)
    assert [batcher.add(b"x\n", None, 0) for _ in range(3)] == [1, 2, 3]
    assert len(batcher) == 3


def test_take_gives_the_oldest_rows_with_their_marks() -> None:
    batcher = filled(2, 5)
    assert batcher.take(5000) == ([b"0\n", b"1\n"], [0, 1])
    assert batcher.take(5000) == ([b"2\n", b"3\n"], [2, 3])
    # what stays is a new batch
    assert batcher.due_ns() == 5100
    assert batcher.take(5000) == ([b"4\n"], [4])
    assert batcher.due_ns() is None


def test_a_backlog_is_merged_up_to_its_bound() -> None:
    batcher = filled(2, 10, merge=3)
    assert len(batcher.take(0)[0]) == 6
    assert len(batcher.take(0)[0]) == 4


def test_what_was_taken_is_the_takers_own() -> None:
    batcher = filled(5, 2)
    rows, marks = batcher.take(0)
    batcher.add(b"later\n", 9, 0)
    assert (rows, marks) == ([b"0\n", b"1\n"], [0, 1])


@pytest.mark.parametrize(("size", "age", "merge"), [(0, 0, 1), (-1, 0, 1), (1, -1, 1), (1, 0, 0)])
def test_impossible_bounds_are_refused(size: int, age: int, merge: int) -> None:
    with pytest.raises(ValueError, match="at least"):
        Batcher(size, age, merge)
