"""When a batch is full."""

import pytest

from crypto_quant.batch import Batcher, fitting_age_ns


def filled(size: int, chunks: list[str], merge: int = 1, max_age_ns: int = 100) -> Batcher[str]:
    """Return a batcher with chunks given from 1000 on, one a nanosecond; their letters are rows."""
    batcher: Batcher[str] = Batcher(size, max_age_ns, merge)
    for number, chunk in enumerate(chunks):
        batcher.add(chunk, 1000 + number)
    return batcher


def test_an_empty_batch_is_never_due() -> None:
    assert filled(3, []).due_ns() is None
    assert filled(3, []).take(0) == []


def test_it_is_due_by_the_age_of_its_first_row() -> None:
    assert filled(3, ["a"]).due_ns() == 1100
    assert filled(3, ["a", "b"]).due_ns() == 1100


def test_a_full_batch_is_due_at_once() -> None:
    assert filled(3, ["ab", "c"]).due_ns() == 0
    assert filled(3, ["abcd"]).due_ns() == 0


def test_add_tells_how_many_rows_wait() -> None:
    batcher: Batcher[str] = Batcher(2, 0)
    assert [batcher.add(chunk, 0) for chunk in ("a", "bc", "d")] == [1, 3, 4]
    assert len(batcher) == 4


def test_take_gives_the_oldest_chunks() -> None:
    batcher = filled(2, ["a", "b", "cd", "e"])
    assert batcher.take(5000) == ["a", "b"]
    assert batcher.take(5000) == ["cd"]
    # what stays is a new batch
    assert batcher.due_ns() == 5100
    assert batcher.take(5000) == ["e"]
    assert batcher.due_ns() is None


def test_a_backlog_is_merged_up_to_its_bound() -> None:
    batcher = filled(2, list("abcdefghij"), merge=3)
    assert len(batcher.take(0)) == 6
    assert len(batcher.take(0)) == 4


def test_a_chunk_is_not_divided() -> None:
    batcher = filled(2, ["a", "bcd", "e"])
    assert batcher.take(0) == ["a"]
    assert batcher.take(0) == ["bcd"]
    assert len(batcher) == 1


@pytest.mark.parametrize(("size", "age", "merge"), [(0, 0, 1), (1, -1, 1), (1, 0, 0)])
def test_impossible_limits_are_refused(size: int, age: int, merge: int) -> None:
    with pytest.raises(ValueError, match="at least"):
        Batcher(size, age, merge)


def test_what_was_taken_is_the_takers_own() -> None:
    batcher = filled(5, ["a", "b"])
    taken = batcher.take(0)
    batcher.add("later", 9)
    assert taken == ["a", "b"]


@pytest.mark.parametrize(("commit_ms", "age_ms"), [(0, 5), (2, 5), (4, 8), (20, 40), (30, 50), (5000, 50)])
def test_a_batch_waits_for_twice_as_long_as_commits_take(commit_ms: int, age_ms: int) -> None:
    assert fitting_age_ns(commit_ms * 1_000_000) == age_ms * 1_000_000
