"""Two batches on their way at once: when the second sets out, and that no order of their ends loses or claims a row."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from crypto_quant.errors import StoreRejected, StoreUnavailable
from crypto_quant.flow import writer as writer_module
from crypto_quant.seams import Batch, Receipt, Table
from tests.flow_doubles import MemorySink, until
from tests.unit.test_flow_writer import Bench, number_of

SIZE = 2
AHEAD = writer_module._BATCHES_AHEAD * SIZE


class HeldSink(MemorySink):
    """Holds each batch of trades until it is let go, or told to fail, by its order."""

    def __init__(self) -> None:
        super().__init__()
        self.under_way: dict[int, asyncio.Future[None]] = {}
        self.orders: list[int] = []

    async def write(self, batch: Batch) -> Receipt:
        if batch.order:
            self.orders.append(batch.order)
            self.under_way[batch.order] = held = asyncio.get_running_loop().create_future()
            try:
                await held
            finally:
                del self.under_way[batch.order]
        return await super().write(batch)

    def let(self, order: int, error: Exception | None = None) -> None:
        if error is None:
            self.under_way[order].set_result(None)
        else:
            self.under_way[order].set_exception(error)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "_FIRST_RETRY_S", 0.001)
    monkeypatch.setattr(writer_module, "_LAST_RETRY_S", 0.004)


@asynccontextmanager
async def two_under_way(
    bench: Bench, sink: HeldSink, first: Sequence[int], second: Sequence[int]
) -> AsyncIterator[None]:
    async with bench.running():
        bench.give(first)
        await until(lambda: 1 in sink.under_way)
        bench.give(second)
        await until(lambda: 2 in sink.under_way)
        yield


def ids_of(batch: Batch) -> list[int]:
    return [number_of(line) for line in batch.rows]


async def test_a_second_batch_sets_out_when_enough_rows_wait_and_not_before() -> None:
    sink = HeldSink()
    bench = Bench(sink, batch_size=SIZE)
    async with bench.running():
        bench.give(range(SIZE))
        await until(lambda: 1 in sink.under_way)
        bench.give(range(SIZE, SIZE + AHEAD - 1))
        await asyncio.sleep(0.02)
        assert sink.orders == [1]
        bench.give([SIZE + AHEAD - 1])
        await until(lambda: 2 in sink.under_way)
        # never a third
        bench.give(range(100, 100 + 2 * AHEAD))
        await asyncio.sleep(0.02)
        assert sink.orders == [1, 2]
        sink.let(2)
        await until(lambda: 3 in sink.under_way)
        sink.let(1)
        sink.let(3)
        await bench.writer.flush()
    assert sorted(bench.stored()) == [*range(SIZE + AHEAD), *range(100, 100 + 2 * AHEAD)]
    # each batch has proved its own rows
    for batch in sink.batches:
        assert [number for each in batch.covered for number in range(each.first, each.last + 1)] == ids_of(batch)


async def test_a_flush_waits_for_the_older_batch_though_a_newer_one_has_brought_more_rows() -> None:
    sink = HeldSink()
    bench = Bench(sink, batch_size=SIZE)
    async with two_under_way(bench, sink, range(SIZE), range(SIZE, SIZE + AHEAD)):
        flushing = asyncio.create_task(bench.writer.flush())
        sink.let(2)
        await until(lambda: len(bench.stored()) == AHEAD)
        await asyncio.sleep(0.01)
        assert not flushing.done()
        sink.let(1)
        await flushing
    assert sorted(bench.stored()) == list(range(SIZE + AHEAD))


@pytest.mark.parametrize("fails", [1, 2])
async def test_one_of_them_may_fail_and_is_tried_again(fails: int) -> None:
    sink = HeldSink()
    bench = Bench(sink, batch_size=SIZE)
    async with two_under_way(bench, sink, range(SIZE), range(SIZE, SIZE + AHEAD)):
        sink.let(fails, StoreUnavailable("connection reset"))
        sink.let(3 - fails)
        await until(lambda: sink.orders == [1, 2, fails])
        sink.let(fails)
        await bench.writer.flush()
    assert sorted(bench.stored()) == list(range(SIZE + AHEAD))
    assert bench.writer.pending == 0


async def test_one_of_them_may_be_divided_while_the_other_is_stored() -> None:
    sink = HeldSink()
    bench = Bench(sink, batch_size=SIZE)
    sink.refuses = lambda line: number_of(line) == 5
    async with two_under_way(bench, sink, range(SIZE), range(SIZE, SIZE + AHEAD)):
        sink.let(2, StoreRejected("a bad row"))
        await until(lambda: len(bench.stored()) == AHEAD - 1)
        sink.let(1)
        await bench.writer.flush()
    assert sorted(bench.stored()) == [number for number in range(SIZE + AHEAD) if number != 5]
    assert [number_of(raw) for _, raw, _ in bench.quarantine.kept] == [5]


async def test_what_two_batches_held_is_left_in_its_order_and_goes_first_in_the_next_run() -> None:
    sink = HeldSink()
    bench = Bench(sink, batch_size=SIZE)
    async with two_under_way(bench, sink, range(SIZE), range(SIZE, SIZE + AHEAD)):
        bench.give([77])
    assert bench.left() == [*range(SIZE + AHEAD), 77]
    assert (bench.writer.pending, bench.stored()) == (SIZE + AHEAD + 1, [])
    async with bench.running():
        for order in (1, 2, 3):
            await until(lambda order=order: order in sink.under_way)  # type: ignore[misc]
            sink.let(order)
        await bench.writer.flush()
    assert [ids_of(batch) for batch in sink.batches if batch.table is Table.TRADES] == [
        list(range(SIZE)),
        list(range(SIZE, SIZE + AHEAD)),
        [77],
    ]
