"""What follows from rows: holes, doubles, breaks, whole candles and their differences."""

from decimal import Decimal

import msgspec
import pytest

from crypto_quant.continuity import Gap, RangeSet
from crypto_quant.evidence import FromTrades, Pair, Run
from crypto_quant.judgement import Break, Hole, differences, sweep, whole


def run(first: int, last: int, *, venue: str = "spot", **more: int) -> Run:
    """Return a run whose single trades are two an id, and whose times are its ids."""
    given = {"first_single": 2 * first, "last_single": 2 * last + 1} | more
    return Run(venue, "btcusdt", first, last, last - first + 1, first, last, **given)


NONE = RangeSet()


def test_runs_that_continue_each_other_are_sound() -> None:
    swept = sweep([run(11, 20), run(1, 10)], NONE)
    assert (swept.holes, swept.overlaps, swept.breaks) == ([], [], [])


def test_a_hole_lies_between_two_runs() -> None:
    swept = sweep([run(1, 10), run(14, 20)], NONE)
    assert swept.holes == [Hole(11, 13, 10, 14)]
    assert swept.holes[0].size == 3


def test_excused_ids_are_no_hole_and_may_divide_one() -> None:
    assert sweep([run(1, 10), run(14, 20)], RangeSet([(11, 13)])).holes == []
    assert sweep([run(1, 10), run(14, 20)], RangeSet([(12, 12)])).holes == [Hole(11, 11, 10, 14), Hole(13, 13, 10, 14)]


def test_ids_in_two_runs_are_doubled_and_hide_no_hole() -> None:
    swept = sweep([run(1, 10), run(5, 6), run(12, 15)], NONE)
    assert swept.overlaps == [Gap(5, 6)]
    assert swept.holes == [Hole(11, 11, 10, 12)]


def test_single_trades_must_continue_on_spot_alone() -> None:
    odd = run(11, 20, first_single=25)
    assert sweep([run(1, 10), odd], NONE).breaks == [Break(11, 22, 25)]
    assert sweep([run(1, 10, venue="usdm"), run(11, 20, venue="usdm", first_single=25)], NONE).breaks == []
    assert sweep([run(1, 10), run(11, 20, first_single=-1)], NONE).breaks == []


TRADES = FromTrades(
    first=10, last=12, aggregates=3, open=Decimal(5), high=Decimal(7), low=Decimal(4), close=Decimal(6),
    volume=Decimal(9), quote=Decimal("50.00000007"), taker_volume=Decimal(3), taker_quote=Decimal("20.00000001"),
    singles=8, taker_aggregates=1, taker_singles=1, first_single=100, last_single=107,
)  # fmt: skip
PAIR = Pair(
    venue="spot", symbol="btcusdt", timeframe="1m", open_ns=0, open=Decimal(5), high=Decimal(7), low=Decimal(4),
    close=Decimal(6), volume=Decimal(9), quote_volume=Decimal("50.00000007"), trade_count=8,
    taker_buy_volume=Decimal(3), taker_buy_quote_volume=Decimal("20.00000001"), first_trade_id=100,
    last_trade_id=107, trades=TRADES,
)  # fmt: skip


@pytest.mark.parametrize(
    ("held", "void", "expected"),
    [
        ([(9, 13)], [], True),
        ([(1, 100)], [], True),
        ([(10, 13)], [], False),  # what was before is not known
        ([(9, 12)], [], False),  # what came after is not known
        ([(9, 10), (12, 13)], [], False),
        ([(10, 13)], [(9, 9)], True),  # a neutralised id is a neighbour as well
    ],
)
def test_a_candle_is_whole_between_its_neighbours(
    held: list[tuple[int, int]], void: list[tuple[int, int]], expected: bool
) -> None:
    assert whole(TRADES, RangeSet(held), RangeSet(void)) is expected


def test_void_ids_inside_have_no_row_and_doubled_rows_are_not_whole() -> None:
    assert whole(msgspec.structs.replace(TRADES, aggregates=2), RangeSet([(9, 10), (12, 13)]), RangeSet([(11, 11)]))
    assert not whole(msgspec.structs.replace(TRADES, aggregates=4), RangeSet([(9, 13)]), NONE)


def test_an_equal_candle_has_no_differences() -> None:
    assert differences(PAIR) == []
    silent = msgspec.structs.replace(
        PAIR, quote_volume=None, trade_count=None, taker_buy_volume=None, taker_buy_quote_volume=None,
        first_trade_id=None, last_trade_id=None,
    )  # fmt: skip
    assert differences(silent) == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("open", Decimal("5.00000001")), ("high", Decimal(8)), ("low", Decimal("3.9")), ("close", Decimal(0)),
        ("volume", Decimal("8.99999999")), ("trade_count", 7), ("taker_buy_volume", Decimal("3.1")),
        ("first_trade_id", 99), ("last_trade_id", 108),
    ],
)  # fmt: skip
def test_each_exact_field_is_compared(field: str, value: object) -> None:
    [found] = differences(msgspec.structs.replace(PAIR, **{field: value}))
    assert (found.field, found.stored) == (field, f"{value:f}" if isinstance(value, Decimal) else str(value))


def test_quote_volume_may_be_less_by_what_cutting_each_single_trade_costs() -> None:
    # 8 single trades in 3 aggregates: at most 5 units less, never more
    for units, right in ((0, True), (5, True), (6, False), (-1, False)):
        value = TRADES.quote - units * Decimal("0.00000001")
        found = differences(msgspec.structs.replace(PAIR, quote_volume=value))
        assert (found == []) is right, units
        if found:
            assert found[0].derived == "50.00000002 to 50.00000007"
    # one single trade in one aggregate leaves nothing open
    less = msgspec.structs.replace(PAIR, taker_buy_quote_volume=Decimal("20.00000000"))
    assert [each.derived for each in differences(less)] == ["20.00000001"]
