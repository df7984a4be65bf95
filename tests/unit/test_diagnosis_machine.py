"""Verdicts on the machine, at each side of each limit."""

from typing import Any

import pytest

from crypto_quant.diagnosis import machine
from crypto_quant.diagnosis.finding import Finding, Verdict, worst
from crypto_quant.diagnosis.machine import ClockSample, Disk
from crypto_quant.evidence import Spooled
from crypto_quant.words import GIB, MIB

S = 1_000_000_000


@pytest.mark.parametrize(("version", "implementation", "verdict"), [
    ((3, 10, 99), "CPython", "failed"), ((3, 11, 0), "CPython", "ok"), ((4, 0, 0), "CPython", "ok"),
    ((3, 11, 0), "PyPy", "warning"), ((2, 99, 0), "PyPy", "failed"),
])  # fmt: skip
def test_python(version: tuple[int, int, int], implementation: str, verdict: str) -> None:
    assert machine.python(version, implementation).verdict == verdict


@pytest.mark.parametrize(("uvloop", "platform", "verdict"), [
    ("0.22.1", "linux", "ok"), (None, "linux", "warning"), (None, "darwin", "warning"), (None, "win32", "skipped"),
])  # fmt: skip
def test_event_loop(uvloop: str | None, platform: str, verdict: str) -> None:
    assert machine.event_loop(uvloop, platform).verdict == verdict


@pytest.mark.parametrize(("ahead_ns", "took_ns", "verdict"), [
    (0, 0, "ok"), (S, 0, "ok"), (S + 1, 0, "warning"), (-S, 0, "ok"), (-S - 1, 0, "warning"),
    (60 * S, 0, "warning"), (60 * S + 1, 0, "failed"), (-60 * S - 1, 0, "failed"),
    # half the round trip is not held against the clock
    (2 * S, 2 * S, "ok"), (2 * S + 1, 2 * S, "warning"), (61 * S, 2 * S, "warning"), (61 * S + 1, 2 * S, "failed"),
])  # fmt: skip
def test_clock(ahead_ns: int, took_ns: int, verdict: str) -> None:
    now = 1_790_856_000 * S
    found = machine.clock([ClockSample(now, took_ns, now + took_ns // 2 + ahead_ns)])
    assert found.verdict == verdict
    assert ("behind" if ahead_ns > 0 else "ahead of") in found.found


def test_the_quickest_answer_judges_the_clock() -> None:
    quick, slow = ClockSample(0, 10, 5 + 2 * S), ClockSample(0, 4 * S, 2 * S)
    assert machine.clock([slow]).verdict == "ok"
    assert machine.clock([slow, quick]).verdict == "warning"
    assert machine.clock([]).verdict == "skipped"


@pytest.mark.parametrize(("soft", "links", "pool_size", "verdict"), [
    (None, 1, 4, "ok"), (69, 1, 4, "failed"), (70, 1, 4, "warning"), (139, 1, 4, "warning"), (140, 1, 4, "ok"),
    (1024, 480, 4, "failed"),
])  # fmt: skip
def test_file_limit(soft: int | None, links: int, pool_size: int, verdict: str) -> None:
    found = machine.file_limit(soft, None, links=links, pool_size=pool_size)
    assert found.verdict == verdict
    assert ("ulimit -n" in found.remedy) is (verdict != "ok")


def test_a_hard_limit_that_is_too_low_is_told() -> None:
    assert "the hard limit is 100" in machine.file_limit(50, 100, links=1, pool_size=4).remedy
    assert "hard limit" not in machine.file_limit(50, 4096, links=1, pool_size=4).remedy


NEED = 100 * MIB + 400 * 200_000


@pytest.mark.parametrize(("limit", "verdict"), [
    (None, "skipped"), (100 * MIB - 1, "failed"), (100 * MIB, "warning"), (NEED - 1, "warning"), (NEED, "ok"),
])  # fmt: skip
def test_memory(limit: int | None, verdict: str) -> None:
    assert machine.memory(limit, pending_limit=200_000).verdict == verdict


def test_the_pending_limit_that_is_advised_would_do() -> None:
    limit = NEED - 1
    advised = int(machine.memory(limit, pending_limit=200_000).remedy.rpartition(" ")[2])
    assert advised >= 1000
    assert machine.memory(limit, pending_limit=advised).verdict == "ok"


def disk(free: int, *, writable: bool = True) -> Disk:
    return Disk("/data/x", "/data", free, 5 * GIB, writable)


@pytest.mark.parametrize(("free", "verdict"), [
    (512 * MIB - 1, "failed"), (512 * MIB, "warning"), (GIB - 1, "warning"), (GIB, "ok"),
])  # fmt: skip
def test_data_disk(free: int, verdict: str) -> None:
    assert machine.data_disk(disk(free)).verdict == verdict


@pytest.mark.parametrize(("free", "used", "verdict"), [
    (512 * MIB - 1, 4 * GIB, "failed"), (512 * MIB, 4 * GIB, "ok"), (512 * MIB, 0, "warning"),
    (4 * GIB - 1, 0, "warning"), (4 * GIB, 0, "ok"), (3 * GIB, GIB, "ok"), (3 * GIB - 1, GIB, "warning"),
    (512 * MIB, 5 * GIB, "ok"),
])  # fmt: skip
def test_spool_disk(free: int, used: int, verdict: str) -> None:
    assert machine.spool_disk(disk(free), limit_bytes=4 * GIB, used_bytes=used).verdict == verdict


def test_the_spool_limit_that_is_advised_would_do() -> None:
    found = machine.spool_disk(disk(GIB), limit_bytes=4 * GIB, used_bytes=GIB)
    advised = int(found.remedy.rpartition(" ")[2])
    assert machine.spool_disk(disk(GIB), limit_bytes=advised, used_bytes=GIB).verdict == "ok"


@pytest.mark.parametrize(("free", "verdict"), [
    (2 * GIB - 1, "failed"), (2 * GIB, "warning"), (10 * GIB - 1, "warning"), (10 * GIB, "ok"),
])  # fmt: skip
def test_database_disk(free: int, verdict: str) -> None:
    assert machine.database_disk(disk(free)).verdict == verdict


@pytest.mark.parametrize("judged", [
    machine.data_disk(disk(99 * GIB, writable=False)), machine.database_disk(disk(99 * GIB, writable=False)),
    machine.spool_disk(disk(99 * GIB, writable=False), limit_bytes=GIB, used_bytes=0),
])  # fmt: skip
def test_a_disk_that_cannot_be_written(judged: Finding) -> None:
    assert judged.verdict == "failed"
    assert judged.found == "cannot be written: /data"
    assert "Set " in judged.remedy


def test_disks_that_are_not_looked_at() -> None:
    assert machine.spool_disk(None, limit_bytes=1, used_bytes=0).verdict == "skipped"
    assert machine.database_disk(None).verdict == "skipped"


@pytest.mark.parametrize(("verdicts", "expected"), [
    ("", "ok"), ("skipped", "ok"), ("ok skipped", "ok"), ("ok warning skipped", "warning"),
    ("failed warning", "failed"),
])  # fmt: skip
def test_the_worst_verdict(verdicts: str, expected: str) -> None:
    assert worst(Finding("x", Verdict(each), "") for each in verdicts.split()) == expected


def test_rows_that_wait_in_a_spool_are_a_warning() -> None:
    assert machine.spool_rows([]).verdict == "ok"
    found = machine.spool_rows([Spooled("/a", 1000, 7), Spooled("/b", 1, 0)])
    assert (found.verdict, found.found) == (
        "warning", "1,008 rows that were received wait for the database in /a, /b",
    )  # fmt: skip


def test_whatever_is_wrong_has_a_remedy() -> None:
    wrong: list[Any] = [
        machine.python((3, 10, 0), "CPython"), machine.event_loop(None, "linux"), machine.data_disk(disk(0)),
        machine.clock([ClockSample(0, 0, 99 * S)]), machine.memory(1, pending_limit=1000),
        machine.spool_disk(disk(0), limit_bytes=GIB, used_bytes=0), machine.database_disk(disk(0)),
        machine.spool_rows([Spooled("/a", 1, 0)]),
    ]  # fmt: skip
    assert all(finding.remedy for finding in wrong)
