"""Boards for tests of those who watch: made up, changed at will, without a file or a recorder."""

from pathlib import Path
from types import MappingProxyType
from typing import Any

from msgspec.structs import replace

from crypto_quant.market import NS_PER_S
from crypto_quant.ops.board import Board
from crypto_quant.snapshot import (
    DiskView,
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

STARTED_NS = 1_790_856_000 * NS_PER_S


def snapshot(**changed: Any) -> Snapshot:
    """A recorder that is well."""
    spread = Spread(p50_ms=2.5, p95_ms=4.0, p99_ms=9.0, count=100, sum_ms=300.0)
    values: dict[str, Any] = {
        "version": "0.1.0", "pid": 77, "started_ns": STARTED_NS, "taken_ns": STARTED_NS + 60 * NS_PER_S,
        "phase": Phase.RECORDING, "venue": "spot", "symbols": 1,
        "counts": {"trades_received": 100, "trades_written": 100, "pending_trades": 0, "gaps": 0, "gaps_open": 0},
        "rate": 12.0, "frame_rate": 14.0, "commit_lag": spread, "event_lag": spread, "write_time": spread,
        "store": StoreView(database="h:1/d", tier="timescaledb-apache", last_commit_ns=STARTED_NS + 59 * NS_PER_S),
        "spool": SpoolView(directory="/d/spool", limit_bytes=1 << 32),
        "disks": (DiskView(path="/d", free_bytes=50 << 30, total_bytes=100 << 30),),
        "links": (LinkView(link=1, state=LinkState.DELIVERING, since_ns=STARTED_NS, streams=1),),
        "streams": (stream(),),
    }  # fmt: skip
    return Snapshot(**{**values, **changed})


def stream(symbol: str = "btcusdt", **changed: Any) -> StreamView:
    """A stream of trades that is alive."""
    values: dict[str, Any] = {
        "stream": f"{symbol}@aggTrade", "symbol": symbol, "timeframe": None, "state": StreamState.LIVE,
        "last": 3_000_000_001, "seen_ns": STARTED_NS + 59 * NS_PER_S, "rate": 12.0, "lag_ms": 3.0,
    }  # fmt: skip
    return StreamView(**{**values, **changed})


class Boards:
    """What ``web.feed.Boards`` asks for, set by hand."""

    def __init__(self) -> None:
        self.boards: MappingProxyType[Path, Board] = MappingProxyType({})
        self.version = 0
        self.unchanged: dict[Path, float] = {}

    def show(self, shown: Snapshot | None, *, name: str = "77", alive: bool = True) -> None:
        """Put up, or change, a board."""
        path = Path(f"{name}.board")
        self.boards = MappingProxyType({**self.boards, path: Board(path, alive, shown)})
        self.version += 1

    def take_down(self, name: str = "77") -> None:
        """Remove one."""
        self.boards = MappingProxyType({path: each for path, each in self.boards.items() if path.stem != name})
        self.version += 1

    async def changed(self, since: int) -> int:
        """Say at once that something has changed."""
        return max(self.version, since)

    def unchanged_s(self, path: Path) -> float:
        """As it was set."""
        return self.unchanged.get(path, 0.0)


def later(shown: Snapshot, seconds: float, **changed: Any) -> Snapshot:
    """The same recorder so much later."""
    return replace(shown, taken_ns=shown.taken_ns + int(seconds * NS_PER_S), **changed)
