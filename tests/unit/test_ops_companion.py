"""The companion's keeper: it starts again what dies, ever less often, and lets nothing outlive the end."""

import queue
import socket
import sys
from pathlib import Path

import msgspec
import pytest

from crypto_quant import events
from crypto_quant.ops import companion
from crypto_quant.ops.companion import Companion, Plan


def program(path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Have this run in place of the watching process; its arguments are those of Python."""
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(path))


def runs(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def test_one_that_dies_is_started_again_ever_less_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "dies", monkeypatch, "exit 3")
    monkeypatch.setattr(companion, "_FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(companion, "_LONGEST_PAUSE_S", 0.05)
    told: queue.Queue[events.Event] = queue.Queue()
    with Companion(Plan(directory="x"), [], told.put):
        ends = [told.get(timeout=20) for _ in range(5)]
    assert [msgspec.to_builtins(each) for each in ends] == [
        {"cause": "exit code 3", "retry_in_s": pause} for pause in (0.01, 0.02, 0.04, 0.05, 0.05)
    ]


def test_one_that_cannot_be_started_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    told: queue.Queue[events.Event] = queue.Queue()
    with Companion(Plan(directory="x"), [], told.put):
        end = told.get(timeout=20)
    assert isinstance(end, events.CompanionEnded)
    assert end.cause == "No such file or directory"


def test_it_hears_its_plan_has_its_sockets_and_no_secret_in_its_arguments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = tmp_path / "heard"
    program(tmp_path / "hears", monkeypatch, f'read plan; echo "$plan" > {heard}.new; echo "$@" >> {heard}.new\n'
            f"ls /proc/self/fd >> {heard}.new; mv {heard}.new {heard}; read end")  # fmt: skip
    with socket.socket() as bound:
        plan = Plan(directory="x", token="secret-token", metrics_socket=bound.fileno())
        told: queue.Queue[events.Event] = queue.Queue()
        running = Companion(plan, [bound], told.put)
        running.start()
        while not heard.exists():
            assert told.empty(), told.get()
        number = bound.fileno()
        running.stop()
        assert bound.fileno() == -1
    line, arguments, *files = heard.read_text().splitlines()
    assert msgspec.json.decode(line, type=Plan) == plan
    assert "secret" not in arguments
    assert str(number) in files
    assert told.empty()


def test_one_that_does_not_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "stays", monkeypatch, "trap '' TERM HUP INT; while :; do sleep 1; done")
    told: queue.Queue[events.Event] = queue.Queue()
    running = Companion(Plan(directory="x"), [], told.put)
    running.start()
    while running.pid is None:
        pass
    pid = running.pid
    assert runs(pid)
    running.stop()
    assert not runs(pid)
    assert told.empty()


def test_stopped_before_it_began(monkeypatch: pytest.MonkeyPatch) -> None:
    running = Companion(Plan(directory="x"), [], print)
    running._stopping.set()
    running.start()
    running.stop()
    assert running.pid is None
