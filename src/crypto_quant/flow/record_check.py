"""The cheap half of the audit, beside a recorder: the rows of each day, counted, against what is claimed of them."""

from collections.abc import Iterator
from datetime import date, timedelta

from crypto_quant import events
from crypto_quant.errors import ConfigError
from crypto_quant.evidence import Reader, Scope
from crypto_quant.flow.audit import Auditor
from crypto_quant.flow.report import Report
from crypto_quant.market import day_of
from crypto_quant.seals import TRADES, stream_of


class RecordCheck:
    """Counts the newest day and the one before it each time, and one of the older days, each in its turn.

    What was reported once is reported again only when it has changed.
    """

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._reported: set[events.RecordDiffers] = set()
        self._older: date | None = None

    async def run(self, reader: Reader, now_ns: int) -> list[events.RecordDiffers]:
        """Return what differs and was not reported yet. Raises the store's errors."""
        extent = await reader.extent(self._scope)
        first, last = (day_of(extent.start), day_of(extent.end - 1)) if extent is not None else (None, None)
        days: list[date | None] = [None]
        if first is not None and last is not None:
            self._older = self._older if self._older is not None and first <= self._older < last else first
            days = [*sorted({last, max(first, last - timedelta(days=1)), self._older}, reverse=True)]
            self._older += timedelta(days=1)
        found: set[events.RecordDiffers] = set()
        for day in days:
            try:
                auditor = Auditor(reader, self._scope, day, day)
                report = await auditor.run(database="", now_ns=now_ns, version="")
            except ConfigError:
                continue  # nothing was ever recorded
            found.update(_differences(report))
        new = sorted(found - self._reported, key=lambda each: (each.day, each.venue, each.symbol, each.stream))
        self._reported |= found
        return new


def _differences(report: Report) -> Iterator[events.RecordDiffers]:
    for symbol in report.symbols:
        short = sum(max(0, day.unaccounted) for day in symbol.days)
        more = sum(max(0, -day.unaccounted) for day in symbol.days) + sum(each.count for each in symbol.faults)
        # what was never stored is a known gap, which is reported as such
        if symbol.lost + short or more:
            yield events.RecordDiffers(
                venue=symbol.venue, symbol=symbol.symbol, stream=TRADES, day=report.last_day,
                missing=symbol.lost + short, unexplained=more,
            )  # fmt: skip
    for series in report.candles:
        more = sum(each.count for each in series.faults)
        if series.lost or more:
            yield events.RecordDiffers(
                venue=series.venue, symbol=series.symbol, stream=stream_of(series.timeframe), day=report.last_day,
                missing=series.lost, unexplained=more,
            )  # fmt: skip
