"""Candles whose final message never came: fetched, once, and never an open one."""

import asyncio
import json
import random
from collections.abc import Mapping
from typing import Any

import pytest
from flow_doubles import Journal, MemoryQuarantine, MemorySink, ScriptedHttp, SetClock, kline_frame, until

from crypto_quant import events
from crypto_quant.binance.venues import venue_spec
from crypto_quant.continuity import CandleClock
from crypto_quant.errors import ExchangeUnavailable, StoreUnavailable
from crypto_quant.flow import candles as candles_module
from crypto_quant.flow.candles import CandleKeeper
from crypto_quant.flow.intake import Intake
from crypto_quant.flow.rest import ExchangeRest
from crypto_quant.flow.stats import PipelineStats
from crypto_quant.flow.writer import TimescaleWriter
from crypto_quant.market import Timeframe, Venue
from crypto_quant.seams import HttpAnswer, Table

S = 10**9
START_MS = 1_790_856_000_000
START_NS = START_MS * 10**6
MINUTE_NS = 60 * S
STEP_MS = {Timeframe.S1: 1000, Timeframe.M1: 60_000}


def all_but(*absent: int, error: Exception | None = None) -> Any:
    """Return an exchange that has every candle asked for, the open one too, except those of these minutes."""

    def page(url: str, params: Mapping[str, str]) -> HttpAnswer:
        if url.endswith("/time"):
            return HttpAnswer(200, {}, json.dumps({"serverTime": START_MS + 200_000}).encode())
        step = 1000 if params["interval"] == "1s" else 60_000
        opens = range(int(params["startTime"]), int(params["endTime"]) + 1, step)
        rows = [
            [o, "1.0", "2.0", "1.0", "1.5", "5.0", o + step - 1, "9.0", 3, "1.0", "1.0", "0"]
            for o in opens
            if (o - START_MS) // step not in absent
        ]
        return HttpAnswer(200, {}, json.dumps(rows).encode())

    return page


class AbsenceLedger:
    """A ``Ledger`` that remembers what is absent, as minutes from the first; ``away`` is raised instead."""

    def __init__(self) -> None:
        self.absent: list[tuple[int, int]] = []
        self.away: Exception | None = None

    async def record_absent_slots(self, venue: str, symbol: str, timeframe: str, ranges: Any, proof: str) -> None:
        if self.away is not None:
            raise self.away
        assert (venue, symbol, timeframe) == ("spot", "btcusdt", "1m")
        assert "later candle" in proof
        noon = Timeframe.M1.slot(START_NS)
        self.absent += [(first - noon, last - noon) for first, last in ranges]


class Bench:
    """A keeper of one-minute candles of btcusdt that waits 10 s of the exchange's time and none of ours."""

    def __init__(self, *answers: Any, timeframe: Timeframe = Timeframe.M1, rest: bool = True) -> None:
        self.http = ScriptedHttp(*(answers or (all_but(),)))
        self.journal = Journal()
        self.stats = PipelineStats(0)
        self.writer = TimescaleWriter(
            MemorySink(),
            stats=self.stats,
            clock=SetClock(),
            quarantine=MemoryQuarantine(),
            emit=self.journal,
            rng=random.Random(1),  # noqa: S311
        )
        self.timeframe = timeframe
        self.intake = Intake(
            Venue.SPOT,
            (),
            {("btcusdt", timeframe): CandleClock(timeframe, 10 * S)},
            writer=self.writer,
            stats=self.stats,
            quarantine=MemoryQuarantine(),
            emit=self.journal,
        )
        asker = ExchangeRest(
            venue_spec(Venue.SPOT),
            "http://exchange",
            self.http,
            self.journal,
            random.Random(1),  # noqa: S311
        )
        self.ledger = AbsenceLedger()
        self.keeper = CandleKeeper(self.intake, asker if rest else None, self.journal, self.ledger, tick_s=0.001)

    async def at(self, seconds: float, looks: int = 1) -> None:
        self.intake.exchange_ns = START_NS + int(seconds * S)
        for _ in range(looks):
            await self.keeper.look()

    def minutes(self) -> list[int]:
        """Return the queued candles, counted from the first."""
        rows = [line for batch in self.writer.unstored() if batch.table is Table.CANDLES for line in batch.rows]
        step = STEP_MS[self.timeframe] // 1000
        return [(int(line[11:13]) * 3600 + int(line[14:16]) * 60 + int(line[17:19]) - 43_200) // step for line in rows]


@pytest.fixture(autouse=True)
def settle_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candles_module, "_SETTLE_S", 0.0)
    monkeypatch.setattr(candles_module, "_FIRST_PAUSE_S", 0.0)
    monkeypatch.setattr(candles_module, "_SURE_AFTER_NS", 0)


async def test_a_candle_is_fetched_after_its_grace_and_no_sooner() -> None:
    bench = Bench()
    await bench.at(5)
    await bench.at(69.9)
    assert bench.http.asked == []
    await bench.at(70)
    assert bench.minutes() == [0]
    assert bench.stats.candles_fetched == 1
    assert [(e.slots, e.first_open) for e in bench.journal.of(events.CandleOverdue)] == [(1, "2026-10-01T12:00:00Z")]
    await bench.at(71)
    assert len(bench.http.asked) == 1


async def test_while_paused_nothing_is_fetched_and_it_stays_owed() -> None:
    bench = Bench()
    await bench.at(5)
    bench.keeper.pause()
    await bench.at(200)
    assert bench.http.asked == []
    bench.keeper.resume()
    await bench.at(200)
    assert bench.minutes() == [0, 1, 2]


async def test_it_must_be_overdue_for_a_while_by_our_clock_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candles_module, "_SETTLE_S", 0.03)
    bench = Bench()
    await bench.at(5)
    await bench.at(80, looks=3)
    assert bench.http.asked == []
    await asyncio.sleep(0.035)
    await bench.at(81)
    assert bench.minutes() == [0]


async def test_a_candle_that_comes_while_it_settles_is_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candles_module, "_SETTLE_S", 0.02)
    bench = Bench()
    await bench.at(5)
    await bench.at(80)
    bench.intake.frames([kline_frame(START_MS)], 0)
    await asyncio.sleep(0.025)
    await bench.at(81)
    assert (bench.http.asked, bench.minutes()) == ([], [0])


async def test_candles_that_fall_due_faster_than_they_settle_are_fetched_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(candles_module, "_SETTLE_S", 0.02)
    bench = Bench(timeframe=Timeframe.S1)
    await bench.at(0)
    for second in range(11, 41):
        await bench.at(second)  # one more candle of a second is overdue at each look
        await asyncio.sleep(0.002)
    assert len(bench.minutes()) >= 10
    assert bench.minutes() == list(range(len(bench.minutes())))


async def test_the_open_candle_is_never_stored() -> None:
    bench = Bench()
    await bench.at(5)
    await bench.at(130)  # 12:02 is open; REST tells of it too
    assert bench.minutes() == [0, 1]


async def test_a_candle_is_queued_once_from_whichever_side_it_comes() -> None:
    bench = Bench()
    await bench.at(5)
    bench.intake.frames([kline_frame(START_MS + 60_000)], 0)
    await bench.at(140)
    bench.intake.frames([kline_frame(START_MS)], 0)
    bench.intake.frames([kline_frame(START_MS + 60_000)], 0)
    await bench.at(141)
    assert sorted(bench.minutes()) == [0, 1]
    assert (bench.stats.candles_fetched, bench.stats.candles_duplicate) == (1, 2)


async def test_what_the_exchange_does_not_have_is_told_after_three_askings_and_left() -> None:
    bench = Bench(all_but(1))
    await bench.at(5)
    await bench.at(200, looks=6)
    assert bench.minutes() == [0, 2]
    assert [event.open_time for event in bench.journal.of(events.CandleAbsent)] == ["2026-10-01T12:01:00Z"]
    assert len(bench.http.asked) == 3
    assert bench.ledger.absent == [(1, 1)]
    # should it come all the same, it is stored
    bench.intake.frames([kline_frame(START_MS + 60_000)], 0)
    assert bench.minutes() == [0, 2, 1]


async def test_what_rest_has_not_is_recorded_as_absent_only_when_it_has_a_later_one() -> None:
    """Without a later one it may lag behind, or the symbol may be halted: the next run asks again."""
    bench = Bench(all_but(1, 2, 3, 4, 5))
    await bench.at(5)
    await bench.at(200, looks=6)
    assert [event.open_time[11:16] for event in bench.journal.of(events.CandleAbsent)] == ["12:01", "12:02"]
    assert bench.ledger.absent == []


async def test_the_candle_behind_a_hole_shows_that_rest_is_past_it() -> None:
    bench = Bench(all_but(1, 2))
    await bench.at(5)
    for minute in (0, 3):
        bench.intake.frames([kline_frame(START_MS + minute * 60_000)], 0)
    await bench.at(250, looks=6)
    assert bench.ledger.absent == [(1, 2)]


async def test_a_recent_candle_is_not_called_absent_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candles_module, "_SURE_AFTER_NS", 100 * S)
    bench = Bench(all_but(1, 3))
    await bench.at(5)
    await bench.at(300, looks=6)
    assert len(bench.journal.of(events.CandleAbsent)) == 2
    assert bench.ledger.absent == [(1, 1), (3, 3)]
    late = Bench(all_but(1, 3))
    await late.at(5)
    await late.at(270, looks=6)
    assert late.ledger.absent == [(1, 1)]


async def test_an_absence_that_cannot_be_recorded_holds_nothing_up() -> None:
    bench = Bench(all_but(1))
    bench.ledger.away = StoreUnavailable("down")
    await bench.at(5)
    await bench.at(200, looks=6)
    assert bench.minutes() == [0, 2]
    assert len(bench.journal.of(events.CandleAbsent)) == 1


async def test_scattered_holes_are_asked_for_together_and_nothing_between_is_taken() -> None:
    bench = Bench()
    clock = bench.intake.clocks["btcusdt", Timeframe.M1]
    noon = Timeframe.M1.slot(START_NS)
    clock.resume([(noon + minute, noon + minute) for minute in range(0, 400, 2)])
    await bench.at(400 * 60 + 10)
    assert bench.minutes() == list(range(1, 400, 2))
    assert len(bench.http.asked) == 1
    assert [event.slots for event in bench.journal.of(events.CandleOverdue)] == [200]


@pytest.mark.parametrize("failure", [
    ExchangeUnavailable("no answer"),
    HttpAnswer(500, {}, b"{}"),
    HttpAnswer(200, {}, b'[["x"]]'),
    HttpAnswer(400, {}, b'{"code":-1121,"msg":"Invalid symbol."}'),
    HttpAnswer(451, {}, b"{}"),
])  # fmt: skip
async def test_whatever_rest_says_the_candle_stays_owed(failure: HttpAnswer | Exception) -> None:
    bench = Bench(failure, failure, all_but())
    await bench.at(5)
    await bench.at(70, looks=2)
    assert bench.minutes() == []
    assert [event.request for event in bench.journal.of(events.RestFailed)] == ["klines btcusdt 1m"] * 2
    await bench.at(71)
    assert bench.minutes() == [0]
    assert bench.journal.of(events.CandleAbsent) == []


async def test_rest_that_refuses_is_asked_less_and_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candles_module, "_FIRST_PAUSE_S", 0.02)
    bench = Bench(ExchangeUnavailable("gone"), ExchangeUnavailable("gone"), all_but())
    await bench.at(5)
    await bench.at(70, looks=5)
    failures = bench.journal.of(events.RestFailed)
    assert [event.retry_in_s for event in failures] == [0.02]
    await asyncio.sleep(0.025)
    await bench.at(70, looks=5)
    assert [event.retry_in_s for event in bench.journal.of(events.RestFailed)] == [0.02, 0.04]
    await asyncio.sleep(0.045)
    await bench.at(70, looks=2)
    assert bench.minutes() == [0]


async def test_a_long_outage_is_fetched_by_the_page_and_each_candle_once() -> None:
    bench = Bench(timeframe=Timeframe.S1)
    await bench.at(0)
    await bench.at(2510)
    assert bench.minutes() == list(range(2500))
    assert [event.slots for event in bench.journal.of(events.CandleOverdue)] == [999, 999, 502]
    assert bench.stats.candles_fetched == 2500


async def test_candles_off_their_raster_are_those_of_their_slots() -> None:
    def shifted(url: str, params: Mapping[str, str]) -> HttpAnswer:
        answer = all_but()(url, params)
        rows = [[row[0] + 14_789, *row[1:]] for row in json.loads(answer.body)]
        return HttpAnswer(200, {}, json.dumps([row for row in rows if row[0] <= int(params["endTime"])]).encode())

    bench = Bench(shifted)
    await bench.at(0)
    await bench.at(330, looks=4)
    assert bench.minutes() == [0, 1, 2, 3, 4]
    assert bench.ledger.absent == []
    assert len(bench.http.asked) == 1


async def test_a_page_that_fails_leaves_the_rest_for_the_next_look() -> None:
    bench = Bench(all_but(), ExchangeUnavailable("gone"), all_but(), timeframe=Timeframe.S1)
    await bench.at(0)
    await bench.at(2510)
    assert len(bench.minutes()) == 999
    await bench.at(2511)
    assert sorted(bench.minutes()) == list(range(2501))


async def test_without_rest_or_time_there_is_nothing_to_do() -> None:
    bench = Bench(rest=False)
    await bench.keeper.look()
    await bench.at(5)
    await bench.at(500)
    assert bench.minutes() == []


async def test_the_watch_asks_for_the_time_when_nothing_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candles_module, "_ASK_TIME_AFTER_S", 0.01)
    bench = Bench(ExchangeUnavailable("gone"), all_but(), all_but(), all_but())
    bench.intake.exchange_ns = START_NS
    await bench.keeper.look()
    watch = asyncio.create_task(bench.keeper.run())
    await until(lambda: bench.minutes() == [0, 1, 2])  # the exchange says that 200 s have gone by
    assert bench.journal.of(events.RestFailed)[0].request == "time"
    watch.cancel()
    await asyncio.wait({watch})


async def test_the_watch_goes_with_the_streams_time() -> None:
    bench = Bench()
    bench.intake.exchange_ns = START_NS
    watch = asyncio.create_task(bench.keeper.run())
    await asyncio.sleep(0.01)
    bench.intake.exchange_ns = START_NS + 70 * S
    await until(lambda: bench.minutes() == [0])
    watch.cancel()
    await asyncio.wait({watch})


async def test_without_candles_there_is_no_watch() -> None:
    bench = Bench()
    bench.intake.clocks = {}
    await asyncio.wait_for(bench.keeper.run(), 1)
