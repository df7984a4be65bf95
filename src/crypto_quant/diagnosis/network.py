"""Verdicts on the ways to the exchange: REST, WebSocket, archive; causes are told apart as far as they can be."""

import re
from collections.abc import Mapping

from crypto_quant.diagnosis.finding import Finding, failed, ok, warning
from crypto_quant.errors import CryptoQuantError, Throttled
from crypto_quant.seams import HttpAnswer

# beyond it an answer is late enough to be worth a look
SLOW_NS = 2_000_000_000
_SERVER_TIME = re.compile(rb'\s*\{\s*"serverTime"\s*:\s*\d{13,16}\s*\}\s*')
_CHECKSUM = re.compile(rb"[0-9a-f]{64}\b")
_SOMEBODY_ELSE = "Somebody else answers there: a proxy, a captive portal, or the URL of another service"
# HTTP status -> why, and what to do (451: ccxt#16044; 403: Binance support article 360004492232)
_REFUSALS = {
    403: (
        "refused by a firewall",
        "Too many requests block an address for some five minutes: wait. If it stays, a proxy or the network refuses",
    ),
    404: ("there is no such thing", "Check the URL, and that --venue is the one it belongs to"),
    407: ("the proxy wants a name and a password", "Set HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT"),
    418: ("this address is banned for too many requests", "Wait: a ban lasts two minutes to three days"),
    429: ("too many requests", "Wait a minute; another program may share this address"),
    451: (
        "restricted location: the exchange does not serve the country of this address",
        "The *.binance.vision hosts, the default of spot, often answer where others do not; else record from elsewhere",
    ),
}


def rest(url: str, answer: HttpAnswer | CryptoQuantError, took_ns: int) -> Finding:
    """Judge the answer to a question for the time, or the error in its place."""
    if isinstance(answer, CryptoQuantError):
        return _unreachable("rest", url, answer)
    if answer.status != 200:
        return _refused("rest", url, answer.status)
    if _SERVER_TIME.fullmatch(answer.body) is None:
        return failed("rest", f"no answer of the exchange: {url}", _SOMEBODY_ELSE)
    return _reached("rest", url, took_ns)


def proxy(ways: Mapping[str, str]) -> Finding:
    """Name the proxy of each of these ways to the exchange; an empty one is a way without."""
    through: dict[str, list[str]] = {}
    for way, name in ways.items():
        through.setdefault(name, []).append(way)
    direct = through.pop("", [])
    told = [f"{name} for {', '.join(served)}" for name, served in through.items()]
    if not told:
        return ok("proxy", "none, all is reached directly")
    return ok("proxy", "; ".join([*told, f"none for {', '.join(direct)}"] if direct else told))


def websocket(url: str, problem: CryptoQuantError | None, took_ns: int, *, status: int | None) -> Finding:
    """Judge a handshake: the error in its place, and the HTTP ``status`` where one was answered."""
    if problem is None:
        return _reached("websocket", url, took_ns)
    if isinstance(problem, Throttled):
        wait = f"Wait {problem.retry_after_s:,.0f} s; another program may share this address"
        return failed("websocket", f"{problem.what}: {url}", wait)
    return _unreachable("websocket", url, problem) if status is None else _refused("websocket", url, status)


def archive(url: str, answer: HttpAnswer | CryptoQuantError, took_ns: int) -> Finding:
    """Judge the answer to a question for one old file's checksum. Without an archive all but old days is recorded."""
    if isinstance(answer, CryptoQuantError):
        found = _unreachable("archive", url, answer)
    elif answer.status == 404:
        return warning(
            "archive",
            f"it answers, but has not the file that was asked for: {url}",
            "Days that it has not are loaded over REST, slowly. Check --archive-url",
        )
    elif answer.status != 200:
        found = _refused("archive", url, answer.status)
    elif _CHECKSUM.match(answer.body) is None:
        found = failed("archive", f"no answer of an archive: {url}", _SOMEBODY_ELSE)
    else:
        return _reached("archive", url, took_ns)
    # recording goes on without it, and backfill of old days does not
    return warning("archive", found.found, found.remedy)


def _reached(check: str, url: str, took_ns: int) -> Finding:
    found = f"{took_ns / 1e6:,.0f} ms, {url}"
    if took_ns > SLOW_NS:
        return warning(check, found, "The way there is slow: try again, then look for a loaded line or a proxy")
    return ok(check, found)


def _refused(check: str, url: str, status: int) -> Finding:
    if status >= 500:
        why, remedy = "the exchange is in trouble", "Try again; the exchange's status page tells of maintenance"
    else:
        why, remedy = _REFUSALS.get(status, ("not what was expected", _SOMEBODY_ELSE))
    return failed(check, f"HTTP {status}, {why}: {url}", remedy)


def _unreachable(check: str, url: str, problem: CryptoQuantError) -> Finding:
    return failed(
        check,
        f"{problem.what}: {problem.subject or url}",
        problem.hint or "Check that this machine reaches the internet, and that no firewall is in between",
    )
