"""Verdicts on the machine that records: interpreter, clock, limits, memory, disks."""

from collections.abc import Sequence

import msgspec

from crypto_quant.diagnosis.finding import Finding, failed, ok, skipped, warning
from crypto_quant.evidence import Spooled
from crypto_quant.health import CLOCK_OFF_MS, Level, disk_level
from crypto_quant.words import GIB, MIB, counted, size

PYTHON_MIN = (3, 11)
# Within it the lag that is told is about right. A machine that keeps its time by NTP is within some hundredths.
SKEW_OK_NS = int(CLOCK_OFF_MS * 1e6)
# Beyond it `received_at` names another minute than the trade's, and certificates begin to look not yet valid.
SKEW_MOST_NS = 60_000_000_000
# What the recorder opens besides links and connections: its libraries, the spool, archives, what is set aside.
FILES_BESIDES = 64
# What it takes idle (docs/performance.md: 60 to 70 MB), and per row that waits in memory.
MEMORY_BASE = 100 * MIB
MEMORY_PER_ROW = 400
# The embedded database's disk asks for more than ``health`` does of any: it is to grow. Below the first it stops within
# days of a busy recording, below the second its WAL may not fit.
DATABASE_DISK_LOW = 10 * GIB
DATABASE_DISK_LEAST = 2 * GIB
# table and index, docs/database.md
BYTES_PER_TRADE = 177


class ClockSample(msgspec.Struct, frozen=True):
    """One question for the exchange's time (ns): our wall clock as it left, how long the answer took, what it said."""

    sent_ns: int
    took_ns: int
    server_ns: int

    @property
    def ahead_ns(self) -> int:
        """How far the exchange's clock is ahead of ours, were it read half-way."""
        return self.server_ns - (self.sent_ns + self.took_ns // 2)


class Disk(msgspec.Struct, frozen=True):
    """The disk below a directory: ``place`` is what exists of its path already."""

    directory: str
    place: str
    free_bytes: int
    total_bytes: int
    writable: bool


def python(version: tuple[int, int, int], implementation: str) -> Finding:
    """Judge the interpreter: CPython 3.11 or newer."""
    found = f"{implementation} {'.'.join(map(str, version))}"
    if version[:2] < PYTHON_MIN:
        return failed("python", found, f"Install Python {'.'.join(map(str, PYTHON_MIN))} or newer")
    if implementation != "CPython":
        return warning("python", f"{found}; it is tested with CPython alone", "Use CPython")
    return ok("python", found)


def event_loop(uvloop: str | None, platform: str) -> Finding:
    """Judge the event loop by the version of uvloop that can be imported."""
    if uvloop is not None:
        return ok("event_loop", f"uvloop {uvloop}")
    if platform == "win32":
        return skipped("event_loop", "asyncio's own; there is no uvloop for Windows")
    return warning("event_loop", "asyncio's own, which takes more time for each frame", "pip install uvloop")


def clock(samples: Sequence[ClockSample]) -> Finding:
    """Judge this machine's clock by the exchange's: the answer that took the least time tells the most.

    Half of that time is not known to belong to either way, and is given to the machine's favour.
    """
    if not samples:
        return skipped("clock", "the exchange did not tell its time")
    best = min(samples, key=lambda sample: sample.took_ns)
    half = best.took_ns // 2
    certain = max(0, abs(best.ahead_ns) - half)
    side = "behind" if best.ahead_ns > 0 else "ahead of"
    found = f"{abs(best.ahead_ns) / 1e9:.3f} s {side} the exchange, give or take {half / 1e9:.3f} s"
    remedy = "Keep the time by NTP: timedatectl set-ntp true, or run chrony"
    if certain > SKEW_MOST_NS:
        return failed("clock", f"{found}: received_at is wrong by as much", remedy)
    if certain > SKEW_OK_NS:
        return warning("clock", f"{found}: received_at is wrong by as much; trades are not", remedy)
    return ok("clock", found)


def file_limit(soft: int | None, hard: int | None, *, links: int, pool_size: int) -> Finding:
    """Judge how many files may be open (None: any number); a link has a second one beside it while it is replaced."""
    need = 2 * links + pool_size + FILES_BESIDES
    if soft is None:
        return ok("file_limit", f"no limit; {need} are needed")
    found = f"{soft:,} open files; {need} are needed (links: {links}, connections: {pool_size})"
    limit = max(1024, 2 * need)
    remedy = f"ulimit -n {limit}, or LimitNOFILE={limit} in the systemd unit"
    if hard is not None and hard < limit:
        remedy += f"; the hard limit is {hard:,}, which root can raise"
    if soft < need:
        return failed("file_limit", found, remedy)
    if soft < 2 * need:
        return warning("file_limit", found, remedy)
    return ok("file_limit", found)


def memory(limit_bytes: int | None, *, pending_limit: int) -> Finding:
    """Judge the memory that this process may use: the control group's limit, or the machine's memory."""
    if limit_bytes is None:
        return skipped("memory", "this system does not tell")
    need = MEMORY_BASE + pending_limit * MEMORY_PER_ROW
    found = f"{size(limit_bytes)}; up to {size(need)} are used while {pending_limit:,} rows wait"
    if limit_bytes < MEMORY_BASE:
        return failed("memory", found, f"Give it {size(need)} (MemoryMax, --memory)")
    if limit_bytes < need:
        least = max(1000, (limit_bytes - MEMORY_BASE) // MEMORY_PER_ROW)
        return warning("memory", found, f"Give it {size(need)}, or set pending_limit = {least}")
    return ok("memory", found)


def data_disk(disk: Disk) -> Finding:
    """Judge the disk of what is set aside, of archives and of rows left over."""
    found = f"{size(disk.free_bytes)} free, {disk.directory}"
    if not disk.writable:
        return failed("data_disk", f"cannot be written: {disk.place}", _ANOTHER_DIRECTORY)
    level = disk_level(disk.free_bytes, disk.total_bytes)
    if level is not None:
        judge = failed if level is Level.WRONG else warning
        return judge("data_disk", found, "Free some space, or set data_dir to a directory on another disk")
    return ok("data_disk", found)


def spool_disk(disk: Disk | None, *, limit_bytes: int, used_bytes: int) -> Finding:
    """Judge the disk of the spool (None: there is to be none): its own limit should come before the disk's."""
    if disk is None:
        return skipped("spool_disk", "there is no spool: rows wait in memory alone while the database is away")
    rest = max(0, limit_bytes - used_bytes)
    found = f"{size(disk.free_bytes)} free, the spool may take {size(rest)} more, {disk.directory}"
    if not disk.writable:
        return failed("spool_disk", f"cannot be written: {disk.place}", "Set spool_dir to a directory that can be")
    if disk_level(disk.free_bytes, disk.total_bytes) is Level.WRONG:
        return failed("spool_disk", found, "Free some space, or set spool_dir to a directory on another disk")
    if disk.free_bytes < rest:
        fits = max(1_048_576, used_bytes + disk.free_bytes * 9 // 10)
        return warning(
            "spool_disk",
            f"{found}: the disk is full before the spool is",
            f"Free some space, or set spool_limit = {fits}",
        )
    return ok("spool_disk", found)


def spool_rows(waiting: Sequence[Spooled]) -> Finding:
    """Judge what waits in spools of the database."""
    if not waiting:
        return ok("spool_rows", "no rows wait for the database in a spool")
    rows, places = sum(each.rows for each in waiting), ", ".join(each.directory for each in waiting)
    return warning(
        "spool_rows",
        f"{counted(rows, 'row')} that were received wait for the database in {places}",
        "The recorder of this database stores them; where none runs: crypto-quant record SYMBOL",
    )


def database_disk(disk: Disk | None) -> Finding:
    """Judge the embedded database's disk; None: the database is elsewhere, and its disk cannot be seen."""
    if disk is None:
        return skipped("database_disk", "the database's disk cannot be seen from here")
    room = disk.free_bytes // BYTES_PER_TRADE // 1_000_000
    found = f"{size(disk.free_bytes)} free, room for some {room:,} million trades, {disk.directory}"
    remedy = "Free some space, declare how long rows are kept (crypto-quant db policy set), or set data_dir"
    if not disk.writable:
        return failed("database_disk", f"cannot be written: {disk.place}", _ANOTHER_DIRECTORY)
    if disk.free_bytes < DATABASE_DISK_LEAST:
        return failed("database_disk", found, remedy)
    if disk.free_bytes < DATABASE_DISK_LOW:
        return warning("database_disk", found, remedy)
    return ok("database_disk", found)


_ANOTHER_DIRECTORY = "Set data_dir (CRYPTO_QUANT_DATA_DIR) to a directory that this user can write"
