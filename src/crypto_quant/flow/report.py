"""What an audit found, as values: the shape of ``verify --json``. Keys are stable; new ones may be added."""

from datetime import date, timedelta
from typing import Any

import msgspec

from crypto_quant.evidence import Spooled, Verdict
from crypto_quant.judgement import Break
from crypto_quant.market import utc_text


class HoleReport(msgspec.Struct, kw_only=True):
    """Missing ids, inclusive. ``day`` is the one on which the record breaks off; ``after`` and ``before`` are the
    times of the trades on either side, where the rows were read. ``claimed`` of the ids stand in coverage all the
    same: rows that were there have gone."""

    first: int
    last: int
    missing: int
    day: str
    after: str | None
    before: str | None
    claimed: int


class DoubledReport(msgspec.Struct):
    """Ids (inclusive) that are there more than once; the times of the rows, where they are of one day."""

    first: int
    last: int
    times: list[str]


class RangeReport(msgspec.Struct, omit_defaults=True):
    """Ids (inclusive) and how they were filled, or why they are absent; when that was recorded."""

    first: int
    last: int
    source: str
    since: str | None = None
    until: str | None = None


class FaultReport(msgspec.Struct):
    """Claims that contradict rows or each other at ids ``first`` to ``last`` (inclusive), ``count`` of them.

    ``kind`` is one of ``claims.FAULTS``.
    """

    kind: str
    first: int
    last: int
    count: int


class DayReport(msgspec.Struct):
    """One UTC day of one symbol. ``unaccounted`` rows are claimed by coverage and not there (negative: too many);
    ``sources`` says how many ids came which way."""

    day: str
    rows: int
    first_id: int
    last_id: int
    missing: int = 0
    duplicates: int = 0
    breaks: int = 0
    unaccounted: int = 0
    sources: dict[str, int] = {}


class SymbolReport(msgspec.Struct, kw_only=True):
    """The trades of one symbol. ``rows_read`` is false where coverage was trusted."""

    venue: str
    symbol: str
    rows_read: bool
    rows: int
    first_id: int
    last_id: int
    missing: int
    duplicates: int
    breaks: int
    unaccounted: int
    holes: list[HoleReport]
    doubled: list[DoubledReport]
    broken: list[Break]
    covered: list[RangeReport]
    absent: list[RangeReport]
    days: list[DayReport]
    dropped: list[RangeReport] = []
    faults: list[FaultReport] = []

    @property
    def lost(self) -> int:
        """How many ids were claimed as stored and have no row."""
        return sum(each.claimed for each in self.holes)

    @property
    def sound(self) -> bool:
        """Whether nothing is missing, doubled or broken, and claims and rows agree."""
        return not (self.missing or self.duplicates or self.breaks or self.unaccounted or self.faults)


class SlotsReport(msgspec.Struct):
    """Missing candles: the first and the last open time, inclusive, and how many they are.

    ``claimed`` of them are claimed as stored: rows that were there have gone.
    """

    first_open: str
    last_open: str
    slots: int
    claimed: int = 0


class SlotFaultReport(msgspec.Struct):
    """As ``FaultReport``, of candles: from the first to the last open time, inclusive."""

    kind: str
    first_open: str
    last_open: str
    count: int


class SlotRangeReport(msgspec.Struct, omit_defaults=True):
    """Candles from the first to the last open time (inclusive) and how they were filled, or why they are absent; when
    that was recorded."""

    first_open: str
    last_open: str
    slots: int
    source: str
    since: str | None = None
    until: str | None = None


class CandleReport(msgspec.Struct, kw_only=True):
    """The candles of one series. Without ``deep`` none is held against trades: all are ``not_checkable``.

    ``rows_read`` is false where coverage was trusted; ``sources`` says how many candles came which way.
    """

    venue: str
    symbol: str
    timeframe: str
    rows_read: bool
    rows: int
    first_open: str
    last_open: str
    missing: int
    misplaced: int
    equal: int
    different: int
    not_checkable: int
    holes: list[SlotsReport]
    verdicts: list[Verdict]
    covered: list[SlotRangeReport] = []
    absent: list[SlotRangeReport] = []
    dropped: list[SlotRangeReport] = []
    sources: dict[str, int] = {}
    faults: list[SlotFaultReport] = []

    @property
    def lost(self) -> int:
        """How many candles were claimed as stored and have no row."""
        return sum(each.claimed for each in self.holes)

    @property
    def sound(self) -> bool:
        """Whether no candle is missing or contradicted, and claims and rows agree.

        Where a candle opens is the exchange's matter: its own have opened off the raster (``misplaced``).
        """
        return not (self.missing or self.different or self.faults)


class SealFinding(msgspec.Struct):
    """What contradicts a seal: its number, the positions and the times (UTC) that it answers for, and what was found.

    ``repaired``: a change on purpose, which is no fault.
    """

    number: int
    first: int
    last: int
    since: str
    until: str
    what: str
    repaired: bool = False


class SealReport(msgspec.Struct, kw_only=True):
    """The seals of one series: how many, up to which time (UTC), over how many rows, and the head of the chain.

    ``checked`` seals were held against their rows, ``unsealed`` rows are claimed and not sealed yet.
    """

    venue: str
    symbol: str
    stream: str
    seals: int
    number: int
    seal: str
    sealed_until: str
    checked: int = 0
    unsealed: int = 0
    findings: list[SealFinding] = []

    @property
    def sound(self) -> bool:
        """Whether nothing contradicts a seal."""
        return all(each.repaired for each in self.findings)


class SampleDifference(msgspec.Struct):
    """A position whose row is not the exchange's: the field, what is stored and what the exchange has."""

    position: int
    field: str
    stored: str
    exchange: str


class SampledStretch(msgspec.Struct):
    """Positions ``first`` to ``last`` (inclusive), fetched anew from ``source`` and compared.

    ``unchecked`` says why nobody could be asked; then nothing is known of them.
    """

    venue: str
    symbol: str
    stream: str
    first: int
    last: int
    source: str
    checked: int = 0
    different: int = 0
    differences: list[SampleDifference] = []
    unchecked: str = ""


class SampleReport(msgspec.Struct, kw_only=True):
    """A sample of what is claimed, held against the exchange; ``seed`` chooses the same one again."""

    seed: int
    asked_at: str
    stretches: list[SampledStretch] = []

    @property
    def sound(self) -> bool:
        """Whether nothing that was compared differs."""
        return not any(each.different for each in self.stretches)


class Report(msgspec.Struct, kw_only=True):
    """The whole. ``mode`` is ``coverage`` or ``deep``; days are UTC and inclusive.

    ``verdicts_stored`` is None when there were none to store, false when they could
    not be stored. ``empty_days`` were asked for and have no row at all. ``spooled`` are rows of these days and series
    that were received and are not stored yet.
    """

    version: str
    checked_at: str
    database: str
    mode: str
    first_day: str
    last_day: str
    record_begins: str
    record_ends: str
    verdicts_stored: bool | None
    symbols: list[SymbolReport]
    candles: list[CandleReport]
    missing_tables: list[str] = []
    seals: list[SealReport] = []
    sample: SampleReport | None = None
    empty_days: list[str] = []
    spooled: list[Spooled] = []

    @property
    def complete(self) -> bool:
        """Whether nothing is missing, nothing differs and nothing waits to be stored."""
        sound = all(each.sound for each in self.symbols) and all(each.sound for each in self.candles)
        sound = sound and all(each.sound for each in self.seals) and not self.missing_tables
        sound = sound and not self.empty_days and not self.spooled
        return sound and (self.sample is None or self.sample.sound)

    def empty_stretches(self) -> list[tuple[str, str]]:
        """Return the first and the last day, both inclusive, of each run of ``empty_days``."""
        found: list[tuple[date, date]] = []
        for day in map(date.fromisoformat, self.empty_days):
            if found and day - found[-1][1] == timedelta(days=1):
                found[-1] = (found[-1][0], day)
            else:
                found.append((day, day))
        return [(first.isoformat(), last.isoformat()) for first, last in found]

    def totals(self) -> dict[str, int]:
        """Return the sums over all symbols and series."""
        series = {(each.venue, each.symbol) for each in self.symbols}
        series |= {(each.venue, each.symbol) for each in self.candles}
        return {
            "symbols": len(series),
            "trades": sum(each.rows for each in self.symbols),
            "missing": sum(each.missing for each in self.symbols),
            "lost": sum(each.lost for each in self.symbols),
            "faults": sum(len(each.faults) for each in self.symbols) + sum(len(each.faults) for each in self.candles),
            "holes": sum(len(each.holes) for each in self.symbols),
            "duplicates": sum(each.duplicates for each in self.symbols),
            "breaks": sum(each.breaks for each in self.symbols),
            "unaccounted": sum(each.unaccounted for each in self.symbols),
            "absent": sum(last.last - last.first + 1 for each in self.symbols for last in each.absent),
            "dropped": sum(gone.last - gone.first + 1 for each in self.symbols for gone in each.dropped),
            "seals": sum(each.seals for each in self.seals),
            "seals_broken": sum(not finding.repaired for each in self.seals for finding in each.findings),
            "spooled": sum(each.rows for each in self.spooled),
            "unsealed": sum(each.unsealed for each in self.seals),
            "candles": sum(each.rows for each in self.candles),
            "candles_missing": sum(each.missing for each in self.candles),
            "candles_lost": sum(each.lost for each in self.candles),
            "candles_absent": sum(absent.slots for each in self.candles for absent in each.absent),
            "candles_dropped": sum(gone.slots for each in self.candles for gone in each.dropped),
            "candles_misplaced": sum(each.misplaced for each in self.candles),
            "candles_equal": sum(each.equal for each in self.candles),
            "candles_different": sum(each.different for each in self.candles),
            "candles_not_checkable": sum(each.not_checkable for each in self.candles),
        }

    def to_json(self) -> dict[str, Any]:
        """Return plain values for JSON: the fields, ``complete`` and ``totals``."""
        whole: dict[str, Any] = msgspec.to_builtins(self)
        for symbol in whole["symbols"]:
            symbol["broken"] = [
                {"trade_id": each[0], "expected": each[1], "found": each[2]} for each in symbol["broken"]
            ]
        for series in whole["candles"]:
            for verdict in series["verdicts"]:
                verdict["open"] = utc_text(verdict.pop("open_ns"))
        return {"complete": self.complete, "totals": self.totals(), **whole}
