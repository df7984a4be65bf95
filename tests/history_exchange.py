"""An exchange's history behind a plain HTTP client: files and REST that hold what a test says, and no more.

What it prints is the truth; files may leave some of it out, and REST may cut its answers short.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from urllib.parse import urlsplit

from crypto_quant.binance.archive import ArchiveFile
from crypto_quant.binance.streams import Stream
from crypto_quant.market import Venue, day_ns
from crypto_quant.seams import HttpAnswer

NS_PER_MS = 1_000_000


class PrintedHistory:
    """Serves trades (ids with their times in ms) and candles (open times in ms) of one symbol, as ``seams.Http``.

    ``shortest`` is the most rows that a REST page may hold; ``answer`` may change a page once it is made.
    """

    def __init__(self, venue: Venue = Venue.SPOT, symbol: str = "btcusdt") -> None:
        self.venue, self.symbol = venue, symbol
        self.trades: dict[int, int] = {}
        self.candles: list[int] = []
        self.rest_trades: set[int] | None = None
        self.rest_candles: set[int] | None = None
        self.most = 1000
        self.answer: Callable[[str, list[object]], list[object]] = lambda _path, rows: rows
        self.rest_status = 200
        self.now_ms = begin_ms(date(2026, 10, 1))
        self.files: dict[str, bytes] = {}
        self.wrong: set[str] = set()
        self.asked: list[str] = []

    # -- files ----------------------------------------------------------------------------------------------

    def file(self, stream: Stream, first: date, last: date, lines: Sequence[str], *, monthly: bool = False) -> str:
        """Put a file of the archive there; return its name."""
        file = ArchiveFile(self.venue, self.symbol, stream, first, last, monthly)
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as packed:
            packed.writestr(file.name.replace(".zip", ".csv"), "".join(f"{line}\n" for line in lines))
        self.files[file.path] = out.getvalue()
        return file.name

    def trade_lines(self, keep: Callable[[int, date], bool]) -> list[str]:
        """Return the lines of the trades (id, day) to keep."""
        return [
            f"{number},1.5,2,{number},{number},{at},true,true"
            for number, at in sorted(self.trades.items())
            if keep(number, day_at(at))
        ]

    def candle_lines(self, keep: Callable[[int], bool]) -> list[str]:
        """Return the lines of the candles (open time in ms) to keep."""
        return [f"{at},1,2,0.5,1.5,10,{at + 59_999},15,3,4,6,0" for at in self.candles if keep(at)]

    # -- seams.Http -----------------------------------------------------------------------------------------

    async def get(self, url: str, params: Mapping[str, str], _headers: Mapping[str, str]) -> HttpAnswer:
        path = urlsplit(url).path
        self.asked.append(path)
        if path.endswith(".CHECKSUM"):
            path = path.removesuffix(".CHECKSUM")
            if path not in self.files:
                return HttpAnswer(404, {}, b"")
            name = path.rpartition("/")[2]
            digest = hashlib.sha256(self.files[path] + (b"?" if name in self.wrong else b"")).hexdigest()
            return HttpAnswer(200, {}, f"{digest}  {name}\n".encode())
        if path.endswith("/time"):
            return HttpAnswer(200, {}, b'{"serverTime":%d}' % self.now_ms)
        if self.rest_status != 200:
            return HttpAnswer(self.rest_status, {}, b'{"code":-1121,"msg":"Invalid symbol."}')
        rows = self._agg_trades(params) if path.endswith("/aggTrades") else self._klines(params)
        return HttpAnswer(200, {}, json.dumps(self.answer(path, rows)).encode())

    async def download(self, url: str, into: Path) -> HttpAnswer:
        path = urlsplit(url).path
        self.asked.append(path)
        if path not in self.files:
            return HttpAnswer(404, {}, b"")
        into.write_bytes(self.files[path])  # noqa: ASYNC240 - a double
        return HttpAnswer(200, {}, b"")

    async def close(self) -> None:
        """Nothing is open."""

    def _agg_trades(self, params: Mapping[str, str]) -> list[object]:
        limit = min(int(params["limit"]), self.most)
        known = sorted(self.trades if self.rest_trades is None else self.rest_trades)
        if "fromId" in params:
            ids = [number for number in known if number >= int(params["fromId"])][:limit]
        elif "startTime" in params:
            ids = [number for number in known if self.trades[number] >= int(params["startTime"])][:limit]
        else:
            ids = known[-limit:]
        return [
            {"a": one, "p": "1.5", "q": "2", "f": one, "l": one, "T": self.trades[one] * 1000, "m": True} for one in ids
        ]

    def _klines(self, params: Mapping[str, str]) -> list[object]:
        limit = min(int(params["limit"]), self.most)
        known = sorted(self.candles if self.rest_candles is None else self.rest_candles)
        opens = [at for at in known if int(params["startTime"]) <= at <= int(params["endTime"])][:limit]
        return [[at, "1", "2", "0.5", "1.5", "10", at + 59_999, "15", 3, "4", "6", "0"] for at in opens]


def day_at(time_ms: int) -> date:
    """Return the day of a time in ms."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).date()


def begin_ms(day: date) -> int:
    """Return when a day begins, in ms."""
    return day_ns(day) // NS_PER_MS
