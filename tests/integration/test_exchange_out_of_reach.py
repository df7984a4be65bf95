"""The exchange cannot be reached, and no socket says so: it stands still, or its name resolves no more."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from programs import START_US, SYMBOLS, assert_nothing_lost, cut, market, patient_for, program

from crypto_quant.sim.server import SimulatedExchange
from crypto_quant.sim.symbols import invented
from crypto_quant.sim.synthetic import SyntheticTape

RATE = 1500

# -- it stands still ---------------------------------------------------------------------------------------


@asynccontextmanager
async def simulated() -> AsyncIterator[tuple["subprocess.Popen[str]", tuple[str, str]]]:
    """Run the exchange as a program of its own; yield its process and its URLs."""
    names = [word for name in ("BTCUSDT", "ETHUSDT") for word in ("--symbol", name)]
    command = [
        sys.executable, "-m", "crypto_quant", "simulate", "--port", "0", *names, "--rate", str(RATE), "--seed", "11",
        "--start", str(START_US // 1000), "--hold",
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:  # noqa: ASYNC220
        try:
            assert process.stdout is not None
            told = json.loads(await asyncio.to_thread(process.stdout.readline))
            yield process, (told["ws_url"], told["rest_url"])
        finally:
            process.send_signal(signal.SIGCONT)
            process.kill()


async def test_an_exchange_that_stands_still(timescale_url: str, tmp_path: Path) -> None:
    """SIGSTOP: its sockets stay open, take connections and say nothing, for longer than a link's patience."""
    began = time.monotonic()
    async with simulated() as (process, urls):
        async with program(timescale_url, urls, tmp_path, python=patient_for(silence_s=2.0)) as run:
            process.send_signal(signal.SIGSTOP)
            await run.until(lambda: run.of("Link silent"))
            # the next handshake is not answered either: it runs into its own limit
            await run.until(lambda: "handshake" in str(run.of("Reconnect scheduled")[-1:]))
            process.send_signal(signal.SIGCONT)
            await run.until(lambda: run.of("Gap found"))
            # what the program has printed, printed again from the same seed
            tape = SyntheticTape(invented(["BTCUSDT", "ETHUSDT"]), rate=RATE, seed=11, start_us=START_US)
            lead_s = time.monotonic() - began + 60
            async with SimulatedExchange(tape, hold_until_subscribed=True, lead_s=lead_s) as truth:
                final = await assert_nothing_lost(timescale_url, truth, run, tmp_path)
        assert final["trades_backfilled"] > 2000


# -- its name resolves no more -----------------------------------------------------------------------------

NAME = "exchange.test"
# where namespaces are not permitted: asyncio's own loop asks Python, which asks this
IN_PYTHON = """
import os, socket, sys
sys.modules["uvloop"] = None
real = socket.getaddrinfo
def getaddrinfo(host, *rest, **more):
    name = host.decode() if isinstance(host, bytes) else host
    if name == "exchange.test":
        with open(os.environ["TEST_HOSTS"]) as file:
            if name not in file.read():
                raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        host = "127.0.0.1"
    return real(host, *rest, **more)
socket.getaddrinfo = getaddrinfo
"""


class Names:
    """The names that one program knows, and how it is run to know them."""

    def __init__(self, directory: Path, how: str) -> None:
        self._hosts = directory / "hosts"
        self.before: Sequence[str] = ()
        self.environment: Mapping[str, str] = {}
        self.know(True)
        if how == "the system's resolver":
            switch = directory / "nsswitch.conf"
            switch.write_text("hosts: files\n")
            mounts = f"mount --bind {self._hosts} /etc/hosts && mount --bind {switch} /etc/nsswitch.conf"
            self.before = ["unshare", "--mount", "sh", "-c", f'{mounts} && exec "$@"', "sh"]
            permitted = (
                shutil.which("unshare")
                and not subprocess.run([*self.before, "true"], capture_output=True, check=False).returncode
            )
            if not permitted or not Path("/etc/nsswitch.conf").exists():
                pytest.skip("no mount namespace may be made here: Python's resolver alone is tried")
        else:
            (directory / "sitecustomize.py").write_text(IN_PYTHON)
            self.environment = {"PYTHONPATH": str(directory), "TEST_HOSTS": str(self._hosts)}

    def know(self, it: bool) -> None:
        """Let the exchange's name resolve, or not."""
        with self._hosts.open("w" if not self._hosts.exists() else "r+") as file:  # mounted: it stays the same file
            file.truncate()
            file.write("127.0.0.1 localhost\n" + (f"127.0.0.1 {NAME}\n" if it else ""))


@pytest.mark.parametrize("how", ["the system's resolver", "Python's resolver"])
async def test_a_name_that_resolves_no_more_for_a_while(timescale_url: str, tmp_path: Path, how: str) -> None:
    names = Names(tmp_path, how)
    async with market(RATE) as exchange, cut(int(exchange.ws_url.rpartition(":")[2])) as (port, ends):
        urls = f"ws://{NAME}:{port}", f"http://{NAME}:{port}"
        run_with = {"before": names.before, "environment": names.environment}
        async with program(timescale_url, urls, tmp_path, **run_with) as run:
            names.know(False)
            for end in ends:
                end.transport.abort()
            ends.clear()
            await run.until(lambda: "the name does not resolve" in str(run.of("Reconnect scheduled")))
            assert "this machine's DNS" in str(run.of("Reconnect scheduled"))
            names.know(True)
            await run.until(lambda: len(run.of("Subscribed")) > 1)
            final = await assert_nothing_lost(timescale_url, exchange, run, tmp_path)
        assert final["trades_backfilled"] > 0


async def test_a_name_that_does_not_resolve_at_the_start(timescale_url: str, tmp_path: Path) -> None:
    names = Names(tmp_path, "Python's resolver")
    names.know(False)
    done = await asyncio.to_thread(
        subprocess.run,
        [
            sys.executable, "-m", "crypto_quant", "record", *SYMBOLS, "--database-url", timescale_url,
            "--ws-url", f"ws://{NAME}:1",
        ],
        env={**os.environ, **names.environment, "CRYPTO_QUANT_DATA_DIR": str(tmp_path)},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    for words in (NAME, "the name does not resolve", "this machine's DNS", "--no-check-symbols"):
        assert words in last, last
