"""Starts the embedded database again when it has died under those who use it."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from crypto_quant import events
from crypto_quant.errors import CryptoQuantError
from crypto_quant.seams import Emit

_FIRST_PAUSE_S = 1.0
_LAST_PAUSE_S = 30.0


class Revival:
    """Hears every event on its way to ``emit``, called as that would be, and acts while a table is away.

    It does so from ``begin`` to ``close``: at once, and then every half minute at least. ``revive`` starts the server
    and returns true, or returns false when it runs or was stopped on purpose; it raises CryptoQuantError when it
    cannot. ``command`` is what a person types to the same end. Nothing is asked of a database that takes its batches.
    """

    def __init__(self, emit: Emit, revive: Callable[[], Awaitable[bool]], directory: str, command: str) -> None:
        self.command = command
        self._emit = emit
        self._revive = revive
        self._directory = directory
        self._away: set[str] = set()
        self._lost = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def __call__(self, event: object) -> None:
        """Note an event and pass it on."""
        match event:
            case events.StoreLost():
                self._away.add(event.table)
                self._lost.set()
            case events.StoreBack():
                self._away.discard(event.table)
                if not self._away:
                    self._lost.clear()
            case _:
                pass
        self._emit(event)

    def begin(self) -> None:
        """Act from now on."""
        self._task = asyncio.create_task(self._run(), name="revival")

    async def close(self) -> None:
        """Act no more; a start that has begun goes on by itself."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while True:
            await self._lost.wait()
            pause_s = _FIRST_PAUSE_S
            while self._lost.is_set():
                await self._try(pause_s)
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, _LAST_PAUSE_S)

    async def _try(self, pause_s: float) -> None:
        try:
            if await self._revive():
                self._emit(events.DatabaseRevived(directory=self._directory))
        except CryptoQuantError as problem:
            self._emit(events.DatabaseNotRevived(directory=self._directory, cause=str(problem), retry_in_s=pause_s))
