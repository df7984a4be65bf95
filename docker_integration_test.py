#!/usr/bin/env python3
"""The whole way into a TimescaleDB in Docker: simulated exchange, recorder, database, and a look with psql.

    python docker_integration_test.py

Brings up docker-compose.test.yml, records the same simulated minutes twice, checks through ``docker exec … psql`` that
each trade is there once and each candle is a closed one, and takes the database down again (unless it was up before).
Exit codes: 0 all well, 1 a check failed, 77 there is no Docker engine here, so nothing was tested.
"""

# ruff: noqa: T201, S101, S603 - a script that prints, asserts for mypy, and runs programs

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent
COMPOSE = ["docker", "compose", "-f", str(ROOT / "docker-compose.test.yml")]
DATABASE_URL = "postgresql://test:test@localhost:5433/crypto_quant_test"
NO_ENGINE = 77

SYMBOLS = ("BTCUSDT", "ETHUSDT")
START_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z
EXCHANGE_SECONDS = 200  # three whole minutes and a bit
SPEED = 20
TABLES = ("trades", "candles", "crypto_quant_schema")


class Failed(Exception):
    """A check did not hold."""


def main() -> int:
    reason = _no_engine()
    if reason:
        print(f"no Docker engine: {reason}. Nothing was tested.", file=sys.stderr)
        return NO_ENGINE
    was_up = bool(_output(*COMPOSE, "ps", "--quiet", "--status", "running"))
    try:
        _run(*COMPOSE, "up", "--detach", "--wait")
        container = _output(*COMPOSE, "ps", "--quiet", "timescaledb")
        check_the_whole_way(container)
    except (Failed, subprocess.SubprocessError) as problem:
        print(f"FAILED: {problem}", file=sys.stderr)
        return 1
    finally:
        if not was_up:
            subprocess.run([*COMPOSE, "down", "--volumes"], check=False)
    print("all well")
    return 0


def check_the_whole_way(container: str) -> None:
    """Record twice, and compare what psql sees."""
    for table in TABLES:  # one by one: a hypertable is not dropped along with others
        psql(container, f"DROP TABLE IF EXISTS {table} CASCADE")
    written = record()
    first = look(container)
    expect(first["trades"] == written, f"{written} trades written by the recorder, {first['trades']} rows")
    expect(int(first["trades"]) > 0, "no trade arrived")
    for key, question in CHECKS.items():
        found = psql(container, question)
        expect(found == "0", f"{key}: {found}")
    expect(int(first["candles"]) >= 3 * len(SYMBOLS), f"only {first['candles']} candles")
    expect(first["hypertables"] == "2", f"{first['hypertables']} hypertables instead of 2")

    record()  # the same minutes again, as after a restart
    second = look(container)
    expect(second == first, f"a replay changed the tables: {first} became {second}")
    print(f"{first['trades']} trades and {first['candles']} candles, each once, also after a replay")


# Each counts what must not be.
CHECKS = {
    "trades stored twice": "SELECT count(*) - count(DISTINCT (venue, symbol, trade_id)) FROM trades",
    "holes between trade ids": (
        "SELECT coalesce(sum(missing), 0) FROM"
        " (SELECT max(trade_id) - min(trade_id) + 1 - count(*) AS missing FROM trades GROUP BY venue, symbol) AS each"
    ),
    "symbols in upper case": "SELECT count(*) FROM trades WHERE symbol <> lower(symbol)",
    "candles with impossible prices": (
        "SELECT count(*) FROM candles WHERE high < low OR high < open OR high < close OR low > open OR low > close"
    ),
    "candles off their minute": "SELECT count(*) FROM candles WHERE date_trunc('minute', time) <> time",
    "candles whose trades are stored whole but add up to another volume": (
        "SELECT count(*) FROM candles c JOIN LATERAL (SELECT sum(quantity) AS volume, min(first_trade_id) AS first,"
        " max(last_trade_id) AS last FROM trades t WHERE t.venue = c.venue AND t.symbol = c.symbol AND t.time >= c.time"
        " AND t.time < c.time + interval '1 minute') t ON true"
        " WHERE t.first = c.first_trade_id AND t.last = c.last_trade_id AND t.volume <> c.volume"
    ),
}


def look(container: str) -> dict[str, str]:
    """Return the counts that a replay must not change."""
    return {
        "trades": psql(container, "SELECT count(*) FROM trades"),
        "candles": psql(container, "SELECT count(*) FROM candles"),
        "volume": psql(container, "SELECT sum(quantity) FROM trades"),
        "hypertables": psql(
            container,
            "SELECT count(*) FROM timescaledb_information.hypertables WHERE hypertable_name IN ('trades', 'candles')",
        ),
    }


def record() -> str:
    """Record the simulated minutes once; return how many trades the recorder says it wrote."""
    with simulated_exchange() as urls:
        command = [*_crypto_quant(), "record", *SYMBOLS, "--stream", "aggTrade", "--stream", "kline_1m"]
        command += ["--database-url", DATABASE_URL, "--ws-url", urls["ws_url"], "--rest-url", urls["rest_url"]]
        command += ["--duration", str(EXCHANGE_SECONDS / SPEED + 4), "--log-format", "json"]
        done = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=180, check=False)
    if done.returncode:
        raise Failed(f"the recorder ended with {done.returncode}:\n{done.stderr[-2000:]}")
    reports = [json.loads(line) for line in done.stderr.splitlines() if '"Final statistics"' in line]
    if not reports:
        raise Failed("the recorder reported no statistics")
    return str(reports[-1]["trades_written"])


@contextmanager
def simulated_exchange() -> Iterator[dict[str, str]]:
    """Run the exchange on a free port; the same minutes each time, held until somebody subscribes."""
    command = [*_crypto_quant(), "simulate", "--port", "0", "--rate", "300", "--seed", "7", "--hold"]
    command += ["--start", str(START_MS), "--seconds", str(EXCHANGE_SECONDS), "--speed", str(SPEED)]
    for symbol in SYMBOLS:
        command += ["--symbol", symbol]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as exchange:
        try:
            assert exchange.stdout is not None
            line = exchange.stdout.readline()
            if not line:
                raise Failed("the simulated exchange did not start")
            yield json.loads(line)
        finally:
            exchange.terminate()


def psql(container: str, question: str) -> str:
    """Ask inside the container, so that nothing of ours stands between the question and the rows."""
    return _output(
        "docker", "exec", container, "psql", "-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-U", "test",
        "-d", "crypto_quant_test", "-c", question,
    )  # fmt: skip


def expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Failed(otherwise)


def _no_engine() -> str:
    if shutil.which("docker") is None:
        return "the docker command is not installed"
    for question in (["docker", "info"], ["docker", "compose", "version"]):
        done = subprocess.run(question, capture_output=True, text=True, check=False)
        if done.returncode:
            return (done.stderr.strip().splitlines() or ["it does not answer"])[-1]
    return ""


def _crypto_quant() -> list[str]:
    beside = ROOT / ".venv" / "bin" / "crypto-quant"
    if beside.exists():
        return [str(beside)]
    return [sys.executable, "-m", "crypto_quant"]


def _run(*command: str) -> None:
    subprocess.run(command, check=True)


def _output(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(f"{' '.join(command[:4])} … failed: {done.stderr.strip()}")
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
