"""The feed: all of it first, then what has changed, and never more than the latest for whoever is slow."""

import asyncio
import json
from pathlib import Path
from typing import Any

from boards import Boards
from snapshots import NOW_NS, later, snapshot, stream

from crypto_quant.market import NS_PER_S
from crypto_quant.snapshot import DiskView, Phase
from crypto_quant.web.feed import HISTORY, Feed, Seen


class Clock:
    """It is always the same time."""

    def now_ns(self) -> int:
        return NOW_NS


def heard(feed: Feed, seen: Seen | None, wanted: str | None = None) -> tuple[str, dict[str, Any], Seen]:
    kind, text, seen = feed.message(seen, wanted)
    return kind, json.loads(text), seen


def applied(state: dict[str, Any], message: dict[str, Any]) -> dict[str, Any]:
    """What a browser knows after a message."""
    return {**state, "parts": {**state.get("parts", {}), **message.get("parts", {})},
            "points": state.get("points", []) + message.get("points", [])}  # fmt: skip


def test_first_all_then_what_has_changed() -> None:
    boards = Boards()
    feed = Feed(boards, Clock())
    shown = snapshot()
    boards.show(shown)
    feed.look()
    kind, message, seen = heard(feed, None)
    assert kind == "state"
    assert set(message["parts"]) == {"head", "links", "names", "rows", "gaps", "happenings"}
    assert message["parts"]["head"]["verdict"]["title"] == "Complete · live"
    assert message["recorder"] == "77"
    assert len(message["points"][0]) == len(message["point"])
    boards.show(later(shown, 1, rate=13.0))
    feed.look()
    kind, message, seen = heard(feed, seen)
    assert kind == "tick"
    assert set(message["parts"]) == {"head"}
    assert len(message["points"]) == 1
    assert "recorders" not in message
    _, message, again = heard(feed, seen)
    assert (message["parts"], message["points"], again) == ({}, [], seen)


def test_whoever_was_away_gets_the_latest_at_once() -> None:
    """A slow looker, and one that connects again, end up with what one sees who was there all the time."""
    boards = Boards()
    feed = Feed(boards, Clock())
    shown = snapshot()
    boards.show(shown)
    feed.look()
    _, first, seen = heard(feed, None)
    slow = always = applied({}, first)
    here = seen
    for second in range(50):
        shown = later(shown, 1, rate=float(second), streams=(stream(rate=float(second // 7)),))
        boards.show(shown)
        feed.look()
        _, message, here = heard(feed, here)
        always = applied(always, message)
    _, message, _ = heard(feed, seen)
    assert applied(slow, message) == always
    assert always["parts"]["rows"][3] == [7.0]
    _, fresh, _ = heard(feed, None)
    assert fresh["parts"] == always["parts"]
    assert fresh["points"] == always["points"]


def test_history_is_bounded() -> None:
    boards = Boards()
    feed = Feed(boards, Clock())
    shown = snapshot()
    for _ in range(HISTORY + 50):
        shown = later(shown, 1)
        boards.show(shown)
        feed.look()
    _, message, _ = heard(feed, None)
    assert len(message["points"]) == HISTORY
    assert message["points"][-1][0] == shown.taken_ns // 1_000_000


def test_another_recorder_is_told_as_a_whole_and_history_goes_on() -> None:
    boards = Boards()
    feed = Feed(boards, Clock())
    boards.show(snapshot())
    feed.look()
    _, _, seen = heard(feed, None)
    boards.show(snapshot(), alive=False)
    feed.look()
    _, message, seen = heard(feed, seen)
    assert message["level"] == "bad"
    assert message["parts"]["head"]["verdict"]["level"] == "bad"
    started_ns = NOW_NS + 100 * NS_PER_S
    boards.show(snapshot(pid=78, started_ns=started_ns, taken_ns=started_ns + 1), name="78")
    feed.look()
    kind, message, seen = heard(feed, seen)
    assert (kind, message["recorder"]) == ("state", "78")
    assert {each["key"]: each["level"] for each in message["recorders"]} == {"77": "off", "78": "good"}
    # the one before, a break in the line, and the new one
    assert [point[1] for point in message["points"]] == [1234.0, None, 1234.0]
    # the dead one is shown to whoever asks for it
    _, message, _ = heard(feed, None, "77")
    assert message["recorder"] == "77"
    boards.take_down()
    feed.look()
    kind, message, _ = heard(feed, Seen("77", seen.version), "77")
    assert (kind, message["recorder"]) == ("state", "78")


def test_whoever_has_not_chosen_stays_with_one_of_several() -> None:
    boards = Boards()
    feed = Feed(boards, Clock())
    first = snapshot()
    second = snapshot(pid=78, started_ns=first.started_ns + 1)
    seen = None
    for turn in range(1, 7):
        # they show themselves by turns
        first, second = later(first, turn % 2), later(second, (turn + 1) % 2)
        boards.show(first)
        boards.show(second, name="78")
        feed.look()
        kind, message, seen = heard(feed, seen)
        assert (kind, message["recorder"]) == ("state" if turn == 1 else "tick", "78")


def test_a_process_id_that_is_used_again_is_another_recorder() -> None:
    boards = Boards()
    feed = Feed(boards, Clock())
    boards.show(snapshot())
    feed.look()
    started_ns = NOW_NS + 100 * NS_PER_S
    boards.show(snapshot(started_ns=started_ns, taken_ns=started_ns + 1, phase=Phase.STARTING))
    feed.look()
    _, message, _ = heard(feed, None)
    assert message["parts"]["head"]["phase"] == "starting"
    assert [point[1] for point in message["points"]] == [1234.0, None, 1234.0]


def test_nobody_is_there() -> None:
    feed = Feed(Boards(), Clock())
    feed.look()
    kind, message, seen = heard(feed, None)
    assert (kind, message["recorder"], message["recorders"], message["level"]) == ("state", "", [], "off")
    assert heard(feed, seen)[0] == "tick"


def test_one_that_hangs_is_told_of_though_its_board_does_not_change() -> None:
    boards = Boards()
    feed = Feed(boards, Clock())
    boards.show(snapshot())
    feed.look()
    _, _, seen = heard(feed, None)
    boards.unchanged[Path("77.board")] = 8.0
    feed.look()
    _, message, _ = heard(feed, seen)
    found = message["parts"]["head"]["verdict"]
    assert (found["level"], found["title"]) == ("bad", "Nothing new from the recorder")
    assert found["ailments"][0]["since"] == message["parts"]["head"]["taken"]


async def test_closing_lets_everybody_go() -> None:
    feed = Feed(Boards(), Clock())
    waiting = [asyncio.create_task(feed.changed(feed.version, 60)), asyncio.create_task(feed.pause(60))]
    await asyncio.sleep(0)
    feed.close()
    await asyncio.wait_for(asyncio.gather(*waiting), 5)
    assert feed.closed


def test_a_disk_has_the_level_that_its_problem_has() -> None:
    boards = Boards()
    feed = Feed(boards, Clock())
    free = (50 << 30, 900 << 20, 0)
    boards.show(snapshot(disks=tuple(DiskView(path="/d", free_bytes=each, total_bytes=100 << 30) for each in free)))
    feed.look()
    _, message, _ = heard(feed, None)
    assert [each["level"] for each in message["parts"]["head"]["disks"]] == [None, "note", "wrong"]
