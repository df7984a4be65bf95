"""``crypto-quant simulate`` as a person starts it: a process, its output, its end."""

import json
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

COMMAND = [sys.executable, "-c", "from crypto_quant.cli import main; main()", "simulate"]


@contextmanager
def running(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    process = subprocess.Popen(
        [*COMMAND, "--port", "0", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )  # fmt: skip
    try:
        assert process.stdout is not None
        yield process, json.loads(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()


def get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - loopback
        return json.load(answer)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_says_where_it_is_and_ends_when_asked(number: signal.Signals) -> None:
    with running("--symbols", "2", "--delisted", "LUNAUSDT", "--lead", "60") as (process, urls):
        assert urls["ws_url"] == urls["rest_url"].replace("http://", "ws://")
        listed = get(f"{urls['rest_url']}/api/v3/exchangeInfo")["symbols"]
        assert [(one["symbol"], one["status"]) for one in listed] == [
            ("BTCUSDT", "TRADING"), ("ETHUSDT", "TRADING"), ("LUNAUSDT", "BREAK"),
        ]  # fmt: skip
        assert get(f"{urls['rest_url']}/api/v3/aggTrades?symbol=BTCUSDT&limit=5")[4]["a"] > 2**31
        process.send_signal(number)
        out, notes = process.communicate(timeout=10)
        assert process.returncode == 0
        assert out == ""
        assert urls["ws_url"] in notes
        assert "Traceback" not in notes


def test_one_seed_one_market() -> None:
    rows = []
    for _ in range(2):
        with running("--seed", "9", "--start", "1790856000000", "--lead", "30", "--hold") as (_, urls):
            assert get(f"{urls['rest_url']}/api/v3/time") == {"serverTime": 1790856000000}
            rows.append(get(f"{urls['rest_url']}/api/v3/aggTrades?symbol=BTCUSDT&limit=1000"))
    assert rows[0] == rows[1]
    assert rows[0]
