"""The watching process: it answers on sockets that listen already, until it is told to end."""

import asyncio
import resource
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import cast

from aiohttp import web

from crypto_quant.ops.clock import SystemClock
from crypto_quant.ops.companion import Plan
from crypto_quant.web.access import Access, is_loopback
from crypto_quant.web.follow import Follower
from crypto_quant.web.page import page_app
from crypto_quant.web.probes import Probes
from crypto_quant.web.readings import Readings

# Each listener has so many connections at once; who comes then is told to come later.
CONNECTIONS_MAX = 256
# who has not sent a whole request by then, or sends none any more, is disconnected
_REQUEST_S = 15.0
# how long answers that are being given may take at the end; half of it is for those that do not notice
_END_S = 0.2
_FILES_WANTED = 4 * CONNECTIONS_MAX
_SORRY = b"Too many are watching; try again later\n"
_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n"
    b"Retry-After: 5\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n%s" % (len(_SORRY), _SORRY)
)


async def watch(
    plan: Plan, page: socket.socket | None, metrics: socket.socket | None, ended: asyncio.Event, started: asyncio.Event
) -> None:
    """Answer what is asked of the page's and the metrics' socket until ``ended``, then end within a second.

    ``started`` is set when both answer. The sockets are closed.
    """
    _allow_files()
    follower = Follower(Path(plan.directory), Path(plan.only) if plan.only else None)
    await follower.look()
    following = asyncio.create_task(follower.run(), name="follower")
    ending = asyncio.create_task(ended.wait(), name="end")
    try:
        async with AsyncExitStack() as listeners:
            for application, bound in _applications(plan, follower, page, metrics):
                await listeners.enter_async_context(_listening(application, bound))
            started.set()
            await asyncio.wait((following, ending), return_when=asyncio.FIRST_COMPLETED)
    finally:
        following.cancel()
        ending.cancel()
        with suppress(asyncio.CancelledError):
            await following


def _applications(
    plan: Plan, follower: Follower, page: socket.socket | None, metrics: socket.socket | None
) -> list[tuple[web.Application, socket.socket]]:
    probes = Probes(follower, SystemClock(), streams_max=plan.streams_max)
    found = []
    if metrics is not None:
        # no secrets, and no rows: who can reach this port may read it
        found.append((web.Application(middlewares=Access(None, loopback=_is_local(metrics)).middlewares), metrics))
    if page is not None:
        access = Access(plan.token, loopback=_is_local(page))
        readings = Readings(plan.database_url, why_none="Name one with --database-url")
        found.append((page_app(follower, readings, access), page))
    for application, _ in found:
        probes.add_to(application)
        application.on_response_prepare.append(_say_nothing_of_ourselves)
    return found


@asynccontextmanager
async def _listening(application: web.Application, bound: socket.socket) -> AsyncIterator[None]:
    runner = web.AppRunner(
        application, access_log=None, keepalive_timeout=_REQUEST_S, shutdown_timeout=_END_S, lingering_time=1.0
    )
    await runner.setup()
    try:
        server = cast("web.Server", runner.server)
        listener = await asyncio.get_running_loop().create_server(_bounded(server), sock=bound)
        try:
            yield
        finally:
            listener.close()
    finally:
        await runner.cleanup()


def _bounded(server: web.Server) -> Callable[[], asyncio.Protocol]:
    return lambda: server() if len(server.connections) < CONNECTIONS_MAX else _TellFull()


class _TellFull(asyncio.Protocol):
    """Answers whoever comes while there are too many already."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        writable = cast("asyncio.Transport", transport)
        writable.write(_FULL)
        writable.close()


async def _say_nothing_of_ourselves(_: web.Request, answer: web.StreamResponse) -> None:
    answer.headers.popall("Server", None)


def _is_local(bound: socket.socket) -> bool:
    return is_loopback(bound.getsockname()[0])


def _allow_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES_WANTED if hard == resource.RLIM_INFINITY else min(_FILES_WANTED, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
