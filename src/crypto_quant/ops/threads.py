"""Blocking work beside an event loop, which neither its end nor the program's has to wait for."""

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar, cast

Answer = TypeVar("Answer")


async def in_thread(work: Callable[[], Answer]) -> Answer:
    """Return what ``work`` returns, or raise what it raises.

    It has a thread of its own, which ends with the program: a disk that never answers keeps that one alone.
    """
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[Answer] = loop.create_future()

    def settle(answer: Answer | None, problem: Exception | None) -> None:
        if outcome.done():  # nobody waits any more
            return
        if problem is not None:
            outcome.set_exception(problem)
        else:
            outcome.set_result(cast(Answer, answer))

    def run() -> None:
        answer: Answer | None = None
        problem: Exception | None = None
        try:
            answer = work()
        except Exception as error:  # noqa: BLE001 - handed on
            problem = error
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, answer, problem)

    threading.Thread(target=run, daemon=True).start()
    return await outcome
