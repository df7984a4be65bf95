"""What the tests of the simulated exchange share: tapes, the truth in the exchange's letters, a client.

The client is raw aiohttp: it hides nothing of what is on the wire.
"""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import aiohttp

from crypto_quant.sim import Aggregate, Candle, ListTape, SymbolInfo, SyntheticTape, Trade
from crypto_quant.sim.numbers import parse8, text8
from crypto_quant.sim.symbols import invented

NOON = 1_790_856_000_000_000

WAIT_S = 60.0


class Client:
    """Opens WebSockets and asks REST."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self._open: list[aiohttp.ClientWebSocketResponse] = []

    async def open(self, url: str, **options: Any) -> "Socket":
        options.setdefault("timeout", aiohttp.ClientWSTimeout(ws_close=0.2))
        self._open.append(await self._session.ws_connect(url, autoping=False, compress=0, **options))
        return Socket(self._open[-1])

    async def close(self) -> None:
        """Close every WebSocket, also those whose server is gone: none is left to the garbage collector."""
        for socket in self._open:
            await socket.close()

    async def get(self, url: str, **options: Any) -> tuple[int, Any, Mapping[str, str]]:
        async with self._session.get(url, **options) as answer:
            return answer.status, await answer.json(content_type=None), answer.headers

    async def fault(self, rest_url: str, **command: Any) -> tuple[int, Any]:
        async with self._session.post(f"{rest_url}/sim/faults", json=command) as answer:
            return answer.status, await answer.json()


class Socket:
    """One WebSocket."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket

    async def receive(self, wait_s: float = WAIT_S) -> aiohttp.WSMessage:
        return await asyncio.wait_for(self.socket.receive(), wait_s)

    async def message(self, wait_s: float = WAIT_S) -> Any:
        """The next JSON message; control frames are passed over."""
        while True:
            message = await self.receive(wait_s)
            if message.type is aiohttp.WSMsgType.TEXT:
                return json.loads(message.data)
            assert message.type in {aiohttp.WSMsgType.PING, aiohttp.WSMsgType.PONG}, message

    async def messages(self, count: int) -> list[Any]:
        return [await self.message() for _ in range(count)]

    async def until(self, wanted: Callable[[Any], bool]) -> list[Any]:
        """All messages up to the first wanted one."""
        seen = []
        while True:
            seen.append(await self.message())
            if wanted(seen[-1]):
                return seen

    async def ask(self, method: str, params: object = None, number: object = 1) -> Any:
        """Send a request; return its reply, data in between is passed over."""
        request = {"method": method, "id": number} | ({} if params is None else {"params": params})
        await self.socket.send_json(request)
        return (await self.until(lambda reply: "id" in reply))[-1]

    async def silent(self, seconds: float) -> bool:
        """Whether nothing at all comes for so long."""
        try:
            await self.receive(seconds)
        except TimeoutError:
            return True
        return False

    async def ending(self, wait_s: float = WAIT_S) -> tuple[int | None, str]:
        """Close code and reason, once the data before it has been read; 1006 without a closing handshake."""
        while True:
            message = await self.receive(wait_s)
            if message.type is aiohttp.WSMsgType.CLOSE:
                return message.data, message.extra or ""
            if message.type in {aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR, aiohttp.WSMsgType.CLOSING}:
                return self.socket.close_code or 1006, ""


def tape(*, rate: float = 200.0, seed: int = 5, seconds: float | None = None) -> SyntheticTape:
    """A synthetic market of two symbols."""
    return SyntheticTape(invented(["BTCUSDT", "ETHUSDT"]), rate=rate, seed=seed, start_us=NOON, seconds=seconds)


def small_market() -> ListTape:
    """The five trades of the exchange's documentation, numbered from 1."""
    rows = [
        ("64250.1", "0.004", 1_200_874, True),
        ("64250.1", "0.006", 1_200_874, True),
        ("64250.0", "0.0025", 1_200_874, True),
        ("64250.5", "0.001", 41_007_000, False),
        ("64250.5", "0.0015", 41_007_000, False),
    ]
    trades = [
        Trade("BTCUSDT", number, number, parse8(price), parse8(quantity), NOON + time_us, maker)
        for number, (price, quantity, time_us, maker) in enumerate(rows, 1)
    ]
    return ListTape([SymbolInfo(name="BTCUSDT", base="BTC", quote="USDT")], trades, NOON)


def aggregates_told(aggregates: Sequence[Aggregate]) -> list[dict[str, Any]]:
    """Aggregates as the stream tells them, but for the event time."""
    return [
        {
            "e": "aggTrade", "s": one.symbol, "a": one.agg_id, "p": text8(one.price), "q": text8(one.quantity),
            "f": one.first_id, "l": one.last_id, "T": one.time_us // 1000, "m": one.maker, "M": True,
        }
        for one in aggregates
    ]  # fmt: skip


def klines_told(symbol: str, interval: str, candles: Sequence[Candle]) -> list[dict[str, Any]]:
    """Closed candles as the stream tells them (``k``)."""
    return [
        {
            "t": one.open_us // 1000, "T": one.end_us // 1000 - 1, "s": symbol, "i": interval,
            "f": one.first_id, "L": one.last_id, "o": text8(one.open), "c": text8(one.close), "h": text8(one.high),
            "l": text8(one.low), "v": text8(one.volume), "n": one.count, "x": True, "q": text8(one.quote),
            "V": text8(one.taker_volume), "Q": text8(one.taker_quote), "B": "0",
        }
        for one in candles
    ]  # fmt: skip
