"""Recorders side by side, each under a supervisor, and what each stored held against the exchange's tape."""

# ruff: noqa: S603, S310  # it runs programs for a living, and asks only an exchange on this machine

import json
import os
import signal
import subprocess
import threading
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import asyncpg

# how long a service manager waits before it starts a program again that has ended
RESTART_S = 2.0

# inclusive first and last id of each symbol, as the exchange writes it
Span = Mapping[str, tuple[int, int]]
# price and quantity of each (symbol, id)
Tape = dict[tuple[str, int], tuple[Decimal, Decimal]]
# symbol, id, price and quantity of a stored trade
Row = tuple[str, int, Decimal, Decimal]


class Supervised:
    """A program that is started again when it ends. JSON lines of its stdout are kept, its stderr goes to a file."""

    def __init__(self, command: list[str], log: Path, env: Mapping[str, str]) -> None:
        self.ended = 0  # times that it ended by itself
        self.lives: list[list[dict[str, int]]] = []  # what each life has told on stdout
        self._command, self._log, self._env = command, log, {**os.environ, **env}
        self._stopping = threading.Event()
        self._process = self._launch()
        self._supervising = threading.Thread(target=self._supervise, daemon=True)
        self._supervising.start()

    def kill(self) -> None:
        """Kill it as ``kill -9`` does."""
        self._process.kill()

    def stop(self) -> None:
        """Ask it to end, and return when it has."""
        self._stopping.set()
        self._process.terminate()
        self._supervising.join(60)
        self._process.kill()

    def _launch(self) -> subprocess.Popen[str]:
        with self._log.open("a", encoding="utf-8") as log:
            process = subprocess.Popen(self._command, env=self._env, stdout=subprocess.PIPE, stderr=log, text=True)
        self.lives.append([])
        return process

    def _supervise(self) -> None:
        while True:
            assert self._process.stdout is not None
            for line in self._process.stdout:
                if line.startswith("{"):
                    self.lives[-1].append(json.loads(line))
            code = self._process.wait()
            if self._stopping.is_set():
                return
            self.ended += code != -signal.SIGKILL
            if self._stopping.wait(RESTART_S):
                return
            self._process = self._launch()


@dataclass(frozen=True)
class Contestant:
    """A recorder at work. ``query`` takes symbol, first and last id, and returns id, price and quantity."""

    name: str
    program: Supervised
    database_url: str
    query: str
    says_lost: Callable[[Supervised], int]  # rows that it knows to be missing, by its own account

    async def first(self, symbol: str) -> int:
        """Return the first id of a symbol that is stored; raise LookupError when there is none."""
        numbers = [number for _, number, _, _ in await self.rows({symbol: (0, 2**62)})]
        if not numbers:
            raise LookupError(symbol)
        return min(numbers)

    async def rows(self, span: Span) -> list[Row]:
        """Return the rows of the span that are stored."""
        connection = await asyncpg.connect(self.database_url)
        try:
            found: list[Row] = []
            for symbol, (first, last) in span.items():
                found += [(symbol, *row) for row in await connection.fetch(self.query, symbol, first, last)]
            return found
        finally:
            await connection.close()


@dataclass(frozen=True)
class Count:
    """What became of the printed trades: each was stored or lost. Rows doubled and differing are counted beside."""

    printed: int
    stored: int
    lost: int
    doubled: int
    differing: int


@dataclass(frozen=True)
class Outcome:
    """How a recorder came through a fault, and how many rows it says that it has lost."""

    contestant: str
    fault: str
    count: Count
    ended: int
    says_lost: int

    @property
    def knew(self) -> bool:
        """Whether its own account of what is missing is right."""
        return self.says_lost == self.count.lost


def compare(tape: Tape, rows: Iterable[Row]) -> Count:
    """Return how the rows of a table compare with the tape: a row is doubled from its second time on."""
    times: Counter[tuple[str, int]] = Counter()
    differing = 0
    for symbol, number, price, quantity in rows:
        times[symbol, number] += 1
        differing += tape.get((symbol, number)) != (price, quantity)
    stored = sum(key in times for key in tape)
    doubled = sum(count - 1 for count in times.values())
    return Count(len(tape), stored, len(tape) - stored, doubled, differing)


async def outcome(contestant: Contestant, fault: str, tape: Tape, span: Span) -> Outcome:
    """Return how a recorder that has been stopped came through."""
    count = compare(tape, await contestant.rows(span))
    program = contestant.program
    return Outcome(contestant.name, fault, count, program.ended, contestant.says_lost(program))


def command(rest_url: str, fault: Mapping[str, object]) -> None:
    """Command a fault of the simulated exchange."""
    request = urllib.request.Request(f"{rest_url}/sim/faults", json.dumps(fault).encode())
    urllib.request.urlopen(request, timeout=10).close()


def newest(rest_url: str, symbol: str) -> int:
    """Return the id of the last aggregate trade that the exchange has printed."""
    number: int = _get(f"{rest_url}/api/v3/aggTrades?symbol={symbol}&limit=1")[0]["a"]
    return number


def tape_of(rest_url: str, span: Span) -> Tape:
    """Return what the exchange has printed in the span, read over REST."""
    tape: Tape = {}
    for symbol, (first, last) in span.items():
        begin = first
        while begin <= last:
            page = _get(f"{rest_url}/api/v3/aggTrades?symbol={symbol}&limit=1000&fromId={begin}")
            for trade in page:
                if trade["a"] <= last:
                    tape[symbol, trade["a"]] = (Decimal(trade["p"]), Decimal(trade["q"]))
            begin = page[-1]["a"] + 1
    return tape


def _get(url: str):
    with urllib.request.urlopen(url, timeout=30) as answer:
        return json.load(answer)
