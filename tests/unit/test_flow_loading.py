"""A load of history believes each source for what it has, and says at its end what the coverage says."""

import random
from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path

import pytest
from history_exchange import PrintedHistory, begin_ms, day_at
from recording import Told

from crypto_quant import events
from crypto_quant.binance.streams import Stream
from crypto_quant.binance.venues import StreamKind, venue_spec
from crypto_quant.continuity import Gap, RangeSet, slot_opened
from crypto_quant.flow.archives import ArchiveShelf
from crypto_quant.flow.history_run import HistoryRun
from crypto_quant.flow.loading import Outcome, TradeLoader, Wanted
from crypto_quant.flow.loading_candles import CandleLoader
from crypto_quant.flow.rest import ExchangeRest
from crypto_quant.market import Candle, Timeframe, Venue, day_ns
from crypto_quant.seams import Receipt, Source

TRADES = Stream(StreamKind.AGG_TRADE)
MINUTES = Stream(StreamKind.KLINE, Timeframe.M1)
FIRST, LAST = date(2021, 3, 1), date(2021, 3, 31)
TODAY_NS = day_ns(date(2021, 5, 20))
HOUR_MS = 3_600_000


class Memory:
    """A store, its ledger and the way into it: what is stored is covered."""

    def __init__(self) -> None:
        self.trades: dict[int, bytes] = {}
        self.candles: dict[int, Source] = {}
        self.known = RangeSet()
        self.absent: list[tuple[int, int, str]] = []

    async def trades_in(
        self, _symbol: str, ids: Sequence[int], rows: Sequence[bytes], proven: Sequence[Gap], _source: Source
    ) -> Receipt:
        new = [number for number in ids if number not in self.trades]
        self.trades.update(zip(ids, rows, strict=True))
        for gap in proven:
            self.known.add(*gap)
        return Receipt(len(new), len(ids) - len(new))

    async def candles_in(self, candles: Sequence[Candle], source: Source) -> Receipt:
        new = [each for each in candles if each.open_ns not in self.candles]
        self.candles.update({each.open_ns: source for each in new})
        return Receipt(len(new), len(candles) - len(new))

    async def covered(self, _venue: str, _symbol: str, first: int, last: int) -> Sequence[tuple[int, int]]:
        return self.known.within(first, last)

    async def stored(self, _venue: str, _symbol: str, first: int, last: int) -> Sequence[tuple[int, int]]:
        absent = RangeSet((low, high) for low, high, _ in self.absent)
        return [tuple(part) for low, high in self.known.within(first, last) for part in absent.missing(low, high)]

    async def record_absence(self, _venue: str, _symbol: str, first: int, last: int, proof: str) -> None:
        self.absent.append((first, last, proof))
        self.known.add(first, last)

    async def held_slots(
        self, _venue: str, _symbol: str, frame: Timeframe, first_ns: int, end_ns: int
    ) -> Sequence[tuple[int, int]]:
        held = RangeSet((first, last) for first, last, _ in self.absent)
        for open_ns in self.candles:
            slot = slot_opened(frame, open_ns)
            assert slot is not None
            held.add(slot, slot)
        return held.within(frame.slot(first_ns), frame.slot(end_ns - 1))

    async def record_absent_slots(
        self, _venue: str, _symbol: str, _frame: str, ranges: Sequence[tuple[int, int]], proof: str
    ) -> None:
        self.absent += [(*each, proof) for each in ranges]


class Delivery:
    """Hands over to a memory."""

    def __init__(self, memory: Memory) -> None:
        self.trades, self.candles = memory.trades_in, memory.candles_in


class Quarantine:
    def keep(self, kind: str, raw: bytes, reason: str) -> None:
        raise AssertionError((kind, raw, reason))


async def load(
    exchange: PrintedHistory,
    tmp_path: Path,
    first: date,
    last: date,
    stream: Stream = TRADES,
    *,
    memory: Memory | None = None,
    told: Told | None = None,
    accepted: Sequence[str] = (),
) -> tuple[Outcome, Memory]:
    memory, emit = memory or Memory(), told or Told()
    rng = random.Random(1)  # noqa: S311
    rest = ExchangeRest(venue_spec(exchange.venue), "http://exchange", exchange, emit, rng)
    shelf = ArchiveShelf("http://archive", exchange, tmp_path, emit, rng, accepted)
    given = (rest, shelf, Delivery(memory), memory)
    more = {"venue": exchange.venue, "now_ns": TODAY_NS, "emit": emit, "asked_apart_s": 0.0}
    run = HistoryRun(
        TradeLoader(*given, quarantine=Quarantine(), **more),  # type: ignore[arg-type]
        CandleLoader(*given, **more),  # type: ignore[arg-type]
        shelf,
        jobs=1,
        report=lambda *_: None,
    )
    [outcome] = await run.run([Wanted(exchange.symbol, stream, first, last)])
    return outcome, memory


def days(first: date, last: date) -> list[date]:
    return [first + timedelta(days=number) for number in range((last - first).days + 1)]


def printed(venue: Venue, per_day: int = 5) -> PrintedHistory:
    """An exchange that has printed some trades on each day of March, and a few before and after."""
    exchange = PrintedHistory(venue)
    number = 1_000_000
    for day in days(FIRST - timedelta(days=1), LAST + timedelta(days=1)):
        for at in range(per_day):
            exchange.trades[number] = begin_ms(day) + at * HOUR_MS
            number += 1
    if venue is not Venue.SPOT:
        exchange.rest_status = 400  # what is older than 48 hours
    return exchange


def of_march(exchange: PrintedHistory) -> list[int]:
    return [number for number, at in exchange.trades.items() if FIRST <= day_at(at) <= LAST]


def with_daily_files(exchange: PrintedHistory, wanted: Sequence[date]) -> None:
    for day in wanted:
        exchange.file(TRADES, day, day, exchange.trade_lines(lambda _, at: at == day))  # noqa: B023


# -- a month that lacks days ------------------------------------------------------------------------------


LACKING: list[Sequence[int]] = [(1,), (31,), (15, 16), (1, 2, 3), (29, 30, 31), (1, 10, 31)]


@pytest.mark.parametrize("venue", list(Venue))
@pytest.mark.parametrize("lacking", LACKING, ids=str)
async def test_the_days_that_a_month_lacks_come_from_their_own_files(
    tmp_path: Path, venue: Venue, lacking: Sequence[int]
) -> None:
    exchange = printed(venue)
    exchange.file(
        TRADES, FIRST, LAST, exchange.trade_lines(lambda _, at: FIRST <= at <= LAST and at.day not in lacking),
        monthly=True,
    )  # fmt: skip
    with_daily_files(exchange, days(FIRST, LAST))
    exchange.rest_trades = None if venue is not Venue.SPOT else set(exchange.trades)
    outcome, memory = await load(exchange, tmp_path, FIRST, LAST)
    assert sorted(memory.trades) == of_march(exchange)
    assert memory.absent == []
    assert (outcome.missing, outcome.absent, outcome.rows_from_rest, outcome.failures) == (0, 0, 0, [])
    assert outcome.files == 1 + len(lacking)


@pytest.mark.parametrize("part", ["begin", "middle", "end"])
@pytest.mark.parametrize("venue", [Venue.SPOT, Venue.USDM])
async def test_a_part_of_a_day_that_a_month_lacks_comes_from_the_days_file(
    tmp_path: Path, venue: Venue, part: str
) -> None:
    exchange = printed(venue, per_day=10)
    ids = [number for number, at in exchange.trades.items() if day_at(at) == date(2021, 3, 15)]
    gone = set({"begin": ids[:3], "middle": ids[4:6], "end": ids[-3:]}[part])
    exchange.file(
        TRADES, FIRST, LAST, exchange.trade_lines(lambda one, at: FIRST <= at <= LAST and one not in gone),
        monthly=True,
    )  # fmt: skip
    with_daily_files(exchange, days(FIRST, LAST))
    outcome, memory = await load(exchange, tmp_path, FIRST, LAST)
    assert sorted(memory.trades) == of_march(exchange)
    assert (outcome.missing, outcome.absent, outcome.rows_from_rest) == (0, 0, 0)
    assert 2 <= outcome.files <= 3


async def test_what_no_file_of_a_month_has_comes_over_rest(tmp_path: Path) -> None:
    exchange = printed(Venue.SPOT)
    exchange.file(
        TRADES, FIRST, LAST, exchange.trade_lines(lambda _, at: FIRST <= at <= LAST and at.day != 31), monthly=True
    )
    outcome, memory = await load(exchange, tmp_path, FIRST, LAST)
    assert sorted(memory.trades) == of_march(exchange)
    assert (outcome.missing, outcome.absent, outcome.rows_from_rest) == (0, 0, 5)


# -- holes between files ----------------------------------------------------------------------------------


@pytest.mark.parametrize("venue", list(Venue))
async def test_a_hole_between_two_daily_files_is_missing(tmp_path: Path, venue: Venue) -> None:
    exchange = printed(venue)
    first, last = date(2021, 3, 10), date(2021, 3, 11)
    ids = [number for number, at in exchange.trades.items() if first <= day_at(at) <= last]
    gone = ids[4:6]
    for day in (first, last):
        exchange.file(TRADES, day, day, exchange.trade_lines(lambda one, at: at == day and one not in gone))  # noqa: B023
    exchange.rest_status = 400
    outcome, memory = await load(exchange, tmp_path, first, last)
    assert sorted(memory.trades) == [number for number in ids if number not in gone]
    assert (outcome.missing, memory.absent) == (2, [])


# -- short answers ----------------------------------------------------------------------------------------


def once_each(cut: Callable[[list[object]], list[object]]) -> Callable[[str, list[object]], list[object]]:
    """Damage every other answer."""
    count = 0

    def answer(_path: str, rows: list[object]) -> list[object]:
        nonlocal count
        count += 1
        return cut(rows) if count % 2 else rows

    return answer


SHORT: Mapping[str, Callable[[list[object]], list[object]]] = {
    "empty": lambda _: [],
    "its begin": lambda rows: rows[: len(rows) // 2 + 1],
    "its end": lambda rows: rows[len(rows) // 2 :],
    "a hole": lambda rows: rows[: len(rows) // 3 + 1] + rows[2 * len(rows) // 3 + 1 :],
}


@pytest.mark.parametrize("short", SHORT)
@pytest.mark.parametrize("with_file", [False, True])
async def test_trades_survive_answers_that_are_cut_short(tmp_path: Path, short: str, with_file: bool) -> None:
    exchange = printed(Venue.SPOT, per_day=24)
    day = date(2021, 3, 10)
    exchange.answer = once_each(SHORT[short])
    if with_file:
        exchange.file(TRADES, day, day, exchange.trade_lines(lambda one, at: at == day and one % 24 < 3))
    outcome, memory = await load(exchange, tmp_path, day, day)
    assert sorted(memory.trades) == [number for number, at in exchange.trades.items() if day_at(at) == day]
    assert (outcome.missing, outcome.absent, memory.absent) == (0, 0, [])


def minutes(first: date, last: date) -> list[int]:
    return list(range(begin_ms(first), begin_ms(last + timedelta(days=1)), 60_000))


@pytest.mark.parametrize("short", SHORT)
@pytest.mark.parametrize("with_file", [False, True])
async def test_candles_survive_answers_that_are_cut_short(tmp_path: Path, short: str, with_file: bool) -> None:
    exchange = PrintedHistory()
    day = date(2021, 3, 10)
    exchange.candles = minutes(day, day)
    exchange.answer = once_each(SHORT[short])
    if with_file or short == "empty":
        exchange.file(MINUTES, day, day, exchange.candle_lines(lambda at: at // 60_000 % 10 == 0))
    outcome, memory = await load(exchange, tmp_path, day, day, MINUTES)
    assert sorted(open_ns // 1_000_000 for open_ns in memory.candles) == exchange.candles
    assert (outcome.missing, outcome.absent, memory.absent) == (0, 0, [])


@pytest.mark.parametrize("most", [1, 7, 500])
async def test_a_lower_limit_of_a_page_loses_nothing(tmp_path: Path, most: int) -> None:
    exchange = printed(Venue.SPOT, per_day=20)
    day = date(2021, 3, 10)
    exchange.candles = minutes(day, day)[: 40 if most == 1 else 1440]
    held = set(exchange.candles[::3]) | set(minutes(day, day)) - set(exchange.candles)
    exchange.file(MINUTES, day, day, [f"{at},1,2,1,1,1,{at + 59_999},1,1,1,1,0" for at in sorted(held)])
    exchange.most = most
    outcome, memory = await load(exchange, tmp_path, day, day)
    assert (len(memory.trades), outcome.missing, outcome.absent) == (20, 0, 0)
    outcome, memory = await load(exchange, tmp_path, day, day, MINUTES)
    assert (len(memory.candles), outcome.missing, outcome.absent, memory.absent) == (1440, 0, 0, [])


async def test_candles_that_file_and_rest_lack_are_absent_with_the_proof(tmp_path: Path) -> None:
    exchange = PrintedHistory()
    day = date(2021, 3, 10)
    exchange.candles = [at for at in minutes(day, day) if not 600 <= (at - begin_ms(day)) // 60_000 < 620]
    name = exchange.file(MINUTES, day, day, exchange.candle_lines(lambda _: True))
    outcome, memory = await load(exchange, tmp_path, day, day, MINUTES)
    base = begin_ms(day) // 60_000
    [(first, last, proof)] = memory.absent
    assert (first, last) == (base + 600, base + 619)
    assert name in proof
    assert (outcome.missing, outcome.absent) == (0, 20)
    again, _ = await load(exchange, tmp_path, day, day, MINUTES, memory=memory)
    assert (again.days_proven, again.rows_read) == (1, 0)


async def test_candles_of_which_only_rest_can_be_asked_are_missing_and_not_absent(tmp_path: Path) -> None:
    exchange = PrintedHistory()
    day = date(2021, 3, 10)
    exchange.candles = minutes(day, day)[:700]
    outcome, memory = await load(exchange, tmp_path, day, day, MINUTES)
    assert (outcome.missing, outcome.absent, memory.absent) == (740, 0, [])


@pytest.mark.parametrize("lacking", LACKING, ids=str)
async def test_candles_of_days_that_a_month_lacks_come_from_their_own_files(
    tmp_path: Path, lacking: Sequence[int]
) -> None:
    exchange = PrintedHistory(Venue.USDM)
    exchange.candles = minutes(FIRST, LAST)
    exchange.rest_status = 400
    exchange.file(MINUTES, FIRST, LAST, exchange.candle_lines(lambda at: day_at(at).day not in lacking), monthly=True)
    for day in days(FIRST, LAST):
        exchange.file(MINUTES, day, day, exchange.candle_lines(lambda at: day_at(at) == day))  # noqa: B023
    outcome, memory = await load(exchange, tmp_path, FIRST, LAST, MINUTES)
    assert len(memory.candles) == len(exchange.candles)
    assert (outcome.missing, outcome.absent, memory.absent, outcome.files) == (0, 0, [], 1 + len(lacking))


# -- off the raster ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["file", "rest", "month", "half"])
async def test_candles_off_their_raster_are_all_stored(tmp_path: Path, source: str) -> None:
    """As in February 2018: from an evening on candles open 14.789 s behind the minute, for a day and a half."""
    exchange = PrintedHistory()
    first, last = date(2018, 2, 8), date(2018, 2, 10)
    stop, shifted = begin_ms(first) + 23 * HOUR_MS + 28 * 60_000, begin_ms(last) + 9 * HOUR_MS
    exchange.candles = [
        at + 14_789 if stop <= at < shifted else at for at in minutes(first, last)
    ]  # fmt: skip
    if source == "month":
        exchange.file(MINUTES, date(2018, 2, 1), date(2018, 2, 28), exchange.candle_lines(lambda _: True), monthly=True)
    elif source != "rest":
        for day in days(first, last):
            lines = exchange.candle_lines(lambda at: day_at(at) == day)  # noqa: B023
            exchange.file(MINUTES, day, day, lines[:: 2 if source == "half" else 1])
    wanted = (date(2018, 2, 1), date(2018, 2, 28)) if source == "month" else (first, last)
    outcome, memory = await load(exchange, tmp_path, *wanted, MINUTES)
    assert sorted(open_ns // 1_000_000 for open_ns in memory.candles) == exchange.candles
    if source != "month":
        assert (outcome.missing, outcome.absent, outcome.days_without_data, memory.absent) == (0, 0, 0, [])
    again, _ = await load(exchange, tmp_path, first, last, MINUTES, memory=memory)
    assert (again.days_proven, again.rows_read) == (3, 0)


# -- checksums that stay wrong ----------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [TRADES, MINUTES])
@pytest.mark.parametrize("monthly", [False, True])
async def test_a_file_that_stays_wrong_sends_the_load_to_the_next_source(
    tmp_path: Path, stream: Stream, monthly: bool
) -> None:
    exchange = printed(Venue.SPOT)
    exchange.candles = minutes(FIRST, LAST)
    first, last = (FIRST, LAST) if monthly else (FIRST, FIRST)
    lines = (
        exchange.trade_lines(lambda _, at: first <= at <= last)
        if stream is TRADES
        else exchange.candle_lines(lambda at: first <= day_at(at) <= last)
    )
    name = exchange.file(stream, first, last, lines, monthly=monthly)
    exchange.wrong.add(name)
    told = Told()
    outcome, memory = await load(exchange, tmp_path, first, last, stream, told=told)
    assert len(memory.trades or memory.candles) == len(lines)
    assert (outcome.missing, outcome.failures, outcome.rows_from_rest) == (0, [], len(lines))
    [refusal] = outcome.refused
    assert name in refusal
    assert [one.file for one in told.of(events.ArchiveFlaw)] == [name, name]


async def test_a_file_that_stays_wrong_can_be_accepted_by_its_name(tmp_path: Path) -> None:
    exchange = printed(Venue.USDM)
    day = date(2021, 3, 10)
    name = exchange.file(TRADES, day, day, exchange.trade_lines(lambda _, at: at == day))
    exchange.wrong.add(name)
    outcome, memory = await load(exchange, tmp_path, day, day)
    assert (len(memory.trades), outcome.days_unknown, len(outcome.refused)) == (0, 1, 1)
    assert f"--accept {name}" in outcome.refused[0]
    told = Told()
    outcome, memory = await load(exchange, tmp_path, day, day, told=told, accepted=[name])
    assert (len(memory.trades), outcome.days_unknown, outcome.refused) == (5, 0, [])
    assert "accepted" in told.of(events.ArchiveFlaw)[-1].flaw
