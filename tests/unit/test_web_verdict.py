"""The page's verdict: the worst of what ails a recorder, in its colour. What ails it is tested in ``test_health``."""

from typing import Any

import pytest
from snapshots import NOW_NS, link, snapshot

from crypto_quant.market import NS_PER_MS, NS_PER_S
from crypto_quant.snapshot import LinkState, Phase, SpoolView, StoreView
from crypto_quant.web.verdict import Ailment, Level, verdict, worst

AWAY = StoreView(database="h:1/d", away_since_ns=NOW_NS - NS_PER_S, cause="connection refused")


def test_a_recorder_that_is_well() -> None:
    found = verdict(snapshot(), alive=True, unchanged_s=0.4)
    assert (found.level, found.title, found.ailments) == (Level.GOOD, "Complete · live", ())


@pytest.mark.parametrize(
    ("changed", "level", "title"),
    [
        ({"store": AWAY, "spool": SpoolView()}, Level.BAD, "Database away"),  # urgent
        ({"store": AWAY}, Level.WARN, "Database away"),  # wrong
        ({"counts": {"frames_set_aside": 1}}, Level.WARN, "1 frame set aside"),  # a note
        (
            {"spool": SpoolView(directory="/d", rows=5)},
            Level.BUSY,
            "5 rows on their way from the spool to the database",
        ),
        ({"phase": Phase.STARTING}, Level.BUSY, "Starting: not every link has been up yet"),
        ({"phase": Phase.ENDED}, Level.OFF, "Ended in order"),
    ],
)
def test_each_level_has_its_colour(changed: dict[str, Any], level: Level, title: str) -> None:
    found = verdict(snapshot(**changed), alive=True, unchanged_s=0.4)
    assert (found.level, found.title) == (level, title)


def test_the_worst_comes_first_and_all_of_it_is_told() -> None:
    down = link(1, LinkState.WAITING, cause="no route")
    found = verdict(snapshot(links=(down,), counts={"trades_set_aside": 2}), alive=True, unchanged_s=99.0)
    assert [each.level for each in found.ailments] == [Level.BAD, Level.BAD, Level.WARN]
    assert found.title == found.ailments[0].what == "Nothing new from the recorder"
    assert found.ailments[1] == Ailment(
        Level.BAD, "1 of 1 link down", found.ailments[1].remedy, "link 1 waiting (no route)", down.since_ns // NS_PER_MS
    )
    assert found.ailments[1].remedy


def test_one_that_is_gone() -> None:
    dead = verdict(snapshot(), alive=False, unchanged_s=3.0)
    assert (dead.level, dead.title) == (Level.BAD, "Recorder down")
    assert verdict(snapshot(), alive=False, unchanged_s=3.0, succeeded=True).level is Level.OFF
    assert verdict(snapshot(phase=Phase.ENDED), alive=False, unchanged_s=3.0).level is Level.OFF


def test_the_worst_of_several() -> None:
    assert worst([Level.GOOD, Level.WARN, Level.OFF]) is Level.WARN
    assert worst([Level.OFF, Level.GOOD]) is Level.OFF
    assert worst([]) is Level.OFF
