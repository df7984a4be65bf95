"""A load of history for tests: run against an exchange and a database, with what became of it."""

from collections.abc import Sequence
from datetime import date
from pathlib import Path

from recording import Told

from crypto_quant.compose import open_history
from crypto_quant.config import Settings
from crypto_quant.flow.loading import Outcome
from crypto_quant.sim.server import SimulatedExchange


async def load_history(
    database_url: str,
    exchange: SimulatedExchange,
    data_dir: Path,
    first: date,
    last: date,
    *,
    symbols: Sequence[str] = ("btcusdt",),
    streams: Sequence[str] = ("aggTrade",),
    jobs: int = 2,
    told: Told | None = None,
) -> list[Outcome]:
    """Load days (inclusive) as ``crypto-quant backfill`` does."""
    settings = Settings(
        symbols=tuple(symbols),
        streams=tuple(streams),
        database_url=database_url,
        rest_url=exchange.rest_url,
        archive_url=exchange.rest_url,
        data_dir=str(data_dir),
    )
    shares: list[float] = []
    async with open_history(
        settings, first, last, jobs=jobs, emit=told or Told(), report=lambda done, _: shares.append(done)
    ) as history:
        outcomes = await history.run.run(history.wanted)
        assert shares[-1] == sum(one.days for one in history.wanted)
    return outcomes
