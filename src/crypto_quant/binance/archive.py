"""The public archive (data.binance.vision) as values: which files hold a range of days, and what is in them.

Nothing here fetches or opens anything. Layout, columns and defects are those that the archive's own README, its issue
tracker and measurements of 2026-09 tell of: spot files have no header and are in microseconds since 2025-01-01,
futures files have one since 2022 and stay in milliseconds; rows may be out of order, and may be there twice.
"""

import re
from calendar import monthrange
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, timedelta
from functools import lru_cache
from operator import le
from typing import NamedTuple
from urllib.parse import quote

import msgspec

from crypto_quant.binance.backhistory import is_void
from crypto_quant.binance.streams import Stream
from crypto_quant.errors import UndecodableFrame
from crypto_quant.market import NS_PER_MS, NS_PER_US, Candle, Timeframe, Venue, wire_symbol
from crypto_quant.rows import MICROSECONDS_FROM, TimeText, candle_row, is_decimal, key_text
from crypto_quant.seams import Lines

ARCHIVE_URL = "https://data.binance.vision"
_AREAS = {Venue.SPOT: "spot", Venue.USDM: "futures/um", Venue.COINM: "futures/cm"}
# the archive's own script offers these by the month alone
_MONTHLY_ONLY = frozenset({Timeframe.D3, Timeframe.W1, Timeframe.MO1})
_CHECKSUM = re.compile(rb"([0-9a-fA-F]{64})  ?\*?(\S+)\s*")
_VOLUME_DIGITS = 30
_PRICE_DIGITS = 12
_CACHED_SECONDS = 4096
# of text that is turned into rows at once: it stays in the processor's cache, and other threads have their turn between
_BLOCK = 64 * 1024
_TIME_END = 253_402_300_800_000_000


class ArchiveFile(msgspec.Struct, frozen=True):
    """One zip of the archive: ``first`` to ``last`` are the days that it holds, both inclusive, UTC."""

    venue: Venue
    symbol: str
    stream: Stream
    first: date
    last: date
    monthly: bool

    @property
    def name(self) -> str:
        """``BTCUSDT-aggTrades-2026-09-30.zip``"""
        when = f"{self.first:%Y-%m}" if self.monthly else f"{self.first:%Y-%m-%d}"
        return f"{wire_symbol(self.symbol)}-{self._kind[-1]}-{when}.zip"

    @property
    def path(self) -> str:
        """Where it lies under the archive's base URL, percent-encoded: symbols need not be ASCII."""
        kind = self._kind
        folders = (kind[0], wire_symbol(self.symbol), *kind[1:])
        period = "monthly" if self.monthly else "daily"
        return "/".join(["/data", _AREAS[self.venue], period, *map(quote, (*folders, self.name))])

    @property
    def _kind(self) -> tuple[str, ...]:
        if self.stream.timeframe is None:
            return ("aggTrades",)
        return "klines", "1mo" if self.stream.timeframe is Timeframe.MO1 else self.stream.timeframe.value

    def days(self) -> "list[ArchiveFile]":
        """Return the daily files that hold the same; none where the archive has months alone."""
        if not self.monthly or self.stream.timeframe in _MONTHLY_ONLY:
            return []
        count = (self.last - self.first).days + 1
        return [_daily(self, self.first + timedelta(days=n)) for n in range(count)]


def _daily(like: ArchiveFile, day: date) -> ArchiveFile:
    return ArchiveFile(like.venue, like.symbol, like.stream, day, day, False)


def files_around(day: ArchiveFile) -> list[ArchiveFile]:
    """Return the files that may hold what a daily file holds: itself, where there are such, and its month's."""
    begin = day.first.replace(day=1)
    end = begin.replace(day=monthrange(begin.year, begin.month)[1])
    month = ArchiveFile(day.venue, day.symbol, day.stream, begin, end, True)
    return [month] if day.stream.timeframe in _MONTHLY_ONLY else [day, month]


def files_for(venue: Venue, symbol: str, stream: Stream, first: date, last: date, today: date) -> list[ArchiveFile]:
    """Return the files that hold the days ``first`` to ``last`` (inclusive), as far as they can be published.

    A whole month that is over is one file; everything else comes by the day. ``today`` and later have no file yet.
    Candles of three days, a week and a month come by the month alone: then the month's file is named even if only a
    part of it is wanted.
    """
    last = min(last, today - timedelta(days=1))
    by_month = stream.timeframe in _MONTHLY_ONLY
    files: list[ArchiveFile] = []
    day = first
    while day <= last:
        begin = day.replace(day=1)
        end = day.replace(day=monthrange(day.year, day.month)[1])
        if by_month or (day == begin and end <= last):
            if end < today:
                files.append(ArchiveFile(venue, symbol, stream, begin, end, True))
            day = end + timedelta(days=1)
        else:
            files.append(ArchiveFile(venue, symbol, stream, day, day, False))
            day += timedelta(days=1)
    return files


def parse_checksum(body: bytes, name: str) -> str:
    """Return the SHA-256 (lower-case hex) of a ``.CHECKSUM`` file; raise UndecodableFrame if it is not ``name``'s."""
    match = _CHECKSUM.fullmatch(body.strip())
    if match is None or match[2].decode("utf-8", "replace").rpartition("/")[2] != name:
        raise UndecodableFrame("not a checksum line", subject=f"{name}.CHECKSUM: {body[:100]!r}")
    return match[1].decode().lower()


class TradeLines(NamedTuple):
    """Rows of a file in rising order of id; void ones (known, nothing to store) as empty bytes, never in ``Lines``."""

    ids: list[int]
    rows: Sequence[bytes]


_TRADE_LINE = re.compile(
    r"^(\d{1,18}),(\d{1,12}(?:\.\d{1,8})?),(\d{1,12}(?:\.\d{1,8})?),(-1|\d{1,18}),(-1|\d{1,18}),"
    # whole seconds, ten digits from 2001 on, and milliseconds or microseconds
    r"(\d{10})(\d{3}|\d{6}),([Tt]rue|[Ff]alse)(?:,[A-Za-z]*)?\r?$",
    re.MULTILINE | re.ASCII,
)
# what `is_decimal` takes with twelve digits
_DECIMAL = rb"\d{1,12}+(?:\.\d{1,8}+)?+"
_MAKER = {"True": "t", "true": "t", "False": "f", "false": "f"}


class _Seconds(dict[str, str]):
    """The text of each second since the epoch, made once."""

    def __init__(self) -> None:
        super().__init__()
        self._times = TimeText()

    def __missing__(self, second: str) -> str:
        if len(self) >= _CACHED_SECONDS:
            self.clear()
        text = self[second] = self._times(int(second) * 1000)[: len("2026-10-01 12:00:01.")]
        return text


class TradeReader:
    """Turns the lines of an aggTrades file into rows of COPY text; the exchange's decimal text is not touched.

    The unit of each time is told by its size, so a file may be in ms or in µs. Rows have no receive time.
    """

    def __init__(self, venue: Venue, symbol: str) -> None:
        self._key = key_text(venue, symbol)
        self._seconds = _Seconds()

    def read(self, lines: bytes) -> TradeLines:
        """Return the trades of whole lines, sorted by id; a header line is passed over wherever it stands.

        Of several rows with one id each is returned, in the order of the file. Raises UndecodableFrame that shows
        the first line which is not what the archive documents.
        """
        ids: list[int] = []
        parts: list[bytes] = []
        for block in _blocks(lines):
            alike = self._read_alike(block)
            if alike is None or (ids and alike[0][0] < ids[-1]):
                return self._read_each(lines)
            ids += alike[0]
            parts.append(alike[1])
        return TradeLines(ids, Lines(parts, len(ids)))

    def _read_alike(self, block: bytes) -> tuple[list[int], bytes] | None:
        """Return ids and rows of lines that are sound, sorted and all of one form; None when they are not.

        That is what files hold nearly everywhere. One expression, made after the first line, checks a whole block at
        once, and ids of one length compare as numbers do.
        """
        end = block.find(b"\n")
        like = _TRADE_LINE.match(block[: end + 1].decode("utf-8", "replace"))
        if like is None:
            return None
        number, _, _, first, _, second, fraction, side = like.groups()
        yes, no = (b"True", b"False") if side[0].isupper() else (b"true", b"false")
        tail = block[like.end(8) : end + 1]
        if not _alike(len(number), len(first), len(second + fraction), yes + b"|" + no, tail).fullmatch(block):
            return None
        text = block.replace(b",%b%b" % (yes, tail), b",t,").replace(b",%b%b" % (no, tail), b",f,").decode()
        fields = text.split(",")
        fields.pop()  # nothing stands behind the last comma
        columns = [fields[at::7] for at in range(7)]
        ids = list(map(int, columns[0]))
        if ids != sorted(ids) or not all(map(le, columns[3], columns[4])):
            return None
        seconds, key, cut = self._seconds, self._key, len(second)
        zone = f"{'0' * (6 - len(fraction))}+00"
        rows = [
            f"{seconds[time[:cut]]}{time[cut:]}{zone}\t{key}\t{number}\t{price}\t{quantity}\t{first}\t{last}"
            f"\t{maker}\t\\N\n"
            for number, price, quantity, first, last, time, maker in zip(*columns, strict=True)
        ]
        return ids, "".join(rows).encode()

    def _read_each(self, lines: bytes) -> TradeLines:
        """Return the trades of any lines, each of them looked at by itself."""
        text = lines.decode("utf-8", "replace")
        found = _TRADE_LINE.findall(text)
        if len(found) != text.count("\n") + (not text.endswith("\n") and bool(text)):
            self._check(text, len(found))
        seconds, key, maker = self._seconds, self._key, _MAKER
        ids = [int(one[0]) for one in found]
        rows = [
            f"{seconds[second]}{fraction:0<6}+00\t{key}\t{number}\t{price}\t{quantity}\t{first}\t{last}"
            f"\t{maker[side]}\t\\N\n".encode()
            for number, price, quantity, first, last, second, fraction, side in found
        ]
        # text of one length compares as its number does: what looks odd is looked at again below
        if "-1," in text or any(len(one[3]) != len(one[4]) or one[3] > one[4] for one in found):
            for at, (number, price, quantity, first, last, *_) in enumerate(found):
                if is_void(price, quantity, int(first), int(last)):
                    rows[at] = b""
                elif int(first) < 0 or int(last) < int(first):
                    raise UndecodableFrame("trade ids are no range", subject=f"{number}: {first} to {last}")
        if ids != sorted(ids):
            order = sorted(range(len(ids)), key=ids.__getitem__)  # stable: the file's order among equals
            ids, rows = [ids[at] for at in order], [rows[at] for at in order]
        return TradeLines(ids, rows)

    def _check(self, text: str, found: int) -> None:
        """Raise for a line that is no trade, unless it is a header or empty."""
        passed = 0
        for line in text.splitlines():
            if _TRADE_LINE.match(line):
                passed += 1
            elif line.strip() and not _is_header(line):
                raise UndecodableFrame("not a line of aggTrades", subject=repr(line[:120]))
        if passed != found:
            raise UndecodableFrame("lines of aggTrades that do not end as lines do", subject=f"{found - passed}")


def _blocks(lines: bytes) -> Iterator[bytes]:
    """Cut text into blocks of whole lines; a header at its begin is left out."""
    at = lines.find(b"\n") + 1 if _is_header(lines[:20].decode("utf-8", "replace")) else 0
    while at < len(lines):
        end = lines.find(b"\n", at + _BLOCK) + 1 or len(lines)
        yield lines[at:end]
        at = end


@lru_cache(maxsize=64)
def _alike(id_digits: int, trade_id_digits: int, time_digits: int, maker: bytes, tail: bytes) -> re.Pattern[bytes]:
    """Return what fits trades whose ids, first and last ids, and times have so many digits, one behind the other."""
    numbers = rb"\d{%d},%b,%b,\d{%d},\d{%d},\d{%d}"
    line = numbers % (id_digits, _DECIMAL, _DECIMAL, trade_id_digits, trade_id_digits, time_digits)
    return re.compile(rb"(?:%b,(?:%b)%b)*+" % (line, maker, re.escape(tail)))


def _is_header(line: str) -> bool:
    return line.lower().startswith(("agg_trade_id,", "a,", "open_time,"))


def read_candles(lines: bytes, venue: Venue, symbol: str, timeframe: Timeframe) -> list[Candle]:
    """Return the candles of whole lines of a klines file, sorted by time, of equal open times the first alone.

    Raises UndecodableFrame that shows the first line which is not what the archive documents.
    """
    found: dict[int, Candle] = {}
    for line in lines.decode("utf-8", "replace").splitlines():
        if line.strip() and not _is_header(line):
            candle = _candle(line, venue, symbol, timeframe)
            found.setdefault(candle.open_ns, candle)
    return [found[open_ns] for open_ns in sorted(found)]


def _candle(line: str, venue: Venue, symbol: str, timeframe: Timeframe) -> Candle:
    # open_time, open, high, low, close, volume, close_time, quote_volume, count, taker_buy_volume,
    # taker_buy_quote_volume, ignore: the last one is junk, and not always 0
    fields = line.split(",")
    try:
        open_time, price, high, low, close, volume, _, quote, count, taker, taker_quote = fields[:11]
    except ValueError:
        raise UndecodableFrame("not a line of klines", subject=repr(line[:200])) from None
    whole = (open_time, count)
    if (
        not all(text.isascii() and text.isdigit() and len(text) <= 18 for text in whole)
        or int(open_time) >= _TIME_END
        or not all(is_decimal(text, _PRICE_DIGITS) for text in (price, high, low, close))
        or not all(is_decimal(text, _VOLUME_DIGITS) for text in (volume, quote, taker, taker_quote))
    ):
        raise UndecodableFrame("not a line of klines", subject=repr(line[:200]))
    time = int(open_time)
    return Candle(
        venue=venue,
        symbol=symbol,
        timeframe=timeframe,
        open_ns=time * (NS_PER_US if time >= MICROSECONDS_FROM else NS_PER_MS),
        open=price,
        high=high,
        low=low,
        close=close,
        volume=volume,
        quote_volume=quote,
        trade_count=int(count),
        taker_buy_volume=taker,
        taker_buy_quote_volume=taker_quote,
        first_trade_id=None,
        last_trade_id=None,
    )


def candle_rows(candles: Iterable[Candle]) -> Sequence[bytes]:
    """Return the candles as rows of COPY text."""
    times = TimeText()
    return [candle_row(candle, times) for candle in candles]
