"""Tardis' CSV of trades (https://docs.tardis.dev/downloadable-csv-files): what nautilus and hftbacktest read too.

``exchange,symbol,timestamp,local_timestamp,id,side,price,amount``, times in µs, a gzipped file a day.
"""

from collections.abc import Mapping
from datetime import date

import pyarrow as pa

from crypto_quant.lake.columns import Hearing, micros, shortest_text, side
from crypto_quant.lake.disk import Draft
from crypto_quant.lake.form import Form, Writer, of_series, upper
from crypto_quant.lake.lake import CsvRows
from crypto_quant.manifest import Series

# Tardis' names of the venues
EXCHANGES = {"spot": "binance", "usdm": "binance-futures", "coinm": "binance-delivery"}


class Tardis(Form):
    """``binance_trades_2026-10-01_BTCUSDT.csv.gz``, as Tardis' own client names what it downloads."""

    name = "tardis-csv"
    kinds = frozenset({"trades"})

    def folder(self, series: Series) -> str:
        """Return the directory itself."""
        return ""

    def manifest(self, series: Series) -> str:
        """Return a name of the series' own."""
        return of_series(series, self.name)

    def file(self, series: Series, day: date, ends_ns: tuple[int, int]) -> str:
        """Return the name that Tardis' client would give it."""
        return f"{EXCHANGES[series.venue]}_trades_{day.isoformat()}_{upper(series)}.csv.gz"

    def writer(self, draft: Draft, series: Series, settings: Mapping[str, str]) -> Writer:
        """Return who writes it."""
        return _Rows(draft, series)


class _Rows:
    def __init__(self, draft: Draft, series: Series) -> None:
        self._csv = CsvRows(draft)
        self._head = EXCHANGES[series.venue], upper(series)
        self._hearing = Hearing()

    def write(self, batch: pa.RecordBatch) -> None:
        exchange, symbol = (pa.repeat(text, batch.num_rows) for text in self._head)
        self._csv.write(
            pa.RecordBatch.from_pydict({
                "exchange": exchange,
                "symbol": symbol,
                "timestamp": pa.array(micros(batch.column("time"))),
                "local_timestamp": pa.array(self._hearing.micros(batch)),
                "id": batch.column("trade_id"),
                "side": side(batch),
                "price": shortest_text(batch.column("price")),
                "amount": shortest_text(batch.column("quantity")),
            })
        )  # fmt: skip

    def finish(self) -> None:
        self._csv.finish()
