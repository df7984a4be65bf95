"""What files of trades hold, day by day, and so on which days rows may be lacking. Pure."""

from collections.abc import Sequence
from datetime import date

from crypto_quant.binance.archive import TradeLines
from crypto_quant.continuity import Gap
from crypto_quant.seams import Lines

_NO_ID_ABOVE = 2**63 - 1


class Content:
    """What files hold: of each day the lowest and the highest id."""

    def __init__(self) -> None:
        self._days: dict[date, tuple[int, int]] = {}

    @property
    def ids(self) -> Gap | None:
        """The lowest and the highest id of all; None when there is none."""
        spans = self._days.values()
        return Gap(min(low for low, _ in spans), max(high for _, high in spans)) if spans else None

    def see(self, lines: TradeLines) -> None:
        """Take account of the rows of a piece."""
        days = {bytes(row[:10]) for row in _ends(lines.rows)}
        if len(days) == 1 and lines.ids:
            self._see(days.pop(), lines.ids[0], lines.ids[-1])
        elif days:
            for number, row in zip(*lines, strict=True):
                if row:
                    self._see(row[:10], number, number)

    def _see(self, day: bytes, first: int, last: int) -> None:
        key = date.fromisoformat(day.decode())
        low, high = self._days.get(key, (first, last))
        self._days[key] = min(low, first), max(high, last)

    def add(self, other: "Content") -> None:
        """Take account of what another file holds."""
        for day, (first, last) in other._days.items():
            low, high = self._days.get(day, (first, last))
            self._days[day] = min(low, first), max(high, last)

    def has(self, day: date) -> bool:
        """Return whether there is a row of a day."""
        return day in self._days

    def may_lack(self, day: date, holes: Sequence[Gap], *, known: bool) -> bool:
        """Return whether rows of a day may be lacking: it has none, or a hole begins, ends or lies in it.

        ``known``: ``holes`` are all that there are; else a day without a row may have been one with trades.
        """
        if day not in self._days and not known:
            return True
        before = max((high for at, (_, high) in self._days.items() if at < day), default=-1)
        after = min((low for at, (low, _) in self._days.items() if at > day), default=_NO_ID_ABOVE)
        return any(hole.first < after and hole.last > before for hole in holes)


def _ends(rows: Sequence[bytes]) -> list[bytes]:
    """Return rows among which there is one of each day, as far as it can be told without dividing the text.

    Rows that rise in id rise in time but for a few at midnight: those two days then show among the ends of the parts.
    """
    if isinstance(rows, Lines):
        return [part[at : at + 10] for part in rows.parts for at in (0, part.rfind(b"\n", 0, len(part) - 1) + 1)]
    return [row[:10] for row in rows if row]
