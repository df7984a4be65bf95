"""What must be true of a world at every moment, and what must be true once it has come to rest."""

from crypto_quant.market import fold_symbol, wire_symbol
from crypto_quant.seams import Table
from crypto_quant.sim.intervals import LENGTHS_US
from crypto_quant.sim.numbers import parse8
from crypto_quant.sim.world.database import Database, Row, microseconds
from crypto_quant.sim.world.exchange import Exchange
from crypto_quant.sim.world.network import READ_FRAMES, Network
from crypto_quant.sim.world.recorder import Life

# pressure is looked at every 20 ms, a socket hands over READ_FRAMES every 10 ms
_READ_MEANWHILE = 3 * READ_FRAMES
# candles are owed this long after their end: grace, settling, a request that failed a few times
_LATEST_US = 10_000_000


class Broken(AssertionError):
    """An invariant does not hold."""


class Checks:
    """Holds a database and its recorders against the tape."""

    def __init__(self, exchange: Exchange, network: Network) -> None:
        self._exchange = exchange
        self._network = network
        self._seen: set[tuple[str, ...]] = set()
        self._candles: dict[tuple[str, str], set[int]] = {}

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
        told = {
            "time": microseconds(row["time"]),
            "price": parse8(row["price"]),
            "quantity": parse8(row["quantity"]),
            "first": int(row["first_trade_id"]),
            "last": int(row["last_trade_id"]),
            "maker": row["is_buyer_maker"],
            "venue": row["venue"],
        }
        true = {
            "time": one.time_us,
            "price": one.price,
            "quantity": one.quantity,
            "first": one.first_id,
            "last": one.last_id,
            "maker": "t" if one.maker else "f",
            "venue": "spot",
        }
        if told != true:
            raise Broken(f"trade {symbol} {number} is stored as {told}, the tape has {true}")
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
        limit = self._exchange.plan.settings.pending_limit + _READ_MEANWHILE * max(1, life.parts.links)
        if writer.pending > limit:
            raise Broken(f"{writer.pending} rows wait, the limit is {limit}")
        if not writer.pending:
            self.accounted(life, database)
        self.covered(database)

    def covered(self, database: Database) -> None:
        """Coverage claims nothing that is not stored, and nothing is called absent."""
        for symbol, claimed in database.covered.items():
            empty = claimed - database.ids.get(symbol, set())
            if empty:
                raise Broken(f"{symbol}: {len(empty)} ids are covered and not stored, the first {min(empty)}")
        for (symbol, interval), slots in database.slots.items():
            opens = {open_us // LENGTHS_US[interval] for open_us in self._candles.get((symbol, interval), ())}
            if slots - opens:
                raise Broken(f"{symbol} {interval}: slots are covered and not stored, the first {min(slots - opens)}")
        for symbol, absent in database.absent.items():
            if absent:
                raise Broken(f"{symbol}: {len(absent)} ids are recorded as absent, though the exchange has them")

    def accounted(self, life: Life, database: Database) -> None:
        """Every id that a recorder has taken is stored or set aside; what lies between is so, or a known gap."""
        for wire, heard in life.heard.items():
            symbol = fold_symbol(wire)
            settled = database.ids.get(symbol, set()) | database.refused.get(symbol, set())
            lost = heard - settled
            if lost:
                raise Broken(f"{symbol}: {len(lost)} trades were received and are nowhere, the first {min(lost)}")
            known = {number for first, last in life.gaps(symbol) for number in range(first, last + 1)}
            silent = set(range(min(heard), max(heard))) - settled - known
            if silent:
                raise Broken(f"{symbol}: {len(silent)} ids are missing and no gap tells so, the first {min(silent)}")

    # -- at the end ---------------------------------------------------------------------------------------

    def unfinished(self, life: Life, database: Database) -> str:
        """Return what has not come to rest yet, '' when all has: links deliver, candles are there."""
        if life.parts is None:
            return "the recorder has not started"
        before_us = self._exchange.now_us() - _LATEST_US
        for symbol in self._exchange.plan.settings.symbols:
            last = self._exchange.last_id(wire_symbol(symbol), before_us)
            stored = database.ids.get(symbol, set()) | database.refused.get(symbol, set())
            if last > max(stored, default=-1) and self._may_know(last, symbol, life):
                return f"{symbol}: the exchange has printed {last}, the highest stored is {max(stored, default=-1)}"
            if stored:
                missing = set(range(min(stored), last)) - stored
                if missing:
                    return f"{symbol}: {len(missing)} ids are still missing, the first {min(missing)}"
        return self._missing_candles(life, before_us)

    def _may_know(self, last: int, symbol: str, life: Life) -> bool:
        # a market without trades since the recorder came up gives nothing to judge by
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
                had = self._candles.get((symbol, interval), set())
                begin_us = min(had, default=first_us)
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
            count += max(ids) - min(ids) + 1 - len(ids | refused)
        return count
