"""The verdict: well only when all is well, and every ailment with its remedy."""

from typing import Any

import pytest
from boards import snapshot, stream

from crypto_quant.snapshot import (
    DiskView,
    GapView,
    LinkState,
    LinkView,
    Phase,
    SpoolView,
    Spread,
    StoreView,
    StreamState,
)
from crypto_quant.web.verdict import Level, verdict, worst

AWAY = StoreView(database="h:1/d", away_since_ns=5, cause="connection refused")
SPOOL = SpoolView(directory="/d/spool", limit_bytes=1000)
DOWN = LinkView(link=2, state=LinkState.WAITING, since_ns=0, streams=1, attempt=3, cause="no route")
UP = LinkView(link=1, state=LinkState.DELIVERING, since_ns=0, streams=1)


def test_a_recorder_that_is_well() -> None:
    found = verdict(snapshot(), alive=True, unchanged_s=0.4)
    assert (found.level, found.title, found.ailments) == (Level.GOOD, "Complete · live", ())


@pytest.mark.parametrize(
    ("changed", "level", "words"),
    [
        ({"store": AWAY, "spool": SPOOL}, Level.WARN, "connection refused"),
        ({"store": AWAY, "spool": SpoolView()}, Level.BAD, "rows wait in memory"),
        ({"spool": SpoolView(directory="/d", refused="no space left")}, Level.BAD, "no space left"),
        ({"spool": SpoolView(directory="/d", bytes=900, limit_bytes=1000)}, Level.WARN, "90% full"),
        ({"spool": SpoolView(directory="/d", rows=5, bytes=9, limit_bytes=1000)}, Level.BUSY, "5 rows are on their"),
        ({"links": (DOWN,)}, Level.BAD, "The only link is down: no route"),
        ({"links": (UP, DOWN)}, Level.WARN, "1 of 2 links are down"),
        ({"streams": (stream(state=StreamState.QUIET),)}, Level.WARN, "silent for longer"),
        ({"streams": (stream(state=StreamState.DOWN),)}, Level.WARN, "no link carries it"),
        ({"gaps": (GapView(symbol="btcusdt", first=5, last=9, note="asked twice"),), "counts": {"gaps_open": 1,
          "trades_missing": 5}}, Level.WARN, "5 trades are missing in btcusdt"),
        ({"counts": {"gaps_open": 1, "trades_missing": 1}}, Level.WARN, "1 trade is missing"),
        ({"counts": {"trades_set_aside": 1}}, Level.WARN, "set aside"),
        ({"disks": (DiskView(path="/d", free_bytes=1 << 30, total_bytes=100 << 30),)}, Level.WARN, "1,024 MiB left"),
        ({"disks": (DiskView(path="/d", free_bytes=1 << 20, total_bytes=100 << 30),)}, Level.BAD, "1 MiB left"),
        ({"commit_lag": Spread(p99_ms=9000.0)}, Level.WARN, "9.0 s (p99)"),
        ({"phase": Phase.PAUSED}, Level.WARN, "sockets are not read"),
        ({"phase": Phase.STARTING, "links": (DOWN,)}, Level.BUSY, "Starting"),
        ({"phase": Phase.DRAINING}, Level.BUSY, "Ending"),
    ],
)  # fmt: skip
def test_what_ails_it(changed: dict[str, Any], level: Level, words: str) -> None:
    found = verdict(snapshot(**changed), alive=True, unchanged_s=0.4)
    assert found.level is level
    said = " ".join([found.title, *(f"{each.what}: {each.cause} {each.remedy}" for each in found.ailments)])
    assert words in said
    assert found.title != "Complete · live"
    assert all(
        each.remedy for each in found.ailments if each.level in (Level.WARN, Level.BAD) and "no link" not in each.what
    )


def test_the_worst_comes_first() -> None:
    found = verdict(snapshot(links=(DOWN,), counts={"trades_set_aside": 2}), alive=True, unchanged_s=99.0)
    assert [each.level for each in found.ailments] == [Level.BAD, Level.BAD, Level.WARN]
    assert found.title == "The recorder has shown nothing new for 99 s"


def test_one_that_is_gone() -> None:
    dead = verdict(snapshot(), alive=False, unchanged_s=3.0)
    assert dead.level is Level.BAD
    assert "crypto-quant record" in dead.ailments[0].remedy
    assert verdict(snapshot(), alive=False, unchanged_s=3.0, succeeded=True).level is Level.OFF
    assert verdict(snapshot(phase=Phase.ENDED), alive=False, unchanged_s=3.0).level is Level.OFF


def test_the_worst_of_several() -> None:
    assert worst([Level.GOOD, Level.WARN, Level.OFF]) is Level.WARN
    assert worst([Level.OFF, Level.GOOD]) is Level.OFF
    assert worst([]) is Level.OFF
