"""What is remembered of what happened: troubles until they are over, notes of gaps, the last warnings."""

from flow_doubles import NOW_NS, Journal, SetClock

from crypto_quant import events
from crypto_quant.flow.tally import Tally, Trouble
from crypto_quant.snapshot import HAPPENINGS_MAX


def tally() -> tuple[Tally, Journal, SetClock]:
    journal, clock = Journal(), SetClock()
    return Tally(journal, clock), journal, clock


def lost(cause: str, table: str = "trades") -> events.StoreLost:
    return events.StoreLost(table=table, cause=cause, pending=1, retry_in_s=1.0)


def left_open(first: int, last: int, cause: str) -> events.GapLeftOpen:
    return events.GapLeftOpen(venue="spot", symbol="btcusdt", first=first, last=last, cause=cause, hint="Do it")


def test_everything_is_passed_on() -> None:
    hears, journal, _ = tally()
    told = [events.DrainStep(step="x", pending=0), {"event": "Pipeline statistics"}, events.SpoolReplayed(
        rows=1, duplicates=0, took_s=0.1)]  # fmt: skip
    for event in told:
        hears(event)
    assert journal.events == told
    assert hears.counts == {"Drain": 1, "Spool replayed": 1}


def test_a_link_is_in_trouble_until_it_is_up() -> None:
    hears, _, _ = tally()
    hears(events.ReconnectScheduled(link=2, attempt=3, delay_s=1.0, cause="refused"))
    assert hears.links == {2: Trouble(3, "refused")}
    hears(events.LinkOpened(link=2, url="ws://x", streams=1))
    assert hears.links == {}


def test_the_store_is_away_since_it_was_first_lost_and_for_the_last_reason() -> None:
    hears, _, clock = tally()
    hears(lost("no answer"))
    clock.ns += 5
    hears(lost("starting up"))
    hears(lost("starting up", "candles"))
    assert hears.away == {"trades": (NOW_NS, "starting up"), "candles": (NOW_NS + 5, "starting up")}
    hears(events.StoreBack(table="trades", away_s=1.0))
    hears(events.StoreBack(table="candles", away_s=1.0))
    assert hears.away == {}


def test_the_newest_note_of_a_gap_counts() -> None:
    hears, _, _ = tally()
    hears(left_open(10, 20, "too far"))
    hears(left_open(15, 15, "refused"))
    assert hears.note_of("btcusdt", 15, 17) == "refused. Do it"
    assert hears.note_of("btcusdt", 16, 30) == "too far. Do it"
    assert hears.note_of("btcusdt", 21, 30) == ""
    assert hears.note_of("ethusdt", 15, 15) == ""


def test_the_last_warnings_are_kept_with_their_fields() -> None:
    hears, _, _ = tally()
    hears(events.DrainStep(step="x", pending=0))
    for number in range(HAPPENINGS_MAX + 1):
        hears(lost(f"cause {number}"))
    kept = hears.happenings()
    assert len(kept) == HAPPENINGS_MAX
    assert kept[-1].fields["cause"] == f"cause {HAPPENINGS_MAX}"
    assert (kept[0].fields["cause"], kept[0].level, kept[0].message) == ("cause 1", "error", "Store unavailable")
