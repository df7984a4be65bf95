"""Record an exchange's public market data into TimescaleDB/PostgreSQL: exact, complete, provable.

``open_recorder(Settings(symbols=("btcusdt",), database_url=…), emit)`` yields a ``Recorder`` whose ``pipeline`` runs
the whole; ``BinanceWSCollector``, ``TimescaleWriter`` and ``PipelineStats`` are its parts.

``connect(url)`` reads what was recorded, as Arrow, polars or pandas tables: docs/research.md.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crypto_quant.compose import Recorder, open_recorder
    from crypto_quant.config import Settings
    from crypto_quant.errors import Incomplete
    from crypto_quant.flow.collector import BinanceWSCollector
    from crypto_quant.flow.pipeline import Pipeline
    from crypto_quant.flow.stats import PipelineStats
    from crypto_quant.flow.writer import TimescaleWriter
    from crypto_quant.market import AggTrade, Candle, Timeframe, Venue
    from crypto_quant.reading.connecting import connect
    from crypto_quant.reading.database import Database, IncompleteWarning

_HOMES = {
    "AggTrade": "crypto_quant.market",
    "BinanceWSCollector": "crypto_quant.flow.collector",
    "Candle": "crypto_quant.market",
    "Database": "crypto_quant.reading.database",
    "Incomplete": "crypto_quant.errors",
    "IncompleteWarning": "crypto_quant.reading.database",
    "Pipeline": "crypto_quant.flow.pipeline",
    "PipelineStats": "crypto_quant.flow.stats",
    "Recorder": "crypto_quant.compose",
    "Settings": "crypto_quant.config",
    "Timeframe": "crypto_quant.market",
    "TimescaleWriter": "crypto_quant.flow.writer",
    "Venue": "crypto_quant.market",
    "connect": "crypto_quant.reading.connecting",
    "open_recorder": "crypto_quant.compose",
}

__all__ = [
    "AggTrade",
    "BinanceWSCollector",
    "Candle",
    "Database",
    "Incomplete",
    "IncompleteWarning",
    "Pipeline",
    "PipelineStats",
    "Recorder",
    "Settings",
    "Timeframe",
    "TimescaleWriter",
    "Venue",
    "connect",
    "open_recorder",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401
    """Import a public name when it is first used, so that ``import crypto_quant`` costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
