"""Files for what could not be decoded or stored: one JSON object a line, nothing ever rewritten."""

import base64
import fcntl
import os
import re
import time
from pathlib import Path

import msgspec

from crypto_quant import events
from crypto_quant.seams import Clock, Emit

SIZE_MAX_BYTES = 256 * 1024 * 1024
# other processes write into the same directory: how many of our own bytes until the whole is measured again
_MEASURE_EVERY_BYTES = 1024 * 1024


class Kept(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line: ``raw`` is the text itself, ``raw_base64`` the bytes when they are not UTF-8."""

    time: str
    kind: str
    reason: str
    raw: str | None = None
    raw_base64: str | None = None

    def bytes(self) -> bytes:
        """Return what was set aside, byte for byte."""
        if self.raw_base64 is not None:
            return base64.b64decode(self.raw_base64)
        return (self.raw or "").encode()


class FileQuarantine:
    """A ``seams.Quarantine`` of files ``frames-YYYYMMDD.ndjson`` and ``rows-YYYYMMDD.ndjson`` (days in UTC).

    Append-only, safe for several processes, and bounded: at ``size_max_bytes`` of all files together, or when the
    disk refuses, it only counts (``dropped``), and says so once by ``SetAsideLost``. ``keep`` never raises.
    """

    def __init__(
        self,
        directory: Path,
        *,
        size_max_bytes: int = SIZE_MAX_BYTES,
        clock: Clock | None = None,
        emit: Emit | None = None,
    ) -> None:
        self.kept = 0
        self.dropped = 0
        self._directory = directory
        self._size_max_bytes = size_max_bytes
        self._now_ns = clock.now_ns if clock else time.time_ns
        self._emit = emit
        self._told = False
        self._size_bytes = 0
        self._unmeasured_bytes = _MEASURE_EVERY_BYTES

    def keep(self, kind: str, raw: bytes, reason: str) -> None:
        """Append ``raw`` with its reason to the file of its ``kind`` (``frame``, ``row``) and day."""
        try:
            line, day = self._line(kind, raw, reason)
            if self._has_room(len(line)):
                self._append(f"{re.sub('[^a-z]', '', kind) or 'other'}s-{day}.ndjson", line)
                self.kept += 1
                return
            self._give_up(f"{self._size_max_bytes} bytes are used")
        except (OSError, ValueError) as error:
            self._give_up(str(error))

    def _line(self, kind: str, raw: bytes, reason: str) -> tuple[bytes, str]:
        now_ns = self._now_ns()
        moment = time.gmtime(now_ns // 1_000_000_000)
        stamp = f"{time.strftime('%Y-%m-%dT%H:%M:%S', moment)}.{now_ns // 1_000_000 % 1000:03}Z"
        # a lone surrogate in a reason would stop the encoder
        reason = reason.encode("utf-8", "replace").decode()
        try:
            kept = Kept(time=stamp, kind=kind, reason=reason, raw=raw.decode())
        except UnicodeDecodeError:
            kept = Kept(time=stamp, kind=kind, reason=reason, raw_base64=base64.b64encode(raw).decode())
        return msgspec.json.encode(kept) + b"\n", time.strftime("%Y%m%d", moment)

    def _has_room(self, more_bytes: int) -> bool:
        if self._unmeasured_bytes >= _MEASURE_EVERY_BYTES:
            self._size_bytes = sum(file.stat().st_size for file in self._directory.glob("*.ndjson"))
            self._unmeasured_bytes = 0
        return self._size_bytes + more_bytes <= self._size_max_bytes

    def _append(self, name: str, line: bytes) -> None:
        """Add the line at the end of its file, which other processes may be doing as well."""
        self._directory.mkdir(parents=True, exist_ok=True)
        handle = os.open(self._directory / name, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o640)
        try:
            # held for one write; without it the end of another process's unfinished line would look torn
            fcntl.flock(handle, fcntl.LOCK_EX)
            end = os.fstat(handle).st_size
            if end and os.pread(handle, 1, end - 1) != b"\n":
                # the line before was cut off by a full disk or a crash: leave it, but do not grow onto it
                line = b"\n" + line
            written = os.write(handle, line)
        finally:
            os.close(handle)
        self._size_bytes += written
        self._unmeasured_bytes += written
        if written < len(line):
            raise OSError(f"only {written} of {len(line)} bytes could be written")

    def _give_up(self, cause: str) -> None:
        """Count what is not kept; tell it the first time."""
        self.dropped += 1
        if not self._told and self._emit:
            self._told = True
            self._emit(events.SetAsideLost(directory=str(self._directory), cause=cause))
