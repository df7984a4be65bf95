"""Whose spool it is: locks, what dead recorders leave, other databases, and the files themselves."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from crypto_quant.store.spoolfiles import claim, target_of

HERE = "db:5432/market"


def open_files() -> int:
    handles = Path("/proc/self/fd")
    return len(list(handles.iterdir())) if handles.exists() else 0


def names_in(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


async def write(root: Path, target: str, *names: str) -> Path:
    """Leave files in a spool as a dead recorder does."""
    files, _ = claim(root, target)
    for name in names:
        await files.write(name, 0, name.encode())
    await files.close()
    return Path(files.directory)


async def test_files_are_written_read_cut_renamed_and_removed(tmp_path: Path) -> None:
    files, elsewhere = claim(tmp_path / "deep" / "spool", HERE)
    assert elsewhere == []
    await files.write("00000001.spool", 0, b"hello")
    await files.write("00000001.spool", 5, b" world")
    await files.sync("00000001.spool")
    await files.sync_names()
    assert await files.read("00000001.spool") == b"hello world"
    assert await files.sizes() == {"00000001.spool": 11}
    await files.truncate("00000001.spool", 5)
    await files.write("00000002.spool", 0, b"x")
    await files.rename("00000001.spool", "00000001.spool.damaged")
    assert await files.sizes() == {"00000002.spool": 1}
    await files.remove("00000002.spool")
    assert await files.sizes() == {}
    with pytest.raises(FileNotFoundError):
        await files.remove("00000002.spool")
    await files.close()
    await files.close()


async def test_two_recorders_have_their_own_and_a_third_takes_over_both(tmp_path: Path) -> None:
    one, _ = claim(tmp_path, HERE)
    two, _ = claim(tmp_path, HERE)
    assert one.directory != two.directory
    await one.write("00000001.spool", 0, b"first")
    await one.write("00000002.spool", 0, b"second")
    await two.write("00000001.spool", 0, b"third")
    await one.close()
    # while the second lives, its rows are its own
    three, _ = claim(tmp_path, HERE)
    assert (three.directory, len(await three.sizes())) == (one.directory, 2)
    await three.close()
    await two.close()
    four, _ = claim(tmp_path, HERE)
    assert [await four.read(name) for name in await four.sizes()] == [b"first", b"second", b"third"]
    assert "00000001.spool" not in names_in(Path(two.directory))
    await four.close()


async def test_what_is_for_another_database_is_left_and_told(tmp_path: Path) -> None:
    there = await write(tmp_path, "other:5432/market", "00000001.spool")
    files, elsewhere = claim(tmp_path, HERE)
    assert Path(files.directory) != there
    assert await files.sizes() == {}
    assert [(each.directory, each.target, each.size_bytes) for each in elsewhere] == [(there, "other:5432/market", 14)]
    await files.close()
    # whoever records there finds it
    back, elsewhere = claim(tmp_path, "other:5432/market")
    assert (Path(back.directory), elsewhere) == (there, [])
    await back.close()
    # and a person may redirect it
    (there / "target").write_text(f"{HERE}\n")
    files, elsewhere = claim(tmp_path, HERE)
    assert elsewhere == []
    assert list((await files.sizes()).values()) == [14]
    await files.close()


async def test_an_empty_spool_of_another_database_is_used_again(tmp_path: Path) -> None:
    await write(tmp_path, "other:5432/market")
    files, elsewhere = claim(tmp_path, HERE)
    assert elsewhere == []
    assert names_in(tmp_path) == ["1"]
    assert (tmp_path / "1" / "target").read_text() == f"{HERE}\n"
    await files.close()


def test_a_killed_process_lets_go_of_its_spool(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from crypto_quant.store.spoolfiles import claim;"
        f"held = claim(Path({str(tmp_path)!r}), {HERE!r}); print('held', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    other, _ = claim(tmp_path, HERE)
    assert other.directory == str(tmp_path / "2")
    other.unlock()
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    mine, _ = claim(tmp_path, HERE)
    assert mine.directory == str(tmp_path / "1")
    mine.unlock()


def test_a_directory_that_cannot_be_used_is_an_error_without_a_lock_left(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        claim(tmp_path / "file", HERE)
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "target").mkdir()
    before = open_files()
    with pytest.raises(OSError, match="target"):
        claim(tmp_path, HERE)
    assert open_files() == before


@pytest.mark.parametrize(("url", "target"), [
    ("postgresql://user:secret@db/market", "db:5432/market"),
    ("postgresql://other@db:5432/market?sslmode=require", "db:5432/market"),
    ("postgres://crypto@/quant?host=/run/pg%20x&port=5433", "/run/pg x:5433/quant"),
    ("postgresql://db:6000/?dbname=z", "db:6000/z"),
    ("postgresql:///z?port=5433", ":5433/z"),
    ("postgresql://DB/z", "db:5432/z"),
    ("postgresql://u:secret@b:2,a:1/z?target_session_attrs=read-write", "a:1,b:2/z"),
])  # fmt: skip
def test_the_target_is_the_database_and_not_who_asks(url: str, target: str) -> None:
    assert target_of(url) == target
    assert "secret" not in target_of(url)
