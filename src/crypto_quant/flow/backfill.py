"""Holes in the trades of a running recorder, closed by id over REST; what REST has not, sought in the archive."""

import asyncio
import heapq
import itertools
import random
from collections.abc import Sequence
from datetime import date, timedelta
from typing import NamedTuple, Protocol

from crypto_quant import commands, events
from crypto_quant.binance.archive import ArchiveFile
from crypto_quant.binance.backhistory import PAGE, Page
from crypto_quant.binance.streams import Stream
from crypto_quant.binance.venues import StreamKind
from crypto_quant.continuity import Gap, runs, without
from crypto_quant.errors import CryptoQuantError, RequestRefused, Throttled
from crypto_quant.flow.archives import ArchiveShelf
from crypto_quant.flow.delivery import Delivery
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


class _Job(NamedTuple):
    """A hole that waits for its turn. ``jumps``: how often REST has jumped over all of it; ``pause_s``: the last.

    ``near``: it was within reach once. The newest id runs away from a hole while it is being closed, and what was
    begun is finished.
    """

    symbol: str
    gap: Gap
    pause_s: float = 0.0
    jumps: int = 0
    told: bool = False
    near: bool = False


class Backfiller:
    """Closes the holes it is told of; ``want`` never blocks, ``run`` does the work until it is cancelled.

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
        self._queue: list[tuple[float, int, _Job]] = []
        self._order = itertools.count()
        self._wake = asyncio.Event()
        self._at_work = 0

    @property
    def idle(self) -> bool:
        """Whether no hole waits or is being closed."""
        return not self._queue and not self._at_work

    def want(self, symbol: str, gap: Gap) -> None:
        """Queue a hole (inclusive ids of a stored symbol)."""
        self._put(_Job(symbol, gap), self._settle_s)

    def _put(self, job: _Job, in_s: float) -> None:
        at = asyncio.get_running_loop().time() + in_s
        heapq.heappush(self._queue, (at, next(self._order), job))
        self._wake.set()

    async def run(self) -> None:
        """Close holes until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(_WORKERS):
                tasks.create_task(self._work())

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            wait_s = self._queue[0][0] - loop.time() if self._queue else None
            if wait_s is None or wait_s > 0:
                self._wake.clear()
                try:
                    async with asyncio.timeout(wait_s):
                        await self._wake.wait()
                except TimeoutError:
                    pass
                continue
            job = heapq.heappop(self._queue)[2]
            self._at_work += 1
            try:
                await self._close(job)
            finally:
                self._at_work -= 1

    async def _close(self, job: _Job) -> None:
        """Close what of the hole is still open; whatever ails the outer world puts it off, never ends the recorder."""
        assert self.account is not None  # noqa: S101  # wired by compose
        pages = 0
        open_parts = await self._within_reach(job, self.account)
        job = job._replace(near=True)
        for gap in open_parts:
            left = gap
            while left.size > 0:
                if pages == _PAGES_A_TURN:
                    self._put(job._replace(gap=Gap(left.first, job.gap.last)), 0.0)
                    return
                pages += 1
                try:
                    page = await self._rest.agg_trades(job.symbol, left.first, min(PAGE, left.size), share=_SHARE)
                except CryptoQuantError as problem:
                    self._put_off(job._replace(gap=Gap(left.first, job.gap.last)), problem)
                    return
                if not page.ids:
                    # REST is behind the stream, or has lost its end: time tells
                    self._put_off(job._replace(gap=Gap(left.first, job.gap.last)), None)
                    return
                left = await self._take(job, left, page)

    async def _take(self, job: _Job, left: Gap, page: Page) -> Gap:
        """Store a page's part of a hole; return what lies behind it."""
        reached = min(page.ids[-1], left.last)
        held = page.upto(left.last)
        proven = runs(held.ids)
        await self._store(job.symbol, held, proven, Source.REST)
        for jumped in without(Gap(left.first, reached), proven):
            await self._jumped(job, jumped, page)
        return Gap(reached + 1, left.last)

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

    async def _within_reach(self, job: _Job, account: Account) -> Sequence[Gap]:
        """Return what of the hole is still open and not too far back; tell of the rest."""
        floor = job.gap.first if job.near else account.newest(job.symbol) - self._reach
        if job.gap.first < floor:
            far = account.still_missing(job.symbol, Gap(job.gap.first, min(job.gap.last, floor - 1)))
            if far:
                days = await self._days(job.symbol, far[0].first, far[-1].last)
                command = "crypto-quant backfill with its days"
                if days:
                    command = commands.backfill(self._venue.value, job.symbol, first=days[0], last=days[1])
                self._left_open(
                    job.symbol,
                    Gap(far[0].first, far[-1].last),
                    f"farther back than --backfill-reach ({self._reach:,} ids)",
                    command,
                )
        near = Gap(max(job.gap.first, floor), job.gap.last)
        return account.still_missing(job.symbol, near) if near.size > 0 else ()

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

    async def _jumped(self, job: _Job, jumped: Gap, page: Page) -> None:
        """REST has told a later id and not these: ask again, then look into the archive."""
        jumps = job.jumps + 1
        if jumps < _JUMPS_BELIEVED:
            pause_s = min(max(2 * job.pause_s, _FIRST_PAUSE_S), _LAST_PAUSE_S)
            self._put(job._replace(gap=jumped, jumps=jumps, pause_s=pause_s), pause_s)
            return
        # the first id that came after the jump tells the time
        at = next((at for at, number in enumerate(page.ids) if number > jumped.last), len(page.ids) - 1)
        again = job._replace(gap=jumped, jumps=_JUMPS_BELIEVED, told=True)
        try:
            cause = await self._seek(job.symbol, jumped, day_of(page.times_ns[at]))
        except (CryptoQuantError, OSError) as problem:
            cause = f"REST jumps over them, and the archive cannot be read: {problem}"
        if cause:
            if not job.told:
                self._left_open(job.symbol, jumped, cause, "It is tried again every hour")
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

    def _put_off(self, job: _Job, problem: CryptoQuantError | None) -> None:
        if isinstance(problem, RequestRefused):
            self._left_open(job.symbol, job.gap, str(problem), "See the message of the exchange")
            return
        pause_s = min(max(2 * job.pause_s, _FIRST_PAUSE_S), _LAST_PAUSE_S)
        if isinstance(problem, Throttled):
            pause_s = max(problem.retry_after_s, _FIRST_PAUSE_S)
        wait_s = self._rng.uniform(pause_s / 2, pause_s) if not isinstance(problem, Throttled) else pause_s
        if problem is not None:
            request = f"aggTrades {job.symbol} from {job.gap.first}"
            self._emit(events.RestFailed(request=request, cause=str(problem), retry_in_s=round(wait_s, 3)))
        self._put(job._replace(pause_s=pause_s), wait_s)

    def _left_open(self, symbol: str, gap: Gap, cause: str, hint: str) -> None:
        self._emit(
            events.GapLeftOpen(
                venue=self._venue.value, symbol=symbol, first=gap.first, last=gap.last, cause=cause, hint=hint
            )
        )
