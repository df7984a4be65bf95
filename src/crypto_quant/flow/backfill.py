"""Holes in the trades of a running recorder, closed by id over REST; what REST has not, sought in the archive."""

import asyncio
import math
import random
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Protocol

from crypto_quant import commands, events
from crypto_quant.binance.archive import ArchiveFile
from crypto_quant.binance.backhistory import PAGE, Page
from crypto_quant.binance.streams import Stream
from crypto_quant.binance.venues import StreamKind
from crypto_quant.continuity import Gap, RangeSet, runs, without
from crypto_quant.errors import CryptoQuantError, RequestRefused, Throttled
from crypto_quant.flow.archives import ArchiveShelf
from crypto_quant.flow.delivery import Delivery
from crypto_quant.flow.holequeue import Hole, HoleQueue
from crypto_quant.flow.rest import ExchangeRest
from crypto_quant.flow.stats import PipelineStats
from crypto_quant.market import Venue, day_of
from crypto_quant.seams import Emit, Ledger, Source

REACH = 1_000_000
# of the weight budget; the rest is for candles that are overdue and for whatever else is live
_SHARE = 0.5
_WORKERS = 4
# A hole is left alone for this long: the missing frames may be on their way, and REST may lag behind the stream.
_SETTLE_S = 1.0
# After so many pages a hole goes to the end of the queue, so that a large one does not hold up the small.
_PAGES_A_TURN = 20
_FIRST_PAUSE_S = 2.0
_LAST_PAUSE_S = 300.0
# REST has to jump over an id so many times before it is said not to have it
_JUMPS_BELIEVED = 3
# the archive's file of a day comes on the next day
_ARCHIVE_AGAIN_S = 3600.0
_AGG_TRADE = Stream(StreamKind.AGG_TRADE)


class Account(Protocol):
    """Who keeps account of the ids that were received."""

    def still_missing(self, symbol: str, gap: Gap) -> Sequence[Gap]:
        """Return what of ``gap`` has not come meanwhile, in rising order."""
        ...

    def found(self, symbol: str, gap: Gap) -> None:
        """Account for ids (inclusive) that are stored now, or proven to be nowhere."""
        ...

    def newest(self, symbol: str) -> int:
        """Return the highest id received; -1 when none was."""
        ...


class Backfiller:
    """Closes the holes it is told of; ``want`` never blocks, ``run`` does the work until it is cancelled.

    Holes of one symbol that lie near each other are asked for together, those of the most ids first (``HoleQueue``).
    Cancelling is safe at any time: what is stored is in the coverage, what is not stays a known gap there. Ids more
    than ``reach`` behind the newest one are left alone, and told once with the command that closes them. Ids that
    REST jumps over three times are sought in the archive's files of those days; when these exist and have not got
    them either, the ids are recorded as absent. ``account`` must be set before ``run``.
    """

    def __init__(
        self,
        rest: ExchangeRest,
        delivery: Delivery,
        *,
        ledger: Ledger | None,
        shelf: ArchiveShelf | None,
        venue: Venue,
        stats: PipelineStats,
        emit: Emit,
        rng: random.Random,
        reach: int = REACH,
        settle_s: float = _SETTLE_S,
    ) -> None:
        self.account: Account | None = None
        self._rest = rest
        self._delivery = delivery
        self._ledger = ledger
        self._shelf = shelf
        self._venue = venue
        self._stats = stats
        self._emit = emit
        self._rng = rng
        self._reach = reach
        self._settle_s = settle_s
        self._queue = HoleQueue(PAGE, _PAGES_A_TURN)
        # per symbol: how long it was left alone last, after REST had failed
        self._pauses: dict[str, float] = {}
        # the exchange wants no request before
        self._quiet_until = 0.0
        self._wake = asyncio.Event()
        self._at_work = 0

    @property
    def idle(self) -> bool:
        """Whether no hole waits or is being closed."""
        return not self._queue and not self._at_work

    def want(self, symbol: str, gap: Gap) -> None:
        """Queue a hole (inclusive ids of a stored symbol)."""
        self._put(Hole(symbol, gap, 0.0), self._settle_s)

    def _put(self, hole: Hole, in_s: float) -> None:
        self._queue.add(hole._replace(due=asyncio.get_running_loop().time() + in_s))
        self._wake.set()

    async def run(self) -> None:
        """Close holes until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(_WORKERS):
                tasks.create_task(self._work())

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            at = self._queue.next_at()
            wait_s = None if at == math.inf else max(at, self._quiet_until) - loop.time()
            if wait_s is None or wait_s > 0:
                self._wake.clear()
                try:
                    async with asyncio.timeout(wait_s):
                        await self._wake.wait()
                except TimeoutError:
                    pass
                continue
            self._at_work += 1
            try:
                await self._admit(self._queue.newly_due(loop.time()))
                await self._close(self._queue.take(loop.time()))
            finally:
                self._at_work -= 1

    async def _close(self, holes: Sequence[Hole]) -> None:
        """Ask for the holes of one page; whatever ails the outer world puts them off, never ends the recorder."""
        assert self.account is not None  # noqa: S101  # wired by compose
        holes = [hole._replace(gap=gap) for hole in holes for gap in self.account.still_missing(hole.symbol, hole.gap)]
        if not holes:
            return
        symbol, first, last = holes[0].symbol, holes[0].gap.first, holes[-1].gap.last
        # one request a symbol at a time: what an answer says of it holds for all of its holes
        self._queue.pause(symbol, math.inf)
        try:
            page = await self._rest.agg_trades(symbol, first, last - first + 1, share=_SHARE)
        except CryptoQuantError as problem:
            self._queue.resume(symbol)
            self._put_off(holes, problem)
            return
        self._queue.resume(symbol)
        self._wake.set()
        self._pauses.pop(symbol, None)
        if not page.ids:
            # REST is behind the stream, or has lost its end: time tells
            self._put_off(holes, None)
            return
        await self._take(holes, page)

    async def _take(self, holes: Sequence[Hole], page: Page) -> None:
        """Store what a page has of the holes; what it has not waits."""
        now = asyncio.get_running_loop().time()
        symbol, reached = holes[0].symbol, page.ids[-1]
        held = page.within([hole.gap for hole in holes])
        proven = runs(held.ids)
        await self._store(symbol, held, proven, Source.REST)
        for hole in holes:
            behind = hole.within(reached + 1, hole.gap.last)
            if behind.gap.size > 0:
                self._queue.add(behind)
                self._wake.set()
            for jumped in without(hole.within(0, reached).gap, proven):
                if hole.due > now:
                    # it was only taken along: its frames may be on their way still
                    self._queue.add(hole._replace(gap=jumped))
                else:
                    await self._jumped(hole, jumped, page)

    async def _store(self, symbol: str, held: Page, proven: Sequence[Gap], source: Source) -> None:
        assert self.account is not None  # noqa: S101
        if not proven:
            return
        receipt = await self._delivery.trades(symbol, held.row_ids, held.rows, proven, source)
        self._stats.trades_backfilled += receipt.written
        stored = held.row_ids
        for gap in proven:
            self.account.found(symbol, gap)
            trades = sum(gap.first <= number <= gap.last for number in stored)
            self._emit(
                events.GapFilled(
                    venue=self._venue.value,
                    symbol=symbol,
                    first=gap.first,
                    last=gap.last,
                    trades=trades,
                    source=source.value,
                )
            )

    async def _admit(self, holes: Sequence[Hole]) -> None:
        """Let what of new holes is still open and not too far back wait for its page; tell of the rest."""
        assert self.account is not None  # noqa: S101
        told: list[tuple[str, Gap]] = []
        for hole in holes:
            floor = max(self.account.newest(hole.symbol) - self._reach, 0)
            self._queue.add(hole.within(floor, hole.gap.last)._replace(near=True))
            far = hole.within(0, floor - 1).gap
            lacking = self.account.still_missing(hole.symbol, far) if far.size > 0 else ()
            if lacking:
                told.append((hole.symbol, Gap(lacking[0].first, lacking[-1].last)))
        self._wake.set()
        for symbol, far in told:
            days = await self._days(symbol, *far)
            command = "crypto-quant backfill with its days"
            if days:
                command = commands.backfill(self._venue.value, symbol, first=days[0], last=days[1])
            self._left_open(symbol, far, f"farther back than --backfill-reach ({self._reach:,} ids)", command)

    async def _days(self, symbol: str, first: int, last: int) -> tuple[date, date] | None:
        """Return the days of two ids; None when REST cannot tell."""
        try:
            begin = await self._rest.agg_trades(symbol, first, 1, share=_SHARE)
            end = await self._rest.agg_trades(symbol, last, 1, share=_SHARE)
        except CryptoQuantError:
            return None
        if not begin.ids or not end.ids:
            return None
        return day_of(begin.times_ns[0]), day_of(end.times_ns[0])

    # -- what REST has not -------------------------------------------------------------------------------

    async def _jumped(self, hole: Hole, jumped: Gap, page: Page) -> None:
        """REST has told a later id and not these: ask again, then look into the archive."""
        jumps = hole.jumps + 1
        if jumps < _JUMPS_BELIEVED:
            pause_s = min(max(2 * hole.pause_s, _FIRST_PAUSE_S), _LAST_PAUSE_S)
            self._put(hole._replace(gap=jumped, jumps=jumps, pause_s=pause_s), pause_s)
            return
        # the first id that came after the jump tells the time
        at = next((at for at, number in enumerate(page.ids) if number > jumped.last), len(page.ids) - 1)
        again = hole._replace(gap=jumped, jumps=_JUMPS_BELIEVED, told=True)
        try:
            cause = await self._seek(hole.symbol, jumped, day_of(page.times_ns[at]))
        except (CryptoQuantError, OSError) as problem:
            cause = f"REST jumps over them, and the archive cannot be read: {problem}"
        if cause:
            if not hole.told:
                self._left_open(hole.symbol, jumped, cause, "It is tried again every hour")
            self._put(again, _ARCHIVE_AGAIN_S)

    async def _seek(self, symbol: str, gap: Gap, day: date) -> str:
        """Take ids from the archive, or record that it has not got them; return why neither could be done."""
        if self._shelf is None or self._ledger is None:
            return "REST jumps over them"
        left = [gap]
        names = []
        # a trade right after midnight may have followed them: the day before counts as well
        for candidate in (day, day - timedelta(days=1)):
            file = ArchiveFile(self._venue, symbol, _AGG_TRADE, candidate, candidate, False)
            # a backfill of the same data directory may be at work on this file, and deletes it at its end
            async with self._shelf.hold(file, lambda: None):
                path = await self._shelf.fetch(file)
                if path is None:
                    return f"REST jumps over them, and the archive has no {file.name} yet"
                names.append(file.name)
                found = await asyncio.to_thread(self._shelf.pick, file, path, gap)
            if found.ids:
                proven = runs(found.ids)
                ids = [number for number, row in zip(found.ids, found.rows, strict=True) if row]
                rows = [row for row in found.rows if row]
                await self._store(symbol, Page(found.ids, [], ids, rows, 0), proven, Source.ARCHIVE)
                left = [part for one in left for part in without(one, proven)]
            if not left:
                return ""
        proof = f"REST jumped over them {_JUMPS_BELIEVED} times; not in {', '.join(names)}"
        for part in left:
            await self._ledger.record_absence(self._venue.value, symbol, part.first, part.last, proof)
            assert self.account is not None  # noqa: S101
            self.account.found(symbol, part)
            self._emit(
                events.TradesAbsent(
                    venue=self._venue.value, symbol=symbol, first=part.first, last=part.last, proof=proof
                )
            )
        return ""

    # -- what goes wrong ---------------------------------------------------------------------------------

    def _put_off(self, holes: Sequence[Hole], problem: CryptoQuantError | None) -> None:
        now = asyncio.get_running_loop().time()
        symbol = holes[0].symbol
        if isinstance(problem, RequestRefused):
            # what lies behind would be refused as well; of each hole it is told once
            behind = self._queue.take_from(symbol, holes[0].gap.first)
            for gap in RangeSet(hole.gap for hole in (*holes, *behind)).ranges():
                self._left_open(symbol, Gap(*gap), str(problem), "See the message of the exchange")
            return
        if problem is None:
            # nothing from the first id on: nothing behind it either
            for hole in (*holes, *self._queue.take_from(symbol, holes[0].gap.first)):
                pause_s = min(max(2 * hole.pause_s, _FIRST_PAUSE_S), _LAST_PAUSE_S)
                self._put(hole._replace(pause_s=pause_s), pause_s)
            return
        if isinstance(problem, Throttled):
            wait_s = problem.retry_after_s or _FIRST_PAUSE_S
            self._quiet_until = max(self._quiet_until, now + wait_s)
        else:
            pause_s = min(max(2 * self._pauses.get(symbol, 0.0), _FIRST_PAUSE_S), _LAST_PAUSE_S)
            self._pauses[symbol] = pause_s
            wait_s = self._rng.uniform(pause_s / 2, pause_s)
            self._queue.pause(symbol, now + wait_s)
        request = f"aggTrades {symbol} from {holes[0].gap.first}"
        self._emit(events.RestFailed(request=request, cause=str(problem), retry_in_s=round(wait_s, 3)))
        for hole in holes:
            self._queue.add(hole)
        self._wake.set()

    def _left_open(self, symbol: str, gap: Gap, cause: str, hint: str) -> None:
        self._emit(
            events.GapLeftOpen(
                venue=self._venue.value, symbol=symbol, first=gap.first, last=gap.last, cause=cause, hint=hint
            )
        )
