"""Recorded frames reach the client unaltered, noise and all."""

import asyncio

import aiohttp
from sim_world import Client

from crypto_quant.sim.verbatim import VerbatimServer

FRAMES = [b'{"stream":"a","data":{"e":"kline"}}', b"noise", b'{"half":', "世".encode() * 50_000, b"7"]
NOW_US = 1_617_566_591_000_000


async def test_frames_are_played_to_the_first_subscriber(client: Client) -> None:
    async with VerbatimServer(FRAMES, symbols=["BTCUSDT", "DOTUSDT"], now_us=NOW_US) as server:
        idle = await client.open(f"{server.ws_url}/stream")
        assert await idle.silent(0.1)
        socket = await client.open(f"{server.ws_url}/ws")
        await socket.socket.send_json({"method": "SUBSCRIBE", "params": ["btcusdt@aggTrade"], "id": 7})
        received = [(await socket.receive()).data.encode() for _ in range(len(FRAMES) + 1)]
        assert b'{"result":null,"id":7}' in received
        received.remove(b'{"result":null,"id":7}')
        assert received == FRAMES
        await asyncio.wait_for(server.finished(), 5)
        # once only
        late = await client.open(f"{server.ws_url}/stream?streams=x")
        assert await late.silent(0.1)
        assert await socket.silent(0.05)


async def test_names_in_the_url_are_a_subscription_and_two_may_watch(client: Client) -> None:
    async with VerbatimServer(FRAMES, symbols=["BTCUSDT"], now_us=NOW_US, audience=2) as server:
        for path in ("/stream?streams=btcusdt@aggTrade", "/ws/btcusdt@aggTrade"):
            socket = await client.open(server.ws_url + path)
            assert [(await socket.receive()).data.encode() for _ in FRAMES] == FRAMES
        await asyncio.wait_for(server.finished(), 5)


async def test_many_frames_wait_for_their_reader(client: Client) -> None:
    frames = [b'{"n":%d}' % number for number in range(200_000)]
    async with VerbatimServer(frames, symbols=["BTCUSDT"], now_us=NOW_US) as server:
        socket = await client.open(f"{server.ws_url}/ws/x")
        await asyncio.sleep(0.3)
        assert [one["n"] for one in await socket.messages(200_000)] == list(range(200_000))


async def test_rest(client: Client) -> None:
    async with VerbatimServer(FRAMES, symbols=["btcusdt", "DOTUSDT"], now_us=NOW_US) as server:
        base = f"{server.rest_url}/api/v3"
        assert (await client.get(f"{base}/ping"))[1] == {}
        assert (await client.get(f"{base}/time"))[1] == {"serverTime": NOW_US // 1000}
        listed = (await client.get(f"{base}/exchangeInfo"))[1]["symbols"]
        assert [(one["symbol"], one["status"]) for one in listed] == [("BTCUSDT", "TRADING"), ("DOTUSDT", "TRADING")]
        assert (await client.get(f"{base}/klines?symbol=BTCUSDT&interval=1m"))[1] == []


async def test_open_sockets_end_with_the_server(client: Client) -> None:
    async with VerbatimServer(FRAMES, symbols=["BTCUSDT"], now_us=NOW_US) as server:
        socket = await client.open(f"{server.ws_url}/ws")
    message = await socket.receive()
    assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1001)
