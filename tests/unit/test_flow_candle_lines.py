"""Closed candles in the log: with many series one line a close with counts, and each candle at DEBUG."""

import io
import json
from typing import Any

import msgspec
import pytest
from flow_doubles import Journal, until
from hypothesis import given
from hypothesis import strategies as st

from crypto_quant import events
from crypto_quant.compose import _many_candles
from crypto_quant.config import Settings
from crypto_quant.flow import candle_lines
from crypto_quant.flow.candle_lines import CandleLines
from crypto_quant.market import Venue
from crypto_quant.ops import log


def stored(symbol: str, minute: int = 0, timeframe: str = "1m", source: str = "stream") -> events.CandleStored:
    return events.CandleStored(
        venue="spot", symbol=symbol, timeframe=timeframe, open_time=f"2026-10-01T12:{minute:02}:00Z", close="1.5",
        volume="2", trades=3, source=source,
    )  # fmt: skip


async def test_a_close_of_many_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candle_lines, "_GATHERED_S", 0.01)
    journal = Journal()
    lines = CandleLines(journal)
    for at in range(200):
        lines(stored(f"s{at}", source="rest" if at < 3 else "stream"))
        lines(stored(f"s{at}", timeframe="1h"))
    await until(lambda: len(journal.of(events.CandlesStored)) == 2)
    minute, hour = journal.of(events.CandlesStored)
    assert (minute.timeframe, minute.candles, minute.symbols, minute.from_rest) == ("1m", 200, 200, 3)
    assert (hour.timeframe, hour.candles, hour.symbols, hour.from_rest) == ("1h", 200, 200, 0)
    assert minute.first_open == minute.last_open == "2026-10-01T12:00:00Z"
    lines(stored("s1", 1))
    await until(lambda: len(journal.of(events.CandlesStored)) == 3)
    lines.close()
    assert len(journal.of(events.CandlesStored)) == 3, "nothing was left"


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 59), st.sampled_from(["1m", "5m"]))))
async def test_every_candle_is_counted_once(candles: list[tuple[str, int, str]]) -> None:
    journal = Journal()
    lines = CandleLines(journal)
    for each in candles:
        lines(stored(*each))
    lines.close()
    told = journal.of(events.CandlesStored)
    assert sum(each.candles for each in told) == len(candles)
    for each in told:
        of = [(symbol, minute) for symbol, minute, timeframe in candles if timeframe == each.timeframe]
        opens = [f"2026-10-01T12:{minute:02}:00Z" for _, minute in of]
        assert (each.first_open, each.last_open) == (min(opens), max(opens))
        assert each.symbols == len({symbol for symbol, _ in of})


async def test_a_drain_tells_what_is_left_before_the_statistics() -> None:
    journal = Journal()
    lines = CandleLines(journal)
    lines(stored("btcusdt"))
    step = events.DrainStep(step="closed the database", pending=0)
    lines(step)
    assert [type(each) for each in journal.events[1:]] == [events.CandlesStored, events.DrainStep]
    lines.close()
    assert journal.events[-1] == step


async def test_each_candle_has_its_line_at_debug_and_other_events_pass() -> None:
    def lines_of(level: str) -> list[dict[str, Any]]:
        out = io.StringIO()
        lines = CandleLines(log.setup(level, "json", out))
        lines(stored("btcusdt"))
        lines(events.SpoolReplayed(rows=1, duplicates=0, took_s=0.1))
        lines.close()
        return [json.loads(line) for line in out.getvalue().splitlines()]

    assert [each["event"] for each in lines_of("INFO")] == ["Spool replayed", "CLOSED candles stored"]
    each, *_ = lines_of("DEBUG")
    assert (each["event"], each["level"]) == ("CLOSED candle stored", "debug")
    assert each.items() >= msgspec.to_builtins(stored("btcusdt")).items()


@pytest.mark.parametrize(
    ("symbols", "streams", "limit", "many"),
    [
        (20, ("aggTrade", "kline_1m"), 20, False),
        (21, ("kline_1m",), 20, True),
        (10, ("kline_1m", "kline_5m", "kline_1m"), 20, False),
        (11, ("kline_1m", "kline_5m"), 20, True),
        (1000, ("aggTrade",), 0, False),
        (1, ("kline_1m",), 0, True),
    ],
)
def test_many_are_more_than_the_setting_says(symbols: int, streams: tuple[str, ...], limit: int, many: bool) -> None:
    names = tuple(f"S{at}USDT" for at in range(symbols))
    settings = Settings(symbols=(*names, names[0].lower()), streams=streams, venue=Venue.SPOT, candle_lines=limit)
    assert _many_candles(settings) is many
