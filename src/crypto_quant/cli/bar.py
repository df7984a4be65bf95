"""A progress bar on stderr; nothing at all where that is no terminal."""

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class Bar:
    """Call it with how much is done, of how much, and what comes next."""

    def __init__(self, unit: str) -> None:
        self._console = Console(stderr=True, highlight=False)
        columns = (
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(unit),
            TimeRemainingColumn(),
            TextColumn("{task.description}"),
        )
        self._bar = Progress(*columns, console=self._console, transient=True)

    def __call__(self, done: int, total: int, what: str) -> None:
        """Tell how far it is."""
        if self._console.is_terminal:
            self._bar.update(self._bar.task_ids[0], completed=done, total=total, description=what)

    def __enter__(self) -> "Bar":
        if self._console.is_terminal:
            self._bar.start()
            self._bar.add_task("", total=None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._bar.stop()
