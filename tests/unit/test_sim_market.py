"""The order of time: what is told, when, and that it does not depend on how time is cut into steps."""

import pytest

from crypto_quant.sim.aggregate import Aggregate
from crypto_quant.sim.market import Market
from crypto_quant.sim.symbols import invented
from crypto_quant.sim.synthetic import SyntheticTape
from crypto_quant.sim.tape import ListTape, SymbolInfo, Trade

NOON = 1_790_856_000_000_000
SYMBOLS = [SymbolInfo(name="A", base="A", quote="B"), SymbolInfo(name="C", base="C", quote="B")]


class Ear:
    """Writes down what it hears."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, int, int]] = []

    def on_trade(self, trade: Trade, event_us: int) -> None:
        self.heard.append((f"trade {trade.symbol}", trade.first_id, event_us - NOON))

    def on_aggregate(self, one: Aggregate, event_us: int) -> None:
        self.heard.append((f"aggregate {one.symbol}", one.agg_id, event_us - NOON))

    def on_second(self, second_us: int, event_us: int) -> None:
        self.heard.append(("second", (second_us - NOON) // 1_000_000, event_us - NOON))

    def on_minute(self, minute_us: int, event_us: int) -> None:
        self.heard.append(("minute", (minute_us - NOON) // 1_000_000, event_us - NOON))

    def on_update(self, event_us: int) -> None:
        self.heard.append(("update", 0, event_us - NOON))

    def only(self, *kinds: str) -> list[tuple[str, int, int]]:
        return [one for one in self.heard if one[0].split()[0] in kinds]


def trade(symbol: str, number: int, time_us: int) -> Trade:
    return Trade(symbol, number, number, 5, 6, NOON + time_us, True)


def test_trades_come_a_moment_after_they_happened_and_aggregates_when_they_are_whole() -> None:
    tape = ListTape(SYMBOLS, [trade("A", 1, 10), trade("C", 4, 10), trade("A", 2, 10), trade("A", 3, 11)], NOON)
    market, ear = Market(tape, history_limit=1000), Ear()
    assert not market.advance(NOON + 5_000, ear, 100)
    assert market.ended
    assert market.advance(NOON + 5_000, ear, 100)
    assert ear.heard == [
        ("trade A", 1, 810), ("trade C", 4, 810), ("trade A", 2, 810), ("aggregate A", 1, 810),
        ("aggregate C", 1, 810), ("trade A", 3, 811), ("aggregate A", 2, 811),
    ]  # fmt: skip
    assert (market.now_us, market.printed) == (NOON + 5_000, 4)


def test_nothing_is_told_before_its_time() -> None:
    market, ear = Market(ListTape(SYMBOLS, [trade("A", 1, 10_000)], NOON), history_limit=1000), Ear()
    assert market.advance(NOON + 10_799, ear, 100)
    assert ear.heard == []
    assert market.agg_trades("A") == []
    market.advance(NOON + 10_800, ear, 100)
    assert [one.agg_id for one in market.agg_trades("A")] == [1]


def test_the_clockwork_of_candles() -> None:
    market, ear = Market(ListTape(SYMBOLS, [], NOON - 1_500_000), history_limit=1000), Ear()
    market.advance(NOON + 2_100_000, ear, 10**6)
    assert ear.heard == [
        ("second", -1, -998_000),
        ("second", 0, 2_000), ("minute", 0, 4_000), ("update", 0, 15_000),
        ("second", 1, 1_002_000),
        ("second", 2, 2_002_000), ("update", 0, 2_015_000),
    ]  # fmt: skip


def test_a_candle_is_whole_when_its_end_is_told() -> None:
    # the last trade of the minute is told before the minute's end is
    market, ear = Market(ListTape(SYMBOLS, [trade("A", 1, 59_999_999), trade("A", 2, 60_000_000)], NOON),
                         history_limit=1000), Ear()  # fmt: skip
    while not market.advance(NOON + 61_000_000, ear, 100):
        pass
    order = [(kind, number) for kind, number, _ in ear.only("trade", "minute")]
    assert order == [("trade A", 1), ("trade A", 2), ("minute", 60)]
    closed = market.closed_candles("A", "1m")
    assert [(one.first_id, one.last_id) for one in closed] == [(1, 1)]


@pytest.mark.parametrize("step_us", [700, 12_345, 1_000_000, 60_000_000])
def test_the_size_of_steps_changes_nothing(step_us: int) -> None:
    def told(step: int, slice_: int) -> list[tuple[str, int, int]]:
        tape = SyntheticTape(invented(["A", "C"]), rate=100, seed=3, start_us=NOON, seconds=3)
        market, ear = Market(tape, history_limit=1000), Ear()
        while market.now_us < NOON + 5_000_000:
            until = min(market.now_us + step, NOON + 5_000_000)
            while not market.advance(until, ear, slice_):
                pass
        return ear.heard

    assert told(step_us, 7) == told(5_000_000, 10**9)


def test_a_slice_never_cuts_an_instant() -> None:
    tape = ListTape(SYMBOLS, [trade("A", number, 10) for number in range(1, 50)], NOON)
    market, ear = Market(tape, history_limit=1000), Ear()
    market.advance(NOON + 1_000, ear, 3)
    assert len(ear.only("trade")) == 49
    assert ear.only("aggregate") == [("aggregate A", 1, 810)]


def test_a_halted_symbol_has_no_candles() -> None:
    halted = [SymbolInfo(name="A", base="A", quote="B", reference=5, status="BREAK")]
    market = Market(ListTape(halted, [], NOON), history_limit=1000)
    market.advance(NOON + 200_000_000, Ear(), 10**6)
    assert market.closed_candles("A", "1m") == []
