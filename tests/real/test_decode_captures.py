"""Every frame of the recorded captures decodes to what it is; the counts are those of the captures' own description."""

import gzip
import json
import os
from collections import Counter
from pathlib import Path

import pytest

from crypto_quant.binance import wire
from crypto_quant.binance.decode import decode

DATA = Path(os.environ.get("CRYPTO_QUANT_TEST_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data") / "raw"

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"no captures at {DATA} (set CRYPTO_QUANT_TEST_DATA)")


def frames_2021(name: str) -> list[bytes]:
    """Return the frames of a capture whose lines are ``time: frame``; connections and REST answers are left out."""
    frames = []
    with gzip.open(DATA / name) as lines:
        for line in lines:
            head, _, body = line.partition(b": ")
            if b"->" not in head and b"<->" not in line and body:
                frames.append(body.rstrip(b"\n"))
    return frames


def frames_2024(name: str) -> list[bytes]:
    """Return the frames of a capture whose lines are ``receive-ns frame``."""
    with gzip.open(DATA / name) as lines:
        return [line.partition(b" ")[2].rstrip(b"\n") for line in lines]


def kinds(frames: list[bytes]) -> Counter[str]:
    """Count the frames by what they decode to; candles that are closed count once more."""
    counts: Counter[str] = Counter()
    for frame in frames:
        message = decode(frame)
        if isinstance(message, wire.Ignored):
            counts[message.event] += 1
        else:
            counts[type(message).__name__] += 1
            counts["closed"] += isinstance(message, wire.Kline) and message.k.x
    return counts


def test_spot_2021() -> None:
    frames = frames_2021("spot_2021-04-04_btc-eth-dot_aggtrade-kline-depth.txt.gz")
    assert kinds(frames) == {"AggTrade": 1910, "Kline": 118, "closed": 3, "depthUpdate": 2688}


def test_usdm_2021() -> None:
    frames = frames_2021("usdm_2021-07-22_aggtrade-kline-depth-ticker.txt.gz")
    assert kinds(frames) == {"AggTrade": 91, "Kline": 67, "closed": 4, "depthUpdate": 764, "bookTicker": 613}


def test_spot_2024() -> None:
    names = ("spot_2024-08-08_btcusdt_trade-ticker-depth.gz", "spot_2024-08-09_btcusdt_trade-ticker-depth.gz")
    counts = kinds([frame for name in names for frame in frames_2024(name)])
    assert counts["trade"] == 19_904
    # the recorder that made the capture put REST snapshots of the book among the frames
    assert set(counts) == {"trade", "bookTicker", "depthUpdate", "depth"}


@pytest.mark.parametrize("name", [
    "spot_2021-04-04_btc-eth-dot_aggtrade-kline-depth.txt.gz",
    "usdm_2021-07-22_aggtrade-kline-depth-ticker.txt.gz",
])  # fmt: skip
def test_each_field_is_what_a_plain_json_reader_finds(name: str) -> None:
    checked = 0
    for frame in frames_2021(name):
        message = decode(frame)
        plain = json.loads(frame)
        plain = plain.get("data", plain)
        if isinstance(message, wire.AggTrade):
            assert {field: getattr(message, field) for field in message.__struct_fields__}.items() <= plain.items()
            checked += 1
        elif isinstance(message, wire.Kline):
            body = {field: getattr(message.k, field) for field in message.k.__struct_fields__}
            assert body.items() <= plain["k"].items()
            checked += 1
    assert checked > 100
