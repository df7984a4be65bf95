"""A terminal taken over for a while: full screen, its keys, its size; and given back as it was, however that ends."""

import contextlib
import os
import select
import signal
import sys
import termios
import tty
from collections.abc import Iterator, Sequence
from types import FrameType, TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from crypto_quant.cli.keys import Keys
from crypto_quant.cli.output import OutputFailed
from crypto_quant.errors import ConfigError

_READ_MOST = 4096


class TerminalGone(Exception):
    """Nobody is there any more: the window was closed, or the connection to it lost."""


class Terminal:
    """The terminal of stdout as a screen, while the block runs. Raises ConfigError where stdout is none.

    Ctrl-C and SIGTERM end the block with KeyboardInterrupt, at a ``wait``; Ctrl-Z lends the terminal back to the shell.
    A stdin that is no terminal gives no keys.
    """

    def __init__(self) -> None:
        # the size is the window's own, also after it has changed: not what somebody has exported before that
        environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
        self._console = Console(highlight=False, markup=False, emoji=False, legacy_windows=False, _environ=environment)
        if not sys.stdout.isatty() or self._console.is_dumb_terminal:
            what = "stdout is no terminal" if not sys.stdout.isatty() else "this terminal knows no full screen"
            hint = "Without --watch the same is printed once; --json is for programs"
            raise ConfigError(what, subject=f"TERM={os.environ.get('TERM', '')}", hint=hint)
        self._keys = Keys()
        self._input = sys.stdin.fileno() if sys.stdin is not None and sys.stdin.isatty() else None
        self._told: list[int] = []
        self._held = contextlib.ExitStack()
        self._screen: Live | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Columns and lines, as they are now."""
        return self._console.size.width, self._console.size.height

    def show(self, lines: Sequence[Text]) -> None:
        """Fill the screen. Raises TerminalGone."""
        if self._screen is not None:
            with _translated():
                self._screen.update(Group(*lines), refresh=True)

    def wait(self, seconds: float) -> list[str]:
        """Return the keys that are pressed within this time; sooner, and maybe with none, when something comes.

        Raises KeyboardInterrupt, TerminalGone.
        """
        inputs = [self._wake, *([] if self._input is None else [self._input])]
        ready, _, _ = select.select(inputs, [], [], max(0.0, seconds))
        if self._wake in ready:
            os.read(self._wake, _READ_MOST)
        self._heed()
        if self._input is None or self._input not in ready:
            return []
        with _translated():
            data = os.read(self._input, _READ_MOST)
        if not data:
            raise TerminalGone
        return self._keys.feed(data)

    def __enter__(self) -> "Terminal":
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._signals())
            self._take()
            stack.callback(self._give_back)
            self._held = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.close()

    # -- taking and giving back --------------------------------------------------------------------------

    def _take(self) -> None:
        self._before = None
        if self._input is not None:
            self._before = termios.tcgetattr(self._input)
            tty.setcbreak(self._input, termios.TCSANOW)
        self._screen = Live(
            console=self._console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False
        )
        with _translated():
            self._screen.start()

    def _give_back(self) -> None:
        with contextlib.suppress(OSError, OutputFailed):
            if self._screen is not None:
                self._screen.stop()
        self._screen = None
        with contextlib.suppress(OSError, termios.error):
            if self._input is not None and self._before is not None:
                termios.tcsetattr(self._input, termios.TCSADRAIN, self._before)

    # -- signals -----------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        self._wake, wakes = os.pipe()
        os.set_blocking(wakes, False)
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGTSTP, signal.SIGWINCH)
        before = {number: signal.signal(number, self._noted) for number in numbers}
        woke = signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(woke)
            for number, handler in before.items():
                signal.signal(number, handler)
            os.close(self._wake)
            os.close(wakes)

    def _noted(self, number: int, _frame: FrameType | None) -> None:
        self._told.append(number)

    def _heed(self) -> None:
        told, self._told = self._told, []
        if signal.SIGHUP in told:
            raise TerminalGone
        if signal.SIGINT in told or signal.SIGTERM in told:
            raise KeyboardInterrupt
        if signal.SIGTSTP in told:
            self._give_back()
            os.kill(os.getpid(), signal.SIGSTOP)
            self._take()


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (OSError, OutputFailed) as problem:
        raise TerminalGone from problem
