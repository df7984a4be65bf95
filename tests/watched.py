"""Recorders that are only shown: boards that nobody need record for, and a process that watches them."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from snapshots import snapshot

from crypto_quant.market import NS_PER_S
from crypto_quant.ops import board
from crypto_quant.ops.clock import SystemClock
from crypto_quant.ops.companion import Plan
from crypto_quant.ops.listening import listen
from crypto_quant.snapshot import Snapshot
from crypto_quant.web.service import watch


def fresh(**fields: Any) -> Snapshot:
    """Return a snapshot of this process, a recorder that is well, taken just now."""
    now_ns = SystemClock().now_ns()
    return snapshot(**{"pid": os.getpid(), "started_ns": now_ns - 60 * NS_PER_S, "taken_ns": now_ns, **fields})


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
