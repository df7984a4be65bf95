"""The checks of ``doctor`` as they run: all at once, each with its own time limit, none able to hide another."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec

from crypto_quant.binance.history import Request, parse_server_time
from crypto_quant.diagnosis import machine, network
from crypto_quant.diagnosis.finding import Finding, failed, of_error
from crypto_quant.errors import CryptoQuantError, LinkLost
from crypto_quant.seams import Clock, Connector, Http, HttpAnswer
from crypto_quant.words import without_passwords

# how often the exchange is asked for its time: the quickest answer tells the most
_CLOCK_QUESTIONS = 3
# a file that the archive of spot has had for years, of a hundred bytes
OLD_CHECKSUM = "/data/spot/daily/aggTrades/BTCUSDT/BTCUSDT-aggTrades-2021-01-01.zip.CHECKSUM"

Probe = Callable[[], Awaitable[Sequence[Finding]]]


class Check(msgspec.Struct, frozen=True):
    """One thing to be found out: the names of its findings, its time limit in seconds, and what finds it out."""

    names: tuple[str, ...]
    limit_s: float
    probe: Probe


async def run(checks: Sequence[Check]) -> list[Finding]:
    """Return the findings of all checks, in their order; every name has one, whatever happens."""
    found = await asyncio.gather(*(settled(check) for check in checks))
    return [finding for findings in found for finding in findings]


async def settled(check: Check) -> Sequence[Finding]:
    """Return a check's findings; one that raises or takes too long has failed."""
    try:
        async with asyncio.timeout(check.limit_s):
            return await check.probe()
    except TimeoutError:
        return _all_failed(
            check, f"no answer within {check.limit_s:g} s", "Try again; something hangs or is overloaded"
        )
    except CryptoQuantError as problem:
        return [of_error(name, problem) for name in check.names]
    except Exception as problem:  # noqa: BLE001 - whatever it is, the other checks are still worth their answers
        return _all_failed(check, f"could not be checked: {type(problem).__name__}: {problem}", "")


def _all_failed(check: Check, found: str, remedy: str) -> list[Finding]:
    return [failed(name, found, remedy) for name in check.names]


async def ask_rest(url: str, request: Request, http: Http, clock: Clock) -> list[Finding]:
    """Return the verdicts on REST at ``url`` and on this machine's clock."""
    samples: list[machine.ClockSample] = []
    first: Finding | None = None
    for _ in range(_CLOCK_QUESTIONS):
        # uvloop's own time stands still within a turn of the loop, and has but milliseconds
        sent_ns = clock.now_ns()
        answer = await _asked(http, f"{url}{request.path}", request.params, request.headers)
        took_ns = max(0, clock.now_ns() - sent_ns)
        first = first or network.rest(without_passwords(url), answer, took_ns)
        if not isinstance(answer, HttpAnswer) or answer.status != 200:
            break
        try:
            samples.append(machine.ClockSample(sent_ns, took_ns, parse_server_time(answer.body)))
        except CryptoQuantError:
            break
    assert first is not None  # noqa: S101 - it is asked once at least
    return [first, machine.clock(samples)]


async def ask_archive(url: str, http: Http) -> list[Finding]:
    """Return the verdict on the archive at ``url``."""
    started = asyncio.get_running_loop().time()
    answer = await _asked(http, url + OLD_CHECKSUM, {}, {})
    took_ns = int((asyncio.get_running_loop().time() - started) * 1e9)
    return [network.archive(without_passwords(url), answer, took_ns)]


async def shake_hands(url: str, connector: Connector) -> list[Finding]:
    """Return the verdict on a WebSocket at ``url``."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    problem: CryptoQuantError | None = None
    status = None
    try:
        link = await connector.connect(url, _Nobody())
        link.abort()
    except CryptoQuantError as error:
        problem = error
        status = error.status if isinstance(error, LinkLost) else None
    took_ns = int((loop.time() - started) * 1e9)
    return [network.websocket(without_passwords(url), problem, took_ns, status=status)]


async def _asked(
    http: Http, url: str, params: Mapping[str, str], headers: Mapping[str, str]
) -> HttpAnswer | CryptoQuantError:
    try:
        return await http.get(url, params, headers)
    except CryptoQuantError as problem:
        return problem


class _Nobody:
    """Who hears nothing of what a link brings."""

    def on_texts(self, payloads: Sequence[bytes]) -> None: ...
    def on_ping(self, payload: bytes) -> None: ...
    def on_closed(self, code: int, reason: str) -> None: ...
