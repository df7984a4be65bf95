"""nautilus_trader's Parquet catalog, checked against 1.231: ``data/trade_tick/BTCUSDT.BINANCE/FROM_TO.parquet``.

Prices are its fixed-point numbers of 128 bits and 16 decimals (what its builds for Linux and macOS are made with): our
decimals, exactly. The precisions are the decimals that the exported rows need. ``ts_init`` is ``ts_event``: the time of
the trade; of a bar, its end.
"""

from collections.abc import Mapping
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from crypto_quant.errors import ConfigError
from crypto_quant.lake.columns import nanos
from crypto_quant.lake.disk import Draft
from crypto_quant.lake.form import Form, Writer, of_series, upper
from crypto_quant.lake.lake import ParquetRows
from crypto_quant.manifest import Series
from crypto_quant.market import Timeframe, utc_text

_FIXED = pa.binary(16)
_SCALE = 16
# its PRICE_MAX, which is the lower of the two
_MOST = 17_014_118_346_046
_TRADES = (
    ("price", _FIXED), ("size", _FIXED), ("aggressor_side", pa.uint8()), ("trade_id", pa.string()),
    ("ts_event", pa.uint64()), ("ts_init", pa.uint64()),
)  # fmt: skip
_BARS = (
    *((name, _FIXED) for name in ("open", "high", "low", "close", "volume")),
    ("ts_event", pa.uint64()), ("ts_init", pa.uint64()),
)  # fmt: skip
_BUYER, _SELLER = 1, 2
_UNITS = {"s": "SECOND", "m": "MINUTE", "h": "HOUR", "d": "DAY", "w": "WEEK", "M": "MONTH"}


class Nautilus(Form):
    """A directory that ``ParquetDataCatalog`` takes."""

    name = "nautilus"
    scaled = True

    def folder(self, series: Series) -> str:
        """Return the catalog's directory of the instrument, or of the kind of bar."""
        if series.timeframe is None:
            return f"data/trade_tick/{instrument(series)}"
        return f"data/bar/{bar_type(series)}"

    def manifest(self, series: Series) -> str:
        """Return a name that lies outside the directories whose files the catalog reads."""
        return f"../../../{of_series(series, self.name)}"

    def file(self, series: Series, day: date, ends_ns: tuple[int, int]) -> str:
        """Return the catalog's name: the ``ts_init`` of the first and the last row."""
        if series.timeframe is not None:
            frame = Timeframe(series.timeframe)
            ends_ns = frame.next_open_ns(ends_ns[0]), frame.next_open_ns(ends_ns[1])
        return "_".join(map(_stamp, ends_ns)) + ".parquet"

    def writer(self, draft: Draft, series: Series, settings: Mapping[str, str]) -> Writer:
        """Return who writes it."""
        return _Rows(draft, series, settings)


def instrument(series: Series) -> str:
    """Return nautilus' name of the instrument: ``BTCUSDT.BINANCE``, of a perpetual ``BTCUSDT-PERP.BINANCE``."""
    perpetual = "-PERP" if series.venue == "usdm" or series.symbol.endswith("_perp") else ""
    return f"{upper(series).removesuffix('_PERP')}{perpetual}.BINANCE"


def bar_type(series: Series) -> str:
    """Return nautilus' name of a kind of bar: ``BTCUSDT.BINANCE-5-MINUTE-LAST-EXTERNAL``."""
    assert series.timeframe is not None  # noqa: S101 - the caller has looked
    number, unit = series.timeframe[:-1], series.timeframe[-1]
    return f"{instrument(series)}-{number}-{_UNITS[unit]}-LAST-EXTERNAL"


def _stamp(time_ns: int) -> str:
    second = utc_text(time_ns // 1_000_000_000 * 1_000_000_000)
    return f"{second[:-1].replace(':', '-')}-{time_ns % 1_000_000_000:09d}Z"


class _Rows:
    def __init__(self, draft: Draft, series: Series, settings: Mapping[str, str]) -> None:
        self._frame = None if series.timeframe is None else Timeframe(series.timeframe)
        about = {"instrument_id": instrument(series), **settings}
        if self._frame is not None:
            about["bar_type"] = bar_type(series)
        fields = _TRADES if self._frame is None else _BARS
        self._schema = pa.schema([pa.field(*each, nullable=False) for each in fields], metadata=about)
        self._parquet = ParquetRows(draft, schema=self._schema)

    def write(self, batch: pa.RecordBatch) -> None:
        columns = self._trades(batch) if self._frame is None else self._bars(batch, self._frame)
        self._parquet.write(pa.RecordBatch.from_arrays(columns, schema=self._schema))

    def finish(self) -> None:
        self._parquet.finish()

    def _trades(self, batch: pa.RecordBatch) -> list[Any]:
        times = pa.array(nanos(batch.column("time")).astype(np.uint64))
        return [
            fixed(batch.column("price")),
            fixed(batch.column("quantity")),
            pc.if_else(batch.column("is_buyer_maker"), _SELLER, _BUYER).cast(pa.uint8()),
            batch.column("trade_id").cast(pa.string()),
            times,
            times,
        ]

    def _bars(self, batch: pa.RecordBatch, frame: Timeframe) -> list[Any]:
        ends = pa.array([frame.next_open_ns(opens) for opens in nanos(batch.column("time")).tolist()], pa.uint64())
        return [*(fixed(batch.column(name)) for name in ("open", "high", "low", "close", "volume")), ends, ends]


def fixed(column: pa.Array) -> pa.Array:
    """Return decimals as nautilus' fixed-point numbers. Raises ConfigError for one beyond what they hold."""
    most = pc.max(column).as_py()
    if most is not None and most > _MOST:
        raise ConfigError(
            "nautilus_trader has no numbers that large",
            subject=f"{most:f}, of at most {_MOST}",
            hint="Export another timeframe, or another format",
        )
    wide = column.cast(pa.decimal128(38, _SCALE))
    return pa.FixedSizeBinaryArray.from_buffers(_FIXED, len(wide), [None, wide.buffers()[1]], offset=wide.offset)
