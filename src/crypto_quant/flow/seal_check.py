"""The seals of a record held against its rows, its claims and each other."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date

from crypto_quant.claims import Claims
from crypto_quant.continuity import RangeSet
from crypto_quant.evidence import Reader, Run, Scope, Span
from crypto_quant.flow.claimed import claims_by_stream
from crypto_quant.flow.report import SealFinding, SealReport
from crypto_quant.market import DAY_NS, Venue, day_ns, day_of, utc_text
from crypto_quant.seals import (
    HOUR_NS,
    TRADES,
    Digested,
    Key,
    Seal,
    SealKeeper,
    Wanted,
    broken_links,
    changes,
    current,
    minus,
    same_rows,
)

# digests of so many seals are made by one statement
_AT_ONCE = 2000


class SealCheck:
    """One check of the seals of a scope. ``keepers`` are on connections of their own, and read side by side."""

    def __init__(self, reader: Reader, keepers: Sequence[SealKeeper], scope: Scope) -> None:
        self._reader = reader
        self._keepers = keepers
        self._scope = scope
        self._claims: dict[Key, Claims] = {}
        self._reports: dict[Key, SealReport] = {}
        self._days: Counter[date] = Counter()

    async def begin(self) -> None:
        """Check the chains, and what is claimed of each sealed stretch."""
        keeper = self._keepers[0]
        if not await keeper.kept():
            return
        self._claims = await claims_by_stream(self._reader, self._scope)
        heads = await keeper.heads(self._scope)
        for key in sorted({*heads, *await keeper.series(self._scope)}):
            chain, head = await keeper.chain(key), heads.get(key)
            newest = chain[-1] if chain else None
            report = self._reports[key] = SealReport(
                venue=key[0], symbol=key[1], stream=key[2], seals=len(chain),
                number=-1 if newest is None else newest.number, seal="" if newest is None else newest.seal,
                sealed_until=utc_text(max(seal.last_ns for seal in chain)) if chain else "",
            )  # fmt: skip
            by_number = {seal.number: seal for seal in chain}
            for number, what in broken_links(chain, head):
                report.findings.append(_finding(by_number.get(number), number, what))
            claims, sealed = self._claims.get(key, Claims()), RangeSet()
            for seal in current(each for each in chain if each.intact()):
                sealed.add(seal.first, seal.last)
                self._days[day_of(seal.first_ns)] += 1
                report.findings += [
                    _finding(seal, seal.number, f"{each.first} to {each.last} {each.what}", repaired=each.excused)
                    for each in changes(seal, claims)
                ]
            report.findings += [
                _finding(seal, seal.number, f"sealed anew: {seal.reason}", repaired=True)
                for seal in chain
                if seal.replaces is not None
            ]
            report.unsealed = minus(claims.stored(), sealed).size

    async def day(self, day: date) -> dict[tuple[str, str], list[Run]]:
        """Hold the rows of a day's seals against them; return the trades that are proven by that, by symbol."""
        if not self._days.pop(day, 0):
            return {}
        span = Span(day_ns(day), day_ns(day) + DAY_NS)
        # what replaces a seal may begin with a row of another day
        around = await self._keepers[0].seals(self._scope, Span(span.start - DAY_NS, span.end + DAY_NS))
        seals = [
            seal
            for mine in around.values()
            for seal in current(mine)
            if seal.intact() and span.start <= seal.first_ns < span.end
        ]
        proven: dict[tuple[str, str], list[Run]] = {}
        doubtful: set[tuple[str, str]] = set()
        for seal, digest in await self._digests([each for each in seals if each.rows and not self._dropped(each)]):
            report, key = self._reports[seal.key], seal.key[:2]
            report.checked += 1
            if not same_rows(seal, digest, self._claims.get(seal.key, Claims())):
                what = f"{digest.rows:,} rows, {seal.rows:,} were sealed" if digest.rows != seal.rows else (
                    f"the {seal.rows:,} rows are not those that were sealed")  # fmt: skip
                report.findings.append(_finding(seal, seal.number, what))
                doubtful.add(key)
            elif seal.stream == TRADES:
                run = _run(seal, digest)
                if run is None:
                    doubtful.add(key)
                else:
                    proven.setdefault(key, []).append(run)
        return {key: runs for key, runs in proven.items() if key not in doubtful}

    async def finish(self, window: Span | None) -> list[SealReport]:
        """Return what was found; None: of the whole record, so the seals of days without any row are checked as well.

        Of a window of time, the chains, and what lies in the window.
        """
        if window is None:
            for day in sorted(self._days):
                await self.day(day)
        else:
            since, until = utc_text(window.start), utc_text(window.end)
            for report in self._reports.values():
                inside = [each for each in report.findings if not each.since or since <= each.until < until]
                report.findings = inside
        return [self._reports[key] for key in sorted(self._reports)]

    def _dropped(self, seal: Seal) -> bool:
        """Tell whether rows of a stretch were dropped on purpose, so that its digest cannot be made any more."""
        gone: Mapping[Key, Claims] = self._claims
        dropped = RangeSet((gap.first, gap.last) for _, gap in gone.get(seal.key, Claims()).left())
        return bool(dropped.within(seal.first, seal.last)) and any(
            dropped.within(*each) for each in seal.stored().ranges()
        )

    async def _digests(self, seals: Sequence[Seal]) -> list[tuple[Seal, Digested]]:
        """Return the digest of each seal's rows; hours are read one after the other, on all connections at once."""
        batches: dict[tuple[bool, int], list[Seal]] = {}
        for seal in sorted(seals, key=lambda each: (each.stream != TRADES, each.first_ns)):
            batches.setdefault((seal.stream == TRADES, seal.first_ns // HOUR_NS), []).append(seal)
        waiting = [batch[at : at + _AT_ONCE] for batch in batches.values() for at in range(0, len(batch), _AT_ONCE)]
        found: list[tuple[Seal, Digested]] = []

        async def work(keeper: SealKeeper) -> None:
            while waiting:
                batch = waiting.pop(0)
                wanted = [
                    Wanted(each.key, each.stored().ranges(), Span(each.first_ns, each.last_ns + 1)) for each in batch
                ]
                found.extend(zip(batch, await keeper.digests(wanted), strict=True))

        async with asyncio.TaskGroup() as group:
            for keeper in self._keepers:
                group.create_task(work(keeper))
        return found


def _run(seal: Seal, digest: Digested) -> Run | None:
    """Return a stretch as the run that it is; None where it has holes, or its single trades do not continue."""
    ranges = seal.stored().ranges()
    continues = digest.singles == digest.last_single - digest.first_single + 1
    if len(ranges) != 1 or (seal.venue == Venue.SPOT and not continues):
        return None
    return Run(
        seal.venue, seal.symbol, *ranges[0], digest.rows, digest.first_ns, digest.last_ns, 0, 0, digest.first_single,
        digest.last_single,
    )  # fmt: skip


def _finding(seal: Seal | None, number: int, what: str, *, repaired: bool = False) -> SealFinding:
    if seal is None:
        return SealFinding(number, -1, -1, "", "", what)
    since, until = utc_text(seal.first_ns), utc_text(seal.last_ns)
    return SealFinding(number, seal.first, seal.last, since, until, what, repaired)
