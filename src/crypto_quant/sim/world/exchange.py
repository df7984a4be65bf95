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
from crypto_quant.sim.rest import Desk, Forgotten
from crypto_quant.sim.symbols import invented
from crypto_quant.sim.synthetic import SyntheticTape
from crypto_quant.sim.tape import Tape
from crypto_quant.sim.world.archive import ARCHIVE_URL, WorldArchive
from crypto_quant.sim.world.fault import Fault
from crypto_quant.sim.world.halt import HaltingTape
from crypto_quant.sim.world.loop import VirtualLoop
from crypto_quant.sim.world.oddities import MIDNIGHT_US
from crypto_quant.sim.world.plan import Plan
from crypto_quant.sim.world.trace import Trace

BASE_URL = "http://exchange.world"
# REST is asked three times before an id that it jumps over is believed not to be there
_OMITTED_MOST = 2


class Exchange:
    """Prints its tape while time passes; ``hub`` tells who listens. ``away_until_s`` is loop time."""

    def __init__(self, plan: Plan, loop: VirtualLoop, trace: Trace) -> None:
        self.plan = plan
        self.loop = loop
        self.trace = trace
        self.limits = Limits(life_s=plan.link_life_s, buffer_bytes=2_000_000)
        # time for the recorder to have come up before the first trade would only hide what happens at the start
        tape: Tape = SyntheticTape(
            invented(plan.symbols), rate=plan.trades_per_s * 2, seed=plan.seed, start_us=plan.start_us - 120_000_000
        )
        if plan.oddities.halt_s is not None:
            tape = HaltingTape(tape, plan.symbols[0], plan.start_us + int(plan.oddities.halt_s * 1e6))
        self.market = Market(tape, history_limit=10**9)
        self.hub = Hub(self.market)
        # by symbol: ids of trades that the archive alone tells, and ids that no trade has
        self.forgotten: Forgotten = {}
        self.void: Forgotten = {}
        self.versions: dict[tuple[str, int], list[Aggregate]] = {}
        self.desk = Desk(self.market, self.limits, self.forgotten)
        self.archive = WorldArchive(self)
        self.dice = Random(f"exchange {plan.seed}")  # noqa: S311
        self.calm = False
        self.seen: dict[str, int] = {}
        self.away_until_s = 0.0
        self._began_s = loop.time()
        self.market.advance(plan.start_us, self.hub, 10**9)

    @property
    def away(self) -> bool:
        """Whether nobody can reach it now."""
        return self.loop.time() < self.away_until_s

    def now_us(self) -> int:
        """Return the exchange's time."""
        return self.plan.start_us + int((self.loop.time() - self._began_s) * 1e6)

    def run(self) -> None:
        """Print what is due, and come again for the next."""
        self.market.advance(self.now_us(), self.hub, 10**9)
        wait_s = (self.market.next_due_us() - self.now_us()) / 1e6
        self.loop.call_later(max(wait_s, 1e-6), self.run)

    def chance(self, rate: float) -> bool:
        """Throw the dice; nothing happens once the world is calm."""
        return not self.calm and rate > 0 and self.dice.random() < rate

    def saw(self, what: str) -> None:
        """Count something that happened in this world."""
        self.seen[what] = self.seen.get(what, 0) + 1

    # -- oddities -----------------------------------------------------------------------------------------

    def lose(self, fault: Fault) -> None:
        """Let the next ids of a symbol be void, or forgotten by all but the archive."""
        symbol = self.plan.symbols[int(fault.amount * len(self.plan.symbols))]
        first, count = self.market.next_agg_id(symbol), int(fault.for_s)
        kind = self.void if fault.kind == "void" else self.forgotten
        kind.setdefault(symbol, []).append((first, first + count - 1))
        if fault.kind == "void":
            self.market.skip_agg_ids(symbol, count)

    def is_forgotten(self, symbol: str, agg_id: int) -> bool:
        """Tell whether the archive alone has a trade. ``symbol`` as the exchange writes it."""
        return any(first <= agg_id <= last for first, last in self.forgotten.get(symbol, ()))

    def is_void(self, symbol: str, agg_id: int) -> bool:
        """Tell whether an id is no trade's."""
        return any(first <= agg_id <= last for first, last in self.void.get(symbol, ()))

    def keep_version(self, one: Aggregate) -> None:
        """Note that a trade was told with another content than the tape's."""
        told = self.versions.setdefault((one.symbol, one.agg_id), [])
        if one not in told:
            told.append(one)

    def tellings(self, symbol: str, agg_id: int) -> list[Aggregate]:
        """Return what was told of an id: the tape's own trade first, then the other versions."""
        true = self.trade(symbol, agg_id)
        return [] if true is None else [true, *self.versions.get((symbol, agg_id), ())]

    def told_day(self, symbol: str, agg_id: int) -> bool:
        """Tell whether the trade after an id is of the day whose file the archive gets."""
        log = self.market.history.aggregates[symbol]
        at = log.at_id(agg_id + 1)
        later = next((one for one in log.rows(at, at + 50) if not self.is_forgotten(symbol, one.agg_id)), None)
        return later is not None and later.time_us < MIDNIGHT_US

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
    """``Http`` of one address to the exchange: slow, refused, limited, nonsense, or answered."""

    def __init__(self, exchange: Exchange, salt: str = "") -> None:
        self._exchange = exchange
        self._dice = Random(f"http{salt} {exchange.plan.seed}")  # noqa: S311
        self._omitted: dict[tuple[str, int], int] = {}
        self._meter = WeightMeter(exchange.limits)
        self.limited_until_s = 0.0

    async def get(self, url: str, params: Mapping[str, str], headers: Mapping[str, str]) -> HttpAnswer:
        """Answer a GET."""
        exchange, dice = self._exchange, self._dice
        if url.startswith(ARCHIVE_URL):
            return await exchange.archive.get(url)
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
        """Fetch a file of the archive."""
        return await self._exchange.archive.download(url, into)

    def _answer(self, path: str, params: Mapping[str, str], headers: Mapping[str, str]) -> HttpAnswer:
        exchange = self._exchange
        verdict = self._meter.spend(exchange.desk.weight(path), exchange.loop.time())
        told = {"x-mbx-used-weight-1m": str(verdict.used)}
        if verdict.status != 200:
            told["retry-after"] = str(verdict.retry_after_s)
            return HttpAnswer(verdict.status, told, json.dumps({"code": -1003, "msg": "Too many requests."}).encode())
        units = {name.lower(): value for name, value in headers.items()}
        symbol, omitted = params.get("symbol", ""), self._omits(params)
        exchange.forgotten.setdefault(symbol, []).extend(omitted)
        answer = exchange.desk.answer(path, list(params.items()), units.get("x-mbx-time-unit"))
        del exchange.forgotten[symbol][len(exchange.forgotten[symbol]) - len(omitted) :]
        return HttpAnswer(answer.status, told, answer.body)

    def _omits(self, params: Mapping[str, str]) -> list[tuple[int, int]]:
        """Return an id that this answer leaves out, as servers of different age do: no id more than twice."""
        if "fromId" not in params or not self._exchange.chance(self._exchange.plan.oddities.omitted):
            return []
        number = int(params["fromId"]) + self._dice.randrange(3)
        key = params["symbol"], number
        self._omitted[key] = self._omitted.get(key, 0) + 1
        if self._omitted[key] > _OMITTED_MOST:
            return []
        self._exchange.saw("REST omits")
        return [(number, number)]
