"""The batcher against a plain list: no row is lost, doubled or moved, whatever the order of calls."""

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from crypto_quant.batch import Batcher


class BatcherModel(RuleBasedStateMachine):
    """Add and take in any order; time only moves on."""

    @initialize(size=st.integers(1, 5), merge=st.integers(1, 4), age=st.integers(0, 50))
    def begin(self, size: int, merge: int, age: int) -> None:
        self.batcher: Batcher[range] = Batcher(size, age, merge)
        self.size, self.merge, self.age = size, merge, age
        self.now = 0
        self.added = 0
        self.waiting: list[range] = []
        self.taken: list[int] = []
        self.opened = 0

    @rule(step=st.integers(0, 30), rows=st.integers(1, 7))
    def add(self, step: int, rows: int) -> None:
        self.now += step
        if not self.waiting:
            self.opened = self.now
        chunk = range(self.added, self.added + rows)
        self.added += rows
        self.waiting.append(chunk)
        assert self.batcher.add(chunk, self.now) == sum(map(len, self.waiting))

    @rule(step=st.integers(0, 30))
    def take(self, step: int) -> None:
        self.now += step
        expected: list[range] = []
        while self.waiting and (
            not expected or sum(map(len, expected)) + len(self.waiting[0]) <= self.size * self.merge
        ):
            expected.append(self.waiting.pop(0))
        chunks = self.batcher.take(self.now)
        assert chunks == expected
        self.taken += [row for chunk in chunks for row in chunk]
        self.opened = self.now

    @invariant()
    def nothing_is_lost(self) -> None:
        waiting = [row for chunk in self.waiting for row in chunk]
        assert self.taken + waiting == list(range(self.added))
        assert len(self.batcher) == len(waiting)

    @invariant()
    def it_is_due_when_it_should_be(self) -> None:
        due = self.batcher.due_ns()
        if not self.waiting:
            assert due is None
        elif sum(map(len, self.waiting)) >= self.size:
            assert due == 0
        else:
            assert due == self.opened + self.age


TestBatcherModel = BatcherModel.TestCase


@given(st.integers(1, 50), st.integers(1, 5), st.lists(st.integers(1, 40)))
def test_emptying_gives_every_row_once_in_order(size: int, merge: int, chunks: list[int]) -> None:
    batcher: Batcher[range] = Batcher(size, 0, merge)
    rows = 0
    for length in chunks:
        batcher.add(range(rows, rows + length), 0)
        rows += length
    taken: list[int] = []
    while len(batcher):
        taken += [row for chunk in batcher.take(0) for row in chunk]
    assert taken == list(range(rows))
