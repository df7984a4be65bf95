"""The record as an export asks for it: what reading gives, and besides it the proofs, which an import puts back."""

from datetime import datetime
from typing import NamedTuple

from crypto_quant.errors import ConfigError
from crypto_quant.manifest import Absent, Proven, Range, Series
from crypto_quant.reading.asked import ALWAYS, span_of
from crypto_quant.reading.database import Database
from crypto_quant.store.readout import Snapshot


class Proofs(NamedTuple):
    """What is proven of a series: rows with their source, within some bounds; and all that is rightly without a row."""

    proven: tuple[Proven, ...]
    void: tuple[Range, ...]
    absent: tuple[Absent, ...]


class Origin(Database):
    """A record that is exported."""

    def ends(self, series: Series) -> tuple[int, int] | None:
        """Return the times (ns) of the first and the last row of a series; None when it has none."""

        async def asked(snapshot: Snapshot) -> tuple[int, int] | None:
            if series.timeframe is not None:
                return await snapshot.candle_edges(series.venue, series.symbol, series.timeframe, ALWAYS)
            edges = await snapshot.edges(series.venue, series.symbol, ALWAYS)
            return None if edges is None else (edges[0].time_ns, edges[1].time_ns)

        with self._snapshot() as snapshot:
            return self._worker.run(asked(snapshot))

    def bounds(self, series: Series) -> tuple[int, int]:
        """Return the same of a series that has rows. Raises ConfigError that says what there is instead."""
        found = self.ends(series)
        if found is None:
            if series.timeframe is None:
                self.trade_batches(series.symbol, venue=series.venue).close()
            else:
                self.candle_batches(series.symbol, series.timeframe, venue=series.venue, source="stored").close()
            raise ConfigError("nothing is recorded of this series", subject=str(series))
        return found

    def proofs(self, series: Series, bounds: tuple[int, int] | tuple[None, None]) -> Proofs:
        """Return what is proven of a series now; of rows only what lies within ``bounds`` (ids or slots, inclusive)."""
        with self._snapshot() as snapshot:
            if series.timeframe is None:
                claims = self._worker.run(snapshot.claims(series.venue, series.symbol))
                absences = self._worker.run(snapshot.proofs_of_absence(series.venue, series.symbol))
            else:
                key = (series.venue, series.symbol, series.timeframe)
                claims = self._worker.run(snapshot.candle_claims(*key))
                absences = self._worker.run(snapshot.proofs_of_absence(*key))
        rows = [each for each in claims if each.source not in ("void", "absent")]
        low, high = bounds
        return Proofs(
            tuple(Proven(each.first, each.last, each.source) for each in rows
                  if low is not None and high is not None and each.first <= high and low <= each.last),
            tuple(Range(each.first, each.last) for each in claims if each.source == "void"),
            tuple(Absent(*each) for each in absences),
        )  # fmt: skip

    def pair(self, series: Series) -> tuple[str, str] | None:
        """Return base and quote asset of a series' symbol as the exchange had them; None: nobody recorded it."""
        with self._snapshot() as snapshot:
            return self._worker.run(snapshot.pair(series.venue, series.symbol))

    def scales(self, series: Series, start: datetime | None, end: datetime | None) -> tuple[int, int]:
        """Return how many decimals the prices and the quantities (volumes) of a range need; reads all of them."""
        with self._snapshot() as snapshot:
            return self._worker.run(snapshot.scales(series.venue, series.symbol, span_of(start, end), series.timeframe))
