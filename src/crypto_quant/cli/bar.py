"""How far a long verb is, on stderr: a bar on a terminal, nothing at all elsewhere, and nothing with ``--quiet``."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any

import click

from crypto_quant.cli.eta import Eta
from crypto_quant.events import SchemaOutdated, StoreReady
from crypto_quant.seams import Emit
from crypto_quant.words import printable

if TYPE_CHECKING:
    from rich.progress import Progress

_QUIET = "crypto_quant.quiet"


def quiet_option(command: Any) -> Any:  # noqa: ANN401
    """Add ``--quiet`` to a click command: no bars."""

    def noted(context: click.Context, _option: click.Parameter, given: bool) -> None:
        context.meta[_QUIET] = given or context.meta.get(_QUIET, False)

    option = click.option(
        "--quiet", "-q", is_flag=True, expose_value=False, callback=noted, help="No progress on stderr."
    )
    return option(command)


def watched() -> bool:
    """Tell whether somebody looks at stderr, on a terminal that has a cursor, and wants to see progress."""
    context = click.get_current_context(silent=True)
    quiet = context is not None and context.meta.get(_QUIET, False)
    able = os.environ.get("TERM", "").lower() not in ("dumb", "unknown")
    return sys.stderr is not None and sys.stderr.isatty() and able and not quiet


class Bar:
    """Call it with how much is done, of how much, and what comes next; it is there from the first call on.

    ``unit`` names what is counted (empty: a share is shown). What is done may have fractions; a total of 0 is not
    known yet.
    """

    def __init__(self, unit: str = "") -> None:
        self._unit = unit
        self._shows = watched()
        self._eta: Eta | None = None
        self._bar: Progress | None = None

    def __call__(self, done: float, total: float, what: str) -> None:
        """Tell how far it is."""
        if not self._shows:
            return
        self._eta = self._eta or Eta(time.monotonic())
        if self._bar is None:
            from crypto_quant.cli import bar_view as shown  # noqa: PLC0415 - rich, where there is something to see

            self._bar = shown.bar(self._unit, self._eta)
            self._bar.add_task("", total=None)
            self._bar.start()
        self._eta.tell(done, total, time.monotonic())
        self._bar.update(
            self._bar.task_ids[0], completed=done, total=total or None, description=printable(what) if what else None
        )

    def steps(self, step: str, done: int, total: int) -> None:
        """Tell how far it is, with the words first."""
        self(done, total, step)

    def stop(self) -> None:
        """Take it away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def __enter__(self) -> "Bar":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Say what is waited for, and for how long already, where nobody can know how long it will take."""
    if not watched():
        yield
        return
    from crypto_quant.cli import bar_view as shown  # noqa: PLC0415 - as above

    with shown.spinner() as progress:
        progress.add_task(what, total=None)
        yield


class Upgrade:
    """Hands events on to ``emit``, and shows while the block runs which version a schema is brought up to."""

    def __init__(self, emit: Emit = lambda _event: None) -> None:
        self._emit = emit
        self._shown = ExitStack()

    def __call__(self, event: object) -> None:
        """Take an event."""
        self._emit(event)
        if isinstance(event, SchemaOutdated):
            self._shown.close()
            what = (
                f"Bringing the tables up to date: {event.step.replace('_', ' ')}, version {event.version} of {event.of}"
            )
            self._shown.enter_context(waiting(f"{what}. With years of rows it takes minutes"))
        elif isinstance(event, StoreReady):
            self._shown.close()

    def __enter__(self) -> "Upgrade":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._shown.close()
