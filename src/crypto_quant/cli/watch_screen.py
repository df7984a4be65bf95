"""The screen of ``status --watch``: what is on it for what there is to see and its size, and what keys change."""

from collections.abc import Sequence
from pathlib import Path

from rich.text import Text

from crypto_quant import health
from crypto_quant.cli import keys
from crypto_quant.cli import status_view as view
from crypto_quant.cli.status_view import Order
from crypto_quant.market import NS_PER_S
from crypto_quant.ops.board import Board
from crypto_quant.snapshot import Snapshot
from crypto_quant.words import span

INTERVALS_S = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
# below so many lines there is no room for warnings
_LOW = 30
_ROWS_LEAST = 3
# from this width on the last line has words for everything
_ROOMY = 60
_HELP = (
    ("q, Ctrl-C", "leave"),
    ("?", "these keys, on and off"),
    ("space", "hold the picture still; again to go on"),
    ("s, S", "sort by the next column, the one before"),
    ("+, -", "look less often, more often"),
    ("up, down, j, k", "one line"),
    ("PgUp, PgDn", "one page"),
    ("Home, End, g, G", "the first line, the last one"),
    ("Tab", "the next recorder, where there are several"),
)


class Screen:
    """What a person has chosen to see. ``interval_s`` may be any; ``+`` and ``-`` go through ``INTERVALS_S``."""

    def __init__(self, interval_s: float, nobody: str) -> None:
        self.interval_s = interval_s
        self.order = Order.PROBLEMS
        self.held = False
        self.helps = False
        self._nobody = nobody
        self._top = 0
        self._page = 1
        self._rows = 0
        self._boards: Sequence[Board] = ()
        self._now_ns = 0
        self._chosen: Path | None = None
        self._ended: Snapshot | None = None
        self._widths: dict[str, int] = {}

    # -- what changes it ---------------------------------------------------------------------------------

    def see(self, boards: Sequence[Board], now_ns: int) -> None:
        """Take what the boards show now; nothing changes while the picture is held."""
        if self.held:
            return
        before = self._board()
        self._boards = boards
        self._now_ns = now_ns
        paths = [each.path for each in boards]
        if self._chosen not in paths:
            # of several those that live are looked at first
            living = [each.path for each in boards if each.alive]
            self._ended = before.snapshot if before is not None and not living else self._ended
            self._chosen = next(iter([*living, *paths]), None)
            self._top = 0
            self._widths = {}

    def press(self, key: str) -> None:
        """Do what a key stands for; one that stands for nothing does nothing."""
        orders = list(Order)
        steps = {keys.UP: -1, keys.DOWN: 1, keys.PAGE_UP: -self._page, keys.PAGE_DOWN: self._page,
                 keys.HOME: -self._rows, keys.END: self._rows}  # fmt: skip
        if key in steps:
            self._top = max(0, min(self._top + steps[key], self._rows - self._page))
        elif key in ("s", "S"):
            step = 1 if key == "s" else -1
            self.order = orders[(orders.index(self.order) + step) % len(orders)]
            self._top = 0
        elif key in ("+", "="):
            self.interval_s = min((each for each in INTERVALS_S if each > self.interval_s), default=self.interval_s)
        elif key == "-":
            self.interval_s = max((each for each in INTERVALS_S if each < self.interval_s), default=self.interval_s)
        elif key == "space":
            self.held = not self.held
        elif key == "?":
            self.helps = not self.helps
        elif key == keys.TAB and self._boards:
            paths = [each.path for each in self._boards]
            at = paths.index(self._chosen) if self._chosen in paths else -1
            self._chosen = paths[(at + 1) % len(paths)]
            self._top = 0

    # -- what is on it -----------------------------------------------------------------------------------

    def lines(self, width: int, height: int) -> list[Text]:
        """Return exactly ``height`` lines, none wider than ``width``."""
        room = max(0, height - 1)
        body = self._help(width) if self.helps else self._body(width, room)
        body = [*body[:room], *[Text()] * (room - len(body))]
        lines = [*body, self._foot(width)][-height:]
        for line in lines:
            line.truncate(width, overflow="ellipsis")
        return lines

    def _board(self) -> Board | None:
        return next((each for each in self._boards if each.path == self._chosen), None)

    def _body(self, width: int, room: int) -> list[Text]:
        board = self._board()
        if board is None:
            return self._waiting(width)
        problems = health.problems(board.snapshot, alive=board.alive, now_ns=self._now_ns)
        snapshot = board.snapshot
        if snapshot is None:
            return view.without_snapshot(board.pid, problems, self._now_ns, width)
        low = room < _LOW
        # what matters most comes first
        top = view.head(snapshot, self._now_ns, width, alive=board.alive)[: max(2, room // 5) if low else None]
        wrong = view.problem_lines(problems, self._now_ns, width)
        # a third of the screen at most: worst first, and without the remedies before anything is left out
        most = max(2, room // 3)
        if len(wrong) > most:
            wrong = [view.problem_lines([each], self._now_ns)[0] for each in problems]
        if len(wrong) > most:
            left = len(wrong) - most + 1
            wrong = [*wrong[: most - 1], Text(f"  and {left} more: crypto-quant status", view.LABEL)]
        told = 0 if low else min(len(snapshot.happenings), max(3, room // 6))
        happenings = snapshot.happenings[len(snapshot.happenings) - told :]
        tail = [Text("latest warnings (UTC)", view.HEADING), *map(view.happening_line, happenings)] if told else []
        if not board.alive:
            self._rows = 0
            return [*top, *wrong, Text(), *tail]
        rows = max(_ROWS_LEAST, room - len(top) - len(wrong) - len(tail) - (1 if low else 2 + bool(tail)))
        gap = [] if low else [Text()]
        middle = [*top, *wrong, *gap, *self._streams(snapshot, width, rows)]
        return [*middle, *gap * bool(tail), *tail]

    def _streams(self, snapshot: Snapshot, width: int, rows: int) -> list[Text]:
        streams = view.ordered(snapshot.streams, self.order, self._now_ns)
        self._rows, self._page = len(streams), rows
        self._top = max(0, min(self._top, len(streams) - rows))
        shown = streams[self._top : self._top + rows]
        table = view.StreamTable(shown, self._now_ns, width, self.order, least=self._widths)
        lines = [table.heading(), *map(table.line, range(len(shown)))]
        return lines + [Text()] * (rows + 1 - len(lines))

    def _waiting(self, width: int) -> list[Text]:
        lines = [Text(self._nobody, view.HEADING), Text("It is shown here as soon as there is one.")]
        if self._ended is not None:
            seen = span((self._now_ns - self._ended.taken_ns) / NS_PER_S)
            lines += [Text(), Text(f"The last one, pid {self._ended.pid}, has ended; seen {seen} ago:")]
            lines += view.head(self._ended, self._ended.taken_ns, width)
        return lines

    def _help(self, width: int) -> list[Text]:
        lines = [Text("Keys", view.HEADING), Text()]
        left = min(18, width // 2)
        lines += [Text.assemble((f"{key:<{left}}", view.HEADING), what) for key, what in _HELP]
        lines += [Text(), Text("age: since the last event; lag: from the exchange's event to here;"),
                  Text("gaps: how many are open (and how many trades or candles they lack)")]  # fmt: skip
        return lines

    def _foot(self, width: int) -> Text:
        roomy = width >= _ROOMY
        parts = []
        if len(self._boards) > 1:
            at = next((at for at, each in enumerate(self._boards, 1) if each.path == self._chosen), 0)
            parts.append(f"recorder {at} of {len(self._boards)}: Tab" if roomy else f"Tab {at}/{len(self._boards)}")
        if self._board() is not None and self._rows:
            last = min(self._rows, self._top + self._page)
            of = "" if not roomy else f" of {self._rows:,} by {self.order}"
            parts.append(f"{self._top + 1:,}-{last:,}{of}")
        parts.append("HELD: space" if self.held else f"every {self.interval_s:g} s")
        parts.append("? keys  q leave")
        return Text(f" {'  '.join(parts)} ".ljust(width), style="reverse")
