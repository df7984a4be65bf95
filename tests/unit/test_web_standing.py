"""How recorders stand: named alike after a restart, told apart from each other, and judged by what they show."""

from pathlib import Path

import msgspec
import pytest
from snapshots import stream
from watched import fresh, shown

from crypto_quant.ops.clock import SystemClock
from crypto_quant.snapshot import LinkState, LinkView, Phase, Snapshot, StoreView
from crypto_quant.web.follow import Follower
from crypto_quant.web.standing import STALE_S, Standing, is_live, is_ready, named, standings


def standing(shot: Snapshot | None = None, *, alive: bool = True, age_s: float = 0.0, ended: bool = False) -> Standing:
    return Standing(name="me", snapshot=shot, alive=alive, ended=ended, age_s=age_s)


def test_a_name_outlives_a_restart_and_says_what_is_recorded() -> None:
    shot = fresh(streams=(stream("btcusdt"), stream("ethusdt"), stream("ethusdt", "1m")))
    later = msgspec.structs.replace(shot, pid=999_999, started_ns=5, version="0.2.0")
    assert named(shot) == named(later)
    assert named(shot).startswith("btcusdt+1-")
    others = [
        msgspec.structs.replace(shot, store=StoreView(database="elsewhere")),
        msgspec.structs.replace(shot, streams=shot.streams[:2]),
        msgspec.structs.replace(shot, venue="other"),
    ]
    assert len({named(shot), *map(named, others)}) == 4
    assert named(fresh(streams=())).startswith("none-")


def copy_of(path: Path, to: str) -> None:
    (path.parent / to).write_bytes(path.read_bytes())


async def test_the_successor_of_a_dead_recorder_takes_its_name(tmp_path: Path) -> None:
    follower = Follower(tmp_path)
    with shown(tmp_path, fresh()) as mine:
        copy_of(mine.path, "1.board")  # nobody holds it: dead
        await follower.look()
        [only] = standings(follower, SystemClock())
        assert only.alive
        assert only.name == named(fresh())


async def test_twins_are_told_apart(tmp_path: Path) -> None:
    follower = Follower(tmp_path)
    with shown(tmp_path, fresh()) as mine:
        copy_of(mine.path, "1.board")
        copy_of(mine.path, "2.board")
    await follower.look()
    assert sorted(each.name for each in standings(follower, SystemClock())) == [
        f"{named(fresh())}-1",
        f"{named(fresh())}-2",
    ]


async def test_age_is_by_the_clock_that_makes_it_older(tmp_path: Path) -> None:
    now_s = 0.0
    follower = Follower(tmp_path, monotonic=lambda: now_s)
    hour_ns = 3_600_000_000_000
    with shown(tmp_path, fresh(taken_ns=SystemClock().now_ns() - hour_ns)) as mine:
        await follower.look()
        [only] = standings(follower, SystemClock())
        assert only.age_s == pytest.approx(3600, abs=60)
        assert not only.up
        # the clock was set back: what is shown seems to come from the future, and yet it grows old
        mine.show(fresh(taken_ns=SystemClock().now_ns() + hour_ns))
        await follower.look()
        now_s = STALE_S + 1
        [only] = standings(follower, SystemClock())
        assert only.age_s == pytest.approx(STALE_S + 1)
        assert not only.up


@pytest.mark.parametrize(
    ("all_of_them", "live", "ready", "says"),
    [
        ([], False, False, "no recorder runs here"),
        ([standing(fresh())], True, True, "ok"),
        ([standing(None)], True, False, "has just started"),
        ([standing(fresh(), age_s=60)], False, False, "hangs: it has shown nothing for 60 s"),
        ([standing(fresh(), alive=False, age_s=7)], False, False, "is dead; it last showed itself 7 s ago"),
        ([standing(fresh(), alive=False, ended=True)], False, False, "no recorder runs here"),
        ([standing(fresh()), standing(fresh(), alive=False, ended=True)], True, True, "ok"),
        ([standing(fresh()), standing(fresh(), alive=False)], False, False, "me is dead"),
        ([standing(fresh(phase=Phase.STARTING))], True, False, "me is starting"),
        ([standing(fresh(phase=Phase.DRAINING))], True, False, "me is draining"),
        ([standing(fresh(phase=Phase.PAUSED))], True, True, "ok"),
    ],
)
def test_verdicts(all_of_them: list[Standing], live: bool, ready: bool, says: str) -> None:
    assert is_live(all_of_them)[0] is live
    verdict, text = is_ready(all_of_them)
    assert verdict is ready
    assert says in text
    assert text.endswith("\n")


def test_why_not_ready_is_said() -> None:
    links = (
        LinkView(link=1, state=LinkState.OPEN, since_ns=0, streams=1),
        LinkView(link=2, state=LinkState.WAITING, since_ns=0, streams=1, cause="reset by peer"),
    )
    away = StoreView(database="h:1/d", away_since_ns=5, cause="connection refused")
    [told] = is_ready([standing(fresh(links=links, store=away))])[1].splitlines()
    assert told == ("me has 1 of 2 links down: reset by peer; cannot reach its database h:1/d: connection refused")
