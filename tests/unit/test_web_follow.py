"""The follower: it tells of each change once, and of a recorder's death."""

import asyncio
import os
from pathlib import Path

import pytest

from crypto_quant.ops import board
from crypto_quant.snapshot import Phase, Snapshot, StoreView
from crypto_quant.web.follow import REMEMBER_S, Follower


def snapshot(taken_ns: int = 2) -> Snapshot:
    return Snapshot(
        version="0", pid=os.getpid(), started_ns=1, taken_ns=taken_ns, phase=Phase.RECORDING, venue="spot", symbols=1,
        store=StoreView(database="h:1/d"),
    )  # fmt: skip


class Watch:
    """A clock that stands until it is set."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


async def test_each_change_is_told_once(tmp_path: Path) -> None:
    follower = Follower(tmp_path)
    await follower.look()
    assert follower.version == 0
    assert not follower.boards
    writer = board.put_up(tmp_path)
    await follower.look()
    assert follower.version == 1
    assert follower.boards[writer.path].snapshot is None
    writer.show(snapshot(5))
    await follower.look()
    await follower.look()
    assert follower.version == 2
    seen = follower.boards[writer.path]
    assert seen.alive
    assert seen.snapshot == snapshot(5)
    writer.take_down()


async def test_who_waits_is_woken_by_the_next_change_alone(tmp_path: Path) -> None:
    follower = Follower(tmp_path, poll_s=0.005)
    assert await asyncio.wait_for(follower.changed(-1), 5) == 0
    running = asyncio.create_task(follower.run())
    waiting = [asyncio.create_task(follower.changed(0)) for _ in range(100)]
    await asyncio.sleep(0.05)
    assert not any(task.done() for task in waiting)
    writer = board.put_up(tmp_path)
    assert await asyncio.wait_for(asyncio.gather(*waiting), 10) == [1] * 100
    running.cancel()
    writer.take_down()


async def test_a_recorder_that_ended_is_told_of_for_a_minute(tmp_path: Path) -> None:
    watch = Watch()
    follower = Follower(tmp_path, monotonic=watch)
    writer = board.put_up(tmp_path)
    writer.show(snapshot())
    await follower.look()
    writer.take_down()
    await follower.look()
    assert follower.version == 2
    assert not follower.boards[writer.path].alive
    assert follower.boards[writer.path].snapshot == snapshot()
    assert follower.ended == {writer.path}
    watch.now_s += REMEMBER_S - 1
    await follower.look()
    assert follower.version == 2
    watch.now_s += 2
    await follower.look()
    assert follower.version == 3
    assert not follower.boards


async def test_a_killed_recorder_is_told_of_while_its_board_stands(tmp_path: Path) -> None:
    watch = Watch()
    follower = Follower(tmp_path, monotonic=watch)
    path = tmp_path / "1.board"
    writer = board.put_up(tmp_path)
    writer.show(snapshot())
    path.write_bytes(writer.path.read_bytes())  # a board that nobody holds
    writer.take_down()
    for _ in range(3):
        await follower.look()
        assert not follower.boards[path].alive
        assert not follower.ended
        watch.now_s += REMEMBER_S + 1
    assert follower.version == 1
    assert follower.unchanged_s(path) == pytest.approx(3 * (REMEMBER_S + 1))
    path.unlink()
    await follower.look()
    assert not follower.boards


async def test_a_torn_board_shows_what_stood_there_before(tmp_path: Path) -> None:
    follower = Follower(tmp_path)
    writer = board.put_up(tmp_path)
    writer.show(snapshot())
    await follower.look()
    whole = writer.path.read_bytes()
    writer.path.write_bytes(whole[:-1] + b"!")
    await follower.look()
    assert follower.version == 1
    assert follower.boards[writer.path].snapshot == snapshot()
    writer.take_down()


async def test_a_new_recorder_of_the_same_number_shows_nothing_of_the_dead_one(tmp_path: Path) -> None:
    """In a container every recorder has the same process id."""
    follower = Follower(tmp_path)
    writer = board.put_up(tmp_path)
    writer.show(snapshot())
    await follower.look()
    writer.take_down()
    await follower.look()
    writer = board.put_up(tmp_path)
    await follower.look()
    assert follower.boards[writer.path].alive
    assert follower.boards[writer.path].snapshot is None
    writer.take_down()


async def test_only_one_is_followed_when_it_is_named(tmp_path: Path) -> None:
    writer = board.put_up(tmp_path)
    writer.show(snapshot())
    (tmp_path / "1.board").write_bytes(writer.path.read_bytes())
    follower = Follower(tmp_path, only=writer.path)
    await follower.look()
    assert list(follower.boards) == [writer.path]
    missing = Follower(tmp_path, only=tmp_path / "2.board")
    await missing.look()
    assert not missing.boards
    writer.take_down()


async def test_a_directory_that_is_not_there_yet_shows_nothing(tmp_path: Path) -> None:
    follower = Follower(tmp_path / "none")
    await follower.look()
    assert not follower.boards
