"""The database of a world: slow, failing, away, losing its answers; what is committed survives every crash."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from random import Random

from crypto_quant.errors import StoreDenied, StoreRejected, StoreUnavailable
from crypto_quant.flow.intake import Known
from crypto_quant.market import Timeframe
from crypto_quant.seams import COLUMNS, Batch, Covered, KnownSlots, PoolUse, Receipt, Source, Table
from crypto_quant.sim.world.exchange import Exchange

Row = dict[str, str]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Database:
    """The tables, and the server's health. ``on_commit`` hears of every row that becomes visible."""

    def __init__(self, exchange: Exchange, on_commit: Callable[[Table, Row], None]) -> None:
        self.exchange = exchange
        self.loop = exchange.loop
        self.dice = Random(f"database {exchange.plan.seed}")  # noqa: S311
        self.away_until_s = 0.0
        self.denied_until_s = 0.0
        self.rows: dict[Table, list[Row]] = {table: [] for table in Table}
        self.ids: dict[str, set[int]] = {}
        self.refused: dict[str, set[int]] = {}
        # symbol -> ids that are claimed to be stored, and ids that are claimed to be nowhere
        self.covered: dict[str, set[int]] = {}
        self.absent: dict[str, set[int]] = {}
        # the same of candles, (symbol, timeframe) -> slots
        self.slots: dict[tuple[str, str], set[int]] = {}
        self.absent_slots: dict[tuple[str, str], set[int]] = {}
        self.keys: dict[tuple[str, ...], Row] = {}
        self._trades: dict[tuple[str, str], Row] = {}
        self._on_commit = on_commit
        # hears of every range (both inclusive) that is said to be nowhere, with the proof
        self.on_absence: Callable[[str, int, int, str], None] = lambda *_: None

    def known(self, symbol: str) -> Known:
        """Return what is covered of a symbol, as a recorder reads it when it starts."""
        return Known(ranges(self.covered.get(symbol, ())), ranges(self.absent.get(symbol, ())))

    def open(self, process: str) -> "WorldSink":
        """Return the sink of a process."""
        return WorldSink(self, process)

    def health(self) -> None:
        """Raise what a statement would raise now."""
        now_s = self.loop.time()
        if now_s < self.away_until_s:
            raise StoreUnavailable("the database is away")
        if now_s < self.denied_until_s:
            raise StoreDenied("permission denied for table trades")

    def refuses(self, row: Row) -> bool:
        """Tell whether a row is one that this server never takes; it depends on the row alone."""
        rate = self.exchange.plan.rates.row_refused
        if not rate or "trade_id" not in row:
            return False
        number = int(row["trade_id"])
        hit = Random(f"{self.exchange.plan.seed} {row['symbol']} {number}").random() < rate  # noqa: S311
        if hit:
            self.refused.setdefault(row["symbol"], set()).add(number)
        return hit

    def commit(self, batch: Batch) -> Receipt:
        """Store a batch, whole; return what became of it. Raises StoreRejected and stores nothing."""
        rows = [parse(batch.table, line) for line in batch.rows]
        refused = [row for row in rows if self.refuses(row)]
        if refused:
            raise StoreRejected("a row is refused", subject=batch.table.value)
        written = 0
        repeated: list[int] = []
        conflicting: list[int] = []
        proven: set[tuple[str, str]] = set()
        for place, row in enumerate(rows):
            key = self.key(batch.table, row)
            trade = (row["symbol"], row.get("trade_id", ""))
            if key in self.keys:
                if self.differs(row, self.keys[key]):
                    conflicting.append(place)
                else:
                    repeated.append(place)
                continue
            # the unique key holds the time: that an id is stored under another one is known by its coverage
            if trade in self._trades and (trade in proven or int(trade[1]) in self.covered.get(trade[0], ())):
                conflicting.append(place)
                continue
            self.keys[key] = row
            written += 1
            self.rows[batch.table].append(row)
            if batch.table is Table.TRADES:
                self._trades[trade] = row
                if batch.covered:
                    proven.add(trade)
                self.ids.setdefault(row["symbol"], set()).add(int(row["trade_id"]))
            self._on_commit(batch.table, row)
        for claim in batch.covered:
            if claim.timeframe is None:
                claimed = self.covered.setdefault(claim.symbol, set())
            else:
                claimed = self.slots.setdefault((claim.symbol, claim.timeframe), set())
            claimed.update(range(claim.first, claim.last + 1))
        duplicates = len(rows) - written - len(conflicting)
        return Receipt(written, duplicates, tuple(conflicting), repeated if batch.table is Table.CANDLES else ())

    def versions(self, symbol: str, trade_id: str) -> list[Row]:
        """Return what is stored of an id."""
        held = self._trades.get((symbol, trade_id))
        return [] if held is None else [held]

    def load(self, table: Table, line: bytes) -> bool:
        """Store a row by hand; tell whether it is stored now. One that is refused or contradicts stays in its file."""
        row = parse(table, line)
        held = self._trades.get((row["symbol"], row.get("trade_id", "")))
        if held is not None:
            return not self.differs(row, held)
        covered = []
        if table is Table.TRADES:
            number = int(row["trade_id"])
            covered = [Covered(row["venue"], row["symbol"], number, number, Source.STREAM)]
        try:
            self.commit(Batch(table, [line], covered))
        except StoreRejected:
            return False
        return True

    def differs(self, row: Row, held: Row) -> bool:
        """Tell whether two trades of one key have different contents."""
        return "trade_id" in row and any(row[name] != held[name] for name in row if name != "received_at")

    def key(self, table: Table, row: Row) -> tuple[str, ...]:
        """Return what makes a row unique, as the schema says."""
        if table is Table.TRADES:
            return table.value, row["time"], row["symbol"], row["trade_id"], row["venue"]
        return table.value, row["venue"], row["symbol"], row["timeframe"], row["time"]


class WorldSink:
    """``Sink`` of one process."""

    def __init__(self, database: Database, process: str) -> None:
        self._database = database
        self._process = process
        self._busy = 0
        self._closed = False

    async def write(self, batch: Batch) -> Receipt:
        """Store the batch once, if the server feels like it."""
        database = self._database
        rates, chance, dice = database.exchange.plan.rates, database.exchange.chance, database.dice
        told = f"{len(batch.rows)} {batch.table}"
        trace = database.exchange.trace
        if self._closed:
            raise StoreUnavailable("the sink is closed")
        self._busy += 1
        try:
            await asyncio.sleep(dice.uniform(0.0005, 0.005))
            if chance(rates.write_slow):
                await asyncio.sleep(dice.uniform(0.05, 6.0))
            database.health()
            if chance(rates.write_fails):
                trace("database", f"fails before the commit of {told} of {self._process}")
                raise StoreUnavailable("the connection was lost")
            receipt = database.commit(batch)
            lost = chance(rates.answer_lost)
            trace("database", f"committed {told} of {self._process}: {receipt}{', answer lost' if lost else ''}")
            # killed from here on, a recorder does not know what is stored
            await asyncio.sleep(dice.uniform(0.0005, 0.005))
            if lost:
                raise StoreUnavailable("the connection was lost while committing")
            return receipt
        finally:
            self._busy -= 1

    def pool_use(self) -> PoolUse:
        """Return how many writes are under way."""
        return PoolUse(4, 4, self._busy)

    async def close(self) -> None:
        """Close."""
        self._closed = True
        await asyncio.sleep(0.001)


class WorldLedger:
    """``Ledger`` of every process."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def covered(self, venue: str, symbol: str, first: int, last: int) -> Sequence[tuple[int, int]]:
        """Return what is claimed between two ids, both inclusive."""
        await asyncio.sleep(0.001)
        self._database.health()
        claimed = self._database.covered.get(symbol, set()) | self._database.absent.get(symbol, set())
        return ranges(number for number in claimed if first <= number <= last)

    async def stored(self, venue: str, symbol: str, first: int, last: int) -> Sequence[tuple[int, int]]:
        """Return the ids from ``first`` to ``last`` that are stored, as inclusive ranges."""
        await asyncio.sleep(0.001)
        self._database.health()
        claimed = self._database.covered.get(symbol, set())
        return ranges(number for number in claimed if first <= number <= last)

    async def record_absence(self, venue: str, symbol: str, first: int, last: int, proof: str) -> None:
        """Claim that no source has these ids, unless some of them have come meanwhile."""
        await asyncio.sleep(0.001)
        self._database.health()
        ids = set(range(first, last + 1))
        if not ids & self._database.covered.get(symbol, set()):
            self._database.absent.setdefault(symbol, set()).update(ids)
            self._database.on_absence(symbol, first, last, proof)

    async def held_slots(
        self, venue: str, symbol: str, timeframe: Timeframe, first_ns: int, end_ns: int
    ) -> Sequence[tuple[int, int]]:
        """No running recorder asks this."""
        raise NotImplementedError

    async def dropped(
        self, venue: str, symbol: str, timeframe: str | None, first: int, last: int
    ) -> Sequence[tuple[int, int]]:
        """Nobody drops anything here."""
        return ()

    async def candle_opens(self, venue: str, symbol: str, timeframe: str, first_ns: int, last_ns: int) -> Sequence[int]:
        """Return the open times (ns) of the candles stored between two times, both inclusive."""
        await asyncio.sleep(0.001)
        self._database.health()
        rows = self._database.rows[Table.CANDLES]
        opens = [
            microseconds(row["time"]) * 1000 for row in rows if (row["symbol"], row["timeframe"]) == (symbol, timeframe)
        ]
        return [open_ns for open_ns in opens if first_ns <= open_ns <= last_ns]

    async def server(self) -> str:
        """Name the one server that there is."""
        await asyncio.sleep(0.001)
        self._database.health()
        return "the server"

    async def known_slots(
        self, venue: str, since_ns: Mapping[tuple[str, Timeframe], int]
    ) -> dict[tuple[str, Timeframe], KnownSlots]:
        """Return what is claimed of each series that has a candle."""
        await asyncio.sleep(0.001)
        database = self._database
        database.health()
        return {
            key: KnownSlots(ranges(database.slots[name]), ranges(database.absent_slots.get(name, ())))
            for key in since_ns
            if (name := (key[0], key[1].value)) in database.slots
        }

    async def record_absent_slots(
        self, venue: str, symbol: str, timeframe: str, ranges: Sequence[tuple[int, int]], proof: str
    ) -> None:
        """Claim that no source has these candles."""
        await asyncio.sleep(0.001)
        self._database.health()
        claimed = self._database.absent_slots.setdefault((symbol, timeframe), set())
        for first, last in ranges:
            claimed.update(range(first, last + 1))


def microseconds(text: str) -> int:
    """Return the µs since the epoch of a timestamp's text, ``2026-10-01 12:00:00.000000+00``."""
    return (datetime.strptime(text + "00", "%Y-%m-%d %H:%M:%S.%f%z") - _EPOCH) // timedelta(microseconds=1)


def ranges(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """Return numbers as inclusive ranges, lowest first."""
    found: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if found and found[-1][1] == number - 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return found


def parse(table: Table, line: bytes) -> Row:
    r"""Return the columns of one line of COPY text, as PostgreSQL reads it. Raises StoreRejected."""
    names = COLUMNS[table]
    text = line.decode()
    if not text.endswith("\n") or text.count("\n") != 1:
        raise StoreRejected("not one line", subject=table.value)
    values = text[:-1].split("\t")
    if len(values) != len(names):
        raise StoreRejected("extra data or missing data", subject=table.value)
    return dict(zip(names, values, strict=True))
