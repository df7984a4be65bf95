"""The exchange of a world: one tape, told over links and over REST, in virtual time."""

import asyncio
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random

from crypto_quant.errors import ExchangeUnavailable
from crypto_quant.seams import HttpAnswer
from crypto_quant.sim.aggregate import Aggregate
from crypto_quant.sim.candles import Candle
from crypto_quant.sim.hub import Hub
from crypto_quant.sim.limits import Limits, WeightMeter
from crypto_quant.sim.market import Market
from crypto_quant.sim.rest import Desk
from crypto_quant.sim.symbols import invented
from crypto_quant.sim.synthetic import SyntheticTape
from crypto_quant.sim.world.loop import VirtualLoop
from crypto_quant.sim.world.plan import START_US, Plan
from crypto_quant.sim.world.trace import Trace

BASE_URL = "http://exchange.world"


class Exchange:
    """Prints its tape while time passes; ``hub`` tells who listens. ``away_until_s`` is loop time."""

    def __init__(self, plan: Plan, loop: VirtualLoop, trace: Trace) -> None:
        self.plan = plan
        self.loop = loop
        self.trace = trace
        self.limits = Limits(life_s=plan.link_life_s, buffer_bytes=2_000_000)
        # time for the recorder to have come up before the first trade would only hide what happens at the start
        tape = SyntheticTape(
            invented(plan.symbols), rate=plan.trades_per_s * 2, seed=plan.seed, start_us=START_US - 120_000_000
        )
        self.market = Market(tape, history_limit=10**9)
        self.hub = Hub(self.market)
        self.desk = Desk(self.market, self.limits)
        self.dice = Random(f"exchange {plan.seed}")  # noqa: S311
        self.calm = False
        self.away_until_s = 0.0
        self._began_s = loop.time()
        self.market.advance(START_US, self.hub, 10**9)

    @property
    def away(self) -> bool:
        """Whether nobody can reach it now."""
        return self.loop.time() < self.away_until_s

    def now_us(self) -> int:
        """Return the exchange's time."""
        return START_US + int((self.loop.time() - self._began_s) * 1e6)

    def run(self) -> None:
        """Print what is due, and come again for the next."""
        self.market.advance(self.now_us(), self.hub, 10**9)
        wait_s = (self.market.next_due_us() - self.now_us()) / 1e6
        self.loop.call_later(max(wait_s, 1e-6), self.run)

    def chance(self, rate: float) -> bool:
        """Throw the dice; nothing happens once the world is calm."""
        return not self.calm and rate > 0 and self.dice.random() < rate

    # -- the truth ----------------------------------------------------------------------------------------

    def trade(self, symbol: str, agg_id: int) -> Aggregate | None:
        """Return the aggregate of that id, None when there is none (yet). ``symbol`` as the exchange writes it."""
        log = self.market.history.aggregates.get(symbol)
        if log is None:
            return None
        at = log.at_id(agg_id)
        found = next(iter(log.rows(at, at + 1)), None)
        return found if found is not None and found.agg_id == agg_id else None

    def last_id(self, symbol: str, before_us: int) -> int:
        """Return the highest id printed before that time, -1 when there is none."""
        log = self.market.history.aggregates[symbol]
        at = log.at_time(before_us)
        return next((one.agg_id for one in log.rows(at - 1, at)), -1) if at else -1

    def candle(self, symbol: str, interval: str, open_us: int) -> Candle | None:
        """Return the candle that opens then, if it is over."""
        candle = self.market.books[symbol].candle(interval, open_us)
        return candle if candle is not None and candle.end_us <= self.market.now_us else None

    def candles(self, symbol: str, interval: str, first_us: int, last_us: int) -> Iterator[Candle]:
        """Yield the candles that open within these times, both inclusive."""
        return self.market.books[symbol].span(interval, first_us, last_us)


class WorldHttp:
    """``Http`` to the exchange: slow, refused, limited, nonsense, or answered."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._dice = Random(f"http {exchange.plan.seed}")  # noqa: S311
        self._meter = WeightMeter(exchange.limits)
        self.limited_until_s = 0.0

    async def get(self, url: str, params: Mapping[str, str], headers: Mapping[str, str]) -> HttpAnswer:
        """Answer a GET."""
        exchange, dice = self._exchange, self._dice
        path = url.removeprefix(BASE_URL)
        told = "&".join(f"{name}={value}" for name, value in params.items())
        await asyncio.sleep(dice.uniform(0.002, 0.08))
        now_s = exchange.loop.time()
        answer: HttpAnswer | None
        if exchange.away:
            await asyncio.sleep(dice.choice((0.01, 1.0, 10.0)))
            answer = None
        elif now_s < self.limited_until_s:
            left_s = int(self.limited_until_s - now_s) + 1
            body = b'{"code":-1003,"msg":"Too much request weight used."}'
            answer = HttpAnswer(dice.choice((429, 418)), {"retry-after": str(left_s)}, body)
        elif exchange.chance(exchange.plan.rates.rest_fails):
            await asyncio.sleep(dice.choice((0.0, 0.0, 5.0)))
            answer = dice.choice(
                (
                    None,
                    HttpAnswer(500, {}, b""),
                    HttpAnswer(503, {}, b"<html>Service Unavailable</html>"),
                    HttpAnswer(200, {}, b"<html>Please wait</html>"),
                    HttpAnswer(504, {}, b'{"code":-1007,"msg":"Timeout waiting for response from backend server."}'),
                )
            )
        else:
            answer = self._answer(path, params, headers)
        exchange.trace("http", f"{path}?{told} -> {'no answer' if answer is None else answer.status}")
        await asyncio.sleep(dice.uniform(0.002, 0.08))
        if answer is None:
            raise ExchangeUnavailable("no answer", subject=path)
        return answer

    async def download(self, url: str, into: Path) -> HttpAnswer:
        """There is no archive in this world."""
        await asyncio.sleep(0.01)
        return HttpAnswer(404, {}, b"")

    def _answer(self, path: str, params: Mapping[str, str], headers: Mapping[str, str]) -> HttpAnswer:
        exchange = self._exchange
        verdict = self._meter.spend(exchange.desk.weight(path), exchange.loop.time())
        told = {"x-mbx-used-weight-1m": str(verdict.used)}
        if verdict.status != 200:
            told["retry-after"] = str(verdict.retry_after_s)
            return HttpAnswer(verdict.status, told, json.dumps({"code": -1003, "msg": "Too many requests."}).encode())
        units = {name.lower(): value for name, value in headers.items()}
        answer = exchange.desk.answer(path, list(params.items()), units.get("x-mbx-time-unit"))
        return HttpAnswer(answer.status, told, answer.body)
