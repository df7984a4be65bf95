"""What must be true of a world at every moment, and what must be true once it has come to rest."""

from collections.abc import Iterator

from crypto_quant.market import fold_symbol, wire_symbol
from crypto_quant.seams import COLUMNS, Table
from crypto_quant.sim.intervals import LENGTHS_US
from crypto_quant.sim.numbers import parse8
from crypto_quant.sim.world.broken import Broken
from crypto_quant.sim.world.database import Database, Row, microseconds, parse
from crypto_quant.sim.world.disk import Disk
from crypto_quant.sim.world.exchange import Exchange
from crypto_quant.sim.world.network import READ_FRAMES, Network
from crypto_quant.sim.world.recorder import Life
from crypto_quant.sim.world.versions import is_row_of

# pressure is looked at every 20 ms, a socket hands over READ_FRAMES every 10 ms, and each link may have an heir
_READ_MEANWHILE = 3 * READ_FRAMES
# candles of each series that REST was asked for before the pressure
_FETCHED_MEANWHILE = 60
# candles are owed this long after their end: grace, settling, a request that failed a few times
_LATEST_US = 10_000_000


# a silent stream is found out within so much time and so many trades of its own
SILENCE_S = 300.0
SILENCE_TRADES = 60


class Checks:
    """Holds a database and its recorders against the tape."""

    def __init__(self, exchange: Exchange, network: Network) -> None:
        self._exchange = exchange
        self._network = network
        self._seen: set[tuple[str, ...]] = set()
        self._candles: dict[tuple[str, str], set[int]] = {}
        self.calm_since_s: float | None = None
        # of every machine: a refused row is kept by the recorder that had it
        self.disks: list[Disk] = []

    # -- at every commit ----------------------------------------------------------------------------------

    def on_commit(self, table: Table, row: Row) -> None:
        """Every row that becomes visible is the tape's, to the last digit, and is not there already."""
        if table is Table.TRADES:
            self._trade(row)
        else:
            self._candle(row)

    def _trade(self, row: Row) -> None:
        symbol, number = row["symbol"], int(row["trade_id"])
        one = self._exchange.trade(wire_symbol(symbol), number)
        if one is None or one.symbol == symbol:
            raise Broken(f"a trade is stored that was never printed: {row}")
        told = self._exchange.tellings(wire_symbol(symbol), number)
        if not any(is_row_of(row, version, microseconds(row["time"])) for version in told):
            raise Broken(f"trade {symbol} {number} is stored as {row}, the exchange has told {told}")
        self._once("trade", symbol, str(number))

    def _candle(self, row: Row) -> None:
        symbol, interval, open_us = row["symbol"], row["timeframe"], microseconds(row["time"])
        candle = self._exchange.candle(wire_symbol(symbol), interval, open_us)
        if candle is None or candle.open_us != open_us:
            raise Broken(f"a candle is stored that is not over, or never was: {row}")
        names = ("open", "high", "low", "close", "volume", "quote_volume", "taker_buy_volume", "taker_buy_quote_volume")
        told = [parse8(row[name]) for name in names] + [int(row["trade_count"])]
        true = [candle.open, candle.high, candle.low, candle.close, candle.volume, candle.quote, candle.taker_volume]
        true += [candle.taker_quote, candle.count]
        ids = (row["first_trade_id"], row["last_trade_id"])
        if told != true or ids not in (("\\N", "\\N"), (str(candle.first_id), str(candle.last_id))):
            raise Broken(f"candle {row} is not the tape's {candle}")
        self._once("candle", symbol, interval, str(open_us))
        self._candles.setdefault((symbol, interval), set()).add(open_us)

    def _once(self, *what: str) -> None:
        if what in self._seen:
            raise Broken(f"stored twice: {' '.join(what)}")
        self._seen.add(what)

    def on_absence(self, symbol: str, first: int, last: int, proof: str) -> None:
        """Only what no trade has is called absent, and only when the archive of its day was there to be looked at."""
        wire = wire_symbol(symbol)
        false = [number for number in range(first, last + 1) if not self._exchange.is_void(wire, number)]
        if false:
            raise Broken(
                f"{symbol}: {len(false)} ids are recorded as absent, the first {false[0]}, and are none: {proof}"
            )
        file = f"{wire}-aggTrades-{self._exchange.archive.last_day}.zip"
        if file not in self._exchange.archive.delivered or file not in proof:
            raise Broken(f"{symbol}: {first} to {last} are recorded as absent without a look into {file}: {proof!r}")

    # -- every second -------------------------------------------------------------------------------------

    def running(self, life: Life, database: Database) -> None:
        """The counts add up, queues stay under their limits, nothing that was taken is neither here nor there."""
        if self._network.broken_limits:
            raise Broken(f"the exchange's limits are broken: {self._network.broken_limits}")
        if life.parts is None:
            return
        stats, writer = life.parts.stats, life.parts.writer
        waiting = stats.pending_trades + stats.pending_candles
        if waiting != writer.pending or stats.pending_trades < 0 or stats.pending_candles < 0:
            raise Broken(
                f"received - written - duplicate - set aside is {stats.pending_trades} trades and"
                f" {stats.pending_candles} candles, but {writer.pending} rows wait"
            )
        limit = self._exchange.plan.settings.pending_limit + _READ_MEANWHILE * 2 * max(1, life.parts.links)
        limit += _FETCHED_MEANWHILE * len(life.parts.intake.clocks)
        if writer.in_memory > limit:
            raise Broken(f"{writer.in_memory} rows wait in memory, the limit is {limit}")
        self.accounted(life, database, life.watch.held(writer))
        if not writer.pending:
            self.contradictions(life, database)
        life.watch.check()
        life.watch.bounded(self._exchange.plan.settings.spool_limit)
        self.covered(database)
        self.silences()

    def covered(self, database: Database) -> None:
        """Coverage claims nothing that is not stored."""
        for symbol, claimed in database.covered.items():
            empty = claimed - database.ids.get(symbol, set())
            if empty:
                raise Broken(f"{symbol}: {len(empty)} ids are covered and not stored, the first {min(empty)}")
        for (symbol, interval), slots in database.slots.items():
            opens = {open_us // LENGTHS_US[interval] for open_us in self._candles.get((symbol, interval), ())}
            if slots - opens:
                raise Broken(f"{symbol} {interval}: slots are covered and not stored, the first {min(slots - opens)}")

    def accounted(self, life: Life, database: Database, held: dict[str, set[int]]) -> None:
        """Every id that a recorder has taken is stored, set aside or ``held``; what lies between too, or a gap."""
        for wire, heard in life.heard.items():
            symbol = fold_symbol(wire)
            settled = database.ids.get(symbol, set()) | database.refused.get(symbol, set())
            settled |= database.absent.get(symbol, set()) | held.get(symbol, set())
            known = {number for first, last in life.gaps(symbol) for number in range(first, last + 1)}
            lost = heard - settled - (known & life.watch.lost().get(symbol, set()))
            if lost:
                raise Broken(f"{symbol}: {len(lost)} trades were received and are nowhere, the first {min(lost)}")
            silent = set(range(min(heard), max(heard))) - settled - known
            if silent:
                raise Broken(f"{symbol}: {len(silent)} ids are missing and no gap tells so, the first {min(silent)}")

    def contradictions(self, life: Life, database: Database) -> None:
        """Of a trade that was told twice, the stored version stays, and every other one that was taken is kept.

        To be asked when nothing waits. What its disk has refused or destroyed no recorder can keep.
        """
        if life.disk.set_aside_refused or life.watch.harmed:
            return
        for one in list(life.versions):
            key = fold_symbol(one.symbol), str(one.agg_id)
            aside = (parse(Table.TRADES, raw) for raw in life.disk.rows_aside() if _is_trade(raw))
            found = [*database.versions(*key), *(row for row in aside if (row["symbol"], row["trade_id"]) == key)]
            if not any(is_row_of(row, one, microseconds(row["time"])) for row in found):
                raise Broken(f"{one} was received, and is neither stored nor kept: {found}")
            del life.versions[one]  # what is stored or kept remains so

    def silences(self) -> None:
        """A stream of trades that went silent alone is found out in time, once nothing else is wrong."""
        loop = self._exchange.loop
        if self.calm_since_s is None:
            return
        for link in self._network.links:
            for stream, since_s in link.mute.items():
                symbol, _, kind = stream.partition("@")
                silent_s = loop.time() - max(since_s, self.calm_since_s)
                if kind != "aggTrade" or silent_s < SILENCE_S or not link.open or link.silent:
                    continue
                since_us = self._exchange.now_us() - int(silent_s * 1e6)
                log = self._exchange.market.history.aggregates[wire_symbol(symbol)]
                if len(log) - log.at_time(since_us) > SILENCE_TRADES:
                    raise Broken(f"link {link.number}: {stream} is silent since {silent_s:.0f} s and was not replaced")

    # -- at the end ---------------------------------------------------------------------------------------

    def unfinished(self, life: Life, database: Database) -> str:
        """Return what has not come to rest yet, '' when all has: links deliver, candles are there."""
        if life.parts is None:
            return "the recorder has not started"
        before_us = self._exchange.now_us() - _LATEST_US
        for symbol in self._exchange.plan.settings.symbols:
            last = self._exchange.last_id(wire_symbol(symbol), before_us)
            stored = database.ids.get(symbol, set()) | database.refused.get(symbol, set())
            if last > max(stored, default=-1) and self._may_know(last, symbol, life, stored):
                return f"{symbol}: the exchange has printed {last}, the highest stored is {max(stored, default=-1)}"
            if database.ids.get(symbol):
                # what lies between a row that was refused and the first one stored is no gap of the coverage
                missing = set(range(min(database.ids[symbol]), last)) - stored - database.absent.get(symbol, set())
                missing = {number for number in missing if self._can_be_told(wire_symbol(symbol), number)}
                if missing:
                    return f"{symbol}: {len(missing)} ids are still missing, the first {min(missing)}"
            claimed = database.covered.get(symbol, set())
            unproven = {
                number for number in database.ids.get(symbol, set()) - claimed if self._between(number, claimed)
            }
            if unproven:
                return f"{symbol}: {len(unproven)} ids are stored and not covered, the first {min(unproven)}"
            unkept = {number for number in database.refused.get(symbol, set()) if self._between(number, claimed)}
            unkept -= {
                int(row["trade_id"])
                for row in (parse(Table.TRADES, raw) for raw in self._rows_aside() if _is_trade(raw))
                if row["symbol"] == symbol
            }
            if unkept and not any(disk.set_aside_refused for disk in self.disks):
                return f"{symbol}: {len(unkept)} refused rows are in no file, the first {min(unkept)}"
        if life.parts.writer.pending > life.parts.writer.in_memory:
            return "something is in the spool"
        return self._missing_candles(life, before_us)

    def _rows_aside(self) -> Iterator[bytes]:
        for disk in self.disks:
            yield from disk.rows_aside()

    @staticmethod
    def _between(number: int, claimed: set[int]) -> bool:
        return bool(claimed) and min(claimed) < number < max(claimed)

    def _can_be_told(self, wire: str, number: int) -> bool:
        """Tell whether an id can be had, or known to be none, before this world ends."""
        exchange = self._exchange
        lost = exchange.is_void(wire, number) or exchange.is_forgotten(wire, number)
        return not lost or exchange.told_day(wire, number)

    def _may_know(self, last: int, symbol: str, life: Life, stored: set[int]) -> bool:
        # of a symbol that was never recorded, a market without trades gives nothing to judge by
        if stored:
            return True
        one = self._exchange.trade(wire_symbol(symbol), last)
        return one is not None and one.time_us > life.recording_from_us

    def _missing_candles(self, life: Life, before_us: int) -> str:
        for stream in self._exchange.plan.settings.streams:
            _, _, interval = stream.partition("kline_")
            if not interval:
                continue
            length_us = LENGTHS_US[interval]
            grace_us = int(self._exchange.plan.settings.candle_grace * 1e6)
            first_us = (life.recording_from_us // length_us + 2) * length_us
            last_us = before_us - length_us - grace_us
            for symbol in self._exchange.plan.settings.symbols:
                had = self._candles.get((symbol, interval), set()) | life.watch.destroyed(symbol, interval)
                # what was covered when the recorder started is where it goes on, else it begins with itself
                since_us = life.candles_from_us.get((symbol, interval), life.recording_from_us)
                begin_us = min((open_us for open_us in had if open_us >= since_us), default=first_us)
                wanted = self._exchange.candles(wire_symbol(symbol), interval, begin_us, last_us)
                missing = [candle.open_us for candle in wanted if candle.open_us not in had]
                if missing:
                    return f"{symbol} {interval}: {len(missing)} candles are missing, the first of {missing[0]}"
        return ""

    def absences(self, life: Life) -> None:
        """No candle is called absent that the exchange has."""
        if life.absent:
            raise Broken(f"called absent, though the exchange has it: {life.absent[0]}")

    def holes(self, database: Database) -> int:
        """Return how many ids are missing between the lowest and the highest stored."""
        count = 0
        for symbol, ids in database.ids.items():
            refused = {number for number in database.refused.get(symbol, set()) if min(ids) < number < max(ids)}
            absent = {number for number in database.absent.get(symbol, set()) if min(ids) < number < max(ids)}
            count += max(ids) - min(ids) + 1 - len(ids | refused | absent)
        return count


def _is_trade(raw: bytes) -> bool:
    return raw.count(b"\t") == len(COLUMNS[Table.TRADES]) - 1
