"""The same misfortunes for cryptofeed and crypto-quant, at the same time, on the same exchange and the same server.

``make peers`` runs it. Both record the aggregate trades of one simulated exchange into a database of their own on one
TimescaleDB, both under a supervisor that starts again what has ended. Then each table is held against the exchange's
tape: every id, every price and quantity. cryptofeed writes into the table of its own example, with its own defaults.
"""

# ruff: noqa: S603  # it runs programs for a living

import argparse
import asyncio
import contextlib
import json
import os
import platform
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import asyncpg
import uvloop
from contest import Contestant, Outcome, Span, Supervised, Tape, command, newest, outcome, tape_of
from environment import TABLE, Unavailable, cryptofeed_python

from crypto_quant.store.as_text import recreate_database

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import generator  # the load generator of the throughput benchmark

SYMBOLS = {"BTCUSDT": "BTC-USDT", "ETHUSDT": "ETH-USDT"}
# raw trades to one aggregate trade, about: the simulated exchange is told the former
RAW = 1.65
# a recorder whose table has not grown for so long, with all faults over, has stored what it will
AT_REST_S = 15.0
Both = Sequence[Contestant]

OUR_QUERY = "SELECT trade_id, price, quantity FROM trades WHERE symbol = lower($1) AND trade_id BETWEEN $2 AND $3"
THEIR_QUERY = (
    "SELECT trade_id::bigint, price, amount FROM trades WHERE replace(symbol, '-', '') = $1"
    " AND trade_id::bigint BETWEEN $2 AND $3"
)


def control(*words: str) -> None:
    subprocess.run([*shlex.split(os.environ["CRYPTO_QUANT_TEST_TIMESCALE_CONTROL"]), *words], check=True)


# -- the faults: each returns when the world is whole again -----------------------------------------------


async def nothing(_: str, __: Both) -> None:
    await asyncio.sleep(15)


async def restart(_: str, __: Both) -> None:
    for _ in range(5):  # what it does to a recorder depends on what that is doing just then
        control("restart", "-m", "fast")
        await asyncio.sleep(6)


async def crash(_: str, __: Both) -> None:
    for _ in range(5):
        control("restart", "-m", "immediate")
        await asyncio.sleep(6)


async def outage(_: str, __: Both) -> None:
    control("stop", "-m", "fast")
    await asyncio.sleep(20)
    control("start")


async def reset(rest_url: str, _: Both) -> None:
    for _ in range(3):
        command(rest_url, {"fault": "drop_links"})
        await asyncio.sleep(8)


async def kill(_: str, contestants: Both) -> None:
    for _ in range(3):
        for contestant in contestants:
            contestant.program.kill()
        await asyncio.sleep(8)


FAULTS: dict[str, Callable[[str, Both], Awaitable[None]]] = {
    "none": nothing,
    "restart": restart,
    "crash": crash,
    "outage": outage,
    "reset": reset,
    "kill": kill,
}
BURST = "burst"
SHOWN = {
    "none": "none",
    "restart": "5 database restarts",
    "crash": "5 database crashes",
    "outage": "database away for 20 s",
    "reset": "3 connections reset",
    "kill": "3 times kill -9",
    BURST: "all at once",
}


# -- the contestants -------------------------------------------------------------------------------------


def ours(url: str, port: int, names: Sequence[str], place: Path) -> Contestant:
    """Start crypto-quant with its defaults."""
    env = {"CRYPTO_QUANT_DATA_DIR": str(place / "data"), "CRYPTO_QUANT_DATABASE_URL": url}
    cli = [sys.executable, "-m", "crypto_quant"]

    def says_lost(_: Supervised) -> int:
        verify = [*cli, "verify", "--json"]  # its exit code is 3 when something is missing
        done = subprocess.run(verify, env={**os.environ, **env}, stdout=subprocess.PIPE, check=False)
        missing: int = json.loads(done.stdout)["totals"]["missing"]
        return missing

    where = ["--ws-url", f"ws://127.0.0.1:{port}", "--rest-url", f"http://127.0.0.1:{port}"]
    program = Supervised([*cli, "record", *names, *where, "--log-format", "json"], place / "crypto-quant.log", env)
    return Contestant("crypto-quant", program, url, OUR_QUERY, says_lost)


def theirs(url: str, port: int, names: Sequence[str], place: Path, python: Path) -> Contestant:
    """Start cryptofeed with its defaults."""

    def says_lost(program: Supervised) -> int:
        return sum(life[-1]["dropped"] for life in program.lives if life)

    script = str(Path(__file__).parent / "cryptofeed_recorder.py")
    recorder = [str(python), script, *names, "--port", str(port), "--database-url", url]
    program = Supervised(recorder, place / "cryptofeed.log", {"XDG_CACHE_HOME": str(place)})
    return Contestant("cryptofeed 3.0.1", program, url, THEIR_QUERY, says_lost)


@contextlib.contextmanager
def serving(*arguments: str) -> Iterator[str]:
    """Run a Python program that serves; give the line that says where."""
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline()
    finally:
        process.terminate()
        process.wait()


# -- a run -----------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def recording(python: Path, ours_at: int, theirs_at: int, pairs: Mapping[str, str]) -> AsyncIterator[Both]:
    """Start both with a fresh database each, for these symbols of the exchanges on two ports; end them at the end."""
    admin = os.environ["CRYPTO_QUANT_TEST_TIMESCALE_URL"]
    urls = [await recreate_database(admin, name) for name in ("peers_crypto_quant", "peers_cryptofeed")]
    # made beforehand: a program that is started again must not need the database for that
    connection = await asyncpg.connect(urls[1])
    await connection.execute(TABLE.read_text(encoding="utf-8"))
    await connection.close()
    with tempfile.TemporaryDirectory() as place:
        contestants = [
            ours(urls[0], ours_at, list(pairs), Path(place)),
            theirs(urls[1], theirs_at, list(pairs.values()), Path(place), python),
        ]
        try:
            yield contestants
        finally:
            for contestant in contestants:
                contestant.program.stop()


async def begun(contestants: Both, symbols: Iterable[str]) -> dict[str, int]:
    """Wait until both have stored some of every symbol; return the first ids that both have."""
    while True:
        await asyncio.sleep(0.5)
        try:
            return {symbol: max([await each.first(symbol) for each in contestants]) for symbol in symbols}
        except (asyncpg.UndefinedTableError, LookupError):
            continue


async def at_rest(contestants: Both, span: Span, printed: int) -> None:
    """Return when both have stored as many rows as were printed, or no more come."""
    since, before = time.monotonic(), [0, 0]
    while time.monotonic() - since < AT_REST_S and min(before) < printed:
        await asyncio.sleep(0.5)
        counts = [len(await contestant.rows(span)) for contestant in contestants]
        if counts != before:
            since, before = time.monotonic(), counts


async def through(fault: str, python: Path, options: argparse.Namespace) -> list[Outcome]:
    """Let both record one exchange, let the fault strike, return what became of the trades printed meanwhile."""
    listed = [word for symbol in SYMBOLS for word in ("--symbol", symbol)]
    rate = str(options.rate * RAW)
    with serving("-m", "crypto_quant", "simulate", "--port", "0", "--rate", rate, *listed) as line:
        rest_url = json.loads(line)["rest_url"]
        port = int(rest_url.rpartition(":")[2])
        async with recording(python, port, port, SYMBOLS) as contestants:
            first = await begun(contestants, SYMBOLS)
            await asyncio.sleep(options.around)
            await FAULTS[fault](rest_url, contestants)
            await asyncio.sleep(options.around)
            span = {symbol: (first[symbol], newest(rest_url, symbol)) for symbol in SYMBOLS}
            tape = tape_of(rest_url, span)
            await at_rest(contestants, span, len(tape))
    return [await outcome(contestant, fault, tape, span) for contestant in contestants]


async def burst(python: Path, trades: int) -> list[Outcome]:
    """Let each read the same tape as fast as it does, from a generator of its own that waits for its reader."""
    names = generator.symbols(2)
    rows = [generator.trade(number, names, 1) for number in range(trades)]
    tape: Tape = {(name, number): (Decimal(price), Decimal(size)) for name, number, price, size, *_ in rows}
    span = dict.fromkeys(names, (rows[0][1], rows[-1][1]))
    pairs = {name: f"{name.removesuffix('USDT')}-USDT" for name in names}
    serve = [generator.__file__, f"--trades={trades}", f"--symbols={len(names)}"]
    with serving(*serve) as port, serving(*serve, "--unit=ms") as their_port:
        async with recording(python, int(port), int(their_port), pairs) as contestants:
            await begun(contestants, names)
            await at_rest(contestants, span, trades)
    return [await outcome(contestant, BURST, tape, span) for contestant in contestants]


def show(outcomes: Sequence[Outcome]) -> None:
    """Print a line for each contestant and fault."""
    print(f"{'fault':28}{'recorder':18}{'printed':>9}{'stored':>9}{'lost':>8}{'doubled':>9}{'differing':>11}"
          f"{'ended':>7}{'says lost':>11}")  # fmt: skip
    for each in outcomes:
        count = each.count
        print(f"{SHOWN[each.fault]:28}{each.contestant:18}{count.printed:>9,}{count.stored:>9,}{count.lost:>8,}"
              f"{count.doubled:>9,}{count.differing:>11,}{each.ended:>7}{each.says_lost:>11,}")  # fmt: skip


async def main(options: argparse.Namespace) -> None:
    """Run every fault that is asked for, and print what came of it."""
    try:
        python = cryptofeed_python()
    except Unavailable as problem:
        sys.exit(f"cryptofeed cannot be had here: {problem}")
    outcomes: list[Outcome] = []
    for fault in options.faults or [*FAULTS, BURST]:
        told = await (burst(python, options.burst) if fault == BURST else through(fault, python, options))
        outcomes += told
        print(
            f"  {fault}: {', '.join(f'{each.contestant} lost {each.count.lost:,}' for each in told)}", file=sys.stderr
        )
    when = datetime.now(UTC)
    print(f"\n{options.rate:,.0f} trades/s of {len(SYMBOLS)} symbols, one run each; {when:%Y-%m-%d}, "
          f"{os.cpu_count()} cores, Python {platform.python_version()}\n")  # fmt: skip
    show(outcomes)
    if options.output is not None:
        told = {"date": when.isoformat(), "cores": os.cpu_count(), "rate": options.rate,
                "outcomes": [asdict(each) | {"knew": each.knew} for each in outcomes]}  # fmt: skip
        options.output.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("faults", nargs="*", metavar="FAULT", help=f"one of {', '.join([*FAULTS, BURST])} [all]")
    parser.add_argument("--rate", type=float, default=500, help="trades a second")
    parser.add_argument("--around", type=float, default=8, help="seconds before and after each fault")
    parser.add_argument("--burst", type=int, default=100_000, help="trades of the burst")
    parser.add_argument("--json", type=Path, dest="output")
    args = parser.parse_args()
    if unknown := set(args.faults) - {*FAULTS, BURST}:
        parser.error(f"no such fault: {', '.join(sorted(unknown))}")
    if "CRYPTO_QUANT_TEST_TIMESCALE_CONTROL" not in os.environ:
        parser.error("no database that may be stopped: run `make peers`")
    uvloop.run(main(args))
