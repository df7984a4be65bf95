"""A recorder's companion: the process that answers watchers for it, kept alive beside it.

It is given sockets that listen already and a pipe whose end tells it that the recorder is gone, in whatever way. When
it dies it is started again, and who connects meanwhile waits. Nothing here runs in the recorder's event loop.
"""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from socket import socket
from types import TracebackType
from typing import IO, cast

import msgspec

from crypto_quant import events

_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 60.0
# one that has run for so long is started again as if it had never failed
_SOUND_S = 60.0
_END_S = 0.5


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a watching process is to show, and of whom.

    ``directory`` has the boards, ``only`` is the one file of them to look at. ``streams_max`` streams of each recorder
    have metrics of their own. ``token`` is asked of who looks at the page. Sockets are given by their numbers.
    """

    directory: str
    only: str | None = None
    database_url: str | None = None
    token: str | None = None
    streams_max: int = 1000
    log_level: str = "INFO"
    log_format: str = "auto"
    page_socket: int | None = None
    metrics_socket: int | None = None


class Companion:
    """Keeps ``python -m crypto_quant.web`` alive from ``start`` to ``stop``; a context manager does both.

    ``sockets`` are those that the plan names; ``stop`` closes them. ``tell`` hears, in a thread of its own, of each
    end that was not asked for.
    """

    def __init__(self, plan: Plan, sockets: Sequence[socket], tell: Callable[[events.Event], None]) -> None:
        # on the pipe and not in the arguments, where everybody would see the secrets
        self._plan = msgspec.json.encode(plan) + b"\n"
        self._sockets = sockets
        self._tell = tell
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._keeper = threading.Thread(target=self._keep, name="companion", daemon=True)

    def __enter__(self) -> "Companion":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int | None:
        """The process that answers now, if there is one."""
        process = self._process
        return None if process is None else process.pid

    def start(self) -> None:
        """Begin; returns at once."""
        self._keeper.start()

    def stop(self) -> None:
        """Have it end: after half a second it is ended for good."""
        with self._lock:
            self._stopping.set()
            process = self._process
        if process is not None:
            with suppress(OSError):
                _lifeline(process).close()
        self._keeper.join(_END_S)
        if process is not None and self._keeper.is_alive():
            process.kill()
            self._keeper.join()
        for each in self._sockets:
            each.close()

    def _keep(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while not self._stopping.is_set():
            began_s = time.monotonic()
            cause = self._run()
            if self._stopping.is_set():
                return
            if time.monotonic() - began_s > _SOUND_S:
                pause_s = _FIRST_PAUSE_S
            self._tell(events.CompanionEnded(cause=cause, retry_in_s=pause_s))
            self._stopping.wait(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _run(self) -> str:
        """Run one to its end; return what that was."""
        try:
            with self._lock:
                if self._stopping.is_set():
                    return ""
                self._process = process = self._begin()
        except OSError as problem:
            return problem.strerror or str(problem)
        with suppress(OSError):  # it died before it was told what to do
            _lifeline(process).write(self._plan)
            _lifeline(process).flush()
        code = process.wait()
        with suppress(OSError):
            _lifeline(process).close()
        return f"signal {-code}" if code < 0 else f"exit code {code}"

    def _begin(self) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            # not what happens to lie in the current directory
            [sys.executable, "-P", "-m", "crypto_quant.web"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            pass_fds=[each.fileno() for each in self._sockets],
            # Ctrl-C is the recorder's alone: its drain wants to be watched
            process_group=0,
        )


def _lifeline(process: "subprocess.Popen[bytes]") -> IO[bytes]:
    return cast("IO[bytes]", process.stdin)
