"""The small questions, on real tables."""

from datetime import UTC, datetime
from decimal import Decimal

from crypto_quant.seams import Batch, Table
from crypto_quant.store import queries
from crypto_quant.store.timescale import open_sink


def trade(day: str, symbol: str, number: int) -> bytes:
    return f"{day} 12:00:{number:02}+00\tspot\t{symbol}\t{number}\t1\t1\t1\t1\tt\t\\N\n".encode()


def candle(minute: int, symbol: str = "btcusdt", timeframe: str = "5m") -> bytes:
    head = f"2024-08-08 12:{minute:02}:00+00\tspot\t{symbol}\t{timeframe}\t1\t2\t0.5\t1.50000000\t10"
    return (head + "\t15\t7\t4\t6\t1\t2\n").encode()


async def test_queries(database_url: str) -> None:
    sink = await open_sink(database_url)
    ids = [1, 2, 3, 5, 9]
    await sink.write(Batch(Table.TRADES, [trade("2024-08-08", "btcusdt", number) for number in ids]))
    await sink.write(Batch(Table.TRADES, [trade("2024-08-09", "ethusdt", number) for number in (7, 8)]))
    rows = [candle(0), candle(5), candle(10), candle(0, timeframe="15m"), candle(5, symbol="ethusdt")]
    await sink.write(Batch(Table.CANDLES, rows))
    async with sink.reading() as connection:
        assert await queries.counts(connection) == {Table.TRADES: 7, Table.CANDLES: 5}
        btc, eth = await queries.symbol_trades(connection)
        assert (btc.symbol, btc.trades, btc.first_id, btc.last_id, btc.missing) == ("btcusdt", 5, 1, 9, 4)
        assert (eth.symbol, eth.trades, eth.missing) == ("ethusdt", 2, 0)
        assert btc.first_time == datetime(2024, 8, 8, 12, 0, 1, tzinfo=UTC)
        since = datetime(2024, 8, 9, tzinfo=UTC)
        assert [each.symbol for each in await queries.symbol_trades(connection, since=since)] == ["ethusdt"]
        assert [each.symbol for each in await queries.symbol_trades(connection, until=since)] == ["btcusdt"]
        newest = await queries.latest_candles(connection, limit=2, symbol="btcusdt", timeframe="5m")
        assert [each.time.minute for each in newest] == [10, 5]
        assert (newest[0].close, newest[0].quote_volume, newest[0].trade_count) == (
            Decimal("1.50000000"),
            Decimal(15),
            7,
        )
        assert len(await queries.latest_candles(connection)) == 5
        assert await queries.candle_counts(connection) == {
            ("spot", "btcusdt", "15m"): 1, ("spot", "btcusdt", "5m"): 3, ("spot", "ethusdt", "5m"): 1,
        }  # fmt: skip
    await sink.close()
