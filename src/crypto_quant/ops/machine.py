"""What this machine is and allows: interpreter, open files, memory, disks. All of it is read, nothing is made."""

import contextlib
import importlib.metadata
import os
import platform
import shutil
import sys
from pathlib import Path

from crypto_quant.diagnosis.machine import Disk

_CGROUPS = Path("/sys/fs/cgroup")
# version 1 writes "no limit" as a number that no machine has
_NO_LIMIT = 2**60


def python() -> tuple[tuple[int, int, int], str]:
    """Return the interpreter's version and its name."""
    return (sys.version_info[0], sys.version_info[1], sys.version_info[2]), platform.python_implementation()


def installed(package: str) -> str | None:
    """Return the version of a package, None when it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def open_files() -> tuple[int | None, int | None]:
    """Return how many files this process may open, and up to how many it may allow itself; None: any number."""
    import resource  # noqa: PLC0415 - not on every platform

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return tuple(None if limit == resource.RLIM_INFINITY else limit for limit in (soft, hard))  # type: ignore[return-value]


def memory_bytes(root: Path = _CGROUPS, own: Path = Path("/proc/self/cgroup")) -> int | None:
    """Return the memory that this process may use: the least of its control groups' limits and of the machine's."""
    limits = [_control_group_limit(root, own), _physical()]
    known = [limit for limit in limits if limit is not None]
    return min(known, default=None)


def _physical() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return None


def _control_group_limit(root: Path, own: Path) -> int | None:
    """Return the least limit on the way from our control group to the root: each of them holds."""
    try:
        lines = own.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    found = []
    for line in lines:
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controllers == "":
            base, name = root, "memory.max"
        elif "memory" in controllers.split(","):
            base, name = root / "memory", "memory.limit_in_bytes"
        else:
            continue
        # within a container the path may be the host's: then the root is our own group
        here = base / path.lstrip("/")
        for directory in (here, *here.parents):
            found.append(_number(directory / name))
            if directory == base:
                break
    known = [limit for limit in found if limit is not None and limit < _NO_LIMIT]
    return min(known, default=None)


def _number(file: Path) -> int | None:
    try:
        text = file.read_text(encoding="utf-8").strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() else None


def disk_of(directory: Path) -> Disk:
    """Return the disk that ``directory`` is on, or would be: the nearest of its parents that exists decides.

    Raises OSError.
    """
    directory = directory.expanduser().absolute()
    place = next(parent for parent in (directory, *directory.parents) if parent.exists())
    usage = shutil.disk_usage(place)
    return Disk(
        directory=str(directory),
        place=str(place),
        free_bytes=usage.free,
        total_bytes=usage.total,
        writable=place.is_dir() and os.access(place, os.W_OK | os.X_OK),
    )


def used_bytes(directory: Path) -> int:
    """Return how many bytes the files below ``directory`` have; 0 when there is none."""
    total = 0
    for folder, _, names in os.walk(directory.expanduser()):
        for name in names:
            with contextlib.suppress(FileNotFoundError):  # a recorder at work removes what it has stored
                total += (Path(folder) / name).stat().st_size
    return total
