"""The lake: Parquet, or CSV, partitioned ``venue=/kind=/symbol=/date=`` as DuckDB, polars and Spark read it.

Decimals are exact (decimal128), times are UTC in microseconds, order is that of time and id. The columns are those of
the tables; venue and symbol stand in the path.
"""

import gzip
from collections.abc import Mapping
from datetime import date
from typing import ClassVar
from urllib.parse import quote

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from crypto_quant.lake.columns import plain_text
from crypto_quant.lake.disk import Draft
from crypto_quant.lake.form import Form, Writer, frame_name
from crypto_quant.manifest import APART, NAME, Series

# so many rows are one row group: what a reader skips or takes at once, and what a writer holds in memory
ROW_GROUP = 262_144
_ZSTD_LEVEL = 3
_GZIP_LEVEL = 3


class _Partitioned(Form):
    """A file a day, under the names that partition it."""

    suffix: ClassVar[str]

    def folder(self, series: Series) -> str:
        """Return ``venue=spot/kind=trades/symbol=btcusdt``; of candles the timeframe is part of the kind."""
        kind = "trades" if series.timeframe is None else f"candles_{frame_name(series.timeframe)}"
        return f"venue={series.venue}/kind={kind}/symbol={quote(series.symbol, safe='')}"

    def manifest(self, series: Series) -> str:
        """Return a name that lies apart from the data, which others read as a directory."""
        folder = self.folder(series)
        up = "../" * (folder.count("/") + 1)
        return f"{up}{APART}/{folder}/{NAME}"

    def file(self, series: Series, day: date, ends_ns: tuple[int, int]) -> str:
        """Return ``date=2026-10-01/trades.parquet``."""
        return f"date={day.isoformat()}/{series.kind}{self.suffix}"


class Parquet(_Partitioned):
    """The format that can be imported again."""

    name = "parquet"
    suffix = ".parquet"

    def writer(self, draft: Draft, series: Series, settings: Mapping[str, str]) -> Writer:
        """Return who writes zstd and whole row groups."""
        return ParquetRows(draft)


class ParquetRows:
    """Writes record batches as they come, gathered to row groups of ``ROW_GROUP``."""

    def __init__(self, draft: Draft, *, schema: pa.Schema | None = None, compression: str = "zstd") -> None:
        self._draft = draft
        self._compression = compression
        self._schema = schema
        self._writer: pq.ParquetWriter | None = None
        self._waiting: list[pa.RecordBatch] = []
        self._rows = 0

    def write(self, batch: pa.RecordBatch) -> None:
        """Write some more rows."""
        self._waiting.append(batch)
        self._rows += batch.num_rows
        if self._rows >= ROW_GROUP:
            self._put()

    def finish(self) -> None:
        """Write what is left, and the footer."""
        if self._waiting:
            self._put()
        if self._writer is not None:
            self._writer.close()

    def _put(self) -> None:
        table = pa.Table.from_batches(self._waiting)
        self._waiting, self._rows = [], 0
        if self._writer is None:
            schema = self._schema or table.schema
            # ids and times rise slowly: their differences take a fraction of the room
            rising = [each.name for each in schema if pa.types.is_int64(each.type) or pa.types.is_timestamp(each.type)]
            self._writer = pq.ParquetWriter(
                self._draft,
                schema,
                compression=self._compression,
                compression_level=_ZSTD_LEVEL if self._compression == "zstd" else None,
                use_dictionary=[each.name for each in schema if each.name not in rising],
                column_encoding=dict.fromkeys(rising, "DELTA_BINARY_PACKED"),
            )
        self._writer.write_table(table, row_group_size=len(table))


def encoded(table: pa.Table) -> memoryview:
    """Return a table as one Parquet file."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", compression_level=_ZSTD_LEVEL, row_group_size=ROW_GROUP)
    return memoryview(sink.getvalue())


class Csv(_Partitioned):
    """The same rows and names as CSV, gzipped; exact decimals as text."""

    name = "csv"
    suffix = ".csv.gz"

    def writer(self, draft: Draft, series: Series, settings: Mapping[str, str]) -> Writer:
        """Return who writes it."""
        return CsvRows(draft)


class CsvRows:
    """Writes record batches as gzipped CSV with a line of names; the same rows make the same file."""

    def __init__(self, draft: Draft) -> None:
        self._zip = gzip.GzipFile(filename="", mode="wb", compresslevel=_GZIP_LEVEL, fileobj=draft, mtime=0)
        self._writer: pa_csv.CSVWriter | None = None

    def write(self, batch: pa.RecordBatch) -> None:
        """Write some more rows."""
        columns = [plain_text(each) if pa.types.is_decimal(each.type) else each for each in batch.columns]
        batch = pa.RecordBatch.from_arrays(columns, names=batch.schema.names)
        if self._writer is None:
            # numbers, times and names of symbols need no quotes; should one of them, it is an error
            options = pa_csv.WriteOptions(quoting_style="none", quoting_header="none")
            self._writer = pa_csv.CSVWriter(self._zip, batch.schema, write_options=options)
        self._writer.write_batch(batch)

    def finish(self) -> None:
        """Write what is left."""
        if self._writer is not None:
            self._writer.close()
        self._zip.close()
