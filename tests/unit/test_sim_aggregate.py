from itertools import groupby

from crypto_quant.sim.aggregate import Aggregate, Aggregator
from crypto_quant.sim.numbers import parse8
from crypto_quant.sim.tape import Trade


def trade(
    number: int, price: str, quantity: str, time_us: int, *, maker: bool = True, symbol: str = "BTCUSDT"
) -> Trade:  # fmt: skip
    return Trade(symbol, number, number, parse8(price), parse8(quantity), time_us, maker)


def joined(trades: list[Trade], first_id: int = 3_000_000_001) -> list[Aggregate]:
    aggregator = Aggregator({"BTCUSDT": first_id, "ETHUSDT": 7})
    return [
        one for _, instant in groupby(trades, lambda trade: trade.time_us) for one in aggregator.join(list(instant))
    ]


# the scenario of the exchange's documentation: five trades, three aggregates
SCENARIO = [
    trade(5_000_000_001, "64250.1", "0.004", 1_790_856_001_200_000),
    trade(5_000_000_002, "64250.1", "0.006", 1_790_856_001_200_000),
    trade(5_000_000_003, "64250.0", "0.0025", 1_790_856_001_200_000),
    trade(5_000_000_004, "64250.5", "0.001", 1_790_856_041_007_000, maker=False),
    trade(5_000_000_005, "64250.5", "0.0015", 1_790_856_041_007_000, maker=False),
]


def test_fills_of_one_order_at_one_price_are_one_aggregate() -> None:
    assert [
        (one.agg_id, one.price, one.quantity, one.first_id, one.last_id, one.maker) for one in joined(SCENARIO)
    ] == [
        (3_000_000_001, parse8("64250.1"), parse8("0.01"), 5_000_000_001, 5_000_000_002, True),
        (3_000_000_002, parse8("64250.0"), parse8("0.0025"), 5_000_000_003, 5_000_000_003, True),
        (3_000_000_003, parse8("64250.5"), parse8("0.0025"), 5_000_000_004, 5_000_000_005, False),
    ]


def test_another_time_side_or_id_is_another_aggregate() -> None:
    assert len(joined([trade(1, "1", "1", 10), trade(2, "1", "1", 11)])) == 2
    assert len(joined([trade(1, "1", "1", 10), trade(2, "1", "1", 10, maker=False)])) == 2
    assert len(joined([trade(1, "1", "1", 10), trade(3, "1", "1", 10)])) == 2
    assert len(joined([trade(1, "1", "1", 10), trade(2, "1", "1", 10)])) == 1


def test_an_old_price_does_not_reopen_its_aggregate() -> None:
    prices = [(one.price, one.first_id) for one in joined([
        trade(1, "1", "1", 10), trade(2, "2", "1", 10), trade(3, "1", "1", 10),
    ])]  # fmt: skip
    assert prices == [(parse8("1"), 1), (parse8("2"), 2), (parse8("1"), 3)]


def test_symbols_do_not_disturb_each_other() -> None:
    trades = [trade(1, "1", "1", 10), trade(9, "1", "1", 10, symbol="ETHUSDT"), trade(2, "1", "1", 10)]
    assert [(one.symbol, one.agg_id, one.first_id, one.last_id) for one in joined(trades, 1)] == [
        ("BTCUSDT", 1, 1, 2),
        ("ETHUSDT", 7, 9, 9),
    ]


def test_recorded_aggregates_keep_their_ids() -> None:
    recorded = Trade("BTCUSDT", 5, 9, parse8("1"), parse8("2"), 10, maker=True, best=True, agg_id=77)
    beside = Trade("BTCUSDT", 10, 10, parse8("1"), parse8("2"), 10, maker=True, best=True, agg_id=78)
    assert [(one.agg_id, one.first_id, one.last_id) for one in joined([recorded, beside])] == [(77, 5, 9), (78, 10, 10)]
