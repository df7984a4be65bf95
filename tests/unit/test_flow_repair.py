"""Repair asks REST for the ids and slots that are missing, and the archives for what REST has not."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import date
from typing import Any

import pytest

from crypto_quant.binance.backhistory import Page
from crypto_quant.continuity import Gap
from crypto_quant.errors import ExchangeUnavailable
from crypto_quant.flow.loading import Outcome, Wanted
from crypto_quant.flow.repair import Repairer, hole_days
from crypto_quant.flow.report import DayReport, HoleReport, Report, SymbolReport
from crypto_quant.seams import Receipt, Source


class Rest:
    """An exchange that has some ids; None is one that does not answer."""

    def __init__(self, ids: Sequence[int] | None) -> None:
        self.ids = ids
        self.asked: list[tuple[int, int]] = []

    async def insist(self, _what: str, ask: Callable[[], Awaitable[Any]], _tries: int) -> Any:
        return await ask()

    async def agg_trades(self, _symbol: str, first: int, size: int, *, share: float) -> Page:
        if self.ids is None:
            raise ExchangeUnavailable("away")
        self.asked.append((first, size))
        ids = [number for number in self.ids if number >= first][:size]
        return Page(ids, ids, ids, [b"row %d" % number for number in ids], 0)


class Delivery:
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.proven: list[Gap] = []

    async def trades(
        self, _symbol: str, ids: Sequence[int], _rows: Sequence[bytes], proven: Sequence[Gap], source: Source
    ) -> Receipt:
        assert source is Source.REST
        self.proven += proven
        return Receipt(len(ids), 0)


class History:
    """Remembers what was wanted from the archives."""

    def __init__(self) -> None:
        self.wanted: list[Wanted] = []

    async def run(self, wanted: Sequence[Wanted]) -> list[Outcome]:
        self.wanted += wanted
        return [Outcome(one.symbol, "aggTrade", one.first, one.last, rows_written=2, failures=[]) for one in wanted]


def report(*holes: HoleReport) -> Report:
    missing = sum(hole.missing for hole in holes)
    symbol = SymbolReport(
        venue="spot", symbol="btcusdt", rows_read=True, rows=1, first_id=0, last_id=99, missing=missing, duplicates=0,
        breaks=0, unaccounted=0, holes=list(holes), doubled=[], broken=[], covered=[], absent=[], days=[],
    )  # fmt: skip
    return Report(
        version="0", checked_at="", database="", mode="deep", first_day="", last_day="", record_begins="",
        record_ends="", verdicts_stored=None, symbols=[symbol], candles=[],
    )  # fmt: skip


def hole(first: int, last: int, claimed: int = 0) -> HoleReport:
    return HoleReport(
        first=first, last=last, missing=last - first + 1, day="2026-10-01", after="2026-10-01T23:00:00Z",
        before="2026-10-02T01:00:00Z", claimed=claimed,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("ids", "proven", "days"),
    [
        (range(100), [Gap(10, 14)], []),
        ([9, 10, 11, 14, 15], [Gap(10, 11), Gap(14, 14)], [(date(2026, 10, 1), date(2026, 10, 2))]),
        ([50], [], [(date(2026, 10, 1), date(2026, 10, 2))]),
        ([], [], [(date(2026, 10, 1), date(2026, 10, 2))]),
        (None, [], [(date(2026, 10, 1), date(2026, 10, 2))]),
    ],
)
async def test_what_rest_has_not_is_sought_in_the_archives(
    ids: Sequence[int] | None, proven: list[Gap], days: list[tuple[date, date]]
) -> None:
    rest, delivery, history = Rest(ids), Delivery(), History()
    forgotten: list[Any] = []
    steps: list[tuple[str, int, int]] = []

    async def forget(*what: object) -> None:
        forgotten.append(what)

    repairer = Repairer(rest, delivery, history, forget, lambda *step: steps.append(step))  # type: ignore[arg-type]
    written = await repairer.run(report(hole(10, 14)))
    assert delivery.proven == proven
    assert [(one.first, one.last) for one in history.wanted] == days
    assert written == sum(gap.size for gap in proven) + 2 * len(days)
    assert forgotten == []
    assert all(done <= total == 5 for _, done, total in steps)
    # nothing beyond the hole is asked for
    assert all(first >= 10 and first + size - 1 <= 14 for first, size in rest.asked)


async def test_rows_that_have_gone_are_forgotten_before_they_are_fetched() -> None:
    order: list[object] = []

    class Telling(Delivery):
        async def trades(self, *given: Any) -> Receipt:
            order.append("fetched")
            return await super().trades(*given)

    async def forget(*what: object) -> None:
        order.append(what)

    repairer = Repairer(Rest(range(100)), Telling(), History(), forget, lambda *_: None)  # type: ignore[arg-type]
    await repairer.run(report(hole(10, 11, claimed=2), hole(20, 20)))
    assert order == [("spot", "btcusdt", [(10, 11)]), "fetched", "fetched"]


@pytest.mark.parametrize("read", [True, False])
async def test_every_day_of_a_hole_is_sought_whether_or_not_the_rows_beside_it_were_read(read: bool) -> None:
    """A hole of five days between ids 9 and 60, on a venue whose REST does not reach back."""
    history = History()

    async def forget(*_what: object) -> None:
        raise AssertionError("nothing is claimed")

    long = HoleReport(
        first=10, last=59, missing=50, day="2026-10-01", claimed=0,
        after="2026-10-01T23:00:00Z" if read else None, before="2026-10-06T01:00:00Z" if read else None,
    )  # fmt: skip
    days = [
        DayReport("2026-10-01", 10, 0, 9),
        DayReport("2026-10-06", 40, 60, 99),
        DayReport("2026-10-07", 9, 100, 108),
    ]
    told = report(long)
    told.symbols[0].days = days
    repairer = Repairer(Rest(None), Delivery(), history, forget, lambda *_: None)  # type: ignore[arg-type]
    await repairer.run(told)
    assert [(one.first, one.last) for one in history.wanted] == [(date(2026, 10, 1), date(2026, 10, 6))]


async def test_a_day_inside_a_hole_has_the_hole_of_all_its_days() -> None:
    inside = HoleReport(
        first=10, last=59, missing=50, day="2026-10-03", claimed=0,
        after="2026-10-01T23:00:00Z", before="2026-10-06T01:00:00Z",
    )  # fmt: skip
    assert hole_days(report(inside).symbols[0], inside) == (date(2026, 10, 1), date(2026, 10, 6))
