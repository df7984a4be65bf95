"""The nouns of the field: venues, symbols, timeframes, trades and candles. Values only, no I/O."""

from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

import msgspec

from crypto_quant.errors import ConfigError

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000
NS_PER_US = 1_000
DAY_S = 86_400
DAY_NS = DAY_S * NS_PER_S

_EPOCH = date(1970, 1, 1)


class Listing(NamedTuple):
    """What the exchange lists of a symbol, as it writes it; a field is empty where it says nothing."""

    symbol: str
    base: str
    quote: str
    status: str


class Venue(StrEnum):
    """A market of the exchange; the value is what is stored."""

    SPOT = "spot"
    USDM = "usdm"
    COINM = "coinm"


def fold_symbol(text: str) -> str:
    """Return a symbol as it is stored: ASCII letters in lower case, everything else untouched.

    Non-ASCII symbols are live (``币安人生USDT``); the exchange folds ASCII letters alone, and so do we.
    """
    return "".join(chr(ord(c) + 32) if "A" <= c <= "Z" else c for c in text)


def wire_symbol(symbol: str) -> str:
    """Return a stored symbol as the exchange writes it in payloads and REST: ASCII letters in upper case."""
    return "".join(chr(ord(c) - 32) if "a" <= c <= "z" else c for c in symbol)


def utc_text(time_ns: int) -> str:
    """Return a time in ns as ISO 8601 in UTC, ``2024-08-09T00:05:00Z``, with microseconds where there are any."""
    seconds, rest = divmod(time_ns, NS_PER_S)
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{rest // NS_PER_US:06d}Z" if rest else f"{text}Z"


def parse_utc(text: str) -> int:
    """Return the time in ns of a text that ``utc_text`` has made. Raises ValueError for anything else."""
    moment = datetime.fromisoformat(text)
    whole = int(moment.replace(microsecond=0).timestamp())
    return whole * NS_PER_S + moment.microsecond * NS_PER_US


def day_of(time_ns: int) -> date:
    """Return the day (UTC) of a time in ns."""
    return _EPOCH + timedelta(days=time_ns // DAY_NS)


def day_ns(day: date) -> int:
    """Return when a day (UTC) begins, in ns."""
    return (day - _EPOCH).days * DAY_NS


def parse_day(text: str) -> date:
    """Return the day that ``text`` names as YYYY-MM-DD. Raises ConfigError."""
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).date()
    except ValueError:
        raise ConfigError("not a day", subject=repr(text), hint="Expected YYYY-MM-DD, a day in UTC") from None


_FIXED_S = {
    "1s": 1, "1m": 60, "3m": 180, "5m": 300, "15m": 900, "30m": 1800, "1h": 3600, "2h": 7200, "4h": 14400,
    "6h": 21600, "8h": 28800, "12h": 43200, "1d": DAY_S, "3d": 3 * DAY_S, "1w": 7 * DAY_S,
}  # fmt: skip
# 1970-01-01 was a Thursday; weeks open on Monday, the 5th
_MONDAY_S = 4 * DAY_S


class Timeframe(StrEnum):
    """A candle's length. The names are the exchange's and case-sensitive: ``1m`` is a minute, ``1M`` a month."""

    S1 = "1s"
    M1 = "1m"
    M3 = "3m"
    M5 = "5m"
    M15 = "15m"
    M30 = "30m"
    H1 = "1h"
    H2 = "2h"
    H4 = "4h"
    H6 = "6h"
    H8 = "8h"
    H12 = "12h"
    D1 = "1d"
    D3 = "3d"
    W1 = "1w"
    MO1 = "1M"

    @classmethod
    def parse(cls, text: str) -> "Timeframe":
        """Return the timeframe of that exact name; raise ConfigError with the valid names otherwise."""
        try:
            return cls(text)
        except ValueError:
            raise ConfigError(
                "unknown timeframe", subject=repr(text), hint=f"One of: {', '.join(cls)} (case matters)"
            ) from None

    def open_ns(self, time_ns: int) -> int:
        """Return the open time (ns since the epoch, UTC) of the candle that holds ``time_ns``.

        ``3d`` is cut from the epoch; the exchange's own raster for it is undocumented, so take it from data
        where there is any.
        """
        seconds = time_ns // NS_PER_S
        if self is Timeframe.MO1:
            moment = datetime.fromtimestamp(seconds, UTC)
            start = datetime(moment.year, moment.month, 1, tzinfo=UTC)
            return int(start.timestamp()) * NS_PER_S
        length = _FIXED_S[self.value]
        offset = _MONDAY_S if self is Timeframe.W1 else 0
        return ((seconds - offset) // length * length + offset) * NS_PER_S

    def next_open_ns(self, open_ns: int) -> int:
        """Return the open time that follows the candle which opens at ``open_ns``: its exclusive end."""
        if self is Timeframe.MO1:
            # no month is longer than 31 days, and 32 days on is always inside the next one
            return self.open_ns(open_ns + 32 * DAY_NS)
        return open_ns + _FIXED_S[self.value] * NS_PER_S

    def slot(self, open_ns: int) -> int:
        """Return the number of the candle that opens at ``open_ns``: candles that follow each other count up by one.

        0 is the candle that holds the first moment of 1970, so weeks count from Monday, the 29th of December 1969.
        A ``3d`` raster that lies elsewhere than at the epoch is numbered by the epoch's slot that holds its open time.
        """
        seconds = open_ns // NS_PER_S
        if self is Timeframe.MO1:
            moment = datetime.fromtimestamp(seconds, UTC)
            return (moment.year - 1970) * 12 + moment.month - 1
        return (seconds - self.slot_base_s) // _FIXED_S[self.value]

    def slot_open_ns(self, slot: int) -> int:
        """Return the open time of the candle with that number; of ``3d`` on the epoch's raster."""
        if self is Timeframe.MO1:
            return int(datetime(1970 + slot // 12, slot % 12 + 1, 1, tzinfo=UTC).timestamp()) * NS_PER_S
        return (slot * _FIXED_S[self.value] + self.slot_base_s) * NS_PER_S

    @property
    def slot_base_s(self) -> int:
        """When slot 0 opens, in seconds since the epoch."""
        return _MONDAY_S - 7 * DAY_S if self is Timeframe.W1 else 0

    @property
    def length_s(self) -> int | None:
        """How long a candle is, in seconds; None for months, which differ."""
        return _FIXED_S.get(self.value)


class AggTrade(msgspec.Struct, frozen=True, kw_only=True):
    """One aggregate trade: the fills of one taker order at one price (spot).

    ``price`` and ``quantity`` are the exchange's decimal text, never a float. Times are ns since the epoch.
    ``first_trade_id`` and ``last_trade_id`` are inclusive. ``received_ns`` is None for backfilled trades.
    """

    venue: Venue
    symbol: str
    trade_id: int
    price: str
    quantity: str
    first_trade_id: int
    last_trade_id: int
    time_ns: int
    is_buyer_maker: bool
    received_ns: int | None = None


class Candle(msgspec.Struct, frozen=True, kw_only=True):
    """One closed candle. Prices and volumes are the exchange's decimal text; ``open_ns`` is its open time.

    The trade ids are None when the candle came over REST, which does not tell them, and -1 when it is empty.
    """

    venue: Venue
    symbol: str
    timeframe: Timeframe
    open_ns: int
    open: str
    high: str
    low: str
    close: str
    volume: str
    quote_volume: str
    trade_count: int
    taker_buy_volume: str
    taker_buy_quote_volume: str
    first_trade_id: int | None
    last_trade_id: int | None
