"""``record --metrics-port``: a companion answers for a recorder, and whatever befalls it leaves recording alone."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from alerting import metric_names
from programs import Program, assert_all_stored, cut, market, program
from watched import ask, free_port

from crypto_quant.ops.listening import listen

ROOT = Path(__file__).resolve().parents[2]


def port_of(run: Program, what: str = "metrics") -> int:
    [told] = run.of("Watching started")
    port = urlsplit(told[what]).port
    assert port
    return port


def companion_of(run: Program) -> int | None:
    """Return the process id of the recorder's companion, if it has one now."""
    for task in Path(f"/proc/{run.process.pid}/task").iterdir():
        with suppress(OSError):
            for child in (task / "children").read_text().split():
                if b"crypto_quant.web" in Path(f"/proc/{child}/cmdline").read_bytes():
                    return int(child)
    return None


def runs(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


async def until_answered(port: int, path: str = "/livez", status: int = 200, within_s: float = 30.0) -> str:
    """Ask until the answer has this status; return its text."""
    async with asyncio.timeout(within_s):
        while True:
            with suppress(OSError):
                had, _, text = await ask(port, path)
                if had == status:
                    return text
            await asyncio.sleep(0.1)


async def until_dead(pid: int, within_s: float = 20.0) -> None:
    async with asyncio.timeout(within_s):
        while runs(pid):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


def samples(text: str) -> Iterator[str]:
    return (line.partition("{")[0].partition(" ")[0] for line in text.splitlines() if not line.startswith("#"))


async def test_every_metric_that_alerts_and_dashboard_name_is_exported_by_a_real_recorder(
    timescale_url: str, tmp_path: Path
) -> None:
    async with market(400) as exchange, program(timescale_url, exchange, tmp_path, "--metrics-port", "0") as run:
        port = port_of(run)
        await until_answered(port, "/readyz")
        # the quantiles of what was stored and the rates come with the second look
        await run.until(lambda: run.stats["trades_written"] > 600)
        text = (await ask(port, "/metrics"))[2]
        exported = set(samples(text))
        for name in ("deploy/prometheus/alerts.yml", "deploy/grafana/dashboard.json"):
            named = metric_names(ROOT / name)
            assert len(named) > 10
            assert named - exported == set(), name
        promtool = shutil.which("promtool")
        if promtool is not None:
            check = [promtool, "check", "metrics"]
            done = subprocess.run(check, input=text, capture_output=True, text=True, check=False)  # noqa: ASYNC221
            assert (done.returncode, done.stdout + done.stderr) == (0, "")
        assert await run.end() == 0
        await assert_all_stored(timescale_url, exchange)


async def test_a_companion_that_is_killed_comes_back_on_its_port_and_recording_does_not_notice(
    timescale_url: str, tmp_path: Path
) -> None:
    async with market(400) as exchange, program(timescale_url, exchange, tmp_path, "--metrics-port", "0") as run:
        port = port_of(run)
        await until_answered(port)
        first = companion_of(run)
        assert first is not None
        os.kill(first, signal.SIGKILL)
        # who comes meanwhile waits in the socket that the recorder holds, and is answered by the next one
        assert (await ask(port, "/metrics"))[0] == 200
        [ended] = run.of("Watching process ended")
        assert (ended["cause"], ended["level"]) == ("signal 9", "warning")
        second = companion_of(run)
        assert second not in (None, first)
        assert await run.end() == 0
        final = run.lines[-1]
        assert final["reconnects"] == final["store_failures"] == final["gaps"] == 0
        await assert_all_stored(timescale_url, exchange)
        assert second is not None
        assert not runs(second)


async def test_a_recorder_that_is_killed_takes_its_companion_along_and_its_port_is_free(
    timescale_url: str, tmp_path: Path
) -> None:
    port = free_port()
    async with (
        market(400) as exchange,
        program(timescale_url, exchange, tmp_path, "--metrics-port", str(port)) as run,
    ):
        await until_answered(port)
        companion = companion_of(run)
        assert companion is not None
        run.process.kill()
        try:
            # at once, without a pause: a supervisor does so
            async with program(timescale_url, exchange, tmp_path, "--metrics-port", str(port)) as again:
                await until_dead(companion)
                assert "\ncryptoquant_recorders 1.0" in await until_answered(port, "/metrics")
                assert await again.end() == 0
        finally:
            # one that stays would keep the log open, which is read to its end
            with suppress(ProcessLookupError):
                os.kill(companion, signal.SIGKILL)
        await run.ended()


async def test_a_companion_that_stands_still_does_not_hold_up_the_end(timescale_url: str, tmp_path: Path) -> None:
    async with market(400) as exchange, program(timescale_url, exchange, tmp_path, "--metrics-port", "0") as run:
        await until_answered(port_of(run))
        companion = companion_of(run)
        assert companion is not None
        os.kill(companion, signal.SIGSTOP)
        assert await run.end(signal.SIGTERM) == 0
        assert not runs(companion)
        await assert_all_stored(timescale_url, exchange)


async def test_ctrl_c_leaves_the_companion_to_show_the_drain(timescale_url: str, tmp_path: Path) -> None:
    """A terminal sends it to the whole group of processes; the companion is in one of its own."""
    async with market(400) as exchange, program(timescale_url, exchange, tmp_path, "--metrics-port", "0") as run:
        await until_answered(port_of(run))
        companion = companion_of(run)
        assert companion is not None
        assert os.getpgid(companion) != os.getpgid(run.process.pid)
        assert os.getpriority(os.PRIO_PROCESS, companion) > os.getpriority(os.PRIO_PROCESS, run.process.pid)
        os.kill(companion, signal.SIGINT)
        os.kill(companion, signal.SIGTERM)
        assert await until_answered(port_of(run))
        assert companion_of(run) == companion
        assert await run.end() == 0


async def test_a_scrape_while_the_database_is_away_is_answered_at_once(timescale_url: str, tmp_path: Path) -> None:
    url = urlsplit(timescale_url)
    assert url.port
    async with cut(url.port) as (way, ends), market(400) as exchange:
        there = urlunsplit(url._replace(netloc=url.netloc.replace(f":{url.port}", f":{way}")))
        async with program(there, exchange, tmp_path, "--metrics-port", "0") as run:
            port = port_of(run)
            await until_answered(port, "/readyz")
            cutting = asyncio.create_task(_keep_cutting(ends))
            try:
                text = await until_answered(port, "/readyz", 503)
                assert "cannot reach its database" in text
                text = (await ask(port, "/metrics"))[2]
                assert "cryptoquant_store_up{" in text
                [up] = [line for line in text.splitlines() if line.startswith("cryptoquant_store_up{")]
                assert up.endswith(" 0.0")
                assert (await ask(port, "/livez"))[0] == 200
            finally:
                cutting.cancel()
            await until_answered(port, "/readyz")
            assert await run.end() == 0
        await assert_all_stored(timescale_url, exchange)


async def _keep_cutting(ends: "list[asyncio.StreamWriter]") -> None:
    while True:
        for end in ends:
            end.transport.abort()
        ends.clear()
        await asyncio.sleep(0.01)


async def test_a_taken_port_is_told_before_anything_is_begun(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "crypto_quant", "record", "btcusdt", "--metrics-port", str(port)],
            env={**os.environ, "CRYPTO_QUANT_DATA_DIR": str(data_dir)},
            capture_output=True,
            text=True,
        )
    # 2 would tell a supervisor that it need not try again, and whoever holds the port would keep the recorder down
    assert done.returncode == 1
    assert done.stderr.startswith(f"crypto-quant: the port is taken: 127.0.0.1:{port}.")
    assert not data_dir.exists()


async def test_serve_shows_the_recorders_of_a_data_directory(timescale_url: str, tmp_path: Path) -> None:
    async with market(400) as exchange, program(timescale_url, exchange, tmp_path) as run:
        command = [sys.executable, "-m", "crypto_quant", "serve", "--listen", "0", "--metrics-port", str(free_port())]
        variables = {**os.environ, "CRYPTO_QUANT_DATA_DIR": str(tmp_path)}
        with subprocess.Popen(command, stderr=subprocess.DEVNULL, env=variables) as serving:  # noqa: ASYNC220
            await until_answered(int(command[-1]), "/readyz")
            assert companion_of(run) is None
            # the watching process may stand still, or go: nobody hears of it
            serving.send_signal(signal.SIGSTOP)
            written = run.stats["trades_written"]
            await run.until(lambda: run.stats["trades_written"] > written + 200)
            serving.kill()
        assert await run.end() == 0
        await assert_all_stored(timescale_url, exchange)
