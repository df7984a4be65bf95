"""hftbacktest's events: an ``.npz`` a day that holds one array ``data``, checked against hftbacktest 2.4.4.

A row is a trade that both the exchange's side and the local side are told of, by the time of the trade and by the time
of its hearing (``columns.Hearing``), in ns. Prices and quantities are floats, for the tool has nothing else.
"""

import shutil
import tempfile
import zipfile
from collections.abc import Mapping
from datetime import date

import numpy as np
import numpy.lib.format as npy
import pyarrow as pa

from crypto_quant.lake.columns import Hearing, micros, nearest_floats
from crypto_quant.lake.disk import Draft
from crypto_quant.lake.form import Form, Writer, of_series, upper
from crypto_quant.manifest import Series

# hftbacktest/types.py
EVENT = np.dtype([
    ("ev", "u8"), ("exch_ts", "i8"), ("local_ts", "i8"), ("px", "f8"), ("qty", "f8"), ("order_id", "u8"),
    ("ival", "i8"), ("fval", "f8"),
])  # fmt: skip
_TRADE = 2
_SELL, _BUY, _LOCAL, _EXCHANGE = (1 << bit for bit in (28, 29, 30, 31))
_US_NS = 1000


class Hftbacktest(Form):
    """``btcusdt_20261001.npz``."""

    name = "hftbacktest"
    kinds = frozenset({"trades"})

    def folder(self, series: Series) -> str:
        """Return the directory of the venue, for symbols are the same on several."""
        return series.venue

    def manifest(self, series: Series) -> str:
        """Return a name of the series' own."""
        return of_series(series, self.name)

    def file(self, series: Series, day: date, ends_ns: tuple[int, int]) -> str:
        """Return the symbol and the day."""
        return f"{upper(series).lower()}_{day:%Y%m%d}.npz"

    def writer(self, draft: Draft, series: Series, settings: Mapping[str, str]) -> Writer:
        """Return who writes it."""
        return _Rows(draft)


class _Rows:
    """Rows wait on disk for their number, which stands at the head of such an array."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._rows = 0
        self._hearing = Hearing()
        self._waiting = tempfile.TemporaryFile(dir=draft.path.parent)  # noqa: SIM115 - closed by finish, or with us

    def write(self, batch: pa.RecordBatch) -> None:
        events = np.zeros(batch.num_rows, EVENT)
        taker_sold = batch.column("is_buyer_maker").to_numpy(zero_copy_only=False)
        events["ev"] = np.where(taker_sold, _SELL, _BUY) | _EXCHANGE | _LOCAL | _TRADE
        events["exch_ts"] = micros(batch.column("time")) * _US_NS
        events["local_ts"] = self._hearing.micros(batch) * _US_NS
        events["px"] = nearest_floats(batch.column("price")).to_numpy()
        events["qty"] = nearest_floats(batch.column("quantity")).to_numpy()
        self._waiting.write(events.tobytes())
        self._rows += len(events)

    def finish(self) -> None:
        entry = zipfile.ZipInfo("data.npy")  # of a fixed time, so that the same rows make the same file
        entry.compress_type = zipfile.ZIP_DEFLATED
        with (
            self._waiting,
            zipfile.ZipFile(self._draft, "w") as packed,
            packed.open(entry, "w", force_zip64=True) as data,
        ):
            head = {"descr": npy.dtype_to_descr(EVENT), "fortran_order": False, "shape": (self._rows,)}
            npy.write_array_header_1_0(data, head)
            self._waiting.seek(0)
            shutil.copyfileobj(self._waiting, data, 1 << 20)
