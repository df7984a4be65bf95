"""Verdicts on REST, WebSocket and archive."""

import pytest

from crypto_quant.diagnosis import network
from crypto_quant.errors import ExchangeUnavailable, LinkLost, Throttled
from crypto_quant.seams import HttpAnswer

URL = "https://exchange"
TIME = b'{"serverTime":1790856000123}'
SLOW = network.SLOW_NS


def answer(status: int, body: bytes = b"") -> HttpAnswer:
    return HttpAnswer(status, {}, body)


@pytest.mark.parametrize(("given", "took_ns", "verdict", "words"), [
    (answer(200, TIME), SLOW, "ok", "2,000 ms"),
    (answer(200, TIME), SLOW + 1, "warning", "slow"),
    (answer(200, b' { "serverTime": 1790856000123456 } '), 0, "ok", "0 ms"),
    (answer(200, b"<html>Log in to this hotel</html>"), 0, "failed", "Somebody else"),
    (answer(451), 0, "failed", "binance.vision"),
    (answer(403), 0, "failed", "five minutes"),
    (answer(404), 0, "failed", "--venue"),
    (answer(407), 0, "failed", "HTTPS_PROXY"),
    (answer(418), 0, "failed", "banned"),
    (answer(429), 0, "failed", "too many requests"),
    (answer(500), 0, "failed", "in trouble"),
    (answer(503), 0, "failed", "in trouble"),
    (answer(302), 0, "failed", "Somebody else"),
    (ExchangeUnavailable("no answer (x)", subject=f"{URL}/time", hint="Do y"), 0, "failed", "Do y"),
    (ExchangeUnavailable("no answer (x)", subject=f"{URL}/time"), 0, "failed", "firewall"),
])  # fmt: skip
def test_rest(given: HttpAnswer | ExchangeUnavailable, took_ns: int, verdict: str, words: str) -> None:
    found = network.rest(URL, given, took_ns)
    assert (found.check, found.verdict) == ("rest", verdict)
    assert URL in found.found
    assert words in f"{found.found} {found.remedy}"


@pytest.mark.parametrize(("problem", "status", "verdict", "words"), [
    (None, None, "ok", "ms"),
    (LinkLost("refused", subject=URL, status=451), 451, "failed", "restricted location"),
    (LinkLost("refused", subject=URL, status=403), 403, "failed", "five minutes"),
    (LinkLost("cannot connect (timed out)", subject=URL), None, "failed", "firewall"),
    (LinkLost("the certificate is refused: x", subject=URL, hint="SSL_CERT_FILE"), None, "failed", "SSL_CERT_FILE"),
    (Throttled("answered with HTTP 429", subject=URL, retry_after_s=1234.5), None, "failed", "Wait 1,234 s"),
])  # fmt: skip
def test_websocket(problem: LinkLost | Throttled | None, status: int | None, verdict: str, words: str) -> None:
    found = network.websocket(URL, problem, 5_000_000, status=status)
    assert (found.check, found.verdict) == ("websocket", verdict)
    assert words in f"{found.found} {found.remedy}"


@pytest.mark.parametrize(("ways", "found"), [
    ({"REST": "", "WebSocket": ""}, "none, all is reached directly"),
    ({"REST": "http://p (A)", "WebSocket": "http://p (A)"}, "http://p (A) for REST, WebSocket"),
    ({"REST": "http://p (A)", "WebSocket": "", "archive": "http://q (B)"},
     "http://p (A) for REST; http://q (B) for archive; none for WebSocket"),
])  # fmt: skip
def test_the_proxy_of_each_way_is_named(ways: dict[str, str], found: str) -> None:
    assert network.proxy(ways).found == found
    assert network.proxy(ways).verdict == "ok"


@pytest.mark.parametrize(("given", "verdict", "words"), [
    (answer(200, b"a" * 64 + b"  x.zip\n"), "ok", "ms"),
    (answer(200, b"a" * 63 + b"  x.zip\n"), "warning", "Somebody else"),
    (answer(200, b"a" * 65 + b"  x.zip\n"), "warning", "Somebody else"),
    (answer(200, b"<html>"), "warning", "Somebody else"),
    (answer(404), "warning", "it answers, but has not"),
    (answer(451), "warning", "restricted location"),
    (ExchangeUnavailable("no answer (x)", subject=URL, hint="Do y"), "warning", "Do y"),
])  # fmt: skip
def test_an_archive_that_lacks_stops_no_recording(
    given: HttpAnswer | ExchangeUnavailable, verdict: str, words: str
) -> None:
    found = network.archive(URL, given, 5_000_000)
    assert (found.check, found.verdict) == ("archive", verdict)
    assert words in f"{found.found} {found.remedy}"
