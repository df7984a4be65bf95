"""A ``seams.Housekeeper`` on a database: a connection of its own each time, so that no writer waits for one."""

from crypto_quant import events
from crypto_quant.store.exported import export_gate
from crypto_quant.store.moments import moment
from crypto_quant.store.retention import Fate, keep_rules
from crypto_quant.store.timescale import connect

# reading a day of trades before it goes takes its time
_STATEMENT_TIMEOUT_S = 6 * 3600.0


class StoreUpkeep:
    """Keeps the rules that are declared in the database at ``url``."""

    # not in the first moments, when whatever was missed is fetched
    first_s = 120.0

    def __init__(self, url: str) -> None:
        self._url = url

    async def keep(self, now_ns: int) -> list[events.Event]:
        """Drop what is due at ``now_ns``; return what to tell. Raises the store's errors, and ConfigError."""
        connection = await connect(self._url, command_timeout_s=_STATEMENT_TIMEOUT_S)
        try:
            return [_told(fate) for fate in await keep_rules(connection, moment(now_ns), export_gate)]
        finally:
            connection.terminate()


def _told(fate: Fate) -> events.Event:
    piece = fate.piece
    days = {"table": piece.table.value, "first_day": f"{piece.start:%Y-%m-%d}", "end_day": f"{piece.end:%Y-%m-%d}"}
    if fate.kept:
        return events.OldRowsKept(**days, reason=fate.kept)
    return events.OldRowsDropped(**days, rows=fate.rows)
