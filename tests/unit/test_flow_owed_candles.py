"""What a restarted recorder owes of candles: everything since the first one, as far back as it goes."""

from collections.abc import Mapping

import pytest
from flow_doubles import NOW_NS, Journal

from crypto_quant import events
from crypto_quant.continuity import CandleClock
from crypto_quant.flow import assembly
from crypto_quant.flow.assembly import owe_candles
from crypto_quant.market import Timeframe, Venue
from crypto_quant.seams import KnownSlots

MINUTE_NS = 60 * 10**9
NOON = Timeframe.M1.slot(NOW_NS)
KEY = ("btcusdt", Timeframe.M1)


class Ledger:
    """Knows of one series of minutes, given from noon on."""

    def __init__(self, *covered: tuple[int, int], absent: tuple[tuple[int, int], ...] = ()) -> None:
        self.known = KnownSlots([(NOON + a, NOON + b) for a, b in covered], [(NOON + a, NOON + b) for a, b in absent])
        self.asked: list[Mapping[tuple[str, Timeframe], int]] = []

    async def known_slots(
        self, venue: str, since_ns: Mapping[tuple[str, Timeframe], int]
    ) -> dict[tuple[str, Timeframe], KnownSlots]:
        self.asked.append(since_ns)
        return {KEY: self.known} if self.known.covered else {}


async def owed(ledger: Ledger, now: int, *, venue: Venue = Venue.SPOT) -> tuple[list[int], Journal]:
    """Return the minutes after noon that are due at minute ``now``, and what was told."""
    clock, journal = CandleClock(Timeframe.M1, 0), Journal()
    await owe_candles(ledger, venue, {KEY: clock}, NOW_NS + now * MINUTE_NS, journal)  # type: ignore[arg-type]
    due = clock.due(NOW_NS + now * MINUTE_NS)
    return [n for a, b in due for n in range((a - NOW_NS) // MINUTE_NS, (b - NOW_NS) // MINUTE_NS + 1)], journal


@pytest.fixture
def reach_of_ten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assembly, "_CANDLES_BACK", 10)


async def test_holes_older_than_the_newest_candle_are_owed_and_told() -> None:
    missing, journal = await owed(Ledger((0, 2), (5, 5), (8, 8), absent=((6, 6),)), 11)
    assert missing == [3, 4, 7, 9, 10]
    assert journal.events == [events.CandlesKnownMissing(venue="spot", symbol="btcusdt", timeframe="1m", slots=3)]


async def test_the_time_since_the_last_run_is_no_hole_of_an_earlier_run() -> None:
    missing, journal = await owed(Ledger((0, 2)), 5)
    assert (missing, journal.events) == ([3, 4], [])


@pytest.mark.usefixtures("reach_of_ten")
async def test_what_lies_farther_back_is_told_with_the_command_that_loads_it() -> None:
    ledger = Ledger((0, 2), (5, 5), (8, 12), (15, 20), absent=((6, 6),))
    missing, journal = await owed(ledger, 24)
    assert missing == [14, 21, 22, 23]
    assert ledger.asked == [{KEY: NOW_NS + 14 * MINUTE_NS}]
    [known] = journal.of(events.CandlesKnownMissing)
    [left] = journal.of(events.CandlesLeftOpen)
    assert (known.slots, left.slots) == (1, 4)
    assert (left.first_open, left.last_open) == ("2026-10-01T12:03:00Z", "2026-10-01T12:13:00Z")
    assert left.hint == "crypto-quant backfill btcusdt --stream kline_1m --from 2026-10-01 --to 2026-10-01"


@pytest.mark.usefixtures("reach_of_ten")
async def test_a_record_that_ended_long_ago_is_owed_as_far_as_the_reach() -> None:
    missing, journal = await owed(Ledger((0, 2)), 30, venue=Venue.USDM)
    assert missing == list(range(20, 30))
    [left] = journal.events
    assert (left.slots, left.last_open[11:16]) == (17, "12:19")
    assert " --venue usdm " in left.hint


async def test_nothing_is_owed_where_nothing_is_known() -> None:
    ledger = Ledger()
    assert (await owed(ledger, 5))[0] == []
    clock = CandleClock(Timeframe.M1, 0)
    await owe_candles(Ledger((0, 1)), Venue.SPOT, {KEY: clock}, 0, Journal())  # type: ignore[arg-type]
    assert clock.due(NOW_NS + 9 * MINUTE_NS) == []
