"""How records lie in a segment: what is read back, and what a damaged file is told."""

import struct

import pytest

from crypto_quant import spoolformat
from crypto_quant.events import CandleStored
from crypto_quant.seams import Covered, Source, Table
from crypto_quant.spoolformat import FIRST_LINK, HEAD, SpoolRecord, decode, encode, proven, scan

TOLD = CandleStored(
    symbol="btcusdt", timeframe="5m", open_time="2026-10-01T12:00:00Z", close="1", volume="2", trades=3,
    source="stream", venue="spot",
)  # fmt: skip


def segment(*records: SpoolRecord) -> bytes:
    data, link = HEAD, FIRST_LINK
    for record in records:
        more, link = encode(record, link)
        data += more
    return data


TRADES = SpoolRecord(Table.TRADES, [b"a\tb\n", b"\xff\x00\n"], (Covered("spot", "btcusdt", 5, 9, Source.STREAM),))
CANDLES = SpoolRecord(Table.CANDLES, [b"c\n"], (), (TOLD,))


def test_records_come_back_as_they_were() -> None:
    data = segment(TRADES, CANDLES)
    framed, damage = scan(data)
    assert damage is None
    assert [(each.table, each.rows) for each in framed] == [(Table.TRADES, 2), (Table.CANDLES, 1)]
    assert [decode(data, each) for each in framed] == [TRADES, CANDLES]
    assert framed[-1].end == len(data)


def test_what_a_record_proves_is_told_without_its_rows() -> None:
    data = segment(TRADES, CANDLES)
    assert [proven(data, each) for each in scan(data)[0]] == [TRADES.covered, ()]


def test_an_empty_segment_has_no_record_and_no_damage() -> None:
    assert scan(HEAD) == ([], None)


@pytest.mark.parametrize("size", range(len(HEAD)))
def test_a_head_that_was_cut_off_is_torn(size: int) -> None:
    framed, damage = scan(HEAD[:size])
    assert framed == []
    assert damage is not None
    assert damage.torn


@pytest.mark.parametrize("data", [b"CQSPOOL2", b"PGCOPY\n\xff rows", bytes(8)])
def test_another_kind_of_file_is_not_torn(data: bytes) -> None:
    framed, damage = scan(data)
    assert framed == []
    assert damage is not None
    assert (damage.offset, damage.torn) == (0, False)
    assert "version" in damage.reason


def test_blocks_that_were_never_written_are_a_torn_tail() -> None:
    data = segment(TRADES)
    framed, damage = scan(data + bytes(4096))
    assert len(framed) == 1
    assert damage is not None
    assert (damage.offset, damage.torn) == (len(data), True)


def test_a_length_that_cannot_be_is_not_believed() -> None:
    data = segment(TRADES)
    framed, damage = scan(data + struct.pack("<IIIB", 2**31, 7, 1, 1) + b"x" * 99)
    assert len(framed) == 1
    assert damage is not None
    assert (damage.offset, damage.reason, damage.torn) == (len(data), "no record begins here", False)


def test_a_record_is_valid_in_its_place_alone() -> None:
    first, link = encode(TRADES, FIRST_LINK)
    second, _ = encode(CANDLES, link)
    framed, damage = scan(HEAD + second + first)
    assert framed == []
    assert damage is not None
    assert damage.reason == "a record's checksum is wrong"
    # nor does it stand behind a copy of its neighbour
    assert len(scan(HEAD + first + first + second)[0]) == 1


def test_the_table_and_the_number_of_rows_are_checked_too() -> None:
    data = bytearray(segment(TRADES))
    data[len(HEAD) + 8] ^= 1
    assert scan(bytes(data))[0] == []
    data = bytearray(segment(TRADES))
    data[len(HEAD) + 12] = 2
    assert scan(bytes(data))[0] == []


def test_a_record_over_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spoolformat, "BODY_MAX_BYTES", 10)
    with pytest.raises(ValueError, match="limit is 10"):
        encode(TRADES, FIRST_LINK)
