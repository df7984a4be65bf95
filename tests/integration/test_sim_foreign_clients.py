"""Clients that we did not write, unmodified but for the base URL, against the simulated exchange."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import ccxt.async_support
import ccxt.pro
import pytest

from crypto_quant.sim import REAL, SimulatedExchange, SyntheticTape
from crypto_quant.sim.numbers import text8
from crypto_quant.sim.symbols import invented

START_US = 1_790_856_000_000_000
WAIT_S = 60


@pytest.fixture
async def exchange() -> AsyncIterator[SimulatedExchange]:
    listings = invented(["BTCUSDT", "ETHUSDT", "币安人生USDT"], delisted=["LUNAUSDT"])
    tape = SyntheticTape(listings, rate=300, seed=4, start_us=START_US)
    async with SimulatedExchange(tape, speed=REAL, lead_s=180) as running:
        yield running


async def eventually(check: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not check():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


def aggregate(exchange: SimulatedExchange, symbol: str, number: int) -> dict[str, Any]:
    """One aggregate that was printed, as the exchange would tell it."""
    one = next(one for one in exchange.agg_trades(symbol) if one.agg_id == number)
    return {
        "a": one.agg_id, "p": text8(one.price), "q": text8(one.quantity), "f": one.first_id, "l": one.last_id,
        "T": one.time_us // 1000, "m": one.maker,
    }  # fmt: skip


# -- ccxt -------------------------------------------------------------------------------------------------


async def pointed_at(exchange: SimulatedExchange, client: Any) -> Any:
    client.options["fetchMarkets"] = {"types": ["spot"]}
    client.options["fetchCurrencies"] = False
    client.urls["api"]["public"] = f"{exchange.rest_url}/api/v3"
    if "ws" in client.urls["api"]:
        client.urls["api"]["ws"]["spot"] = f"{exchange.ws_url}/ws"
    return client


@pytest.fixture
async def ccxt_client(exchange: SimulatedExchange) -> AsyncIterator[Any]:
    client = await pointed_at(exchange, ccxt.pro.binance({"enableRateLimit": False}))
    yield client
    await client.close()


async def test_ccxt_rest(exchange: SimulatedExchange, ccxt_client: Any) -> None:
    markets = await ccxt_client.load_markets()
    assert {"BTC/USDT", "ETH/USDT", "LUNA/USDT"} <= set(markets)
    assert markets["BTC/USDT"]["active"] is True
    assert markets["LUNA/USDT"]["active"] is False
    assert markets["BTC/USDT"]["precision"] == {
        **markets["BTC/USDT"]["precision"],
        "price": float(text8(exchange.market.symbols["BTCUSDT"].tick)),
        "amount": float(text8(exchange.market.symbols["BTCUSDT"].step)),
    }
    assert await ccxt_client.fetch_time() >= START_US // 1000

    candles = await ccxt_client.fetch_ohlcv("BTC/USDT", "1m", since=START_US // 1000, limit=2)
    ours = exchange.klines("BTCUSDT", "1m")[:2]
    assert [row[0] for row in candles] == [candle.open_us // 1000 for candle in ours]
    assert [row[5] for row in candles] == [float(text8(candle.volume)) for candle in ours]

    trades = await ccxt_client.fetch_trades("BTC/USDT", limit=50, params={"fetchTradesMethod": "publicGetAggTrades"})
    assert len(trades) == 50
    for trade in trades:
        told = aggregate(exchange, "BTCUSDT", int(trade["info"]["a"]))
        assert {key: trade["info"][key] for key in told} == told

    with pytest.raises(ccxt.BadSymbol):
        await ccxt_client.public_get_klines({"symbol": "NOSUCH", "interval": "1m"})


async def test_ccxt_streams(exchange: SimulatedExchange, ccxt_client: Any) -> None:
    async with asyncio.timeout(WAIT_S):
        trades = await ccxt_client.watch_trades("BTC/USDT", params={"name": "aggTrade"})
        candles = await ccxt_client.watch_ohlcv("ETH/USDT", "1s")
    for trade in trades:
        told = aggregate(exchange, "BTCUSDT", int(trade["info"]["a"]))
        assert {key: trade["info"][key] for key in told} == told
    ours = exchange.market.books["ETHUSDT"].candle("1s", candles[-1][0] * 1000)
    assert ours is not None
    assert candles[-1][5] == float(text8(ours.volume))


# -- python-binance ---------------------------------------------------------------------------------------

# it looks for a loop in a way that Python deprecates
python_binance = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning:binance", "ignore::DeprecationWarning:websockets"
)


@pytest.fixture
async def binance_client(exchange: SimulatedExchange, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Any]:
    from binance import AsyncClient

    monkeypatch.setattr(AsyncClient, "API_URL", f"{exchange.rest_url}/api")
    client = await AsyncClient.create()
    yield client
    await client.close_connection()


@python_binance
async def test_python_binance_rest(exchange: SimulatedExchange, binance_client: Any) -> None:
    from binance import BinanceAPIException

    assert await binance_client.ping() == {}
    assert (await binance_client.get_server_time())["serverTime"] >= START_US // 1000
    info = await binance_client.get_symbol_info("BTCUSDT")
    assert info["status"] == "TRADING"
    assert (await binance_client.get_symbol_info("LUNAUSDT"))["status"] == "BREAK"

    first = exchange.agg_trades("BTCUSDT")[0].agg_id
    pages = await binance_client.get_aggregate_trades(symbol="BTCUSDT", fromId=first, limit=1000)
    assert [row["a"] for row in pages] == list(range(first, first + 1000))
    assert {key: pages[7][key] for key in ("p", "q", "T")} == {
        key: aggregate(exchange, "BTCUSDT", first + 7)[key] for key in ("p", "q", "T")
    }

    async for trade in binance_client.aggregate_trade_iter("ETHUSDT", last_id=first):
        assert trade["a"] == first + 1
        break
    recent = await binance_client.get_recent_trades(symbol="BTCUSDT", limit=5)
    old = await binance_client.get_historical_trades(symbol="BTCUSDT", limit=5, fromId=recent[0]["id"])
    assert old == recent

    candles = await binance_client.get_historical_klines("BTCUSDT", "1m", START_US // 1000, START_US // 1000 + 120_000)
    assert candles[0][0] == START_US // 1000
    assert candles[0][5] == text8(exchange.klines("BTCUSDT", "1m")[0].volume)

    with pytest.raises(BinanceAPIException) as refused:
        await binance_client.get_klines(symbol="BTCUSDT", interval="2m")
    assert refused.value.code == -1120


@python_binance
async def test_python_binance_streams(exchange: SimulatedExchange, binance_client: Any) -> None:
    from binance import BinanceSocketManager

    class Manager(BinanceSocketManager):  # type: ignore[misc]
        STREAM_URL = f"{exchange.ws_url}/"

    manager = Manager(binance_client)
    async with asyncio.timeout(WAIT_S), manager.multiplex_socket(["btcusdt@aggTrade", "ethusdt@kline_1s"]) as stream:
        seen: dict[str, Any] = {}
        while set(seen) != {"btcusdt@aggTrade", "ethusdt@kline_1s"}:
            message = await stream.recv()
            seen[message["stream"]] = message["data"]
    told = aggregate(exchange, "BTCUSDT", seen["btcusdt@aggTrade"]["a"])
    assert {key: seen["btcusdt@aggTrade"][key] for key in told} == told
    assert seen["ethusdt@kline_1s"]["k"]["x"] is True
    async with asyncio.timeout(WAIT_S), manager.aggtrade_socket("ETHUSDT") as stream:
        assert (await stream.recv())["s"] == "ETHUSDT"


# -- the official SDK -------------------------------------------------------------------------------------


async def test_official_sdk_rest(exchange: SimulatedExchange) -> None:
    from binance_common.configuration import ConfigurationRestAPI
    from binance_sdk_spot.spot import Spot

    client = Spot(config_rest_api=ConfigurationRestAPI(base_path=exchange.rest_url, retries=0)).rest_api

    async def call(method: Callable[..., Any], **arguments: object) -> Any:
        # the client blocks, the exchange runs in this loop
        answer = await asyncio.to_thread(method, **arguments)
        return answer, answer.data()

    _, clock = await call(client.time)
    assert clock.server_time >= START_US // 1000
    answer, info = await call(client.exchange_info, symbols=["BTCUSDT", "币安人生USDT"])
    assert [row.symbol for row in info.symbols] == ["BTCUSDT", "币安人生USDT"]
    assert answer.rate_limits

    first = exchange.agg_trades("BTCUSDT")[0].agg_id
    _, rows = await call(client.agg_trades, symbol="BTCUSDT", from_id=first, limit=3)
    assert [row.a for row in rows] == [first, first + 1, first + 2]
    assert rows[1].p == aggregate(exchange, "BTCUSDT", first + 1)["p"]
    _, rows = await call(client.get_trades, symbol="ETHUSDT", limit=2)
    assert len(rows) == 2
    _, rows = await call(client.historical_trades, symbol="ETHUSDT", limit=2, from_id=rows[0].id)
    assert len(rows) == 2
    _, rows = await call(client.klines, symbol="BTCUSDT", interval="1m", start_time=START_US // 1000, limit=2)
    assert rows[0][5] == text8(exchange.klines("BTCUSDT", "1m")[0].volume)

    from binance_common.errors import BadRequestError

    with pytest.raises(BadRequestError, match="Invalid symbol"):
        await call(client.klines, symbol="NOSUCH", interval="1m")


async def test_official_sdk_streams(exchange: SimulatedExchange) -> None:
    from binance_common.configuration import ConfigurationWebSocketStreams
    from binance_common.constants import TimeUnit
    from binance_sdk_spot.spot import Spot

    configuration = ConfigurationWebSocketStreams(
        stream_url=f"{exchange.ws_url}/stream", time_unit=TimeUnit.MICROSECOND
    )  # fmt: skip
    connection = await Spot(config_ws_streams=configuration).websocket_streams.create_connection()
    trades: list[Any] = []
    candles: list[Any] = []
    try:
        await _listen(connection.agg_trade(symbol="btcusdt"), trades.append)
        await _listen(connection.kline(symbol="ethusdt", interval="1s"), candles.append)
        await eventually(lambda: bool(trades and candles))
        listed = await connection.list_subscribe()
        assert set(listed["result"]) == {"btcusdt@aggTrade", "ethusdt@kline_1s"}
    finally:
        await connection.close_connection(close_session=True)
    one = next(one for one in exchange.agg_trades("BTCUSDT") if one.agg_id == trades[0].a)
    assert (trades[0].p, trades[0].q, trades[0].T) == (text8(one.price), text8(one.quantity), one.time_us)
    assert candles[0].k.x is True


async def _listen(opening: Awaitable[Any], heard: Callable[[Any], None]) -> None:
    stream = await opening
    stream.on("message", heard)
