"""A stretch of one symbol's record: what of it lacks, found with a few small questions to a snapshot."""

import difflib
from collections.abc import Sequence
from typing import NoReturn

import msgspec

from crypto_quant.completeness import GONE, Edge, Known, Lack, Tally, lacks_of_candles, lacks_of_trades, parted, timed
from crypto_quant.continuity import RangeSet
from crypto_quant.errors import ConfigError
from crypto_quant.evidence import Span
from crypto_quant.market import DAY_NS, NS_PER_US, Timeframe
from crypto_quant.reading.asked import ALWAYS, open_end, open_start
from crypto_quant.store.readout import Snapshot

# how far beyond an end its neighbour is looked for, where coverage does not tell
_REACH_NS = 7 * DAY_NS


class Stretch(msgspec.Struct, frozen=True):
    """What was asked for, with open ends closed: the span, what is known of it, and what lacks.

    ``first`` and ``last`` are the ids of its first and last trade, or the slots that open in it; None: there are none.
    """

    span: Span
    known: Known
    first: int | None
    last: int | None
    lacks: Sequence[Lack]
    shift_ns: int = 0

    def stored(self) -> list[tuple[int, int]]:
        """Return what is claimed to be stored from the first to the last, as inclusive ranges."""
        if self.first is None or self.last is None:
            return []
        return self.known.stored.within(min(self.first, self.last), max(self.first, self.last))


async def stretch_of_trades(snapshot: Snapshot, venue: str, symbol: str, span: Span, *, count: bool = False) -> Stretch:
    """Return what there is of a symbol's trades in a span.

    What coverage claims is believed, for whoever reads the rows then sees whether they come (``gone_trades``); with
    ``count`` they are counted, and read when there are not as many. Raises ConfigError when there never were any.
    """
    claims = await snapshot.claims(venue, symbol)
    dropped = await snapshot.dropped(venue, symbol)
    known = Known.of(((each.first, each.last, each.source) for each in claims), dropped)
    proven = RangeSet(known.stored.ranges())
    edges = await snapshot.edges(venue, symbol, span)
    if edges is None:
        if (
            open_start(span)
            or open_end(span)
            or not (claims or dropped or await snapshot.nearest(venue, symbol, ALWAYS, newest=True))
        ):
            await _refuse(snapshot, venue, symbol, "trades", known)
        before = await _beside(snapshot, venue, symbol, Span(span.start - _REACH_NS, span.start), newest=True)
        after = await _beside(snapshot, venue, symbol, Span(span.end, span.end + _REACH_NS), newest=False)
        if known.dropped and before is None and after is None:
            # was it dropped? The oldest trade of all, which is quickly found, says on which side the dropped ones lie
            oldest = await _beside(snapshot, venue, symbol, ALWAYS, newest=False)
            before, after = (None, oldest) if oldest and oldest.time_ns >= span.end else (oldest, None)
        return Stretch(span, known, None, None, parted(lacks_of_trades(span, known, None, before, after), known))
    first, last = Edge(*edges[0]), Edge(*edges[1])
    ends = not open_start(span), not open_end(span)
    closed = Span(span.start if ends[0] else first.time_ns, span.end if ends[1] else last.time_ns + NS_PER_US)
    if count:
        low, high = min(first.trade_id, last.trade_id), max(first.trade_id, last.trade_id)
        claimed = sum(b - a + 1 for a, b in known.stored.within(low, high))
        if await snapshot.count(venue, symbol, closed) != claimed:
            known.stored.discard(low, high)
    # should two ids not run in the order of time, a row lies beyond an end
    for around in (closed, Span(closed.start - _REACH_NS, closed.end + _REACH_NS)):
        if unclaimed := known.missing(first.trade_id, last.trade_id):
            outer = unclaimed[0].first, unclaimed[-1].last
            for run in await snapshot.runs(venue, symbol, around, *outer):
                known.stored.add(*run)
    before = after = None
    # where coverage ends with this very trade, a look would read for days what is not there
    if ends[0] and (first.trade_id not in proven or first.trade_id != proven.ranges()[0][0]):
        before = await _beside(snapshot, venue, symbol, Span(span.start - _REACH_NS, span.start), newest=True)
    if ends[1] and (last.trade_id not in proven or last.trade_id != proven.ranges()[-1][1]):
        after = await _beside(snapshot, venue, symbol, Span(span.end, span.end + _REACH_NS), newest=False)
    lacks = lacks_of_trades(closed, known, (first, last), before, after, ends=ends)
    return Stretch(
        closed, known, first.trade_id, last.trade_id, await _timed(snapshot, venue, symbol, closed, known, lacks)
    )


async def _timed(
    snapshot: Snapshot, venue: str, symbol: str, span: Span, known: Known, lacks: Sequence[Lack]
) -> list[Lack]:
    """Return what lacks with its times as near as the rows tell, the dropped parted from the missing."""
    sides = [side for each in lacks if each.first is not None and each.last is not None
             for side in known.sides(each.first, each.last)]  # fmt: skip
    times = await snapshot.times(venue, symbol, span, sides) if sides else {}
    return parted([timed(each, known, times) for each in lacks], known)


async def stretch_of_candles(
    snapshot: Snapshot, venue: str, symbol: str, frame: Timeframe, span: Span, *, count: bool = False
) -> Stretch:
    """Return what there is of a series' candles that open in a span; ``count`` and errors are as above."""
    claims = await snapshot.candle_claims(venue, symbol, frame.value)
    dropped = await snapshot.candle_dropped(venue, symbol, frame.value)
    known = Known.of(((each.first, each.last, each.source) for each in claims), dropped)
    edges = await snapshot.candle_edges(venue, symbol, frame.value, span)
    if edges is None and (not (claims or dropped) or open_start(span) or open_end(span)):
        await _refuse(snapshot, venue, symbol, f"{frame} candles", known)
    # of 3d the exchange's raster may lie elsewhere than the slots say
    shift_ns = edges[0] - frame.slot_open_ns(frame.slot(edges[0])) if edges and frame is Timeframe.D3 else 0
    start = edges[0] if edges and open_start(span) else span.start
    end = edges[1] + NS_PER_US if edges and open_end(span) else span.end
    # the first candle of all may open off the raster: its slot is the one in which it opens
    first = frame.slot(start - shift_ns) if edges and open_start(span) else frame.slot(start - shift_ns - 1) + 1
    last = frame.slot(end - shift_ns - 1)
    if count and first <= last:
        known.stored.discard(first, last)
    if known.missing(first, last):
        for opens_ns in await snapshot.candle_opens(venue, symbol, frame.value, Span(start, end)):
            slot = frame.slot(opens_ns)
            known.stored.add(slot, slot)
    lacks = lacks_of_candles(first, last, known, lambda slot: frame.slot_open_ns(slot) + shift_ns)
    if first > last:  # no candle opens in the span
        return Stretch(Span(start, end), known, None, None, lacks, shift_ns)
    return Stretch(Span(start, end), known, first, last, lacks, shift_ns)


async def is_stored(snapshot: Snapshot, venue: str, symbol: str, frame: Timeframe, span: Span) -> bool:
    """Tell whether candles of a series were recorded, ever or in the span."""
    claims = await snapshot.candle_claims(venue, symbol, frame.value)
    if claims or await snapshot.candle_dropped(venue, symbol, frame.value):
        return True
    return await snapshot.candle_edges(venue, symbol, frame.value, span) is not None


async def gone_trades(snapshot: Snapshot, venue: str, symbol: str, stretch: Stretch, tally: Tally) -> list[Lack]:
    """Return what coverage claims of a stretch that was read, and no row brought: it was stored, and is gone."""
    if stretch.first is None or stretch.last is None:
        return []
    span = stretch.span
    gone = RangeSet(tally.unseen(stretch.first, stretch.last, stretch.known))
    if not gone.size:
        return []
    # ids run in the order of time, and should two of them not, the row lies beyond an end
    around = Span(span.start - _REACH_NS, span.end + _REACH_NS)
    first, last = gone.ranges()[0][0], gone.ranges()[-1][1]
    for run in await snapshot.runs(venue, symbol, around, first, last):
        gone.discard(*run)
    lacks = [Lack(span.start, span.end, a, b, GONE) for a, b in gone.ranges()]
    return await _timed(snapshot, venue, symbol, span, stretch.known, lacks)


def gone_candles(frame: Timeframe, stretch: Stretch, tally: Tally) -> list[Lack]:
    """Return what coverage claims of a stretch of candles that was read, and no row brought."""
    if stretch.first is None or stretch.last is None:
        return []
    return [
        Lack(
            frame.slot_open_ns(first) + stretch.shift_ns,
            frame.slot_open_ns(last + 1) + stretch.shift_ns,
            first,
            last,
            GONE,
        )
        for first, last in tally.unseen(stretch.first, stretch.last, stretch.known)
    ]


async def _beside(snapshot: Snapshot, venue: str, symbol: str, span: Span, *, newest: bool) -> Edge | None:
    row = await snapshot.nearest(venue, symbol, span, newest=newest)
    return Edge(*row) if row else None


async def _refuse(snapshot: Snapshot, venue: str, symbol: str, what: str, known: Known) -> NoReturn:
    """Say what there is instead."""
    if known.stored or known.excused or known.dropped:
        hint = "They were recorded once, and are not in the tables now: were they deleted?"
        if known.dropped:
            hint = "They were dropped on purpose; `crypto-quant backfill` fetches them again from the archives"
        raise ConfigError(f"there are no {what} of this symbol", subject=f"{symbol} ({venue})", hint=hint)
    recorded = await snapshot.recorded()
    there = sorted({each.symbol for each in recorded if each.venue == venue})
    near = difflib.get_close_matches(symbol, there, n=3)
    if symbol in there:
        hint = "The symbol is recorded, but not as this"
    elif near:
        hint = f"Did you mean {' or '.join(map(repr, near))}?"
    elif there:
        hint = f"Recorded of {venue}: {', '.join(there[:10])}{' …' if len(there) > 10 else ''}"
    else:
        hint = f"Nothing is recorded of {venue}" + (", but of other venues" if recorded else "")
    raise ConfigError(f"no {what} of this symbol were ever recorded", subject=f"{symbol} ({venue})", hint=hint)
