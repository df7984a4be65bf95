"""As whom the embedded server runs: PostgreSQL refuses to run as root, so root needs a servant.

Programs are run through ``Account.run``; files inside the server's own directories are written as the account too,
never as root, so that a planted symbolic link leads nowhere.
"""

import os
import pwd
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from crypto_quant.errors import EmbeddedDatabaseError

# Looked for in this order; the first is made when neither exists.
SERVICE_USERS = ("crypto-quant", "postgres")
_TIMEOUT_S = 180.0


@dataclass(frozen=True)
class Account:
    """A user of this machine; ``switch`` says that we are root and become that user for each program."""

    name: str
    uid: int
    gid: int
    switch: bool

    def run(
        self, command: Sequence[str], *, stdin: str = "", timeout_s: float = _TIMEOUT_S
    ) -> subprocess.CompletedProcess[str]:
        """Return what the program said, whatever its exit code; output and errors are both in ``stdout``.

        Raises EmbeddedDatabaseError when it cannot be run at all or does not end in time.
        """
        try:
            return subprocess.run(  # noqa: S603 - our own commands, no shell
                list(command),
                input=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                timeout=timeout_s,
                check=False,
                cwd="/",
                env=_environment(),
                user=self.uid if self.switch else None,
                group=self.gid if self.switch else None,
                extra_groups=[] if self.switch else None,
            )
        except subprocess.TimeoutExpired as problem:
            raise EmbeddedDatabaseError(
                f"a program of the embedded database did not end within {timeout_s:.0f} s",
                subject=command[0],
                hint="Is the disk stuck? Try again, or give --database-url",
            ) from problem
        except OSError as problem:
            raise EmbeddedDatabaseError(
                f"cannot run a program as user {self.name!r}",
                subject=f"{command[0]}: {problem.strerror or problem}",
                hint="Run as an ordinary user, or give --database-url",
            ) from problem

    def can_run(self, program: Path) -> bool:
        """Return whether this user can reach the program and run it."""
        try:
            return self.run([str(program), "--version"], timeout_s=20).returncode == 0
        except EmbeddedDatabaseError:
            return False

    def can_enter(self, directory: Path) -> bool:
        """Return whether this user can enter the directory."""
        return self.run(["/bin/sh", "-c", 'cd -- "$1"', "sh", str(directory)], timeout_s=20).returncode == 0

    def write(self, path: Path, text: str) -> None:
        """Replace the file as this user, in one step. Raises EmbeddedDatabaseError."""
        done = self.run(["/bin/sh", "-c", 'cat > "$1.new" && mv -f "$1.new" "$1"', "sh", str(path)], stdin=text)
        if done.returncode:
            raise EmbeddedDatabaseError("cannot write a file of the embedded database", subject=done.stdout.strip())

    def own_directory(self, path: Path) -> None:
        """Make the directory if there is none: this user's, closed to everyone else.

        Raises EmbeddedDatabaseError if something else stands there, or another's; OSError if it cannot be made.
        """
        try:
            path.mkdir(mode=0o700)
        except FileExistsError:
            found = path.lstat()
            if not path.is_dir() or path.is_symlink() or found.st_uid != self.uid or found.st_mode & 0o077:
                raise EmbeddedDatabaseError(
                    f"this directory has to belong to user {self.name!r} and to be closed to others (mode 0700)",
                    subject=str(path),
                    hint="Move it away; it is made anew",
                ) from None
        else:
            if self.switch:
                os.chown(path, self.uid, self.gid)


def account_for(cluster: Path) -> Account:
    """Return who runs this cluster: its owner, or for a new one ourselves, or root's servant.

    Raises EmbeddedDatabaseError when it belongs to someone else, or when root has no servant and cannot make one.
    """
    uid = os.geteuid()
    if cluster.exists():
        owner = cluster.stat().st_uid
        if uid not in (0, owner):
            raise EmbeddedDatabaseError(
                f"the embedded database belongs to user {_name_of(owner)!r}, not to {_name_of(uid)!r}",
                subject=str(cluster),
                hint="Run as that user, or set CRYPTO_QUANT_DATA_DIR to a directory of your own",
            )
        if owner != 0:
            return Account(_name_of(owner), owner, cluster.stat().st_gid, switch=uid == 0)
    if uid != 0:
        return Account(_name_of(uid), uid, os.getegid(), switch=False)
    servant = _existing_servant() or _new_servant()
    return Account(servant.pw_name, servant.pw_uid, servant.pw_gid, switch=True)


def _existing_servant() -> pwd.struct_passwd | None:
    for name in SERVICE_USERS:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    return None


def _new_servant() -> pwd.struct_passwd:
    name = SERVICE_USERS[0]
    makers = (
        ("useradd", ["--system", "--no-create-home", "--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin"]),
        ("adduser", ["-S", "-D", "-H", "-h", "/nonexistent", "-s", "/sbin/nologin"]),  # busybox
    )
    said = "neither useradd nor adduser is installed"
    for program, options in makers:
        found = shutil.which(program)
        if found is None:
            continue
        done = subprocess.run(  # noqa: S603 - fixed arguments
            [found, *options, name], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        servant = _existing_servant()
        if servant is not None:
            return servant
        said = done.stdout.strip()
    raise EmbeddedDatabaseError(
        "PostgreSQL refuses to run as root, and no system user could be made for it",
        subject=said,
        hint=f"Make a user named {name!r}, or run as an ordinary user, or give --database-url",
    )


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        raise EmbeddedDatabaseError(
            "PostgreSQL needs a user that has a name, and this user id has none",
            subject=f"uid {uid}",
            hint="Add the user to /etc/passwd, or give --database-url",
        ) from None


def _environment() -> dict[str, str]:
    # PGHOST, PGDATA, PGOPTIONS and their like, and a foreign locale, would all reach into our server.
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PG", "LC_", "LANG"))}
    return {**kept, "LC_ALL": "C", "TZ": "UTC", "PGCONNECT_TIMEOUT": "10", "PSQLRC": os.devnull}
