"""The simulated exchange over real sockets: streams, control messages, time, limits."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from typing import Any

import aiohttp
import pytest
from sim_world import NOON, Client, aggregates_told, klines_told, small_market, tape

from crypto_quant.errors import ConfigError
from crypto_quant.sim import MAX, REAL, Limits, ListTape, SimulatedExchange, SymbolInfo, SyntheticTape, Trade
from crypto_quant.sim.symbols import invented

# -- the whole tape, exactly ------------------------------------------------------------------------------


async def test_everything_printed_arrives_once_and_in_order(client: Client) -> None:
    async with SimulatedExchange(tape(seconds=20), speed=MAX, hold_until_subscribed=True) as exchange:
        socket = await client.open(f"{exchange.ws_url}/stream?streams=btcusdt@aggTrade/ethusdt@aggTrade")
        await exchange.finished()
        truth = exchange.agg_trades("BTCUSDT") + exchange.agg_trades("ETHUSDT")
        received = await socket.messages(len(truth))
        for symbol in ("BTCUSDT", "ETHUSDT"):
            expected = aggregates_told(exchange.agg_trades(symbol))
            mine = [one["data"] for one in received if one["data"]["s"] == symbol]
            assert [{key: value for key, value in one.items() if key != "E"} for one in mine] == expected
        assert all(one["data"]["E"] >= one["data"]["T"] for one in received)
        assert all(one["stream"] == f"{one['data']['s'].lower()}@aggTrade" for one in received)
        assert await socket.silent(0.1)


async def test_every_closed_candle_comes_once_and_equals_rest(client: Client) -> None:
    intervals = ("1s", "1m", "5m")
    async with SimulatedExchange(tape(seconds=130), speed=MAX, hold_until_subscribed=True, tail_s=300) as exchange:
        names = "/".join(f"ethusdt@kline_{interval}" for interval in intervals)
        socket = await client.open(f"{exchange.ws_url}/stream?streams={names}")
        await exchange.finished()
        truth = {interval: exchange.klines("ETHUSDT", interval) for interval in intervals}
        wanted = sum(len(candles) for candles in truth.values())
        final: dict[str, list[Any]] = {interval: [] for interval in intervals}
        updates = 0
        while sum(len(candles) for candles in final.values()) < wanted:
            candle = (await socket.message())["data"]["k"]
            if candle["x"]:
                final[candle["i"]].append(candle)
            else:
                updates += 1
                assert candle["i"] != "1s"
        for interval in intervals:
            assert final[interval] == klines_told("ETHUSDT", interval, truth[interval])
            rest = f"{exchange.rest_url}/api/v3/klines?symbol=ETHUSDT&interval={interval}&limit=1000"
            rows = (await client.get(rest))[1][: len(final[interval])]
            assert [(row[0], row[4], row[5], row[7], row[8], row[9], row[10]) for row in rows] == [
                (one["t"], one["c"], one["v"], one["q"], one["n"], one["V"], one["Q"]) for one in final[interval]
            ]
        assert any(one["n"] == 0 and one["f"] == -1 for one in final["1s"])
        # one update each two seconds for each of the longer ones, while there are trades
        assert 100 < updates <= 2 * 66


async def test_two_runs_send_the_same_bytes(client: Client) -> None:
    runs = []
    for _ in range(2):
        async with SimulatedExchange(tape(seconds=5), speed=MAX, hold_until_subscribed=True, tail_s=5) as exchange:
            names = "btcusdt@trade/btcusdt@aggTrade/btcusdt@kline_1s"
            socket = await client.open(f"{exchange.ws_url}/stream?streams={names}")
            await exchange.finished()
            received = []
            while not received or received[-1]["data"].get("k", {}).get("t") != (NOON // 1000 + 9000):
                received.append(await socket.message())
            runs.append(received)
    assert runs[0] == runs[1]
    assert len(runs[0]) > 100


async def test_trades_and_their_aggregates(client: Client) -> None:
    async with SimulatedExchange(small_market(), speed=MAX, hold_until_subscribed=True) as exchange:
        socket = await client.open(f"{exchange.ws_url}/ws/btcusdt@trade/btcusdt@aggTrade")
        told = await socket.messages(8)
    assert [(one["e"], one.get("t", one.get("a"))) for one in told] == [
        ("trade", 1), ("trade", 2), ("trade", 3), ("aggTrade", 1), ("aggTrade", 2),
        ("trade", 4), ("trade", 5), ("aggTrade", 3),
    ]  # fmt: skip


# -- forms ------------------------------------------------------------------------------------------------


async def test_time_unit_and_wrapping_are_the_connection_s(client: Client) -> None:
    async with SimulatedExchange(small_market(), speed=MAX, hold_until_subscribed=True) as exchange:
        raw = await client.open(f"{exchange.ws_url}/ws?timeUnit=microsecond")
        wrapped = await client.open(f"{exchange.ws_url}/stream")
        for socket in (raw, wrapped):
            await socket.socket.send_json({"method": "SUBSCRIBE", "params": ["btcusdt@aggTrade"], "id": 1})
            # acknowledged before the tape begins to run for good
            await asyncio.sleep(0)
        first = (await raw.until(lambda one: "e" in one))[-1]
        assert first["T"] == NOON + 1_200_874
        (one,) = [one for one in exchange.agg_trades("BTCUSDT") if one.agg_id == first["a"]]
        assert (await client.get(f"{exchange.rest_url}/api/v3/time"))[0] == 200
        assert one.time_us == first["T"]


async def test_a_bad_time_unit_is_refused_at_the_handshake(client: Client) -> None:
    async with SimulatedExchange(small_market()) as exchange:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await client.open(f"{exchange.ws_url}/ws?timeUnit=NANOSECOND")
        assert refused.value.status == 400


async def test_control_messages_over_the_wire(client: Client) -> None:
    async with SimulatedExchange(tape(), limits=Limits(messages_per_s=100)) as exchange:
        socket = await client.open(f"{exchange.ws_url}/ws")
        assert await socket.ask("SUBSCRIBE", ["btcusdt@aggTrade", "BTCUSDT@aggTrade", "nosuch@trade"]) == {
            "result": None, "id": 1,
        }  # fmt: skip
        assert (await socket.ask("LIST_SUBSCRIPTIONS", number=2))["result"] == [
            "btcusdt@aggTrade", "BTCUSDT@aggTrade", "nosuch@trade",
        ]  # fmt: skip
        assert "e" in (await socket.until(lambda one: "e" in one))[-1]
        assert (await socket.ask("SET_PROPERTY", ["combined", True], 3))["result"] is None
        assert (await socket.message())["stream"] == "btcusdt@aggTrade"
        assert (await socket.ask("GET_PROPERTY", ["combined"], 4))["result"] is True
        assert (await socket.ask("UNSUBSCRIBE", ["btcusdt@aggTrade"], 5))["result"] is None
        assert await socket.silent(0.3)
        await socket.socket.send_str("{oops")
        assert (await socket.message())["error"]["code"] == 3
        # an error leaves the connection as it was
        assert (await socket.ask("LIST_SUBSCRIPTIONS", number=6))["result"] == ["BTCUSDT@aggTrade", "nosuch@trade"]


async def test_unknown_names_are_acknowledged_and_silent(client: Client) -> None:
    async with SimulatedExchange(tape()) as exchange:
        socket = await client.open(f"{exchange.ws_url}/stream?streams=BTCUSDT@aggTrade/btcusdt@aggtrade/xyz@trade")
        assert await socket.silent(0.4)
        silent = await client.open(f"{exchange.ws_url}/ws/0")
        assert await silent.silent(0.1)


async def test_percent_encoded_symbols(client: Client) -> None:
    market = SyntheticTape(invented(["币安人生USDT"]), rate=500, seed=1, start_us=NOON)
    async with SimulatedExchange(market) as exchange:
        url = f"{exchange.ws_url}/stream?streams=%E5%B8%81%E5%AE%89%E4%BA%BA%E7%94%9Fusdt@trade"
        told = await (await client.open(url)).message()
        assert (told["stream"], told["data"]["s"]) == ("币安人生usdt@trade", "币安人生USDT")


async def test_days_of_another_time_zone(client: Client) -> None:
    async with SimulatedExchange(tape(), speed=100) as exchange:
        url = f"{exchange.ws_url}/stream?streams=btcusdt@kline_1d@+08:00/btcusdt@kline_1d"
        seen: dict[str, Any] = {}
        socket = await client.open(url)
        while len(seen) < 2:
            told = await socket.message()
            seen[told["stream"]] = told["data"]["k"]
        assert seen["btcusdt@kline_1d@+08:00"]["t"] == NOON // 1000 - 20 * 3_600_000
        assert seen["btcusdt@kline_1d"]["t"] == NOON // 1000 - 12 * 3_600_000
        assert seen["btcusdt@kline_1d@+08:00"]["i"] == "1d"


# -- time -------------------------------------------------------------------------------------------------


async def test_time_is_held_until_the_first_subscription(client: Client) -> None:
    async with SimulatedExchange(tape(), hold_until_subscribed=True) as exchange:
        await asyncio.sleep(0.2)
        assert exchange.now_us == NOON
        socket = await client.open(f"{exchange.ws_url}/ws")
        await socket.ask("SUBSCRIBE", ["btcusdt@nothing"])
        await asyncio.sleep(0.1)
        assert exchange.now_us == NOON
        await socket.ask("SUBSCRIBE", ["btcusdt@aggTrade"], 2)
        assert (await socket.message())["a"] == exchange.agg_trades("BTCUSDT")[0].agg_id
        assert exchange.now_us > NOON


async def test_time_runs_n_times_as_fast(client: Client) -> None:
    async with SimulatedExchange(tape(), speed=50) as exchange:
        began = time.monotonic()
        before = (await client.get(f"{exchange.rest_url}/api/v3/time"))[1]["serverTime"]
        await asyncio.sleep(0.5)
        after = (await client.get(f"{exchange.rest_url}/api/v3/time"))[1]["serverTime"]
        took = time.monotonic() - began
        assert 0.4 * 50 * 1000 <= after - before <= took * 50 * 1000 + 100


async def test_a_lead_is_history_before_the_door_opens(client: Client) -> None:
    async with SimulatedExchange(tape(), lead_s=120, hold_until_subscribed=True) as exchange:
        assert exchange.now_us == NOON + 120_000_000
        url = f"{exchange.rest_url}/api/v3/klines?symbol=BTCUSDT&interval=1m"
        _, rows, _ = await client.get(url)
        assert [row[0] for row in rows] == [NOON // 1000 + minute * 60_000 for minute in range(3)]
        assert rows[0][8] > 0


async def test_as_fast_as_the_slowest_reader(client: Client) -> None:
    async with SimulatedExchange(tape(rate=50_000), speed=MAX, hold_until_subscribed=True) as exchange:
        socket = await client.open(f"{exchange.ws_url}/ws/btcusdt@aggTrade")
        # nobody reads: the market comes to a halt once every buffer on the way is full
        stands_at = -1
        async with asyncio.timeout(20):
            while exchange.now_us != stands_at:
                stands_at = exchange.now_us
                await asyncio.sleep(0.3)
        first = (await socket.message())["a"]
        numbers = [one["a"] for one in await socket.messages(60_000)]
        assert numbers == list(range(first + 1, first + 60_001))
        assert exchange.now_us > stands_at


async def test_nobody_listens_nothing_is_missed(client: Client) -> None:
    async with SimulatedExchange(tape(), speed=MAX) as exchange:
        socket = await client.open(f"{exchange.ws_url}/ws/btcusdt@kline_1s")
        await socket.message()
        await socket.socket.close()
        await asyncio.sleep(0.2)
        stands_at = exchange.now_us
        await asyncio.sleep(0.2)
        assert exchange.now_us == stands_at


async def test_after_the_tape_time_goes_on_and_the_last_candle_closes(client: Client) -> None:
    async with SimulatedExchange(small_market(), speed=MAX, hold_until_subscribed=True, tail_s=70) as exchange:
        socket = await client.open(f"{exchange.ws_url}/ws/btcusdt@kline_1m")
        told = await socket.until(lambda one: one["k"]["x"])
        # one update per change, at 2 s and at 42 s, and the final one 4 ms after the close
        assert [(one["E"] - NOON // 1000, one["k"]["n"], one["k"]["x"]) for one in told] == [
            (2_015, 3, False), (42_015, 5, False), (60_004, 5, True),
        ]  # fmt: skip
        await asyncio.wait_for(exchange.finished(), 5)
        assert exchange.now_us == pytest.approx(NOON + 41_007_000 + 70_000_000, abs=500_000)
        # then in real time
        later = exchange.now_us
        await asyncio.sleep(0.4)
        assert 100_000 < exchange.now_us - later < 5_000_000
        assert exchange.links == 1


# -- limits -----------------------------------------------------------------------------------------------


async def test_pings_and_the_pong_deadline(client: Client) -> None:
    limits = Limits(ping_interval_s=0.1, pong_deadline_s=0.4, messages_per_s=100)
    async with SimulatedExchange(tape(), limits=limits) as exchange:
        deaf = await client.open(f"{exchange.ws_url}/ws")
        lively = await client.open(f"{exchange.ws_url}/ws")
        began = time.monotonic()
        for _ in range(10):
            message = await lively.receive()
            assert message.type is aiohttp.WSMsgType.PING
            assert len(message.data) > 0
            await lively.socket.pong(message.data)
        assert time.monotonic() - began > 0.7
        assert await deaf.ending() == (1008, "Pong timeout")
        assert exchange.links == 1


async def test_unsolicited_pongs_do_not_keep_a_connection(client: Client) -> None:
    limits = Limits(ping_interval_s=0.1, pong_deadline_s=0.3, messages_per_s=1000)
    async with SimulatedExchange(tape(), limits=limits) as exchange:
        socket = await client.open(f"{exchange.ws_url}/ws")
        for _ in range(4):
            await socket.socket.pong(b"")
            await asyncio.sleep(0.05)
        assert await socket.ending() == (1008, "Pong timeout")


async def test_pings_of_the_client_are_answered_and_counted(client: Client) -> None:
    async with SimulatedExchange(tape()) as exchange:
        socket = await client.open(f"{exchange.ws_url}/ws")
        for number in range(5):
            await socket.socket.ping(b"%d" % number)
            pong = await socket.receive()
            assert (pong.type, bytes(pong.data)) == (aiohttp.WSMsgType.PONG, b"%d" % number)
        await socket.socket.ping(b"6")
        assert await socket.ending() == (1008, "Too many requests")


async def test_more_than_five_messages_a_second(client: Client) -> None:
    async with SimulatedExchange(tape()) as exchange:
        socket = await client.open(f"{exchange.ws_url}/ws")
        for number in range(1, 6):
            assert (await socket.ask("LIST_SUBSCRIPTIONS", number=number))["id"] == number
        await asyncio.sleep(1.05)
        for number in range(6):
            await socket.socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": number})
        assert await socket.ending() == (1008, "Too many requests")


async def test_more_streams_than_a_connection_may_have(client: Client) -> None:
    async with SimulatedExchange(tape(), limits=Limits(streams_per_link=2)) as exchange:
        socket = await client.open(f"{exchange.ws_url}/ws/a@trade/b@trade")
        refused = await socket.ask("SUBSCRIBE", ["c@trade"])
        assert refused["error"] == {"code": 4, "msg": "Too many subscriptions"}
        # one that is there already costs nothing
        assert (await socket.ask("SUBSCRIBE", ["a@trade"], 2))["result"] is None
        by_url = await client.open(f"{exchange.ws_url}/ws/a@trade/b@trade/c@trade")
        assert (await by_url.message())["error"]["code"] == 4


async def test_too_many_connects(client: Client) -> None:
    async with SimulatedExchange(tape(), limits=Limits(connects=2)) as exchange:
        for _ in range(2):
            await client.open(f"{exchange.ws_url}/ws")
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await client.open(f"{exchange.ws_url}/ws")
        assert refused.value.status == 429
        assert refused.value.headers is not None
        assert 290 <= int(refused.value.headers["Retry-After"]) <= 300


@pytest.mark.parametrize("code", [1001, 1008, None])
async def test_the_life_of_a_connection(client: Client, code: int | None) -> None:
    async with SimulatedExchange(tape(), limits=Limits(life_s=0.3, life_close_code=code)) as exchange:
        began = time.monotonic()
        socket = await client.open(f"{exchange.ws_url}/ws/btcusdt@aggTrade")
        assert (await socket.ending())[0] == (code or 1006)
        assert time.monotonic() - began >= 0.3


async def test_the_client_s_goodbye_is_answered(client: Client) -> None:
    async with SimulatedExchange(tape()) as exchange:
        socket = await client.open(f"{exchange.ws_url}/ws/btcusdt@aggTrade")
        await socket.message()
        assert await socket.socket.close(code=1000)
        assert socket.socket.close_code == 1000
        await asyncio.sleep(0.1)
        assert exchange.links == 0


async def test_a_reader_that_is_hopelessly_behind_is_dropped(client: Client) -> None:
    limits = Limits(buffer_bytes=200_000)
    async with SimulatedExchange(tape(rate=20_000), speed=20, limits=limits) as exchange:
        socket = await client.open(f"{exchange.ws_url}/ws/btcusdt@aggTrade")
        async with asyncio.timeout(20):
            while exchange.links:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        # it was not the client that left
        assert not socket.socket.closed


# -- REST -------------------------------------------------------------------------------------------------


async def test_weights_are_told_and_enforced(client: Client) -> None:
    limits = Limits(weight_per_minute=30, ban_after=1, ban_s=50)
    async with SimulatedExchange(tape(), limits=limits) as exchange:
        base = f"{exchange.rest_url}/api/v3"
        status, _, headers = await client.get(f"{base}/exchangeInfo")
        assert (status, headers["X-MBX-USED-WEIGHT-1M"]) == (200, "20")
        status, _, headers = await client.get(f"{base}/aggTrades?symbol=BTCUSDT")
        assert (status, headers["x-mbx-used-weight-1m"]) == (200, "24")
        status, body, headers = await client.get(f"{base}/trades?symbol=BTCUSDT")
        assert (status, body["code"]) == (429, -1003)
        assert 1 <= int(headers["Retry-After"]) <= 60
        status, body, headers = await client.get(f"{base}/ping")
        assert (status, body["code"]) == (418, -1003)
        assert "IP banned until" in body["msg"]
        assert 49 <= int(headers["Retry-After"]) <= 51


async def test_errors_have_status_and_body(client: Client) -> None:
    async with SimulatedExchange(tape()) as exchange:
        status, body, headers = await client.get(f"{exchange.rest_url}/api/v3/klines?symbol=NOSUCH&interval=1m")
        assert (status, body) == (400, {"code": -1121, "msg": "Invalid symbol."})
        assert headers["Content-Type"].startswith("application/json")
        assert (await client.get(f"{exchange.rest_url}/api/v3/nothing"))[0] == 404
        status, body, _ = await client.get(
            f"{exchange.rest_url}/api/v3/time", headers={"X-MBX-TIME-UNIT": "MICROSECOND"}
        )
        assert (status, len(str(body["serverTime"]))) == (200, 16)


async def test_rest_has_what_the_stream_has_told(client: Client) -> None:
    async with SimulatedExchange(tape(), speed=REAL) as exchange:
        socket = await client.open(f"{exchange.ws_url}/ws/btcusdt@aggTrade")
        for told in await socket.messages(30):
            url = f"{exchange.rest_url}/api/v3/aggTrades?symbol=BTCUSDT&limit=1&fromId={told['a']}"
            _, rows, _ = await client.get(url)
            assert rows == [{key: told[key] for key in ("a", "p", "q", "f", "l", "T", "m", "M")}]


async def test_a_plain_get_of_a_stream_is_refused_politely(client: Client) -> None:
    async with SimulatedExchange(tape()) as exchange:
        assert (await client.get(f"{exchange.rest_url}/ws"))[0] == 400


# -- beginnings -------------------------------------------------------------------------------------------


async def test_a_port_that_is_taken(client: Client) -> None:
    async with SimulatedExchange(tape()) as exchange:
        port = int(exchange.ws_url.rpartition(":")[2])
        with pytest.raises(ConfigError, match="cannot listen"):
            await SimulatedExchange(tape(), port=port).start()


def test_settings_that_make_no_sense() -> None:
    with pytest.raises(ConfigError):
        SimulatedExchange(ListTape([], []))
    with pytest.raises(ConfigError):
        SimulatedExchange(tape(), speed=0)


async def test_prints_of_several_trades_have_no_trade_stream(client: Client) -> None:
    joined = ListTape(
        [SymbolInfo(name="BTCUSDT", base="BTC", quote="USDT")],
        [
            Trade("BTCUSDT", 1, 3, 10**8, 10**8, NOON, True, agg_id=9),
            Trade("BTCUSDT", 4, 4, 10**8, 1, NOON + 9, True, agg_id=10),
        ],
    )
    async with SimulatedExchange(joined, speed=MAX, hold_until_subscribed=True) as exchange:
        socket = await client.open(f"{exchange.ws_url}/ws/btcusdt@trade/btcusdt@aggTrade")
        assert [(one["e"], one["a"]) for one in await socket.messages(2)] == [("aggTrade", 9), ("aggTrade", 10)]
        assert (await client.get(f"{exchange.rest_url}/api/v3/trades?symbol=BTCUSDT"))[1] == []


async def test_a_tape_that_breaks_is_heard_of(client: Client) -> None:
    class Torn(ListTape):
        def blocks(self) -> Iterator[Sequence[Trade]]:
            yield self.trades
            raise ConfigError("the tape is torn")

    torn = Torn(small_market().symbols, small_market().trades)
    async with SimulatedExchange(torn, speed=MAX, hold_until_subscribed=True) as exchange:
        await client.open(f"{exchange.ws_url}/ws/btcusdt@trade")
        with pytest.raises(ConfigError, match="torn"):
            await asyncio.wait_for(exchange.finished(), 5)
