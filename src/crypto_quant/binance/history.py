"""REST as values: the requests to send, what an answer means, and how its body reads.

Nothing here sends anything; a ``seams.HttpAnswer`` comes in, values or an error of our own tree go out. Prices and
volumes stay the exchange's decimal text.
"""

import email.utils
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, TypeVar

import msgspec

from crypto_quant.binance.venues import VenueSpec
from crypto_quant.errors import ConfigError, ExchangeUnavailable, RequestRefused, Throttled, UndecodableFrame
from crypto_quant.market import NS_PER_MS, NS_PER_S, NS_PER_US, Candle, Listing, Timeframe, Venue, wire_symbol
from crypto_quant.rows import MICROSECONDS_FROM, is_decimal
from crypto_quant.seams import HttpAnswer

_KLINES_LIMIT = 1000
_TIME_END_NS = 253_402_300_800 * NS_PER_S  # the year 10000, where calendars end

# Without Retry-After: for a 429 the minute over which weight counts, for a 418 the shortest ban. The longest is 3 days.
_THROTTLED_S = 60.0
_BANNED_S = 120.0
_BANNED_MOST_S = 3 * 86_400.0
_BAN_END = re.compile(rb"banned until (\d{13})\b")
# unknown, disconnected, unexpected, time-out, busy, shutting down: refused now, not for good
_PASSING_CODES = frozenset({-1000, -1001, -1006, -1007, -1008, -1016})
_TOO_MUCH_CODE = -1003
_EXCERPT = 200

# what msgspec raises for bytes that are not what was expected; the last for a nesting without end
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)

# digits before the point: prices are stored as NUMERIC(20,8), volumes as NUMERIC(38,8)
_PRICE_DIGITS = 12
_VOLUME_DIGITS = 30

_Int64 = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class Request(msgspec.Struct, frozen=True):
    """One GET: ``path`` under the REST base URL, its parameters and headers, and the weight it costs."""

    path: str
    params: Mapping[str, str]
    headers: Mapping[str, str]
    weight: int

    def __str__(self) -> str:
        query = "&".join(f"{name}={value}" for name, value in self.params.items())
        return f"GET {self.path}?{query}" if query else f"GET {self.path}"


class ExchangeInfo(msgspec.Struct, frozen=True):
    """What exchangeInfo tells a recorder. ``symbols`` maps the exchange's symbol to its status ('' when untold).

    ``listings`` has the assets of each besides.
    """

    server_time_ns: int
    symbols: Mapping[str, str]
    weight_per_minute: int | None
    listings: tuple[Listing, ...] = ()


# -- requests ---------------------------------------------------------------------------------------------


def time_request(spec: VenueSpec) -> Request:
    """Return the request for the exchange's time (``parse_server_time``)."""
    return Request(f"{spec.rest_prefix}/time", {}, {}, spec.weight_time)


def exchange_info_request(spec: VenueSpec) -> Request:
    """Return the request for every symbol of the venue (``parse_exchange_info``).

    It asks for all of them even if a few are wanted: with ``symbols=[...]`` one that does not exist fails the whole
    request (-1121) without saying which, and the nearest valid names can only be told from the full list.
    """
    params = dict(spec.exchange_info_params)
    return Request(f"{spec.rest_prefix}/exchangeInfo", params, {}, spec.weight_exchange_info)


def klines_request(
    spec: VenueSpec,
    symbol: str,
    timeframe: Timeframe,
    first_open_ns: int,
    last_open_ns: int,
    limit: int = _KLINES_LIMIT,
) -> Request:
    """Return the request for the candles that open from ``first_open_ns`` to ``last_open_ns``, both inclusive.

    When there are more than ``limit``, spot and USD-M answer with the oldest, COIN-M with the newest; a range cut by
    ``klines_requests`` never holds more.
    """
    params = {
        "symbol": wire_symbol(symbol),
        "interval": timeframe.value,
        "startTime": str(first_open_ns // NS_PER_MS),
        "endTime": str(last_open_ns // NS_PER_MS),
        "limit": str(limit),
    }
    return Request(f"{spec.rest_prefix}/klines", params, {}, spec.klines_weight(limit))


def klines_requests(
    spec: VenueSpec, symbol: str, timeframe: Timeframe, first_open_ns: int, last_open_ns: int
) -> Iterator[Request]:
    """Yield the requests that together cover an inclusive range of open times, oldest first.

    Each asks for just as many candles as it spans, and on COIN-M for no more than the 200 days that are its limit.
    Each reaches to the begin of the next one: candles have opened off their raster.
    """
    most_days_ns = 200 * 86_400 * NS_PER_S
    start = first_open_ns
    while start <= last_open_ns:
        end, count = timeframe.next_open_ns(start), 1
        while count < _KLINES_LIMIT and end <= last_open_ns:
            following = timeframe.next_open_ns(end)
            if spec.venue is Venue.COINM and following - start > most_days_ns:
                break
            end, count = following, count + 1
        yield klines_request(spec, symbol, timeframe, start, min(end - 1, last_open_ns), count)
        start = end


# -- answers ----------------------------------------------------------------------------------------------


class _ErrorBody(msgspec.Struct):
    code: int
    msg: str = ""


def interpret(answer: HttpAnswer, what: str) -> bytes:
    """Return the body of a good answer; ``what`` names the request in errors.

    Raises Throttled (429 and 418; with the pause asked for), ExchangeUnavailable (5xx, the firewall's 403, anything
    that is not JSON, and errors which the exchange itself calls passing), ConfigError (451: refused from this
    place) and RequestRefused (any other error of the exchange's).
    """
    status, body = answer.status, answer.body
    if status == 200:
        if body.lstrip()[:1] in (b"{", b"["):
            return body
        raise ExchangeUnavailable(
            "the answer is not JSON", subject=f"{what}: {_excerpt(body)}", hint="Is this a Binance REST API?"
        )
    error = _error_body(body)
    told = error.msg[:_EXCERPT] if error is not None and error.msg else _excerpt(body)
    subject = f"{what}: HTTP {status}, {told}" if told else f"{what}: HTTP {status}"
    if status in (429, 418) or (error is not None and error.code == _TOO_MUCH_CODE):
        what_happened = "banned by the exchange for a while" if status == 418 else "too many requests"
        raise Throttled(what_happened, retry_after_s=_retry_after_s(answer), subject=subject)
    if status == 451:
        raise ConfigError(
            "the exchange refuses this location",
            subject=subject,
            hint="The hosts data-stream.binance.vision and data-api.binance.vision serve spot market data alone and "
            "may be reachable; otherwise record from another place",
        )
    if status == 403:
        raise ExchangeUnavailable(
            "refused by the exchange's firewall", subject=subject, hint="Such a block usually ends after 5 minutes"
        )
    if status >= 500 or error is None or error.code in _PASSING_CODES:
        raise ExchangeUnavailable("the exchange did not answer the request", subject=subject)
    raise RequestRefused("the exchange refused the request", status=status, code=error.code, subject=subject)


def used_weight(answer: HttpAnswer) -> int | None:
    """Return the weight that the exchange counts for this address in this minute; None when it does not say."""
    text = answer.headers.get("x-mbx-used-weight-1m", "")
    return int(text) if _is_number(text) else None


def _retry_after_s(answer: HttpAnswer) -> float:
    text = answer.headers.get("retry-after", "")
    if _is_number(text):
        return min(float(text), _BANNED_MOST_S)
    if answer.status != 418:
        return _THROTTLED_S
    # the ban's end is in the exchange's time, and so is the answer's date: ours has no part in it
    end = _BAN_END.search(answer.body)
    sent = email.utils.parsedate_tz(answer.headers.get("date", ""))
    if end is None or sent is None:
        return _BANNED_S
    left_s = int(end[1]) / 1000 - email.utils.mktime_tz(sent)
    return min(max(left_s, _BANNED_S), _BANNED_MOST_S)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 9


def _error_body(body: bytes) -> _ErrorBody | None:
    try:
        return msgspec.json.decode(body, type=_ErrorBody)
    except _UNREADABLE:
        return None


def _excerpt(body: bytes) -> str:
    return " ".join(body[:_EXCERPT].decode("utf-8", "replace").split())


# -- bodies -----------------------------------------------------------------------------------------------


class _ServerTime(msgspec.Struct, rename="camel"):
    server_time: int


class _RateLimit(msgspec.Struct, rename="camel"):
    rate_limit_type: str = ""
    interval: str = ""
    interval_num: int = 0
    limit: int = 0


class _SymbolRow(msgspec.Struct, rename="camel"):
    symbol: str
    status: str = ""
    contract_status: str = ""  # COIN-M's word for it
    base_asset: str = ""
    quote_asset: str = ""


class _ExchangeInfo(msgspec.Struct, rename="camel"):
    server_time: int
    symbols: list[_SymbolRow]
    rate_limits: list[_RateLimit] = []


class _Kline(msgspec.Struct, array_like=True):
    """``[1790856000000,"64250.1","64250.5","64250.0","64250.5","0.015",1790856059999,"963.75",5,"0.0025","160.6","0"]``

    What follows the eleventh is unused; more may be added.
    """

    open_time: int
    open: str
    high: str
    low: str
    close: str
    volume: str
    close_time: int
    quote_volume: str
    trades: _Int64
    taker_buy_volume: str
    taker_buy_quote_volume: str


_Body = TypeVar("_Body")
_TIME_DECODER = msgspec.json.Decoder(_ServerTime)
_INFO_DECODER = msgspec.json.Decoder(_ExchangeInfo)
_KLINES_DECODER = msgspec.json.Decoder(list[_Kline])


def parse_server_time(body: bytes) -> int:
    """Return the exchange's time in ns. Raises UndecodableFrame."""
    return _time_ns(_decode(_TIME_DECODER, body, "server time").server_time, "server time")


def parse_exchange_info(body: bytes) -> ExchangeInfo:
    """Return the symbols with their status, the exchange's time and its limit. Raises UndecodableFrame."""
    info = _decode(_INFO_DECODER, body, "exchangeInfo")
    per_minute = [
        limit.limit
        for limit in info.rate_limits
        if (limit.rate_limit_type, limit.interval, limit.interval_num) == ("REQUEST_WEIGHT", "MINUTE", 1)
    ]
    listings = tuple(
        Listing(row.symbol, row.base_asset, row.quote_asset, row.status or row.contract_status) for row in info.symbols
    )
    return ExchangeInfo(
        server_time_ns=_time_ns(info.server_time, "exchangeInfo"),
        symbols={each.symbol: each.status for each in listings},
        listings=listings,
        weight_per_minute=per_minute[0] if per_minute and per_minute[0] > 0 else None,
    )


def parse_klines(body: bytes, venue: Venue, symbol: str, timeframe: Timeframe) -> list[Candle]:
    """Return the candles of a klines answer, the open one that the exchange puts last among them.

    ``symbol`` is the stored one. Raises UndecodableFrame when one row is not what the exchange documents: then none
    of its neighbours can be trusted either. REST does not tell the ids of a candle's trades.
    """
    return [
        Candle(
            venue=venue,
            symbol=symbol,
            timeframe=timeframe,
            open_ns=_time_ns(row.open_time, "klines"),
            open=_exact(row.open, _PRICE_DIGITS),
            high=_exact(row.high, _PRICE_DIGITS),
            low=_exact(row.low, _PRICE_DIGITS),
            close=_exact(row.close, _PRICE_DIGITS),
            volume=_exact(row.volume, _VOLUME_DIGITS),
            quote_volume=_exact(row.quote_volume, _VOLUME_DIGITS),
            trade_count=row.trades,
            taker_buy_volume=_exact(row.taker_buy_volume, _VOLUME_DIGITS),
            taker_buy_quote_volume=_exact(row.taker_buy_quote_volume, _VOLUME_DIGITS),
            first_trade_id=None,
            last_trade_id=None,
        )
        for row in _decode(_KLINES_DECODER, body, "klines")
    ]


def closed_only(candles: Iterable[Candle], exchange_now_ns: int) -> list[Candle]:
    """Return the candles that had ended by the exchange's time; the open one is no record yet."""
    return [candle for candle in candles if candle.timeframe.next_open_ns(candle.open_ns) <= exchange_now_ns]


def _decode(decoder: "msgspec.json.Decoder[_Body]", body: bytes, what: str) -> _Body:
    try:
        return decoder.decode(body)
    except _UNREADABLE as problem:
        raise UndecodableFrame(f"not a valid {what} answer", subject=str(problem)) from problem


def _time_ns(time: int, what: str) -> int:
    time_ns = time * (NS_PER_US if time >= MICROSECONDS_FROM else NS_PER_MS)
    if not 0 <= time_ns < _TIME_END_NS:
        raise UndecodableFrame(f"not a valid {what} answer", subject=f"time {str(time)[:30]}")
    return time_ns


def _exact(text: str, integer_digits: int) -> str:
    if not is_decimal(text, integer_digits):
        raise UndecodableFrame("not a valid klines answer", subject=f"number {text[:80]!r}")
    return text
