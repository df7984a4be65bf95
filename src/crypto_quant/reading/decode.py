"""Blocks of COPY text into Arrow record batches: decimals stay exact, times are UTC in microseconds."""

from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa
import pyarrow.csv as pa_csv

from crypto_quant.errors import ConfigError

PRICE = pa.decimal128(20, 8)
VOLUME = pa.decimal128(38, 8)
TIME = pa.timestamp("us", tz="UTC")

TRADES = pa.schema([
    pa.field("time", TIME, nullable=False),
    pa.field("trade_id", pa.int64(), nullable=False),
    pa.field("price", PRICE, nullable=False),
    pa.field("quantity", PRICE, nullable=False),
    pa.field("first_trade_id", pa.int64(), nullable=False),
    pa.field("last_trade_id", pa.int64(), nullable=False),
    pa.field("is_buyer_maker", pa.bool_(), nullable=False),
    pa.field("received_at", TIME),
])  # fmt: skip
CANDLES = pa.schema([
    pa.field("time", TIME, nullable=False),
    *(pa.field(name, PRICE, nullable=False) for name in ("open", "high", "low", "close")),
    pa.field("volume", VOLUME, nullable=False),
    pa.field("quote_volume", VOLUME),
    pa.field("trade_count", pa.int64()),
    pa.field("taker_buy_volume", VOLUME),
    pa.field("taker_buy_quote_volume", VOLUME),
    pa.field("first_trade_id", pa.int64()),
    pa.field("last_trade_id", pa.int64()),
])  # fmt: skip


def chosen(schema: pa.Schema, columns: Sequence[str] | None, **about: str) -> pa.Schema:
    """Return the fields of these columns (None: of all), in their order, with what they are about as metadata.

    Raises ConfigError for a column that there is not.
    """
    names = schema.names if columns is None else list(dict.fromkeys(columns))
    for name in names:
        if name not in schema.names:
            raise ConfigError("unknown column", subject=repr(name), hint=f"There are: {', '.join(schema.names)}")
    return pa.schema([schema.field(name) for name in names], metadata=about)


def picked(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Return those columns of a batch that ``schema`` has, as it has them."""
    return pa.RecordBatch.from_arrays([batch.column(name) for name in schema.names], schema=schema)


def from_csv(blocks: Iterable[bytearray], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Yield the rows of COPY's CSV, a batch or so a block; a block may end within a row."""
    parse = pa_csv.ParseOptions(newlines_in_values=any(pa.types.is_string(each) for each in schema.types))
    convert = pa_csv.ConvertOptions(
        column_types={field.name: field.type for field in schema},
        null_values=[""], true_values=["t"], false_values=["f"],
        strings_can_be_null=True, quoted_strings_can_be_null=False,
    )  # fmt: skip
    rest = bytearray()
    for block in blocks:
        rest += block
        cut = _whole_rows(rest)
        if cut:
            read = pa_csv.ReadOptions(column_names=schema.names, use_threads=False, block_size=cut + 1)
            with memoryview(rest) as whole:
                data = pa.py_buffer(bytes(whole[:cut]))
            del rest[:cut]
            table = pa_csv.read_csv(data, read_options=read, parse_options=parse, convert_options=convert)
            for batch in table.combine_chunks().to_batches():
                yield pa.RecordBatch.from_arrays(batch.columns, schema=schema)
    assert not rest, "COPY ends its last row"  # noqa: S101


def _whole_rows(data: bytearray) -> int:
    """Return where the last whole row ends: at a line's end that no quotes enclose (a quote within them is two)."""
    end = data.rfind(b"\n") + 1
    while end and data.count(b'"', 0, end) % 2:
        end = data.rfind(b"\n", 0, end - 1) + 1
    return end
