"""Tables that fit: no value is ever shortened, whatever the width."""

from hypothesis import given
from hypothesis import strategies as st

from crypto_quant.cli.fitted import Column, fit

COLUMNS = (
    Column("symbol", right=False), Column("rows"), Column("first id", drop=1), Column("doubled", drop=2, quiet="0"),
    Column("filled from", right=False, drop=3),
)  # fmt: skip
ROW = st.tuples(
    st.text("abcusdt", min_size=1, max_size=12), st.integers(0, 10**12).map("{:,}".format),
    st.integers(0, 2**63).map(str), st.integers(0, 3).map(str), st.text("abc 123,", max_size=30).map(str.strip),
)  # fmt: skip


@given(st.lists(ROW, min_size=1, max_size=5), st.one_of(st.none(), st.integers(1, 120)))
def test_every_value_that_is_shown_is_whole(rows: list[tuple[str, ...]], width: int | None) -> None:
    table = fit(COLUMNS, rows, width)
    for row, lines in zip(rows, table.rows, strict=True):
        shown = "\n".join(lines)
        for column, value in zip(COLUMNS, row, strict=True):
            assert column.name in table.left_out or value in shown
    if table.head:  # a stacked row may be as wide as its widest value
        assert all(width is None or len(line) <= width for line in [table.head, *(lines[0] for lines in table.rows)])
        names = [column.name for column in COLUMNS if column.name not in table.left_out]
        assert all(name in table.head for name in names)


@given(st.lists(ROW, min_size=1, max_size=5), st.integers(1, 120))
def test_only_what_says_nothing_is_left_out(rows: list[tuple[str, ...]], width: int) -> None:
    table = fit(COLUMNS, rows, width)
    assert set(table.left_out) <= {"first id", "doubled", "filled from"}
    assert "doubled" not in table.left_out or all(row[3] == "0" for row in rows)
    # in the order that was given, and no more than needed
    assert table.left_out == [name for name in ("filled from", "doubled", "first id") if name in table.left_out]


def test_a_wide_table_has_all_columns_and_a_narrow_one_stacks_its_rows() -> None:
    rows = [("btcusdt", "1,234", "3000000001", "1", "stream 1,234")]
    assert fit(COLUMNS, rows, None) == (
        "symbol    rows    first id  doubled  filled from",
        [["btcusdt  1,234  3000000001        1  stream 1,234"]],
        [],
    )
    assert fit(COLUMNS, rows, 40).left_out == ["filled from"]
    assert fit(COLUMNS, rows, 20).rows == [
        ["symbol       btcusdt", "rows         1,234", "first id     3000000001", "doubled      1",
         "filled from  stream 1,234", ""]
    ]  # fmt: skip
