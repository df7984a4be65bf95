"""Stand-ins for the outer world that keep its promises: they pass the same contract suites."""

import re
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal, InvalidOperation
from itertools import pairwise

from crypto_quant.continuity import RangeSet
from crypto_quant.errors import StoreRejected, StoreUnavailable
from crypto_quant.seams import COLUMNS, Batch, PoolUse, Receipt, Table

KEYS = {
    Table.TRADES: ("time", "symbol", "trade_id", "venue"),
    Table.CANDLES: ("venue", "symbol", "timeframe", "time"),
}
_NUMERIC = {
    "price": 12, "quantity": 12, "open": 12, "high": 12, "low": 12, "close": 12,
    "volume": 30, "quote_volume": 30, "taker_buy_volume": 30, "taker_buy_quote_volume": 30,
}  # fmt: skip
# the default context has 28 digits, NUMERIC(38,8) holds more
_EXACT = Context(prec=60)
_NULLABLE = {
    Table.TRADES: {"received_at"},
    Table.CANDLES: {
        "quote_volume", "trade_count", "taker_buy_volume", "taker_buy_quote_volume", "first_trade_id", "last_trade_id",
    },
}  # fmt: skip


class MemorySink:
    """A ``seams.Sink`` in memory that refuses what the database would refuse.

    ``rows`` holds what is stored, ``coverage`` the ids proven by (venue, symbol), ``slots`` the candles proven by
    (venue, symbol, timeframe).
    ``failures`` are raised by the next writes, one each, before anything is stored.
    """

    def __init__(self) -> None:
        self.rows: dict[Table, dict[tuple[object, ...], dict[str, object]]] = {table: {} for table in Table}
        self.coverage: dict[tuple[str, str], RangeSet] = {}
        self.slots: dict[tuple[str, str, str], RangeSet] = {}
        self.failures: list[Exception] = []
        self.writes = 0
        self.closed = False

    async def write(self, batch: Batch) -> Receipt:
        if self.closed:
            raise StoreUnavailable("writing after the store was closed", subject=batch.table)
        self.writes += 1
        if self.failures:
            raise self.failures.pop(0)
        parsed = [_parse(batch.table, row) for row in batch.rows]
        table = self.rows[batch.table]
        written = 0
        repeated: list[int] = []
        conflicting: list[int] = []
        told: dict[tuple[object, ...], object] = {}
        ids = sorted((each.venue, each.symbol, each.first, each.last) for each in batch.covered)
        if batch.table is Table.TRADES and any(a[:2] == b[:2] and b[2] <= a[3] for a, b in pairwise(ids)):
            # an id is told twice: what the first row of it proves counts for the second
            for values in parsed:
                told.setdefault((values["venue"], values["symbol"], values["trade_id"]), values["time"])
        for place, values in enumerate(parsed):
            key = tuple(values[column] for column in KEYS[batch.table])
            held = table.get(key)
            first = told.get((values.get("venue"), values.get("symbol"), values.get("trade_id")), values["time"])
            if batch.table is Table.TRADES and (
                self._conflicts(values, held) or (held is None and first != values["time"])
            ):
                conflicting.append(place)
            elif held is None:
                table[key] = values
                written += 1
            else:
                repeated.append(place)
        for each in batch.covered:
            if each.timeframe is None:
                proven = self.coverage.setdefault((each.venue, each.symbol), RangeSet())
            else:
                proven = self.slots.setdefault((each.venue, each.symbol, each.timeframe), RangeSet())
            proven.add(each.first, each.last)
        places = tuple(repeated) if batch.table is Table.CANDLES else ()
        return Receipt(written, len(repeated), tuple(conflicting), places)

    def _conflicts(self, values: dict[str, object], held: dict[str, object] | None) -> bool:
        if held is not None:
            return any(values[column] != held[column] for column in values if column != "received_at")
        # the id is proven to be stored, and is: a day around it, under another time
        trade_id, time = values["trade_id"], values["time"]
        if trade_id not in self.coverage.get((str(values["venue"]), str(values["symbol"])), RangeSet()):
            return False
        same = [row["time"] for row in self.rows[Table.TRADES].values()
                if all(row[column] == values[column] for column in ("venue", "symbol", "trade_id"))]  # fmt: skip
        return any(abs(other - time) <= timedelta(days=1) for other in same)

    def pool_use(self) -> PoolUse:
        return PoolUse(limit=1, open=0 if self.closed else 1, busy=0)

    async def close(self) -> None:
        self.closed = True


def _parse(table: Table, row: bytes) -> dict[str, object]:
    try:
        text = row.decode()
    except UnicodeDecodeError as error:
        raise StoreRejected("invalid byte sequence", subject=table) from error
    if not text.endswith("\n") or "\n" in text[:-1] or "\0" in text:
        raise StoreRejected("a row is not one line of text", subject=table)
    fields = text[:-1].split("\t")
    if len(fields) != len(COLUMNS[table]):
        raise StoreRejected("wrong number of columns", subject=table)
    return {column: _value(table, column, field) for column, field in zip(COLUMNS[table], fields, strict=True)}


def _value(table: Table, column: str, field: str) -> object:
    if field == r"\N":
        if column not in _NULLABLE[table]:
            raise StoreRejected(f"null value in column {column}", subject=table)
        return None
    try:
        if column in _NUMERIC:
            number = _EXACT.quantize(Decimal(field), Decimal("1e-8"))
            if number.is_finite() and abs(number) >= Decimal(10) ** _NUMERIC[column]:
                raise StoreRejected("numeric field overflow", subject=f"{table}, {column}")
            return number
        if column in ("time", "received_at"):
            return datetime.fromisoformat(field).astimezone(UTC)
        if column.endswith("_id") or column == "trade_count":
            number_id = int(field)
            if not -(2**63) <= number_id < 2**63:
                raise StoreRejected("out of range for type bigint", subject=f"{table}, {column}")
            return number_id
        if column == "is_buyer_maker":
            return {"t": True, "f": False}[field]
    except (ValueError, KeyError, InvalidOperation) as error:
        raise StoreRejected("invalid input syntax", subject=f"{table}, {column}") from error
    return re.sub(r"\\(.)", lambda match: {"t": "\t", "n": "\n"}.get(match[1], match[1]), field)
