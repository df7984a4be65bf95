"""freqtrade's feather files (Arrow IPC, lz4): one a pair for all days, floats for prices, as its data handler has them.

Checked against freqtrade 2026.9, ``freqtrade/data/history/datahandlers``: candles ``date, open, high, low, close,
volume``; trades ``timestamp, id, type, side, price, amount, cost``; names ``BTC_USDT-5m.feather`` and
``BTC_USDT-trades.feather``, of futures in a directory ``futures``.
"""

from collections.abc import Mapping
from datetime import date

import pyarrow as pa
import pyarrow.compute as pc

from crypto_quant.errors import ConfigError
from crypto_quant.lake.columns import nearest_floats, side
from crypto_quant.lake.disk import Draft
from crypto_quant.lake.form import Form, Writer, of_series
from crypto_quant.lake.pairs import Pair
from crypto_quant.manifest import Series

_CANDLES = pa.schema([
    ("date", pa.timestamp("ms", tz="UTC")),
    *((name, pa.float64()) for name in ("open", "high", "low", "close", "volume")),
])  # fmt: skip
_TRADES = pa.schema([
    ("timestamp", pa.int64()), ("id", pa.string()), ("type", pa.null()), ("side", pa.string()),
    ("price", pa.float64()), ("amount", pa.float64()), ("cost", pa.float64()),
])  # fmt: skip


class Freqtrade(Form):
    """A directory that freqtrade takes as ``--datadir``."""

    name = "freqtrade"
    whole = True
    paired = True

    def __init__(self, pairs: Mapping[str, Pair] | None = None) -> None:
        self._pairs = pairs or {}

    def with_pairs(self, pairs: Mapping[str, Pair]) -> "Freqtrade":
        """Return this format for these symbols."""
        return Freqtrade(pairs)

    def check(self, series: Series) -> None:
        """Raise ConfigError for a venue that freqtrade does not trade on."""
        super().check(series)
        if series.venue == "coinm":
            raise ConfigError("freqtrade has no coin-margined futures", subject=str(series))

    def folder(self, series: Series) -> str:
        """Return the directory itself, of futures the one below it."""
        return "futures" if series.venue == "usdm" else ""

    def manifest(self, series: Series) -> str:
        """Return a name of the series' own."""
        return of_series(series, self.name)

    def file(self, series: Series, day: date, ends_ns: tuple[int, int]) -> str:
        """Return the name by which freqtrade looks for the pair."""
        base, quote = self._pairs[series.symbol]
        futures = series.venue == "usdm"
        pair = f"{base}_{quote}_{quote}" if futures else f"{base}_{quote}"
        if series.timeframe is None:
            return f"{pair}-trades.feather"
        return f"{pair}-{series.timeframe.replace('M', 'Mo')}{'-futures' if futures else ''}.feather"

    def writer(self, draft: Draft, series: Series, settings: Mapping[str, str]) -> Writer:
        """Return who writes it."""
        return _Rows(draft, series)


class _Rows:
    def __init__(self, draft: Draft, series: Series) -> None:
        self._trades = series.timeframe is None
        self._schema = _TRADES if self._trades else _CANDLES
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        self._writer = pa.ipc.new_file(draft, self._schema, options=options)

    def write(self, batch: pa.RecordBatch) -> None:
        columns = _trades(batch) if self._trades else _candles(batch)
        self._writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=self._schema))

    def finish(self) -> None:
        self._writer.close()


def _candles(batch: pa.RecordBatch) -> list[pa.Array]:
    names = ("open", "high", "low", "close", "volume")
    return [
        batch.column("time").cast(pa.timestamp("ms", tz="UTC")), *(nearest_floats(batch.column(name)) for name in names)
    ]  # fmt: skip


def _trades(batch: pa.RecordBatch) -> list[pa.Array]:
    price, quantity = batch.column("price"), batch.column("quantity")
    return [
        batch.column("time").cast(pa.timestamp("ms", tz="UTC"), safe=False).cast(pa.int64()),
        batch.column("trade_id").cast(pa.string()),
        pa.nulls(batch.num_rows),
        side(batch),
        nearest_floats(price),
        nearest_floats(quantity),
        # what a trade has cost, exact to its sixteenth decimal, and rounded once
        nearest_floats(pc.multiply(price.cast(pa.decimal256(38, 8)), quantity.cast(pa.decimal256(37, 8)))),
    ]
