"""Many loads at once: a bounded number at work, one account of what became of each, one of how far it is."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import date

from crypto_quant.binance.archive import ArchiveFile
from crypto_quant.continuity import Gap
from crypto_quant.errors import ExchangeUnavailable, SetAsideError
from crypto_quant.flow.archives import ArchiveShelf
from crypto_quant.flow.loading import Outcome, TradeLoader, Wanted
from crypto_quant.flow.loading_candles import CandleLoader

# (days done of all, what is being done)
Report = Callable[[float, str], None]


class HistoryRun:
    """Loads what is wanted, ``jobs`` files at a time; ``total_days`` counts each day of each symbol and stream."""

    def __init__(
        self, trades: TradeLoader, candles: CandleLoader, shelf: ArchiveShelf, *, jobs: int, report: Report
    ) -> None:
        self._trades = trades
        self._candles = candles
        self._shelf = shelf
        self._slots = asyncio.Semaphore(jobs)
        self._report = report
        self._whole = 0.0
        self._parts: dict[ArchiveFile, float] = {}

    async def run(self, wanted: Sequence[Wanted]) -> list[Outcome]:
        """Return what became of each, in the order given.

        A file that cannot be used is told in its outcome's ``failures`` and the others go on; what ails the store,
        the disk or the settings is raised. Cancelling is safe: what is committed is proven, and skipped next time.
        """
        outcomes = [
            Outcome(one.symbol, str(one.stream), one.first, one.last, failures=[], refused=[]) for one in wanted
        ]
        try:
            async with asyncio.TaskGroup() as tasks:
                for one, outcome in zip(wanted, outcomes, strict=True):
                    loader = self._trades if one.stream.timeframe is None else self._candles
                    for unit in loader.units(one):
                        tasks.create_task(self._unit(one, unit, outcome))
        except BaseExceptionGroup as group:
            raise _innermost(group) from group
        for one, outcome in zip(wanted, outcomes, strict=True):
            if one.stream.timeframe is None:
                await self._settle(one, outcome)
        return outcomes

    async def trades_again(self, symbol: str, absent: Sequence[Gap], days: Sequence[date]) -> int:
        """Ask again for ids that are recorded as absent, in files of some days and over REST; return the new rows."""
        outcome = Outcome(symbol, "aggTrade", min(days, default=date.min), max(days, default=date.min), refused=[])
        await self._trades.again(symbol, absent, days, outcome)
        return outcome.rows_written

    async def candles_again(self, wanted: Wanted, absent: Sequence[Gap]) -> int:
        """Ask again for absent slots, in files of the wanted days and over REST; return the new rows."""
        outcome = Outcome(wanted.symbol, str(wanted.stream), wanted.first, wanted.last, refused=[])
        await self._candles.again(wanted, absent, outcome)
        return outcome.rows_written

    async def _settle(self, wanted: Wanted, outcome: Outcome) -> None:
        try:
            await self._trades.settle(wanted, outcome)
        except (SetAsideError, ExchangeUnavailable) as problem:
            outcome.failures.append(str(problem))

    async def _unit(self, wanted: Wanted, unit: ArchiveFile, outcome: Outcome) -> None:
        days = (min(unit.last, wanted.last) - max(unit.first, wanted.first)).days + 1

        def progress(share: float, what: str) -> None:
            self._parts[unit] = days * min(1.0, share)
            self._report(self._whole + sum(self._parts.values()), what)

        async with self._slots:
            try:
                # who had to wait finds proven what the other has stored, and loads the rest
                async with self._shelf.hold(unit, lambda: progress(0.0, f"waiting: another run loads {unit.name}")):
                    if wanted.stream.timeframe is None:
                        await self._trades.load(unit, outcome, progress)
                    else:
                        await self._candles.load(unit, wanted, outcome, progress)
            except (SetAsideError, ExchangeUnavailable) as problem:
                outcome.failures.append(str(problem))
            self._parts.pop(unit, None)
            self._whole += days
            self._report(self._whole + sum(self._parts.values()), "")


def _innermost(failure: BaseException) -> BaseException:
    """Return the first error of a group of tasks, so that the caller can tell its kind."""
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    return failure
