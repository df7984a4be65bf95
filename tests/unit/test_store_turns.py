"""Who extends what is proven first, when batches are stored side by side."""

import asyncio

import pytest

from crypto_quant.store import turns as turns_module
from crypto_quant.store.turns import Turns


async def one(turns: Turns, order: int, may: asyncio.Event, came: list[int]) -> None:
    with turns.turn(order) as turn:
        await may.wait()
        await turn.come()
        came.append(order)
        await asyncio.sleep(0)


def goes(turns: Turns, came: list[int], *orders: int) -> tuple[list[asyncio.Event], list["asyncio.Task[None]"]]:
    gates = [asyncio.Event() for _ in orders]
    tasks = [asyncio.create_task(one(turns, order, gate, came)) for order, gate in zip(orders, gates, strict=True)]
    return gates, tasks


async def test_a_later_batch_waits_for_an_earlier_one() -> None:
    came: list[int] = []
    (first, second, third), tasks = goes(Turns(), came, 1, 2, 3)
    await asyncio.sleep(0)
    third.set()
    second.set()
    await asyncio.sleep(0.01)
    assert came == []
    first.set()
    await asyncio.gather(*tasks)
    assert came == [1, 2, 3]


async def test_nobody_waits_for_a_batch_that_has_failed_or_is_in_no_order() -> None:
    came: list[int] = []
    turns = Turns()
    (_, _, last), tasks = goes(turns, came, 1, 0, 2)
    await asyncio.sleep(0)
    tasks[0].cancel()
    last.set()
    await asyncio.wait_for(tasks[2], 0.5)
    assert came == [2]
    tasks[1].cancel()
    await asyncio.wait(tasks)
    assert turns._under_way == {}


async def test_nobody_waits_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns_module, "_PATIENCE_S", 0.01)
    came: list[int] = []
    (first, second), tasks = goes(Turns(), came, 1, 2)
    second.set()
    await tasks[1]
    first.set()
    await tasks[0]
    assert came == [2, 1]


async def test_who_takes_the_long_way_lets_the_others_go_first() -> None:
    turns = Turns()
    with turns.turn(1) as first, turns.turn(2) as second:
        waiting = asyncio.create_task(second.come())
        await asyncio.sleep(0)
        assert not waiting.done()
        first.over()
        await asyncio.wait_for(waiting, 0.5)
