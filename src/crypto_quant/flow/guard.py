"""Streams that do not come though the exchange moves on: found, proven over REST, and their links replaced.

What REST tells of counts as missing at once: after the last trade before a silence nothing else would show the gap.
"""

import asyncio
from collections.abc import Sequence

from crypto_quant import events
from crypto_quant.binance.liveness import DEFAULT_LIMITS, CandleLiveness, LivenessLimits, StreamLiveness
from crypto_quant.binance.streams import Stream, stream_name
from crypto_quant.errors import CryptoQuantError
from crypto_quant.flow.collector import BinanceWSCollector
from crypto_quant.flow.intake import Intake
from crypto_quant.flow.rest import ExchangeRest
from crypto_quant.market import Timeframe
from crypto_quant.seams import Emit

_TICK_S = 1.0
# so long a candle stream is not accused again: its link was replaced, and the next candles have to show what that did
_CANDLE_PAUSE_S = 600.0
_CAUSE = "stream stalled"


class StreamGuard:
    """Looks at every recorded stream once a second, cheaply; see ``binance.liveness`` for when it asks REST.

    ``streams`` are those recorded of each of ``symbols`` (stored names).
    """

    def __init__(
        self,
        symbols: Sequence[str],
        streams: Sequence[Stream],
        *,
        intake: Intake,
        collector: BinanceWSCollector,
        rest: ExchangeRest,
        emit: Emit,
        limits: LivenessLimits = DEFAULT_LIMITS,
        tick_s: float = _TICK_S,
    ) -> None:
        self._intake = intake
        self._collector = collector
        self._rest = rest
        self._emit = emit
        self._limits = limits
        self._tick_s = tick_s
        trades = [stream for stream in streams if stream.timeframe is None]
        self._trades = {symbol: stream_name(symbol, stream) for stream in trades for symbol in symbols}
        self._liveness = StreamLiveness(self._trades, limits)
        self._candles: dict[tuple[str, Timeframe], tuple[str, CandleLiveness]] = {
            (symbol, stream.timeframe): (stream_name(symbol, stream), CandleLiveness())
            for stream in streams
            if stream.timeframe is not None
            for symbol in symbols
        }
        self._candle_pauses: dict[tuple[str, Timeframe], float] = {}

    def is_quiet(self, symbol: str) -> bool:
        """Tell whether the trades of a symbol have been silent for longer than their own rate makes plausible."""
        return self._liveness.silent_s(symbol, self._collector.ns()) > self._liveness.patience_s(symbol)

    async def run(self) -> None:
        """Keep watch until cancelled."""
        while True:
            await asyncio.sleep(self._tick_s)
            await self.look()

    async def look(self) -> None:
        """Sample every stream; look up the most suspicious one, if there is one."""
        now_ns = self._collector.ns()
        for symbol, name in self._trades.items():
            since_ns = self._collector.listening_since_ns(name)
            self._liveness.sample(symbol, self._intake.newest_streamed(symbol), since_ns, now_ns)
        self._look_at_candles()
        suspect = self._liveness.suspect(now_ns)
        if suspect is not None:
            await self._look_up(suspect)

    async def _look_up(self, symbol: str) -> None:
        name = self._trades[symbol]
        try:
            exchanges = await self._rest.newest_trade_id(symbol)
        except CryptoQuantError as problem:
            # whatever ails REST, the streams go on
            self._emit(events.RestFailed(request=f"aggTrades {symbol}", cause=str(problem), retry_in_s=None))
            if self._liveness.unanswered(symbol, self._collector.ns()):
                self._collector.replace(name, "no data, and REST does not answer")
            return
        await asyncio.sleep(self._limits.settle_s)
        now_ns = self._collector.ns()
        silent_s = self._liveness.silent_s(symbol, now_ns)
        ours = self._intake.newest_streamed(symbol)
        since_ns = self._collector.listening_since_ns(name)
        stalled = self._liveness.answered(symbol, exchanges, ours, since_ns, now_ns)
        self._intake.issued(symbol, exchanges)
        if stalled:
            self._stalled(symbol, name, ours, exchanges, silent_s)

    def _look_at_candles(self) -> None:
        now = asyncio.get_running_loop().time()
        for key, (name, liveness) in self._candles.items():
            symbol, timeframe = key
            streamed = self._intake.newest_candle(symbol, timeframe)
            fetched = self._intake.newest_fetched(symbol, timeframe)
            since_ns = self._collector.listening_since_ns(name)
            if liveness.stalled(streamed, fetched, since_ns) and now >= self._candle_pauses.get(key, 0.0):
                self._candle_pauses[key] = now + _CANDLE_PAUSE_S
                silent_s = (fetched - streamed) / 1e9 if streamed >= 0 else 0.0
                self._stalled(symbol, name, streamed, fetched, silent_s)

    def _stalled(self, symbol: str, name: str, ours: int, exchanges: int, silent_s: float) -> None:
        self._emit(
            events.StreamStalled(
                venue=self._intake.venue.value,
                symbol=symbol,
                stream=name,
                ours=ours,
                exchanges=exchanges,
                silent_s=round(silent_s, 3),
            )
        )
        self._collector.replace(name, _CAUSE)
