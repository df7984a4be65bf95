"""The hot path in pieces, one process and no socket: nanoseconds a trade, and instructions, which noise does not touch.

    .venv/bin/python benchmarks/hotpath.py
    .venv/bin/python benchmarks/hotpath.py --instructions

``--instructions`` counts with valgrind, where it is installed, and fails when the whole path takes a tenth more
instructions than ``hotpath.json`` says for this version of Python; ``--accept`` writes what was counted there.
"""

import argparse
import gc
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
import generator  # the load generator stands beside this file

from crypto_quant.binance import wire
from crypto_quant.binance.decode import decode_all
from crypto_quant.continuity import Sequencer
from crypto_quant.flow.chunk import AllSeries, Arrival, Chunk, Series
from crypto_quant.flow.intake import Intake
from crypto_quant.flow.stats import PipelineStats
from crypto_quant.market import Venue
from crypto_quant.rows import TimeText, key_text, trade_row
from crypto_quant.seams import Source

REFERENCE = HERE / "hotpath.json"
AT_ONCE = 2000  # frames that one read brings under load
RATE = 100_000


class Sieve:
    """A writer that keeps nothing but the last chunk, until it is proven."""

    chunk_rows = 12_500  # as with the default settings

    def __init__(self) -> None:
        self.every = AllSeries()
        self.rows = 0
        self.chunk: Chunk | None = None

    def series(self, venue: str, symbol: str, source: Source) -> int:
        """Return the number of a series."""
        return self.every.number(Series(venue, symbol, source))

    def add_trades(self, chunk: Chunk) -> None:
        """Take rows, and forget those before them."""
        self.prove()
        self.chunk = chunk

    def grow_trades(self, chunk: Chunk, data: bytes, arrival: Arrival) -> None:
        """Take more rows of a chunk."""
        chunk.grow(data, arrival)

    def prove(self) -> None:
        """Make ranges of what the last chunk proves."""
        if self.chunk is not None:
            self.chunk.close()
            self.every.covered_by((self.chunk,))
            self.rows += len(self.chunk)
        self.chunk = None

    def keep(self, kind: str, _raw: bytes, reason: str) -> None:
        """Stand for the quarantine: nothing of this tape may end there."""
        raise AssertionError(f"{kind} set aside: {reason}")


def payloads(trades: int, symbols: int) -> list[list[bytes]]:
    """Return the generator's tape as the payloads of its frames, in reads of ``AT_ONCE``."""
    names = generator.symbols(symbols)
    tape = [generator.payload(number, names, RATE) for number in range(trades)]
    return [tape[at : at + AT_ONCE] for at in range(0, trades, AT_ONCE)]


def whole_path(reads: Sequence[Sequence[bytes]], symbols: int) -> Callable[[], None]:
    """Decode, sequence, encode, prove, discard."""

    def work() -> None:
        sieve, names = Sieve(), generator.symbols(symbols)
        intake = Intake(
            Venue.SPOT,
            [name.lower() for name in names],
            {},
            writer=sieve,  # type: ignore[arg-type]
            stats=PipelineStats(0),
            quarantine=sieve,
            emit=lambda _event: None,
        )
        for read in reads:
            intake.frames(read, generator.START_US * 1000)
        sieve.prove()
        if sieve.rows != sum(map(len, reads)):
            raise AssertionError("not every trade became a row")

    return work


def pieces(reads: Sequence[Sequence[bytes]]) -> dict[str, Callable[[], None]]:
    """Return the parts of the path that stand alone."""
    trades = [message for read in reads for message in decode_all(read) if isinstance(message, wire.AggTrade)]
    times, key = TimeText(), key_text(Venue.SPOT, "btcusdt")

    def decoding() -> None:
        for read in reads:
            decode_all(read)

    def encoding() -> None:
        for one in trades:
            trade_row(times(one.T), key, one.a, one.p, one.q, one.f, one.l, one.m, "\\N")

    def sequencing() -> None:
        sequencer = Sequencer()
        observe = sequencer.observe
        for number in range(len(trades)):
            observe(number)

    return {
        "decoding and checking": decoding,
        "a row by rows.trade_row (REST, archives)": encoding,
        "Sequencer.observe (the uncommon way)": sequencing,
    }


def time_it(work: Callable[[], None], trades: int, repetitions: int) -> list[float]:
    """Return nanoseconds of CPU a trade, for each repetition."""
    taken = []
    for _ in range(repetitions):
        gc.collect()
        began = time.process_time_ns()
        work()
        taken.append((time.process_time_ns() - began) / trades)
    return taken


def instructions(what: str, trades: int, symbols: int) -> int:
    """Run this program under valgrind and return how many instructions the process took."""
    valgrind = ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]
    done = subprocess.run(  # noqa: S603
        [*valgrind, sys.executable, __file__, what, f"--trades={trades}", f"--symbols={symbols}"],
        stderr=subprocess.PIPE,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "0"},
    )
    found = re.search(r"I\s+refs:\s*([\d,]+)", done.stderr)
    if found is None:
        raise RuntimeError(f"valgrind did not say how many:\n{done.stderr}")
    return int(found.group(1).replace(",", ""))


def guard(symbols: int, *, accept: bool) -> int:
    """Count instructions a trade and hold them against the reference; return the exit code."""
    if shutil.which("valgrind") is None:
        print("valgrind is not installed: no instructions are counted")
        return 0
    # what it costs to start Python and to build the tape falls out of the difference
    trades = 20_000
    counted = (instructions("--once", trades, symbols) - instructions("--prepare", trades, symbols)) / trades
    version = ".".join(platform.python_version_tuple()[:2])
    known = json.loads(REFERENCE.read_text()) if REFERENCE.exists() else {}
    if accept:
        REFERENCE.write_text(json.dumps(known | {version: round(counted)}, indent=1, sort_keys=True) + "\n")
    before = known.get(version)
    print(f"{counted:,.0f} instructions a trade; the reference for Python {version} is {before or 'not known'}")
    return int(before is not None and not accept and counted > 1.1 * before)


def main() -> int:
    """Measure what is asked for; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trades", type=int, default=200_000)
    parser.add_argument("--symbols", type=int, default=20)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--once", action="store_true", help="go through the whole path once and measure nothing")
    parser.add_argument("--prepare", action="store_true", help="build the tape and do nothing with it")
    parser.add_argument("--instructions", action="store_true")
    parser.add_argument("--accept", action="store_true")
    args = parser.parse_args()
    if args.instructions:
        return guard(args.symbols, accept=args.accept)
    reads = payloads(args.trades, args.symbols)
    if args.once:
        whole_path(reads, args.symbols)()
    if args.once or args.prepare:
        return 0
    work = {"the whole path": whole_path(reads, args.symbols)} | pieces(reads)
    print(f"{args.trades:,} trades of {args.symbols} symbols, Python {platform.python_version()}\n")
    print(f"{'':42}{'ns a trade':>12}{'range':>18}{'per second':>14}")
    for name, each in work.items():
        taken = time_it(each, args.trades, args.repetitions)
        median = statistics.median(taken)
        span = f"{min(taken):,.0f} – {max(taken):,.0f}"
        print(f"{name:42}{median:>12,.0f}{span:>18}{1e9 / median:>14,.0f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
