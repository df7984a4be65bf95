"""Results on stdout: a reader that leaves early (``| head``), and a disk that is full.

``take_over`` puts stdout and stderr on a ground that knows both, once for all verbs. When nobody reads any more, what
is still written is let go, and the verb ends as it would have: a verdict is not lost because somebody looked at one
line of it. Who has much to write asks ``Output``, which ends the program then.
"""

import io
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from crypto_quant.errors import CryptoQuantError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer


class OutputFailed(CryptoQuantError):
    """What was to be written to stdout could not be."""


def take_over() -> None:
    """Let stdout and stderr of this process be written through a ``_Ground`` from now on.

    Where one of the three standard streams is closed, it leads to nowhere: what is opened next, a connection to the
    database perhaps, would take its number, and the event loop ends the process over that.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            _let_go(number)
            setattr(sys, name, os.fdopen(number, "w" if number else "r", encoding="utf-8", closefd=False))
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout is sys.__stdout__:
        sys.stdout = _grounded(sys.stdout, _Results)
    if isinstance(sys.stderr, io.TextIOWrapper) and sys.stderr is sys.__stderr__:
        # a full disk under the log must not end a recording: whoever logs decides
        sys.stderr = _grounded(sys.stderr, _Ground)


def abandon() -> None:
    """Let go of what waits to be written to stdout and stderr, and of all that comes: nobody is there any more."""
    for stream in (sys.stdout, sys.stderr):
        _let_go(stream.fileno())


class Output:
    """Bytes to stdout; call it with each piece."""

    def __call__(self, data: bytes | memoryview) -> None:
        """Write the piece. Ends the program quietly when nobody reads on (``| head``); raises OutputFailed."""
        self._do(lambda: sys.stdout.buffer.write(data))

    def flush(self) -> None:
        """See that all of it is written."""
        self._do(sys.stdout.buffer.flush)

    def _do(self, work: Callable[[], object]) -> None:
        try:
            work()
        except OSError as problem:
            # what is still buffered would be tried again, and fail again, as Python ends
            _let_go(sys.stdout.fileno())
            if isinstance(problem, BrokenPipeError):
                raise click.exceptions.Exit(0) from problem
            raise _failed(problem) from problem
        # there is no buffer above the ground under python -u
        if getattr(getattr(sys.stdout.buffer, "raw", sys.stdout.buffer), "left", False):
            raise click.exceptions.Exit(0)


class _Ground(io.FileIO):
    """A file descriptor that takes everything once its reader has gone; ``left`` tells that it has."""

    left = False

    def write(self, data: "Buffer", /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            self.left = True
            _let_go(self.fileno())
            return memoryview(data).nbytes


class _Results(_Ground):
    """One under results: when they cannot be written, the verb has failed. Raises OutputFailed."""

    def write(self, data: "Buffer", /) -> int:
        if not memoryview(data).nbytes:
            # click asks so whether bytes are taken, and hears no failure; a full disk refuses even this
            return 0
        try:
            return super().write(data)
        except BlockingIOError:
            raise
        except OSError as problem:
            # what is still buffered would be tried again, and fail again, as Python ends
            _let_go(self.fileno())
            raise _failed(problem) from problem


def _grounded(stream: io.TextIOWrapper, ground: type[_Ground]) -> io.TextIOWrapper:
    file = ground(stream.fileno(), "w", closefd=False)
    buffered = isinstance(getattr(stream, "buffer", None), io.BufferedWriter)  # it is not under python -u
    # a name that an old encoding lacks is no reason to fail
    errors = "backslashreplace" if stream.errors == "strict" else stream.errors
    return io.TextIOWrapper(
        io.BufferedWriter(file) if buffered else file,  # as python -u has it
        encoding=stream.encoding,
        errors=errors,
        line_buffering=stream.isatty() or stream is sys.__stderr__,
        write_through=not buffered,
    )


def _failed(problem: OSError) -> OutputFailed:
    hint = f"{problem.strerror or problem}; it is not whole"
    return OutputFailed("the answer could not be written", subject="stdout", hint=hint)


def _let_go(file: int) -> None:
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, file)
    if nowhere == file:
        os.set_inheritable(file, True)  # as the others, for the programs that are started
    else:
        os.close(nowhere)
