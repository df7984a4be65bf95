"""Record batches as the rows that a sink takes: lines of COPY text, made column by column."""

import pyarrow as pa
import pyarrow.compute as pc

from crypto_quant.lake.columns import plain_text
from crypto_quant.manifest import Series
from crypto_quant.rows import copy_escape
from crypto_quant.seams import COLUMNS, Lines, Table


def table_of(series: Series) -> Table:
    """Return the table that a series' rows go to."""
    return Table.TRADES if series.timeframe is None else Table.CANDLES


def lines(batch: pa.RecordBatch, series: Series) -> Lines:
    """Return a batch's rows as COPY text, columns as ``seams.COLUMNS`` names them."""
    given = {"venue": series.venue, "symbol": copy_escape(series.symbol), "timeframe": series.timeframe}
    columns = [given.get(name) or _text(batch.column(name)) for name in COLUMNS[table_of(series)]]
    joined = pc.binary_join_element_wise(*columns, "\t")
    # one text of all rows: each has its newline, but for the last
    whole = pc.binary_join(pa.ListArray.from_arrays(pa.array([0, len(joined)], pa.int32()), joined), "\n")
    return Lines([whole[0].as_buffer().to_pybytes() + b"\n"], batch.num_rows)


def _text(column: pa.Array) -> pa.Array:
    if pa.types.is_decimal(column.type):
        text = plain_text(column)
    elif pa.types.is_boolean(column.type):
        text = pc.if_else(column, "t", "f")
    else:
        text = column.cast(pa.string())
    return text.fill_null("\\N") if text.null_count else text
