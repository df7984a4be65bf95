"""Deep history into the store: archives where there are files, REST where there are none, nothing that is proven."""

from collections.abc import Callable, Sequence
from datetime import date, timedelta
from pathlib import Path

import msgspec

from crypto_quant import events
from crypto_quant.binance.archive import ArchiveFile, TradeLines, files_around, files_for
from crypto_quant.binance.backhistory import Page
from crypto_quant.binance.streams import Stream
from crypto_quant.binance.venues import StreamKind
from crypto_quant.continuity import Gap, RangeSet, Sequencer, Verdict, runs, without
from crypto_quant.errors import ArchiveDamaged
from crypto_quant.flow.archives import ArchiveShelf, ahead, read_trades
from crypto_quant.flow.delivery import Delivery
from crypto_quant.flow.loading_content import Content
from crypto_quant.flow.loading_rest import ASKED_APART_S, TradesOverRest
from crypto_quant.flow.rest import ExchangeRest
from crypto_quant.market import Venue, day_of
from crypto_quant.seams import Emit, Ledger, Lines, Quarantine, Source

_ALL_IDS = 2**63 - 1

# (share of a unit's days that is done now, what is being done)
Progress = Callable[[float, str], None]


class Wanted(msgspec.Struct, frozen=True):
    """One symbol's stream over days ``first`` to ``last``, both inclusive, UTC; ``symbol`` is the stored one."""

    symbol: str
    stream: Stream
    first: date
    last: date
    # of candles these slots alone, inclusive; None: all of the days
    slots: Gap | None = None

    @property
    def days(self) -> int:
        """How many days that is."""
        return (self.last - self.first).days + 1


class Outcome(msgspec.Struct):
    """What became of one wanted stream. Days are counted once each; ``missing`` and ``absent`` count ids or candles.

    ``days_proven`` were complete before and were not read again. ``days_without_data`` have no file, and REST knows
    nothing of them either; ``days_unknown`` have no file, and REST could not be asked (futures serve 48 hours).
    ``failures`` are errors that ended the load of a file, ``refused`` the files that could not be used: other sources
    were asked for their days.
    """

    symbol: str
    stream: str
    first: date
    last: date
    files: int = 0
    days_proven: int = 0
    days_without_data: int = 0
    days_unknown: int = 0
    rows_read: int = 0
    rows_written: int = 0
    rows_from_rest: int = 0
    duplicates: int = 0
    conflicts: int = 0
    missing: int = 0
    absent: int = 0
    failures: list[str] = []
    refused: list[str] = []

    def refuse(self, file: str, problem: ArchiveDamaged, emit: Emit) -> None:
        """Note a file that cannot be used: what it would have brought is sought elsewhere."""
        self.refused.append(str(problem))
        emit(events.ArchiveFlaw(file=file, flaw=f"{problem.what}; not used, its days are sought elsewhere"))

    def has_refused(self, file: str) -> bool:
        """Return whether a file of that name could not be used."""
        return any(file in text for text in self.refused)


class TradeLoader:
    """Loads aggregate trades. ``now_ns`` is the exchange's time when it was made: no day after it exists.

    What is covered is neither fetched nor written again, so a run that was cut goes on where it stopped. Rows come in
    pieces of some fifty thousand; each is committed with the ids that it proves. A source is believed for what it has
    alone: what a month's file lacks is sought in the files of its days, and what these lack over REST.
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
        quarantine: Quarantine,
        emit: Emit,
        asked_apart_s: float = ASKED_APART_S,
    ) -> None:
        self._over_rest = TradesOverRest(rest, delivery, ledger, venue=venue, emit=emit, asked_apart_s=asked_apart_s)
        self._shelf = shelf
        self._delivery = delivery
        self._ledger = ledger
        self._venue = venue
        self._today = day_of(now_ns)
        self._quarantine = quarantine
        self._emit = emit
        # per symbol: the ids that are known to lie in the days wanted, and those of them that REST was asked for
        self._expected: dict[str, RangeSet] = {}
        self._asked: dict[str, RangeSet] = {}

    def units(self, wanted: Wanted) -> list[ArchiveFile]:
        """Return the files that the wanted days are cut into; days without a file so far are told as daily ones."""
        files = files_for(self._venue, wanted.symbol, wanted.stream, wanted.first, wanted.last, self._today)
        begin = max(wanted.first, self._today)
        for number in range((wanted.last - begin).days + 1):
            day = begin + timedelta(days=number)
            files.append(ArchiveFile(self._venue, wanted.symbol, wanted.stream, day, day, False))
        return files

    async def load(self, file: ArchiveFile, outcome: Outcome, progress: Progress) -> None:
        """Load the days of one file, over REST where there is no such file (yet)."""
        days = (file.last - file.first).days + 1
        begin = await self._over_rest.begin(file.symbol, file.first)
        bounds = await self._bounds(file, begin)
        if bounds is not None:
            if bounds.size <= 0:
                outcome.days_without_data += days
                return
            self._expect(file.symbol, bounds)
            if not await self._open(file.symbol, bounds):
                outcome.days_proven += days
                return
        content = await self._file(file, outcome, progress) if file.last < self._today else None
        if content is None and file.monthly:
            for day in file.days():
                await self.load(day, outcome, lambda share, what: progress(share / days, what))
            return
        if content is None:
            if bounds is not None:
                await self._rest_of(file.symbol, bounds, outcome, "", progress)
            elif begin is not None and not outcome.has_refused(
                file.name
            ):  # REST has no trade since then, and the archive no file
                outcome.days_without_data += 1
            else:
                outcome.days_unknown += 1
            return
        names = [file.name]
        if file.monthly:
            names += await self._days_lacking(file, content, bounds, outcome, progress)
        bounds = bounds or content.ids
        if bounds is not None:
            self._expect(file.symbol, bounds)
            await self._rest_of(file.symbol, bounds, outcome, f"not in {', '.join(names)}", progress)

    async def settle(self, wanted: Wanted, outcome: Outcome) -> None:
        """Look once more when all days are loaded: what is missing is what the coverage lacks between these ids.

        Between two files that have all that their own days show there may be a hole still.
        """
        symbol = wanted.symbol
        expected = self._expected.pop(symbol, RangeSet()).ranges()
        asked = self._asked.pop(symbol, RangeSet())
        if not expected:
            return
        bounds = Gap(expected[0][0], expected[-1][1])
        for hole in await self._open(symbol, bounds):
            for part in asked.missing(*hole):
                await self._fill(symbol, part, outcome, "not in the files of the days around them")
        self._asked.pop(symbol, None)
        outcome.missing = sum(hole.size for hole in await self._open(symbol, bounds))

    async def again(self, symbol: str, absent: Sequence[Gap], days: Sequence[date], outcome: Outcome) -> None:
        """Ask every source again for ids that are recorded as absent: the files of these days, and REST.

        What comes is stored, and is absent no more.
        """
        stream = Stream(StreamKind.AGG_TRADE)
        left = list(absent)
        files = (
            each for day in days for each in files_around(ArchiveFile(self._venue, symbol, stream, day, day, False))
        )
        for file in dict.fromkeys(files):
            if left and file.last < self._today and await self._file(file, outcome, _unseen) is not None:
                left = await self._not_stored(symbol, left)
        for gap in left:
            await self._fill(symbol, gap, outcome, "")
        self._asked.pop(symbol, None)

    # -- what is to be had --------------------------------------------------------------------------------

    async def _bounds(self, file: ArchiveFile, begin: Page | None) -> Gap | None:
        """Return the ids that the exchange printed in the days of a file; None when REST cannot tell.

        ``begin`` is a page of the first trade at or after the begin of these days.
        """
        if begin is None or not begin.ids:
            return None
        if file.last < self._today:
            end = await self._over_rest.begin(file.symbol, file.last + timedelta(days=1))
            if end is None:
                return None
            if end.ids:
                return Gap(begin.ids[0], end.ids[0] - 1)
        newest = await self._over_rest.newest(file.symbol)
        return None if newest is None else Gap(begin.ids[0], newest)

    def _expect(self, symbol: str, ids: Gap) -> None:
        self._expected.setdefault(symbol, RangeSet()).add(*ids)

    async def _open(self, symbol: str, bounds: Gap) -> list[Gap]:
        """Return the ids that are neither stored nor proven absent."""
        return without(bounds, await self._ledger.covered(self._venue.value, symbol, bounds.first, bounds.last))

    async def _not_stored(self, symbol: str, gaps: Sequence[Gap]) -> list[Gap]:
        """Return what of these ids is not stored, be it recorded as absent or not."""
        venue = self._venue.value
        return [
            part for gap in gaps for part in without(gap, await self._ledger.stored(venue, symbol, gap.first, gap.last))
        ]

    async def _rest_of(self, symbol: str, bounds: Gap, outcome: Outcome, elsewhere: str, progress: Progress) -> None:
        """Ask REST for what is still open of these ids."""
        for hole in await self._open(symbol, bounds):
            progress(0.0, f"REST {symbol} from {hole.first}")
            await self._fill(symbol, hole, outcome, elsewhere)

    async def _fill(self, symbol: str, hole: Gap, outcome: Outcome, elsewhere: str) -> None:
        self._asked.setdefault(symbol, RangeSet()).add(*hole)
        fetched = await self._over_rest.fill(symbol, hole, elsewhere)
        outcome.rows_read += fetched.rows
        outcome.rows_from_rest += fetched.written
        outcome.rows_written += fetched.written
        outcome.absent += fetched.absent

    async def _days_lacking(
        self, month: ArchiveFile, content: Content, bounds: Gap | None, outcome: Outcome, progress: Progress
    ) -> list[str]:
        """Load the files of those days that a month's file lacks, in whole or in part; return their names."""
        names = []
        # days without any row come first: a hole beside them may be theirs alone
        for empty in (True, False):
            ids = bounds or content.ids
            holes = await self._open(month.symbol, ids) if ids is not None else []
            for day in month.days():
                if content.has(day.first) is not empty and content.may_lack(day.first, holes, known=bounds is not None):
                    loaded = await self._file(day, outcome, progress)
                    if loaded is not None:
                        names.append(day.name)
                        content.add(loaded)
        return names

    # -- a file -------------------------------------------------------------------------------------------

    async def _file(self, file: ArchiveFile, outcome: Outcome, progress: Progress) -> Content | None:
        """Store a file's trades; return what it holds, None when there is no such file, or none that can be used."""
        progress(0.0, f"fetching {file.name}")
        content = Content()
        try:
            path = await self._shelf.fetch(file)
            if path is None:
                return None
            try:
                await self._store(file, path, content, outcome, progress)
            finally:
                self._shelf.drop(path)
        except ArchiveDamaged as problem:
            outcome.refuse(file.name, problem, self._emit)
            return None
        outcome.files += 1
        return content

    async def _store(
        self, file: ArchiveFile, path: Path, content: Content, outcome: Outcome, progress: Progress
    ) -> None:
        # what was said to be absent and is in a file after all is stored like other rows
        had = await self._ledger.stored(self._venue.value, file.symbol, 0, _ALL_IDS)
        seen = Sequencer()
        read = written = 0
        async for lines, share in ahead(read_trades(file, path)):
            read += len(lines.ids)
            content.see(lines)
            written += await self._piece(file, lines, had, seen, outcome)
            progress(share, file.name)
        outcome.rows_read += read
        outcome.rows_written += written
        self._emit(events.ArchiveLoaded(file=file.name, rows=read, written=written))

    async def _piece(
        self, file: ArchiveFile, lines: TradeLines, had: Sequence[tuple[int, int]], seen: Sequencer, outcome: Outcome
    ) -> int:
        """Store the rows of a piece that are not proven yet; return how many were new."""
        ids, rows = lines
        if not ids:
            return 0
        again: TradeLines | None = None
        if seen.last in (-1, ids[0] - 1) and ids == list(range(ids[0], ids[0] + len(ids))):
            seen.observe(ids[0])
            seen.last = ids[-1]
        else:
            ids, rows, again = self._sifted(file, lines, seen, outcome)
        wanted = [part for run in runs(ids) for part in without(run, had)]
        if sum(part.size for part in wanted) < len(ids):
            keep = _Inside(wanted)
            kept = [(number, row) for number, row in zip(ids, rows, strict=True) if keep(number)]
            ids, rows = [number for number, _ in kept], [row for _, row in kept]
        if not isinstance(rows, Lines) and b"" in rows:
            kept = [(number, row) for number, row in zip(ids, rows, strict=True) if row]
            ids, rows = [number for number, _ in kept], [row for _, row in kept]
        receipt = await self._delivery.trades(file.symbol, ids, rows, wanted, Source.ARCHIVE)
        outcome.conflicts += len(receipt.conflicting)
        if again is not None and again.ids:
            # the store compares them with what it holds; they prove nothing
            compared = await self._delivery.trades(file.symbol, again.ids, again.rows, [], Source.ARCHIVE)
            outcome.conflicts += len(compared.conflicting)
        return receipt.written

    def _sifted(
        self, file: ArchiveFile, lines: TradeLines, seen: Sequencer, outcome: Outcome
    ) -> tuple[list[int], list[bytes], TradeLines]:
        """Return the rows of a piece that this file had not brought before, and those that it had."""
        ids: list[int] = []
        rows: list[bytes] = []
        ids_again: list[int] = []
        rows_again: list[bytes] = []
        for number, row in zip(*lines, strict=True):
            if ids and ids[-1] == number:
                outcome.duplicates += 1
                if row != rows[-1]:
                    outcome.conflicts += 1
                    self._quarantine.keep("row", row, f"{file.name} holds id {number} twice, with different content")
                    flaw = f"id {number} is there twice with different content; the first row was taken"
                    self._emit(events.ArchiveFlaw(file=file.name, flaw=flaw))
            elif seen.observe(number) is Verdict.DUPLICATE:
                outcome.duplicates += 1
                if row:
                    ids_again.append(number)
                    rows_again.append(row)
            else:
                ids.append(number)
                rows.append(row)
        return ids, rows, TradeLines(ids_again, rows_again)


def _unseen(_share: float, _what: str) -> None:
    """Show no progress."""


class _Inside:
    """Tells whether rising numbers lie in rising ranges."""

    def __init__(self, ranges: Sequence[Gap]) -> None:
        self._ranges = ranges
        self._at = 0

    def __call__(self, number: int) -> bool:
        while self._at < len(self._ranges) and self._ranges[self._at].last < number:
            self._at += 1
        return self._at < len(self._ranges) and self._ranges[self._at].first <= number
