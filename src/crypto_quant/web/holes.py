"""What lacks of one symbol, when, how it was filled, and the command that fills it."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from crypto_quant import commands
from crypto_quant.continuity import Gap
from crypto_quant.evidence import Span
from crypto_quant.market import DAY_NS, NS_PER_MS, Timeframe, day_of, utc_text
from crypto_quant.store.glance import Look, Range
from crypto_quant.web.heat import FETCHED, Claims
from crypto_quant.web.heatmap import Heatmap

# so many are shown of each kind, newest first
SHOWN = 200


class _Part(NamedTuple):
    """A range of ids that lack (``open``, ``dropped``), were fetched, or exist nowhere (``absent``)."""

    first: int
    last: int
    state: str
    source: str
    at_ns: int | None
    note: str


async def marks(look: Look, venue: str, symbol: str, span: Span) -> list[list[Any]]:
    """Return what lacked and lacks of the trades in a span.

    Each is (from, to in ms, how many, state, source, when it was filled in ms), by the times of the trades beside it.
    """
    ranges = await _of(look, venue, symbol, None)
    ends = await look.ends(venue, symbol, span) if ranges else None
    if ends is None:
        return []
    parts = [each for each in _parts(ranges, *ends) if each.state in ("open", "fetched", "dropped")]
    times = await _times(look, venue, symbol, span, parts)
    found = []
    for each in parts:
        start, end = _around(each, times)
        if start is not None or end is not None:
            start, end = start or end or 0, end or start or 0
            found.append([start // NS_PER_MS, end // NS_PER_MS, each.last - each.first + 1, each.state, each.source,
                          each.at_ns and each.at_ns // NS_PER_MS])  # fmt: skip
    return found


async def holes_of_day(
    look: Look, heatmap: Heatmap, venue: str, symbol: str, day: int, frame: Timeframe | None
) -> dict[str, Any]:
    """Return what is known of a symbol (of its trades, or with ``frame`` of its candles) on a day."""
    ranges = await _of(look, venue, symbol, frame)
    name = str(day_of(day * DAY_NS))
    found: dict[str, Any] = {"venue": venue, "symbol": symbol, "day": name, "rows": None, "first": None, "last": None}
    low, high, times = None, None, {}
    if frame is not None:
        low, high = frame.slot(day * DAY_NS), frame.slot((day + 1) * DAY_NS) - 1
        stored = Claims(ranges).known.stored.ranges()
        low, high = (max(low, stored[0][0]), min(high, stored[-1][1])) if stored else (low, low - 1)
        found["rows"] = Claims(ranges).proven(low, high)
    else:
        if day not in heatmap.read_days:
            await heatmap.count(look, day)
        counted = heatmap.counted.get((venue, symbol), {})
        if day in counted:
            count = counted[day].count
            later = [counted[other].count.first for other in counted if other > day]
            tops = Claims(ranges).known.stored.ranges()
            low, high = count.first, min(later) - 1 if later else max([count.last, *(top[1] for top in tops)])
            found |= {"rows": count.rows, "first": str(count.first), "last": str(count.last)}
            found |= {"since": count.first_ns // NS_PER_MS, "until": count.last_ns // NS_PER_MS}
        else:
            # no rows: it may lie within one hole
            below = [counted[other].count.last for other in counted if other < day]
            above = [counted[other].count.first for other in counted if other > day]
            if below and above:
                low, high = max(below) + 1, min(above) - 1
    parts = _parts(ranges, low, high) if low is not None and high is not None and low <= high else []
    if frame is None:
        times = await _times(look, venue, symbol, Span(day * DAY_NS, (day + 2) * DAY_NS), parts)
    found["parts"] = [_told(each, times, frame) for each in parts[:SHOWN]]
    found["more"] = max(0, len(parts) - SHOWN)
    if any(each.state == "open" for each in parts):
        found["command"] = commands.repair(venue, symbol, first=name, last=name)
    elif any(each.state == "dropped" for each in parts):
        timeframe = None if frame is None else frame.value
        found["command"] = commands.backfill(venue, symbol, first=name, last=name, timeframe=timeframe)
    return found


async def _of(look: Look, venue: str, symbol: str, frame: Timeframe | None) -> list[Range]:
    return [
        each
        for each in await look.ranges(candles=frame is not None, symbol=symbol)
        if each.venue == venue and each.timeframe == (frame.value if frame else "")
    ]


def _parts(ranges: Iterable[Range], low: int, high: int) -> list[_Part]:
    """Return what between two ids lacks, was fetched or is absent; newest first."""
    ranges = list(ranges)
    known = Claims(ranges).known
    found = []
    for gap in known.missing(low, high):
        for first, last, dropped in known.parts(*gap):
            found.append(_Part(first, last, "dropped" if dropped else "open", "", None, ""))
    for each in ranges:
        first, last = max(low, each.first), min(high, each.last)
        if first <= last and each.source in FETCHED:
            found.append(_Part(first, last, "fetched", each.source, each.until_ns, ""))
        elif first <= last and each.source in ("absent", "void"):
            found.append(_Part(first, last, "absent", each.source, each.since_ns, each.note))
    return sorted(found, reverse=True)


async def _times(look: Look, venue: str, symbol: str, span: Span, parts: Iterable[_Part]) -> dict[int, int]:
    shown = list(parts)[:SHOWN]
    ids = {number for each in shown for number in (each.first - 1, each.first, each.last, each.last + 1)}
    return await look.times(venue, symbol, span, sorted(ids)) if ids else {}


def _around(part: _Part, times: dict[int, int]) -> tuple[int | None, int | None]:
    """Return from when to when a part is: what was fetched has rows of its own, what lacks only neighbours."""
    return times.get(part.first, times.get(part.first - 1)), times.get(part.last, times.get(part.last + 1))


def _told(part: _Part, times: dict[int, int], frame: Timeframe | None) -> dict[str, Any]:
    gap = Gap(part.first, part.last)
    if frame is not None:
        start: int | None = frame.slot_open_ns(part.first)
        end: int | None = frame.slot_open_ns(part.last + 1)
    else:
        start, end = _around(part, times)
    return {
        "first": str(gap.first) if frame is None else utc_text(frame.slot_open_ns(gap.first)),
        "last": str(gap.last) if frame is None else utc_text(frame.slot_open_ns(gap.last)),
        "missing": gap.size,
        "state": part.state,
        "source": part.source,
        "at": part.at_ns and part.at_ns // NS_PER_MS,
        "from": start and start // NS_PER_MS,
        "to": end and end // NS_PER_MS,
        "note": part.note,
    }
