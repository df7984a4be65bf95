"""The two programs that a newcomer runs first, as programs, on the embedded database."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from crypto_quant.sim.server import SimulatedExchange
from crypto_quant.sim.symbols import invented
from crypto_quant.sim.synthetic import SyntheticTape
from crypto_quant.store.as_text import trades_as_text
from crypto_quant.store.embedded import EmbeddedDatabase

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """An environment with a data directory of its own, its database stopped afterwards."""
    data = tmp_path / "data"
    # the server's user must be able to look in
    for parent in (tmp_path, *tmp_path.parents[:3]):
        parent.chmod(parent.stat().st_mode | 0o011)
    # no setting of the machine, and no configuration file, may speak here
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("CRYPTO_QUANT_", "DATABASE_URL"))}
    yield {**kept, "CRYPTO_QUANT_DATA_DIR": str(data)}
    EmbeddedDatabase(data).stop()


async def run(environment: dict[str, str], *command: str) -> "subprocess.CompletedProcess[str]":
    return await asyncio.to_thread(
        subprocess.run, [sys.executable, *command], env=environment, capture_output=True, text=True, timeout=100
    )


async def test_the_demo_shows_that_every_row_is_the_exchanges(environment: dict[str, str]) -> None:
    done = await run(environment, "-m", "crypto_quant", "demo", "--duration", "8", "--symbols", "3", "--rate", "500")
    assert done.returncode == 0, done.stderr
    assert "aggregate trades equal the exchange's to the last digit, 0 missing, 0 too many" in done.stdout
    assert "✔" in done.stdout
    assert "✘" not in done.stdout
    assert "The latest candles" in done.stdout
    assert "psql 'postgresql://" in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("proxy", ["http://127.0.0.1:9", "socks5h://127.0.0.1:9"])
async def test_the_demo_asks_no_proxy(environment: dict[str, str], proxy: str) -> None:
    """Nothing of it leaves loopback: a proxy that is not there, or of a kind that cannot be used, is no matter."""
    environment |= dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), proxy) | {"NO_PROXY": ""}
    done = await run(environment, "-m", "crypto_quant", "demo", "--duration", "5", "--symbols", "1", "--rate", "300")
    assert done.returncode == 0, done.stderr
    assert "✔" in done.stdout


async def test_the_founding_demo_records_btcusdt(environment: dict[str, str]) -> None:
    market = SyntheticTape(invented(["BTCUSDT", "ETHUSDT"]), rate=300, seed=2, start_us=1_790_856_000_000_000)
    async with SimulatedExchange(market) as exchange:
        environment |= {
            "CRYPTO_QUANT_WS_URL": exchange.ws_url,
            "CRYPTO_QUANT_REST_URL": exchange.rest_url,
        }
        flags = ["--batch-size", "50", "--duration", "2", "--log-level", "info"]
        done = await run(environment, str(ROOT / "demo_pipeline.py"), *flags)
        assert done.returncode == 0, done.stderr
        lines = [json.loads(line) for line in done.stderr.splitlines()]
        url = EmbeddedDatabase(Path(environment["CRYPTO_QUANT_DATA_DIR"])).url()
        stored = await trades_as_text(url, "spot", "btcusdt")
        assert lines[-1]["event"] == "Final statistics"
        assert lines[-1]["batch_size"] == 50
        assert len(stored) == lines[-1]["trades_written"] > 50
        assert not await trades_as_text(url, "spot", "ethusdt")
        wrong = await run(environment, str(ROOT / "demo_pipeline.py"), "--batch-size", "0")
        assert wrong.returncode == 2
        assert "batch_size" in wrong.stderr
        assert "Traceback" not in wrong.stderr
