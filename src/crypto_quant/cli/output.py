"""Results on stdout, when there may be much of them: a reader that leaves early, and a disk that is full."""

import os
import sys

import click

from crypto_quant.errors import CryptoQuantError


class OutputFailed(CryptoQuantError):
    """What was to be written to stdout could not be."""


class Output:
    """Bytes to stdout; call it with each piece."""

    def __call__(self, data: bytes | memoryview) -> None:
        """Write the piece. Ends the program quietly when nobody reads on (``| head``); raises OutputFailed."""
        try:
            sys.stdout.buffer.write(data)
        except OSError as problem:
            raise self._gone(problem) from problem

    def flush(self) -> None:
        """See that all of it is written."""
        try:
            sys.stdout.buffer.flush()
        except OSError as problem:
            raise self._gone(problem) from problem

    def _gone(self, problem: OSError) -> Exception:
        # what is still buffered would be tried again, and fail again, as Python ends
        with open(os.devnull, "wb") as nowhere:  # noqa: PTH123
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        if isinstance(problem, BrokenPipeError):
            return click.exceptions.Exit(0)
        return OutputFailed(
            "the answer could not be written", subject="stdout", hint=f"{problem.strerror or problem}; it is not whole"
        )
