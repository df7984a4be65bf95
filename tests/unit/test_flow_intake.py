"""Frames into rows: what is stored, what is told, and what is only counted."""

import json
import random
from typing import Any

import pytest
from flow_doubles import NOW_NS, Journal, MemoryQuarantine, MemorySink, SetClock, agg_frame, kline_frame
from hypothesis import given
from hypothesis import strategies as st

from crypto_quant import events
from crypto_quant.binance import wire
from crypto_quant.continuity import CandleClock, Gap
from crypto_quant.flow.intake import Intake, Known, time_ns
from crypto_quant.flow.stats import PipelineStats
from crypto_quant.flow.writer import TimescaleWriter
from crypto_quant.market import Timeframe, Venue
from crypto_quant.seams import Source, Table

GRACE_NS = 10 * 10**9
MINUTE_MS = 1_790_856_000_000


class Bench:
    """An intake of btcusdt and 币安人生usdt with one-minute candles, and what comes out of it."""

    def __init__(self, *timeframes: Timeframe, **more: Any) -> None:
        self.stats = PipelineStats(0)
        self.journal = Journal()
        self.quarantine = MemoryQuarantine()
        self.writer = TimescaleWriter(
            MemorySink(),
            stats=self.stats,
            clock=SetClock(),
            quarantine=self.quarantine,
            emit=self.journal,
            rng=random.Random(1),  # noqa: S311
        )
        self.intake = Intake(
            Venue.SPOT,
            ["btcusdt", "币安人生usdt"],
            {("btcusdt", frame): CandleClock(frame, GRACE_NS) for frame in timeframes or (Timeframe.M1,)},
            writer=self.writer,
            stats=self.stats,
            quarantine=self.quarantine,
            emit=self.journal,
            **more,
        )

    def take(self, *frames: bytes) -> None:
        for frame in frames:
            assert self.intake.frames([frame], NOW_NS) == []

    def rows(self, table: Table = Table.TRADES) -> list[list[str]]:
        return [
            line.decode().rstrip("\n").split("\t")
            for batch in self.writer.unstored()
            if batch.table is table
            for line in batch.rows
        ]

    def ids(self) -> list[int]:
        return [int(row[3]) for row in self.rows()]

    def adds_up(self) -> None:
        assert self.stats.pending_trades == len(self.rows())
        assert self.stats.pending_candles == len(self.rows(Table.CANDLES))


def test_a_trade_becomes_its_row_to_the_last_digit() -> None:
    bench = Bench()
    bench.take(agg_frame(7, first=70, last=75, price="64250.10000001", quantity="0.00000001", maker=False))
    assert bench.rows() == [[
        "2026-10-01 12:00:01.200000+00", "spot", "btcusdt", "7", "64250.10000001", "0.00000001", "70", "75", "f",
        "2026-10-01 12:00:00.000000+00",
    ]]  # fmt: skip
    assert bench.intake.exchange_ns == time_ns(1_790_856_001_201)
    bench.adds_up()


def test_microseconds_are_kept() -> None:
    bench = Bench()
    bench.take(agg_frame(7, time=1_790_856_001_200_874))
    assert bench.rows()[0][0] == "2026-10-01 12:00:01.200874+00"


def test_a_symbol_beyond_ascii_is_recorded_in_its_own_lower_case() -> None:
    bench = Bench()
    bench.take(agg_frame(1, symbol="币安人生USDT"))
    assert bench.rows()[0][2] == "币安人生usdt"


@pytest.mark.parametrize("frame", [
    agg_frame(1, symbol="ETHUSDT"), agg_frame(1, symbol="btcusdt"), agg_frame(1, symbol=""),
    kline_frame(symbol="ETHUSDT"), kline_frame(interval="5m"), kline_frame(interval="1M"),
])  # fmt: skip
def test_what_was_never_asked_for_is_set_aside(frame: bytes) -> None:
    bench = Bench()
    bench.take(frame)
    assert bench.rows() == bench.rows(Table.CANDLES) == []
    assert [(kind, raw) for kind, raw, _ in bench.quarantine.kept] == [("frame", frame)]
    assert "not asked for" in bench.quarantine.kept[0][2]
    assert (bench.stats.frames_set_aside, bench.stats.trades_received) == (1, 0)
    assert bench.intake.exchange_ns == 0


def test_damage_is_kept_told_and_costs_no_neighbour() -> None:
    bench = Bench()
    bad = [b"\xff\xfe garbage \x00" * 50, agg_frame(2).replace(b"BTCUSDT", b"BTC\xff"), agg_frame(2, price="NaN")]
    bench.take(agg_frame(1), *bad, agg_frame(2))
    assert bench.ids() == [1, 2]
    assert [raw for _, raw, _ in bench.quarantine.kept] == bad
    told = bench.journal.of(events.FrameSetAside)
    assert [event.so_far for event in told] == [1, 2, 3]
    assert told[0].size == len(bad[0])
    assert len(told[0].excerpt) <= 200
    assert bench.journal.of(events.GapFound) == []


def test_a_flood_of_damage_is_kept_whole_and_told_in_part() -> None:
    bench = Bench()
    bench.take(*[b"garbage"] * 1000)
    assert len(bench.quarantine.kept) == bench.stats.frames_set_aside == 1000
    assert [event.so_far for event in bench.journal.of(events.FrameSetAside)][100:] == list(range(200, 1001, 100))


def test_repetitions_are_the_stores_to_judge() -> None:
    """Only their content tells whether they are the same trade."""
    bench = Bench()
    bench.take(agg_frame(5), agg_frame(6), agg_frame(6), agg_frame(5), agg_frame(7))
    assert bench.ids() == [5, 6, 6, 5, 7]
    assert (bench.stats.trades_received, bench.stats.missing_trades, bench.stats.gaps) == (5, 0, 0)
    bench.adds_up()


def test_a_gap_is_told_once_and_closed_by_what_comes_late() -> None:
    bench = Bench()
    bench.take(agg_frame(5), agg_frame(9))
    gap = bench.journal.of(events.GapFound)
    assert [(event.symbol, event.first, event.last) for event in gap] == [("btcusdt", 6, 8)]
    assert (bench.stats.gaps, bench.stats.missing_trades) == (1, 3)
    bench.take(agg_frame(7), agg_frame(6), agg_frame(8), agg_frame(7))
    assert (bench.stats.gaps, bench.stats.missing_trades) == (1, 0)
    assert bench.ids() == [5, 9, 7, 6, 8, 7]


def test_a_trade_below_all_seen_is_stored_and_never_counted_below_zero() -> None:
    bench = Bench()
    bench.take(agg_frame(100), agg_frame(99))
    assert bench.stats.missing_trades == 0
    bench.take(agg_frame(90))
    assert bench.stats.missing_trades == 8
    assert bench.ids() == [100, 99, 90]


def test_the_first_id_may_be_zero() -> None:
    bench = Bench()
    bench.take(agg_frame(0, first=0), agg_frame(1), agg_frame(0, first=0))
    assert bench.ids() == [0, 1, 0]


@given(st.lists(st.integers(0, 30), max_size=60))
def test_every_trade_is_queued_and_the_account_is_that_of_a_plain_set(ids: list[int]) -> None:
    bench = Bench()
    bench.take(*[agg_frame(number, first=1) for number in ids])
    assert bench.ids() == ids
    holes = set(range(min(ids), max(ids) + 1)) - set(ids) if ids else set()
    assert bench.stats.missing_trades == len(holes)
    bench.adds_up()


# -- neutralised and impossible ids ------------------------------------------------------------------------


@pytest.mark.parametrize("zero", ["0", "0.00000000", "0.0"])
def test_a_neutralised_id_is_seen_but_no_trade(zero: str) -> None:
    bench = Bench()
    bench.take(agg_frame(1), agg_frame(2, price=zero, quantity=zero, first=-1, last=-1), agg_frame(3))
    assert bench.ids() == [1, 3]
    assert (bench.stats.trades_void, bench.stats.trades_received, bench.stats.gaps) == (1, 2, 0)
    bench.adds_up()


@pytest.mark.parametrize(("first", "last", "price"), [
    (-1, -1, "64250.1"), (-1, 5, "0"), (5, -1, "0"), (9, 8, "1"), (5, -1, "1"),
])  # fmt: skip
def test_an_impossible_range_of_trade_ids_is_set_aside_and_its_hole_known(first: int, last: int, price: str) -> None:
    bench = Bench()
    bench.take(agg_frame(1), agg_frame(2, first=first, last=last, price=price), agg_frame(3))
    assert bench.ids() == [1, 3]
    assert "no range" in bench.quarantine.kept[0][2]
    assert [(gap.first, gap.last) for gap in bench.journal.of(events.GapFound)] == [(2, 2)]
    bench.adds_up()


# -- candles ----------------------------------------------------------------------------------------------


def test_only_a_closed_candle_is_stored_and_once() -> None:
    bench = Bench()
    bench.take(kline_frame(closed=False), kline_frame(), kline_frame(), kline_frame(closed=False))
    rows = bench.rows(Table.CANDLES)
    assert rows == [[
        "2026-10-01 12:00:00.000000+00", "spot", "btcusdt", "1m", "64250.10000000", "64250.50000000", "64250.00000000",
        "64250.50000000", "0.01500000", "963.75225000", "5", "0.00250000", "160.62625000", "5000000001", "5000000005",
    ]]  # fmt: skip
    assert (bench.stats.candles_received, bench.stats.candles_duplicate) == (2, 1)
    bench.adds_up()


def test_an_open_candle_still_tells_the_time() -> None:
    bench = Bench()
    bench.take(kline_frame(closed=False, event=MINUTE_MS + 2000))
    assert bench.intake.exchange_ns == time_ns(MINUTE_MS + 2000)
    assert bench.stats.candles_received == 0


@pytest.mark.parametrize(("timeframe", "good", "bad"), [
    (Timeframe.M1, MINUTE_MS, MINUTE_MS + 1),
    (Timeframe.M5, MINUTE_MS, MINUTE_MS + 60_000),
    (Timeframe.D1, 1_790_812_800_000, MINUTE_MS),
    (Timeframe.W1, 1_790_553_600_000, 1_790_640_000_000),
    (Timeframe.MO1, 1_790_812_800_000, 1_790_899_200_000),
])  # fmt: skip
def test_a_candle_must_open_where_candles_open(timeframe: Timeframe, good: int, bad: int) -> None:
    bench = Bench(timeframe)
    bench.take(kline_frame(bad, interval=timeframe.value, event=MINUTE_MS))
    assert bench.rows(Table.CANDLES) == []
    assert f"no start of a {timeframe.value} candle" in bench.quarantine.kept[0][2]
    bench.take(kline_frame(good, interval=timeframe.value, event=MINUTE_MS))
    assert len(bench.rows(Table.CANDLES)) == 1


def test_a_candle_of_three_days_is_taken_on_the_exchanges_own_raster() -> None:
    bench = Bench(Timeframe.D3)
    bench.take(kline_frame(1_790_812_800_000, interval="3d", event=MINUTE_MS))
    assert len(bench.rows(Table.CANDLES)) == 1


# -- time -------------------------------------------------------------------------------------------------


def test_the_exchanges_time_never_runs_back() -> None:
    bench = Bench()
    bench.take(agg_frame(1, event=MINUTE_MS + 500), agg_frame(2, event=MINUTE_MS), kline_frame(event=MINUTE_MS + 1))
    assert bench.intake.exchange_ns == time_ns(MINUTE_MS + 500)


def test_one_frame_from_the_far_future_is_not_believed_and_two_are() -> None:
    bench = Bench()
    year = 365 * 86_400_000
    bench.take(agg_frame(1, event=MINUTE_MS), agg_frame(2, event=MINUTE_MS + 900 * year), agg_frame(3))
    assert bench.intake.exchange_ns == time_ns(1_790_856_001_201)
    assert bench.ids() == [1, 2, 3]
    bench.take(kline_frame(closed=False, event=MINUTE_MS + year), agg_frame(4, event=MINUTE_MS + year + 5))
    assert bench.intake.exchange_ns == time_ns(MINUTE_MS + year + 5)


# -- what concerns the link -------------------------------------------------------------------------------


def test_messages_of_the_link_go_back_to_its_driver() -> None:
    bench = Bench()
    assert bench.intake.frames([b'{"result":null,"id":1}'], NOW_NS) == [wire.Reply(1, None)]
    assert bench.intake.frames([b'{"e":"serverShutdown","E":5}'], NOW_NS) == [wire.ServerShutdown(5)]


def test_other_events_are_counted_and_left() -> None:
    bench = Bench()
    bench.take(json.dumps({"stream": "x", "data": {"e": "depthUpdate"}}).encode())
    assert (bench.stats.frames_ignored, bench.stats.frames_received, bench.quarantine.kept) == (1, 1, [])


# -- going on where earlier runs stopped ----------------------------------------------------------------------


def resumed(known: Known) -> tuple[Bench, list[tuple[str, Gap]]]:
    told: list[tuple[str, Gap]] = []
    return Bench(known={"btcusdt": known}, on_gap=lambda symbol, gap: told.append((symbol, gap))), told


def test_the_first_trade_after_a_restart_shows_what_was_missed() -> None:
    bench, told = resumed(Known([(100, 200)]))
    bench.take(agg_frame(205), agg_frame(206), agg_frame(5, symbol="币安人生USDT"))
    assert told == [("btcusdt", Gap(201, 204))]
    assert [(event.first, event.last) for event in bench.journal.of(events.GapFound)] == [(201, 204)]
    assert (bench.stats.gaps, bench.stats.gaps_open, bench.stats.missing_trades) == (1, 1, 4)
    bench.take(*(agg_frame(number) for number in (201, 203, 202, 204)))
    assert (bench.stats.gaps, bench.stats.gaps_open, bench.stats.missing_trades) == (1, 0, 0)


def test_a_restart_without_a_break_has_no_gap() -> None:
    bench, told = resumed(Known([(100, 200)]))
    bench.take(agg_frame(201))
    assert told == bench.journal.of(events.GapFound) == []
    assert bench.stats.gaps_open == 0


def test_gaps_of_earlier_runs_are_told_once_and_absent_ids_are_none() -> None:
    bench, told = resumed(Known([(100, 110), (115, 120), (130, 140)], [(121, 125), (90, 99), (141, 150)]))
    assert (bench.stats.gaps, bench.stats.gaps_open, bench.stats.missing_trades) == (0, 2, 8)
    bench.intake.report_known_gaps()
    assert told == [("btcusdt", Gap(111, 114)), ("btcusdt", Gap(126, 129))]
    assert [(event.symbol, event.gaps, event.missing) for event in bench.journal.of(events.GapsKnown)] == [
        ("btcusdt", 2, 8)
    ]


def test_ids_that_cannot_be_stored_any_more_are_a_gap_again() -> None:
    bench, told = resumed(Known([(1, 10)]))
    bench.take(agg_frame(11), agg_frame(12))
    bench.intake.unreadable("spot", "btcusdt", Gap(9, 11))
    bench.intake.unreadable("usdm", "btcusdt", Gap(1, 3))
    bench.intake.unreadable("spot", "ethusdt", Gap(1, 3))
    assert told == [("btcusdt", Gap(9, 11))]
    assert [(event.first, event.last) for event in bench.journal.of(events.GapFound)] == [(9, 11)]
    assert (bench.stats.gaps, bench.stats.gaps_open, bench.stats.missing_trades) == (1, 1, 3)


def test_an_id_of_an_earlier_run_is_the_stores_to_judge() -> None:
    """Coverage proves that a trade of that id is stored, not that it was this one."""
    bench, _ = resumed(Known([(100, 200)], [(150, 150)]))
    bench.take(agg_frame(200), agg_frame(180), agg_frame(181), agg_frame(180), agg_frame(200))
    assert bench.ids() == [200, 180, 181, 180, 200]
    assert bench.stats.gaps_open == bench.stats.missing_trades == 0
    bench.adds_up()


def test_an_exchange_that_counts_anew_loses_nothing_to_earlier_runs() -> None:
    bench, _ = resumed(Known([(0, 500)]))
    bench.take(*(agg_frame(number) for number in range(600)))
    assert bench.ids() == list(range(600))


def test_under_backlog_a_batch_is_full_to_less_than_one_read() -> None:
    bench = Bench()
    most = bench.writer.chunk_rows * 4
    read = most // 50 - 7  # no number of reads makes a chunk full to the row
    for first in range(0, 2 * most, read):
        bench.intake.frames([agg_frame(number) for number in range(first, first + read)], NOW_NS)
    taken = bench.writer._trades.take(0).chunks
    assert most - 4 * read < sum(map(len, taken)) <= most
    assert len(taken) == 4


def test_a_neutralised_id_is_proven_without_a_row() -> None:
    bench = Bench()
    bench.take(agg_frame(1), agg_frame(2, price="0.00000000", quantity="0.00000000", first=-1, last=-1), agg_frame(3))
    assert bench.ids() == [1, 3]
    chunks = bench.writer._trades.in_flight
    assert sorted((each.first, each.last, each.source) for each in bench.writer._series.covered_by(chunks)) == [
        (1, 1, Source.STREAM),
        (2, 2, Source.VOID),
        (3, 3, Source.STREAM),
    ]
    assert (bench.stats.trades_void, bench.stats.pending_trades) == (1, 2)


# -- the same streams over two links ----------------------------------------------------------------------


def test_what_comes_second_over_another_link_is_redundant_and_no_duplicate() -> None:
    bench = Bench()
    for trade_id in (1, 2, 3):
        bench.intake.frames([agg_frame(trade_id)], NOW_NS, 2)
        bench.intake.frames([agg_frame(trade_id)], NOW_NS, 3)
    bench.intake.frames([agg_frame(3)], NOW_NS, 3)  # the exchange says it twice on one link
    stats = bench.stats
    assert (stats.trades_received, stats.trades_redundant) == (4, 3)
    assert stats.pending_trades == len(bench.rows()) == 4


def test_what_comes_second_with_another_content_is_the_stores_to_judge() -> None:
    bench = Bench()
    bench.intake.frames([agg_frame(1)], NOW_NS, 2)
    bench.intake.frames([agg_frame(1, price="99.00000000")], NOW_NS, 3)
    assert (bench.stats.trades_received, bench.stats.trades_redundant) == (2, 0)
    assert bench.ids() == [1, 1]


# -- what REST alone tells --------------------------------------------------------------------------------


def test_ids_that_rest_alone_tells_of_are_a_gap() -> None:
    told: list[tuple[str, Gap]] = []
    bench = Bench(on_gap=lambda symbol, gap: told.append((symbol, gap)))
    bench.intake.issued("btcusdt", 9)
    assert bench.intake.newest("btcusdt") == -1  # nothing was recorded yet: it begins with the first trade
    bench.take(agg_frame(5))
    bench.intake.issued("btcusdt", 5)
    bench.intake.issued("btcusdt", 9)
    bench.intake.issued("btcusdt", 8)
    assert told == [("btcusdt", Gap(6, 9))]
    assert (bench.stats.gaps, bench.stats.gaps_open, bench.stats.missing_trades) == (1, 1, 4)
    assert (bench.intake.newest("btcusdt"), bench.intake.newest_streamed("btcusdt")) == (9, 5)
    bench.intake.issued("btcusdt", 11)
    assert (bench.intake.newest("btcusdt"), bench.intake.newest_streamed("btcusdt")) == (11, 5)
    bench.take(agg_frame(8), agg_frame(12))
    assert bench.ids() == [5, 8, 12]
    assert (bench.stats.missing_trades, bench.intake.newest_streamed("btcusdt")) == (5, 12)


def test_a_final_candle_over_two_links_is_one() -> None:
    bench = Bench()
    bench.intake.frames([kline_frame()], NOW_NS, 2)
    bench.intake.frames([kline_frame()], NOW_NS, 3)
    bench.intake.frames([kline_frame()], NOW_NS, 3)
    stats = bench.stats
    assert (stats.candles_received, stats.candles_redundant, stats.candles_duplicate) == (2, 1, 1)


def test_it_knows_the_newest_of_each_series() -> None:
    bench = Bench()
    assert bench.intake.newest("btcusdt") == bench.intake.newest_candle("btcusdt", Timeframe.M1) == -1
    bench.intake.frames([agg_frame(7)], NOW_NS)
    bench.intake.frames([kline_frame()], NOW_NS)
    assert bench.intake.newest("btcusdt") == 7
    assert bench.intake.newest_candle("btcusdt", Timeframe.M1) == 1_790_856_000_000_000_000
    assert bench.intake.newest_fetched("btcusdt", Timeframe.M1) == -1
