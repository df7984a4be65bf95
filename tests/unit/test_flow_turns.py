"""Processes that share a directory of archive files take turns; the tasks of one share what it has."""

import asyncio
import errno
import fcntl
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from flow_doubles import until

from crypto_quant.binance.archive import ArchiveFile
from crypto_quant.binance.streams import Stream
from crypto_quant.binance.venues import StreamKind
from crypto_quant.flow import turns
from crypto_quant.flow.turns import FileTurns
from crypto_quant.market import Venue


def day(number: int = 3, symbol: str = "btcusdt") -> ArchiveFile:
    one = date(2026, 10, number)
    return ArchiveFile(Venue.SPOT, symbol, Stream(StreamKind.AGG_TRADE), one, one, False)


def month() -> ArchiveFile:
    return ArchiveFile(Venue.SPOT, "btcusdt", Stream(StreamKind.AGG_TRADE), date(2026, 10, 1), date(2026, 10, 31), True)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "_LOOK_AGAIN_S", 0.001)


def left(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def nothing() -> None:
    """Who waits says nothing."""


@pytest.mark.parametrize(("first", "second"), [(day(), day()), (month(), day()), (day(), month())])
async def test_the_second_waits_for_the_first_and_says_so(
    tmp_path: Path, first: ArchiveFile, second: ArchiveFile
) -> None:
    """Two instances are two processes: a lock is of the file that was opened, not of who opened it."""
    order: list[str] = []

    async def other() -> None:
        async with FileTurns(tmp_path).hold(second, lambda: order.append("waits")):
            order.append("works")

    async with FileTurns(tmp_path).hold(first, nothing):
        task = asyncio.create_task(other())
        await until(lambda: bool(order))
        await asyncio.sleep(0.01)
        order.append("ends")
    await task
    assert order == ["waits", "ends", "works"]
    assert left(tmp_path) == []


async def test_of_many_one_works_at_a_time_and_none_is_forgotten(tmp_path: Path) -> None:
    """The file of a lock is deleted under those who wait for it: none may go on with one that is gone."""
    at_work, done = 0, 0

    async def work() -> None:
        nonlocal at_work, done
        async with FileTurns(tmp_path).hold(day(), nothing):
            at_work += 1
            assert at_work == 1
            await asyncio.sleep(0.001)
            at_work -= 1
            done += 1

    await asyncio.gather(*(work() for _ in range(20)))
    assert done == 20
    assert left(tmp_path) == []


async def test_the_tasks_of_one_process_share_a_month(tmp_path: Path) -> None:
    mine = FileTurns(tmp_path)
    told: list[str] = []
    async with mine.hold(day(3), nothing), mine.hold(day(4), lambda: told.append("waits")):
        assert len(left(tmp_path)) == 1
    assert not told
    assert left(tmp_path) == []


async def test_other_series_and_months_are_not_waited_for(tmp_path: Path) -> None:
    november = ArchiveFile(
        Venue.SPOT, "btcusdt", Stream(StreamKind.AGG_TRADE), date(2026, 11, 3), date(2026, 11, 3), False
    )
    told: list[str] = []
    tell: Callable[[], None] = lambda: told.append("waits")  # noqa: E731
    async with FileTurns(tmp_path).hold(day(), nothing):
        for other in (day(symbol="ethusdt"), november):
            async with FileTurns(tmp_path).hold(other, tell):
                pass
    assert not told


async def test_who_fails_or_is_cancelled_gives_it_back(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="broken"):
        async with FileTurns(tmp_path).hold(day(), nothing):
            raise ValueError("broken")
    async with FileTurns(tmp_path).hold(day(), nothing):
        started = asyncio.Event()

        async def waits() -> None:
            async with FileTurns(tmp_path).hold(day(), started.set):
                raise AssertionError("it is held")

        task = asyncio.create_task(waits())
        await started.wait()
        task.cancel()
        await asyncio.wait({task})
    async with FileTurns(tmp_path).hold(day(), nothing):
        pass


async def test_a_file_system_without_locks_is_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    async with FileTurns(tmp_path).hold(day(), nothing):
        pass
