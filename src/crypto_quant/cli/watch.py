"""``crypto-quant status --watch``: what the recorders do, kept up to date on a full screen."""

import sys
import time
from pathlib import Path

from crypto_quant.cli.output import abandon
from crypto_quant.cli.status import look, nobody
from crypto_quant.cli.terminal import Terminal, TerminalGone
from crypto_quant.cli.watch_screen import Screen


def watch(directory: Path, pid: int | None, interval_s: float) -> None:
    """Show the boards in ``directory`` until somebody leaves; a recorder that starts anew is found again.

    Ends the program with 130 on Ctrl-C and SIGTERM. Raises ConfigError where there is no terminal.
    """
    screen = Screen(interval_s, nobody(directory, pid))
    try:
        with Terminal() as terminal:
            _keep(terminal, screen, directory, pid)
    except KeyboardInterrupt:
        sys.exit(130)
    except TerminalGone:
        # nobody reads what is left in a buffer, and Python would complain as it ends
        abandon()
        sys.exit(1)


def _keep(terminal: Terminal, screen: Screen, directory: Path, pid: int | None) -> None:
    next_at = time.monotonic()
    while True:
        now = time.monotonic()
        if now >= next_at:
            screen.see(look(directory, pid), time.time_ns())
            next_at = now + screen.interval_s
        terminal.show(screen.lines(*terminal.size))
        for key in terminal.wait(next_at - time.monotonic()):
            if key == "q":
                return
            screen.press(key)
        # a shorter interval holds at once
        next_at = min(next_at, time.monotonic() + screen.interval_s)
