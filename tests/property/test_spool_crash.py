"""A crash at any call loses only what was not yet safe, and what comes back comes in order, whole and once a life."""

import asyncio
import contextlib
import random

from flow_doubles import Journal
from hypothesis import given, settings
from hypothesis import strategies as st
from spool_doubles import ForgetfulDisk, ForgetfulFiles, PowerCut

from crypto_quant.errors import SpoolUnavailable
from crypto_quant.flow.spool import Spool
from crypto_quant.seams import Table
from crypto_quant.spoolformat import SpoolRecord


def record(number: int) -> SpoolRecord:
    return SpoolRecord(Table.TRADES, [b"%d" % number, b"x" * (number % 37)])


def number_of(found: SpoolRecord) -> int:
    return int(found.rows[0])


async def opened(disk: ForgetfulDisk) -> Spool:
    spool = Spool(ForgetfulFiles(disk), limit_bytes=100_000, segment_bytes=150, emit=Journal())
    await spool.open()
    return spool


async def drained(spool: Spool) -> list[int]:
    numbers = []
    while (found := await spool.oldest()) is not None:
        segment, records = found
        numbers += [number_of(each) for each in records]
        await spool.done(segment)
    return numbers


class Life:
    """One life of a recorder: puts records, reads the oldest segment now and then, dies at the end."""

    def __init__(self, disk: ForgetfulDisk, first: int) -> None:
        self.disk = disk
        self.safe: list[int] = []
        self.tried: list[int] = []
        self.gone: list[int] = []  # committed, so that the segment may go
        self._next = first

    async def live(self, steps: list[bool]) -> None:
        try:
            spool = await opened(self.disk)
        except OSError:
            return  # a disk that fails at the start: no recorder begins on it
        for put in steps:
            if put:
                number, self._next = self._next, self._next + 1
                self.tried.append(number)
                try:
                    await spool.put(record(number), lambda number=number: self.safe.append(number))  # type: ignore[misc]
                except SpoolUnavailable:
                    continue
            else:
                try:
                    found = await spool.oldest()
                    if found is not None:
                        # everything of it is committed: from now on it may be gone
                        self.gone += [number_of(each) for each in found[1]]
                        await spool.done(found[0])
                except SpoolUnavailable:
                    continue


@given(
    st.lists(st.booleans(), max_size=30),
    st.integers(1, 90),
    st.sets(st.integers(1, 60), max_size=6),
    st.randoms(use_true_random=False),
)
@settings(max_examples=400, deadline=None)
def test_a_crash_at_any_call(steps: list[bool], cut_at: int, failing: set[int], rng: random.Random) -> None:
    disk = ForgetfulDisk(rng)
    disk.cut_at = cut_at
    disk.fails = lambda number, _call: number in failing
    life = Life(disk, 1)

    def die() -> None:
        with contextlib.suppress(PowerCut):
            asyncio.run(life.live(steps))

    die()
    disk = disk.after_crash()
    found = asyncio.run(_next_life(disk))
    assert set(life.safe) - set(life.gone) <= set(found), "something that was safe is lost"
    assert set(found) <= set(life.tried), "something came out that never went in"
    # in order, but for what a failing disk gave back a second time
    if not failing:
        assert found == sorted(set(found))


async def _next_life(disk: ForgetfulDisk) -> list[int]:
    spool = await opened(disk)
    assert spool.records == spool.rows[Table.TRADES] // 2
    return await drained(spool)


@given(st.lists(st.integers(1, 25), min_size=1, max_size=4), st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_crash_after_crash(cuts: list[int], rng: random.Random) -> None:
    """Nothing that was safe in any life is lost in a later one, however often the power goes."""
    disk = ForgetfulDisk(rng)
    safe: list[int] = []
    first = 1
    for cut_at in cuts:
        disk.cut_at = cut_at
        life = Life(disk, first)
        with contextlib.suppress(PowerCut):
            asyncio.run(life.live([True] * 8))
        safe += life.safe
        first += 100
        disk = disk.after_crash()
    found = asyncio.run(_next_life(disk))
    assert set(safe) <= set(found)
    assert found == sorted(set(found))
