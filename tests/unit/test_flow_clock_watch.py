"""A clock that is off, in either way: found out over REST, told once, and taken out of lag."""

import asyncio
import random

import pytest
from flow_doubles import Journal, until

from crypto_quant import events
from crypto_quant.binance.venues import venue_spec
from crypto_quant.errors import ExchangeUnavailable
from crypto_quant.flow import clock_watch as clock_watch_module
from crypto_quant.flow.clock_watch import ClockWatch
from crypto_quant.flow.rest import ExchangeRest
from crypto_quant.flow.stats import PipelineStats
from crypto_quant.health import clock_off_ms
from crypto_quant.market import NS_PER_MS, NS_PER_S, Venue
from crypto_quant.seams import HttpAnswer
from crypto_quant.snapshot import ClockView

NOW_NS = 1_790_856_000 * NS_PER_S


class Machine:
    """A clock and an exchange whose answers take so many ms each, for both are this object."""

    def __init__(self, ahead_s: float, *took_ms: int) -> None:
        self.ahead_ns = int(ahead_s * NS_PER_S)
        self.took_ms = list(took_ms)
        self.true_ns = NOW_NS
        self.away = False
        self.asked = 0

    def now_ns(self) -> int:
        return self.true_ns + self.ahead_ns

    async def get(self, *_: object) -> HttpAnswer:
        await asyncio.sleep(0)
        self.asked += 1
        if self.away:
            raise ExchangeUnavailable("no answer")
        took_ns = self.took_ms[min(self.asked, len(self.took_ms)) - 1] * NS_PER_MS
        told = (self.true_ns + took_ns // 2) // NS_PER_MS
        self.true_ns += took_ns
        return HttpAnswer(200, {}, b'{"serverTime":%d}' % told)


def watching(machine: Machine) -> tuple[ClockWatch, PipelineStats, Journal]:
    journal, stats = Journal(), PipelineStats(0)
    rest = ExchangeRest(venue_spec(Venue.SPOT), "http://x", machine, journal, random.Random(1))  # type: ignore[arg-type]  # noqa: S311
    return ClockWatch(rest, machine, stats, journal), stats, journal


@pytest.mark.parametrize("ahead_s", [21.0, -21.0, 1.5, 3600.0])
async def test_a_clock_that_is_off_is_told_once_and_when_it_is_right_again(ahead_s: float) -> None:
    machine = Machine(ahead_s, 300, 40, 60)
    watch, stats, journal = watching(machine)
    await watch.look()
    # the quickest of three answers
    assert stats.clock == ClockView(ahead_ms=ahead_s * 1000, unsure_ms=20.0)
    await watch.look()
    assert [told.ahead_s for told in journal.of(events.ClockOff)] == [ahead_s]
    machine.ahead_ns = 0
    await watch.look()
    assert len(journal.of(events.ClockRight)) == 1
    assert stats.clock.difference_ms == 0


async def test_what_may_be_the_way_of_the_answer_is_not_held_against_the_clock() -> None:
    watch, stats, journal = watching(Machine(1.4, 1200))
    await watch.look()
    assert (stats.clock.ahead_ms, stats.clock.unsure_ms) == (1400.0, 600.0)
    assert journal.events == []


async def test_an_answer_that_waited_tells_nothing_and_what_was_known_stays() -> None:
    machine = Machine(21, 40)
    watch, stats, _ = watching(machine)
    await watch.look()
    known = stats.clock
    machine.took_ms = [6000]
    await watch.look()
    machine.away = True
    await watch.look()
    assert stats.clock is known


async def test_without_an_answer_nothing_is_known() -> None:
    machine = Machine(21, 40)
    machine.away = True
    watch, stats, journal = watching(machine)
    await watch.look()
    assert machine.asked == 1
    assert stats.clock == ClockView()
    assert journal.events == []


async def test_a_clock_that_is_set_is_looked_at_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock_watch_module, "_TICK_S", 0.001)
    # this clock stands still while the loop's goes on: only a jump far beyond that may count here
    monkeypatch.setattr(clock_watch_module, "_STEP_NS", 1_000 * NS_PER_S)
    machine = Machine(0, 40)
    watch, stats, _ = watching(machine)
    running = asyncio.create_task(watch.run())
    await until(lambda: machine.asked == 3, within_s=60)
    await asyncio.sleep(0.01)
    assert machine.asked == 3
    machine.ahead_ns = 7_200 * NS_PER_S
    await until(lambda: stats.clock.ahead_ms == 7_200_000.0, within_s=60)
    running.cancel()


@pytest.mark.parametrize(("view", "off_ms"), [
    (ClockView(), 0.0),
    (ClockView(ahead_ms=21_000.0, unsure_ms=30.0), 21_000.0),
    (ClockView(ahead_ms=-21_000.0, unsure_ms=30.0), -21_000.0),
    (ClockView(ahead_ms=999.0), 0.0),
    (ClockView(ahead_ms=1400.0, unsure_ms=500.0), 0.0),
    (ClockView(ahead_ms=61 * 86_400_000.0), 0.0),  # a replay
])  # fmt: skip
def test_how_far_is_off(view: ClockView, off_ms: float) -> None:
    assert clock_off_ms(view) == off_ms


@pytest.mark.parametrize(("ahead_ms", "unsure_ms", "difference_ms"), [
    (None, 0.0, 0.0), (30.0, 40.0, 0.0), (-30.0, 40.0, 0.0), (50.0, 40.0, 50.0), (-21_000.0, 40.0, -21_000.0),
])  # fmt: skip
def test_lag_is_corrected_by_what_is_certain_to_be_there(
    ahead_ms: float | None, unsure_ms: float, difference_ms: float
) -> None:
    assert ClockView(ahead_ms=ahead_ms, unsure_ms=unsure_ms).difference_ms == difference_ms
