"""A load generator: aggregate trades as pre-built WebSocket frames, as fast as the client reads.

It is no exchange: it answers exchangeInfo, accepts one WebSocket, acknowledges every subscription, sends what it has
built and stops. Frames are built before the client comes, so that sending costs next to nothing.
"""

import argparse
import asyncio
import base64
import contextlib
import hashlib
import json
import re
import struct
import sys

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
START_US = 1_790_856_000_000_000
_BLOCK = 256


def symbols(count: int) -> list[str]:
    """Return the names of the symbols, as the exchange writes them."""
    return [f"SYM{number:04d}USDT" for number in range(count)]


def trade(number: int, names: list[str], rate: int) -> tuple[str, int, str, str, int, int, bool]:
    """Return symbol, id, price, quantity, trade id, time in µs and side of the ``number``-th trade of the tape."""
    name = names[number % len(names)]
    trade_id = 1_000_000_000 + number // len(names)
    price = f"{60_000 + (number * 7919) % 1000}.{(number * 31) % 100:02d}000000"
    quantity = f"0.{(number * 104_729) % 100_000:05d}000"
    return (
        name,
        trade_id,
        price,
        quantity,
        5_000_000_000 + number,
        START_US + number * 1_000_000 // rate,
        number % 3 == 0,
    )


def payload(number: int, names: list[str], rate: int, unit: str = "us") -> bytes:
    """Return the message of the ``number``-th trade of the tape, with times in ``us`` or ``ms``."""
    name, a, p, q, t, time, maker = trade(number, names, rate)
    event = time + 900
    if unit == "ms":
        time, event = time // 1000, event // 1000
    return (
        f'{{"stream":"{name.lower()}@aggTrade","data":{{"e":"aggTrade","E":{event},"s":"{name}","a":{a},'
        f'"p":"{p}","q":"{q}","f":{t},"l":{t},"T":{time},"m":{"true" if maker else "false"},"M":true}}}}'
    ).encode()


def frames(count: int, names: list[str], rate: int, unit: str = "us") -> list[bytes]:
    """Return the tape as WebSocket frames with times in ``us`` or ``ms``, joined in blocks."""
    blocks, block = [], bytearray()
    for number in range(count):
        message = payload(number, names, rate, unit)
        block += (
            b"\x81\x7e" + struct.pack("!H", len(message)) + message
            if len(message) > 125
            else (bytes((0x81, len(message))) + message)
        )
        if number % _BLOCK == _BLOCK - 1:
            blocks.append(bytes(block))
            block.clear()
    blocks.append(bytes(block))
    return blocks


class _Server:
    def __init__(self, count: int, names: list[str], rate: int, unit: str) -> None:
        self._blocks = frames(count, names, rate, unit)
        self._info = json.dumps(
            {
                "serverTime": START_US // 1000,
                "rateLimits": [],
                "symbols": [
                    {
                        "symbol": name,
                        "status": "TRADING",
                        "baseAsset": name.removesuffix("USDT"),
                        "quoteAsset": "USDT",
                        "filters": [{"filterType": "PRICE_FILTER", "tickSize": "0.01000000"}],
                    }
                    for name in names
                ],
            }
        ).encode()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            key = re.search(rb"(?i)sec-websocket-key: *(\S+)", head)
            if key is None:
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
                    b"Content-Length: %d\r\n\r\n" % len(self._info) + self._info
                )
                await writer.drain()
                return
            accept = base64.b64encode(hashlib.sha1(key.group(1) + _GUID).digest())  # noqa: S324
            writer.write(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
            )
            listening = asyncio.create_task(self._listen(reader, writer))
            await asyncio.sleep(0.3)
            for block in self._blocks:
                writer.write(block)
                await writer.drain()
            await listening
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Acknowledge subscriptions, answer pings and a close."""
        while True:
            first, second = await reader.readexactly(2)
            length = second & 0x7F
            if length == 126:
                length = struct.unpack("!H", await reader.readexactly(2))[0]
            mask = await reader.readexactly(4)
            body = bytes(b ^ mask[i % 4] for i, b in enumerate(await reader.readexactly(length)))
            if first & 0x0F == 8:
                writer.write(b"\x88\x00")
                return
            if first & 0x0F == 9:
                writer.write(bytes((0x8A, len(body))) + body)
            if first & 0x0F == 1:
                reply = json.dumps({"result": None, "id": json.loads(body).get("id")}).encode()
                writer.write(bytes((0x81, len(reply))) + reply)


async def _main(count: int, number_of_symbols: int, rate: int, unit: str) -> None:
    handler = _Server(count, symbols(number_of_symbols), rate, unit)
    server = await asyncio.start_server(handler.serve, "127.0.0.1", 0, limit=2**20)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trades", type=int, default=500_000)
    parser.add_argument("--symbols", type=int, default=20)
    parser.add_argument("--rate", type=int, default=100_000, help="trades per second of the tape's own time")
    parser.add_argument("--unit", choices=("us", "ms"), default="us", help="of the times")
    args = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_main(args.trades, args.symbols, args.rate, args.unit))
