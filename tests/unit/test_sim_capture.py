import gzip
from pathlib import Path

import pytest

from crypto_quant.errors import ConfigError
from crypto_quant.sim.capture import CaptureTape, read_frames
from crypto_quant.sim.numbers import ONE, parse8

TRADE = '{"e":"trade","E":11,"s":"BTCUSDT","t":%d,"p":"64250.10000000","q":"0.00400000","T":%d,"m":true,"M":true}'
AGG = (
    '{"stream":"ethusdt@aggTrade","data":{"e":"aggTrade","E":11,"s":"ETHUSDT","a":%d,"p":"3180.5","q":"2.000",'
    '"f":%d,"l":%d,"T":%d,"m":false,"M":true}}'
)
DEPTH = '{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1,"s":"BTCUSDT","U":1,"u":2,"b":[],"a":[]}}'
BOOK = '{"stream":"btcusdt@bookTicker","data":{"u":5,"s":"BTCUSDT","b":"1.0","B":"1","a":"2","A":"1"}}'


def capture(path: Path, *lines: str, packed: bool = False) -> Path:
    data = "\n".join(lines).encode() + b"\n"
    path.write_bytes(gzip.compress(data) if packed else data)
    return path


def test_every_form_of_line(tmp_path: Path) -> None:
    path = capture(
        tmp_path / "a.gz",
        f"1723161253937085768 {DEPTH}",
        "wss://stream.binance.com:9443/stream?streams=x <-> 1617566590.378895",
        'https://www.binance.com/api/v1/depth?symbol=X -> 1617566592.1065369: {"lastUpdateId":1}',
        f"1617566591.326123: {BOOK}",
        f"1617566591: {BOOK}",
        TRADE % (1, 1000),
        "noise",
        "",
        packed=True,
    )
    assert list(read_frames(path)) == [
        DEPTH.encode(), BOOK.encode(), BOOK.encode(), (TRADE % (1, 1000)).encode(),
    ]  # fmt: skip


def test_raw_trades_and_aggregates_make_a_tape(tmp_path: Path) -> None:
    tape = CaptureTape.read(
        [
            capture(tmp_path / "b", AGG % (71, 8, 9, 1002), TRADE % (2, 1001), DEPTH, BOOK),
            capture(tmp_path / "a", TRADE % (1, 1000), TRADE % (2, 1001)),
        ]
    )
    (block,) = tape.blocks()
    assert [(one.symbol, one.first_id, one.last_id, one.agg_id, one.time_us) for one in block] == [
        ("BTCUSDT", 1, 1, None, 1_000_000),
        ("BTCUSDT", 2, 2, None, 1_001_000),
        ("ETHUSDT", 8, 9, 71, 1_002_000),
    ]
    assert block[2].price == parse8("3180.5")
    assert tape.start_us == 1_000_000
    listed = {one.name: one for one in tape.symbols}
    assert (listed["ETHUSDT"].base, listed["ETHUSDT"].quote) == ("ETH", "USDT")
    assert listed["BTCUSDT"].tick == ONE // 10
    assert listed["BTCUSDT"].step == ONE // 1000


def test_where_there_are_raw_trades_recorded_aggregates_are_left_out(tmp_path: Path) -> None:
    both = capture(tmp_path / "a", TRADE % (1, 1000), (AGG % (71, 1, 1, 1000)).replace("ETHUSDT", "BTCUSDT"))
    assert [one.agg_id for one in CaptureTape.read([both]).trades] == [None]


@pytest.mark.parametrize(
    "line",
    [
        '{"e":"trade","s":"BTCUSDT","p":"1","q":"1","T":1,"m":true}',
        '{"e":"aggTrade","s":"BTCUSDT","a":1,"p":"1","q":"1","T":1,"m":true}',
        '{"e":"trade","s":"BTCUSDT","t":1,"p":1.5,"q":"1","T":1,"m":true}',
        '{"e":"trade","s":"BTCUSDT","t":1,"p":"1e5","q":"1","T":1,"m":true}',
        '{"e":"trade",}',
    ],
)
def test_damaged_trades_are_refused(tmp_path: Path, line: str) -> None:
    with pytest.raises(ConfigError):
        CaptureTape.read([capture(tmp_path / "a", TRADE % (1, 1000), line)])


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        CaptureTape.read([tmp_path / "absent"])
    with pytest.raises(ConfigError, match="no trades"):
        CaptureTape.read([capture(tmp_path / "a", DEPTH)])
    cut = tmp_path / "cut.gz"
    cut.write_bytes(gzip.compress(b"x" * 10_000)[:-20])
    with pytest.raises(ConfigError, match="cannot read"):
        CaptureTape.read([cut])
