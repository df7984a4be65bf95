"""``/metrics``, ``/livez`` and ``/readyz``: answered from memory, whatever the database or a recorder does."""

import asyncio
from collections.abc import Callable

from aiohttp import web

from crypto_quant.seams import Clock
from crypto_quant.web.follow import Follower
from crypto_quant.web.metrics import OPENMETRICS, Exposition
from crypto_quant.web.standing import Standing, is_live, is_ready, standings

_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
# scrapes within so long are given the same text
_FRESH_S = 0.5


class Probes:
    """Answers machines that ask how the recorders are; ``streams_max`` streams of each have metrics of their own."""

    def __init__(self, follower: Follower, clock: Clock, *, streams_max: int) -> None:
        self._follower = follower
        self._clock = clock
        self._streams_max = streams_max
        self._texts: dict[bool, tuple[float, tuple[bytes, str]]] = {}
        self._turn = asyncio.Lock()

    def add_to(self, application: web.Application) -> None:
        """Give an application the three paths."""
        application.router.add_get("/metrics", self._metrics)
        application.router.add_get("/livez", self._livez)
        application.router.add_get("/readyz", self._readyz)

    async def _livez(self, _: web.Request) -> web.Response:
        return self._answer(is_live)

    async def _readyz(self, _: web.Request) -> web.Response:
        return self._answer(is_ready)

    def _answer(self, judge: Callable[[list[Standing]], tuple[bool, str]]) -> web.Response:
        well, text = judge(standings(self._follower, self._clock))
        return web.Response(status=200 if well else 503, text=text, headers=_HEADERS)

    async def _metrics(self, request: web.Request) -> web.Response:
        text, kind = await self._text(OPENMETRICS in request.headers.get("Accept", ""))
        return web.Response(body=text, headers={**_HEADERS, "Content-Type": kind})

    async def _text(self, as_openmetrics: bool) -> tuple[bytes, str]:
        """Return the text, made once for all who ask at about the same time; thousands of streams take a while."""
        loop = asyncio.get_running_loop()
        async with self._turn:
            made_s, text = self._texts.get(as_openmetrics, (-_FRESH_S, (b"", "")))
            if loop.time() - made_s >= _FRESH_S:
                exposition = Exposition(standings(self._follower, self._clock), self._streams_max)
                text = await asyncio.to_thread(exposition.render, OPENMETRICS if as_openmetrics else "")
                self._texts[as_openmetrics] = loop.time(), text
        return text
