"""Snapshots as a recorder would show them, made up."""

from typing import Any

from msgspec.structs import replace

from crypto_quant.market import NS_PER_S
from crypto_quant.snapshot import (
    DiskView,
    LinkState,
    LinkView,
    Phase,
    ProcessView,
    Snapshot,
    SpoolView,
    Spread,
    StoreView,
    StreamState,
    StreamView,
)

NOW_NS = 1_790_856_000 * NS_PER_S


def stream(symbol: str = "btcusdt", timeframe: str | None = None, **fields: Any) -> StreamView:
    """Return one that is alive."""
    name = f"{symbol}@{'aggTrade' if timeframe is None else f'kline_{timeframe}'}"
    usual = {"state": StreamState.LIVE, "last": 7, "seen_ns": NOW_NS - NS_PER_S, "rate": 1.5, "lag_ms": 20.0}
    return StreamView(stream=name, symbol=symbol, timeframe=timeframe, **{**usual, **fields})


def link(number: int = 1, state: LinkState = LinkState.DELIVERING, **fields: Any) -> LinkView:
    """Return one that has been in its state for 12 s."""
    return LinkView(link=number, state=state, since_ns=NOW_NS - 12 * NS_PER_S, streams=1, **fields)


def snapshot(**fields: Any) -> Snapshot:
    """Return one of a recorder that is well, but for what is given."""
    spread = Spread(p50_ms=4.2, p95_ms=9.0, p99_ms=41.0, count=5, sum_ms=9.5, buckets=((0.5, 1), (4.0, 5)))
    usual: dict[str, Any] = {
        "version": "1.2.3", "pid": 4242, "started_ns": NOW_NS - 93_780 * NS_PER_S, "taken_ns": NOW_NS,
        "phase": Phase.RECORDING, "venue": "spot", "symbols": 1, "source": "ws://127.0.0.1:1",
        "exchange_ns": NOW_NS - NS_PER_S, "rate": 1234.0, "frame_rate": 1240.0,
        "counts": {"trades_written": 1_000_000, "pending_trades": 12, "gaps": 0, "gaps_open": 0},
        "commit_lag": spread, "event_lag": spread, "write_time": spread,
        "store": StoreView(database="db:5432/market", tier="timescaledb", last_commit_ns=NOW_NS),
        "spool": SpoolView(directory="/data/spool", limit_bytes=1000),
        "disks": (DiskView(path="/data", free_bytes=50 << 30, total_bytes=100 << 30),),
        "process": ProcessView(resident_bytes=60 << 20, cpu_seconds=2.5, open_files=30, open_files_limit=1024),
        "links": (link(),), "streams": (stream(),), "events": {"Gap found": 2},
    }  # fmt: skip
    return Snapshot(**{**usual, **fields})


def later(shown: Snapshot, seconds: float, **fields: Any) -> Snapshot:
    """Return the same recorder so much later."""
    return replace(shown, taken_ns=shown.taken_ns + int(seconds * NS_PER_S), **fields)
