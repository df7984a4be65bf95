"""REST: a request in, status and body out. Pure; the server adds weights, headers and faults."""

import itertools
import json
import re
from collections.abc import Callable, Mapping, Sequence

import msgspec

from crypto_quant.sim import exchange_info
from crypto_quant.sim.aggregate import Aggregate
from crypto_quant.sim.candles import Candle
from crypto_quant.sim.history import Log
from crypto_quant.sim.intervals import INTERVALS, LENGTHS_US, US_PER_S, open_of
from crypto_quant.sim.limits import Limits
from crypto_quant.sim.market import Market
from crypto_quant.sim.messages import TimeUnit, close_time, time_unit, to_json
from crypto_quant.sim.numbers import quote_of, text8

# the exchange's text; Java's class intersection (word characters but a-z) is spelt out below
SYMBOL_RANGE = r"^[\w\-._&&[^a-z]]{1,50}$"
NUMBER_RANGE = "^[0-9]{1,20}$"
_SYMBOL = re.compile(r"(?:(?![a-z])[\w\-.]){1,50}")
_NUMBER = re.compile("[0-9]{1,20}", re.ASCII)
_ZONE = re.compile(r"([+-]?)(\d{1,2})(?::(\d{2}))?", re.ASCII)
_LONGEST = 2**63 - 1
_LIMIT_DEFAULT = 500
# an hour is longer than any number of ms is small: 13 digits are ms, 16 are µs
_US_FROM = 10**14


# by symbol: inclusive ranges of aggregate ids that REST has not (any more)
Forgotten = dict[str, list[tuple[int, int]]]


class Answer(msgspec.Struct, frozen=True):
    """Status and JSON body."""

    status: int
    body: bytes


class _Refused(Exception):
    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


class _Request:
    """The parameters of one request, checked as they are read."""

    def __init__(self, parameters: Sequence[tuple[str, str]], known: tuple[str, ...], unit: TimeUnit) -> None:
        self.unit = unit
        self._values = dict(parameters)
        if len(self._values) != len(parameters):
            raise _Refused(
                -1101, f"Too many parameters; expected '{len(self._values)}' and received '{len(parameters)}'."
            )
        read = sum(name in known for name in self._values)
        if read != len(parameters):
            raise _Refused(
                -1104,
                f"Not all sent parameters were read; read '{read}' parameter(s) but was sent '{len(parameters)}'.",
            )

    def text(self, name: str) -> str | None:
        value = self._values.get(name)
        if value == "":
            raise _Refused(-1105, f"Parameter '{name}' was empty.")
        return value

    def needed(self, name: str) -> str:
        value = self._values.get(name)
        if not value:
            raise _Refused(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")
        return value

    def number(self, name: str) -> int | None:
        value = self.text(name)
        if value is None:
            return None
        if not _NUMBER.fullmatch(value):
            raise _Refused(-1100, f"Illegal characters found in parameter '{name}'; legal range is '{NUMBER_RANGE}'.")
        if int(value) > _LONGEST:
            raise _Refused(-1108, f"Parameter '{name}' overflowed.")
        return int(value)

    def time_us(self, name: str) -> int | None:
        value = self.number(name)
        return None if value is None else value if value >= _US_FROM else value * 1000

    def end_us(self) -> int | None:
        """The inclusive end: a bound in ms takes in the whole millisecond."""
        value = self.number("endTime")
        return None if value is None else value if value >= _US_FROM else value * 1000 + 999


class Desk:
    """Answers for what the market has printed so far."""

    def __init__(self, market: Market, limits: Limits, forgotten: Forgotten | None = None) -> None:
        self._market = market
        self._forgotten = forgotten if forgotten is not None else {}
        self._limits = limits
        self._routes: Mapping[str, tuple[int, tuple[str, ...], Callable[[_Request], object]]] = {
            "/api/v3/ping": (1, (), self._ping),
            "/api/v3/time": (1, (), self._time),
            "/api/v3/exchangeInfo": (
                20, ("symbol", "symbols", "permissions", "symbolStatus", "showPermissionSets"), self._exchange_info,
            ),
            "/api/v3/trades": (25, ("symbol", "limit"), self._trades),
            "/api/v3/historicalTrades": (25, ("symbol", "limit", "fromId"), self._trades),
            "/api/v3/aggTrades": (4, ("symbol", "fromId", "startTime", "endTime", "limit"), self._agg_trades),
            "/api/v3/klines": (
                2, ("symbol", "interval", "startTime", "endTime", "timeZone", "limit"), self._klines,
            ),
        }  # fmt: skip

    def weight(self, path: str) -> int:
        """Return what a request costs; 1 for an unknown path."""
        return self._routes[path][0] if path in self._routes else 1

    def answer(self, path: str, parameters: Sequence[tuple[str, str]], time_unit_header: str | None) -> Answer:
        """Answer a GET. ``parameters`` as sent and decoded; the header is ``X-MBX-TIME-UNIT``."""
        route = self._routes.get(path)
        if route is None:
            return Answer(404, b"{}")
        _, known, handler = route
        try:
            unit = TimeUnit.MILLISECOND if time_unit_header is None else time_unit(time_unit_header)
            if unit is None:
                raise _Refused(-1194, "Invalid value for time unit; expected either MICROSECOND or MILLISECOND.")
            return Answer(200, to_json(handler(_Request(parameters, known, unit))))
        except _Refused as refused:
            return Answer(400, error_body(refused.code, refused.text))

    # -- endpoints ----------------------------------------------------------------------------------------

    def _ping(self, request: _Request) -> object:
        return {}

    def _time(self, request: _Request) -> object:
        return {"serverTime": self._market.now_us // request.unit}

    def _exchange_info(self, request: _Request) -> object:
        symbols = self._market.symbols
        one, many, status = request.text("symbol"), request.text("symbols"), request.text("symbolStatus")
        permissions = request.text("permissions")
        if ((one or many) and (permissions or status)) or (one and many):
            raise _Refused(-1128, "Combination of optional parameters invalid.")
        names = list(symbols)
        if one is not None:
            names = [self._listed(one)]
        elif many is not None:
            names = self._list_of_symbols(many)
        if status is not None:
            if status not in exchange_info.STATUSES:
                raise _Refused(-1122, "Invalid symbolStatus.")
            names = [name for name in names if symbols[name].status == status]
        if permissions is not None:
            wanted = set(re.findall(r"\w+", permissions))
            names = [name for name in names if any(wanted & set(group) for group in exchange_info.PERMISSION_SETS)]
        with_sets = (request.text("showPermissionSets") or "true").lower() != "false"
        now = self._market.now_us // request.unit
        return exchange_info.listing([symbols[name] for name in names], self._limits, now, with_sets=with_sets)

    def _trades(self, request: _Request) -> object:
        log = self._market.history.trades[self._symbol(request)]
        limit = self._limit(request)
        from_id = request.number("fromId")
        begin = len(log) - limit if from_id is None else log.at_id(from_id)
        return [_trade_row(one, request.unit) for one in log.rows(begin, max(0, begin) + limit)]

    def _agg_trades(self, request: _Request) -> object:
        log = self._market.history.aggregates[self._symbol(request)]
        limit = self._limit(request)
        from_id, start_us, end_us = request.number("fromId"), request.time_us("startTime"), request.end_us()
        if from_id is not None and (start_us is not None or end_us is not None):
            raise _Refused(-1128, "Combination of optional parameters invalid.")
        forgotten = self._forgotten.get(log.symbol, ())
        if from_id is not None:
            begin = log.at_id(from_id)
            end = len(log) if forgotten else begin + limit
        else:
            begin, end = _by_time(log, start_us, end_us, limit)
        known = (one for one in log.rows(begin, end) if not any(a <= one.agg_id <= b for a, b in forgotten))
        return [_agg_row(one, request.unit) for one in itertools.islice(known, limit)]

    def _klines(self, request: _Request) -> object:
        symbol = self._symbol(request)
        interval = request.needed("interval")
        if interval not in INTERVALS:
            raise _Refused(-1120, "Invalid interval.")
        offset_us = _zone_us(request.text("timeZone"))
        limit = self._limit(request)
        start_us, end_us = request.time_us("startTime"), request.end_us()
        # the running candle is the last one there is
        last_us = min(self._market.now_us, self._market.now_us if end_us is None else end_us)
        if start_us is None:
            start_us = _back(open_of(last_us, interval, offset_us), interval, offset_us, limit - 1)
        rows: list[list[object]] = []
        if start_us > last_us:
            return rows
        for candle in self._market.books[symbol].span(interval, start_us, last_us, offset_us):
            if len(rows) == limit:
                break
            rows.append(_kline_row(candle, request.unit))
        return rows

    # -- parameters ---------------------------------------------------------------------------------------

    def _symbol(self, request: _Request) -> str:
        return self._listed(request.needed("symbol"))

    def _listed(self, name: str) -> str:
        if not _SYMBOL.fullmatch(name):
            raise _Refused(-1100, f"Illegal characters found in parameter 'symbol'; legal range is '{SYMBOL_RANGE}'.")
        if name not in self._market.symbols:
            raise _Refused(-1121, "Invalid symbol.")
        return name

    def _list_of_symbols(self, text: str) -> list[str]:
        try:
            names = json.loads(text)
        except json.JSONDecodeError:
            names = None
        if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
            raise _Refused(-1135, "Invalid JSON Request: JSON sent for parameter 'symbols' was invalid.")
        if len(set(names)) != len(names):
            raise _Refused(-1151, "Symbol is present multiple times in the list.")
        return [self._listed(name) for name in names]

    def _limit(self, request: _Request) -> int:
        limit = request.number("limit")
        if limit is None:
            return _LIMIT_DEFAULT
        if limit < 1:
            raise _Refused(-1130, "Data sent for parameter 'limit' is not valid.")
        # not documented beyond 1000; the exchange has been seen to clamp
        return min(limit, self._limits.rows_max)


def error_body(code: int, text: str) -> bytes:
    """Return the body of a refusal."""
    return to_json({"code": code, "msg": text})


def _by_time(log: Log, start_us: int | None, end_us: int | None, limit: int) -> tuple[int, int]:
    """Positions: oldest rows from a start, or else the most recent ones up to an end; both bounds inclusive."""
    end = len(log) if end_us is None else log.at_time(end_us + 1)
    if start_us is None:
        return max(0, end - limit), end
    begin = log.at_time(start_us)
    return begin, min(end, begin + limit)


def _back(open_us: int, interval: str, offset_us: int, count: int) -> int:
    if interval in LENGTHS_US:
        return open_us - count * LENGTHS_US[interval]
    for _ in range(count):
        open_us = open_of(open_us - 1, interval, offset_us)
        if open_us <= 0:
            break
    return open_us


def _zone_us(text: str | None) -> int:
    if text is None:
        return 0
    match = _ZONE.fullmatch(text)
    if match:
        minutes = int(match[2]) * 60 + int(match[3] or 0)
        minutes = -minutes if match[1] == "-" else minutes
        if -12 * 60 <= minutes <= 14 * 60 and int(match[3] or 0) < 60:
            return minutes * 60 * US_PER_S
    raise _Refused(-1130, "Data sent for parameter 'timeZone' is not valid.")


def _agg_row(one: Aggregate, unit: TimeUnit) -> dict[str, object]:
    return {
        "a": one.agg_id, "p": text8(one.price), "q": text8(one.quantity), "f": one.first_id, "l": one.last_id,
        "T": one.time_us // unit, "m": one.maker, "M": one.best,
    }  # fmt: skip


def _trade_row(one: Aggregate, unit: TimeUnit) -> dict[str, object]:
    return {
        "id": one.agg_id, "price": text8(one.price), "qty": text8(one.quantity),
        "quoteQty": text8(quote_of(one.price, one.quantity)), "time": one.time_us // unit,
        "isBuyerMaker": one.maker, "isBestMatch": one.best,
    }  # fmt: skip


def _kline_row(candle: Candle, unit: TimeUnit) -> list[object]:
    return [
        candle.open_us // unit, text8(candle.open), text8(candle.high), text8(candle.low), text8(candle.close),
        text8(candle.volume), close_time(candle, unit), text8(candle.quote), candle.count,
        text8(candle.taker_volume), text8(candle.taker_quote), "0",
    ]  # fmt: skip
