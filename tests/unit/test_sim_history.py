from crypto_quant.sim.aggregate import Aggregate
from crypto_quant.sim.history import History
from crypto_quant.sim.tape import Trade


def aggregate(number: int, time_us: int, symbol: str = "A") -> Aggregate:
    return Aggregate(symbol, number, 5, 6, number, number, time_us, number % 2 == 0, True)


def note(history: History, one: Aggregate) -> None:
    """As the market does: one recorded aggregate."""
    print_ = Trade(
        one.symbol, one.first_id, one.last_id, one.price, one.quantity, one.time_us, one.maker, agg_id=one.agg_id
    )  # fmt: skip
    history.add([print_], [one])


def test_rows_come_back_as_they_went_in() -> None:
    history = History(["A"], 100)
    rows = [aggregate(number, 10 * number) for number in range(3, 9)]
    for one in rows:
        note(history, one)
    log = history.aggregates["A"]
    assert list(log.rows(0, len(log))) == rows
    assert list(log.rows(-5, 2)) == rows[:2]
    assert list(log.rows(4, 99)) == rows[4:]


def test_positions_by_id_and_by_time() -> None:
    history = History(["A"], 100)
    for number in (3, 4, 7):
        note(history, aggregate(number, 10 * number))
    log = history.aggregates["A"]
    assert [log.at_id(number) for number in (1, 3, 5, 7, 8)] == [0, 0, 2, 2, 3]
    assert [log.at_time(time_us) for time_us in (30, 31, 70, 71)] == [0, 1, 2, 3]


def test_prints_of_several_trades_have_no_raw_rows() -> None:
    history = History(["A"], 100)
    history.add([Trade("A", 1, 1, 5, 6, 10, True)], [])
    history.add([Trade("A", 2, 4, 5, 6, 11, True, agg_id=9)], [])
    assert [one.agg_id for one in history.trades["A"].rows(0, 9)] == [1]


def test_memory_is_bounded_and_reaches_back_equally_far_for_all() -> None:
    history = History(["A", "B"], 320)
    for number in range(1_000):
        note(history, aggregate(number, number))
        if number % 10 == 0:
            note(history, aggregate(number, number, "B"))
    kept = {symbol: list(log.rows(0, len(log))) for symbol, log in history.aggregates.items()}
    assert sum(len(rows) for rows in kept.values()) <= 160 + 10
    assert len(kept["A"]) > 100
    assert history.horizon_us > 0
    assert kept["A"][0].time_us == history.horizon_us
    assert 0 <= kept["B"][0].time_us - history.horizon_us < 10
    assert kept["A"][-1].agg_id == 999
