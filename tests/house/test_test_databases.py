"""scripts/test-databases, as a program: what it starts, what it says when it cannot, what it leaves behind."""

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "test-databases"
GIVEN = {
    "CRYPTO_QUANT_TEST_TIMESCALE_URL": "postgresql://mine/a",
    "CRYPTO_QUANT_TEST_POSTGRES_URL": "postgresql://mine/b",
    "CRYPTO_QUANT_TEST_COMMUNITY_URL": "postgresql://mine/c",
}


def script(home: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("CRYPTO_QUANT_")}
    return subprocess.run(
        [SCRIPT, *arguments], env={**kept, "CRYPTO_QUANT_TEST_DATABASES_DIR": str(home), **environment},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


@pytest.fixture
def home() -> Iterator[Path]:
    """A place that the servers' user can enter."""
    path = Path("/var/tmp") / f"cq-test-databases-{os.getpid()}"  # noqa: S108
    yield path
    if path.exists():
        script(path, "stop")
        subprocess.run(["rm", "-rf", path], check=True)


def exports(text: str) -> dict[str, str]:
    return dict(word.split("=", 1) for line in text.splitlines() for word in shlex.split(line)[1:])


def test_databases_of_ones_own_are_left_alone(home: Path) -> None:
    started = script(home, "start", **GIVEN)
    assert started.returncode == 0
    assert started.stderr.count("given by") == 3
    assert script(home, "env", **GIVEN).stdout == ""
    assert script(home, "stop").returncode == 0


def test_what_cannot_be_had_is_said_and_is_no_failure(home: Path, tmp_path: Path) -> None:
    (tmp_path / "python3").symlink_to(Path(sys.executable).resolve())
    some = {key: value for key, value in GIVEN.items() if "COMMUNITY" not in key}
    started = script(home, "start", PATH=str(tmp_path), **some)
    assert started.returncode == 0, started.stderr
    found = exports(script(home, "env", **some).stdout)
    assert found == {"CRYPTO_QUANT_TEST_COMMUNITY_SKIPPED": "it needs node and npm"}


def test_a_server_is_started_killed_brought_back_and_gone_in_the_end(home: Path) -> None:
    from crypto_quant.store.embedded import find_psql

    some = {key: value for key, value in GIVEN.items() if "POSTGRES" not in key}
    started = script(home, "start", **some)
    found = exports(script(home, "env", **some).stdout)
    url = found["CRYPTO_QUANT_TEST_POSTGRES_URL"]
    assert url in started.stderr
    assert "@127.0.0.1:" in url
    assert shlex.split(found["CRYPTO_QUANT_TEST_POSTGRES_CONTROL"]) == [str(SCRIPT), "control", "postgres"]

    def ask(statement: str) -> str:
        done = subprocess.run(
            [find_psql(), "-XAtq", url, "-c", statement], capture_output=True, text=True, timeout=30, check=True
        )
        return done.stdout.strip()

    ask("CREATE TABLE kept AS SELECT 7 AS number")
    pid = int(script(home, "control", "postgres", "pid").stdout)
    os.kill(pid, signal.SIGKILL)
    assert script(home, "control", "postgres", "start").returncode == 0
    assert ask("SELECT number FROM kept") == "7"
    assert script(home, "control", "postgres", "restart", "-m", "immediate").returncode == 0
    assert ask("SELECT number FROM kept") == "7"
    assert "runs already" in script(home, "start", **some).stderr

    assert script(home, "stop").returncode == 0
    assert script(home, "control", "postgres", "pid").returncode == 1
    assert list((home / "checkouts").iterdir()) == []


@pytest.mark.parametrize(
    "arguments", [("control",), ("control", "oracle", "pid"), ("control", "postgres", "dance"), ("x",)]
)
def test_a_wrong_call_is_told_what_is_right(home: Path, arguments: tuple[str, ...]) -> None:
    done = script(home, *arguments)
    assert done.returncode == 2
    assert "scripts/test-databases control NAME" in done.stderr


def test_the_npm_lock_names_no_registry() -> None:
    lock = json.loads((ROOT / "scripts/community-database/package-lock.json").read_text(encoding="utf-8"))
    packages = {name: entry for name, entry in lock["packages"].items() if name}
    assert packages
    for name, entry in packages.items():
        assert "resolved" not in entry, name
        assert entry["integrity"].startswith("sha512-"), name
