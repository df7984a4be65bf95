"""Whether a recorder is well: each thing that can be wrong is told, with its figures, and nothing else is."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from snapshots import NOW_NS, link, snapshot, stream

from crypto_quant import health
from crypto_quant.health import Level, Problem
from crypto_quant.market import NS_PER_S
from crypto_quant.snapshot import DiskView, GapView, LinkState, Phase, ProcessView, SpoolView, StoreView, StreamState

GIB = 1024**3


def found(now_ns: int = NOW_NS, **fields: Any) -> list[Problem]:
    return health.problems(snapshot(**fields), alive=True, now_ns=now_ns)


def test_one_that_is_well_has_no_problem() -> None:
    assert found() == []
    assert health.is_well([])


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"phase": Phase.STARTING}, "starting: not every link"),
        ({"phase": Phase.PAUSED}, "reading is paused: 12 rows wait"),
        ({"phase": Phase.DRAINING}, "it is ending: 12 rows"),
        ({"phase": Phase.ENDED}, "it has ended"),
        ({"links": ()}, "no link"),
        ({"links": (link(), link(2, LinkState.WAITING, attempt=3, cause="reset"))},
         "1 of 2 links down: link 2 waiting for 12 s, attempt 4 (reset)"),
        ({"links": (link(1, LinkState.CONNECTING),)}, "1 of 1 link down: link 1 connecting"),
        ({"store": StoreView(database="db:5432/x", away_since_ns=NOW_NS - 60 * NS_PER_S, cause="refused")},
         "the database has been away for 1 min: refused"),
        ({"spool": SpoolView(directory="/s", refused="No space left", limit_bytes=9)}, "takes no more: No space left"),
        ({"spool": SpoolView(directory="/s", rows=9, bytes=801, limit_bytes=1000)}, "the spool is 80% full"),
        ({"streams": (stream(state=StreamState.DOWN),)}, "1 stream carried by no link: btcusdt@aggTrade"),
        ({"streams": (stream(gaps=2, missing=1204), stream("ethusdt", "5m", gaps=1, missing=1))},
         "3 gaps open, 1,205 missing: btcusdt, ethusdt"),
        ({"gaps": (GapView(symbol="btcusdt", first=5, last=9),)}, "1 gap open, 5 missing: btcusdt"),
        ({"disks": (DiskView(path="/d", free_bytes=GIB // 3, total_bytes=GIB),)}, "disk of /d is nearly full: 358 MB"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told(fields: dict[str, Any], says: str) -> None:
    [problem] = found(**fields)
    assert says in problem.what
    assert problem.level is Level.WRONG
    assert not health.is_well([problem])


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"streams": (stream(state=StreamState.QUIET),)}, "1 stream quieter than usual: btcusdt@aggTrade"),
        ({"spool": SpoolView(directory="/s", rows=9, bytes=800, limit_bytes=1000)}, "9 rows wait in the spool"),
        ({"disks": (DiskView(path="/d", free_bytes=4 * GIB, total_bytes=100 * GIB),)}, "(4.0%)"),
        ({"counts": {"trades_set_aside": 2, "candles_set_aside": 1, "frames_set_aside": 1, "trades_conflicting": 5}},
         "3 rows set aside, 1 frame set aside, 5 trades came with another content"),
        ({"process": ProcessView(open_files=900, open_files_limit=1024)}, "900 files are open of 1,024"),
    ],
)  # fmt: skip
def test_what_is_worth_a_look_leaves_it_well(fields: dict[str, Any], says: str) -> None:
    [problem] = found(**fields)
    assert says in problem.what
    assert problem.level is Level.NOTE
    assert health.is_well([problem])


@pytest.mark.parametrize(
    "fields",
    [
        {"disks": (DiskView(path="/d", free_bytes=6 * GIB, total_bytes=100 * GIB),)},
        {"disks": (DiskView(path="/proc", free_bytes=GIB, total_bytes=0),)},
        {"process": ProcessView(open_files=819, open_files_limit=1024)},
        {"process": ProcessView(open_files=9, open_files_limit=0)},
        {"links": (link(1, LinkState.OPEN),)},
    ],
)
def test_what_is_below_its_limit_is_no_problem(fields: dict[str, Any]) -> None:
    assert found(**fields) == []


def test_rows_that_wait_while_the_database_is_away_are_told_once() -> None:
    spool = SpoolView(directory="/s", rows=9, bytes=100, limit_bytes=1000)
    [problem] = found(spool=spool, store=StoreView(database="db", away_since_ns=NOW_NS - 1))
    assert "rows wait in the spool (10% full)" in problem.remedy


def test_one_that_shows_nothing_new_hangs() -> None:
    limit_ns = int(health.STALE_S * NS_PER_S)
    assert found(NOW_NS + limit_ns) == []
    [problem] = found(NOW_NS + limit_ns + 1)
    assert "shown nothing for 5 s" in problem.what


def test_a_clock_that_was_set_back_makes_nothing_stale() -> None:
    assert found(NOW_NS - 3600 * NS_PER_S) == []


def test_a_dead_one_is_told_with_when_it_was_seen_and_nothing_else() -> None:
    [problem] = health.problems(snapshot(phase=Phase.PAUSED, links=()), alive=False, now_ns=NOW_NS + 125 * NS_PER_S)
    assert problem.what == "it died, last seen 2 min 5 s ago"
    assert "Start it again" in problem.remedy


@pytest.mark.parametrize(("alive", "says"), [(True, "just started"), (False, "died before")])
def test_an_empty_board_is_told(alive: bool, says: str) -> None:
    [problem] = health.problems(None, alive=alive, now_ns=NOW_NS)
    assert says in problem.what
    assert problem.level is Level.WRONG


def test_what_is_wrong_comes_before_what_is_worth_a_look() -> None:
    levels = [each.level for each in found(phase=Phase.PAUSED, streams=(stream(state=StreamState.QUIET),), links=())]
    assert levels == [Level.WRONG, Level.WRONG, Level.NOTE]


def test_a_hostile_symbol_is_quoted_in_the_command_that_people_copy() -> None:
    [problem] = found(venue="usdm", streams=(stream("x;rm -rf ~", gaps=1, missing=1),))
    assert problem.remedy.endswith("crypto-quant repair 'x;rm -rf ~' --venue usdm")


def test_many_are_counted_and_some_named() -> None:
    [problem] = found(streams=tuple(stream(f"s{at}", state=StreamState.DOWN) for at in range(3000)))
    assert "s0@aggTrade, s1@aggTrade, s2@aggTrade and 2,997 more" in problem.what


@given(
    st.sampled_from(Phase), st.lists(st.sampled_from(LinkState), max_size=3), st.booleans(),
)  # fmt: skip
def test_one_that_is_not_ready_is_not_well(phase: Phase, states: list[LinkState], away: bool) -> None:
    """What the page and the metrics call not ready must not be fine here."""
    seen = snapshot(
        phase=phase, links=tuple(link(at, state) for at, state in enumerate(states)),
        store=StoreView(database="db", away_since_ns=NOW_NS if away else None),
    )  # fmt: skip
    if not seen.ready:
        assert not health.is_well(health.problems(seen, alive=True, now_ns=NOW_NS))
