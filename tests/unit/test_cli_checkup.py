"""What ``doctor`` puts together: a machine that hangs, settings that follow, and every name told once."""

import threading
from pathlib import Path

import pytest

from crypto_quant.cli import checkup
from crypto_quant.config import resolve
from crypto_quant.diagnosis.finding import Finding
from crypto_quant.flow.checkup import Check, run


async def of(tmp_path: Path, name: str, **flags: object) -> Finding:
    """Return the finding of one check with these flags."""
    resolved = resolve({"data_dir": str(tmp_path / "data"), **flags}, {"CRYPTO_QUANT_HOME": "x"}, cwd=tmp_path)
    (check,) = (each for each in checkup.checks(resolved, "linux") if name in each.names)
    return {each.check: each for each in await run([check])}[name]


async def test_a_disk_that_never_answers_costs_its_own_check_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    never = threading.Event()
    monkeypatch.setattr(checkup, "MACHINE_LIMIT_S", 0.05)
    monkeypatch.setattr(checkup.here, "disk_of", lambda _: never.wait())
    checks = checkup.checks(resolve({"data_dir": str(tmp_path)}, {}, cwd=tmp_path), "linux")
    local: list[Check] = [
        each for each in checks if not {"proxy", "rest", "websocket", "archive", "database"} & {*each.names}
    ]
    try:
        found = {each.check: each for each in await run(local)}
    finally:
        never.set()
    assert {name for name, each in found.items() if each.verdict == "failed"} == {
        "data_disk", "spool_disk", "database_disk",
    }  # fmt: skip
    assert "no answer within 0.05 s" in found["data_disk"].found
    assert found["python"].verdict == "ok"


async def test_what_the_machine_refuses_to_tell_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Path) -> None:
        raise PermissionError(13, "Permission denied", "/data")

    monkeypatch.setattr(checkup.here, "disk_of", refuse)
    found = await of(tmp_path, "data_disk")
    assert found.verdict == "failed"
    assert "Permission denied" in found.found


async def test_the_settings_decide_what_is_looked_at(tmp_path: Path) -> None:
    assert (await of(tmp_path, "spool_disk")).found.endswith(str(tmp_path / "data" / "spool"))
    assert (await of(tmp_path, "spool_disk", spool_dir=str(tmp_path / "s"))).found.endswith(str(tmp_path / "s"))
    assert (await of(tmp_path, "spool_disk", spool=False)).verdict == "skipped"
    assert (await of(tmp_path, "database_disk")).verdict != "skipped"
    assert (await of(tmp_path, "database_disk", database_url="postgresql://h/d")).verdict == "skipped"
    assert (await of(tmp_path, "settings")).verdict == "warning"
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(("symbols", "links", "needed"), [
    (1, 1, "70 are needed (links: 1, connections: 4)"),
    (1024, 1, "70 are needed (links: 1, connections: 4)"),
    (1025, 1, "72 are needed (links: 2, connections: 4)"),
    (1025, 2, "76 are needed (links: 4, connections: 4)"),
    (0, 1, "links: 1"),
])  # fmt: skip
async def test_links_are_counted_as_the_recorder_opens_them(
    tmp_path: Path, symbols: int, links: int, needed: str
) -> None:
    found = await of(tmp_path, "file_limit", symbols=[f"s{number}" for number in range(symbols)], links=links)
    assert needed in found.found


async def test_every_name_is_told_once(tmp_path: Path) -> None:
    checks = checkup.checks(resolve({"data_dir": str(tmp_path)}, {}, cwd=tmp_path), "linux")
    names = [name for check in checks for name in check.names]
    assert len(names) == len(set(names))
