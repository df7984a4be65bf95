"""Frames become rows here: the hot path between the socket and the writer.

Frames come as they were read, many at once under load: decoded, each looked up by its symbol, judged by its id, made a
row; and the rows go to the writer together. Nothing awaits, and what is needed per symbol is made once.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from crypto_quant import events
from crypto_quant.binance import wire
from crypto_quant.binance.backhistory import is_void
from crypto_quant.binance.decode import decode_all
from crypto_quant.continuity import CandleClock, Gap, Sequencer, Verdict
from crypto_quant.errors import UndecodableFrame
from crypto_quant.flow.arrivals import Arrivals, Contents
from crypto_quant.flow.chunk import Arrival, Chunk, Run
from crypto_quant.flow.stats import PipelineStats
from crypto_quant.flow.writer import TimescaleWriter, candle_stored
from crypto_quant.market import NS_PER_MS, NS_PER_S, NS_PER_US, Candle, Timeframe, Venue, wire_symbol
from crypto_quant.rows import MICROSECONDS_FROM, TimeText, candle_row, key_text
from crypto_quant.seams import Emit, Quarantine, Source

_TOLD_ONE_BY_ONE = 100
# a step of the exchange's time that one frame alone is not believed
_LEAP_NS = 3600 * NS_PER_S
_NONE = -1
# so far from any time that no trade falls into it
_NO_SECOND = -(2**62)


def time_ns(time: int) -> int:
    """Return an exchange time (ms or µs, told apart by size) in ns."""
    return time * (NS_PER_US if time >= MICROSECONDS_FROM else NS_PER_MS)


OnGap = Callable[[str, Gap], None]


class Known(NamedTuple):
    """What is known of a symbol's ids before the first trade, as inclusive ranges."""

    covered: Sequence[tuple[int, int]] = ()
    absent: Sequence[tuple[int, int]] = ()


class _SymbolState:
    """What is known of one symbol: its name as stored, its key columns, the ids seen.

    ``issued`` is the highest id that is known from REST alone, ``streamed`` the highest that a stream had told by then.
    """

    __slots__ = ("contents", "first", "issued", "lag_ns", "lead", "sequencer", "series", "streamed", "symbol", "void")

    def __init__(self, venue: Venue, symbol: str, writer: TimescaleWriter) -> None:
        self.symbol = symbol
        self.lead = f"+00\t{key_text(venue, symbol)}\t"  # of a row: from the end of its time to its id
        self.sequencer = Sequencer()
        self.issued = self.streamed = -1
        self.contents: Contents | None = None  # made when a second link carries the symbol
        self.series = writer.series(venue.value, symbol, Source.STREAM)
        self.void = writer.series(venue.value, symbol, Source.VOID)
        # the first id of the run up to ``sequencer.last`` that no chunk proves yet
        self.first = _NONE
        # from the exchange's event time to the arrival here, of a trade of late
        self.lag_ns: int | None = None


class Intake:
    """Turns frames into rows for the writer; keeps the exchange's time and the candles' clocks.

    ``exchange_ns`` is the latest event time seen (0: none yet): the exchange's own clock, which need not agree with
    ours. ``clocks`` holds a candle clock for each (symbol, timeframe) that is recorded. ``known`` says of each symbol
    what the store has, so that the first trade shows what was missed since; ``on_gap`` is told of every gap, by the
    stored name of its symbol. It is called from the event loop and must not block.
    """

    def __init__(
        self,
        venue: Venue,
        trade_symbols: Iterable[str],
        clocks: Mapping[tuple[str, Timeframe], CandleClock],
        *,
        writer: TimescaleWriter,
        stats: PipelineStats,
        quarantine: Quarantine,
        emit: Emit,
        known: Mapping[str, Known] | None = None,
        on_gap: OnGap | None = None,
    ) -> None:
        self.venue = venue
        self.clocks = clocks
        self.exchange_ns = 0
        self._leap_to_ns = 0
        # rows go here until the writer takes it; and what they prove: symbols with a run of ids that goes on, and
        # the runs that have ended
        self._chunk: Chunk | None = None
        self._begun: list[_SymbolState] = []
        self._proven: list[Run] = []
        self._writer = writer
        self._stats = stats
        self._quarantine = quarantine
        self._emit = emit
        self._on_gap = on_gap
        self._times = TimeText()
        self._arrivals = Arrivals()
        # per candle series: the newest open time that a stream told as final
        self._streamed: dict[tuple[str, Timeframe], int] = {}
        # and the newest that REST had to be asked for
        self._fetched: dict[tuple[str, Timeframe], int] = {}
        self._trades = {wire_symbol(symbol): _SymbolState(venue, symbol, writer) for symbol in trade_symbols}
        self._symbols = {state.symbol: state for state in self._trades.values()}
        for state in self._trades.values():
            sequencer = state.sequencer
            sequencer.resume(*(known or {}).get(state.symbol, Known()))
            stats.missing_trades += sequencer.missing
            stats.gaps_open += len(sequencer.gaps)
        # the wire's own names of symbol and interval lead to the stored ones
        self._candles = {(wire_symbol(s), t.value): (s, t, clock) for (s, t), clock in clocks.items()}

    def report_known_gaps(self) -> None:
        """Tell of the gaps that earlier runs have left, one event a symbol, and each to ``on_gap``. Call it once."""
        for state in self._trades.values():
            gaps = list(state.sequencer.gaps)
            if gaps:
                self._emit(
                    events.GapsKnown(
                        venue=self.venue.value,
                        symbol=state.symbol,
                        gaps=len(gaps),
                        missing=sum(gap.size for gap in gaps),
                    )
                )
            if self._on_gap is not None:
                for gap in gaps:
                    self._on_gap(state.symbol, gap)

    def frames(self, payloads: Sequence[bytes], received_ns: int, link: int = 0) -> list[wire.Message]:
        """Take text frames in their order, received together at ``received_ns`` (wall time).

        ``link`` is not 0 while more than one link carries the same streams: what then arrives a second time, over
        another link, is redundant and no duplicate of the exchange's.
        Returns the messages that concern the link itself (replies, shutdown notices) to whoever drives it.
        What cannot be used is set aside, never raised.
        """
        self._stats.frames_received += len(payloads)
        others: list[wire.Message] = []
        received = self._times(received_ns // 1000)
        ends = f"\tf\t{received}\n", f"\tt\t{received}\n"  # of a row, by whether the buyer is the maker
        wanted, second_text, agg_trade = self._trades, self._times.second, wire.AggTrade
        # what the rows of these frames have in common, most of the time: the second in which the trades happened
        second_us, second = _NO_SECOND, ""
        rows: list[str] = []
        newest: wire.AggTrade | None = None
        try:
            for message, payload in zip(decode_all(payloads), payloads, strict=True):
                if type(message) is not agg_trade:
                    self._no_trade(message, payload, link, others)
                    continue
                state = wanted.get(message.s)
                trade_id = message.a
                if state is None or trade_id != state.sequencer.last + 1 or not 0 <= message.f <= message.l or link:
                    if not self._is_new(state, message, payload, received_ns, link) or state is None:
                        continue
                else:
                    # the common case: the next id of its symbol
                    state.sequencer.last = trade_id
                    if state.first < 0:
                        state.first = trade_id
                        self._begun.append(state)
                newest = message
                at = message.T
                if 0 <= at - second_us < 1_000_000:
                    fraction = str(at)[-6:]  # a third of the time of a format with its zeros
                else:
                    if at >= MICROSECONDS_FROM:
                        at_s, offset_us = divmod(at, 1_000_000)
                        second_us, fraction = at - offset_us, f"{offset_us:06d}"
                    else:
                        at_s, offset_ms = divmod(at, 1_000)
                        second_us, fraction = _NO_SECOND, f"{offset_ms:03d}000"
                    second = second_text(at_s)
                # rows.trade_row's work without the call; most trades are of one fill, whose id is both
                first_id = str(message.f)
                last_id = first_id if message.l == message.f else message.l
                rows.append(
                    f"{second}{fraction}{state.lead}{trade_id}\t{message.p}\t{message.q}\t"
                    f"{first_id}\t{last_id}{ends[message.m]}"
                )
        finally:
            # also when whoever hears of a gap fails: what is proven must not outrun what is stored
            if newest is not None:
                self._queue(rows, received_ns, newest)
        return others

    def _queue(self, rows: list[str], received_ns: int, newest: wire.AggTrade) -> None:
        """Give rows to the writer, with the ids that they prove."""
        event_ns = time_ns(newest.E)
        if event_ns > self.exchange_ns:
            self._later(event_ns)
        # one of those read together stands for all: nothing is done for each trade
        self._trades[newest.s].lag_ns = received_ns - event_ns
        self._stats.trades_received += len(rows)
        data, chunk = "".join(rows).encode(), self._chunk
        if chunk is not None and chunk.is_open:
            self._writer.grow_trades(chunk, data, Arrival(len(rows), received_ns, event_ns))
        else:
            chunk = self._chunk = Chunk(
                data, len(rows), received_ns=received_ns, event_ns=event_ns, prove=self._close_runs
            )
            self._writer.add_trades(chunk)
        # before another read would make it larger: batches are made of whole chunks, and should be full
        if len(chunk) + len(rows) > self._writer.chunk_rows:
            chunk.close()

    def _close_runs(self) -> list[Run]:
        """Return what the rows since the last call prove; called between two calls of ``frames``, or at its end."""
        for state in self._begun:
            if state.first >= 0:
                self._proven.append((state.series, state.first, state.sequencer.last))
                state.first = _NONE
        self._begun.clear()
        proven, self._proven = self._proven, []
        return proven

    def _is_new(
        self, state: "_SymbolState | None", trade: wire.AggTrade, payload: bytes, received_ns: int, link: int
    ) -> bool:
        """Judge a trade that may be anything but the next of its symbol; tell whether it is to be stored."""
        if state is None:
            self._set_aside(payload, "a trade of a symbol that was not asked for")
            return False
        if (trade.f < 0 or trade.l < trade.f) and not is_void(trade.p, trade.q, trade.f, trade.l):
            self._set_aside(payload, f"trade ids {trade.f} to {trade.l} are no range")
            return False
        stats, sequencer, trade_id = self._stats, state.sequencer, trade.a
        redundant = False
        if link:
            if state.contents is None:
                state.contents = Contents()
            told_before = state.contents.told(trade_id, (trade.p, trade.q, trade.f, trade.l, trade.T, trade.m))
            redundant = self._arrivals.first(link, trade.s, trade_id) and told_before
        if state.first >= 0:
            # what was proven so far ends here
            self._proven.append((state.series, state.first, sequencer.last))
            state.first = _NONE
        missing, gaps = sequencer.missing, len(sequencer.gaps)
        verdict = sequencer.observe(trade_id)
        # a late id need not be one that was missing: it may lie below all seen, or begin a new count
        stats.missing_trades += sequencer.missing - missing
        stats.gaps_open += len(sequencer.gaps) - gaps
        if verdict is Verdict.DUPLICATE:
            if redundant:
                stats.trades_redundant += 1
                return False
            if trade.f < 0:
                stats.trades_received += 1
                stats.trades_duplicate += 1
                return False
            # the exchange's own repetition: the store says whether it is the same trade
        elif verdict is Verdict.GAP:
            self._gap(state, sequencer)
        if trade.f < 0:
            # an id that the exchange has neutralised (p = q = 0, f = l = -1): seen, but no trade
            stats.trades_void += 1
            run = state.void, trade_id, trade_id
            event_ns = time_ns(trade.E)
            self._writer.add_trades(Chunk(b"", 1, (run,), received_ns=received_ns, event_ns=event_ns))
            return False
        self._proven.append((state.series, trade_id, trade_id))
        return True

    def _no_trade(
        self, message: wire.Message | UndecodableFrame, payload: bytes, link: int, others: list[wire.Message]
    ) -> None:
        if type(message) is wire.Kline:
            self._kline(message, payload, link)
        elif isinstance(message, UndecodableFrame):
            self._set_aside(payload, str(message))
        elif type(message) is wire.Ignored:
            self._stats.frames_ignored += 1
        else:
            others.append(message)

    def _later(self, event_ns: int) -> None:
        """Move the exchange's time forward; far forward only when a second frame says the same.

        One damaged time would otherwise make every candle from now to then overdue, and an open one look closed.
        """
        if self.exchange_ns and event_ns - self.exchange_ns > _LEAP_NS:
            believed = abs(event_ns - self._leap_to_ns) <= _LEAP_NS
            self._leap_to_ns = event_ns
            if not believed:
                return
        self.exchange_ns = event_ns

    def _gap(self, state: _SymbolState, sequencer: Sequencer) -> None:
        gap = sequencer.newest_gap
        if gap is None:
            return
        self._stats.gaps += 1
        self._emit(events.GapFound(venue=self.venue.value, symbol=state.symbol, first=gap.first, last=gap.last))
        if self._on_gap is not None:
            self._on_gap(state.symbol, gap)

    def still_missing(self, symbol: str, gap: Gap) -> list[Gap]:
        """Return what of ``gap`` has not come meanwhile, in rising order; ``symbol`` is the stored one."""
        return self._symbols[symbol].sequencer.missing_within(gap.first, gap.last)

    def found(self, symbol: str, gap: Gap) -> None:
        """Account for ids (inclusive) that are stored now though they did not come by a stream."""
        sequencer = self._symbols[symbol].sequencer
        missing, gaps = sequencer.missing, len(sequencer.gaps)
        sequencer.found(gap.first, gap.last)
        self._stats.missing_trades += sequencer.missing - missing
        self._stats.gaps_open += len(sequencer.gaps) - gaps

    def lost(self, symbol: str, gap: Gap) -> None:
        """Account for ids (inclusive) that the store has no more though it had confirmed them; ``on_gap`` is told."""
        state = self._symbols.get(symbol)
        if state is None:
            return
        sequencer = state.sequencer
        missing, gaps = sequencer.missing, len(sequencer.gaps)
        lost = sequencer.lost(gap.first, gap.last)
        self._stats.missing_trades += sequencer.missing - missing
        self._stats.gaps_open += len(sequencer.gaps) - gaps
        if self._on_gap is not None:
            for part in lost:
                self._on_gap(symbol, part)

    def unreadable(self, venue: str, symbol: str, gap: Gap) -> None:
        """Account for ids (inclusive) that waited for the store, also from an earlier run, and are no more."""
        if venue != self.venue.value or symbol not in self._symbols:
            return  # coverage shows the hole whenever this symbol is recorded again
        self._stats.gaps += 1
        self._emit(events.GapFound(venue=venue, symbol=symbol, first=gap.first, last=gap.last))
        self.lost(symbol, gap)

    def newest(self, symbol: str) -> int:
        """Return the highest id of a (stored) symbol that is known; -1 when none is."""
        return self._symbols[symbol].sequencer.last

    def gaps(self, symbol: str) -> Sequence[Gap]:
        """Return the ids of a (stored) symbol that are missing now, in rising order."""
        return self._symbols[symbol].sequencer.gaps

    def missing(self, symbol: str) -> int:
        """Return how many ids of a (stored) symbol are missing now."""
        return self._symbols[symbol].sequencer.missing

    def lag_ns(self, symbol: str) -> int | None:
        """Return from the exchange's event time to the arrival here, of a trade of late; None when none has come."""
        return self._symbols[symbol].lag_ns

    def newest_streamed(self, symbol: str) -> int:
        """Return the highest id of a (stored) symbol that did not become known from REST alone; -1 when none did."""
        state = self._symbols[symbol]
        return state.streamed if state.sequencer.last == state.issued else state.sequencer.last

    def issued(self, symbol: str, trade_id: int) -> None:
        """Account for what the exchange has printed up to an id, and no stream has told: it is a gap."""
        state = self._symbols[symbol]
        sequencer = state.sequencer
        streamed, missing, gaps = self.newest_streamed(symbol), sequencer.missing, len(sequencer.gaps)
        if sequencer.issued(trade_id) is None:
            return
        state.streamed, state.issued = streamed, trade_id
        self._stats.missing_trades += sequencer.missing - missing
        self._stats.gaps_open += len(sequencer.gaps) - gaps
        self._gap(state, sequencer)

    def _kline(self, message: wire.Kline, payload: bytes, link: int) -> None:
        body = message.k
        wanted = self._candles.get((message.s, body.i))
        if wanted is None:
            self._set_aside(payload, "a candle that was not asked for")
            return
        event_ns = time_ns(message.E)
        if event_ns > self.exchange_ns:
            self._later(event_ns)
        if not body.x:
            return
        symbol, timeframe, clock = wanted
        open_ns = time_ns(body.t)
        if timeframe.open_ns(open_ns) != open_ns and timeframe is not Timeframe.D3:
            self._set_aside(payload, f"open time {body.t} is no start of a {timeframe.value} candle")
            return
        candle = Candle(
            venue=self.venue,
            symbol=symbol,
            timeframe=timeframe,
            open_ns=open_ns,
            open=body.o,
            high=body.h,
            low=body.l,
            close=body.c,
            volume=body.v,
            quote_volume=body.q,
            trade_count=body.n,
            taker_buy_volume=body.V,
            taker_buy_quote_volume=body.Q,
            first_trade_id=body.f,
            last_trade_id=body.L,
        )
        self._streamed[symbol, timeframe] = max(open_ns, self._streamed.get((symbol, timeframe), 0))
        elsewhere_first = link and self._arrivals.first(link, (symbol, timeframe), open_ns)
        if not self.candle(candle, clock, "stream") and elsewhere_first:
            self._stats.candles_received -= 1
            self._stats.candles_duplicate -= 1
            self._stats.candles_redundant += 1

    def newest_candle(self, symbol: str, timeframe: Timeframe) -> int:
        """Return the open time (ns) of the newest candle that a stream told as final; -1 when there is none."""
        return self._streamed.get((symbol, timeframe), -1)

    def newest_fetched(self, symbol: str, timeframe: Timeframe) -> int:
        """Return the open time (ns) of the newest candle that had to come over REST; -1 when there is none."""
        return self._fetched.get((symbol, timeframe), -1)

    def candle(self, candle: Candle, clock: CandleClock, source: str) -> bool:
        """Queue a closed candle unless it was had before; return whether it was new."""
        self._stats.candles_received += 1
        if not clock.closed(candle.open_ns):
            self._stats.candles_duplicate += 1
            return False
        if source == "rest":
            key = candle.symbol, candle.timeframe
            self._fetched[key] = max(candle.open_ns, self._fetched.get(key, 0))
        self._writer.add_candles(Chunk(candle_row(candle, self._times), 1, told=(candle_stored(candle, source),)))
        return True

    def count_fetched(self) -> None:
        """Count a candle that REST had to be asked for."""
        self._stats.candles_fetched += 1

    def _set_aside(self, payload: bytes, reason: str) -> None:
        self._stats.frames_set_aside += 1
        self._quarantine.keep("frame", payload, reason)
        count = self._stats.frames_set_aside
        # every one is kept and counted; a flood of them must not become a flood of lines
        if count <= _TOLD_ONE_BY_ONE or count % _TOLD_ONE_BY_ONE == 0:
            excerpt = payload[:200].decode("utf-8", "replace")
            self._emit(events.FrameSetAside(reason=reason, size=len(payload), excerpt=excerpt, so_far=count))
