"""Pieces read by several connections at once: their order, what waits, and what becomes of all when one fails."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import cast

import pytest

from crypto_quant.store import sidebyside
from crypto_quant.store.readout import Send, Snapshot, TooWide
from crypto_quant.store.sidebyside import copy_side_by_side

Work = Callable[[int, Send], Awaitable[None]]


class Connection:
    """Stands for a snapshot: does ``work`` for each piece, whose number is its only value."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.had: list[int] = []
        self.ended: list[int] = []

    async def copy_fixed(self, _query: str, values: Sequence[int], send: Send) -> None:
        self.had.append(values[0])
        await self.work(values[0], send)
        self.ended.append(values[0])


async def copied(connections: Sequence[Connection], pieces: int, send: Send) -> None:
    await copy_side_by_side(cast("list[Snapshot]", connections), "", [(piece,) for piece in range(pieces)], send)


class Taken:
    """What was sent: pieces, each its blocks as numbers."""

    def __init__(self) -> None:
        self.pieces: list[list[int]] = []
        self.open: list[int] = []

    async def __call__(self, block: bytearray) -> None:
        await asyncio.sleep(0)
        if block:
            self.open.append(block[0])
        else:
            self.pieces.append(self.open)
            self.open = []


async def test_pieces_leave_whole_and_in_their_order_whoever_is_quicker() -> None:
    async def slow(piece: int, send: Send) -> None:
        for _ in range(5):
            await asyncio.sleep(0.001)
            await send(bytearray([piece]))

    async def quick(piece: int, send: Send) -> None:
        for _ in range(20):
            await send(bytearray([piece]))

    taken, first, second = Taken(), Connection(slow), Connection(quick)
    await copied([first, second], 8, taken)
    assert [set(piece) for piece in taken.pieces] == [{number} for number in range(8)]
    assert [len(piece) for piece in taken.pieces] == [5 if n in first.had else 20 for n in range(8)]
    assert sorted(first.had + second.had) == list(range(8))
    assert first.had
    assert second.had


async def test_one_connection_reads_everything_alone() -> None:
    async def work(piece: int, send: Send) -> None:
        await send(bytearray([piece]))

    taken = Taken()
    await copied([Connection(work)], 3, taken)
    assert taken.pieces == [[0], [1], [2]]


# one block more than those that wait is in the hands of whoever takes none
@pytest.mark.parametrize(("blocks", "most"), [(1000, 2 * sidebyside._BLOCKS_AHEAD + 1), (2, 4)])
async def test_no_more_waits_than_agreed_while_the_reader_takes_nothing(blocks: int, most: int) -> None:
    sent = 0
    stopped = asyncio.Event()

    async def work(piece: int, send: Send) -> None:
        nonlocal sent
        for _ in range(blocks):
            await send(bytearray([piece]))
            sent += 1

    async def never(_block: bytearray) -> None:
        await stopped.wait()

    connections = [Connection(work), Connection(work)]
    copying = asyncio.ensure_future(copied(connections, 50, never))
    for _ in range(200):
        await asyncio.sleep(0)
    assert sent == most
    copying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await copying
    await asyncio.sleep(0)
    assert sorted(number for each in connections for number in each.had) == [0, 1]


@pytest.mark.parametrize("failing", [0, 1, 2, 3])
async def test_a_failure_comes_behind_what_was_had_and_the_other_ends_in_peace(failing: int) -> None:
    async def work(piece: int, send: Send) -> None:
        for at in range(30):
            if piece == failing and at == 3:
                raise TooWide
            await send(bytearray([piece]))

    taken, connections = Taken(), [Connection(work), Connection(work)]
    with pytest.raises(TooWide):
        await copied(connections, 10, taken)
    assert taken.pieces == [[number] * 30 for number in range(failing)]
    assert taken.open == [failing] * 3
    had = [number for each in connections for number in each.had]
    ended = [number for each in connections for number in each.ended]
    assert set(had) - set(ended) == {failing}, "what was begun beside it was to end by itself"
    assert max(had) <= failing + 1, "nothing was to be begun behind it"
