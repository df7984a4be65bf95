"""Random stretches of what is claimed, fetched anew from the exchange and compared: the check that believes nobody."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Protocol

from crypto_quant.binance.archive import ArchiveFile
from crypto_quant.binance.streams import Stream
from crypto_quant.binance.venues import StreamKind
from crypto_quant.claims import Claims
from crypto_quant.continuity import Gap
from crypto_quant.errors import CryptoQuantError
from crypto_quant.flow.archives import ArchiveShelf
from crypto_quant.flow.audit import Progress
from crypto_quant.flow.report import SampleDifference, SampledStretch, SampleReport
from crypto_quant.flow.rest import ExchangeRest
from crypto_quant.market import NS_PER_US, Candle, Timeframe, Venue, day_of, utc_text
from crypto_quant.sampling import Fields, Sample, choose, compare
from crypto_quant.seals import TRADES, Key, timeframe_of

_TRIES = 3
# a whole process' weight, less what a recorder beside it wants
_SHARE = 0.5
# so many differences of a stretch are named; all are counted
_NAMED_MAX = 20
_AGG_TRADE = Stream(StreamKind.AGG_TRADE)


class Rows(Protocol):
    """The rows of samples, as they are stored. Raises the store's errors."""

    async def rows(self, sample: Sample, span: tuple[int, int] | None) -> dict[int, list[Fields]]:
        """Return the rows of a sample by position; of trades those within ``span`` (ns, the end exclusive)."""
        ...

    async def around(self, samples: Sequence[Sample]) -> dict[Sample, tuple[int, int]]:
        """Return the time (ns) in which each sample of trades lies, where that is known."""
        ...


class Sampler:
    """Draws and checks samples. ``exchanges`` are asked, by venue; what REST has not comes from the archive's days."""

    def __init__(
        self, rows: Rows, exchanges: Mapping[str, ExchangeRest], shelf: ArchiveShelf, progress: Progress
    ) -> None:
        self._rows = rows
        self._exchanges = exchanges
        self._shelf = shelf
        self._progress = progress

    async def run(self, claims: Mapping[Key, Claims], count: int, seed: int, now_ns: int) -> SampleReport:
        """Check ``count`` stretches, chosen by ``seed``; the exchange's errors are in the report.

        Raises the store's errors.
        """
        samples = choose(claims, count, Random(seed))  # noqa: S311  # to be repeated, not to be secret
        around = await self._rows.around([each for each in samples if each.key[2] == TRADES])
        report = SampleReport(seed=seed, asked_at=utc_text(now_ns))
        for number, sample in enumerate(samples):
            self._progress(f"sample of {sample.key[1]} {sample.key[2]}", number, len(samples))
            report.stretches.append(await self._check(sample, around.get(sample)))
        return report

    async def _check(self, sample: Sample, span: tuple[int, int] | None) -> SampledStretch:
        stored = await self._rows.rows(sample, span)
        venue, symbol, stream = sample.key
        result = SampledStretch(venue, symbol, stream, sample.first, sample.last, "")
        try:
            result.source, true = await self._true(sample, stored)
        except CryptoQuantError as problem:
            result.unchecked = str(problem)
            return result
        differences = compare(sample, stored, true)
        result.checked = sample.last - sample.first + 1
        result.different = len({each.position for each in differences})
        result.differences = [SampleDifference(*each) for each in differences[:_NAMED_MAX]]
        return result

    async def _true(self, sample: Sample, stored: Mapping[int, Sequence[Fields]]) -> tuple[str, dict[int, Fields]]:
        """Return who was asked, and what the exchange has; raise CryptoQuantError when nobody can tell."""
        venue, symbol, stream = sample.key
        rest = self._exchanges[venue]
        if stream != TRADES:
            frame = Timeframe(timeframe_of(stream))
            opens = frame.slot_open_ns(sample.first), frame.slot_open_ns(sample.last + 1) - 1
            candles = await rest.insist(f"klines {symbol}", lambda: rest.klines(symbol, frame, *opens), _TRIES)
            # an empty answer or one that ends early contradicts nothing: it may be a listing that is gone
            if not candles or frame.slot(candles[-1].open_ns) < sample.last:
                raise CryptoQuantError("REST does not have all of it", subject=f"{symbol} {frame}")
            return "rest", {frame.slot(each.open_ns): _candle(each) for each in candles}
        try:
            return "rest", await self._over_rest(rest, sample)
        except CryptoQuantError:
            archived = await self._from_archive(sample, stored)
            if archived is None:
                raise
            return "archive", archived

    async def _over_rest(self, rest: ExchangeRest, sample: Sample) -> dict[int, Fields]:
        symbol, first, size = sample.key[1], sample.first, sample.last - sample.first + 1
        page = await rest.insist(
            f"aggTrades {symbol} from {first}", lambda: rest.agg_trades(symbol, first, size, share=_SHARE), _TRIES
        )
        # behind its last row a page says nothing, and neither does one that begins elsewhere
        if not page.ids or page.ids[0] != first or page.ids[-1] < sample.last:
            raise CryptoQuantError("REST does not have all of it", subject=f"{symbol} {first} to {sample.last}")
        return {number: _trade(row) for number, row in zip(page.row_ids, page.rows, strict=True)}

    async def _from_archive(self, sample: Sample, stored: Mapping[int, Sequence[Fields]]) -> dict[int, Fields] | None:
        """Return what the archive's files of its days have; None when it has not all of it, or there is none."""
        times = [int(row["time"] or 0) for rows in stored.values() for row in rows]
        if not times:
            return None
        venue, symbol, _ = sample.key
        found: dict[int, Fields] = {}
        first, last = day_of(min(times) * NS_PER_US), day_of(max(times) * NS_PER_US)
        # the days between too: a page of a quiet symbol spans many, and a trade of a day not read would seem invented
        for number in range((last - first).days + 1):
            day = first + timedelta(days=number)
            file = ArchiveFile(Venue(venue), symbol, _AGG_TRADE, day, day, False)
            path = await self._shelf.fetch(file)
            if path is None:
                return None
            lines = await asyncio.to_thread(self._shelf.pick, file, path, Gap(sample.first, sample.last))
            found.update({number: _trade(row) for number, row in zip(lines.ids, lines.rows, strict=True) if row})
        return found if {sample.first, sample.last} <= found.keys() else None


def _trade(row: bytes) -> Fields:
    """Return the fields of a line of COPY text."""
    time, _venue, _symbol, _id, price, quantity, first, last, maker, *_ = row.decode().rstrip("\n").split("\t")
    moment = datetime.fromisoformat(time)
    return {
        "time": int(moment.replace(microsecond=0).timestamp()) * 1_000_000 + moment.microsecond,
        "price": Decimal(price), "quantity": Decimal(quantity), "first_trade_id": int(first),
        "last_trade_id": int(last), "is_buyer_maker": maker == "t",
    }  # fmt: skip


def _candle(candle: Candle) -> Fields:
    return {
        "time": candle.open_ns // NS_PER_US, "open": Decimal(candle.open), "high": Decimal(candle.high),
        "low": Decimal(candle.low), "close": Decimal(candle.close), "volume": Decimal(candle.volume),
        "quote_volume": Decimal(candle.quote_volume), "trade_count": candle.trade_count,
        "taker_buy_volume": Decimal(candle.taker_buy_volume),
        "taker_buy_quote_volume": Decimal(candle.taker_buy_quote_volume),
    }  # fmt: skip
