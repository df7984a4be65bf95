from collections import Counter
from itertools import groupby, islice, pairwise

import pytest

from crypto_quant.errors import ConfigError
from crypto_quant.sim.aggregate import Aggregator
from crypto_quant.sim.symbols import first_names, invented
from crypto_quant.sim.synthetic import SyntheticTape
from crypto_quant.sim.tape import Trade

START = 1_790_856_000_000_000


def market(**changes: float | int) -> SyntheticTape:
    settings: dict[str, float | int] = {"rate": 1000.0, "seed": 7, "start_us": START, "seconds": 20.0} | changes
    return SyntheticTape(invented(first_names(5)), **settings)  # type: ignore[arg-type]


def trades(tape: SyntheticTape) -> list[Trade]:
    return [trade for block in tape.blocks() for trade in block]


def test_one_seed_one_market() -> None:
    assert trades(market()) == trades(market())
    tape = market()
    assert trades(tape) == trades(tape)
    assert trades(market()) != trades(market(seed=8))


def test_trades_are_what_an_exchange_could_print() -> None:
    tape = market()
    by_symbol: dict[str, list[Trade]] = {}
    for one in trades(tape):
        by_symbol.setdefault(one.symbol, []).append(one)
    assert len(by_symbol) == 5
    for info in tape.symbols:
        mine = by_symbol[info.name]
        assert [one.first_id for one in mine] == list(range(mine[0].first_id, mine[0].first_id + len(mine)))
        assert mine[0].first_id > 2**32
        assert all(one.first_id == one.last_id for one in mine)
        assert all(one.price > 0 and one.price % info.tick == 0 for one in mine)
        assert all(one.quantity > 0 and one.quantity % info.step == 0 for one in mine)
        assert all(START <= one.time_us < START + 20_000_000 for one in mine)
        assert len({one.price for one in mine}) > 1


def test_time_never_runs_back() -> None:
    assert all(one.time_us <= later.time_us for one, later in pairwise(trades(market())))


def test_takers_sweep_makers_and_prices() -> None:
    tape = market()
    aggregator = Aggregator({symbol.name: 1 for symbol in tape.symbols})
    instants = [list(instant) for _, instant in groupby(trades(tape), lambda trade: trade.time_us)]
    aggregates = [one for instant in instants for one in aggregator.join(instant)]
    sizes = Counter(one.last_id - one.first_id + 1 for one in aggregates)
    assert sizes[1] > sizes[2] > 0
    assert max(sizes) > 2
    # one order at several prices: aggregates of one instant
    assert max(Counter((one.symbol, one.time_us) for one in aggregates).values()) > 1
    assert {one.maker for one in aggregates} == {True, False}


def test_the_rate_is_about_what_was_asked() -> None:
    assert 0.8 < len(trades(market(seconds=200.0))) / 200_000 < 1.25


def test_popularity_falls_off_to_a_symbol_with_quiet_seconds() -> None:
    count = Counter(one.symbol for one in trades(market(rate=200.0)))
    ordered = [count[symbol.name] for symbol in market().symbols]
    assert ordered[0] == max(ordered)
    assert 0 < ordered[-1] < 100
    last = market().symbols[-1].name
    seconds = {one.time_us // 1_000_000 for one in trades(market(rate=200.0)) if one.symbol == last}
    assert len(seconds) < 20


def test_it_is_endless_and_delisted_symbols_never_trade() -> None:
    tape = SyntheticTape(invented(["BTCUSDT"], delisted=["LUNAUSDT"]), rate=10, seed=1, start_us=START)
    blocks = list(islice(tape.blocks(), 500))
    assert len(blocks) == 500
    assert {one.symbol for block in blocks for one in block} == {"BTCUSDT"}


def test_many_trades_come_in_small_blocks() -> None:
    sizes = [len(block) for block in market(rate=100_000.0, seconds=0.5).blocks()]
    assert len(sizes) > 10
    assert max(sizes) < 40_000


@pytest.mark.parametrize("rate", [0, -1, 1e9, float("nan")])
def test_a_rate_out_of_range_is_refused(rate: float) -> None:
    with pytest.raises(ConfigError):
        market(rate=rate)
