"""The exchange's archive: zips of finished days and months, made from what was printed. Pure; the server sends them.

Written from the archive's own description, not from the recorder's reader of it: an exchange that shares the
recorder's code cannot find its mistakes.
"""

import hashlib
import io
import re
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Set
from datetime import UTC, date, datetime, timedelta

from crypto_quant.errors import ConfigError
from crypto_quant.sim.intervals import INTERVALS
from crypto_quant.sim.market import Market
from crypto_quant.sim.numbers import text8

# what a flaw changes: what a file holds (and its checksum with it), or one answer
CONTENT_FLAWS = ("unordered", "header", "milliseconds", "duplicated", "holes")
ANSWER_FLAWS = ("checksum", "truncated", "cut", "missing")

_PATH = re.compile(
    r"/data/spot/(daily|monthly)/(aggTrades|klines)/([^/]+)/(?:([^/]+)/)?"
    r"([^/]+)-(aggTrades|[^-/]+)-(\d{4}-\d{2}(?:-\d{2})?)\.zip"
)
_US_PER_DAY = 86_400_000_000
# from this day on spot files are in microseconds
_MICROSECONDS_FROM = date(2025, 1, 1)
_BY_MONTH_ALONE = ("3d", "1w", "1M")
_HEADERS = {
    "aggTrades": "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker,is_best_match",
    "klines": "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,"
    "taker_buy_quote_volume,ignore",
}
_KEPT = 8


class Archive:
    """Answers for what the market has printed on days that are over; a day without a print has no file."""

    def __init__(self, market: Market) -> None:
        self._market = market
        # a file that is asked for in pieces must be the same each time
        self._made: OrderedDict[tuple[str, frozenset[str]], bytes] = OrderedDict()

    def file(self, path: str, flaws: Set[str]) -> bytes | None:
        """Return the zip at ``path`` (decoded), with the content flaws asked for; None where there is none."""
        key = (path, frozenset(flaws))
        if key in self._made:
            return self._made[key]
        match = _PATH.fullmatch(path)
        if match is None:
            return None
        period, kind, symbol, folder, name, what, when = match.groups()
        interval = {"1mo": "1M"}.get(what, what)
        if name != symbol or symbol not in self._market.symbols or len(when) != (10 if period == "daily" else 7):
            return None
        if kind == "aggTrades" and (folder is not None or what != "aggTrades"):
            return None
        if kind == "klines" and (
            folder != what
            or interval not in INTERVALS
            or what == "1M"
            or (period == "daily" and interval in _BY_MONTH_ALONE)
        ):
            return None
        span = _span(when)
        if span is None or _us(span[1]) > self._market.now_us:
            return None
        unit = 1000 if "milliseconds" in flaws or span[0] < _MICROSECONDS_FROM else 1
        begin_us, end_us = _us(span[0]), _us(span[1])
        if kind == "aggTrades":
            lines = list(self._trades(symbol, begin_us, end_us, unit))
        else:
            lines = list(self._candles(symbol, interval, begin_us, end_us, unit))
        if not lines:
            return None
        zipped = _zip(path.rpartition("/")[2], _flawed(lines, kind, flaws))
        self._made[key] = zipped
        while len(self._made) > _KEPT:
            self._made.popitem(last=False)
        return zipped

    def _trades(self, symbol: str, begin_us: int, end_us: int, unit: int) -> Iterator[str]:
        log = self._market.history.aggregates[symbol]
        for one in log.rows(log.at_time(begin_us), log.at_time(end_us)):
            yield (
                f"{one.agg_id},{text8(one.price)},{text8(one.quantity)},{one.first_id},{one.last_id},"
                f"{one.time_us // unit},{one.maker},{one.best}"
            )

    def _candles(self, symbol: str, interval: str, begin_us: int, end_us: int, unit: int) -> Iterator[str]:
        for one in self._market.books[symbol].span(interval, begin_us, end_us - 1):
            numbers = ",".join(map(text8, (one.open, one.high, one.low, one.close, one.volume)))
            yield (
                f"{one.open_us // unit},{numbers},{one.end_us // unit - 1},{text8(one.quote)},{one.count},"
                f"{text8(one.taker_volume)},{text8(one.taker_quote)},0"
            )


def checksum(name: str, zipped: bytes) -> bytes:
    """Return the line of a CHECKSUM file, as ``sha256sum`` writes it."""
    return f"{hashlib.sha256(zipped).hexdigest()}  {name}\n".encode()


class ArchiveFlaws:
    """What goes wrong with files of the archive, on command."""

    def __init__(self) -> None:
        self._armed: list[list[object]] = []

    def arm(self, flaw: str, count: int | None, name: str | None) -> None:
        """Begin: for every file, or those whose name holds ``name``; answers ``count`` times (None: until clear)."""
        if flaw not in (*CONTENT_FLAWS, *ANSWER_FLAWS):
            known = ", ".join((*CONTENT_FLAWS, *ANSWER_FLAWS))
            raise ConfigError("unknown flaw of an archive file", subject=repr(flaw), hint=f"One of: {known}")
        if count is not None and (count < 1 or flaw in CONTENT_FLAWS):
            raise ConfigError(
                "this flaw takes no such count",
                subject=f"{flaw} count={count}",
                hint="What a file holds is not counted",
            )
        self._armed.append([flaw, count, name or ""])

    def clear(self) -> None:
        """End them all."""
        self._armed.clear()

    def content(self, name: str) -> frozenset[str]:
        """Return the flaws of what a file holds."""
        return frozenset(str(flaw) for flaw, _, part in self._armed if flaw in CONTENT_FLAWS and str(part) in name)

    def strikes(self, flaw: str, name: str) -> bool:
        """Return whether this answer suffers a flaw, and count it."""
        for armed in self._armed:
            if armed[0] == flaw and str(armed[2]) in name:
                if isinstance(armed[1], int):
                    armed[1] -= 1
                    if armed[1] == 0:
                        self._armed.remove(armed)
                return True
        return False


def _flawed(lines: list[str], kind: str, flaws: Set[str]) -> list[str]:
    if "duplicated" in flaws:
        lines = [*lines, *lines[: len(lines) // 10 + 1]]
    if "unordered" in flaws:
        # blocks in a strange order, as interleaved writers leave them
        size = max(1, len(lines) // 7)
        blocks = [lines[at : at + size] for at in range(0, len(lines), size)]
        lines = [line for block in (*blocks[1::2], *reversed(blocks[0::2])) for line in block]
    if "holes" in flaws:
        lines = [line for at, line in enumerate(lines) if at % 50 not in (7, 8)]
    return [_HEADERS[kind], *lines] if "header" in flaws else lines


def _zip(name: str, lines: list[str]) -> bytes:
    out = io.BytesIO()
    member = zipfile.ZipInfo(name.removesuffix(".zip") + ".csv", (1980, 1, 1, 0, 0, 0))
    member.compress_type = zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(out, "w") as packed:
        packed.writestr(member, "".join(f"{line}\n" for line in lines))
    return out.getvalue()


def _span(when: str) -> tuple[date, date] | None:
    """Return the days of a file's name: the first, and the one after the last."""
    try:
        if len(when) == 10:
            day = date.fromisoformat(when)
            return day, day + timedelta(days=1)
        first = date.fromisoformat(f"{when}-01")
        return first, (first + timedelta(days=32)).replace(day=1)
    except (ValueError, OverflowError):
        return None


def _us(day: date) -> int:
    moment = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return int((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()) * 1_000_000
