"""The archive of a world: the files of the days that are over, late, flawed, cut; what it delivers whole is right."""

import asyncio
import io
import zipfile
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING
from urllib.parse import unquote

from crypto_quant.errors import ExchangeUnavailable
from crypto_quant.seams import HttpAnswer
from crypto_quant.sim.archive import Archive, checksum
from crypto_quant.sim.world.oddities import MIDNIGHT_US

if TYPE_CHECKING:
    from crypto_quant.sim.world.exchange import Exchange

ARCHIVE_URL = "http://archive.world"
_DAY_US = 86_400_000_000
# trades of the day before the world began, so that it has a file as well
_OLDER = 20


class WorldArchive:
    """Answers below ``ARCHIVE_URL``. ``delivered`` are the names sent whole."""

    def __init__(self, exchange: "Exchange") -> None:
        oddities = exchange.plan.oddities
        self.delivered: set[str] = set()
        self.last_day = day_text(MIDNIGHT_US - 1)
        self._exchange = exchange
        self._oddities = oddities
        self._files = _Files(exchange)
        self._flaws = deque(oddities.flaws)
        self._calm_flaws = deque(oddities.calm_flaws)
        self._dice = Random(f"archive {exchange.plan.seed}")  # noqa: S311

    async def get(self, url: str) -> HttpAnswer:
        """Answer a GET of a CHECKSUM."""
        path = unquote(url.removeprefix(ARCHIVE_URL)).removesuffix(".CHECKSUM")
        flaw = await self._flaw("checksum")
        zipped = self._file(path)
        if zipped is None:
            return HttpAnswer(404, {}, b"")
        name = path.rpartition("/")[2]
        return HttpAnswer(200, {}, checksum(name, zipped + b"!" if flaw == "checksum" else zipped))

    async def download(self, url: str, into: Path) -> HttpAnswer:
        """Send a file, or the rest of it, to the end of ``into`` (``Http.download``)."""
        path = unquote(url.removeprefix(ARCHIVE_URL))
        flaw = await self._flaw("cut", "missing", "altered", "truncated")
        zipped = None if flaw == "missing" else self._file(path, altered=flaw == "altered")
        if zipped is None:
            return HttpAnswer(404, {}, b"")
        begin = into.stat().st_size if into.exists() else 0  # noqa: ASYNC240  # a world's disk takes no time
        if begin >= len(zipped):
            return HttpAnswer(416, {}, b"")
        middle = (begin + len(zipped)) // 2
        _append(into, zipped[begin:middle])
        await asyncio.sleep(self._dice.uniform(0.001, 0.5))
        if flaw == "cut":
            raise ExchangeUnavailable("the answer was cut", subject=path)
        if flaw != "truncated":
            _append(into, zipped[middle:])
        self.delivered.add(path.rpartition("/")[2])
        return HttpAnswer(206 if begin else 200, {}, b"")

    async def _flaw(self, *fitting: str) -> str:
        """Let the request take its time; return what befalls it. Raises ExchangeUnavailable."""
        await asyncio.sleep(self._dice.uniform(0.01, 0.5))
        flaws = self._calm_flaws if self._exchange.calm else self._flaws
        if not self.published or not flaws or flaws[0] not in (*fitting, "refused", "silent"):
            return ""
        flaw = flaws.popleft()
        self._exchange.saw(f"archive {flaw}")
        self._exchange.trace("archive", flaw)
        if flaw in ("refused", "silent"):
            raise ExchangeUnavailable(f"the archive is {flaw}")
        return flaw

    @property
    def published(self) -> bool:
        """Whether the file of the day that ended is there."""
        began_us = MIDNIGHT_US - int((self._oddities.midnight_s or 0.0) * 1e6)
        return self._exchange.now_us() >= began_us + int(self._oddities.published_s * 1e6)

    def _file(self, path: str, *, altered: bool = False) -> bytes | None:
        if self._oddities.midnight_s is None:
            return None
        if path.endswith(f"-{self.last_day}.zip"):
            return self._files.of_last_day(path, altered=altered) if self.published else None
        return self._files.of_day_before(path)


class _Files(Archive):
    """The files themselves, made from what was printed."""

    def __init__(self, exchange: "Exchange") -> None:
        super().__init__(exchange.market)
        self._exchange = exchange
        content = exchange.plan.oddities.content
        self._content = frozenset(content) - {"holes"}
        self._holes = "holes" in content
        self._altered = False

    def of_last_day(self, path: str, *, altered: bool) -> bytes | None:
        self._altered = altered
        return self.file(path, self._content | {"altered"} if altered else self._content)

    def of_day_before(self, path: str) -> bytes | None:
        name = path.rpartition("/")[2]
        symbol, _, rest = name.partition("-aggTrades-")
        if symbol not in self._exchange.market.symbols or rest != f"{day_text(MIDNIGHT_US - 1 - _DAY_US)}.zip":
            return None
        first = self._exchange.market.symbols[symbol].first_agg_id - _OLDER
        time_us = MIDNIGHT_US - _DAY_US - 1_000_000
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as packed:
            member = zipfile.ZipInfo(name.removesuffix(".zip") + ".csv", (1980, 1, 1, 0, 0, 0))
            lines = (f"{first + n},1.0,1.0,{n},{n},{time_us + n},True,True\n" for n in range(_OLDER))
            packed.writestr(member, "".join(lines))
        return out.getvalue()

    def _trades(self, symbol: str, begin_us: int, end_us: int, unit: int) -> Iterator[str]:
        for line in super()._trades(symbol, begin_us, end_us, unit):
            number, price, quantity, rest = line.split(",", 3)
            if self._holes and self._is_hole(symbol, int(number)):
                continue
            # as a file that is being replaced may be: readable, and not what it will be
            yield f"{number},{price},9{quantity},{rest}" if self._altered else line

    def _is_hole(self, symbol: str, number: int) -> bool:
        """A row that the archive lacks: never one that nobody else has."""
        return number % 3 == 0 and not self._exchange.is_forgotten(symbol, number)


def day_text(time_us: int) -> str:
    """Return the day of a time as the archive writes it."""
    return f"{datetime.fromtimestamp(time_us // 1_000_000, UTC):%Y-%m-%d}"


def _append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)
