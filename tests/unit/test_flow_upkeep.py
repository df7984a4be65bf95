"""The housekeeper is called now and then, and its troubles end nothing."""

import asyncio

import pytest

from crypto_quant import events
from crypto_quant.errors import StoreUnavailable
from crypto_quant.flow.upkeep import Upkeep

DROPPED = events.OldRowsDropped(table="trades", first_day="2024-08-08", end_day="2024-08-09", rows=3)


class Clock:
    def now_ns(self) -> int:
        return 42


class Housekeeper:
    """Answers what it was given, in turn, then nothing; notes when it was called."""

    def __init__(self, *answers: list[events.Event] | Exception) -> None:
        self.answers = list(answers)
        self.called: list[int] = []
        self.done = asyncio.Event()

    async def keep(self, now_ns: int) -> list[events.Event]:
        self.called.append(now_ns)
        if not self.answers:
            self.done.set()
            return []
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


async def test_what_was_done_is_told_and_trouble_is_tried_again() -> None:
    told: list[object] = []
    keeper = Housekeeper(StoreUnavailable("away"), [DROPPED], [])
    task = asyncio.create_task(Upkeep(keeper, clock=Clock(), emit=told.append, first_s=0, spacing_s=0).run())
    await keeper.done.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert told == [events.UpkeepFailed(cause="away"), DROPPED]
    assert keeper.called[:4] == [42] * 4


async def test_a_broken_invariant_is_not_hidden() -> None:
    with pytest.raises(AssertionError):
        await Upkeep(Housekeeper(AssertionError()), clock=Clock(), emit=print, first_s=0, spacing_s=0).run()
