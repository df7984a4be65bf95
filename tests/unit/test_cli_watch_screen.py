"""The screen of ``status --watch`` and the lines of ``status``: always of the size that there is, whatever is shown."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from snapshots import NOW_NS, link, snapshot, stream

from crypto_quant import health
from crypto_quant.cli import keys
from crypto_quant.cli import status_view as view
from crypto_quant.cli.status_view import Order
from crypto_quant.cli.watch_screen import Screen
from crypto_quant.market import NS_PER_S
from crypto_quant.ops.board import Board
from crypto_quant.snapshot import Happening, LinkState, Snapshot, SpoolView, StoreView, StreamState

HOSTILE = "币安人生\x1b[2J[red]\n\u202e"


def of(seen: Snapshot | None, *, alive: bool = True, pid: int = 1) -> Board:
    return Board(Path(f"/boards/{pid}.board"), alive, seen)


def texts(screen: Screen, width: int = 100, height: int = 40) -> list[str]:
    return [line.plain.rstrip() for line in screen.lines(width, height)]


def seeing(*boards: Board, now_ns: int = NOW_NS) -> Screen:
    screen = Screen(1.0, "nobody")
    screen.see(boards, now_ns)
    return screen


def symbols(lines: list[str]) -> list[str]:
    return [line.split()[0] for line in lines if line.endswith((" live", " down", " quiet"))]


STREAMS = (
    stream("aaa", rate=5.0, lag_ms=None, seen_ns=None), stream("bbb", state=StreamState.QUIET, rate=1.0, lag_ms=9.0),
    stream("ccc", gaps=1, missing=9, rate=2.0, seen_ns=NOW_NS - 60 * NS_PER_S), stream("ddd", state=StreamState.DOWN),
)  # fmt: skip


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        (Order.PROBLEMS, "ddd ccc bbb aaa"), (Order.SYMBOL, "aaa bbb ccc ddd"), (Order.RATE, "aaa ccc ddd bbb"),
        (Order.AGE, "aaa ccc bbb ddd"), (Order.LAG, "ccc ddd bbb aaa"), (Order.GAPS, "ccc aaa bbb ddd"),
    ],
)  # fmt: skip
def test_streams_are_sorted_by_each_column(order: Order, expected: str) -> None:
    assert [each.symbol for each in view.ordered(STREAMS, order, NOW_NS)] == expected.split()


@settings(max_examples=50, deadline=None)
@given(
    st.integers(1, 250), st.integers(1, 80), st.booleans(),
    st.lists(st.sampled_from(["q", "s", "S", "+", "-", "?", "space", "x", keys.UP, keys.DOWN, keys.PAGE_DOWN, keys.END,
                              keys.TAB]), max_size=8),
)  # fmt: skip
def test_it_is_always_as_large_as_the_terminal(width: int, height: int, alive: bool, pressed: list[str]) -> None:
    seen = snapshot(
        streams=tuple(stream(f"{HOSTILE}{at}" * (1 + at % 9), state=list(StreamState)[at % 3]) for at in range(70)),
        links=(link(2, LinkState.WAITING, cause=HOSTILE * 20),), version="9" * 40,
        store=StoreView(database=HOSTILE, away_since_ns=NOW_NS, cause=HOSTILE), spool=SpoolView(refused="x" * 300),
        happenings=(Happening(at_ns=NOW_NS, level="error", message=HOSTILE, fields={"cause": HOSTILE * 9}),) * 40,
    )  # fmt: skip
    screen = seeing(of(seen, alive=alive), of(None, pid=2))
    for key in ["", *pressed]:
        screen.press(key)
        lines = screen.lines(width, height)
        assert len(lines) == height
        assert all(line.cell_len <= width and line.plain.isprintable() for line in lines)


def test_on_forty_columns_what_matters_is_left() -> None:
    lines = texts(seeing(of(snapshot(streams=STREAMS))), 40, 20)
    assert "✘ 9 trades missing: ccc" in lines
    [heading] = [line for line in lines if line.startswith("symbol")]
    assert heading.split() == ["symbol", "stream", "rate/s", "age", "gaps", "state"]
    assert symbols(lines) == ["ddd", "ccc", "bbb", "aaa"]


def test_pages_do_not_go_beyond_the_ends() -> None:
    screen = seeing(of(snapshot(streams=tuple(stream(f"s{at:03}") for at in range(100)))))
    first = symbols(texts(screen))
    screen.press(keys.UP)
    assert symbols(texts(screen)) == first
    screen.press(keys.PAGE_DOWN)
    assert symbols(texts(screen))[0] == f"s{len(first):03}"
    for _ in range(50):
        screen.press(keys.PAGE_DOWN)
    assert symbols(texts(screen)) == [f"s{at:03}" for at in range(100 - len(first), 100)]
    screen.see([of(snapshot(streams=(stream("left"),)))], NOW_NS)
    assert symbols(texts(screen)) == ["left"]


def test_tab_goes_through_the_recorders_and_the_choice_holds() -> None:
    boards = [of(snapshot(streams=(stream(f"of{pid}"),)), pid=pid) for pid in (1, 2, 3)]
    screen = seeing(*boards)
    found = []
    for _ in range(4):
        screen.see(boards, NOW_NS)
        found += symbols(texts(screen))
        screen.press(keys.TAB)
    assert found == ["of1", "of2", "of3", "of1"]
    screen.see(boards[:1], NOW_NS)  # the one that was chosen has ended
    assert symbols(texts(screen)) == ["of1"]


def test_a_living_one_is_looked_at_before_a_dead_one() -> None:
    dead, alive = of(snapshot(streams=(stream("old"),)), alive=False, pid=1), of(snapshot(), pid=2)
    assert symbols(texts(seeing(dead, alive))) == ["btcusdt"]


def test_the_streams_of_a_dead_one_are_not_called_live() -> None:
    lines = texts(seeing(of(snapshot(), alive=False), now_ns=NOW_NS + 90 * NS_PER_S))
    assert symbols(lines) == []
    assert "✘ Recorder down for 1 min 30 s: it ended unexpectedly" in lines


def test_the_interval_goes_through_steps_and_stops_at_their_ends() -> None:
    screen = Screen(1.5, "nobody")
    screen.press("+")
    assert screen.interval_s == 2.0
    for _ in range(20):
        screen.press("-")
    assert screen.interval_s == 0.1
    for _ in range(20):
        screen.press("=")
    assert screen.interval_s == 60.0


def test_problems_of_one_line_each_where_there_is_little_room() -> None:
    found = [health.Problem(level=health.Level.WRONG, what=f"problem {at}", remedy="do something") for at in range(2)]
    assert [line.plain for line in view.problem_lines(found, NOW_NS, 80)] == [
        "✘ problem 0", "  do something", "✘ problem 1", "  do something",
    ]  # fmt: skip
    note = health.Problem(level=health.Level.NOTE, what="one two three four")
    wrapped = view.problem_lines([note], NOW_NS, 12)
    assert [line.plain for line in wrapped] == ["! one two", "  three four"]
