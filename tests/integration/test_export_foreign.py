"""Other tools' formats: held against their documented layout everywhere, and read by the tools where they are.

``make foreign`` makes environments for freqtrade, hftbacktest and nautilus_trader and has them read what is exported.
"""

import gzip
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from exports import BTC, BTC_5M, exported, files
from records import DAY, SECOND, Record, record_on, trade

from crypto_quant.errors import ConfigError
from crypto_quant.lake.forms import FORMS
from crypto_quant.manifest import Series, read
from crypto_quant.market import fold_symbol

FOREIGN = Path(__file__).parents[1] / "foreign"
DAY_NS = int(DAY.timestamp()) * 10**9
HOUR_S = 3600
# whole days of trades on the hour and ids from 0; every third was received 7 ms later, one of them 90 minutes later
TRADES = [
    trade(n, DAY + n * HOUR_S * SECOND, quantity=trade(n)[3] / 10,
          received_at=None if n % 3 else DAY + (n + (n == 6) * 1.5) * HOUR_S * SECOND + timedelta(milliseconds=7))
    for n in range(48)
]  # fmt: skip


@pytest.fixture
async def record() -> AsyncIterator[Record]:
    async with record_on("postgresql") as lent:
        await lent.trades(TRADES)
        await lent.candles([DAY + n * 300 * SECOND for n in range(288)])
        await lists(lent, "btcusdt", "BTC", "USDT")
        yield lent


async def lists(record: Record, symbol: str, base: str, quote: str, venue: str = "spot") -> None:
    """Have the record know the assets of a symbol."""
    await record.execute("INSERT INTO symbols VALUES ($1, $2, $3, $4, 'TRADING', now())", venue, symbol, base, quote)


def heard_ns() -> list[int]:
    """When a listener hears of each trade: never before its time, nor before the one that precedes it."""
    heard, latest = [], 0
    for time, *_, received in TRADES:
        latest = max(latest, _ns(time), 0 if received is None else _ns(received))
        heard.append(latest)
    return heard


def _ns(moment: Any) -> int:
    return round((moment - DAY) / timedelta(microseconds=1)) * 1000 + DAY_NS


def side(row: tuple[Any, ...]) -> str:
    return "sell" if row[6] else "buy"


def shortest(number: Any) -> str:
    return f"{number:f}".rstrip("0").rstrip(".")


async def test_tardis_csv(record: Record, tmp_path: Path) -> None:
    exported(record.url, tmp_path, "tardis-csv")
    assert files(tmp_path) == [
        "binance_trades_2024-08-08_BTCUSDT.csv.gz", "binance_trades_2024-08-09_BTCUSDT.csv.gz",
        "spot-btcusdt-trades.tardis-csv.manifest.json",
    ]  # fmt: skip
    lines = [
        line for name in files(tmp_path)[:2] for line in gzip.decompress((tmp_path / name).read_bytes()).splitlines()
    ]
    head = b"exchange,symbol,timestamp,local_timestamp,id,side,price,amount"
    assert (lines[0], lines[25]) == (head, head)
    assert [line.decode() for line in lines if line != head] == [
        f"binance,BTCUSDT,{_ns(row[0]) // 1000},{heard // 1000},{row[1]},{side(row)},"
        f"{shortest(row[2])},{shortest(row[3])}"
        for row, heard in zip(TRADES, heard_ns(), strict=True)
    ]


async def test_hftbacktest(record: Record, tmp_path: Path) -> None:
    exported(record.url, tmp_path, "hftbacktest")
    names = ["spot/btcusdt_20240808.npz", "spot/btcusdt_20240809.npz"]
    assert files(tmp_path) == [*names, "spot/spot-btcusdt-trades.hftbacktest.manifest.json"]
    events = np.concatenate([np.load(tmp_path / name)["data"] for name in names])
    assert events.dtype.itemsize == 64
    assert events.dtype.names == ("ev", "exch_ts", "local_ts", "px", "qty", "order_id", "ival", "fval")
    both = (1 << 31) | (1 << 30) | 2
    assert events["ev"].tolist() == [both | (1 << 28 if row[6] else 1 << 29) for row in TRADES]
    assert events["exch_ts"].tolist() == [_ns(row[0]) for row in TRADES]
    assert events["local_ts"].tolist() == heard_ns()
    assert events["px"].tolist() == [float(row[2]) for row in TRADES]
    assert events["qty"].tolist() == [float(row[3]) for row in TRADES]


async def test_freqtrade(record: Record, tmp_path: Path) -> None:
    exported(record.url, tmp_path, "freqtrade", BTC, BTC_5M)
    assert files(tmp_path)[:2] == ["BTC_USDT-5m.feather", "BTC_USDT-trades.feather"]
    candles = pa.ipc.open_file(tmp_path / "BTC_USDT-5m.feather").read_all()
    assert candles.schema.names == ["date", "open", "high", "low", "close", "volume"]
    assert list(candles.to_pylist()[1].values()) == [DAY + 300 * SECOND, 1.0, 2.0, 0.5, 1.5, 10.0]
    trades = pa.ipc.open_file(tmp_path / "BTC_USDT-trades.feather").read_all()
    assert [tuple(row.values()) for row in trades.to_pylist()] == [
        (_ns(row[0]) // 10**6, str(row[1]), None, side(row), float(row[2]), float(row[3]), float(row[2] * row[3]))
        for row in TRADES
    ]
    assert read(tmp_path / "spot-btcusdt-5m.freqtrade.manifest.json").parts[0].complete


async def test_a_whole_file_follows_what_is_asked_for(record: Record, tmp_path: Path) -> None:
    exported(record.url, tmp_path, "freqtrade")
    [outcome] = exported(record.url, tmp_path, "freqtrade")
    assert (outcome.files, outcome.kept) == (0, 1)
    [outcome] = exported(record.url, tmp_path, "freqtrade", last=DAY.date())
    assert (outcome.files, outcome.rows) == (1, 24)
    [outcome] = exported(record.url, tmp_path, "freqtrade", first=DAY.date() + timedelta(1))
    assert (outcome.files, outcome.rows) == (1, 24)
    assert len(read(tmp_path / "spot-btcusdt-trades.freqtrade.manifest.json").parts) == 1


# names that fit two pairs: the longer quote asset would be the wrong one
AMBIGUOUS = [
    ("ADA", "EUR"), ("LUNA", "EUR"), ("THETA", "EUR"), ("GALA", "EUR"), ("BNB", "USD"), ("DOT", "USD"), ("HNT", "USDT"),
    ("BTC", "FDUSD"), ("币安人生", "USDT"),
]  # fmt: skip


@pytest.mark.parametrize(("base", "quote"), AMBIGUOUS)
async def test_freqtrade_has_the_pair_that_the_exchange_has(
    record: Record, tmp_path: Path, base: str, quote: str
) -> None:
    symbol = fold_symbol(base + quote)
    await record.trades([trade(n, DAY + n * HOUR_S * SECOND) for n in range(24)], symbol=symbol)
    series = Series("spot", "trades", symbol)
    with pytest.raises(ConfigError, match=f"never recorded: {base + quote}.*--pair {base + quote}=BASE/QUOTE"):
        exported(record.url, tmp_path, "freqtrade", series)
    assert files(tmp_path) == []
    await lists(record, symbol, base, quote)
    exported(record.url, tmp_path, "freqtrade", series)
    assert f"{base}_{quote}-trades.feather" in files(tmp_path)


async def test_a_person_gives_a_pair_and_a_wrong_one_is_made_again(record: Record, tmp_path: Path) -> None:
    await record.trades([trade(n, DAY + n * HOUR_S * SECOND) for n in range(24)], symbol="adaeur")
    series = Series("spot", "trades", "adaeur")
    exported(record.url, tmp_path, "freqtrade", series, pairs=["ADAEUR=AD/AEUR"])
    assert files(tmp_path)[0] == "AD_AEUR-trades.feather"
    [outcome] = exported(record.url, tmp_path, "freqtrade", series, pairs=["adaeur=ada/eur"])
    assert (outcome.files, outcome.kept) == (1, 0)
    assert files(tmp_path)[0] == "ADA_EUR-trades.feather"
    assert len(files(tmp_path)) == 2
    [outcome] = exported(record.url, tmp_path, "freqtrade", series, pairs=["ADAEUR=ADA/EUR"])
    assert (outcome.files, outcome.kept) == (0, 1)


async def test_a_dated_contract_is_no_pair(record: Record, tmp_path: Path) -> None:
    await record.trades([trade(n) for n in range(24)], symbol="btcusdt_260925", venue="usdm")
    await lists(record, "btcusdt_260925", "BTC", "USDT", "usdm")
    with pytest.raises(ConfigError, match="this contract is no pair: BTCUSDT_260925, of BTC and USDT"):
        exported(record.url, tmp_path, "freqtrade", Series("usdm", "trades", "btcusdt_260925"))


async def test_a_record_of_an_earlier_version_knows_no_pairs(record: Record, tmp_path: Path) -> None:
    await record.execute("DROP TABLE symbols")
    with pytest.raises(ConfigError, match="never recorded"):
        exported(record.url, tmp_path, "freqtrade")
    [outcome] = exported(record.url, tmp_path, "freqtrade", pairs=["BTCUSDT=BTC/USDT"])
    assert outcome.files == 1


async def test_nautilus(record: Record, tmp_path: Path) -> None:
    exported(record.url, tmp_path, "nautilus", BTC, BTC_5M)
    folder = tmp_path / "data/trade_tick/BTCUSDT.BINANCE"
    assert sorted(each.name for each in folder.iterdir()) == [
        "2024-08-08T00-00-00-000000000Z_2024-08-08T23-00-00-000000000Z.parquet",
        "2024-08-09T00-00-00-000000000Z_2024-08-09T23-00-00-000000000Z.parquet",
    ]
    tables = [pq.ParquetFile(each).read() for each in sorted(folder.iterdir())]
    assert tables[0].schema.metadata == {
        b"instrument_id": b"BTCUSDT.BINANCE", b"price_precision": b"2", b"size_precision": b"5"
    }  # fmt: skip
    fixed = 10**16
    assert [tuple(row.values()) for table in tables for row in table.to_pylist()] == [
        (int(row[2] * fixed).to_bytes(16, "little"), int(row[3] * fixed).to_bytes(16, "little"), 2 if row[6] else 1,
         str(row[1]), _ns(row[0]), _ns(row[0]))
        for row in TRADES
    ]  # fmt: skip
    [bars] = (tmp_path / "data/bar/BTCUSDT.BINANCE-5-MINUTE-LAST-EXTERNAL").iterdir()
    assert bars.name.startswith("2024-08-08T00-05-00-000000000Z_2024-08-09T00-00-00")
    assert pq.ParquetFile(bars).read().to_pylist()[0]["ts_init"] == DAY_NS + 300 * 10**9
    # a trade that needs one more decimal changes what all files say
    await record.trades([trade(48, DAY + 48 * HOUR_S * SECOND, quantity=trade(1)[3] / 100)])
    [outcome] = exported(record.url, tmp_path, "nautilus")
    assert (outcome.files, outcome.kept) == (3, 0)
    assert pq.ParquetFile(sorted(folder.iterdir())[0]).schema_arrow.metadata[b"size_precision"] == b"6"


async def test_a_day_that_grows_has_one_file(record: Record, tmp_path: Path) -> None:
    """The catalog's names tell the last row: an older file of the day would be read beside the new one."""
    exported(record.url, tmp_path, "nautilus")
    await record.trades([trade(48, DAY + 47.5 * HOUR_S * SECOND)])
    [outcome] = exported(record.url, tmp_path, "nautilus")
    assert (outcome.files, outcome.kept) == (1, 1)
    assert len([name for name in files(tmp_path) if name.endswith(".parquet")]) == 2


WRONG = [
    ("tardis-csv", BTC_5M, "tardis-csv has no candles: .*It has trades"),
    ("hftbacktest", BTC_5M, "hftbacktest has no candles"),
    ("freqtrade", Series("coinm", "trades", "btcusd_perp"), "no coin-margined futures"),
]


@pytest.mark.parametrize(("form", "series", "said"), WRONG)
def test_what_a_format_has_no_place_for(form: str, series: Series, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        FORMS[form].check(series)


# -- read by the tools themselves ---------------------------------------------------------------------------


def tool(name: str, *words: str) -> Any:
    """Return what a tool has read, by its own Python; skip where it was not made (make foreign makes it)."""
    sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks" / "peers"))
    try:
        from environment import HOMES, Unavailable, locked_python
    finally:
        sys.path.pop(0)
    wanted = os.environ.get("CRYPTO_QUANT_TEST_FOREIGN") == "1"
    if not (wanted or (HOMES / name / f"{name}.txt").exists()):
        pytest.skip(f"{name} is not installed here: make foreign")
    try:
        python = locked_python(FOREIGN / f"{name}.txt")
    except Unavailable as problem:
        pytest.skip(f"{name} cannot be had here: {problem}")
    done = subprocess.run(
        [python, FOREIGN / f"read_{name}.py", *words], capture_output=True, text=True, check=False, timeout=100
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def found(out: Path, suffix: str) -> str:
    return ",".join(str(out / name) for name in files(out) if name.endswith(suffix))


@pytest.mark.timeout(600)
async def test_freqtrade_reads_it(record: Record, tmp_path: Path) -> None:
    exported(record.url, tmp_path, "freqtrade", BTC, BTC_5M)
    told = tool("freqtrade", str(tmp_path), "BTC/USDT")
    assert told["pairs"] == [["BTC/USDT", "5m"]]
    assert len(told["candles"]) == 288
    assert told["candles"][1] == ["2024-08-08 00:05:00+00:00", 1.0, 2.0, 0.5, 1.5, 10.0]
    assert told["trades"] == [
        [_ns(row[0]) // 10**6, str(row[1]), side(row), float(row[2]), float(row[3]), float(row[2] * row[3])]
        for row in TRADES
    ]
    assert told["volume_by_day"] == pytest.approx([float(sum(row[3] for row in TRADES[a : a + 24])) for a in (0, 24)])


@pytest.mark.timeout(600)
async def test_hftbacktest_reads_it(record: Record, tmp_path: Path) -> None:
    exported(record.url, tmp_path, "hftbacktest")
    exported(record.url, tmp_path / "csv", "tardis-csv")
    told = tool("hftbacktest", found(tmp_path, ".npz"), found(tmp_path, ".csv.gz"))
    assert told["same_as_tardis"] == [True, True]
    assert told["trades"] == [
        [_ns(row[0]), heard, side(row), float(row[2]), float(row[3])]
        for row, heard in zip(TRADES, heard_ns(), strict=True)
    ]


@pytest.mark.timeout(600)
async def test_nautilus_reads_it(record: Record, tmp_path: Path) -> None:
    exported(record.url, tmp_path, "nautilus", BTC, BTC_5M)
    exported(record.url, tmp_path / "csv", "tardis-csv")
    csvs = found(tmp_path, ".csv.gz")
    bars = "BTCUSDT.BINANCE-5-MINUTE-LAST-EXTERNAL"
    told = tool("nautilus_trader", str(tmp_path), "BTCUSDT.BINANCE", bars, csvs)
    rows = [
        [str(row[1]), f"{row[2]:.2f}", f"{row[3]:.5f}", "SELLER" if row[6] else "BUYER", _ns(row[0])] for row in TRADES
    ]
    assert told["trades"] == rows
    assert len(told["bars"]) == 288
    assert told["bars"][0] == ["1.0", "2.0", "0.5", "1.5", "10", DAY_NS + 300 * 10**9]
    assert [begin for begin, _ in told["intervals"]] == [DAY_NS, DAY_NS + 86_400 * 10**9]
    assert [[each[0], *each[3:]] for each in told["csv"]] == [
        [row[0], *row[3:], heard] for row, heard in zip(rows, heard_ns(), strict=True)
    ]
