"""The exchange's REST, within its limits: one weight budget for the whole process, retried when that can help."""

import asyncio
import math
import random
from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeVar

from crypto_quant import events
from crypto_quant.binance import backhistory, history
from crypto_quant.binance.pacing import WeightBudget
from crypto_quant.binance.venues import VenueSpec
from crypto_quant.errors import ExchangeUnavailable, RetryableError, Throttled
from crypto_quant.market import Candle, Timeframe
from crypto_quant.rows import TimeText, key_text
from crypto_quant.seams import Emit, Http

Answer = TypeVar("Answer")

_FIRST_RETRY_S = 0.5
_LAST_RETRY_S = 30.0


class Failing(NamedTuple):
    """Since when (monotonic seconds) every request has failed that may be asked again, and why the last one did."""

    since_s: float
    cause: str


class ExchangeRest:
    """Asks the exchange; every call may wait for the weight budget. ``failing`` is None while it answers.

    Raises what ``history.interpret`` raises, and ExchangeUnavailable when there was no answer.
    """

    def __init__(self, spec: VenueSpec, base_url: str, http: Http, emit: Emit, rng: random.Random) -> None:
        self.spec = spec
        self._base_url = base_url
        self._http = http
        self._emit = emit
        self._rng = rng
        self._budget = WeightBudget(spec.weight_per_minute)
        self._times = TimeText()
        self.failing: Failing | None = None

    async def exchange_info(self) -> history.ExchangeInfo:
        """Return the symbols with their status, the exchange's time and its limits."""
        info = history.parse_exchange_info(await self._ask(history.exchange_info_request(self.spec)))
        if info.weight_per_minute is not None:
            self._budget.limit = info.weight_per_minute
        return info

    async def server_time_ns(self) -> int:
        """Return the exchange's time in ns since the epoch."""
        return history.parse_server_time(await self._ask(history.time_request(self.spec)))

    async def klines(self, symbol: str, timeframe: Timeframe, first_ns: int, last_ns: int) -> list[Candle]:
        """Return the candles that open from ``first_ns`` to ``last_ns`` inclusive, the open one among them."""
        candles: list[Candle] = []
        for request in history.klines_requests(self.spec, symbol, timeframe, first_ns, last_ns):
            candles += history.parse_klines(await self._ask(request), self.spec.venue, symbol, timeframe)
        return candles

    async def agg_trades(
        self, symbol: str, from_id: int, limit: int = backhistory.PAGE, *, share: float = 1.0
    ) -> backhistory.Page:
        """Return a page of aggregate trades from id ``from_id`` (inclusive) on; its first id need not be that one.

        ``share`` is the part of the weight budget that this may use up.
        """
        request = backhistory.agg_trades_request(self.spec, symbol, from_id, limit)
        return self._page(await self._ask(request, share), symbol)

    async def first_agg_trade(self, symbol: str, since_ns: int, *, share: float = 1.0) -> backhistory.Page:
        """Return a page with the first aggregate trade at or after ``since_ns`` alone; an empty one if there is none.

        Futures look no further than an hour ahead.
        """
        request = backhistory.agg_trades_since_request(self.spec, symbol, since_ns)
        return self._page(await self._ask(request, share), symbol)

    async def newest_agg_trade(self, symbol: str, *, share: float = 1.0) -> backhistory.Page:
        """Return a page with the most recent aggregate trade alone; an empty one if there is none."""
        request = backhistory.newest_agg_trade_request(self.spec, symbol)
        return self._page(await self._ask(request, share), symbol)

    def _page(self, body: bytes, symbol: str) -> backhistory.Page:
        return backhistory.parse_agg_trades(body, key_text(self.spec.venue, symbol), self._times)

    async def newest_trade_id(self, symbol: str) -> int:
        """Return the id of a symbol's latest aggregate trade; -1 when it has none."""
        page = await self.newest_agg_trade(symbol)
        return page.ids[-1] if page.ids else -1

    async def _ask(self, request: history.Request, share: float = 1.0) -> bytes:
        try:
            body = await self._request(request, share)
        except RetryableError as problem:
            since_s = self.failing.since_s if self.failing else asyncio.get_running_loop().time()
            self.failing = Failing(since_s, str(problem))
            raise
        self.failing = None
        return body

    async def _request(self, request: history.Request, share: float) -> bytes:
        loop = asyncio.get_running_loop()
        while wait_ns := self._budget.reserve(request.weight, int(loop.time() * 1e9), share):  # noqa: ASYNC110
            await asyncio.sleep(wait_ns / 1e9)
        answer = await self._http.get(f"{self._base_url}{request.path}", request.params, request.headers)
        now_ns = int(loop.time() * 1e9)
        used = history.used_weight(answer)
        if used is not None:
            self._budget.observe(used, now_ns)
        try:
            return history.interpret(answer, request.path)
        except Throttled as pause:
            self._budget.punish(now_ns + int(pause.retry_after_s * 1e9))
            raise

    async def insist(
        self, what: str, ask: Callable[[], Awaitable[Answer]], tries: int, patience_s: float = math.inf
    ) -> Answer:
        """Return the answer of ``ask``, asking up to ``tries`` times while the error is worth a retry.

        A pause of more than ``patience_s`` that the exchange asks for is not waited for: Throttled is raised.
        """
        delay_s = _FIRST_RETRY_S
        for attempt in range(1, tries + 1):
            try:
                return await ask()
            except RetryableError as problem:
                # a throttled budget makes the next request wait by itself
                if isinstance(problem, Throttled):
                    pause_s, wait_s = 0.0, problem.retry_after_s
                else:
                    pause_s = wait_s = self._rng.uniform(delay_s / 2, delay_s)
                last = attempt == tries or (isinstance(problem, Throttled) and wait_s > patience_s)
                self._emit(
                    events.RestFailed(request=what, cause=str(problem), retry_in_s=None if last else round(wait_s, 3))
                )
                if last:
                    raise
                await asyncio.sleep(pause_s)
                delay_s = min(delay_s * 2, _LAST_RETRY_S)
        raise ExchangeUnavailable("never asked", subject=what)
