"""How progress looks: rich's bars and spinners, with our own estimate of the time left."""

import time
from functools import cache

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn, TimeElapsedColumn
from rich.text import Text

from crypto_quant.cli.eta import Eta
from crypto_quant.words import span


def bar(unit: str, eta: Eta) -> Progress:
    """Return a bar with what is done, in ``unit`` or as a share, and the time left."""
    return _shown(BarColumn(), _Counted(unit), _Left(eta), _what())


def spinner() -> Progress:
    """Return a spinner with the time that it has taken so far."""
    return _shown(SpinnerColumn(), _what(), TimeElapsedColumn())


def _shown(*columns: ProgressColumn) -> Progress:
    # results go to stdout even when both are the same terminal
    return Progress(*columns, console=_console(), transient=True, redirect_stdout=False)


@cache
def _console() -> Console:
    # one for all: what is shown inside of something else stands below it
    return Console(stderr=True, highlight=False, markup=False, emoji=False)


def _what() -> TextColumn:
    return TextColumn("{task.description}", markup=False)


class _Counted(ProgressColumn):
    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        if not task.total:
            return Text("")
        if not self._unit:
            return Text(f"{task.completed / task.total:4.0%}")
        return Text(f"{int(task.completed):,}/{int(task.total):,} {self._unit}")


class _Left(ProgressColumn):
    def __init__(self, eta: Eta) -> None:
        super().__init__()
        self._eta = eta

    def render(self, task: Task) -> Text:
        del task
        left_s = self._eta.left_s(time.monotonic())
        return Text("" if left_s is None else f"{span(left_s + 0.5)} left")
