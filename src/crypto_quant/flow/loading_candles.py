"""Candles of the past into the store: from archives where there are files, over REST where there are none."""

import asyncio
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

from crypto_quant import events
from crypto_quant.binance.archive import ArchiveFile, files_around, files_for, read_candles
from crypto_quant.binance.history import closed_only
from crypto_quant.continuity import Gap, RangeSet
from crypto_quant.errors import ArchiveDamaged, RetryableError, SetAsideError, UndecodableFrame
from crypto_quant.flow.archives import ArchiveShelf, ahead, read_pieces
from crypto_quant.flow.delivery import Delivery
from crypto_quant.flow.loading import Outcome, Progress, Wanted
from crypto_quant.flow.loading_rest import ASKED, ASKED_APART_S
from crypto_quant.flow.rest import ExchangeRest
from crypto_quant.market import DAY_NS, NS_PER_S, Candle, Timeframe, Venue, day_ns, day_of, utc_text
from crypto_quant.seams import Emit, Ledger, Source

_TRIES = 5
_PAGE = 1000
# a candle that ended this instant may still be settled
_GRACE_NS = 10 * NS_PER_S


class CandleLoader:
    """Loads closed candles. ``now_ns`` is the exchange's time when it was made: what ends later, or has ended less
    than ten seconds before, is not loaded.

    Days whose candles are all stored, or known to be nowhere, are neither fetched nor written again. A source is
    believed for what it has alone: what a month's file lacks is sought in the files of its days, and what these lack
    over REST. A candle that neither a file nor REST, asked three times, has is a hole of the exchange: it is recorded
    as absent, with the proof. Each candle is stored, wherever it opens; it fills the slot in which that is.
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
        asked_apart_s: float = ASKED_APART_S,
    ) -> None:
        self._rest = rest
        self._shelf = shelf
        self._delivery = delivery
        self._ledger = ledger
        self._venue = venue
        self._now_ns = now_ns - _GRACE_NS
        self._today = day_of(now_ns)
        self._emit = emit
        self._asked_apart_s = asked_apart_s

    def units(self, wanted: Wanted) -> list[ArchiveFile]:
        """Return the pieces that the wanted days are cut into: files, and days that have no file yet."""
        files = files_for(self._venue, wanted.symbol, wanted.stream, wanted.first, wanted.last, self._today)
        following = files[-1].last + timedelta(days=1) if files else wanted.first
        if following <= wanted.last:
            files.append(ArchiveFile(self._venue, wanted.symbol, wanted.stream, following, wanted.last, False))
        return files

    async def load(self, file: ArchiveFile, wanted: Wanted, outcome: Outcome, progress: Progress) -> None:
        """Load the candles that open on the days of ``file``, as far as they are wanted."""
        part = _Part(wanted, max(file.first, wanted.first), min(file.last, wanted.last), self._now_ns)
        if part.slots.size <= 0 or not await self._lacking(part, part.slots):
            outcome.days_proven += part.days
            return
        files = await self._files(file, part, outcome, progress)
        progress(0.0, f"REST {wanted.symbol} {wanted.stream} {part.first}")
        answered = await self._over_rest(part, outcome, sure=bool(files) or self._is_recent(part))
        if lacking := await self._lacking(part, part.slots):
            await self._judge(part, lacking, files if answered else [], outcome, answered=answered)

    async def again(self, wanted: Wanted, absent: Sequence[Gap], outcome: Outcome) -> None:
        """Ask every source again for slots that are recorded as absent: the files of the wanted days, and REST.

        What comes is stored, and is absent no more.
        """
        part = _Part(wanted, wanted.first, wanted.last, self._now_ns)
        held = RangeSet(absent)
        files: dict[ArchiveFile, None] = {}
        for number in range(wanted.days):
            day = wanted.first + timedelta(days=number)
            slots = part.of(day, day, self._now_ns).slots
            if slots.size > 0 and held.within(*slots):
                one = ArchiveFile(self._venue, wanted.symbol, wanted.stream, day, day, False)
                files.update(dict.fromkeys(files_around(one)))
        for file in files:
            if file.last < self._today:
                await self._file(file, part, outcome, lambda _share, _what: None)
        for page in _pages(absent):
            if await self._fetch(part, page, outcome) is None:
                return

    async def _judge(
        self, part: "_Part", lacking: Sequence[Gap], files: Sequence[ArchiveFile], outcome: Outcome, *, answered: bool
    ) -> None:
        """Record as absent what these files and REST lack, and count the rest, which REST alone was asked for."""
        read = RangeSet(part.of(file.first, file.last, self._now_ns).slots for file in files)
        gone = [Gap(*each) for gap in lacking for each in read.within(*gap)]
        if gone:
            names = ", ".join(file.name for file in files)
            proof = f"not in {names}; GET klines lacks them {ASKED} times, at {utc_text(self._now_ns)}"
            await self._ledger.record_absent_slots(self._venue.value, part.symbol, part.frame.value, gone, proof)
            outcome.absent += _size(gone)
        left = RangeSet(gap for each in lacking for gap in read.missing(*each))
        for number in range(part.days):
            day = part.first + timedelta(days=number)
            slots = part.of(day, day, self._now_ns).slots
            open_slots = left.within(*slots) if slots.size > 0 else []
            if answered and open_slots == [tuple(slots)] and not outcome.has_refused(f"{day}.zip"):
                outcome.days_without_data += 1
            else:
                outcome.missing += _size([Gap(*each) for each in open_slots])

    def _is_recent(self, part: "_Part") -> bool:
        """Return whether the files of a part may still come: until then REST is the one source that can be asked."""
        return part.last >= self._today - timedelta(days=2)

    async def _lacking(self, part: "_Part", slots: Gap) -> list[Gap]:
        """Return what is neither stored nor known to be nowhere."""
        frame = part.frame
        begin_ns, end_ns = frame.slot_open_ns(slots.first), frame.slot_open_ns(slots.last + 1)
        held = await self._ledger.held_slots(self._venue.value, part.symbol, frame, begin_ns, end_ns)
        return RangeSet(held).missing(*slots)

    # -- files --------------------------------------------------------------------------------------------

    async def _files(self, file: ArchiveFile, part: "_Part", outcome: Outcome, progress: Progress) -> list[ArchiveFile]:
        """Store what files have of a part; return those that could be read."""
        # a month that is not over has no file, and neither has today
        if file.last >= self._today or not (file.monthly or file.first == file.last):
            return []
        read = []
        if await self._file(file, part, outcome, progress):
            read.append(file)
        days = file.days()
        for at, day in enumerate(days):
            slots = part.of(day.first, day.last, self._now_ns).slots
            if slots.size > 0 and await self._lacking(part, slots):
                progress(at / len(days), f"fetching {day.name}")
                if await self._file(day, part, outcome, lambda _share, _what: None):
                    read.append(day)
        return read

    async def _file(self, file: ArchiveFile, part: "_Part", outcome: Outcome, progress: Progress) -> bool:
        """Store a file's candles; return whether there is such a file, and it can be used."""
        progress(0.0, f"fetching {file.name}")
        try:
            path = await self._shelf.fetch(file)
            if path is None:
                return False
            try:
                await self._store(file, path, part, outcome, progress)
            finally:
                self._shelf.drop(path)
        except ArchiveDamaged as problem:
            outcome.refuse(file.name, problem, self._emit)
            return False
        outcome.files += 1
        return True

    async def _store(self, file: ArchiveFile, path: Path, part: "_Part", outcome: Outcome, progress: Progress) -> None:
        read = written = 0
        async for piece, share in ahead(read_pieces(file, path)):
            try:
                candles = await asyncio.to_thread(read_candles, piece, file.venue, file.symbol, part.frame)
            except UndecodableFrame as problem:
                raise ArchiveDamaged(problem.what, subject=f"{file.name}: {problem.subject}") from problem
            receipt = await self._delivery.candles(part.wanted_of(candles, self._now_ns), Source.ARCHIVE)
            read += len(candles)
            written += receipt.written
            progress(share, file.name)
        outcome.rows_read += read
        outcome.rows_written += written
        self._emit(events.ArchiveLoaded(file=file.name, rows=read, written=written))

    # -- REST ---------------------------------------------------------------------------------------------

    async def _over_rest(self, part: "_Part", outcome: Outcome, *, sure: bool) -> bool:
        """Fetch what is lacking over REST; return whether REST has answered.

        An answer proves what it holds alone: what is still lacking is asked for again until three rounds in a row
        have brought nothing new; unless ``sure``, a first one without any candle is believed, for no file has one.
        """
        fruitless = 0
        lacking = await self._lacking(part, part.slots)
        while lacking and fruitless < ASKED:
            if fruitless:
                await asyncio.sleep(self._asked_apart_s)
            for page in _pages(lacking):
                if await self._fetch(part, page, outcome) is None:
                    return False
            before, lacking = _size(lacking), await self._lacking(part, part.slots)
            fruitless = fruitless + 1 if _size(lacking) == before else 0
            if not sure and before == part.slots.size == _size(lacking):
                break
        return True

    async def _fetch(self, part: "_Part", slots: Gap, outcome: Outcome) -> int | None:
        """Store what REST has of some slots; return how many candles that are, None when REST does not tell."""
        candles = await self._ask(part, slots)
        if candles is None:
            return None
        receipt = await self._delivery.candles(part.wanted_of(candles, self._now_ns), Source.REST)
        outcome.rows_read += len(candles)
        outcome.rows_written += receipt.written
        outcome.rows_from_rest += receipt.written
        return len(candles)

    async def _ask(self, part: "_Part", slots: Gap) -> list[Candle] | None:
        """Return the candles that open within slots, wherever in them; None when REST does not tell."""
        what = f"klines {part.symbol} {part.frame}"
        first_ns, last_ns = part.frame.slot_open_ns(slots.first), part.frame.slot_open_ns(slots.last + 1) - 1
        try:
            return await self._rest.insist(
                what, lambda: self._rest.klines(part.symbol, part.frame, first_ns, last_ns), _TRIES
            )
        except RetryableError:
            return None  # told with each try
        except SetAsideError as problem:
            self._emit(events.RestFailed(request=what, cause=str(problem), retry_in_s=None))
            return None


class _Part:
    """The candles of one series on days ``first`` to ``last`` (inclusive, UTC), as far as they have ended.

    ``slots`` are those that open on these days; none when ``size`` is not positive. Of ``3d`` the exchange's raster
    may lie up to two days behind that of the slots.
    """

    def __init__(self, wanted: Wanted, first: date, last: date, now_ns: int) -> None:
        self._wanted = wanted
        self.symbol = wanted.symbol
        self.frame = frame = wanted.stream.timeframe or Timeframe.M1
        self.first, self.last = first, last
        self.days = (last - first).days + 1
        begin_ns, end_ns = day_ns(first), day_ns(last + timedelta(days=1))
        first_slot, shift_ns = frame.slot(begin_ns), 2 * DAY_NS if frame is Timeframe.D3 else 0
        if frame.slot_open_ns(first_slot) < begin_ns:
            first_slot += 1
        self.slots = Gap(first_slot, min(frame.slot(end_ns - 1), frame.slot(now_ns - shift_ns) - 1))
        if wanted.slots is not None:
            self.slots = Gap(max(wanted.slots.first, self.slots.first), min(wanted.slots.last, self.slots.last))
        self._begin_ns = min(begin_ns, frame.slot_open_ns(first_slot))
        self._end_ns = max(end_ns, frame.slot_open_ns(max(self.slots.last, first_slot) + 1))

    def of(self, first: date, last: date, now_ns: int) -> "_Part":
        """Return what of it lies on some days."""
        return _Part(self._wanted, max(first, self.first), min(last, self.last), now_ns)

    def wanted_of(self, candles: Sequence[Candle], now_ns: int) -> list[Candle]:
        """Return those of the candles that open on these days, or in their slots, and have ended."""
        return [each for each in closed_only(candles, now_ns) if self._begin_ns <= each.open_ns < self._end_ns]


def _pages(lacking: Sequence[Gap]) -> list[Gap]:
    """Return ranges of at most a page that hold all of ``lacking``; what lies near each other is one range."""
    pages: list[Gap] = []
    for gap in lacking:
        first = gap.first
        if pages and gap.last - pages[-1].first < _PAGE:
            pages[-1] = Gap(pages[-1].first, gap.last)
            continue
        while first <= gap.last:
            pages.append(Gap(first, min(first + _PAGE - 1, gap.last)))
            first += _PAGE
    return pages


def _size(gaps: Sequence[Gap]) -> int:
    return sum(gap.size for gap in gaps)
