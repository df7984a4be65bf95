"""Recorders that are only shown: whole snapshots, boards that nobody need record for, and a watching process."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from crypto_quant.ops import board
from crypto_quant.ops.clock import SystemClock
from crypto_quant.ops.companion import Plan
from crypto_quant.ops.listening import listen
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
from crypto_quant.web.service import watch

HOSTILE = '币安人生"\\\n<img src=x onerror=alert(1)>'


def stream(symbol: str = "btcusdt", **more: Any) -> StreamView:
    values: dict[str, Any] = {
        "stream": f"{symbol}@aggTrade", "symbol": symbol, "timeframe": None, "state": StreamState.LIVE, "last": 7,
        "seen_ns": SystemClock().now_ns(), "rate": 12.5, "lag_ms": 40.0,
    }  # fmt: skip
    return StreamView(**{**values, **more})


def snapshot(**more: Any) -> Snapshot:
    """Return a snapshot of a recorder that is well, taken just now."""
    now_ns = SystemClock().now_ns()
    spread = Spread(p50_ms=1.0, p95_ms=2.0, p99_ms=3.0, count=5, sum_ms=9.5, buckets=((0.5, 1), (4.0, 5)))
    values: dict[str, Any] = {
        "version": "0.1.0", "pid": os.getpid(), "started_ns": now_ns - 60_000_000_000, "taken_ns": now_ns,
        "phase": Phase.RECORDING, "venue": "spot", "symbols": 1, "source": "ws://127.0.0.1:1",
        "exchange_ns": now_ns - 50_000_000, "counts": {"trades_written": 41, "pending_trades": 3, "gaps_open": 2},
        "commit_lag": spread, "event_lag": spread, "write_time": spread,
        "store": StoreView(database="127.0.0.1:5432/test", tier="timescaledb", last_commit_ns=now_ns),
        "spool": SpoolView(directory="/spool", limit_bytes=1 << 30),
        "disks": (DiskView(path="/data", free_bytes=5, total_bytes=9),),
        "process": ProcessView(resident_bytes=1, cpu_seconds=2.5, open_files=3, open_files_limit=4),
        "links": (LinkView(link=1, state=LinkState.DELIVERING, since_ns=now_ns, streams=1),),
        "streams": (stream(),), "events": {"Gap found": 2},
    }  # fmt: skip
    return Snapshot(**{**values, **more})


@contextmanager
def shown(directory: Path, shot: Snapshot | None = None) -> Iterator[board.BoardWriter]:
    """Put up a board of this process."""
    writer = board.put_up(directory)
    try:
        if shot is not None:
            writer.show(shot)
        yield writer
    finally:
        writer.take_down()


class Watching:
    """A watching process's service, in this process."""

    def __init__(self, page: int, metrics: int, ended: asyncio.Event, task: "asyncio.Task[None]") -> None:
        self.page = page
        self.metrics = metrics
        self.ended = ended
        self.task = task


@asynccontextmanager
async def watching(directory: Path, host: str = "127.0.0.1", **more: Any) -> AsyncIterator[Watching]:
    """Watch a directory of boards; lend the ports."""
    page, metrics = listen(host, 0), listen(host, 0)
    ended, started = asyncio.Event(), asyncio.Event()
    task = asyncio.create_task(watch(Plan(directory=str(directory), **more), page, metrics, ended, started))
    beginning = asyncio.create_task(started.wait())
    await asyncio.wait((task, beginning), return_when=asyncio.FIRST_COMPLETED)
    assert started.is_set(), task
    try:
        yield Watching(page.getsockname()[1], metrics.getsockname()[1], ended, task)
    finally:
        ended.set()
        await task


async def ask(
    port: int, path: str, *headers: str, method: str = "GET", host: str = "127.0.0.1", named: str | None = None
) -> tuple[int, dict[str, str], str]:
    """Return status, headers (in lower case) and body of one HTTP exchange; ``named`` is another ``Host``."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        lines = [f"{method} {path} HTTP/1.1", f"Host: {named or f'{host}:{port}'}", "Connection: close", *headers]
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        whole = await asyncio.wait_for(reader.read(), 20)
    finally:
        writer.close()
    head, _, body = whole.partition(b"\r\n\r\n")
    status, *rest = head.decode().split("\r\n")
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)}
    return int(status.split()[1]), fields, body.decode()


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port
