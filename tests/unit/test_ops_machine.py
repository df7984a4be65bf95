"""What is read of the machine."""

import os
import resource
import sys
from pathlib import Path

import pytest

from crypto_quant.ops import machine


def test_the_interpreter_and_packages() -> None:
    assert machine.python() == (sys.version_info[:3], "CPython")
    assert machine.installed("click") is not None
    assert machine.installed("no-such-package-at-all") is None


def test_open_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert machine.open_files() == (
        None if soft == resource.RLIM_INFINITY else soft,
        None if hard == resource.RLIM_INFINITY else hard,
    )


@pytest.mark.parametrize(("files", "own", "expected"), [
    ({"memory.max": "1000\n"}, "0::/\n", 1000),
    ({"memory.max": "max\n"}, "0::/\n", None),
    ({"a/memory.max": "max", "a/b/memory.max": "500", "memory.max": "900"}, "0::/a/b\n", 500),
    ({"a/memory.max": "400", "a/b/memory.max": "500"}, "0::/a/b\n", 400),
    ({"memory.max": "700"}, "0::/not/to/be/seen\n", 700),
    ({"memory/x/memory.limit_in_bytes": "600"}, "5:cpu:/x\n4:memory,hugetlb:/x\n", 600),
    ({"memory/memory.limit_in_bytes": "9223372036854771712"}, "4:memory:/\n", None),
    ({}, "0::/\n", None),
    ({}, "nonsense\n", None),
])  # fmt: skip
def test_the_least_limit_of_the_control_groups_holds(
    tmp_path: Path, files: dict[str, str], own: str, expected: int | None
) -> None:
    for name, text in files.items():
        (tmp_path / "root" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "root" / name).write_text(text)
    (tmp_path / "own").write_text(own)
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    found = machine.memory_bytes(tmp_path / "root", tmp_path / "own")
    assert found == (physical if expected is None else expected)


def test_a_system_without_control_groups_has_its_memory(tmp_path: Path) -> None:
    assert machine.memory_bytes(tmp_path, tmp_path / "none") == machine.memory_bytes(tmp_path, tmp_path / "none too")


def test_the_disk_of_a_directory_that_is_yet_to_be_made(tmp_path: Path) -> None:
    found = machine.disk_of(tmp_path / "a" / "b")
    assert (found.place, found.directory, found.writable) == (str(tmp_path), str(tmp_path / "a" / "b"), True)
    assert found.free_bytes > 0
    assert not (tmp_path / "a").exists()


def test_a_file_in_the_way_cannot_be_written_into(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert not machine.disk_of(tmp_path / "file" / "b").writable


def test_used_bytes(tmp_path: Path) -> None:
    assert machine.used_bytes(tmp_path / "none") == 0
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_bytes(b"123")
    (tmp_path / "y").write_bytes(b"45")
    assert machine.used_bytes(tmp_path) == 5
