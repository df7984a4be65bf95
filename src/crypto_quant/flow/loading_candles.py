"""Candles of the past into the store: from archives where there are files, over REST where there are none."""

import asyncio
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

from crypto_quant import events
from crypto_quant.binance.archive import ArchiveFile, files_for, read_candles
from crypto_quant.binance.history import closed_only
from crypto_quant.continuity import Gap, RangeSet
from crypto_quant.errors import ArchiveDamaged, RetryableError, SetAsideError, UndecodableFrame
from crypto_quant.flow.archives import ArchiveShelf, ahead, read_pieces
from crypto_quant.flow.delivery import Delivery
from crypto_quant.flow.loading import Outcome, Progress, Wanted
from crypto_quant.flow.rest import ExchangeRest
from crypto_quant.market import NS_PER_S, Candle, Timeframe, Venue, day_ns, day_of, utc_text
from crypto_quant.seams import Emit, Ledger, Source

_TRIES = 5
_PAGE = 1000
# a candle that ended this instant may still be settled
_GRACE_NS = 10 * NS_PER_S


class CandleLoader:
    """Loads closed candles. ``now_ns`` is the exchange's time when it was made: what ends later, or has ended less
    than ten seconds before, is not loaded.

    Days whose candles are all stored, or known to be nowhere, are neither fetched nor written again. What an archive
    lacks is asked for over REST once; a candle that neither has is a hole of the exchange: it counts as ``absent``,
    and where there is a file it is recorded as such, with the proof.
    """

    def __init__(
        self,
        rest: ExchangeRest,
        shelf: ArchiveShelf,
        delivery: Delivery,
        ledger: Ledger,
        *,
        venue: Venue,
        now_ns: int,
        emit: Emit,
    ) -> None:
        self._rest = rest
        self._shelf = shelf
        self._delivery = delivery
        self._ledger = ledger
        self._venue = venue
        self._now_ns = now_ns - _GRACE_NS
        self._today = day_of(now_ns)
        self._emit = emit

    def units(self, wanted: Wanted) -> list[ArchiveFile]:
        """Return the pieces that the wanted days are cut into: files, and days that have no file yet."""
        files = files_for(self._venue, wanted.symbol, wanted.stream, wanted.first, wanted.last, self._today)
        following = files[-1].last + timedelta(days=1) if files else wanted.first
        if following <= wanted.last:
            files.append(ArchiveFile(self._venue, wanted.symbol, wanted.stream, following, wanted.last, False))
        return files

    async def load(self, file: ArchiveFile, wanted: Wanted, outcome: Outcome, progress: Progress) -> None:
        """Load the candles that open on the days of ``file``, as far as they are wanted."""
        first, last = max(file.first, wanted.first), min(file.last, wanted.last)
        days = (last - first).days + 1
        opens = self._opens(wanted, first, last)
        if not opens or not await self._lacking(wanted, opens):
            outcome.days_proven += days
            return
        path = None
        # a month that is not over has no file, and neither has today
        whole = file.monthly or file.first == file.last
        if whole and file.last < self._today:
            progress(0.0, f"fetching {file.name}")
            path = await self._shelf.fetch(file)
        if path is None and file.monthly and file.days():
            for day in file.days():
                await self.load(day, wanted, outcome, lambda share, what: progress(share / days, what))
            return
        if path is not None:
            await self._file(file, path, opens, outcome, progress)
            outcome.files += 1
            self._shelf.drop(path)
        if path is None or await self._lacking(wanted, opens):
            progress(0.0, f"REST {wanted.symbol} {wanted.stream} {first}")
            if not await self._over_rest(wanted, opens, outcome):
                outcome.missing += _size(await self._lacking(wanted, opens))
                return
        lacking = await self._lacking(wanted, opens)
        if _size(lacking) == len(opens):
            outcome.days_without_data += days
        elif lacking:
            outcome.absent += _size(lacking)
            # without a file REST alone has been asked, and once: it may lag behind
            if path is not None:
                await self._absent(wanted, lacking, file)

    async def _absent(self, wanted: Wanted, lacking: Sequence[Gap], file: ArchiveFile) -> None:
        timeframe = wanted.stream.timeframe or Timeframe.M1
        proof = f"{file.name} lacks them, and so does GET klines of those times, at {utc_text(self._now_ns)}"
        await self._ledger.record_absent_slots(self._venue.value, wanted.symbol, timeframe.value, lacking, proof)

    def _opens(self, wanted: Wanted, first: date, last: date) -> list[int]:
        """Return when the candles open that must be closed by now: those whose opening lies on these days."""
        timeframe = wanted.stream.timeframe or Timeframe.M1
        begin_ns, end_ns = day_ns(first), day_ns(last + timedelta(days=1))
        open_ns = timeframe.open_ns(begin_ns)
        if open_ns < begin_ns:
            open_ns = timeframe.next_open_ns(open_ns)
        opens = []
        while open_ns < end_ns and timeframe.next_open_ns(open_ns) <= self._now_ns:
            opens.append(open_ns)
            open_ns = timeframe.next_open_ns(open_ns)
        return opens

    async def _lacking(self, wanted: Wanted, opens: Sequence[int]) -> list[Gap]:
        """Return what is neither stored nor known to be nowhere, as slots."""
        timeframe = wanted.stream.timeframe or Timeframe.M1
        end_ns = timeframe.next_open_ns(opens[-1])
        held = await self._ledger.held_slots(self._venue.value, wanted.symbol, timeframe, opens[0], end_ns)
        return RangeSet(held).missing(timeframe.slot(opens[0]), timeframe.slot(opens[-1]))

    async def _file(
        self, file: ArchiveFile, path: Path, opens: Sequence[int], outcome: Outcome, progress: Progress
    ) -> None:
        timeframe = file.stream.timeframe or Timeframe.M1
        first_ns, last_ns = opens[0], opens[-1]
        read = written = 0
        async for piece, share in ahead(read_pieces(file, path)):
            try:
                candles = await asyncio.to_thread(read_candles, piece, file.venue, file.symbol, timeframe)
            except UndecodableFrame as problem:
                raise ArchiveDamaged(problem.what, subject=f"{file.name}: {problem.subject}") from problem
            kept = [candle for candle in candles if first_ns <= candle.open_ns <= last_ns]
            receipt = await self._delivery.candles(kept, Source.ARCHIVE)
            read += len(candles)
            written += receipt.written
            progress(share, file.name)
        outcome.rows_read += read
        outcome.rows_written += written
        self._emit(events.ArchiveLoaded(file=file.name, rows=read, written=written))

    async def _over_rest(self, wanted: Wanted, opens: Sequence[int], outcome: Outcome) -> bool:
        """Fetch the candles over REST; return whether REST could be asked."""
        timeframe = wanted.stream.timeframe or Timeframe.M1
        for at in range(0, len(opens), _PAGE):
            page = opens[at : at + _PAGE]
            candles = await self._ask(wanted.symbol, timeframe, page[0], page[-1])
            if candles is None:
                return False
            held = [c for c in closed_only(candles, self._now_ns) if page[0] <= c.open_ns <= page[-1]]
            receipt = await self._delivery.candles(held, Source.REST)
            outcome.rows_read += len(held)
            outcome.rows_written += receipt.written
            outcome.rows_from_rest += receipt.written
        return True

    async def _ask(self, symbol: str, timeframe: Timeframe, first_ns: int, last_ns: int) -> list[Candle] | None:
        what = f"klines {symbol} {timeframe}"
        try:
            return await self._rest.insist(
                what, lambda: self._rest.klines(symbol, timeframe, first_ns, last_ns), _TRIES
            )
        except RetryableError:
            return None  # told with each try
        except SetAsideError as problem:
            self._emit(events.RestFailed(request=what, cause=str(problem), retry_in_s=None))
            return None


def _size(gaps: Sequence[Gap]) -> int:
    return sum(gap.size for gap in gaps)
