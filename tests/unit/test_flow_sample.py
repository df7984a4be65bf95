"""The samples that are held against the exchange: what counts as its answer."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from crypto_quant.binance.archive import ArchiveFile, TradeLines
from crypto_quant.continuity import Gap
from crypto_quant.errors import RequestRefused
from crypto_quant.flow.archives import ArchiveShelf
from crypto_quant.flow.rest import ExchangeRest
from crypto_quant.flow.sample import Sampler, _trade
from crypto_quant.market import Candle, Timeframe, Venue
from crypto_quant.sampling import Fields, Sample

DAYS = ["2026-09-01", "2026-09-02", "2026-09-03", "2026-09-04"]
ROWS = {
    at: f"{day} 12:00:00.000000+00\tusdm\tbtcusdt\t{at}\t1.5\t2\t{at}\t{at}\tt\t\\N\n".encode()
    for at, day in enumerate(DAYS, start=10)
}


class Stored:
    """Rows of a database that are those of the exchange."""

    def __init__(self, rows: dict[int, list[Fields]]) -> None:
        self.found = rows

    async def rows(self, sample: Sample, span: tuple[int, int] | None) -> dict[int, list[Fields]]:
        return self.found

    async def around(self, samples: Sequence[Sample]) -> dict[Sample, tuple[int, int]]:
        return {}


class Rest:
    """REST that has no trades any more, and just these candles."""

    candles: Sequence[Candle] = ()

    async def insist(self, what: str, ask: Any, tries: int) -> Any:
        return await ask()

    async def agg_trades(self, symbol: str, first: int, size: int, *, share: float) -> Any:
        raise RequestRefused("gone", status=400, code=-1, subject=symbol)

    async def klines(self, symbol: str, frame: Timeframe, first: int, last: int) -> list[Candle]:
        return list(self.candles)


class Shelf:
    """An archive with a trade a day."""

    async def fetch(self, file: ArchiveFile) -> Path | None:
        return Path(file.name)

    def pick(self, file: ArchiveFile, path: Path, gap: Gap) -> TradeLines:
        at = 10 + DAYS.index(file.first.isoformat())
        return TradeLines([at], [ROWS[at]])


def sampler(stored: dict[int, list[Fields]], venue: Venue = Venue.USDM) -> Sampler:
    exchanges = {venue.value: cast(ExchangeRest, Rest())}
    return Sampler(Stored(stored), exchanges, cast(ArchiveShelf, Shelf()), lambda _what, _done, _all: None)


async def test_every_day_of_a_stretch_is_read_from_the_archive() -> None:
    stored = {at: [_trade(row)] for at, row in ROWS.items()}
    found = await sampler(stored)._check(Sample(("usdm", "btcusdt", "aggTrade"), 10, 13), None)
    assert (found.source, found.unchecked, found.checked, found.different) == ("archive", "", 4, 0), found


async def test_an_empty_answer_for_candles_contradicts_nothing() -> None:
    stored = {at: [cast(Fields, {"time": at * 60_000_000, "open": 1})] for at in (7, 8)}
    found = await sampler(stored)._check(Sample(("usdm", "btcusdt", "kline_1m"), 7, 8), None)
    assert found.unchecked
    assert found.different == 0
