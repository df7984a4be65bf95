"""Faults on command: as calls, and over the control channel of a running exchange."""

import asyncio
import json
import time

import aiohttp
import pytest
from sim_world import NOON, Client, Socket, tape

from crypto_quant.errors import ConfigError
from crypto_quant.sim import MAX, Limits, SimulatedExchange


def numbers(messages: list[dict[str, int]]) -> list[int]:
    return [one["a"] for one in messages]


async def drained(socket: Socket) -> list[int]:
    """The aggregate ids of everything that has arrived."""
    out = []
    try:
        while True:
            out.append((await socket.message(0.2))["a"])
    except TimeoutError:
        return out


# -- events: what is sent instead -------------------------------------------------------------------------


async def finite(client: Client, exchange: SimulatedExchange) -> list[int]:
    socket = await client.open(f"{exchange.ws_url}/ws/btcusdt@aggTrade")
    await asyncio.wait_for(exchange.finished(), 10)
    return await drained(socket)


async def test_skipped_events_are_still_in_rest(client: Client) -> None:
    async with SimulatedExchange(tape(seconds=3), speed=MAX, hold_until_subscribed=True) as exchange:
        exchange.faults.skip(3, symbol="BTCUSDT")
        received = await finite(client, exchange)
        truth = [one.agg_id for one in exchange.agg_trades("BTCUSDT")]
        assert received == truth[3:]
        url = f"{exchange.rest_url}/api/v3/aggTrades?symbol=BTCUSDT&fromId={truth[0]}&limit=3"
        assert numbers((await client.get(url))[1]) == truth[:3]


async def test_duplicates(client: Client) -> None:
    async with SimulatedExchange(tape(seconds=3), speed=MAX, hold_until_subscribed=True) as exchange:
        exchange.faults.duplicate(2)
        received = await finite(client, exchange)
        truth = [one.agg_id for one in exchange.agg_trades("BTCUSDT")]
        assert received == [truth[0], truth[0], truth[1], truth[1], *truth[2:]]


async def test_reordering(client: Client) -> None:
    async with SimulatedExchange(tape(seconds=3), speed=MAX, hold_until_subscribed=True) as exchange:
        exchange.faults.reorder(2, stream="btcusdt@aggTrade")
        received = await finite(client, exchange)
        truth = [one.agg_id for one in exchange.agg_trades("BTCUSDT")]
        assert received == [truth[1], truth[0], truth[3], truth[2], *truth[4:]]


async def test_a_missing_final_candle(client: Client) -> None:
    async with SimulatedExchange(tape(seconds=130), speed=MAX, hold_until_subscribed=True, tail_s=0) as exchange:
        exchange.faults.missing_final_candle(1, stream="btcusdt@kline_1m")
        socket = await client.open(f"{exchange.ws_url}/ws/btcusdt@kline_1m/ethusdt@kline_1m")
        await asyncio.wait_for(exchange.finished(), 10)
        final = [socket_told["k"] for socket_told in await all_of(socket) if socket_told["k"]["x"]]
        assert [(one["s"], one["t"] - NOON // 1000) for one in final] == [
            ("ETHUSDT", 60_000 * 0), ("BTCUSDT", 60_000), ("ETHUSDT", 60_000),
        ]  # fmt: skip
        # the exchange knows it all the same
        assert [one.open_us - NOON for one in exchange.klines("BTCUSDT", "1m")] == [0, 60_000_000]


async def all_of(socket: Socket) -> list[dict[str, dict[str, int]]]:
    out = []
    try:
        while True:
            out.append(await socket.message(0.2))
    except TimeoutError:
        return out


async def test_clear_ends_what_has_not_struck(client: Client) -> None:
    async with SimulatedExchange(tape(seconds=2), speed=MAX, hold_until_subscribed=True) as exchange:
        exchange.faults.skip(100)
        exchange.faults.clear()
        assert await finite(client, exchange) == [one.agg_id for one in exchange.agg_trades("BTCUSDT")]


# -- links ------------------------------------------------------------------------------------------------


async def test_dropped_links_get_no_goodbye(client: Client) -> None:
    async with SimulatedExchange(tape()) as exchange:
        bitcoin = await client.open(f"{exchange.ws_url}/ws/btcusdt@aggTrade")
        ether = await client.open(f"{exchange.ws_url}/ws/ethusdt@aggTrade")
        await bitcoin.message()
        assert exchange.faults.drop_links(symbol="btcusdt") == 1
        assert (await bitcoin.ending())[0] == 1006
        await ether.messages(5)
        assert exchange.faults.drop_links() == 1
        assert (await ether.ending())[0] == 1006


async def test_half_open_silence(client: Client) -> None:
    limits = Limits(ping_interval_s=0.1, pong_deadline_s=0.3)
    async with SimulatedExchange(tape(), limits=limits) as exchange:
        patience = aiohttp.ClientWSTimeout(ws_close=0.3)
        socket = await client.open(f"{exchange.ws_url}/ws/btcusdt@aggTrade", timeout=patience)
        await socket.message()
        assert exchange.faults.silence(stream="btcusdt@aggTrade") == 1
        await drained(socket)
        await socket.socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": 1})
        await socket.socket.ping(b"there?")
        # past the pong deadline too: nothing is sent, nothing is closed
        assert await socket.silent(0.7)
        assert exchange.links == 1
        # a new connection is well
        other = await client.open(f"{exchange.ws_url}/ws/btcusdt@aggTrade")
        await other.message()
        # not even the goodbye is answered; the client hangs up
        await socket.socket.close()
        assert socket.socket.close_code == 1006
        async with asyncio.timeout(5):
            while exchange.links != 1:  # noqa: ASYNC110
                await asyncio.sleep(0.02)


async def test_garbage(client: Client) -> None:
    async with SimulatedExchange(tape()) as exchange:
        socket = await client.open(f"{exchange.ws_url}/ws")
        assert exchange.faults.garbage() == 1
        with pytest.raises(json.JSONDecodeError):
            await socket.message()
        assert exchange.faults.garbage(b"[1,2]") == 1
        assert await socket.message() == [1, 2]
        # it hits only those that are meant
        assert exchange.faults.garbage(symbol="BTCUSDT") == 0


async def test_a_muted_stream_is_silent_alone(client: Client) -> None:
    async with SimulatedExchange(tape(rate=1000)) as exchange:
        socket = await client.open(f"{exchange.ws_url}/ws/btcusdt@aggTrade/btcusdt@trade")
        assert exchange.faults.mute_stream("btcusdt@aggTrade", count=1) == 1
        assert exchange.faults.mute_stream("ethusdt@aggTrade") == 0
        await drained_now(socket)
        assert {(await socket.message())["e"] for _ in range(50)} == {"trade"}
        # acknowledged, and nothing more; the one after it hears it
        deaf = await client.open(f"{exchange.ws_url}/ws/btcusdt@aggTrade")
        with pytest.raises(TimeoutError):
            await deaf.message(0.2)
        hearing = await client.open(f"{exchange.ws_url}/ws/btcusdt@aggTrade")
        assert (await hearing.message())["e"] == "aggTrade"


async def test_server_shutdown_is_announced_in_each_form(client: Client) -> None:
    async with SimulatedExchange(tape(), hold_until_subscribed=True) as exchange:
        raw = await client.open(f"{exchange.ws_url}/ws?timeUnit=MICROSECOND")
        wrapped = await client.open(f"{exchange.ws_url}/stream")
        assert exchange.faults.server_shutdown(close_after_s=0.2) == 2
        assert await raw.message() == {"e": "serverShutdown", "E": NOON}
        assert await wrapped.message() == {
            "stream": "!serverShutdown", "data": {"e": "serverShutdown", "E": NOON // 1000},
        }  # fmt: skip
        assert (await raw.ending())[0] == 1001
        assert (await wrapped.ending())[0] == 1001


async def test_a_shortened_life(client: Client) -> None:
    async with SimulatedExchange(tape()) as exchange:
        socket = await client.open(f"{exchange.ws_url}/ws/btcusdt@aggTrade")
        assert exchange.faults.set_life(0.1) == 1
        assert (await socket.ending(3))[0] == 1001


async def test_a_slow_link_lags_and_loses_nothing(client: Client) -> None:
    market = tape(rate=2000, seconds=1)
    async with SimulatedExchange(market, speed=MAX, hold_until_subscribed=True, tail_s=0) as exchange:
        socket = await client.open(f"{exchange.ws_url}/ws")
        exchange.faults.slow_links(20_000, seconds=2)
        await socket.socket.send_json({"method": "SUBSCRIBE", "params": ["btcusdt@aggTrade"], "id": 1})
        await asyncio.sleep(0.5)
        # twenty kilobytes a second are about a hundred messages
        early = await drained_now(socket)
        truth = [one.agg_id for one in exchange.agg_trades("BTCUSDT")]
        assert 0 < len(early) < 200 < len(truth)
        await asyncio.wait_for(exchange.finished(), 5)
        assert early + await drained(socket) == truth


async def drained_now(socket: Socket) -> list[int]:
    out = []
    try:
        while True:
            message = await socket.message(0.001)
            if "a" in message:
                out.append(message["a"])
    except TimeoutError:
        return out


# -- requests ---------------------------------------------------------------------------------------------


async def test_refused_connections(client: Client) -> None:
    async with SimulatedExchange(tape()) as exchange:
        # aiohttp tries a connection that was dropped once more by itself
        exchange.faults.refuse_connections(count=2)
        with pytest.raises(aiohttp.ClientError):
            await client.open(f"{exchange.ws_url}/ws")
        exchange.faults.refuse_connections(count=1, status=429, retry_after_s=7)
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await client.open(f"{exchange.ws_url}/ws")
        assert refused.value.headers is not None
        assert (refused.value.status, refused.value.headers["Retry-After"]) == (429, "7")
        await client.open(f"{exchange.ws_url}/ws")

        exchange.faults.refuse_connections(seconds=0.3, status=503)
        for _ in range(2):
            with pytest.raises(aiohttp.WSServerHandshakeError):
                await client.open(f"{exchange.ws_url}/ws")
        await asyncio.sleep(0.35)
        await client.open(f"{exchange.ws_url}/ws")


@pytest.mark.parametrize("status", [429, 418, 500, 503])
async def test_rest_errors(client: Client, status: int) -> None:
    async with SimulatedExchange(tape()) as exchange:
        url = f"{exchange.rest_url}/api/v3/ping"
        exchange.faults.rest_errors(status, count=2, retry_after_s=3)
        for _ in range(2):
            answered, body, headers = await client.get(url)
            assert (answered, headers["Retry-After"], "code" in body) == (status, "3", True)
        assert (await client.get(url))[0] == 200


async def test_rest_can_be_cut_off_and_slow(client: Client) -> None:
    async with SimulatedExchange(tape()) as exchange:
        url = f"{exchange.rest_url}/api/v3/ping"
        exchange.faults.rest_delay(0.3)
        began = time.monotonic()
        assert (await client.get(url))[0] == 200
        assert time.monotonic() - began >= 0.3
        exchange.faults.rest_errors(None, seconds=60)
        with pytest.raises(aiohttp.ClientError):
            await client.get(url)
        exchange.faults.clear()
        assert (await client.get(url))[0] == 200


# -- the control channel ----------------------------------------------------------------------------------


async def test_faults_over_the_wire(client: Client) -> None:
    async with SimulatedExchange(tape()) as exchange:
        socket = await client.open(f"{exchange.ws_url}/ws/btcusdt@aggTrade")
        await socket.message()
        assert await client.fault(exchange.rest_url, fault="garbage", payload="oops") == (200, {"ok": True, "links": 1})
        with pytest.raises(json.JSONDecodeError):
            await socket.until(lambda one: "a" not in one)
        assert await client.fault(exchange.rest_url, fault="skip", count=2) == (200, {"ok": True, "links": None})
        status, answer = await client.fault(exchange.rest_url, fault="drop_links", symbol="BTCUSDT")
        assert (status, answer["links"]) == (200, 1)
        assert (await socket.ending())[0] == 1006


@pytest.mark.parametrize(
    "command",
    [
        {},
        {"fault": "nosuch"},
        {"fault": "command", "body": "x"},
        {"fault": "_hit"},
        {"fault": "skip", "count": 0},
        {"fault": "skip", "colour": "red"},
        {"fault": "skip", "count": "many"},
        {"fault": "slow_links"},
        {"fault": "slow_links", "bytes_per_s": 0},
        {"fault": "rest_errors", "status": 200, "count": 1},
        {"fault": "refuse_connections"},
        {"fault": "set_life", "seconds": "soon"},
    ],
)
async def test_bad_commands_get_a_clear_answer(client: Client, command: dict[str, object]) -> None:
    async with SimulatedExchange(tape()) as exchange:
        status, answer = await client.fault(exchange.rest_url, **command)
        assert status == 400
        assert len(answer["msg"]) > 10
        # and it is still there
        assert (await client.get(f"{exchange.rest_url}/api/v3/ping"))[0] == 200


async def test_the_state_is_told(client: Client) -> None:
    async with SimulatedExchange(tape(seconds=2), speed=MAX, hold_until_subscribed=True, tail_s=0) as exchange:
        url = f"{exchange.rest_url}/sim/state"
        state = (await client.get(url))[1]
        assert (state["now_us"], state["started"], state["links"], state["printed"]) == (NOON, False, 0, 0)
        socket = await client.open(f"{exchange.ws_url}/ws/btcusdt@aggTrade")
        await asyncio.wait_for(exchange.finished(), 10)
        received = await drained(socket)
        state = (await client.get(url))[1]
        assert (state["started"], state["links"], state["tape_ended"], state["finished"]) == (True, 1, True, True)
        assert state["sent"] == len(received)
        assert state["printed"] == exchange.market.printed > len(received)


def test_commands_that_are_no_json() -> None:
    exchange = SimulatedExchange(tape())
    for body in (b"", b"[]", b"{", b'{"fault":7}'):
        with pytest.raises(ConfigError):
            exchange.faults.command(body)
