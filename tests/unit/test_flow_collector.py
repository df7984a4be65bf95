"""Links that end in every way, and the collector that keeps them up."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
from flow_doubles import FakeConnector, FakeLink, Journal, ListTaker, SetClock, agg_frame, until

from crypto_quant import events
from crypto_quant.binance import wire
from crypto_quant.binance.decode import decode
from crypto_quant.binance.session import Session, SessionLimits
from crypto_quant.binance.venues import venue_spec
from crypto_quant.errors import LinkLost, Throttled
from crypto_quant.flow import collector as collector_module
from crypto_quant.flow.collector import BinanceWSCollector
from crypto_quant.flow.stats import PipelineStats
from crypto_quant.market import Venue
from crypto_quant.seams import Link, LinkHandler

ACK = b'{"result":null,"id":1}'
OVERLAP_S = 0.02
SHUTDOWN = b'{"e":"serverShutdown","E":5}'


def link_messages(payload: bytes) -> wire.Message | None:
    """Hand to the collector what an intake would."""
    message = decode(payload)
    return message if isinstance(message, wire.Reply | wire.ServerShutdown) else None


class Bench:
    """A collector on fake links, with the journal of what it told."""

    def __init__(
        self,
        connector: Any = None,
        plan: Sequence[tuple[str, ...]] = (("btcusdt@aggTrade",),),
        taker: Any = None,
        redundancy: int = 1,
        overlap_s: float = OVERLAP_S,
    ) -> None:
        self.connector = connector or FakeConnector()
        self.journal = Journal()
        self.stats = PipelineStats(0)
        self.taker = taker or ListTaker(link_messages)
        self.collector = BinanceWSCollector(
            venue_spec(Venue.SPOT),
            plan,
            self.taker,
            ws_url="ws://exchange",
            connector=self.connector,
            clock=SetClock(),
            stats=self.stats,
            emit=self.journal,
            rng=random.Random(1),  # noqa: S311
            redundancy=redundancy,
            limits=SessionLimits(overlap_s=overlap_s),
        )

    @property
    def link(self) -> FakeLink:
        link: FakeLink = self.connector.links[-1]
        return link

    async def links(self, count: int) -> FakeLink:
        await until(lambda: len(self.connector.links) >= count and self.link.sent)
        return self.link

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        task = asyncio.create_task(self.collector.run())
        try:
            yield task
        finally:
            self.collector.close()
            await asyncio.wait({task}, timeout=1)
            task.cancel()
            await asyncio.wait({task})


@pytest.fixture(autouse=True)
def short_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collector_module, "_GOODBYE_S", 0.03)
    monkeypatch.setattr(collector_module, "Backoff", partial(collector_module.Backoff, base_s=0.001, cap_s=0.01))
    monkeypatch.setattr(collector_module, "Pacer", partial(collector_module.Pacer, gap_ns=1000))


def patient(monkeypatch: pytest.MonkeyPatch, **limits: float) -> None:
    monkeypatch.setattr(collector_module, "Session", lambda *a: Session(*a[:3], SessionLimits(**limits)))


async def test_it_connects_subscribes_and_takes_frames() -> None:
    bench = Bench()
    async with bench.running():
        link = await bench.links(1)
        assert link.url == "ws://exchange/stream?timeUnit=MICROSECOND"
        assert json.loads(link.sent[0]) == {"method": "SUBSCRIBE", "params": ["btcusdt@aggTrade"], "id": 1}
        link.say(agg_frame(1))  # data may come before the acknowledgement
        link.say(ACK)
        await until(lambda: bench.journal.of(events.Subscribed))
        assert bench.taker.payloads == [agg_frame(1), ACK]
        assert bench.stats.links == 1
        opened = bench.journal.of(events.LinkOpened)[0]
        assert (opened.link, opened.streams, opened.url) == (1, 1, link.url)


async def test_each_link_of_the_plan_has_its_own_streams() -> None:
    bench = Bench(plan=[("a@aggTrade", "b@aggTrade"), ("c@kline_1m",)])
    async with bench.running():
        await until(lambda: len(bench.connector.links) == 2 and all(link.sent for link in bench.connector.links))
        names = sorted(json.loads(link.sent[0])["params"] for link in bench.connector.links)
        assert names == [["a@aggTrade", "b@aggTrade"], ["c@kline_1m"]]
        assert bench.stats.links == 2


async def test_a_ping_is_answered_at_once_with_its_own_payload() -> None:
    bench = Bench()
    async with bench.running():
        link = await bench.links(1)
        for payload in (b"1790856000000", b"", b"\x00\xff"):
            link.ping(payload)
            assert link.pongs[-1] == payload


async def test_a_ping_before_the_link_is_up_is_answered_once_it_is() -> None:
    bench = Bench(FakeConnector([lambda link: link.ping(b"early")]))
    async with bench.running():
        link = await bench.links(1)
        assert link.pongs == [b"early"]


@pytest.mark.parametrize(("code", "reason"), [(1006, ""), (1000, ""), (1008, "Pong timeout"), (1001, "going")])
async def test_a_link_that_ends_is_replaced_and_told(code: int, reason: str) -> None:
    bench = Bench()
    async with bench.running():
        first = await bench.links(1)
        first.end(code, reason)
        second = await bench.links(2)
        assert second is not first
        assert json.loads(second.sent[0])["params"] == ["btcusdt@aggTrade"]
        ended = bench.journal.of(events.LinkEnded)
        assert [(e.code, e.reason) for e in ended] == [(code, reason)]
        again = bench.journal.of(events.ReconnectScheduled)[0]
        assert again.cause == (reason or f"closed with code {code}")
        assert (bench.stats.reconnects, bench.stats.links) == (1, 1)


async def test_failures_to_connect_are_retried_with_a_growing_count() -> None:
    bench = Bench(FakeConnector([LinkLost("refused")] * 4))
    async with bench.running():
        await bench.links(1)
    told = bench.journal.of(events.ReconnectScheduled)
    assert [event.attempt for event in told] == [1, 2, 3, 4]
    assert {event.cause for event in told} == {"refused"}
    assert bench.connector.attempts == 5


async def test_an_exchange_that_asks_for_a_pause_gets_it() -> None:
    bench = Bench(FakeConnector([Throttled("HTTP 429", retry_after_s=0.08)]))
    async with bench.running():
        await bench.links(1)
        waited = bench.connector.times[1] - bench.connector.times[0]
        assert waited >= 0.079
        assert bench.journal.of(events.ReconnectScheduled)[0].delay_s >= 0.08


async def test_a_shutdown_notice_replaces_the_link_with_a_goodbye() -> None:
    bench = Bench()
    async with bench.running():
        link = await bench.links(1)
        link.say(SHUTDOWN)
        second = await bench.links(2)
        second.say(ACK)
        await until(lambda: bench.journal.of(events.LinkReplaced))
        assert link.closed_with == 1000
        assert [event.cause for event in bench.journal.of(events.LinkExpiring)] == ["server shutdown"]
        assert [event.cause for event in bench.journal.of(events.LinkReplaced)] == ["server shutdown"]
        assert bench.journal.of(events.ReconnectScheduled) == bench.journal.of(events.LinkEnded) == []
        assert (bench.stats.rollovers, bench.stats.reconnects, bench.stats.links) == (1, 0, 1)


async def test_a_peer_that_does_not_say_goodbye_is_dropped() -> None:
    bench = Bench()
    async with bench.running():
        link = await bench.links(1)
        link.answers_close = False
        link.say(SHUTDOWN)
        (await bench.links(2)).say(ACK)
        await until(lambda: link.aborted)


async def test_frames_that_come_during_the_goodbye_are_taken() -> None:
    bench = Bench()
    async with bench.running():
        link = await bench.links(1)
        link.answers_close = False
        link.say(SHUTDOWN)
        (await bench.links(2)).say(ACK)
        await until(lambda: link.closed_with)
        link.say(agg_frame(9))
        assert bench.taker.payloads[-1] == agg_frame(9)


async def test_a_silent_link_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    patient(monkeypatch, silence_s=0.03)
    bench = Bench()
    async with bench.running():
        await bench.links(2)
        assert bench.journal.of(events.LinkSilent)
        assert bench.journal.of(events.ReconnectScheduled)[0].cause == "silence"


async def test_a_link_that_talks_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    patient(monkeypatch, silence_s=0.1)
    bench = Bench()
    async with bench.running():
        link = await bench.links(1)
        for number in range(15):
            link.say(agg_frame(number))
            await asyncio.sleep(0.01)
        assert len(bench.connector.links) == 1


async def test_a_refused_subscription_is_told_and_in_the_end_replaces_the_link(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    patient(monkeypatch, attempts=1)
    bench = Bench()
    async with bench.running():
        link = await bench.links(1)
        link.say(b'{"error":{"code":2,"msg":"Invalid request"},"id":1}')
        await bench.links(2)
        refused = bench.journal.of(events.SubscriptionRefused)[0]
        assert (refused.code, refused.reason, refused.streams) == (2, "Invalid request", ("btcusdt@aggTrade",))


# -- make before break ------------------------------------------------------------------------------------


async def test_the_old_link_stays_and_is_heard_until_the_new_one_has_run_beside_it() -> None:
    bench = Bench()
    async with bench.running():
        old = await bench.links(1)
        old.say(ACK)
        old.say(SHUTDOWN)
        new = await bench.links(2)
        await asyncio.sleep(3 * OVERLAP_S)
        assert not old.ended  # connected is not subscribed
        old.say(agg_frame(1))
        new.say(ACK)
        new.say(agg_frame(3))  # it is ahead: what lies between is still on its way over the old link
        old.say(agg_frame(2))
        old.say(agg_frame(3))
        assert [p for p in bench.taker.payloads if p.startswith(b'{"stream"')] == [agg_frame(n) for n in (1, 2, 3)]
        await until(lambda: old.ended)
        taken = [p for p in bench.taker.payloads if p.startswith(b'{"stream"')]
        assert taken == [agg_frame(n) for n in (1, 2, 3, 3)]
        new.say(agg_frame(4))
        assert bench.taker.payloads[-1] == agg_frame(4)
        assert bench.stats.links == 1


async def test_a_new_link_that_cannot_be_had_leaves_the_old_one_where_it_is() -> None:
    bench = Bench(FakeConnector([None, LinkLost("refused"), LinkLost("refused"), lambda link: link.end(1008, "no")]))
    async with bench.running():
        old = await bench.links(1)
        old.say(SHUTDOWN)
        await until(lambda: bench.connector.attempts == 5)
        assert not old.ended
        assert bench.stats.reconnects == bench.stats.rollovers == 0
        assert [told.attempt for told in bench.journal.of(events.ReconnectScheduled)] == [1, 2, 3]
        old.say(agg_frame(1))
        assert bench.taker.payloads[-1] == agg_frame(1)
        await until(lambda: bench.link.sent)
        bench.link.say(ACK)
        await until(lambda: old.ended)
        assert bench.stats.rollovers == 1


async def test_an_old_link_that_ends_before_its_time_hands_over_what_the_new_one_held() -> None:
    bench = Bench(overlap_s=5.0)
    async with bench.running():
        old = await bench.links(1)
        old.say(SHUTDOWN)
        new = await bench.links(2)
        new.say(ACK)
        new.say(agg_frame(7))
        assert agg_frame(7) not in bench.taker.payloads
        old.end()
        await until(lambda: agg_frame(7) in bench.taker.payloads, within_s=1)
        await until(lambda: bench.stats.links == 1)
        assert (bench.stats.rollovers, bench.stats.reconnects) == (1, 0)
        assert len(bench.connector.links) == 2


@pytest.mark.parametrize("data", [False, True])
async def test_a_new_link_that_is_refused_its_streams_does_not_take_over(
    monkeypatch: pytest.MonkeyPatch, data: bool
) -> None:
    patient(monkeypatch, attempts=1)
    bench = Bench()
    async with bench.running():
        old = await bench.links(1)
        old.say(SHUTDOWN)
        new = await bench.links(2)
        if data:  # of a part of its streams
            new.say(agg_frame(1))
            new.say(b'{"result":null,"id":99}')  # wakes its driver, which tells the session of the data
            await asyncio.sleep(0.01)
        new.say(b'{"error":{"code":2,"msg":"Invalid request"},"id":1}')
        third = await bench.links(3)
        assert new.ended
        assert not old.ended
        third.say(ACK)
        await until(lambda: old.ended)


async def test_nothing_is_handed_over_while_reading_is_paused() -> None:
    bench = Bench()
    async with bench.running():
        old = await bench.links(1)
        old.say(SHUTDOWN)
        new = await bench.links(2)
        new.say(ACK)
        bench.collector.pause()
        await asyncio.sleep(4 * OVERLAP_S)
        assert not old.ended  # what stands in its socket has not been read
        bench.collector.resume()
        old.say(agg_frame(1))
        await until(lambda: old.ended)


async def test_the_drain_closes_both_links_of_a_handover() -> None:
    bench = Bench()
    async with bench.running() as task:
        old = await bench.links(1)
        old.say(SHUTDOWN)
        new = await bench.links(2)
        bench.collector.stop_accepting()
        bench.collector.close()
        await asyncio.wait_for(task, 1)
        assert old.closed_with == new.closed_with == 1000
        assert bench.stats.links == 0


async def test_a_dead_link_is_replaced_without_waiting_for_its_goodbye(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collector_module, "_GOODBYE_S", 60.0)
    patient(monkeypatch, silence_s=0.03)
    bench = Bench()
    async with bench.running():
        link = await bench.links(1)
        link.answers_close = False
        await bench.links(2)
        assert link.aborted


# -- several links for the same streams -------------------------------------------------------------------


async def test_redundant_links_carry_the_same_streams_and_are_told_apart() -> None:
    tags: list[int] = []

    class Tagged(ListTaker):
        def frames(self, payloads: Sequence[bytes], received_ns: int, link: int = 0) -> list[wire.Message]:
            tags.extend(link for payload in payloads if payload.startswith(b'{"stream"'))
            return super().frames(payloads, received_ns, link)

    bench = Bench(redundancy=2, taker=Tagged(link_messages))
    async with bench.running():
        await until(lambda: len(bench.connector.links) == 2 and all(link.sent for link in bench.connector.links))
        first, second = bench.connector.links
        assert first.sent == second.sent
        assert sorted(told.link for told in bench.journal.of(events.LinkOpened)) == [1, 2]
        for link in (first, second):
            link.say(ACK)
        await asyncio.sleep(2 * OVERLAP_S)
        first.say(agg_frame(1))
        second.say(agg_frame(1))
        assert len(set(tags)) == 2
        assert 0 not in tags
        second.end()
        await until(lambda: bench.stats.links == 1)
        first.say(agg_frame(2))
        assert tags[-1] == 0  # alone again


async def test_two_redundant_links_are_not_rolled_over_at_once() -> None:
    bench = Bench(redundancy=2)
    async with bench.running():
        await until(lambda: len(bench.connector.links) == 2 and all(link.sent for link in bench.connector.links))
        for link in list(bench.connector.links):
            link.say(ACK)
            link.say(SHUTDOWN)
        await until(lambda: len(bench.connector.links) == 3)
        await asyncio.sleep(0.15)
        assert len(bench.connector.links) == 3  # the second waits for the first to have been replaced
        await bench.links(3)
        bench.link.say(ACK)
        (await bench.links(4)).say(ACK)
        await until(lambda: [link.ended for link in bench.connector.links] == [True, True, False, False])
        assert bench.stats.rollovers == 2


# -- pausing ----------------------------------------------------------------------------------------------


async def test_reading_stops_and_goes_on_also_on_links_that_come_later(monkeypatch: pytest.MonkeyPatch) -> None:
    patient(monkeypatch, silence_s=0.05)
    bench = Bench()
    async with bench.running():
        link = await bench.links(1)
        bench.collector.pause()
        assert not link.reading
        await asyncio.sleep(0.1)
        assert len(bench.connector.links) == 1  # its silence is ours
        link.end()
        second = await bench.links(2)
        assert not second.reading
        bench.collector.resume()
        assert second.reading


async def test_a_paused_link_that_gives_way_is_not_read_again() -> None:
    """All that lies unread would come in, past the limit of what may wait in memory."""
    bench = Bench()
    async with bench.running():
        link = await bench.links(1)
        bench.taker.act = lambda _: wire.ServerShutdown(E=1)
        link.say(b"{}")
        bench.collector.pause()
        await bench.links(2)
        await asyncio.sleep(0.05)
        # nothing is handed over while nobody reads
        assert not link.ended
        assert link.closed_with is None
        assert not link.reading


async def test_a_pause_hands_on_what_a_newcomer_holds() -> None:
    """It would wait in memory and not count, and come upon the rest when that is full."""
    bench = Bench()
    async with bench.running():
        old = await bench.links(1)
        old.say(agg_frame(1))
        old.say(b'{"e":"serverShutdown","E":5}')
        new = await bench.links(2)
        new.say(agg_frame(3))
        assert bench.collector.held == 1
        assert bench.taker.payloads[-1] != agg_frame(3)
        bench.collector.pause()
        assert bench.collector.held == 0
        assert bench.taker.payloads[-1] == agg_frame(3)


async def test_after_stop_accepting_no_frame_is_taken_and_the_link_stays() -> None:
    bench = Bench()
    async with bench.running():
        link = await bench.links(1)
        bench.collector.stop_accepting()
        link.say(agg_frame(1))
        assert bench.taker.payloads == []
        assert not link.reading
        assert not link.ended


# -- ending -----------------------------------------------------------------------------------------------


async def test_close_says_goodbye_and_ends_the_run() -> None:
    bench = Bench()
    async with bench.running() as task:
        link = await bench.links(1)
        bench.collector.stop_accepting()
        bench.collector.close()
        await asyncio.wait_for(task, 1)
        assert link.closed_with == 1000
        assert link.reading  # else the peer's answer could not be read
        assert bench.stats.links == 0
        assert len(bench.connector.links) == 1


async def test_close_while_waiting_to_reconnect_ends_at_once() -> None:
    bench = Bench(FakeConnector([Throttled("HTTP 429", retry_after_s=60.0)]))
    async with bench.running() as task:
        await until(lambda: bench.journal.of(events.ReconnectScheduled))
        bench.collector.close()
        await asyncio.wait_for(task, 0.5)


async def test_close_while_paced_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collector_module, "Pacer", partial(collector_module.Pacer, gap_ns=60_000_000_000))
    bench = Bench(plan=[("a@aggTrade",), ("b@aggTrade",)])
    async with bench.running() as task:
        await bench.links(1)
        bench.collector.close()
        await asyncio.wait_for(task, 0.5)
        assert len(bench.connector.links) == 1


class SlowConnector(FakeConnector):
    """Opens a link only when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.waiting = asyncio.Event()

    async def connect(self, url: str, handler: LinkHandler) -> Link:
        self.waiting.set()
        await self.gate.wait()
        return await super().connect(url, handler)


async def test_close_while_connecting_ends_at_once() -> None:
    bench = Bench(SlowConnector())
    async with bench.running() as task:
        await bench.connector.waiting.wait()
        bench.collector.close()
        await asyncio.wait_for(task, 0.5)
        assert bench.stats.links == 0


async def test_a_link_that_opens_in_the_moment_of_closing_is_closed_too() -> None:
    bench = Bench()
    bench.connector.script.append(lambda _: bench.collector.close())
    async with bench.running() as task:
        await asyncio.wait_for(task, 0.5)
    for link in bench.connector.links:
        assert link.ended


async def test_a_link_that_ends_before_it_is_used_is_replaced() -> None:
    bench = Bench(FakeConnector([lambda link: link.end(1008, "no")]))
    async with bench.running():
        await bench.links(2)
        assert bench.journal.of(events.LinkEnded)[0].code == 1008


def bug(payload: bytes) -> wire.Message | None:
    raise ZeroDivisionError("bug")


@pytest.mark.parametrize("early", [False, True])
async def test_a_bug_in_the_taker_ends_the_run_loudly(early: bool) -> None:
    greet: Callable[[FakeLink], None] | None = (lambda link: link.say(agg_frame(1))) if early else None
    bench = Bench(FakeConnector([greet]), taker=ListTaker(bug))
    task = asyncio.create_task(bench.collector.run())
    if not early:
        await bench.links(1)
        bench.link.say(agg_frame(1))
    await asyncio.wait({task}, timeout=1)
    with pytest.raises(ExceptionGroup) as caught:
        task.result()
    assert caught.group_contains(ZeroDivisionError)
    assert bench.link.ended
    assert bench.stats.links == 0


async def test_cancelling_the_run_drops_every_link() -> None:
    bench = Bench(plan=[("a@aggTrade",), ("b@aggTrade",)])
    task = asyncio.create_task(bench.collector.run())
    await until(lambda: len(bench.connector.links) == 2)
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait({task})
    assert all(link.ended for link in bench.connector.links)
    assert bench.stats.links == 0


async def test_a_reply_before_the_link_is_up_counts() -> None:
    bench = Bench(FakeConnector([lambda link: link.say(b'{"result":null,"id":99}')]))
    async with bench.running():
        link = await bench.links(1)
        link.say(ACK)
        await until(lambda: bench.journal.of(events.Subscribed))
