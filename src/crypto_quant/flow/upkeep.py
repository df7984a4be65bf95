"""While recording, once an hour: the declared rules are kept, rows are counted, closed hours are sealed."""

import asyncio

from crypto_quant import events
from crypto_quant.errors import CryptoQuantError
from crypto_quant.seams import Clock, Emit, Housekeeper

SPACING_S = 3600.0


class Upkeep:
    """Calls the housekeeper now and then, and tells what it did; what fails is told and tried again the next time."""

    def __init__(
        self,
        housekeeper: Housekeeper,
        *,
        clock: Clock,
        emit: Emit,
        first_s: float | None = None,
        spacing_s: float = SPACING_S,
    ) -> None:
        self._housekeeper = housekeeper
        self._clock = clock
        self._emit = emit
        self._first_s = housekeeper.first_s if first_s is None else first_s
        self._spacing_s = spacing_s

    async def run(self) -> None:
        """Run until cancelled, which is safe at any moment."""
        await asyncio.sleep(self._first_s)
        while True:
            try:
                for told in await self._housekeeper.keep(self._clock.now_ns()):
                    self._emit(told)
            except CryptoQuantError as problem:
                self._emit(events.UpkeepFailed(cause=str(problem)))
            await asyncio.sleep(self._spacing_s)
