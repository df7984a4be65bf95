"""``crypto-quant status`` as the program that it is, on real terminals, over boards that are really written."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from commands import program
from msgspec.structs import replace
from records import Record
from snapshots import link, snapshot, stream
from terminals import Window, window
from watched import fresh

from crypto_quant.ops import board
from crypto_quant.seams import Source
from crypto_quant.snapshot import GapView, Happening, LinkState, Snapshot, StreamState
from crypto_quant.store.migrate import migrate
from crypto_quant.store.tier import Tier
from crypto_quant.store.timescale import connect

MANY = tuple(stream(f"s{at:04}usdt", rate=float(at)) for at in range(3000))
# a recorder that shows the snapshot of stdin, kept fresh, until it is killed
RECORDER = """
import pathlib, sys, time, msgspec
from crypto_quant.ops import board
from crypto_quant.snapshot import Snapshot
seen = msgspec.json.decode(sys.stdin.buffer.read(), type=Snapshot)
writer = board.put_up(pathlib.Path(sys.argv[1]))
while True:
    writer.show(msgspec.structs.replace(seen, taken_ns=time.time_ns()))
    print("up", flush=True)
    time.sleep(0.1)
"""


class Shown:
    """The board of a recorder: this process. What it shows is kept fresh, however slowly the programs start."""

    def __init__(self, directory: Path) -> None:
        self._writer = board.put_up(directory)
        self._snapshot: Snapshot | None = None
        self._lock = threading.Lock()
        self._down = threading.Event()
        self._thread = threading.Thread(target=self._keep_fresh)
        self._thread.start()

    def show(self, snapshot: Snapshot) -> None:
        with self._lock:
            self._snapshot = snapshot
            self._writer.show(snapshot)

    def take_down(self) -> None:
        self._down.set()
        self._thread.join()
        self._writer.take_down()

    def _keep_fresh(self) -> None:
        while not self._down.wait(0.5):
            with self._lock:
                if self._snapshot is not None:
                    self._writer.show(replace(self._snapshot, taken_ns=time.time_ns()))


@pytest.fixture
def shown(tmp_path: Path) -> Iterator[Shown]:
    shown = Shown(tmp_path / board.DIRECTORY)
    yield shown
    shown.take_down()


def show(shown: Shown, **fields: Any) -> None:
    shown.show(fresh(**fields))


@contextmanager
def recorder(directory: Path, **fields: Any) -> "Iterator[subprocess.Popen[bytes]]":
    """Another process with a board."""
    import msgspec

    command = [sys.executable, "-c", RECORDER, str(directory / board.DIRECTORY)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(msgspec.json.encode(snapshot(**fields)))
        process.stdin.close()
        assert process.stdout.readline() == b"up\n"
        try:
            yield process
        finally:
            process.kill()


async def status(directory: Path, *words: str, url: str = "") -> Any:
    return await program(url, directory, "status", *words)


def watched(directory: Path, *words: str, **how: Any) -> Any:
    return window("status", "--watch", "--data-dir", str(directory), *words, **how)


# -- one look ---------------------------------------------------------------------------------------------


async def test_one_that_is_well(tmp_path: Path, shown: Shown) -> None:
    show(shown, streams=(stream(), stream("ethusdt", "5m")))
    done = await status(tmp_path)
    assert (done.code, done.err) == (0, "")
    assert "● recording" in done.out
    assert re.search(r"^btcusdt +aggTrade +1\.5 ", done.out, re.MULTILINE)
    assert re.search(r"^ethusdt +kline_5m ", done.out, re.MULTILINE)
    assert "\x1b" not in done.out


async def test_what_is_wrong_comes_with_its_remedy_and_exit_code_1(tmp_path: Path, shown: Shown) -> None:
    show(
        shown, streams=(stream(gaps=1, missing=5), *MANY),
        gaps=(GapView(symbol="btcusdt", first=5, last=9, note="asked"),),
        happenings=(Happening(at_ns=10**18, level="warning", message="Link lost", fields={"cause": "\x1b[31mreset"}),),
    )  # fmt: skip
    done = await status(tmp_path)
    assert done.code == 1
    assert "✘ 5 trades missing: btcusdt: asked\n" in done.out
    assert "crypto-quant repair btcusdt\n" in done.out
    assert "btcusdt ids 5 to 9 (5): asked\n" in done.out
    assert "01:46:40 warning Link lost cause=�[31mreset\n" in done.out
    lines = done.out.splitlines()
    first = next(at for at, line in enumerate(lines) if line.startswith("symbol"))
    assert lines[first + 1].startswith("btcusdt ")  # what is in trouble comes first
    assert sum(line.startswith("s") and "usdt " in line for line in lines) == 3000  # a pipe gets all of it


async def test_the_snapshot_is_there_for_programs(tmp_path: Path, shown: Shown) -> None:
    show(shown, links=(link(state=LinkState.WAITING),))
    done = await status(tmp_path, "--json", "--once")
    told = json.loads(done.out)
    assert done.code == 1
    assert list(told) == ["format", "asked_ns", "directory", "well", "recorders", "database", "spooled"]
    assert (told["format"], told["well"], told["database"]) == (1, False, None)
    [one] = told["recorders"]
    assert (one["alive"], one["well"], one["snapshot"]["pid"]) == (True, False, os.getpid())
    [problem] = one["problems"]
    assert list(problem) == ["level", "what", "remedy", "cause", "since_ns", "urgent"]
    assert (problem["level"], problem["what"], problem["urgent"]) == ("wrong", "1 of 1 link down", True)
    assert problem["since_ns"] == one["snapshot"]["links"][0]["since_ns"]
    assert one["snapshot"]["streams"][0]["stream"] == "btcusdt@aggTrade"


async def test_a_killed_one_is_told_as_dead(tmp_path: Path) -> None:
    with recorder(tmp_path) as process:
        alive = await status(tmp_path)
    assert process.wait() == -signal.SIGKILL
    done = await status(tmp_path)
    assert (alive.code, done.code) == (0, 1)
    assert "✘ died" in done.out
    assert "✘ Recorder down for" in done.out
    assert "Start it again" in done.out
    told = json.loads((await status(tmp_path, "--json")).out)
    assert [each["alive"] for each in told["recorders"]] == [False]


async def test_of_several_all_are_told_or_the_one_that_is_meant(tmp_path: Path, shown: Shown) -> None:
    show(shown, venue="usdm")
    with recorder(tmp_path, links=()) as other:
        both = await status(tmp_path)
        one = await status(tmp_path, "--pid", str(os.getpid()))
        none = await status(tmp_path, "--pid", str(2**22 + 1))
    assert both.code == 1
    assert both.out.count("● recording") == 2
    assert f"pid {other.pid}" not in one.out
    assert one.code == 0
    assert none.code == 1
    assert "No recorder runs here with pid 4194305" in none.out


async def test_one_that_shows_nothing_yet_is_told_by_its_process_id(tmp_path: Path, shown: Shown) -> None:
    for words in ((), ("--pid", str(os.getpid()))):
        done = await status(tmp_path, *words)
        assert done.code == 1
        assert f"recorder, pid {os.getpid()}\n" in done.out


async def test_without_a_recorder_it_says_what_the_database_holds(database_url: str, tmp_path: Path) -> None:

    empty = await status(tmp_path, url=database_url)
    assert empty.code == 1
    assert "No recorder runs here" in empty.out
    assert "The database holds nothing yet" in empty.out
    connection = await connect(database_url)
    await migrate(connection)
    await connection.close()
    assert "The database holds nothing yet" in (await status(tmp_path, url=database_url)).out
    record = Record(database_url, Tier.POSTGRESQL)
    await record.cover([(5, 9), (20, 1023)])
    await record.cover([(10, 19)], Source.VOID)
    await record.cover([(7, 7)], timeframe="5m")
    held = await status(tmp_path, url=database_url)
    assert re.search(r"^btcusdt +spot +aggTrade +1,009 +20", held.out, re.MULTILINE)
    assert re.search(r"^btcusdt +spot +kline_5m +1 +20", held.out, re.MULTILINE)
    told = json.loads((await status(tmp_path, "--json", url=database_url)).out)["database"]
    assert [(each["stream"], each["rows"]) for each in told["streams"]] == [("aggTrade", 1009), ("kline_5m", 1)]


async def test_without_a_database_it_says_so_and_starts_none(tmp_path: Path) -> None:
    done = await status(tmp_path)
    assert done.code == 1
    assert "the embedded database was never made" in done.out
    assert not (tmp_path / "cluster").exists()
    away = await status(tmp_path, url="postgresql://nobody:secret@127.0.0.1:1/x")
    assert away.code == 1
    assert "What is stored cannot be told" in away.out
    assert "secret" not in away.out + away.err


async def test_what_cannot_be(tmp_path: Path) -> None:
    for words, says in (
        (("--watch",), "stdout is no terminal"),
        (("--watch", "--json"), "--watch is for people"),
        (("--interval", "0"), "0.1"),
    ):
        done = await status(tmp_path, *words)
        assert done.code == 2
        assert says in done.err
        assert "Traceback" not in done.err
    (tmp_path / board.DIRECTORY).write_text("no directory")
    done = await status(tmp_path)
    assert done.code == 2
    assert "the recorders' boards cannot be read" in done.err


def test_no_colour_is_honoured_and_a_terminal_gets_some(tmp_path: Path, shown: Shown) -> None:
    show(shown)
    for environment, coloured in (({}, True), ({"NO_COLOR": "1"}, False)):
        with window("status", "--data-dir", str(tmp_path), environment=environment) as (seen, process):
            seen.until(lambda text: "btcusdt" in text)
            assert process.wait() == 0
            assert (b"\x1b[38" in seen.raw or b"\x1b[1;38" in seen.raw) is coloured


# -- on a full screen -------------------------------------------------------------------------------------


def left_in_order(seen: Window, before: list[Any]) -> None:
    """The normal screen is back, the cursor seen, and the terminal as it was."""
    seen.until(lambda _: seen.raw.rfind(b"\x1b[?1049l") > seen.raw.rfind(b"\x1b[?1049h"))
    seen.until(lambda _: seen.raw.rfind(b"\x1b[?25h") > seen.raw.rfind(b"\x1b[?25l"))
    seen.until(lambda _: seen.settings == before)
    assert b"Traceback" not in seen.raw


def test_it_is_kept_up_to_date_and_q_leaves(tmp_path: Path, shown: Shown) -> None:
    show(shown, counts={"trades_written": 111})
    with watched(tmp_path) as (seen, process):
        before = seen.settings
        seen.until(lambda text: "stored 111" in text and "1-1 of 1 by problems  every 1 s" in text)
        show(shown, counts={"trades_written": 222})
        seen.until(lambda text: "stored 222" in text)
        seen.type(b"q")
        assert process.wait(20) == 0
        left_in_order(seen, before)


def test_keys_sort_page_hold_and_help(tmp_path: Path, shown: Shown) -> None:
    show(shown, streams=(*MANY, stream("zzz", state=StreamState.DOWN)))
    with watched(tmp_path) as (seen, _):

        def rows(text: str) -> list[str]:
            return re.findall(r"^(s\d{4}usdt|zzz) ", text, re.MULTILINE)

        first = rows(seen.until(rows))
        assert first[:2] == ["zzz", "s0000usdt"]
        seen.type(b"s")
        assert rows(seen.until(lambda text: "by symbol" in text))[0] == "s0000usdt"
        seen.type(b"s")
        assert rows(seen.until(lambda text: "by rate" in text))[0] == "s2999usdt"
        seen.type(b"\x1b[6~")
        page = len(rows(seen.until(lambda text: rows(text)[:1] not in (["s2999usdt"], []))))
        assert rows(seen.text)[0] == f"s{2999 - page:04}usdt"
        seen.type(b"\x1b[F")
        assert rows(seen.until(lambda text: "-3,001 of 3,001" in text))[-1] == "s0000usdt"
        seen.type(b"\x1b[H\x1b[B")
        assert rows(seen.until(lambda text: " 2-" in text))[0] == "s2998usdt"
        seen.type(b"+")
        seen.until(lambda text: "every 2 s" in text)
        seen.type(b"---")
        seen.until(lambda text: "every 0.25 s" in text)
        seen.type(b" ")
        seen.until(lambda text: "HELD" in text)
        show(shown, streams=(stream("after"),))
        seen.type(b"?")
        assert "leave" in seen.until(lambda text: "Keys" in text)
        seen.type(b"?")
        assert "after" not in seen.until(lambda text: "Keys" not in text)
        seen.type(b" ")
        seen.until(lambda text: "after" in text)


@pytest.mark.parametrize(("columns", "lines"), [(40, 20), (80, 24), (200, 50), (20, 5)])
def test_it_fits_every_terminal_and_one_that_changes(tmp_path: Path, shown: Shown, columns: int, lines: int) -> None:
    names = ("币安人生usdt", "x" * 60, "btcusdt")
    down = link(2, LinkState.WAITING, cause="c" * 300)
    show(shown, streams=tuple(stream(name) for name in names), links=(link(), down))
    with watched(tmp_path, columns=columns, lines=lines) as (seen, process):
        text = seen.until(lambda text: "q leave" in text or (columns < 40 and "every" in text))
        assert len(text.split("\n")) == lines
        if lines >= 20:
            assert "1 of 2 links down" in text
            assert "btcusdt" in text
        seen.resize(90, 28)
        # redrawn for the new size at once: the last line is the foot
        seen.until(lambda text: text.split("\n")[-1].endswith("? keys  q leave"))
        seen.type(b"q")
        assert process.wait(20) == 0


def test_a_recorder_that_dies_is_told_and_the_next_one_found(tmp_path: Path) -> None:
    with watched(tmp_path, "--interval", "0.1") as (seen, _):
        seen.until(lambda text: "No recorder runs here" in text)
        with recorder(tmp_path, streams=(stream("firstusdt"),)):
            seen.until(lambda text: "firstusdt" in text and "● recording" in text)
        seen.until(lambda text: "✘ died" in text and "Start it again" in text)
        with recorder(tmp_path, streams=(stream("secondusdt"),)):
            text = seen.until(lambda text: "secondusdt" in text)
            assert "died" not in text
        assert b"Traceback" not in seen.raw


def test_one_that_ends_in_order_is_told_as_ended(tmp_path: Path, shown: Shown) -> None:
    show(shown)
    with watched(tmp_path, "--interval", "0.1") as (seen, _):
        seen.until(lambda text: "btcusdt" in text)
        shown.take_down()
        seen.until(lambda text: f"pid {os.getpid()}, has ended" in text)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_gives_the_terminal_back(tmp_path: Path, shown: Shown, number: signal.Signals) -> None:
    show(shown)
    with watched(tmp_path) as (seen, process):
        before = seen.settings
        seen.until(lambda text: "btcusdt" in text)
        process.send_signal(number)
        assert process.wait(20) == 130
        left_in_order(seen, before)


def test_ctrl_c_is_typed(tmp_path: Path, shown: Shown) -> None:
    show(shown)
    with watched(tmp_path) as (seen, process):
        before = seen.settings
        seen.until(lambda text: "btcusdt" in text)
        seen.type(b"\x03")
        assert process.wait(20) == 130
        left_in_order(seen, before)


def test_what_breaks_in_it_gives_the_terminal_back_and_is_told_below(tmp_path: Path, shown: Shown) -> None:
    show(shown)
    broken = (
        "from crypto_quant.cli import watch\n"
        "from crypto_quant.cli.watch_screen import Screen\n"
        "lines = Screen.lines\n"
        "def once(self, *size):\n"
        "    Screen.lines = lambda *_: 1 / 0\n"
        "    return lines(self, *size)\n"
        "Screen.lines = once\n"
        "from crypto_quant.cli import main; main()"
    )
    words = ("status", "--watch", "--data-dir", str(tmp_path), "--interval", "0.1")
    with window(*words, python=broken) as (seen, process):
        before = seen.settings
        assert process.wait(20) == 1
        seen.until(lambda text: "ZeroDivisionError" in text)
        assert seen.raw.index(b"Traceback") > seen.raw.rindex(b"\x1b[?1049l")
        assert seen.settings == before


def test_a_window_that_is_closed_ends_it_without_a_word(tmp_path: Path, shown: Shown) -> None:
    show(shown)
    errors = tmp_path / "errors"
    into_file = (
        "import os, signal, sys\n"
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        f"os.dup2(os.open({str(errors)!r}, os.O_WRONLY | os.O_CREAT), 2)\n"
        "from crypto_quant.cli import main; main()"
    )
    words = ("status", "--watch", "--data-dir", str(tmp_path), "--interval", "0.1")
    with window(*words, python=into_file) as (seen, process):
        seen.until(lambda text: "btcusdt" in text)
        seen.close()
        assert process.wait(20) == 1
    assert errors.read_text() == ""


def test_stopped_by_ctrl_z_it_lends_the_terminal_to_the_shell(tmp_path: Path, shown: Shown) -> None:
    show(shown)
    with watched(tmp_path) as (seen, process):
        before = seen.settings
        seen.until(lambda text: "btcusdt" in text)
        process.send_signal(signal.SIGTSTP)
        _, how = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(how)
        left_in_order(seen, before)
        process.send_signal(signal.SIGCONT)
        seen.type(b"?")
        seen.until(lambda text: "Keys" in text)
        seen.type(b"q")
        assert process.wait(20) == 0
        left_in_order(seen, before)
