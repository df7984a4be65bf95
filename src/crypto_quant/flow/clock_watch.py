"""How far this machine's clock is off the exchange's: asked over REST, told, and taken out of what is called lag."""

import asyncio

from crypto_quant import events
from crypto_quant.diagnosis.machine import ClockSample
from crypto_quant.errors import CryptoQuantError
from crypto_quant.flow.rest import ExchangeRest
from crypto_quant.flow.stats import PipelineStats
from crypto_quant.health import clock_off_ms
from crypto_quant.seams import Clock, Emit
from crypto_quant.snapshot import ClockView

_EVERY_S = 300.0
# the quickest answer tells the most, and the first one has a connection to open
_QUESTIONS = 3
# an answer that took longer, as one that waited for the weight budget, tells too little
_ANSWER_MOST_NS = 5_000_000_000
_TICK_S = 5.0
# beyond what an event loop under load mistakes
_STEP_NS = 500_000_000


class ClockWatch:
    """Keeps ``stats.clock`` true, as far as REST tells the exchange's time; who records needs none of it."""

    def __init__(self, rest: ExchangeRest, clock: Clock, stats: PipelineStats, emit: Emit) -> None:
        self._rest = rest
        self._clock = clock
        self._stats = stats
        self._emit = emit
        self._off = False

    async def run(self) -> None:
        """Look every five minutes, and at once when the clock was set, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await self.look()
            until_s, since_ns = loop.time() + _EVERY_S, self._apart_ns()
            while loop.time() < until_s:
                await asyncio.sleep(_TICK_S)
                if abs(self._apart_ns() - since_ns) > _STEP_NS:
                    self._stats.clock = ClockView()
                    break

    def _apart_ns(self) -> int:
        """Return by how much wall time and monotonic time differ: it changes when the clock is set."""
        return self._clock.now_ns() - int(asyncio.get_running_loop().time() * 1e9)

    async def look(self) -> None:
        """Ask the exchange for its time; when it does not tell, what was known stays."""
        samples: list[ClockSample] = []
        for _ in range(_QUESTIONS):
            sent_ns = self._clock.now_ns()
            try:
                server_ns = await self._rest.server_time_ns()
            except CryptoQuantError:
                break
            sample = ClockSample(sent_ns, self._clock.now_ns() - sent_ns, server_ns)
            if 0 <= sample.took_ns < _ANSWER_MOST_NS:
                samples.append(sample)
        if not samples:
            return
        best = min(samples, key=lambda sample: sample.took_ns)
        self._stats.clock = view = ClockView(
            ahead_ms=round(-best.ahead_ns / 1e6, 3), unsure_ms=round(best.took_ns / 2e6, 3)
        )
        off_ms = clock_off_ms(view)
        if bool(off_ms) is not self._off:
            self._off = bool(off_ms)
            self._emit(events.ClockOff(ahead_s=round(off_ms / 1e3, 3)) if off_ms else events.ClockRight())
