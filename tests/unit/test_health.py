"""Whether a recorder is well: each thing that can be wrong is told, with its figures, and nothing else is."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from snapshots import NOW_NS, link, snapshot, stream

from crypto_quant import health
from crypto_quant.health import Level, Problem
from crypto_quant.market import NS_PER_S
from crypto_quant.snapshot import (
    ClockView,
    DiskView,
    GapView,
    LinkState,
    Phase,
    ProcessView,
    RestView,
    SpoolView,
    Spread,
    StoreView,
    StreamState,
)

GIB = 1024**3
DOWN = stream(state=StreamState.DOWN)
AWAY = StoreView(database="db:5432/x", away_since_ns=NOW_NS - 60 * NS_PER_S, cause="refused")


def found(now_ns: int = NOW_NS, **fields: Any) -> list[Problem]:
    return health.problems(snapshot(**fields), alive=True, now_ns=now_ns)


def test_one_that_is_well_has_no_problem() -> None:
    assert found() == []
    assert health.is_well(snapshot(), [])


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"phase": Phase.PAUSED}, "Reading paused: 12 rows wait"),
        ({"phase": Phase.ENDED}, "Recorder ended"),
        ({"links": (link(), link(2, LinkState.WAITING, attempt=3, cause="reset"))},
         "1 of 2 links down for 12 s: link 2 waiting, attempt 4 (reset)"),
        ({"store": AWAY}, "Database away for 1 min: refused"),
        ({"spool": SpoolView(directory="/s", rows=9, bytes=801, limit_bytes=1000)}, "The spool is 80% full"),
        ({"streams": (DOWN,)}, "1 stream carried by no link: btcusdt@aggTrade"),
        ({"streams": (stream(gaps=2, missing=1204), stream("ethusdt", "5m", missing=1, state=StreamState.QUIET))},
         "1,204 trades and 1 candle missing: btcusdt, ethusdt"),
        ({"gaps": (GapView(symbol="btcusdt", first=5, last=9, note="asked twice"),)},
         "5 trades missing: btcusdt: asked twice"),
        ({"counts": {"gaps_open": 2, "trades_missing": 1}}, "1 trade missing"),
        ({"counts": {"gaps_open": 2}}, "Trades missing"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told(fields: dict[str, Any], says: str) -> None:
    [problem] = found(**fields)
    assert says in problem.line(NOW_NS)
    assert (problem.level, problem.urgent) == (Level.WRONG, False)
    assert problem.remedy
    assert not health.is_well(snapshot(), [problem])


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"links": ()}, "No link"),
        ({"links": (link(1, LinkState.CONNECTING),)}, "1 of 1 link down for 12 s: link 1 connecting"),
        ({"store": AWAY, "spool": SpoolView()}, "Database away"),
        ({"spool": SpoolView(directory="/s", refused="No space left", limit_bytes=9)}, "takes no more: No space left"),
        ({"disks": (DiskView(path="/d", free_bytes=GIB // 3, total_bytes=GIB),)}, "disk of /d is nearly full: 341 MiB"),
    ],
)
def test_what_records_nothing_or_has_nowhere_to_go_is_urgent(fields: dict[str, Any], says: str) -> None:
    [problem] = found(**fields)
    assert says in problem.line(NOW_NS)
    assert (problem.level, problem.urgent) == (Level.WRONG, True)
    assert problem.remedy


@pytest.mark.parametrize(
    ("fields", "says", "well"),
    [
        ({"phase": Phase.STARTING}, "Starting: not every link", False),
        ({"phase": Phase.STARTING, "links": (link(1, LinkState.CONNECTING),)}, "Starting", False),
        ({"phase": Phase.STARTING, "links": (), "streams": (DOWN,)}, "Starting", False),
        (
            {"phase": Phase.STARTING, "links": (link(), link(2, LinkState.CONNECTING)), "streams": (DOWN,)},
            "Starting",
            False,
        ),
        ({"phase": Phase.DRAINING, "links": ()}, "Ending: 12 rows", False),
        ({"phase": Phase.DRAINING, "streams": (DOWN,)}, "Ending: 12 rows", False),
        ({"spool": SpoolView(directory="/s", rows=9, bytes=800, limit_bytes=1000)}, "9 rows on their way", True),
        ({"spool": SpoolView(directory="/s", rows=9), "commit_lag": Spread(p99_ms=90_000.0)}, "9 rows on their", True),
    ],
)
def test_what_is_on_its_way_needs_nothing(fields: dict[str, Any], says: str, well: bool) -> None:
    """And it is well all the same only when it records."""
    [problem] = found(**fields)
    assert says in problem.what
    assert (problem.level, problem.urgent) == (Level.BUSY, False)
    assert health.is_well(snapshot(**fields), [problem]) is well


def test_a_start_that_fails_is_not_only_a_start() -> None:
    failed = link(1, LinkState.WAITING, attempt=2, cause="refused")
    wrong, start = found(phase=Phase.STARTING, links=(failed,))
    assert "1 of 1 link down for 12 s: link 1 waiting, attempt 3 (refused)" in wrong.line(NOW_NS)
    assert start.level is Level.BUSY


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"streams": (stream(state=StreamState.QUIET),)}, "1 stream quieter than usual: btcusdt@aggTrade"),
        ({"disks": (DiskView(path="/d", free_bytes=4 * GIB, total_bytes=50 * GIB),)}, "fills up: 4.0 GiB left (8.0%)"),
        ({"disks": (DiskView(path="/d", free_bytes=GIB - 1, total_bytes=2 * GIB),)}, "(50.0%)"),
        ({"counts": {"trades_set_aside": 2, "candles_set_aside": 1, "frames_set_aside": 1, "trades_conflicting": 5}},
         "3 rows set aside, 1 frame set aside, 5 trades came with another content"),
        ({"commit_lag": Spread(p99_ms=9000.0)}, "late: 9,000 ms after their arrival"),
        ({"disks": (DiskView(path="/d", free_bytes=9 * GIB, total_bytes=4000 * GIB),)}, "(0.2%)"),
        ({"process": ProcessView(open_files=900, open_files_limit=1024)}, "900 files are open of 1,024"),
        ({"clock": ClockView(ahead_ms=21_000.0, unsure_ms=30.0)}, "machine's clock is 21 s ahead of the exchange's"),
        ({"clock": ClockView(ahead_ms=-1234.0, unsure_ms=30.0)}, "clock is 1,234 ms behind the exchange's"),
        ({"streams": (stream(lag_ms=30.0), stream("ethusdt", lag_ms=-1500.0))}, "clock is 1,500 ms behind"),
    ],
)  # fmt: skip
def test_what_is_worth_a_look_leaves_it_well(fields: dict[str, Any], says: str) -> None:
    [problem] = found(**fields)
    assert says in problem.what
    assert (problem.level, problem.urgent) == (Level.NOTE, False)
    assert problem.remedy
    assert health.is_well(snapshot(**fields), [problem])


@pytest.mark.parametrize(
    "fields",
    [
        {"disks": (DiskView(path="/d", free_bytes=6 * GIB, total_bytes=50 * GIB),)},
        {"disks": (DiskView(path="/d", free_bytes=GIB, total_bytes=2 * GIB),)},
        {"disks": (DiskView(path="/d", free_bytes=11 * GIB, total_bytes=4000 * GIB),)},
        {"commit_lag": Spread(p99_ms=5000.0)},
        {"disks": (DiskView(path="/proc", free_bytes=GIB, total_bytes=0),)},
        {"process": ProcessView(open_files=819, open_files_limit=1024)},
        {"process": ProcessView(open_files=9, open_files_limit=0)},
        {"links": (link(1, LinkState.OPEN),)},
        {"clock": ClockView(ahead_ms=1000.0)},
        {"clock": ClockView(ahead_ms=-1500.0, unsure_ms=600.0)},
        {"clock": ClockView(ahead_ms=90_000_000.0, unsure_ms=1.0)},
        {"clock": ClockView(ahead_ms=0.0), "streams": (stream(lag_ms=-1500.0),)},
        {"streams": (stream(lag_ms=-900.0),)},
        {"streams": (stream(lag_ms=21_000.0),)},
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
    assert problem.line(NOW_NS + limit_ns + 1) == "Nothing new from the recorder for 5 s"
    assert problem.urgent


def test_a_clock_that_was_set_back_makes_nothing_stale() -> None:
    assert found(NOW_NS - 3600 * NS_PER_S) == []


def test_a_dead_one_is_told_with_when_it_was_seen_and_nothing_else() -> None:
    now_ns = NOW_NS + 125 * NS_PER_S
    [problem] = health.problems(snapshot(phase=Phase.PAUSED, links=()), alive=False, now_ns=now_ns)
    assert problem.line(now_ns) == "Recorder down for 2 min 5 s: it ended unexpectedly"
    assert problem.urgent
    assert "Start it again" in problem.remedy


@pytest.mark.parametrize(("alive", "says"), [(True, "just started"), (False, "died before")])
def test_an_empty_board_is_told(alive: bool, says: str) -> None:
    [problem] = health.problems(None, alive=alive, now_ns=NOW_NS)
    assert says in problem.cause
    assert problem.level is Level.WRONG
    assert not health.is_well(None, [])


def test_one_that_ended_in_order_did_not_die() -> None:
    for alive in (True, False):
        [problem] = health.problems(snapshot(phase=Phase.ENDED), alive=alive, now_ns=NOW_NS + 60 * NS_PER_S)
        assert problem.what == "Recorder ended, in order"


def test_what_is_wrong_comes_before_what_is_worth_a_look() -> None:
    quiet = stream(state=StreamState.QUIET)
    told = found(phase=Phase.PAUSED, streams=(quiet,), links=(), spool=SpoolView(directory="/s", rows=1))
    assert [each.level for each in told] == [Level.WRONG, Level.WRONG, Level.NOTE, Level.BUSY]
    assert [each.urgent for each in told] == [True, False, False, False]


def test_streams_are_not_told_when_every_link_is_down() -> None:
    assert len(found(links=(link(1, LinkState.WAITING),), streams=(DOWN,))) == 1
    assert len(found(links=(link(1, LinkState.WAITING), link(2)), streams=(DOWN,))) == 2


def test_a_hostile_symbol_is_quoted_in_the_command_that_people_copy() -> None:
    [problem] = found(venue="usdm", streams=(stream("x;rm -rf ~", gaps=1, missing=1),))
    assert problem.remedy.endswith("crypto-quant repair 'x;rm -rf ~' --venue usdm")


def test_an_embedded_database_comes_back_by_itself_or_by_one_command() -> None:
    store = StoreView(database="/d/run:5432/crypto_quant", away_since_ns=NOW_NS, start="crypto-quant db start")
    [problem] = found(store=store)
    assert "started again by itself" in problem.remedy
    assert "crypto-quant db start" in problem.remedy
    assert "Bring" not in problem.remedy


def test_a_full_disk_stands_before_all_that_follows_from_it() -> None:
    """It stops an embedded database and the spool, and then the reading."""
    told = found(
        phase=Phase.PAUSED,
        store=StoreView(database="db", away_since_ns=NOW_NS - 1, start="crypto-quant db start"),
        spool=SpoolView(directory="/s", refused="No space left on device", limit_bytes=9),
        disks=(DiskView(path="/d", free_bytes=0, total_bytes=GIB),),
    )
    assert [each.what.split()[0] for each in told] == ["The", "Database", "The", "Reading"]
    assert told[0].what.startswith("The disk of /d is nearly full: 0 bytes left")
    assert "once its disk has room" in told[1].remedy


def test_a_database_that_is_away_stands_before_the_reading_that_pauses() -> None:
    assert [each.what.split()[0] for each in found(phase=Phase.PAUSED, store=AWAY)] == ["Database", "Reading"]


def test_rest_that_does_not_answer_stands_before_what_is_missing() -> None:
    away = RestView(away_since_ns=NOW_NS - NS_PER_S, cause="HTTP 503")
    rest, missing = found(rest=away, streams=(stream(gaps=1, missing=3),))
    assert rest.line(NOW_NS) == "REST does not answer for 1 s: HTTP 503"
    assert missing.what == "3 trades missing: btcusdt"
    assert found(rest=away) == [], "nobody needs it"


@given(st.integers(1, 30), st.booleans(), st.booleans())
def test_the_command_closes_all_that_is_named(symbols: int, refilled: bool, by_gaps: bool) -> None:
    """Each symbol of what is missing, or, without a symbol, all that is recorded."""
    names = [f"s{at}" for at in range(symbols)]
    gaps = tuple(GapView(symbol=name, first=1, last=2) for name in names) if by_gaps else ()
    streams = () if by_gaps else tuple(stream(name, gaps=1, missing=2) for name in names)
    [problem] = found(gaps=gaps, streams=streams, refilled=refilled)
    command = problem.remedy.rpartition("crypto-quant repair")[2].split()
    assert command in ([], names)
    assert ("by themselves" in problem.remedy) is refilled
    assert ("--no-backfill" in problem.remedy) is not refilled


def test_gaps_that_are_not_all_shown_are_repaired_without_a_symbol() -> None:
    gap = GapView(symbol="btcusdt", first=5, last=9)
    [problem] = found(gaps=(gap,), counts={"gaps_open": 2, "trades_missing": 99})
    assert problem.remedy.endswith(": crypto-quant repair")


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
        told = health.problems(seen, alive=True, now_ns=NOW_NS)
        assert told
        assert not health.is_well(seen, told)
