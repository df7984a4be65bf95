"""A whole recorder for tests: started against an exchange and a database, watched, stopped, held against the truth."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from crypto_quant.binance.liveness import DEFAULT_LIMITS as DEFAULT_LIVENESS
from crypto_quant.binance.liveness import LivenessLimits
from crypto_quant.binance.session import DEFAULT_LIMITS, SessionLimits
from crypto_quant.compose import Recorder, open_recorder
from crypto_quant.config import Settings
from crypto_quant.events import Event
from crypto_quant.sim.numbers import text8
from crypto_quant.sim.server import SimulatedExchange
from crypto_quant.store.as_text import candles_as_text, trades_as_text

Kind = TypeVar("Kind", bound=Event)


class Told:
    """Every event and report of a run, in order."""

    def __init__(self) -> None:
        self.all: list[Any] = []

    def __call__(self, event: object) -> None:
        self.all.append(event)

    def of(self, kind: type[Kind]) -> list[Kind]:
        """Return the events of one kind."""
        return [event for event in self.all if isinstance(event, kind)]

    @property
    def reports(self) -> list[dict[str, Any]]:
        """Return the statistics told."""
        return [event for event in self.all if isinstance(event, dict)]


class Running:
    """A recorder at work, and what it has told."""

    def __init__(self, recorder: Recorder, told: Told, task: asyncio.Task[Any]) -> None:
        self.recorder = recorder
        self.told = told
        self.task = task
        self.stats = recorder.pipeline.stats

    async def until(self, condition: Callable[[], object], within_s: float = 60.0) -> None:
        """Wait until the condition holds; fail with the statistics when it does not."""
        deadline = asyncio.get_running_loop().time() + within_s
        while not condition():
            if self.task.done():
                self.task.result()
                raise AssertionError("the recorder ended by itself")
            report = {key: value for key, value in vars(self.stats).items() if isinstance(value, int)}
            assert asyncio.get_running_loop().time() < deadline, report
            await asyncio.sleep(0.01)

    async def stop(self) -> dict[str, Any]:
        """Drain; return the final statistics."""
        self.recorder.pipeline.stop()
        await self.task
        return self.recorder.pipeline.final


@asynccontextmanager
async def recording(
    database_url: str,
    ws_url: str,
    rest_url: str,
    data_dir: Path,
    *,
    symbols: Sequence[str] = ("btcusdt",),
    streams: Sequence[str] = ("aggTrade",),
    limits: SessionLimits = DEFAULT_LIMITS,
    liveness: LivenessLimits = DEFAULT_LIVENESS,
    **more: Any,
) -> AsyncIterator[Running]:
    """Run a recorder; it is drained at the latest when the block ends."""
    told = Told()
    settings = Settings(
        symbols=tuple(symbols),
        streams=tuple(streams),
        database_url=database_url,
        ws_url=ws_url,
        rest_url=rest_url,
        data_dir=str(data_dir),
        **more,
    )
    async with open_recorder(settings, told, random.Random(1), limits, liveness) as recorder:  # noqa: S311  # jitter alone
        task = asyncio.create_task(recorder.pipeline.run(settings.duration))
        running = Running(recorder, told, task)
        try:
            yield running
        finally:
            recorder.pipeline.stop()
            await asyncio.wait({task})
        task.result()


async def assert_trades_equal(
    database_url: str, exchange: SimulatedExchange, symbol: str, *, whole: bool = True
) -> int:
    """Hold the stored trades of a symbol against the exchange's tape; return how many there are.

    ``whole``: every trade printed so far must be there. Else those stored must be equal, once each.
    """
    truth = {
        each.agg_id: (
            str(each.agg_id), text8(each.price), text8(each.quantity), str(each.first_id), str(each.last_id),
            str(each.time_us), "t" if each.maker else "f",
        )
        for each in exchange.agg_trades(symbol.upper())
    }  # fmt: skip
    stored = await trades_as_text(database_url, "spot", symbol)
    ids = [int(row[0]) for row in stored]
    assert len(set(ids)) == len(ids), "a trade is stored twice"
    wrong = [(row, truth.get(int(row[0]))) for row in stored if truth.get(int(row[0])) != row]
    assert not wrong, wrong[:3]
    if whole:
        assert set(ids) == set(truth), f"{len(set(truth) - set(ids))} trades are missing"
    return len(stored)


async def assert_candles_equal(
    database_url: str, exchange: SimulatedExchange, symbol: str, timeframe: str
) -> list[tuple[str, ...]]:
    """Hold the stored candles of a series against the exchange's; return them."""
    truth = {
        each.open_us: (
            str(each.open_us), *map(text8, (each.open, each.high, each.low, each.close, each.volume, each.quote)),
            str(each.count), text8(each.taker_volume), text8(each.taker_quote),
        )
        for each in exchange.klines(symbol.upper(), timeframe)
    }  # fmt: skip
    stored = await candles_as_text(database_url, "spot", symbol, timeframe)
    wrong = [(row, truth.get(int(row[0]))) for row in stored if truth.get(int(row[0])) != row]
    assert not wrong, wrong[:3]
    assert len({row[0] for row in stored}) == len(stored), "a candle is stored twice"
    return stored
