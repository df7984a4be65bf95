"""Deep history into the store: archives where there are files, REST where there are none, nothing that is proven."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import date, timedelta
from pathlib import Path

import msgspec

from crypto_quant import events
from crypto_quant.binance.archive import ArchiveFile, TradeLines, files_for
from crypto_quant.binance.backhistory import PAGE, Page
from crypto_quant.binance.streams import Stream
from crypto_quant.continuity import Gap, Sequencer, Verdict, runs, without
from crypto_quant.errors import RetryableError, SetAsideError
from crypto_quant.flow.archives import ArchiveShelf, ahead, read_trades
from crypto_quant.flow.delivery import Delivery
from crypto_quant.flow.rest import ExchangeRest
from crypto_quant.market import Venue, day_ns, day_of
from crypto_quant.seams import Emit, Ledger, Lines, Quarantine, Source

# the weight that a whole process may use, less what a recorder beside it wants
_SHARE = 0.75
_TRIES = 5
_ASKED = 3
_ASKED_APART_S = 1.0
_ALL_IDS = 2**63 - 1

# (share of a unit's days that is done now, what is being done)
Progress = Callable[[float, str], None]


class Wanted(msgspec.Struct, frozen=True):
    """One symbol's stream over days ``first`` to ``last``, both inclusive, UTC; ``symbol`` is the stored one."""

    symbol: str
    stream: Stream
    first: date
    last: date

    @property
    def days(self) -> int:
        """How many days that is."""
        return (self.last - self.first).days + 1


class Outcome(msgspec.Struct):
    """What became of one wanted stream. Days are counted once each; ``missing`` and ``absent`` count ids or candles.

    ``days_proven`` were complete before and were not read again. ``days_without_data`` have no file, and REST knows
    nothing of them either; ``days_unknown`` have no file, and REST could not be asked (futures serve 48 hours).
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


class TradeLoader:
    """Loads aggregate trades. ``now_ns`` is the exchange's time when it was made: no day after it exists.

    What is covered is neither fetched nor written again, so a run that was cut goes on where it stopped. Rows come in
    pieces of some fifty thousand; each is committed with the ids that it proves.
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
        asked_apart_s: float = _ASKED_APART_S,
    ) -> None:
        self._rest = rest
        self._shelf = shelf
        self._delivery = delivery
        self._ledger = ledger
        self._venue = venue
        self._today = day_of(now_ns)
        self._quarantine = quarantine
        self._emit = emit
        self._asked_apart_s = asked_apart_s
        # per symbol and day: the first id at or after its begin; None: there is none, or REST cannot tell
        self._begins: dict[tuple[str, date], Page | None] = {}

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
        bounds = await self._bounds(file)
        days = (file.last - file.first).days + 1
        if bounds is not None:
            if bounds.size <= 0:
                outcome.days_without_data += days
                return
            if not await self._open(file.symbol, bounds):
                outcome.days_proven += days
                return
        path = None
        if file.last < self._today:
            progress(0.0, f"fetching {file.name}")
            path = await self._shelf.fetch(file)
        if path is not None:
            holes = await self._file(file, path, outcome, progress)
            outcome.files += 1
            if bounds is not None:
                holes = await self._open(file.symbol, bounds)
            for hole in holes:
                await self._over_rest(file.symbol, hole, outcome, f"not in {file.name}")
            self._shelf.drop(path)
        elif file.monthly:
            for day in file.days():
                await self.load(day, outcome, lambda share, what: progress(share / days, what))
        elif bounds is None:
            outcome.days_unknown += 1
        else:
            progress(0.0, f"REST {file.symbol} {file.first}")
            for hole in await self._open(file.symbol, bounds):
                await self._over_rest(file.symbol, hole, outcome, "")

    # -- what is to be had --------------------------------------------------------------------------------

    async def _bounds(self, file: ArchiveFile) -> Gap | None:
        """Return the ids that the exchange printed in the days of a file; None when REST cannot tell."""
        begin = await self._begin(file.symbol, file.first)
        if begin is None:
            return None
        if not begin.ids:
            return Gap(0, -1)
        if file.last >= self._today:
            newest = await self._newest(file.symbol)
            return None if newest is None else Gap(begin.ids[0], newest)
        end = await self._begin(file.symbol, file.last + timedelta(days=1))
        if end is None:
            return None
        if end.ids:
            return Gap(begin.ids[0], end.ids[0] - 1)
        newest = await self._newest(file.symbol)
        return None if newest is None else Gap(begin.ids[0], newest)

    async def _begin(self, symbol: str, day: date) -> Page | None:
        """Return a page of the first trade at or after a day's begin, empty when there is none."""
        if self._venue is not Venue.SPOT:
            return None  # no day's begin lies within what futures look through
        key = (symbol, day)
        if key not in self._begins:
            self._begins[key] = await self._ask(lambda: self._rest.first_agg_trade(symbol, day_ns(day), share=_SHARE))
        return self._begins[key]

    async def _newest(self, symbol: str) -> int | None:
        page = await self._ask(lambda: self._rest.newest_agg_trade(symbol, share=_SHARE))
        return page.ids[-1] if page is not None and page.ids else None

    async def _ask(self, ask: Callable[[], Awaitable[Page]]) -> Page | None:
        """Return the page; None when REST cannot give it, which has been told then. The archive may have the rows."""
        try:
            return await self._rest.insist("aggTrades", ask, _TRIES)
        except RetryableError:
            return None  # told with each try
        except SetAsideError as problem:
            self._emit(events.RestFailed(request="aggTrades", cause=str(problem), retry_in_s=None))
            return None

    async def _open(self, symbol: str, bounds: Gap) -> list[Gap]:
        """Return the ids that are neither stored nor proven absent."""
        return without(bounds, await self._ledger.covered(self._venue.value, symbol, bounds.first, bounds.last))

    # -- a file -------------------------------------------------------------------------------------------

    async def _file(self, file: ArchiveFile, path: Path, outcome: Outcome, progress: Progress) -> list[Gap]:
        """Store a file's trades; return the holes in its ids."""
        had = await self._ledger.covered(self._venue.value, file.symbol, 0, _ALL_IDS)
        seen = Sequencer()
        read = written = 0
        async for lines, share in ahead(read_trades(file, path)):
            read += len(lines.ids)
            written += await self._piece(file, lines, had, seen, outcome)
            progress(share, file.name)
        outcome.rows_read += read
        outcome.rows_written += written
        self._emit(events.ArchiveLoaded(file=file.name, rows=read, written=written))
        return list(seen.gaps)

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

    # -- REST ---------------------------------------------------------------------------------------------

    async def _over_rest(self, symbol: str, hole: Gap, outcome: Outcome, elsewhere: str) -> None:
        """Fill a hole by id. What REST jumps over, and the archive has not either (``elsewhere``), is absent."""
        left = hole
        while left.size > 0:
            first, size = left.first, min(PAGE, left.size)
            page = await self._ask(lambda: self._rest.agg_trades(symbol, first, size, share=_SHARE))  # noqa: B023
            if page is None or not page.ids:
                outcome.missing += left.size
                return
            held = page.upto(left.last)
            proven = runs(held.ids)
            receipt = await self._delivery.trades(symbol, held.row_ids, held.rows, proven, Source.REST)
            outcome.rows_read += len(held.rows)
            outcome.rows_from_rest += receipt.written
            outcome.rows_written += receipt.written
            reached = min(page.ids[-1], left.last)
            for jumped in without(Gap(left.first, reached), proven):
                if elsewhere and await self._jumps_again(symbol, jumped):
                    await self._absent(symbol, jumped, f"REST jumped over them {_ASKED} times; {elsewhere}")
                    outcome.absent += jumped.size
                else:
                    outcome.missing += jumped.size
            left = Gap(reached + 1, left.last)

    async def _jumps_again(self, symbol: str, gap: Gap) -> bool:
        for _ in range(_ASKED - 1):
            await asyncio.sleep(self._asked_apart_s)
            page = await self._ask(lambda: self._rest.agg_trades(symbol, gap.first, 1, share=_SHARE))
            if page is None or not page.ids or page.ids[0] <= gap.last:
                return False
        return True

    async def _absent(self, symbol: str, gap: Gap, proof: str) -> None:
        await self._ledger.record_absence(self._venue.value, symbol, gap.first, gap.last, proof)
        self._emit(
            events.TradesAbsent(venue=self._venue.value, symbol=symbol, first=gap.first, last=gap.last, proof=proof)
        )


class _Inside:
    """Tells whether rising numbers lie in rising ranges."""

    def __init__(self, ranges: Sequence[Gap]) -> None:
        self._ranges = ranges
        self._at = 0

    def __call__(self, number: int) -> bool:
        while self._at < len(self._ranges) and self._ranges[self._at].last < number:
            self._at += 1
        return self._at < len(self._ranges) and self._ranges[self._at].first <= number
