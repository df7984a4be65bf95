"""The simulated exchange's archive: real files of what was printed, over real HTTP, and its flaws."""

import hashlib
import io
import zipfile
from collections.abc import AsyncIterator

import aiohttp
import pytest

from crypto_quant.errors import ConfigError
from crypto_quant.sim.numbers import text8
from crypto_quant.sim.server import SimulatedExchange
from crypto_quant.sim.symbols import invented
from crypto_quant.sim.synthetic import SyntheticTape

START_US = 1_790_812_500_000_000 - 300_000_000  # 2026-09-30T23:50:00Z
DAILY = "/data/spot/daily/aggTrades/BTCUSDT/BTCUSDT-aggTrades-2026-09-30.zip"


@pytest.fixture
async def exchange() -> AsyncIterator[SimulatedExchange]:
    tape = SyntheticTape(invented(["BTCUSDT"]), rate=10, seed=2, start_us=START_US)
    async with SimulatedExchange(tape, lead_s=1200, hold_until_subscribed=True) as running:
        yield running


async def fetch(exchange: SimulatedExchange, path: str, **headers: str) -> tuple[int, bytes]:
    async with aiohttp.ClientSession() as session, session.get(exchange.rest_url + path, headers=headers) as answer:
        return answer.status, await answer.read()


def text(zipped: bytes) -> list[str]:
    with zipfile.ZipFile(io.BytesIO(zipped)) as packed:
        [name] = packed.namelist()
        assert name.endswith(".csv")
        return packed.read(name).decode().splitlines()


async def test_a_day_that_is_over_is_what_was_printed(exchange: SimulatedExchange) -> None:
    status, zipped = await fetch(exchange, DAILY)
    assert status == 200
    midnight_us = START_US + 600_000_000
    printed = [one for one in exchange.agg_trades("BTCUSDT") if one.time_us < midnight_us]
    assert len(printed) > 1000
    assert text(zipped) == [
        f"{one.agg_id},{text8(one.price)},{text8(one.quantity)},{one.first_id},{one.last_id},{one.time_us},"
        f"{one.maker},{one.best}"
        for one in printed
    ]
    _, line = await fetch(exchange, f"{DAILY}.CHECKSUM")
    assert line.decode() == f"{hashlib.sha256(zipped).hexdigest()}  BTCUSDT-aggTrades-2026-09-30.zip\n"
    _, month = await fetch(exchange, DAILY.replace("daily", "monthly").replace("-30.zip", ".zip"))
    assert text(month) == text(zipped)


async def test_candles_of_a_day(exchange: SimulatedExchange) -> None:
    _, zipped = await fetch(exchange, "/data/spot/daily/klines/BTCUSDT/5m/BTCUSDT-5m-2026-09-30.zip")
    lines = text(zipped)
    assert len(lines) == 2
    assert lines[0].startswith(f"{START_US},")
    assert lines[0].split(",")[6] == str(START_US + 299_999_999)


@pytest.mark.parametrize(
    "path",
    [
        "/data/spot/daily/aggTrades/BTCUSDT/BTCUSDT-aggTrades-2026-10-01.zip",  # today
        "/data/spot/daily/aggTrades/BTCUSDT/BTCUSDT-aggTrades-2026-09-29.zip",  # nothing was printed
        "/data/spot/monthly/aggTrades/BTCUSDT/BTCUSDT-aggTrades-2026-10.zip",
        "/data/spot/daily/aggTrades/NOUSDT/NOUSDT-aggTrades-2026-09-30.zip",
        "/data/spot/daily/aggTrades/BTCUSDT/BTCUSDT-aggTrades-2026-09.zip",
        "/data/spot/daily/klines/BTCUSDT/1w/BTCUSDT-1w-2026-09-30.zip",  # by the month alone
        "/data/spot/daily/klines/BTCUSDT/1M/BTCUSDT-1M-2026-09-30.zip",
        "/data/spot/daily/aggTrades/BTCUSDT/BTCUSDT-aggTrades-2026-02-30.zip",
        "/data/anything",
    ],
)
async def test_what_is_not_there(exchange: SimulatedExchange, path: str) -> None:
    assert (await fetch(exchange, path))[0] == 404
    assert (await fetch(exchange, f"{path}.CHECKSUM"))[0] == 404


async def test_the_rest_of_a_file(exchange: SimulatedExchange) -> None:
    _, whole = await fetch(exchange, DAILY)
    assert await fetch(exchange, DAILY, Range="bytes=100-") == (206, whole[100:])
    assert (await fetch(exchange, DAILY, Range=f"bytes={len(whole)}-"))[0] == 416


async def test_flaws(exchange: SimulatedExchange) -> None:
    _, whole = await fetch(exchange, DAILY)
    exchange.faults.archive("missing", count=1)
    assert (await fetch(exchange, DAILY))[0] == 404
    exchange.faults.archive("truncated", count=1, name="2026-09-30")
    assert (await fetch(exchange, DAILY))[1] == whole[: len(whole) // 2]
    exchange.faults.archive("checksum", count=1)
    assert hashlib.sha256(whole).hexdigest().encode() not in (await fetch(exchange, f"{DAILY}.CHECKSUM"))[1]
    exchange.faults.archive("cut", count=1)
    with pytest.raises(aiohttp.ClientPayloadError):
        await fetch(exchange, DAILY)
    assert (await fetch(exchange, DAILY))[1] == whole
    straight = text(whole)
    for flaw in ("unordered", "duplicated", "header", "holes"):
        exchange.faults.archive(flaw)
        _, flawed = await fetch(exchange, DAILY)
        assert text(flawed) != straight
        assert set(straight) <= set(text(flawed)) or flaw == "holes"
        _, line = await fetch(exchange, f"{DAILY}.CHECKSUM")
        assert line.startswith(hashlib.sha256(flawed).hexdigest().encode())
        exchange.faults.clear()
    with pytest.raises(ConfigError, match="unknown flaw"):
        exchange.faults.archive("sad")
    with pytest.raises(ConfigError, match="takes no such count"):
        exchange.faults.archive("header", count=3)


async def test_rest_forgets_on_command(exchange: SimulatedExchange) -> None:
    first = exchange.agg_trades("BTCUSDT")[0].agg_id
    exchange.faults.rest_forget("btcusdt", first, first + 9)
    _, body = await fetch(exchange, f"/api/v3/aggTrades?symbol=BTCUSDT&fromId={first}&limit=2")
    assert f'"a":{first + 10},'.encode() in body
    assert f'"a":{first + 11},'.encode() in body
