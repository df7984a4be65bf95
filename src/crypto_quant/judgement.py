"""What follows from what is stored: holes, doubles and breaks in the ids, and whether a candle is its trades. Pure.

**Quote volume.** The exchange cuts price × quantity of each single trade to eight decimals and sums that.
We hold aggregates: ``k`` single trades at one price, ``pq = Σ pqᵢ``. For any numbers
``0 <= floor(Σ x) - Σ floor(x) <= k - 1``, so an aggregate's own cut product is above the exchange's sum by at most
``k - 1`` units of the eighth decimal, and over a candle the sum is above it by 0 to (single trades - aggregates)
units. Where every aggregate is one single trade, nothing is left open.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import NamedTuple

import msgspec

from crypto_quant.continuity import Gap, RangeSet
from crypto_quant.evidence import FromTrades, Pair, Run, Verdict

_UNIT = Decimal("0.00000001")


class Hole(NamedTuple):
    """Missing ids, inclusive, and the times (ns) of the trades on either side; None where the rows do not tell."""

    first: int
    last: int
    after_ns: int | None
    before_ns: int | None

    @property
    def size(self) -> int:
        """How many ids are missing."""
        return self.last - self.first + 1


class Break(NamedTuple):
    """Two aggregates that follow each other while their single trades do not (spot)."""

    trade_id: int
    expected: int
    found: int


class Swept(msgspec.Struct, frozen=True):
    """What a sweep over runs found. ``overlaps`` are ids that stand in more than one run (each is an extra row)."""

    holes: list[Hole]
    overlaps: list[Gap]
    breaks: list[Break]


def sweep(runs: Iterable[Run], excused: RangeSet) -> Swept:
    """Return what is wrong between the runs of one symbol, whatever days they are from.

    ``excused`` ids are missing rightly: neutralised by the exchange, or proven to exist nowhere.
    """
    found = Swept([], [], [])
    highest: Run | None = None
    for run in sorted(runs, key=lambda each: (each.first, each.last)):
        if highest is None:
            highest = run
            continue
        if run.first > highest.last + 1:
            for gap in excused.missing(highest.last + 1, run.first - 1):
                found.holes.append(Hole(*gap, highest.last_ns, run.first_ns))
        elif run.first <= highest.last:
            found.overlaps.append(Gap(run.first, min(run.last, highest.last)))
        elif _broken(highest, run):
            found.breaks.append(Break(run.first, highest.last_single + 1, run.first_single))
        if run.last > highest.last:
            highest = run
    return found


def _broken(before: Run, after: Run) -> bool:
    known = before.last_single >= 0 and after.first_single >= 0
    return known and after.venue == "spot" and after.first_single != before.last_single + 1


def whole(trades: FromTrades, held: RangeSet, void: RangeSet) -> bool:
    """Tell whether these are all trades of the candle's time, each once.

    They are when the ids run without a hole from the one before the candle's first, which belongs to an earlier
    time, to the one after its last. ``void`` ids are rightly without a row.
    """
    outside = held.missing(trades.first - 1, trades.last + 1)
    rightly = sum(last - first + 1 for first, last in void.within(trades.first, trades.last))
    complete = all(not void.missing(*gap) for gap in outside)
    return complete and trades.aggregates == trades.last - trades.first + 1 - rightly


def differences(pair: Pair) -> list[Verdict]:
    """Return the fields in which a candle is not what its trades, all of them, say."""
    trades = pair.trades
    exact: Sequence[tuple[str, object, object]] = (
        ("open", pair.open, trades.open),
        ("high", pair.high, trades.high),
        ("low", pair.low, trades.low),
        ("close", pair.close, trades.close),
        ("volume", pair.volume, trades.volume),
        ("trade_count", pair.trade_count, trades.singles),
        ("taker_buy_volume", pair.taker_buy_volume, trades.taker_volume),
        ("first_trade_id", pair.first_trade_id, trades.first_single),
        ("last_trade_id", pair.last_trade_id, trades.last_single),
    )
    found = [
        _verdict(pair, field, stored, derived) for field, stored, derived in exact if stored not in (None, derived)
    ]
    cut = (
        ("quote_volume", pair.quote_volume, trades.quote, trades.singles - trades.aggregates),
        ("taker_buy_quote_volume", pair.taker_buy_quote_volume, trades.taker_quote,
         trades.taker_singles - trades.taker_aggregates),
    )  # fmt: skip
    for field, stored, most, slack in cut:
        least = most - slack * _UNIT
        if stored is not None and not least <= stored <= most:
            found.append(_verdict(pair, field, stored, f"{least:f} to {most:f}" if slack else most))
    return found


def _verdict(pair: Pair, field: str, stored: object, derived: object) -> Verdict:
    return Verdict(pair.venue, pair.symbol, pair.timeframe, pair.open_ns, field, _text(stored), _text(derived))


def _text(value: object) -> str:
    return f"{value:f}" if isinstance(value, Decimal) else str(value)
