"""Files of what was set aside: whole, bounded, and never an exception."""

import json
import multiprocessing
from pathlib import Path

import msgspec
import pytest

from crypto_quant import events
from crypto_quant.store.setaside import FileQuarantine, Kept


class At:
    """A clock that stands still."""

    def __init__(self, now_ns: int) -> None:
        self._now_ns = now_ns

    def now_ns(self) -> int:
        return self._now_ns


NOON = At(1_723_118_400_123_456_789)  # 2024-08-08T12:00:00.123Z


def lines(path: Path) -> list[Kept]:
    return [msgspec.json.decode(line, type=Kept) for line in path.read_bytes().splitlines()]


def test_text_is_kept_with_time_and_reason(tmp_path: Path) -> None:
    quarantine = FileQuarantine(tmp_path / "deep" / "down", clock=NOON)
    quarantine.keep("frame", '{"e":"币"}\n'.encode(), "no such event")
    text = (tmp_path / "deep/down/frames-20240808.ndjson").read_text(encoding="utf-8")
    assert json.loads(text) == {
        "time": "2024-08-08T12:00:00.123Z", "kind": "frame", "reason": "no such event", "raw": '{"e":"币"}\n',
    }  # fmt: skip
    assert (quarantine.kept, quarantine.dropped) == (1, 0)


@pytest.mark.parametrize("raw", [b"", b"\x00", b"\xff\xfe", b"a\r\n\tb", "\u2028".encode(), b"\xed\xa0\x80"])
def test_any_bytes_come_back_as_they_were(tmp_path: Path, raw: bytes) -> None:
    FileQuarantine(tmp_path, clock=NOON).keep("row", raw, "reason\ud800")
    (kept,) = lines(tmp_path / "rows-20240808.ndjson")
    assert kept.bytes() == raw


def test_a_kind_cannot_leave_the_directory(tmp_path: Path) -> None:
    quarantine = FileQuarantine(tmp_path / "in", clock=NOON)
    quarantine.keep("../../x", b"1", "r")
    quarantine.keep("..", b"2", "r")
    assert sorted(file.name for file in tmp_path.rglob("*.ndjson")) == ["others-20240808.ndjson", "xs-20240808.ndjson"]
    assert all(file.parent == tmp_path / "in" for file in tmp_path.rglob("*.ndjson"))


def test_the_whole_is_bounded_and_told_once(tmp_path: Path) -> None:
    seen: list[object] = []
    quarantine = FileQuarantine(tmp_path, size_max_bytes=1000, clock=NOON, emit=seen.append)
    for _ in range(100):
        quarantine.keep("frame", b"x" * 50, "r")
    assert quarantine.kept > 5
    assert quarantine.kept + quarantine.dropped == 100
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= 1000
    assert [type(event) for event in seen] == [events.SetAsideLost]
    # what is on the disk counts for the next process as well
    other = FileQuarantine(tmp_path, size_max_bytes=1000, clock=NOON)
    other.keep("row", b"x" * 500, "r")
    assert (other.kept, other.dropped) == (0, 1)


def test_a_directory_that_cannot_be_made_raises_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    seen: list[object] = []
    quarantine = FileQuarantine(tmp_path / "file" / "sub", clock=NOON, emit=seen.append)
    quarantine.keep("frame", b"1", "r")
    quarantine.keep("frame", b"2", "r")
    assert (quarantine.kept, quarantine.dropped, len(seen)) == (0, 2, 1)


def test_a_full_disk_raises_nothing_and_spoils_no_later_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    quarantine = FileQuarantine(tmp_path, clock=NOON)
    whole = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda handle, data: whole(handle, data[:10]))
        quarantine.keep("frame", b"torn", "r")
    quarantine.keep("frame", b"whole", "r")
    assert (quarantine.kept, quarantine.dropped) == (1, 1)
    torn, after = (tmp_path / "frames-20240808.ndjson").read_bytes().splitlines()
    assert len(torn) == 10
    assert msgspec.json.decode(after, type=Kept).raw == "whole"


def _keep_many(directory: Path, mark: int) -> None:
    quarantine = FileQuarantine(directory, clock=NOON)
    for number in range(300):
        quarantine.keep("row", f"{mark}-{number}-".encode() + b"x" * (number * 7), "r")


def test_two_processes_write_one_file(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_keep_many, args=(tmp_path, mark)) for mark in (1, 2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    kept = lines(tmp_path / "rows-20240808.ndjson")
    assert len(kept) == 600
    assert len({line.raw for line in kept}) == 600
