"""Lines of the log for closed candles: one each for a few series, one a close for many."""

import asyncio

import msgspec

from crypto_quant import events
from crypto_quant.seams import Emit

# after the first candle of a close the others follow within some seconds
_GATHERED_S = 5.0


class _Close:
    """What was stored of one timeframe since its last line."""

    def __init__(self) -> None:
        self.opens: list[str] = []
        self.symbols: set[str] = set()
        self.from_rest = 0

    def add(self, event: events.CandleStored) -> None:
        self.opens.append(event.open_time)
        self.symbols.add(event.symbol)
        self.from_rest += event.source == "rest"

    def line(self, venue: str, timeframe: str) -> events.CandlesStored:
        return events.CandlesStored(
            venue=venue,
            timeframe=timeframe,
            first_open=min(self.opens),  # the text of a time sorts as the time does
            last_open=max(self.opens),
            candles=len(self.opens),
            symbols=len(self.symbols),
            from_rest=self.from_rest,
        )


class CandleLines:
    """Stands before the log and hears every event; ``emit`` is the log. Needs a running event loop.

    Of each candle that is told it passes on the event at DEBUG, and five seconds after the first of a timeframe one
    line for all of that timeframe since; at each step of the drain, and by ``close``, what is left.
    """

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._closes: dict[tuple[str, str], _Close] = {}
        self._timers: dict[tuple[str, str], asyncio.TimerHandle] = {}

    def __call__(self, event: object) -> None:
        """Note an event and pass it on."""
        if isinstance(event, events.DrainStep):
            self.close()  # the last line of a run is its statistics
        if not isinstance(event, events.CandleStored):
            self._emit(event)
            return
        self._emit({"event": event.message, "level": "debug", **msgspec.structs.asdict(event)})
        key = event.venue, event.timeframe
        close = self._closes.get(key)
        if close is None:
            close = self._closes[key] = _Close()
            self._timers[key] = asyncio.get_running_loop().call_later(_GATHERED_S, self._tell, key)
        close.add(event)

    def close(self) -> None:
        """Tell what has not been told."""
        for key in list(self._closes):
            self._tell(key)

    def _tell(self, key: tuple[str, str]) -> None:
        self._timers.pop(key).cancel()
        self._emit(self._closes.pop(key).line(*key))
