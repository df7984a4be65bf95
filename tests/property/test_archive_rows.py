"""Any archive rows, in any order, cut anywhere: the same rows, and an honest account of what they prove."""

import itertools
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_quant.binance import archive
from crypto_quant.binance.archive import TradeLines, TradeReader
from crypto_quant.continuity import Gap, Sequencer, runs, without
from crypto_quant.errors import UndecodableFrame
from crypto_quant.market import Venue
from crypto_quant.seams import Lines

ids = st.sets(st.integers(0, 300), min_size=1, max_size=60)


def line(number: int, microseconds: bool) -> str:
    time = 1_790_856_000_000_000 + number * 1000 + number
    return (
        f"{number},{number}.50,0.0{number},{number},{number + 1},{time if microseconds else time // 1000},True,True\n"
    )


@given(ids, st.booleans(), st.randoms(use_true_random=False), st.booleans())
def test_any_order_gives_the_same_rows(numbers: set[int], micro: bool, random: object, header: bool) -> None:
    ordered = [line(number, micro) for number in sorted(numbers)]
    shuffled = list(ordered)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    head = "agg_trade_id,price,quantity\n" if header else ""
    reader = TradeReader(Venue.SPOT, "btcusdt")
    straight = reader.read("".join(ordered).encode())
    assert reader.read((head + "".join(shuffled)).encode()) == straight
    assert straight.ids == sorted(numbers)
    assert [int(row.split(b"\t")[3]) for row in straight.rows] == straight.ids


@given(ids, st.lists(st.tuples(st.integers(-5, 310), st.integers(0, 40)), max_size=8))
def test_ranges_against_sets(numbers: set[int], spans: list[tuple[int, int]]) -> None:
    found = runs(sorted(numbers))
    assert {n for gap in found for n in range(gap.first, gap.last + 1)} == numbers
    assert all(a.last + 1 < b.first for a, b in itertools.pairwise(found))
    had = [(first, first + length) for first, length in spans]
    left = without(Gap(0, 300), had)
    assert {n for gap in left for n in range(gap.first, gap.last + 1)} == set(range(301)) - {
        n for first, last in had for n in range(first, last + 1)
    }
    assert all(a.last + 1 < b.first for a, b in itertools.pairwise(left))


@given(ids, st.lists(st.tuples(st.integers(0, 310), st.integers(0, 40)), max_size=8))
def test_what_a_backfill_finds_is_no_longer_missing(numbers: set[int], spans: list[tuple[int, int]]) -> None:
    """A sequencer against a set: ids that are found, in any ranges, are missing no more, and nothing else changes."""
    sequencer = Sequencer()
    for number in sorted(numbers):
        sequencer.observe(number)
    missing = set(range(min(numbers), max(numbers) + 1)) - numbers
    for first, length in spans:
        sequencer.found(first, first + length)
        missing -= set(range(first, first + length + 1))
        assert {n for gap in sequencer.gaps for n in range(gap.first, gap.last + 1)} == missing
        assert sequencer.missing == len(missing)
        inside = sequencer.missing_within(first - 20, first + 20)
        assert {n for gap in inside for n in range(gap.first, gap.last + 1)} == {
            n for n in missing if first - 20 <= n <= first + 20
        }


# what one line may have that its neighbours do not, sound or not: column, text
ODDITIES = [
    *((column, text) for column in (1, 2) for text in ("7", "1.12", "0", "1.123456789", "1e5", "-1", ".5", "1.", "")),
    *((1, "123456789012.1"), (1, "1234567890123.1"), (0, "12"), (0, ""), (0, "35000000007")),
    *((3, "8100000002"), (3, "-1"), (3, "99"), (4, "-1"), (4, "8100000002"), (4, "81000000010"), (4, "")),
    *((5, "1790856000000"), (5, "1790856000000001"), (5, "179085600000"), (6, "True"), (6, "false"), (6, "yes")),
    *((7, ""), (7, ",True"), (7, ",False\r"), (7, ",,"), (7, "1")),
]


def rows_alike(count: int, number: int, time: int, sides: tuple[str, str], ending: str) -> list[list[str]]:
    """Return the columns of so many sound lines of one form; the last is what stands behind the maker's side."""
    return [
        [
            str(number + n),
            f"64250.1{n}",
            "0.01",
            "8100000001",
            "8100000001",
            str(time + n * n * 999),
            sides[n % 2],
            ending,
        ]
        for n in range(count)
    ]


def text_of(rows: list[list[str]]) -> str:
    return "".join(",".join(row[:7]) + row[7] + "\n" for row in rows)


@st.composite
def odd_lines(draw: st.DrawFn) -> bytes:
    """Draw lines that are alike, as in a file, but for one or two of them, or for the order of their ids."""
    (yes, no) = draw(st.sampled_from([("True", "False"), ("true", "false")]))
    ending = draw(st.sampled_from(["", ",True", "\r"]))
    begin_us = 1_790_856_000_000_000
    time = draw(st.sampled_from([begin_us, begin_us // 1000]))
    number, count = draw(st.sampled_from([95, 3_500_000_000])), draw(st.integers(1, 30))
    rows = rows_alike(count, number, time, (yes, no), ending)
    flaw = draw(st.sampled_from(["none", "odd", "order", "twice"]))
    at, other = draw(st.integers(0, count - 1)), draw(st.integers(0, count - 1))
    if flaw == "odd":
        for _ in range(draw(st.integers(1, 2))):
            column, text = draw(st.sampled_from(ODDITIES))
            rows[at][column] = text
    elif flaw == "order":
        rows[at], rows[other] = rows[other], rows[at]
    elif flaw == "twice":
        rows.insert(other, rows[at])
    header = draw(st.sampled_from(["", "agg_trade_id,price,quantity\n"]))
    return (header + text_of(rows)).encode()[: -1 if draw(st.integers(0, 9)) == 0 else None]


def outcome(read: Callable[[bytes], TradeLines], lines: bytes) -> object:
    """Return what a reading gives, or with what words it refuses."""
    try:
        ids, rows = read(lines)
    except UndecodableFrame as problem:
        return str(problem)
    return ids, list(rows)


@settings(max_examples=400)
@given(odd_lines(), st.sampled_from([1, 200, 2**16]))
def test_lines_that_are_alike_give_what_each_of_them_gives(lines: bytes, block: int) -> None:
    """The quick way against the careful one, which looks at each line by itself."""
    reader = TradeReader(Venue.SPOT, "btcusdt")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(archive, "_BLOCK", block)
        assert outcome(reader.read, lines) == outcome(reader._read_each, lines)


@pytest.mark.parametrize(("column", "text"), ODDITIES)
@pytest.mark.parametrize("ending", ["", ",True"])
def test_one_odd_line_among_many_that_are_alike(column: int, text: str, ending: str) -> None:
    reader = TradeReader(Venue.SPOT, "btcusdt")
    for at in (0, 7, 19):
        rows = rows_alike(20, 3_500_000_000, 1_790_856_000_000_000, ("True", "False"), ending)
        rows[at][column] = text
        lines = text_of(rows).encode()
        assert outcome(reader.read, lines) == outcome(reader._read_each, lines)


def test_lines_that_are_alike_are_read_the_quick_way() -> None:
    reader = TradeReader(Venue.SPOT, "btcusdt")
    for ending in ("\n", ",True\n", "\r\n"):
        for time in (1_790_856_000_000, 1_790_856_000_000_000):
            lines = "".join(
                f"{3_500_000_000 + n},64250.1{n},0.{n + 1},8100000001,8100000001,{time + n},{n % 2 == 0}{ending}"
                for n in range(5000)
            )
            assert isinstance(reader.read(lines.encode()).rows, Lines)
            assert isinstance(reader.read(b"agg_trade_id,price\n" + lines.encode()).rows, Lines)
