"""The page: its files, its stream of events, and what it asks of the database. GET alone; it changes nothing."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import suppress
from pathlib import Path

import msgspec
from aiohttp import web

from crypto_quant.errors import ConfigError, CryptoQuantError
from crypto_quant.ops.clock import SystemClock
from crypto_quant.seams import Clock
from crypto_quant.web.access import Access
from crypto_quant.web.feed import HEARTBEAT_S, Boards, Feed, Seen
from crypto_quant.web.readings import Readings

STATIC = Path(__file__).parent / "static"

# nobody gets more than one message in so long
_PACE_S = 0.9
# who takes nothing for so long is dropped
_PATIENCE_S = 30.0
# a part of a name, of a request
_NAME_MAX = 100

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}

_FEED: web.AppKey[Feed] = web.AppKey("feed", Feed)
_READINGS: web.AppKey[Readings] = web.AppKey("readings", Readings)


def page_app(
    follower: Boards, readings: Readings, access: Access | None = None, clock: Clock | None = None
) -> web.Application:
    """Return the page on the boards that ``follower`` follows; ``readings`` are closed with it.

    Without ``access`` everybody who reaches it may look.
    """
    app = web.Application(middlewares=access.middlewares if access else ())
    app[_FEED] = Feed(follower, clock or SystemClock())
    app[_READINGS] = readings
    app.on_response_prepare.append(_guard)
    app.on_shutdown.append(_let_go)
    app.cleanup_ctx.append(_run)
    app.router.add_get("/", _index)
    app.router.add_get("/events", _events, allow_head=False)
    app.router.add_get("/api/series", _series)
    app.router.add_get("/api/candles", _candles)
    app.router.add_get("/api/completeness", _completeness)
    app.router.add_get("/api/gaps", _gaps)
    app.router.add_get("/api/tables", _tables)
    app.router.add_static("/static", STATIC)
    return app


async def _guard(request: web.Request, response: web.StreamResponse) -> None:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    # a vendored file carries its version in its name
    kept = "max-age=31536000, immutable" if request.path.startswith("/static/vendor/") else "no-cache"
    response.headers.setdefault("Cache-Control", kept)


async def _run(app: web.Application) -> AsyncIterator[None]:
    task = asyncio.create_task(app[_FEED].run())
    yield
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    await app[_READINGS].close()


async def _let_go(app: web.Application) -> None:
    app[_FEED].close()


async def _index(_request: web.Request) -> web.StreamResponse:
    return web.FileResponse(STATIC / "index.html")


async def _events(request: web.Request) -> web.StreamResponse:
    """Send the state and then what changes, until the looker goes.

    The id of an event says what has been seen with it; a browser that connects again tells it and goes on there.
    """
    feed = request.app[_FEED]
    wanted = request.query.get("recorder")
    seen = _seen(feed, request.headers.get("Last-Event-ID", ""))
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
    response.headers["X-Accel-Buffering"] = "no"
    await response.prepare(request)
    try:
        await response.write(b"retry: 1000\n\n")
        while not feed.closed:
            kind, text, seen = feed.message(seen, wanted)
            head = f"id: {feed.epoch}.{seen.version}.{seen.recorder}\nevent: {kind}\ndata: "
            async with asyncio.timeout(_PATIENCE_S):
                await response.write(b"%s%s\n\n" % (head.encode(), text))
            await feed.pause(_PACE_S)
            await feed.changed(seen.version, HEARTBEAT_S)
    except (ConnectionError, TimeoutError):
        # whoever has gone, or takes nothing: what is on its way to it is thrown away
        if request.transport is not None:
            request.transport.abort()
    return response


def _seen(feed: Feed, told: str) -> Seen | None:
    epoch, _, rest = told.partition(".")
    version, _, recorder = rest.partition(".")
    if epoch != feed.epoch or not version.isascii() or not version.isdigit() or len(version) > 15:
        return None
    return Seen(recorder, int(version))


async def _series(request: web.Request) -> web.StreamResponse:
    return await _answer(request.app[_READINGS].series())


async def _candles(request: web.Request) -> web.StreamResponse:
    venue, symbol, timeframe = (_named(request, name) for name in ("venue", "symbol", "timeframe"))
    return await _answer(request.app[_READINGS].candles(venue, symbol, timeframe))


async def _completeness(request: web.Request) -> web.StreamResponse:
    kind = request.query.get("kind", "trades")[:_NAME_MAX]
    return await _answer(request.app[_READINGS].completeness(kind))


async def _gaps(request: web.Request) -> web.StreamResponse:
    venue, symbol, day = (_named(request, name) for name in ("venue", "symbol", "day"))
    kind = request.query.get("kind", "trades")[:_NAME_MAX]
    return await _answer(request.app[_READINGS].gaps(venue, symbol, day, kind))


async def _tables(request: web.Request) -> web.StreamResponse:
    return await _answer(request.app[_READINGS].tables())


def _named(request: web.Request, name: str) -> str:
    value = request.query.get(name, "")
    # a name is whatever the exchange calls a symbol, but no database holds one with a NUL
    if not 0 < len(value) <= _NAME_MAX or "\0" in value:
        raise web.HTTPBadRequest(text=f"{name} is missing, or is no name\n")
    return value


async def _answer(reading: Awaitable[bytes]) -> web.StreamResponse:
    """Return what was read as JSON, or why it could not be: 400 for what makes no sense, 503 for what may pass."""
    try:
        body, status = await reading, 200
    except CryptoQuantError as error:
        status = 400 if isinstance(error, ConfigError) else 503
        body = msgspec.json.encode({"error": error.what, "subject": error.subject, "hint": error.hint})
    return web.Response(
        body=body, status=status, content_type="application/json", headers={"Cache-Control": "no-store"}
    )
