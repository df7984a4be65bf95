"""Snapshots as a recorder would show them, made up."""

from typing import Any

from crypto_quant.market import NS_PER_S
from crypto_quant.snapshot import (
    LinkState,
    LinkView,
    Phase,
    Snapshot,
    SpoolView,
    Spread,
    StoreView,
    StreamState,
    StreamView,
)

NOW_NS = 1_790_856_000 * NS_PER_S


def stream(symbol: str = "btcusdt", timeframe: str | None = None, **fields: Any) -> StreamView:
    name = f"{symbol}@{'aggTrade' if timeframe is None else f'kline_{timeframe}'}"
    usual = {"state": StreamState.LIVE, "last": 7, "seen_ns": NOW_NS - NS_PER_S, "rate": 1.5, "lag_ms": 20.0}
    return StreamView(stream=name, symbol=symbol, timeframe=timeframe, **{**usual, **fields})


def link(number: int = 1, state: LinkState = LinkState.DELIVERING, **fields: Any) -> LinkView:
    return LinkView(link=number, state=state, since_ns=NOW_NS - 12 * NS_PER_S, streams=1, **fields)


def snapshot(**fields: Any) -> Snapshot:
    """Return one of a recorder that is well, but for what is given."""
    usual: dict[str, Any] = {
        "version": "1.2.3", "pid": 4242, "started_ns": NOW_NS - 93_780 * NS_PER_S, "taken_ns": NOW_NS,
        "phase": Phase.RECORDING, "venue": "spot", "symbols": 1, "rate": 1234.0,
        "counts": {"trades_written": 1_000_000, "pending_trades": 12},
        "commit_lag": Spread(p50_ms=4.2, p95_ms=9.0, p99_ms=41.0),
        "store": StoreView(database="db:5432/market", tier="timescaledb"),
        "spool": SpoolView(directory="/data/spool", limit_bytes=1000), "links": (link(),), "streams": (stream(),),
    }  # fmt: skip
    return Snapshot(**{**usual, **fields})
