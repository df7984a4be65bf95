"""Boards: what a recorder shows is read whole or not at all, and the dead are told from the living."""

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from crypto_quant.ops import board
from crypto_quant.snapshot import Phase, Snapshot, StoreView


def snapshot(symbols: int = 1, note: str = "") -> Snapshot:
    return Snapshot(
        version="0", pid=os.getpid(), started_ns=1, taken_ns=2, phase=Phase.RECORDING, venue="spot", symbols=symbols,
        store=StoreView(database=f"h:1/d{note}"),
    )  # fmt: skip


def test_what_is_shown_is_what_is_read(tmp_path: Path) -> None:
    writer = board.put_up(tmp_path)
    assert [(each.alive, each.snapshot) for each in board.boards(tmp_path)] == [(True, None)]
    writer.show(snapshot(symbols=7, note="<ü>" * 999))
    writer.show(snapshot(symbols=8))
    [seen] = board.boards(tmp_path)
    assert seen.alive
    assert seen.snapshot == snapshot(symbols=8)
    writer.take_down()
    assert list(board.boards(tmp_path)) == []


@pytest.mark.parametrize("cut", [0, 3, 63, 64, 70])
def test_a_torn_board_shows_nothing(tmp_path: Path, cut: int) -> None:
    writer = board.put_up(tmp_path)
    writer.show(snapshot())
    whole = writer.path.read_bytes()
    writer.path.write_bytes(whole[:cut])
    assert board.read(writer.path).snapshot is None


def test_a_changed_byte_is_not_shown(tmp_path: Path) -> None:
    writer = board.put_up(tmp_path)
    writer.show(snapshot())
    whole = writer.path.read_bytes()
    for at in range(len(whole)):
        writer.path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        seen = board.read(writer.path).snapshot
        assert seen is None or seen == snapshot(), at


def test_another_format_shows_nothing(tmp_path: Path) -> None:
    writer = board.put_up(tmp_path)
    changed = {"format": 99}
    body = board._encoder.encode({**msgspec.to_builtins(snapshot()), **changed})
    writer.path.write_bytes(board._head(body) + body)
    assert board.read(writer.path).snapshot is None


def test_a_killed_recorder_is_dead_and_the_next_one_clears_up(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib, time\n"
        "from crypto_quant.ops import board\n"
        "board.put_up(pathlib.Path(sys.argv[1]))\n"
        "print('up', flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        [seen] = board.boards(tmp_path)
        assert seen.alive
        process.kill()
    [seen] = board.boards(tmp_path)
    assert not seen.alive
    mine = board.put_up(tmp_path)
    assert [each.path for each in board.boards(tmp_path)] == [mine.path]
    mine.take_down()


def test_two_hosts_with_the_same_process_id_have_two_boards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Containers that share a volume: in each the recorder is number 1."""
    monkeypatch.setattr(os, "getpid", lambda: 1)
    monkeypatch.setattr("platform.node", lambda: "3f1c")
    first = board.put_up(tmp_path)
    first.show(snapshot(symbols=1))
    monkeypatch.setattr("platform.node", lambda: "../9a2b")
    second = board.put_up(tmp_path)
    second.show(snapshot(symbols=2))
    assert [each.snapshot and each.snapshot.symbols for each in board.boards(tmp_path)] == [1, 2]
    assert [each.pid for each in board.boards(tmp_path)] == ["1", "1"]
    assert second.path.parent == tmp_path
