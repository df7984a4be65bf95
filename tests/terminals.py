"""A real terminal (a pty) with a program on it, and what a person would see of it (pyte)."""

import contextlib
import errno
import fcntl
import os
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pyte

_PATIENCE_S = 30.0


class Window:
    """A terminal of so many columns and lines; ``text`` is what stands on it, ``raw`` all that was ever sent to it."""

    def __init__(self, columns: int, lines: int) -> None:
        self.screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self.screen)
        self._lock = threading.Lock()
        self.raw = b""
        self._ours, self.theirs = os.openpty()
        self._size(columns, lines)
        self._reading = threading.Thread(target=self._read, daemon=True)

    @property
    def text(self) -> str:
        with self._lock:
            return "\n".join(line.rstrip() for line in self.screen.display)

    @property
    def settings(self) -> list[Any]:
        return termios.tcgetattr(self.theirs)

    def type(self, keys: bytes) -> None:
        os.write(self._ours, keys)

    def resize(self, columns: int, lines: int) -> None:
        with self._lock:
            self.screen.resize(lines, columns)
        self._size(columns, lines)

    def close(self) -> None:
        """Close the window: whoever writes to it or reads from it fails."""
        with contextlib.suppress(OSError):
            os.close(self._ours)

    def until(self, holds: Callable[[str], object]) -> str:
        """Wait until what is shown is so; return it."""
        deadline = time.monotonic() + _PATIENCE_S
        while not holds(text := self.text):
            assert time.monotonic() < deadline, text
            time.sleep(0.02)
        return text

    def start(self) -> None:
        self._reading.start()

    def _size(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._ours, 65536)
            except OSError as problem:
                if problem.errno in (errno.EIO, errno.EBADF):
                    return
                raise
            if not data:
                return
            with self._lock:
                self.raw += data
                # pyte 0.8 takes the private modes of synchronized output and the like for text
                self._stream.feed(data)


@contextmanager
def window(
    *words: str, columns: int = 100, lines: int = 30, environment: Mapping[str, str] | None = None, python: str = ""
) -> Iterator[tuple[Window, "subprocess.Popen[bytes]"]]:
    """Lend a window in which ``crypto-quant`` runs with these words (or, with ``python``, such a program)."""
    variables = {key: value for key, value in os.environ.items() if not key.startswith(("CRYPTO_QUANT_", "NO_COLOR"))}
    variables |= {"TERM": "xterm-256color", **(environment or {})}
    variables.pop("COLUMNS", None)
    command = [sys.executable, *(("-c", python) if python else ("-m", "crypto_quant")), *words]
    made = Window(columns, lines)
    process = subprocess.Popen(
        command, stdin=made.theirs, stdout=made.theirs, stderr=made.theirs, env=variables, start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - nothing else makes it a terminal
    )  # fmt: skip
    made.start()
    try:
        yield made, process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait()
        os.close(made.theirs)
        made._reading.join(5)
        made.close()
