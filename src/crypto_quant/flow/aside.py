"""Rows that the store does not take, for what is in them: kept in a file, counted, told."""

from collections.abc import Sequence

from crypto_quant import events
from crypto_quant.errors import StoreRejected
from crypto_quant.flow.stats import PipelineStats
from crypto_quant.seams import Covered, Emit, Quarantine, Table

_TOLD_CHARACTERS = 400


class Aside:
    """Sets rows aside; each is counted once."""

    def __init__(self, quarantine: Quarantine, stats: PipelineStats, emit: Emit) -> None:
        self._quarantine = quarantine
        self._stats = stats
        self._emit = emit

    def row(self, table: Table, row: bytes, refusal: StoreRejected) -> None:
        """Set aside a row that the store refuses."""
        self._quarantine.keep("row", row, f"{table.value}: {refusal}")
        self._stats.count_set_aside(table, 1)
        self._emit(events.RowSetAside(table=table.value, reason=str(refusal), row=_text(row)))

    def conflicting(self, rows: Sequence[bytes]) -> None:
        """Set aside trades whose ids are stored with another content or time."""
        self._stats.count_set_aside(Table.TRADES, len(rows))
        self._stats.trades_conflicting += len(rows)
        for row in rows:
            self._quarantine.keep("row", row, "trades: this id is stored with another content or time")
        # one event for all: a whole tape may differ
        self._emit(events.TradesConflicting(rows=len(rows), row=_text(rows[0])))

    def proof(self, covered: Sequence[Covered], refusal: StoreRejected) -> None:
        """Note ranges without rows (neutralised ids) that the store refuses: they stay unproven."""
        for each in covered:
            text = f"{each.venue} {each.symbol} {each.first} to {each.last} ({each.source})"
            self._quarantine.keep("row", text.encode(), f"coverage: {refusal}")


def _text(row: bytes) -> str:
    return row.decode("utf-8", "replace").rstrip("\n")[:_TOLD_CHARACTERS]
