"""cryptofeed as a recorder of aggregate trades: its Binance feed into its Postgres backend, with its own defaults.

It runs in an environment of its own, see ``environment.py``. cryptofeed is as it comes, only the exchange is elsewhere.
Without ``--count`` it records until it is told to stop, and writes a line of its backend's statistics a second. With
``--count`` it ends when so many trades are committed (or, with ``--no-database``, have reached a callback that only
counts), and writes how long that took from the first one.
"""

import argparse
import asyncio
import json
import time
from urllib.parse import unquote, urlsplit

import uvloop
from cryptofeed import FeedHandler, connection
from cryptofeed.backends.postgres import TradePostgres
from cryptofeed.connection import RestEndpoint, WebsocketEndpoint
from cryptofeed.defines import TRADES
from cryptofeed.exchanges import Binance


def point_at(port: int) -> None:
    """Make the Binance feed speak to a local exchange: it insists on wss://, which is no TLS here."""
    plain = connection.connect
    connection.connect = lambda address, **options: plain(address.replace("wss://", "ws://", 1), **options)
    Binance.websocket_endpoints = [WebsocketEndpoint(f"wss://127.0.0.1:{port}")]
    Binance.rest_endpoints = [RestEndpoint(f"http://127.0.0.1:{port}", routes=Binance.rest_endpoints[0].routes)]


class Counter:
    """A callback that does nothing but count."""

    def __init__(self) -> None:
        self.seen = 0

    async def __call__(self, trade, receipt_timestamp):
        self.seen += 1


def postgres(url: str, overflow: str | None) -> TradePostgres:
    """Return its backend for the database of ``url``, where ``cryptofeed.sql`` has been run."""
    parts = urlsplit(url)
    return TradePostgres(
        host=parts.hostname,
        port=parts.port,
        user=unquote(parts.username or ""),
        pw=unquote(parts.password or ""),
        db=parts.path[1:],
        overflow=overflow,
    )


def tell(**what) -> None:
    print(json.dumps(what), flush=True)


async def report(backend: TradePostgres) -> None:
    while True:
        stats = backend.stats
        tell(written=stats.written, dropped=stats.dropped_overflow + stats.dropped_failed, waiting=stats.qsize)
        await asyncio.sleep(1)


async def measure(handler: FeedHandler, callback: Counter | TradePostgres, count: int) -> None:
    def done() -> int:
        return callback.seen if isinstance(callback, Counter) else callback.stats.written

    def begun() -> bool:
        return bool(done() or (isinstance(callback, TradePostgres) and callback.stats.qsize))

    while not begun():
        await asyncio.sleep(0.0005)
    started, cpu = time.perf_counter(), time.process_time()
    while done() < count:
        await asyncio.sleep(0.002)
    tell(seconds=time.perf_counter() - started, cpu=time.process_time() - cpu)
    handler.request_stop()


async def main(options: argparse.Namespace) -> None:
    """Record, or measure."""
    point_at(options.port)
    handler = FeedHandler(config={"log": {"filename": "", "level": "WARNING"}})
    callback = Counter() if options.no_database else postgres(options.database_url, options.overflow)
    handler.add_feed(Binance(symbols=options.symbol, channels=[TRADES], callbacks={TRADES: callback}))
    beside = asyncio.create_task(
        measure(handler, callback, options.count) if options.count else report(callback), name="beside"
    )
    try:
        await handler.run_async()
    finally:
        beside.cancel()
        if isinstance(callback, TradePostgres):
            stats = callback.stats
            tell(written=stats.written, dropped=stats.dropped_overflow + stats.dropped_failed, waiting=stats.qsize)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("symbol", nargs="+", help="as cryptofeed writes them: BTC-USDT")
    parser.add_argument("--port", type=int, required=True, help="of the exchange on this machine")
    parser.add_argument("--database-url")
    parser.add_argument("--no-database", action="store_true")
    parser.add_argument("--count", type=int)
    parser.add_argument("--overflow", choices=("block", "drop_oldest", "drop_new"), help="of its queue [its default]")
    uvloop.run(main(parser.parse_args()))
