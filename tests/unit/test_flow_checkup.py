"""The checks as they run: each for itself, whatever becomes of the others."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from crypto_quant.binance.history import time_request
from crypto_quant.binance.venues import venue_spec
from crypto_quant.diagnosis.finding import Finding, ok
from crypto_quant.errors import ExchangeUnavailable, LinkLost, StoreDenied, Throttled
from crypto_quant.flow.checkup import OLD_CHECKSUM, Check, ask_archive, ask_rest, run, shake_hands
from crypto_quant.market import Venue
from crypto_quant.seams import HttpAnswer, Link, LinkHandler

S = 1_000_000_000
NOW = 1_790_856_000 * S


def check(*names: str, raises: BaseException | None = None, waits: bool = False, limit_s: float = 30.0) -> Check:
    async def probe() -> Sequence[Finding]:
        if waits:
            await asyncio.Event().wait()
        if raises is not None:
            raise raises
        return [ok(name, "fine") for name in names]

    return Check(names, limit_s, probe)


async def test_none_hides_another() -> None:
    found = await run([
        check("first"),
        check("denied", raises=StoreDenied("no", subject="db", hint="GRANT it")),
        check("broken", "broken too", raises=ZeroDivisionError("oh")),
        check("hangs", waits=True, limit_s=0.01),
        check("late", raises=TimeoutError()),
        check("last"),
    ])  # fmt: skip
    assert [(each.check, each.verdict) for each in found] == [
        ("first", "ok"), ("denied", "failed"), ("broken", "failed"), ("broken too", "failed"), ("hangs", "failed"),
        ("late", "failed"), ("last", "ok"),
    ]  # fmt: skip
    assert found[1] == Finding("denied", found[1].verdict, "no: db", "GRANT it")
    assert "ZeroDivisionError: oh" in found[2].found
    assert "no answer within 0.01 s" in found[4].found


async def test_they_run_at_once() -> None:
    """The first waits for what the second does: one after the other they would never end."""
    done = asyncio.Event()

    async def waits() -> Sequence[Finding]:
        await done.wait()
        return [ok("first", "")]

    async def lets() -> Sequence[Finding]:
        done.set()
        return [ok("second", "")]

    assert [each.verdict for each in await run([Check(("first",), 30, waits), Check(("second",), 30, lets)])] == [
        "ok"
    ] * 2


async def test_being_cancelled_is_no_finding() -> None:
    task = asyncio.create_task(run([check("hangs", waits=True)]))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


class Exchange:
    """HTTP that answers from a list, each time after ``takes_ns``, and a wall clock."""

    def __init__(self, *answers: HttpAnswer | Exception, takes_ns: int = 0) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []
        self.takes_ns = takes_ns
        self.passed_ns = 0

    def now_ns(self) -> int:
        return NOW + self.passed_ns

    async def get(self, url: str, params: Mapping[str, str], headers: Mapping[str, str]) -> HttpAnswer:
        self.asked.append(url)
        self.passed_ns += self.takes_ns
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def download(self, url: str, into: Path) -> HttpAnswer:
        raise NotImplementedError


def told(ms: int) -> HttpAnswer:
    return HttpAnswer(200, {}, b'{"serverTime":%d}' % ms)


async def rest_of(*answers: HttpAnswer | Exception) -> tuple[list[Finding], Exchange]:
    exchange = Exchange(*answers)
    return await ask_rest("https://x", time_request(venue_spec(Venue.SPOT)), exchange, exchange), exchange


async def test_rest_is_asked_for_its_time_thrice() -> None:
    (rest, clock), exchange = await rest_of(*[told(NOW // 1_000_000 + 5000)] * 3)
    assert exchange.asked == ["https://x/api/v3/time"] * 3
    assert (rest.verdict, clock.verdict) == ("ok", "warning")
    assert clock.found.startswith("5.000 s behind the exchange, give or take 0.000 s")


async def test_the_time_is_taken_half_way() -> None:
    exchange = Exchange(*[told(NOW // 1_000_000 + at) for at in (50, 150, 250)], takes_ns=S // 10)
    rest, clock = await ask_rest("https://x", time_request(venue_spec(Venue.SPOT)), exchange, exchange)
    assert clock.found == "0.000 s ahead of the exchange, give or take 0.050 s"
    assert rest.found.startswith("100 ms")


async def test_rest_that_refuses_tells_no_time() -> None:
    (rest, clock), exchange = await rest_of(HttpAnswer(451, {}, b""))
    assert (rest.verdict, clock.verdict) == ("failed", "skipped")
    assert len(exchange.asked) == 1


async def test_a_password_in_an_address_is_not_shown() -> None:
    for answer in (told(NOW // 1_000_000), HttpAnswer(404, {}, b"")):
        exchange = Exchange(*[answer] * 3)
        asked = time_request(venue_spec(Venue.SPOT))
        for finding in (
            *await ask_rest("https://me:secret@x", asked, exchange, exchange),
            *await ask_archive("https://me:secret@x", Exchange(answer)),
            *await shake_hands("wss://me:secret@x", Line(LinkLost("refused"))),
        ):
            assert "secret" not in f"{finding.found} {finding.remedy}"


async def test_rest_that_ends_after_the_first_answer_is_judged_by_that() -> None:
    (rest, clock), _ = await rest_of(told(NOW // 1_000_000), ExchangeUnavailable("gone"))
    assert (rest.verdict, clock.verdict) == ("ok", "ok")


async def test_what_is_not_the_exchange_tells_no_time() -> None:
    (rest, clock), _ = await rest_of(HttpAnswer(200, {}, b"<html>"))
    assert (rest.verdict, clock.verdict) == ("failed", "skipped")


async def test_the_archive_is_asked_for_an_old_checksum() -> None:
    exchange = Exchange(HttpAnswer(200, {}, b"0" * 64))
    assert [each.verdict for each in await ask_archive("https://x", exchange)] == ["ok"]
    assert exchange.asked == [f"https://x{OLD_CHECKSUM}"]


class Line:
    """A connector whose link is only ever dropped, or that fails."""

    def __init__(self, problem: Exception | None = None) -> None:
        self.problem = problem
        self.dropped = False

    async def connect(self, url: str, handler: LinkHandler) -> Link:
        if self.problem is not None:
            raise self.problem
        return self  # type: ignore[return-value]

    def abort(self) -> None:
        self.dropped = True


@pytest.mark.parametrize(("problem", "words"), [
    (LinkLost("x", status=451), "HTTP 451"), (LinkLost("cannot connect (x)"), "cannot connect"),
    (Throttled("HTTP 418", retry_after_s=9), "HTTP 418"),
])  # fmt: skip
async def test_a_handshake_that_fails(problem: Exception, words: str) -> None:
    (found,) = await shake_hands("wss://x", Line(problem))
    assert found.verdict == "failed"
    assert words in found.found


async def test_a_handshake_that_succeeds_leaves_no_link_behind() -> None:
    line = Line()
    (found,) = await shake_hands("wss://x", line)
    assert found.verdict == "ok"
    assert line.dropped
