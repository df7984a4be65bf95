"""The event loop of the simulated world: time that jumps, and processes that die without a last word."""

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

import pytest

from crypto_quant.sim.world.loop import Process, Standstill, VirtualLoop


def run(work: Coroutine[Any, Any, Any], loop: VirtualLoop | None = None) -> Any:
    loop = loop or VirtualLoop()
    try:
        return loop.run_until_complete(work)
    finally:
        loop.dispose()


def test_a_day_passes_at_once() -> None:
    async def day() -> float:
        before = asyncio.get_running_loop().time()
        await asyncio.sleep(86_400)
        return asyncio.get_running_loop().time() - before

    began = time.monotonic()
    assert run(day()) == pytest.approx(86_400, abs=1e-3)
    assert time.monotonic() - began < 5


def test_timers_run_in_order() -> None:
    seen: list[int] = []

    async def note(number: int) -> None:
        await asyncio.sleep(number / 10)
        seen.append(number)

    async def all_of_them() -> None:
        async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
            for number in (3, 1, 2):
                tasks.create_task(note(number))

    run(all_of_them())
    assert seen == [1, 2, 3]


def test_waiting_for_nothing_is_told() -> None:
    with pytest.raises(Standstill, match="nothing is left"):
        run(asyncio.Event().wait())


def test_turning_on_the_spot_is_told() -> None:
    async def spin() -> None:
        while True:  # noqa: ASYNC110  # that is the point
            await asyncio.sleep(0)

    with pytest.raises(Standstill, match="without a pause"):
        run(spin())


@pytest.mark.parametrize("steps", range(1, 12))
def test_the_dead_take_no_step_and_say_no_last_word(steps: int) -> None:
    said: list[str] = []
    loop = VirtualLoop()

    async def child() -> None:
        try:
            await asyncio.sleep(5)
        finally:
            said.append("child")

    async def parent() -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(child())
                while True:  # noqa: ASYNC110  # many steps to die at
                    await asyncio.sleep(0.3)
        finally:
            said.append("parent")

    async def world() -> list[str]:
        process = Process("p", loop)
        process.crash_after(steps)
        task = process.start(parent())
        await asyncio.sleep(60)
        assert not process.alive
        assert not task.done()
        return list(said)

    assert run(world(), loop) == []


def test_others_live_on() -> None:
    loop = VirtualLoop()
    ticks: dict[str, int] = {}

    async def tick(name: str) -> None:
        while True:
            ticks[name] = ticks.get(name, 0) + 1
            await asyncio.sleep(1)

    async def world() -> None:
        one, other = Process("one", loop), Process("other", loop)
        one.start(tick("one"))
        other.start(tick("other"))
        await asyncio.sleep(10.5)
        one.crash()
        await asyncio.sleep(10)
        other.crash()

    run(world(), loop)
    assert ticks == {"one": 11, "other": 21}
