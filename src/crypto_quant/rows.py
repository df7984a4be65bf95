"""Rows as PostgreSQL's COPY text: exact, escaped, cheap to build.

A row is one line of UTF-8: tab-separated columns in the order of ``seams.COLUMNS``, newline at its end. Decimal
text passes untouched, so what is stored is what the exchange wrote. Times come in as integers in the exchange's
unit (ms, or µs above 10**14) and are written in UTC.
"""

from datetime import UTC, datetime

from crypto_quant.market import NS_PER_US, AggTrade, Candle, Venue

# Above this a time is in microseconds; the same count of milliseconds is the year 5138.
MICROSECONDS_FROM = 10**14

_CACHED_SECONDS = 4096


def is_decimal(text: str, integer_digits: int = 12) -> bool:
    """Tell whether ``text`` is plain decimal text that the tables hold exactly.

    ASCII digits, at most one point with digits on both sides, at most ``integer_digits`` before it and 8 after it:
    no sign, exponent, NaN or infinity. 12 + 8 digits are NUMERIC(20,8), 30 + 8 are NUMERIC(38,8); PostgreSQL would
    round a ninth decimal in silence, so it is refused here.
    """
    # spot pads everything to 8 decimals: the common case is decided by one look at the point
    if text[-9:-8] == ".":
        whole = text[:-9]
        return len(whole) <= integer_digits and bool(whole) and (whole + text[-8:]).isdigit() and text.isascii()
    whole, point, decimals = text.partition(".")
    if not text.isascii() or not whole.isdigit() or len(whole) > integer_digits:
        return False
    return not point or (decimals.isdigit() and len(decimals) <= 8)


def copy_escape(text: str) -> str:
    """Return ``text`` as one column of COPY text."""
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")


class TimeText:
    """Turns exchange times into timestamp text, with the text of each second made once."""

    __slots__ = ("_minute", "_minute_text", "_seconds")

    def __init__(self) -> None:
        self._seconds: dict[int, str] = {}
        self._minute: int | None = None
        self._minute_text = ""

    def __call__(self, time: int) -> str:
        """Return ``YYYY-MM-DD HH:MM:SS.ffffff+00`` for a time in ms or µs."""
        if time >= MICROSECONDS_FROM:
            second, fraction = divmod(time, 1_000_000)
            return f"{self.second(second)}{fraction:06d}+00"
        second, fraction = divmod(time, 1_000)
        return f"{self.second(second)}{fraction:03d}000+00"

    def second(self, second: int) -> str:
        """Return ``YYYY-MM-DD HH:MM:SS.`` for a second since the epoch."""
        return self._seconds.get(second) or self._second(second)

    def _second(self, second: int) -> str:
        if len(self._seconds) >= _CACHED_SECONDS:
            self._seconds.clear()
        minute, rest = divmod(second, 60)
        if minute != self._minute:
            self._minute = minute
            self._minute_text = datetime.fromtimestamp(minute * 60, UTC).isoformat(" ")[: len("2026-10-01 12:00:")]
        text = self._seconds[second] = f"{self._minute_text}{rest:02d}."
        return text


def key_text(venue: Venue, symbol: str) -> str:
    """Return the ``venue, symbol`` columns, escaped, as the row builders take them."""
    return f"{venue.value}\t{copy_escape(symbol)}"


def trade_row(
    time_text: str,
    key: str,
    trade_id: int,
    price: str,
    quantity: str,
    first: int,
    last: int,
    maker: bool,
    received: str,
) -> bytes:
    """Return the row of one aggregate trade; ``received`` is timestamp text, or ``\\N`` for a backfilled trade."""
    side = "t" if maker else "f"
    return (f"{time_text}\t{key}\t{trade_id}\t{price}\t{quantity}\t{first}\t{last}\t{side}\t{received}\n").encode()


def trade_key(row: bytes) -> tuple[str, str, int]:
    """Return venue, symbol and id of a row of ``trades``. Raises ValueError when it is none."""
    _, venue, symbol, trade_id, _ = row.decode().split("\t", 4)
    return venue, symbol, int(trade_id)


def agg_trade_row(trade: AggTrade, times: TimeText) -> bytes:
    """Return the row of a trade given as a value (µs are the finest time that a table holds)."""
    received = "\\N" if trade.received_ns is None else _ns_text(trade.received_ns, times)
    return trade_row(
        _ns_text(trade.time_ns, times),
        key_text(trade.venue, trade.symbol),
        trade.trade_id,
        trade.price,
        trade.quantity,
        trade.first_trade_id,
        trade.last_trade_id,
        trade.is_buyer_maker,
        received,
    )


def candle_row(candle: Candle, times: TimeText) -> bytes:
    """Return the row of one closed candle."""
    first = "\\N" if candle.first_trade_id is None else candle.first_trade_id
    last = "\\N" if candle.last_trade_id is None else candle.last_trade_id
    return (
        f"{_ns_text(candle.open_ns, times)}\t{key_text(candle.venue, candle.symbol)}\t{candle.timeframe.value}\t"
        f"{candle.open}\t{candle.high}\t{candle.low}\t{candle.close}\t{candle.volume}\t{candle.quote_volume}\t"
        f"{candle.trade_count}\t{candle.taker_buy_volume}\t{candle.taker_buy_quote_volume}\t{first}\t{last}\n"
    ).encode()


def _ns_text(time_ns: int, times: TimeText) -> str:
    # times() tells ms from µs by size, and a µs count before 1973 looks like ms: build those by hand
    microseconds = time_ns // NS_PER_US
    if microseconds >= MICROSECONDS_FROM:
        return times(microseconds)
    seconds, fraction = divmod(microseconds, 1_000_000)
    return times(seconds * 1_000)[:-9] + f"{fraction:06d}+00"
