"""``crypto-quant candles`` as the program that it is: drawn on a terminal, lines in a pipe, JSON for programs."""

import asyncio
import json
import os
import pty
import struct
import subprocess
import sys
from collections.abc import AsyncIterator
from fcntl import ioctl
from pathlib import Path
from termios import TIOCSWINSZ

import pytest
from commands import program
from records import DAY, SECOND, Record, record_on, trade


@pytest.fixture
async def record() -> AsyncIterator[Record]:
    """An hour of 5m candles, two of them missing; an hour of trades a second, some of them missing."""
    async with record_on("postgresql") as lent:
        await lent.candles([DAY + number * 300 * SECOND for number in range(12) if number not in (9, 10)])
        await lent.trades([trade(number) for number in range(3600) if not 3001 <= number < 3010], symbol="ethusdt")
        yield lent


async def test_in_a_pipe_it_is_plain(record: Record, tmp_path: Path) -> None:
    done = await program(record.url, tmp_path, "candles", "BTCUSDT", "5m", "--last", "4")
    assert (done.code, done.err) == (0, "")
    head, *lines = done.out.splitlines()
    assert head.split() == ["time", "open", "high", "low", "close", "volume"]
    assert [line.split() for line in lines] == [
        ["2024-08-08T00:40:00Z", "1.00000000", "2.00000000", "0.50000000", "1.50000000", "10.00000000"],
        ["2024-08-08T00:45:00Z", "missing"],
        ["2024-08-08T00:50:00Z", "missing"],
        ["2024-08-08T00:55:00Z", "1.00000000", "2.00000000", "0.50000000", "1.50000000", "10.00000000"],
    ]


async def test_json_is_exact(record: Record, tmp_path: Path) -> None:
    done = await program(record.url, tmp_path, "candles", "btcusdt", "5m", "--last", "3", "--json")
    told = json.loads(done.out)
    assert (told["source"], told["missing"]) == ("stored", ["2024-08-08T00:45:00Z", "2024-08-08T00:50:00Z"])
    assert [(each["time"], each["close"], each["whole"]) for each in told["candles"]] == [
        ("2024-08-08T00:55:00Z", "1.50000000", True)
    ]


async def test_from_trades_in_any_timeframe(record: Record, tmp_path: Path) -> None:
    done = await program(record.url, tmp_path, "candles", "ethusdt", "10m", "--json")
    told = json.loads(done.out)
    assert told["source"] == "trades"
    # the last one is not over: no trade came after it
    assert [(each["time"][11:16], each["whole"]) for each in told["candles"]] == [
        ("00:00", True), ("00:10", True), ("00:20", True), ("00:30", True), ("00:40", True)
    ]  # fmt: skip
    assert told["candles"][0]["open"] == "57034.01000000"
    await record.trades([trade(3600)], symbol="ethusdt")
    done = await program(record.url, tmp_path, "candles", "ethusdt", "10m", "--last", "2", "--json")
    assert [(each["time"][11:16], each["whole"]) for each in json.loads(done.out)["candles"]] == [
        ("00:40", True), ("00:50", False)
    ]  # fmt: skip


@pytest.mark.parametrize("columns", [40, 80])
async def test_on_a_terminal_it_is_drawn(record: Record, tmp_path: Path, columns: int) -> None:
    lead, follow = pty.openpty()
    ioctl(follow, TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    environment = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES", "NO_COLOR")}
    process = subprocess.Popen(  # noqa: ASYNC220
        [sys.executable, "-m", "crypto_quant", "candles", "btcusdt", "5m"],
        env={**environment, "CRYPTO_QUANT_DATABASE_URL": record.url, "TERM": "xterm", "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL, stdout=follow, stderr=follow, cwd=tmp_path,
    )  # fmt: skip
    os.close(follow)
    out = await asyncio.to_thread(_all_of, lead)
    assert process.wait() == 0, out
    lines = out.replace("\x1b[1m", "").replace("\x1b[0m", "").splitlines()
    assert max(map(len, lines)) <= columns
    assert lines[0].startswith("btcusdt 5m spot  1.50 +50.00%")
    assert sum(line.count("┃") for line in lines) > 10
    assert "2 × missing: 00:45:00, 00:50:00" in out
    assert "2024-08-08 00:00 to 00:55 UTC" in out


def _all_of(handle: int) -> str:
    data = b""
    try:
        while piece := os.read(handle, 65536):
            data += piece
    except OSError:  # Linux says so when the other side has closed
        pass
    os.close(handle)
    return data.decode()


WRONG = [
    (["btcusd", "5m"], "no trades of this symbol were ever recorded: btcusd (spot). Did you mean 'btcusdt'"),
    (["ethusdt", "7m"], "this timeframe does not divide a day: 7m. Near it: 6m, 8m"),
    (["ethusdt", "tomorrow"], "not a timeframe: 'tomorrow'"),
    (["ethusdt", "1d"], "no candle is over yet"),
    (["ethusdt", "5m", "--venue", "usdm"], "no trades of this symbol were ever recorded: ethusdt (usdm)"),
]


async def test_wrong_words_are_told(record: Record, tmp_path: Path) -> None:
    for words, said in WRONG:
        done = await program(record.url, tmp_path, "candles", *words)
        assert (done.code, done.out) == (2, ""), (words, done)
        assert said in done.err, done
        assert "Traceback" not in done.err


async def test_an_age_without_candles_is_no_loop(record: Record, tmp_path: Path) -> None:
    """More are asked for than there can be."""
    done = await program(record.url, tmp_path, "candles", "btcusdt", "5m", "--last", "10000")
    assert len(done.out.splitlines()) == 13
    assert done.out.splitlines()[1].startswith("2024-08-08T00:00:00Z")
