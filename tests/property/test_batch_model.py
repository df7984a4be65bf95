"""The batcher against a plain list: no row is lost, doubled or moved, whatever the order of calls."""

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from crypto_quant.batch import Batcher


class BatcherModel(RuleBasedStateMachine):
    """Add and take in any order; time only moves on."""

    @initialize(size=st.integers(1, 5), merge=st.integers(1, 4), age=st.integers(0, 50))
    def begin(self, size: int, merge: int, age: int) -> None:
        self.batcher: Batcher[int] = Batcher(size, age, merge)
        self.size, self.merge, self.age = size, merge, age
        self.now = 0
        self.added = 0
        self.waiting: list[int] = []
        self.taken: list[int] = []
        self.opened = 0

    @rule(step=st.integers(0, 30))
    def add(self, step: int) -> None:
        self.now += step
        if not self.waiting:
            self.opened = self.now
        self.waiting.append(self.added)
        assert self.batcher.add(b"%d\n" % self.added, self.added, self.now) == len(self.waiting)
        self.added += 1

    @rule(step=st.integers(0, 30))
    def take(self, step: int) -> None:
        self.now += step
        most = self.size * self.merge
        expected, self.waiting = self.waiting[:most], self.waiting[most:]
        rows, marks = self.batcher.take(self.now)
        assert marks == expected
        assert rows == [b"%d\n" % number for number in expected]
        self.taken += marks
        self.opened = self.now

    @invariant()
    def nothing_is_lost(self) -> None:
        assert self.taken + self.waiting == list(range(self.added))
        assert len(self.batcher) == len(self.waiting)

    @invariant()
    def it_is_due_when_it_should_be(self) -> None:
        due = self.batcher.due_ns()
        if not self.waiting:
            assert due is None
        elif len(self.waiting) >= self.size:
            assert due == 0
        else:
            assert due == self.opened + self.age


TestBatcherModel = BatcherModel.TestCase


@given(st.integers(1, 50), st.integers(1, 5), st.integers(0, 300))
def test_emptying_gives_every_row_once_in_order(size: int, merge: int, rows: int) -> None:
    batcher: Batcher[int] = Batcher(size, 0, merge)
    for number in range(rows):
        batcher.add(b"", number, 0)
    marks: list[int] = []
    while len(batcher):
        marks += batcher.take(0)[1]
    assert marks == list(range(rows))
