"""What watching costs a recorder: its speed alone, and with page clients and scrapes, in turns on the same tape.

``crypto-quant serve`` answers, as low in priority as a recorder's companion; the clients are a third process, as low
as that, for they would be elsewhere. What they received is told. Twenty of them hold the page's event stream open
(``/events``) and ask for what the page asks for; where there is no page yet they ask ``/readyz`` instead. Prometheus
scrapes once a second.
"""

import argparse
import asyncio
import json
import os
import platform
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp

sys.path.insert(0, str(Path(__file__).parent))
from run import fresh_database, ratios, start_generator

HERE = Path(__file__).parent
NICE = shutil.which("nice") or "nice"
# what a page asks for besides its stream, and how often, in seconds
ASKED = {
    "/api/candles?venue=spot&symbol=SYMBOL&timeframe=1m": 2.0,
    "/api/completeness?kind=trades&days=30": 15.0,
    "/api/tables": 15.0,
}


async def act_as_clients(base: str, clients: int, symbol: str) -> None:
    """Watch until SIGTERM; print what was received."""
    got: Counter[str] = Counter()
    there = asyncio.Barrier(clients + 1)

    async def listen(session: aiohttp.ClientSession) -> None:
        waiting = True
        while True:
            with suppress(aiohttp.ClientError, TimeoutError):
                async with session.get(f"{base}/events") as answer:
                    got[f"/events {answer.status}"] += 1
                    if waiting:
                        waiting = False
                        await there.wait()
                    if answer.status == 200:
                        async for line in answer.content:
                            got["events"] += line.startswith(b"data:")
                            got["bytes"] += len(line)
                await ask(session, "/readyz")
            await asyncio.sleep(1)

    async def ask(session: aiohttp.ClientSession, path: str) -> None:
        with suppress(aiohttp.ClientError, TimeoutError):
            async with session.get(base + path) as answer:
                got["bytes"] += len(await answer.read())
                got[f"{path.partition('?')[0]} {answer.status}"] += 1

    async def again_and_again(session: aiohttp.ClientSession, path: str, every_s: float) -> None:
        while True:
            await ask(session, path.replace("SYMBOL", symbol))
            await asyncio.sleep(every_s)

    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    unlimited = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=30)
    async with aiohttp.ClientSession(connector=unlimited, timeout=timeout) as session:
        tasks = [asyncio.create_task(again_and_again(session, "/metrics", 1.0))]
        for _ in range(clients):
            tasks.append(asyncio.create_task(listen(session)))
            tasks += [asyncio.create_task(again_and_again(session, *each)) for each in ASKED.items()]
        await there.wait()
        print("watching", flush=True)
        await ended.wait()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    print(json.dumps(dict(got)))


class Watchers:
    """The watching process and its clients, from entry to exit of a ``with`` block."""

    def __init__(self, url: str, data_dir: Path, clients: int, symbol: str) -> None:
        self._url = url
        self._data_dir = data_dir
        self._clients = [str(clients), symbol]
        self.got: dict[str, int] = {}
        self.peak_mb = 0.0

    def __enter__(self) -> "Watchers":
        serve = [
            "-m",
            "crypto_quant",
            "serve",
            "--listen",
            "0",
            "--data-dir",
            str(self._data_dir),
            "--log-format",
            "json",
        ]
        self._service = subprocess.Popen(  # noqa: S603
            [NICE, "-n", "10", sys.executable, *serve, "--database-url", self._url], stderr=subprocess.PIPE, text=True
        )
        assert self._service.stderr is not None
        base = next(json.loads(line)["page"] for line in self._service.stderr if "Watching started" in line)
        self._watching = subprocess.Popen(  # noqa: S603
            [NICE, "-n", "10", sys.executable, __file__, "--act-as-clients", base.rstrip("/"), *self._clients],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._watching.stdout is not None
        self._watching.stdout.readline()  # all of them are there
        return self

    def __exit__(self, *_: object) -> None:
        status = Path(f"/proc/{self._service.pid}/status").read_text()
        self.peak_mb = int(re.findall(r"VmHWM:\s*(\d+)", status)[0]) / 1024
        self._watching.terminate()
        told, _ = self._watching.communicate()
        self.got = json.loads(told)
        self._service.terminate()
        self._service.communicate()


def recorded(url: str, data_dir: Path, trades: int, symbols: int) -> dict[str, float]:
    """Record the tape once; return what ``recorder_run`` tells."""
    generator, port = start_generator(trades, symbols)
    tape = ["--database-url", url, "--port", str(port), f"--trades={trades}", f"--symbols={symbols}"]
    try:
        done = subprocess.run(  # noqa: S603
            [sys.executable, str(HERE / "recorder_run.py"), *tape],
            env={**os.environ, "CRYPTO_QUANT_DATA_DIR": str(data_dir)},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    finally:
        generator.kill()
        generator.wait()
    told: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return told


async def main(url: str, trades: int, symbols: int, clients: int, repetitions: int, output: Path | None) -> None:
    """Record in turns, alone and watched, and tell."""
    rates: dict[str, list[float]] = {"alone": [], "watched": []}
    cpu: dict[str, list[float]] = {"alone": [], "watched": []}
    peaks: list[float] = []
    for repetition in range(repetitions):
        # each is first as often as the other
        for how in (list(rates), list(rates)[::-1])[repetition % 2]:
            base = await fresh_database(url)
            with tempfile.TemporaryDirectory(prefix="watching-") as directory:
                if how == "alone":
                    told = recorded(base, Path(directory), trades, symbols)
                else:
                    with Watchers(base, Path(directory), clients, "sym0000usdt") as watchers:
                        told = recorded(base, Path(directory), trades, symbols)
                    peaks.append(watchers.peak_mb)
                    print(f"    {watchers.got}", file=sys.stderr)
            rates[how].append(trades / told["seconds"])
            cpu[how].append(told["cpu"] / trades * 1e6)
            print(f"  {repetition + 1}/{repetitions} {how}: {rates[how][-1]:,.0f}/s", file=sys.stderr)
    shares, costs = ratios(rates["watched"], rates["alone"]), ratios(cpu["watched"], cpu["alone"])
    print(
        f"\n{trades:,} trades of {symbols} symbols, {clients} clients and a scrape a second, {repetitions} repetitions,"
        f" medians; {datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, Python {platform.python_version()}\n"
    )
    print(f"{'':10}{'trades/s':>12}{'CPU µs a trade':>18}")
    for how, had in rates.items():
        print(f"{how:10}{statistics.median(had):>12,.0f}{statistics.median(cpu[how]):>18.2f}")
    print(f"\nwatched / alone: speed {statistics.median(shares):.3f} ({shares[0]:.3f} – {shares[-1]:.3f}),"
          f" CPU of the recorder {statistics.median(costs):.3f} ({costs[0]:.3f} – {costs[-1]:.3f})")  # fmt: skip
    print(f"watching process: peak {max(peaks):.0f} MB")
    if output is not None:
        figures: dict[str, Any] = {"per_second": rates, "cpu_us_a_trade": cpu, "watching_peak_mb": peaks}
        output.write_text(json.dumps({"trades": trades, "clients": clients, **figures}, indent=1) + "\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--act-as-clients"]:
        asyncio.run(act_as_clients(sys.argv[2], int(sys.argv[3]), sys.argv[4]))
        sys.exit()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--database-url",
        default=os.environ.get("CRYPTO_QUANT_TEST_TIMESCALE_URL"),
        help="an administrator's URL (default: CRYPTO_QUANT_TEST_TIMESCALE_URL)",
    )
    parser.add_argument("--trades", type=int, default=2_000_000)
    parser.add_argument("--symbols", type=int, default=20)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--repetitions", type=int, default=4)
    parser.add_argument("--json", type=Path, dest="output")
    args = parser.parse_args()
    if not args.database_url:
        parser.error("no database: give --database-url, or run `make bench`")
    asyncio.run(main(args.database_url, args.trades, args.symbols, args.clients, args.repetitions, args.output))
