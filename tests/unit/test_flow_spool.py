"""The queue itself: bounds, order, refusals of the disk, and what is told of a damaged file."""

import asyncio

import pytest
from flow_doubles import Journal
from spool_doubles import ForgetfulDisk, ForgetfulFiles

from crypto_quant import events
from crypto_quant.continuity import Gap
from crypto_quant.errors import SpoolUnavailable
from crypto_quant.flow.spool import Spool
from crypto_quant.seams import Covered, Source, Table
from crypto_quant.spoolformat import FIRST_LINK, HEAD, SpoolRecord, encode, scan


def record(number: int, table: Table = Table.TRADES) -> SpoolRecord:
    return SpoolRecord(table, [b"row %d\n" % number])


def proof(symbol: str, first: int, last: int) -> SpoolRecord:
    return SpoolRecord(Table.TRADES, [b"row\n"], (Covered("spot", symbol, first, last, Source.STREAM),))


class Bench:
    def __init__(self, disk: ForgetfulDisk | None = None, *, limit: int = 10_000, segment: int = 100) -> None:
        self.disk = disk or ForgetfulDisk()
        self.journal = Journal()
        self.files = ForgetfulFiles(self.disk)
        self.spool = Spool(self.files, limit_bytes=limit, segment_bytes=segment, emit=self.journal)

    async def opened(self) -> Spool:
        await self.spool.open()
        return self.spool


async def test_records_come_out_in_order_over_several_segments() -> None:
    spool = await Bench().opened()
    for number in range(20):
        await spool.put(record(number))
    assert (spool.records, len(spool), spool.rows[Table.TRADES], spool.rows[Table.CANDLES]) == (20, 20, 20, 0)
    found = []
    while (oldest := await spool.oldest()) is not None:
        found += oldest[1]
        await spool.done(oldest[0])
    assert found == [record(number) for number in range(20)]
    assert (spool.records, len(spool), spool.size_bytes) == (0, 0, 0)


async def test_a_segment_that_is_read_grows_no_more() -> None:
    bench = Bench(segment=10_000)
    spool = await bench.opened()
    await spool.put(record(1))
    oldest = await spool.oldest()
    assert oldest is not None
    await spool.put(record(2))
    assert len(bench.disk.names) == 2
    await spool.done(oldest[0])
    assert [each.rows for each in (await spool.oldest() or (None, []))[1]] == [[b"row 2\n"]]


async def test_a_full_spool_refuses_and_has_room_again_when_a_segment_is_stored() -> None:
    spool = await Bench(limit=250).opened()
    while spool.size_bytes + spool.size_bytes // max(1, spool.records) <= 250:
        await spool.put(record(1))
    put = spool.records
    with pytest.raises(SpoolUnavailable, match="of 250 bytes are used"):
        await spool.put(record(2))
    assert spool.size_bytes <= 250
    assert spool.records == put > 3
    oldest = await spool.oldest()
    assert oldest is not None
    await spool.done(oldest[0])
    await spool.put(record(99))


async def test_what_an_earlier_run_has_left_is_found_and_told() -> None:
    bench = Bench()
    spool = await bench.opened()
    assert bench.journal.events == []
    for number in range(7):
        await spool.put(record(number, Table.CANDLES if number == 3 else Table.TRADES))
    again = Bench(bench.disk)
    spool = await again.opened()
    (found,) = again.journal.of(events.SpoolFound)
    assert (found.rows, found.records, found.directory) == (7, 7, "/spool/1")
    assert found.bytes == spool.size_bytes == sum((await bench.files.sizes()).values())
    assert dict(spool.rows) == {Table.TRADES: 6, Table.CANDLES: 1}
    left = await bench.files.sizes()
    await spool.put(record(7))  # never into a file of another run
    assert len(again.disk.names) == len(left) + 1
    assert left.items() < (await again.files.sizes()).items()


async def test_a_torn_tail_is_cut_and_told() -> None:
    bench = Bench(segment=10_000)
    spool = await bench.opened()
    for number in range(3):
        await spool.put(record(number))
    (inode,) = bench.disk.names.values()
    del inode.content[-5:]
    torn = len(inode.content)
    again = Bench(bench.disk)
    spool = await again.opened()
    (told,) = again.journal.of(events.SpoolDamaged)
    assert told.torn
    assert told.file == "/spool/1/00000001.spool"
    assert told.cut_at + told.lost_bytes == torn
    assert told.cut_at == len(inode.content) == spool.size_bytes
    oldest = await spool.oldest()
    assert oldest is not None
    assert oldest[1] == [record(0), record(1)]
    await spool.done(oldest[0])
    assert again.disk.names == {}


async def test_a_damaged_file_is_used_as_far_as_it_is_right_and_then_kept() -> None:
    bench = Bench(segment=10_000)
    spool = await bench.opened()
    for number in range(3):
        await spool.put(record(number))
    (inode,) = bench.disk.names.values()
    inode.content[-10] ^= 1
    again = Bench(bench.disk)
    spool = await again.opened()
    (told,) = again.journal.of(events.SpoolDamaged)
    assert (told.torn, told.reason) == (False, "a record's checksum is wrong")
    oldest = await spool.oldest()
    assert oldest is not None
    assert len(oldest[1]) == 2
    await spool.done(oldest[0])
    assert list(again.disk.names) == ["00000001.spool.damaged"]
    assert told.kept.endswith("00000001.spool.damaged")


async def test_a_file_of_another_kind_is_left_alone_and_does_not_stand_in_the_way() -> None:
    disk = ForgetfulDisk()
    await ForgetfulFiles(disk).write("00000004.spool", 0, b"CQSPOOL9 what a later version wrote")
    await ForgetfulFiles(disk).write("00000005.spool", 0, HEAD[:3])
    bench = Bench(disk)
    spool = await bench.opened()
    assert [(told.torn, told.cut_at) for told in bench.journal.of(events.SpoolDamaged)] == [(False, 0), (True, 0)]
    await spool.put(record(1))
    assert sorted(disk.names) == ["00000004.spool", "00000006.spool"]
    assert (await spool.oldest() or (None, []))[1] == [record(1)]


@pytest.mark.parametrize("call", ["write", "sync", "sync_names"])
async def test_a_disk_that_refuses_is_not_trusted_with_that_file_again(call: str) -> None:
    bench = Bench(segment=10_000)
    spool = await bench.opened()
    if call != "sync_names":
        await spool.put(record(1))
    failing = True
    bench.disk.fails = lambda _number, step: failing and step == call
    safe = []
    with pytest.raises(SpoolUnavailable, match="writing the spool failed"):
        await spool.put(record(2), lambda: safe.append(2))
    assert safe == []
    failing = False
    await spool.put(record(3), lambda: safe.append(3))
    assert safe == [3]
    expected = [record(3)] if call == "sync_names" else [record(1), record(3)]
    assert spool.records == len(expected)
    after = await Bench(bench.disk.after_crash()).opened()
    found = []
    while (oldest := await after.oldest()) is not None:
        found += [each for each in oldest[1] if each != record(2)]  # it may have reached the disk all the same
        await after.done(oldest[0])
    assert found == expected


async def test_a_disk_that_cannot_be_read_is_told_and_asked_again() -> None:
    bench = Bench()
    spool = await bench.opened()
    await spool.put(record(1))
    bench.disk.fails = lambda _number, step: step == "read"
    with pytest.raises(SpoolUnavailable, match="Input/output error"):
        await spool.oldest()
    bench.disk.fails = lambda _number, _step: False
    assert (await spool.oldest() or (None, []))[1] == [record(1)]


async def test_rows_that_have_rotted_since_they_were_put_are_counted_and_kept() -> None:
    bench = Bench(segment=10_000)
    spool = await bench.opened()
    for number in range(4):
        await spool.put(record(number))
    (inode,) = bench.disk.names.values()
    inode.content[-30] ^= 4
    oldest = await spool.oldest()
    assert oldest is not None
    missing = 4 - len(oldest[1])
    assert missing
    assert spool.unreadable == {Table.TRADES: missing, Table.CANDLES: 0}
    assert len(spool) == 4 - missing
    assert len(bench.journal.of(events.SpoolDamaged)) == 1
    await spool.done(oldest[0])
    assert list(bench.disk.names) == ["00000001.spool.damaged"]


async def test_a_tail_that_was_torn_once_never_looks_like_loss() -> None:
    """Others are written behind its file, and the power goes."""
    bench = Bench(segment=10_000)
    spool = await bench.opened()
    await spool.put(record(1))
    (inode,) = bench.disk.names.values()
    data, _ = encode(record(9), FIRST_LINK)
    bench.disk.write("00000001.spool", len(inode.content), data[:-3])  # as a kill leaves it
    spool = await Bench(bench.disk).opened()
    await spool.put(record(2))
    last = Bench(bench.disk.after_crash())
    spool = await last.opened()
    assert last.journal.of(events.SpoolDamaged) == []
    assert spool.records == 2


async def test_what_a_killed_run_has_not_synced_is_safe_once_it_is_found() -> None:
    disk = ForgetfulDisk()
    bench = Bench(disk)
    data, _ = encode(record(1), FIRST_LINK)
    disk.write("00000001.spool", 0, HEAD + data)
    assert (await bench.opened()).records == 1
    for _ in range(20):
        assert (await Bench(disk.after_crash()).opened()).records == 1


async def test_a_file_that_an_earlier_run_deleted_does_not_come_back() -> None:
    """Its number is used again from the beginning: behind it, a torn tail would look like loss."""
    data, _ = encode(record(1), FIRST_LINK)
    disk = ForgetfulDisk(files={"00000005.spool": HEAD + data})
    disk.remove("00000005.spool")
    assert any(disk.after_crash().names for _ in range(20))
    await Bench(disk).opened()
    assert not any(disk.after_crash().names for _ in range(20))


async def test_a_file_without_a_valid_record_is_told_once_and_kept_under_another_name() -> None:
    disk = ForgetfulDisk()
    data, _ = encode(record(1), FIRST_LINK)
    disk.write("00000001.spool", 0, HEAD + data[:-1] + b"?")
    bench = Bench(disk)
    spool = await bench.opened()
    (told,) = bench.journal.of(events.SpoolDamaged)
    assert told.kept == "/spool/1/00000001.spool.damaged"
    assert list(disk.names) == ["00000001.spool.damaged"]
    assert (spool.records, spool.size_bytes) == (0, 0)
    again = Bench(disk)
    await again.opened()
    assert again.journal.events == []


async def test_what_the_disk_does_not_delete_counts_until_it_does() -> None:
    bench = Bench(limit=200, segment=50)
    spool = await bench.opened()
    await spool.put(record(1))
    put = spool.size_bytes
    bench.disk.fails = lambda _number, call: call == "remove"
    oldest = await spool.oldest()
    assert oldest is not None
    await spool.done(oldest[0])
    assert (spool.records, spool.size_bytes) == (0, put)
    while spool.size_bytes + put <= 200:
        await spool.put(record(2))
    with pytest.raises(SpoolUnavailable, match="full"):
        await spool.put(record(3))
    assert sum((await bench.files.sizes()).values()) == spool.size_bytes <= 200
    bench.disk.fails = lambda _number, _call: False
    await spool.put(record(3))
    assert sum((await bench.files.sizes()).values()) == spool.size_bytes <= 200


async def test_a_file_that_failed_gives_its_number_to_the_next() -> None:
    """So whatever a crash brings back of it stands at the end, where a torn tail is no loss."""
    bench = Bench()
    spool = await bench.opened()
    bench.disk.fails = lambda _number, call: call == "write"
    with pytest.raises(SpoolUnavailable):
        await spool.put(record(1))
    bench.disk.fails = lambda _number, _call: False
    await spool.put(record(2))
    assert list(bench.disk.names) == ["00000001.spool"]


async def test_it_knows_the_ids_in_it_also_those_of_an_earlier_run() -> None:
    bench = Bench()
    spool = await bench.opened()
    await spool.put(proof("btcusdt", 5, 9))
    await spool.put(proof("btcusdt", 12, 12))
    await spool.put(proof("ethusdt", 1, 3))
    await spool.put(proof("btcusdt", 10, 11))
    again = await Bench(bench.disk).opened()
    for each in (spool, again):
        assert each.ids("spot", "btcusdt") == [(5, 12)]
        assert each.ids("spot", "ethusdt") == [(1, 3)]
        assert each.ids("usdm", "btcusdt") == each.ids("spot", "dogeusdt") == []
    while (oldest := await again.oldest()) is not None:
        await again.done(oldest[0])
    assert again.ids("spot", "btcusdt") == []


async def test_ids_that_have_rotted_are_missing() -> None:
    bench = Bench(segment=10_000)
    spool = await bench.opened()
    for first in (10, 20, 30):
        await spool.put(proof("btcusdt", first, first + 4))
    (inode,) = bench.disk.names.values()
    framed, _ = scan(bytes(inode.content))
    inode.content[framed[1].end - 1] ^= 4
    assert len((await spool.oldest() or (None, []))[1]) == 1
    assert spool.missing == [("spot", "btcusdt", Gap(20, 24)), ("spot", "btcusdt", Gap(30, 34))]
    assert spool.ids("spot", "btcusdt") == [(10, 14)]


async def test_ids_that_have_rotted_and_lie_in_another_record_are_not_missing() -> None:
    bench = Bench(segment=50)
    spool = await bench.opened()
    await spool.put(proof("btcusdt", 10, 14))
    await spool.put(proof("btcusdt", 12, 12))
    first = bench.disk.names["00000001.spool"]
    first.content[-1] ^= 4
    assert (await spool.oldest() or (None, [None]))[1] == []
    assert spool.missing == [("spot", "btcusdt", Gap(10, 11)), ("spot", "btcusdt", Gap(13, 14))]


async def test_a_cancelled_put_is_finished_all_the_same() -> None:
    bench = Bench()
    spool = await bench.opened()
    gate = asyncio.Event()
    write = bench.files.write

    async def slow(name: str, offset: int, data: bytes) -> None:
        await gate.wait()
        await write(name, offset, data)

    bench.files.write = slow  # type: ignore[method-assign]
    safe = []
    putting = asyncio.create_task(spool.put(record(1), lambda: safe.append(1)))
    await asyncio.sleep(0)
    putting.cancel()
    await asyncio.sleep(0.01)
    assert not putting.done()
    gate.set()
    await asyncio.wait({putting})
    assert putting.cancelled()
    assert safe == [1]
    assert spool.records == 1


async def test_waiting_for_something_and_for_nothing() -> None:
    spool = await Bench().opened()
    await spool.emptied()
    waiting = asyncio.create_task(spool.filled())
    await asyncio.sleep(0)
    assert not waiting.done()
    await spool.put(record(1))
    await waiting
    emptied = asyncio.create_task(spool.emptied())
    oldest = await spool.oldest()
    assert oldest is not None
    assert not emptied.done()
    await spool.done(oldest[0])
    await emptied
    await spool.close()
