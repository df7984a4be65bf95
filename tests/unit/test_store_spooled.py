"""What waits in spools is counted without a lock and without a change, whatever a recorder does meanwhile."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from crypto_quant.evidence import Spooled
from crypto_quant.seams import Table
from crypto_quant.spoolformat import FIRST_LINK, HEAD, SpoolRecord, encode
from crypto_quant.store import spooled
from crypto_quant.store.spooled import waiting
from crypto_quant.store.spoolfiles import claim

HERE = "db:5432/market"


def segment(*records: tuple[Table, int]) -> bytes:
    """Return the bytes of a segment with so many rows in each record."""
    data, link = HEAD, FIRST_LINK
    for table, rows in records:
        more, link = encode(SpoolRecord(table, [b"row\n"] * rows), link)
        data += more
    return data


def spool(root: Path, number: int, target: str, segments: Sequence[bytes]) -> Path:
    directory = root / str(number)
    directory.mkdir(parents=True)
    (directory / "target").write_text(f"{target}\n")
    for at, data in enumerate(segments, 1):
        (directory / f"{at:08}.spool").write_bytes(data)
    return directory


def test_what_waits_for_a_database_is_counted_by_directory(tmp_path: Path) -> None:
    one = spool(tmp_path, 1, HERE, [segment((Table.TRADES, 700), (Table.CANDLES, 2)), segment((Table.TRADES, 5))])
    spool(tmp_path, 2, "other:5432/market", [segment((Table.TRADES, 9))])
    spool(tmp_path, 3, HERE, [])
    ten = spool(tmp_path, 10, HERE, [segment((Table.CANDLES, 1))])
    (one / "00000003.spool.damaged").write_bytes(segment((Table.TRADES, 1)))
    assert waiting(tmp_path, HERE) == [Spooled(str(one), 705, 2), Spooled(str(ten), 0, 1)]
    assert waiting(tmp_path / "none", HERE) == []


@pytest.mark.parametrize("cut", [1, 5, 30])
def test_a_torn_tail_was_never_safe(tmp_path: Path, cut: int) -> None:
    spool(tmp_path, 1, HERE, [segment((Table.TRADES, 7), (Table.TRADES, 8))[:-cut]])
    [found] = waiting(tmp_path, HERE)
    assert found.trades == 7


async def test_a_recorder_at_work_is_neither_kept_away_nor_disturbed(tmp_path: Path) -> None:
    directory = spool(tmp_path, 1, HERE, [segment((Table.TRADES, 7))])
    files, _ = claim(tmp_path, HERE)
    assert waiting(tmp_path, HERE) == [Spooled(str(directory), 7, 0)]
    await files.close()


def test_a_file_that_goes_meanwhile_waits_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool(tmp_path, 1, HERE, [segment((Table.TRADES, 7)), segment((Table.TRADES, 8))])

    def stored_meanwhile(directory: Path) -> list[Path]:
        names = sorted(directory.glob("*.spool"))
        names[0].unlink()
        return names

    monkeypatch.setattr(spooled, "segments_of", stored_meanwhile)
    assert [each.rows for each in waiting(tmp_path, HERE)] == [8]
