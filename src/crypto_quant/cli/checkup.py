"""What ``doctor`` checks, put together from the settings: the machine, the ways to the exchange, the database."""

import math
import os
import time
from collections.abc import Awaitable, Callable, Sequence

from crypto_quant.binance.archive import ARCHIVE_URL
from crypto_quant.binance.history import time_request
from crypto_quant.binance.streams import archive_base, link_url, rest_base
from crypto_quant.binance.venues import venue_spec
from crypto_quant.cli.spooled import look
from crypto_quant.config import Resolved
from crypto_quant.diagnosis import machine, network, server
from crypto_quant.diagnosis.finding import Finding, of_error, ok, skipped, warning
from crypto_quant.errors import CryptoQuantError
from crypto_quant.flow.checkup import Check, ask_archive, ask_rest, settled, shake_hands
from crypto_quant.net.http import AiohttpClient
from crypto_quant.net.proxies import Proxies
from crypto_quant.net.websocket import PicowsConnector
from crypto_quant.ops import machine as here
from crypto_quant.ops.clock import SystemClock
from crypto_quant.ops.threads import in_thread
from crypto_quant.seams import Clock
from crypto_quant.store.embedded import EmbeddedDatabase
from crypto_quant.store.inspection import Inspection, open_inspection
from crypto_quant.store.paths import data_dir, spool_dir
from crypto_quant.store.url import redact

MACHINE_LIMIT_S = 5.0
NETWORK_LIMIT_S = 20.0
DATABASE_LIMIT_S = 15.0
_HANDSHAKE_LIMIT_S = 8.0
# the findings that need a connection to the database, in their order
_INSIDE = (
    "postgresql", "timescaledb", "encoding", "schema", "rights", "durability", "wal", "shared_buffers",
    "locks", "publications", "connections", "background_workers", "timezone",
)  # fmt: skip


def checks(resolved: Resolved, platform: str, clock: Clock | None = None) -> list[Check]:
    """Return all checks for these settings; ``platform`` is Python's ``sys.platform``."""
    return [*_of_machine(resolved, platform), *_of_network(resolved, clock or SystemClock()), _of_database(resolved)]


# -- the machine ------------------------------------------------------------------------------------------


def _of_machine(resolved: Resolved, platform: str) -> list[Check]:
    settings = resolved.settings
    spec = venue_spec(settings.venue)
    links = max(1, math.ceil(len(settings.symbols) * len(settings.streams) / spec.streams_per_link)) * settings.links

    def spool_disk() -> Finding:
        directory = spool_dir(settings)
        disk = here.disk_of(directory) if settings.spool else None
        used = here.used_bytes(directory) if settings.spool else 0
        return machine.spool_disk(disk, limit_bytes=settings.spool_limit, used_bytes=used)

    def spool_rows() -> Finding:
        try:
            return machine.spool_rows(look(settings))
        except CryptoQuantError as problem:
            return of_error("spool_rows", problem)

    def database_disk() -> Finding:
        embedded = settings.database_url is None
        return machine.database_disk(here.disk_of(data_dir(settings)) if embedded else None)

    return [
        _blocking("python", lambda: machine.python(*here.python())),
        _blocking("event_loop", lambda: machine.event_loop(here.installed("uvloop"), platform)),
        _blocking("settings", lambda: _settings(resolved)),
        _blocking(
            "file_limit", lambda: machine.file_limit(*here.open_files(), links=links, pool_size=settings.pool_size)
        ),
        _blocking("memory", lambda: machine.memory(here.memory_bytes(), pending_limit=settings.pending_limit)),
        _blocking("data_disk", lambda: machine.data_disk(here.disk_of(data_dir(settings)))),
        _blocking("spool_disk", spool_disk),
        _blocking("spool_rows", spool_rows),
        _blocking("database_disk", database_disk),
    ]


def _settings(resolved: Resolved) -> Finding:
    if resolved.ignored:
        names = ", ".join(resolved.ignored)
        return warning("settings", f"no settings, and ignored: {names}", f"unset {' '.join(resolved.ignored)}")
    where = "no configuration file" if resolved.file is None else str(resolved.file)
    return ok("settings", f"{where}; crypto-quant config show tells all")


def _blocking(name: str, look: Callable[[], Finding]) -> Check:
    async def probe() -> Sequence[Finding]:
        return [await in_thread(look)]

    return Check((name,), MACHINE_LIMIT_S, probe)


# -- the exchange -----------------------------------------------------------------------------------------


def _of_network(resolved: Resolved, clock: Clock) -> list[Check]:
    settings = resolved.settings
    spec = venue_spec(settings.venue)

    async def with_http(ask: Callable[[AiohttpClient], Awaitable[list[Finding]]]) -> list[Finding]:
        http = AiohttpClient(timeout_s=_HANDSHAKE_LIMIT_S)
        try:
            return await ask(http)
        finally:
            await http.close()

    # each check says by itself that its URL cannot be
    def rest_url() -> str:
        return rest_base(settings.rest_url or spec.rest_url)

    def archive_url() -> str:
        return archive_base(settings.archive_url or ARCHIVE_URL)

    def ws_url() -> str:
        return link_url(settings.ws_url or spec.ws_url, spec)

    async def proxy() -> list[Finding]:
        proxies = Proxies(os.environ)
        ways = {"REST": rest_url(), "WebSocket": ws_url(), "archive": archive_url()}
        return [network.proxy({way: str(proxies.of(url) or "") for way, url in ways.items()})]

    async def rest() -> list[Finding]:
        url = rest_url()
        return await with_http(lambda http: ask_rest(url, time_request(spec), http, clock))

    async def archive() -> list[Finding]:
        url = archive_url()
        return await with_http(lambda http: ask_archive(url, http))

    async def websocket() -> list[Finding]:
        return await shake_hands(ws_url(), PicowsConnector(handshake_timeout_s=_HANDSHAKE_LIMIT_S))

    return [
        Check(("proxy",), NETWORK_LIMIT_S, proxy),
        Check(("rest", "clock"), NETWORK_LIMIT_S, rest),
        Check(("websocket",), NETWORK_LIMIT_S, websocket),
        Check(("archive",), NETWORK_LIMIT_S, archive),
    ]


# -- the database -----------------------------------------------------------------------------------------


def _of_database(resolved: Resolved) -> Check:
    async def probe() -> Sequence[Finding]:
        url, finding = await _address(resolved)
        if url is None:
            return [finding, *(skipped(name, "there is no database to ask yet") for name in _INSIDE)]
        started = time.monotonic()
        try:
            async with open_inspection(url) as inspection:
                took_ms = (time.monotonic() - started) * 1000
                found = await _Database(inspection, resolved).findings()
                return [ok("database", f"{took_ms:,.0f} ms, {redact(url)}"), *found]
        except CryptoQuantError as problem:
            return [
                of_error("database", problem),
                *(skipped(name, "there is no connection to the database") for name in _INSIDE),
            ]

    # each step has its own limit; this is for all of them
    return Check(("database", *_INSIDE), DATABASE_LIMIT_S * 3, probe)


async def _address(resolved: Resolved) -> tuple[str | None, Finding]:
    """Return the URL to look at, or None with the reason: the embedded database is neither made nor started."""
    settings = resolved.settings
    if settings.database_url is not None:
        return settings.database_url, ok("database", "")
    status = await in_thread(lambda: EmbeddedDatabase(data_dir(settings)).status())
    if status.version is None:
        found = f"the embedded database, which does not exist yet: {status.directory}"
        return None, skipped("database", found, "`crypto-quant record` makes it, or name one with --database-url")
    if not status.running:
        found = f"the embedded database, which does not run: {status.directory}"
        return None, skipped("database", found, "crypto-quant db start")
    return status.url, ok("database", "")


class _Database:
    """Goes through a database step by step, over one connection; what one step cannot tell the others do without."""

    def __init__(self, inspection: Inspection, resolved: Resolved) -> None:
        self._look = inspection
        self._settings = resolved.settings
        self._server: server.Server | None = None
        self._schema: server.Schema | None = None
        self._values: dict[str, str] | None = None

    async def findings(self) -> list[Finding]:
        """Return the findings of all steps, in the order of their names."""
        steps: list[tuple[tuple[str, ...], Callable[[], Awaitable[Sequence[Finding]]]]] = [
            (("postgresql", "encoding"), self._server_itself),
            (("schema",), self._our_schema),
            (("timescaledb",), self._extension),
            (("rights",), self._rights),
            (("durability", "wal", "timezone"), self._server_settings),
            (("shared_buffers",), self._memory),
            (("locks",), self._locks),
            (("publications",), self._publications),
            (("connections",), self._connections),
            (("background_workers",), self._workers),
        ]
        found: dict[str, Finding] = {}
        for names, step in steps:
            for finding in await settled(Check(names, DATABASE_LIMIT_S, step)):
                found[finding.check] = finding
        return [found[name] for name in _INSIDE]

    async def _server_itself(self) -> Sequence[Finding]:
        self._server = await self._look.server()
        return [server.postgresql(self._server), server.encoding(self._server)]

    async def _our_schema(self) -> Sequence[Finding]:
        self._schema = await self._look.schema()
        return [server.schema(self._schema)]

    async def _extension(self) -> Sequence[Finding]:
        if self._server is None:
            return [skipped("timescaledb", "the server does not tell what it is")]
        return [server.timescaledb(self._server, self._schema)]

    async def _rights(self) -> Sequence[Finding]:
        return [server.rights(await self._look.rights(), self._schema, self._server)]

    async def _server_settings(self) -> Sequence[Finding]:
        self._values = values = await self._look.settings()
        return [
            server.durability(values),
            server.wal(values),
            server.timezone(values, self._server.database if self._server else "…"),
        ]

    async def _memory(self) -> Sequence[Finding]:
        if self._values is None:
            return [skipped("shared_buffers", "the server does not tell its settings")]
        return [server.shared_buffers(self._values, await self._look.largest_index())]

    async def _locks(self) -> Sequence[Finding]:
        if self._values is None:
            return [skipped("locks", "the server does not tell its settings")]
        return [server.locks(self._values, await self._look.days_to_lock())]

    async def _publications(self) -> Sequence[Finding]:
        return [server.publications(await self._look.publications())]

    async def _connections(self) -> Sequence[Finding]:
        return [server.connections(await self._look.connections(), pool_size=self._settings.pool_size)]

    async def _workers(self) -> Sequence[Finding]:
        if self._server is None or self._values is None:
            return [skipped("background_workers", "the server does not tell what it is")]
        return [server.background_workers(self._server, self._values)]
