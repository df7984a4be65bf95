"""What only the system knows of this process and of the disks that it writes to."""

import os
import resource
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from crypto_quant.snapshot import DiskView, ProcessView

_FILES = Path("/proc/self/fd")
_MEMORY = Path("/proc/self/statm")


def disks(directories: Iterable[Path]) -> tuple[DiskView, ...]:
    """Return the file systems of some directories, each once, by the directory that came first."""
    seen: dict[int, DiskView] = {}
    for directory in directories:
        with suppress(OSError):
            usage = shutil.disk_usage(directory)
            device = directory.stat().st_dev
            view = DiskView(path=str(directory), free_bytes=usage.free, total_bytes=usage.total)
            seen.setdefault(device, view)
    return tuple(seen.values())


def process() -> ProcessView:
    """Return what this process takes; what the system does not tell is 0."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    # elsewhere than on Linux only the most it ever had is known
    resident = used.ru_maxrss
    with suppress(OSError, ValueError, IndexError):
        resident = int(_MEMORY.read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    files = 0
    with suppress(OSError):
        files = sum(1 for _ in _FILES.iterdir())
    return ProcessView(
        resident_bytes=resident,
        cpu_seconds=round(used.ru_utime + used.ru_stime, 3),
        open_files=files,
        open_files_limit=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
    )
