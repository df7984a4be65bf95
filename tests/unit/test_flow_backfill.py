"""The backfill's decisions, without sockets and databases: jumps, archives, proofs, reach, fairness."""

import asyncio
import io
import json
import random
import zipfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import date
from hashlib import sha256
from pathlib import Path

import pytest
from flow_doubles import Journal, MemoryQuarantine, MemorySink, until

from crypto_quant import events
from crypto_quant.binance.archive import ArchiveFile
from crypto_quant.binance.streams import Stream
from crypto_quant.binance.venues import StreamKind, venue_spec
from crypto_quant.continuity import Gap, Sequencer
from crypto_quant.errors import StoreUnavailable
from crypto_quant.flow import backfill
from crypto_quant.flow.archives import ArchiveShelf
from crypto_quant.flow.backfill import Backfiller
from crypto_quant.flow.delivery import Delivery
from crypto_quant.flow.rest import ExchangeRest
from crypto_quant.flow.stats import PipelineStats
from crypto_quant.market import Venue
from crypto_quant.seams import HttpAnswer, Lines, Source, Table

T_US = 1_790_856_000_000_000  # 2026-10-01T12:00:00Z


def trade(number: int) -> dict[str, object]:
    return {"a": number, "p": "1.5", "q": "2", "f": number, "l": number, "T": T_US + number, "m": False}


def archive_line(number: int) -> str:
    return f"{number},1.5,2,{number},{number},{T_US + number},False,True\n"


class World:
    """An ``Http`` that has trades over REST and files in an archive, and a ledger beside it."""

    def __init__(self) -> None:
        self.rest: set[int] = set(range(1000))
        self.files: dict[str, set[int]] = {}
        self.asked: list[int] = []
        self.refuse: Callable[[], HttpAnswer | None] = lambda: None
        self.absent: list[tuple[int, int, str]] = []

    async def get(self, url: str, params: Mapping[str, str], headers: Mapping[str, str]) -> HttpAnswer:
        await asyncio.sleep(0)
        if url.endswith(".CHECKSUM"):
            name = url.rpartition("/")[2].removesuffix(".CHECKSUM")
            if name not in self.files:
                return HttpAnswer(404, {}, b"")
            return HttpAnswer(200, {}, f"{sha256(self._zip(name)).hexdigest()}  {name}\n".encode())
        first = int(params["fromId"])
        self.asked.append(first)
        refusal = self.refuse()
        if refusal is not None:
            return refusal
        page = [trade(n) for n in sorted(self.rest) if n >= first][: int(params["limit"])]
        return HttpAnswer(200, {}, json.dumps(page).encode())

    async def download(self, url: str, into: Path) -> HttpAnswer:
        into.write_bytes(self._zip(url.rpartition("/")[2]))  # noqa: ASYNC240
        return HttpAnswer(200, {}, b"")

    def _zip(self, name: str) -> bytes:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as packed:
            packed.writestr(
                zipfile.ZipInfo(name.replace(".zip", ".csv")), "".join(map(archive_line, sorted(self.files[name])))
            )
        return out.getvalue()

    async def covered(self, venue: str, symbol: str, first: int, last: int) -> list[tuple[int, int]]:
        return []

    async def record_absence(self, venue: str, symbol: str, first: int, last: int, proof: str) -> None:
        self.absent.append((first, last, proof))


class Account:
    """The ids of one symbol, as an intake keeps them."""

    def __init__(self, seen: range, missing: range) -> None:
        self.sequencer = Sequencer()
        for number in seen:
            if number not in missing:
                self.sequencer.observe(number)

    def still_missing(self, symbol: str, gap: Gap) -> list[Gap]:
        return self.sequencer.missing_within(*gap)

    def found(self, symbol: str, gap: Gap) -> None:
        self.sequencer.found(*gap)

    def newest(self, symbol: str) -> int:
        return self.sequencer.last


class Scene:
    """A backfiller at work, and all that it touches."""

    def __init__(self, directory: Path, missing: range, reach: int, venue: Venue = Venue.SPOT) -> None:
        self.world = World()
        self.sink = MemorySink()
        self.told = Journal()
        self.stats = PipelineStats(0)
        rng = random.Random(1)  # noqa: S311  # jitter alone
        spec = venue_spec(venue)
        rest = ExchangeRest(spec, "http://x", self.world, self.told, rng)
        delivery = Delivery(self.sink, venue, quarantine=MemoryQuarantine(), emit=self.told, rng=rng)
        self.filler = Backfiller(
            rest, delivery, ledger=self.world,
            shelf=ArchiveShelf("http://x", self.world, directory, self.told, rng),
            venue=venue, stats=self.stats, emit=self.told, rng=rng, reach=reach, settle_s=0.01,
        )  # fmt: skip
        self.account = Account(range(500), missing)
        self.filler.account = self.account

    def stored(self) -> list[int]:
        return sorted(int(row.split(b"\t")[3]) for row in self.sink.rows[Table.TRADES])


@asynccontextmanager
async def scene(
    directory: Path, missing: range, reach: int = 10_000, venue: Venue = Venue.SPOT
) -> AsyncIterator[Scene]:
    made = Scene(directory, missing, reach, venue)
    task = asyncio.create_task(made.filler.run())
    try:
        yield made
    finally:
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled():
            task.result()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the pauses, not what is decided after them."""
    monkeypatch.setattr(backfill, "_FIRST_PAUSE_S", 0.01)


async def test_a_hole_is_filled_exactly(tmp_path: Path) -> None:
    async with scene(tmp_path, range(100, 140)) as it:
        it.filler.want("btcusdt", Gap(100, 139))
        await until(lambda: it.filler.idle)
    assert it.stored() == list(range(100, 140))
    assert it.account.sequencer.missing == 0
    assert it.stats.trades_backfilled == 40
    [filled] = it.told.of(events.GapFilled)
    assert (filled.first, filled.last, filled.trades, filled.source) == (100, 139, 40, "rest")


async def test_what_comes_late_is_not_asked_for(tmp_path: Path) -> None:
    async with scene(tmp_path, range(100, 140)) as it:
        it.filler.want("btcusdt", Gap(100, 139))
        for number in range(100, 138):
            it.account.sequencer.observe(number)
        await until(lambda: it.filler.idle)
    assert it.world.asked == [138]
    assert it.stored() == [138, 139]


async def test_ids_that_rest_has_lost_come_from_the_archive(tmp_path: Path) -> None:
    async with scene(tmp_path, range(100, 140)) as it:
        it.world.rest -= set(range(110, 120))
        it.world.files["BTCUSDT-aggTrades-2026-10-01.zip"] = set(range(400))
        it.filler.want("btcusdt", Gap(100, 139))
        await until(lambda: it.filler.idle)
    assert it.stored() == list(range(100, 140))
    assert it.world.absent == []
    assert {event.source for event in it.told.of(events.GapFilled)} == {"rest", "archive"}
    # three times asked before REST was believed
    assert it.world.asked.count(110) == 2
    assert it.account.sequencer.missing == 0


async def test_ids_that_nobody_has_are_absent_after_proof(tmp_path: Path) -> None:
    async with scene(tmp_path, range(100, 140)) as it:
        gone = set(range(110, 120))
        it.world.rest -= gone
        for day in ("2026-10-01", "2026-09-30"):
            it.world.files[f"BTCUSDT-aggTrades-{day}.zip"] = set(range(400)) - gone
        it.filler.want("btcusdt", Gap(100, 139))
        await until(lambda: it.filler.idle)
    [(first, last, proof)] = it.world.absent
    assert (first, last) == (110, 119)
    assert "3 times" in proof
    assert "BTCUSDT-aggTrades-2026-10-01.zip" in proof
    assert it.account.sequencer.missing == 0
    assert it.stored() == sorted(set(range(100, 140)) - gone)
    assert len(it.told.of(events.TradesAbsent)) == 1


async def test_nothing_is_absent_without_the_archives_word(tmp_path: Path) -> None:
    async with scene(tmp_path, range(100, 140)) as it:
        it.world.rest -= set(range(110, 120))
        it.filler.want("btcusdt", Gap(100, 139))
        await until(lambda: it.told.of(events.GapLeftOpen))
        assert not it.filler.idle  # it waits for the archive's file
    assert it.world.absent == []
    assert it.account.sequencer.missing == 10


async def test_rest_that_is_behind_is_asked_again(tmp_path: Path) -> None:
    async with scene(tmp_path, range(100, 140)) as it:
        everything = set(it.world.rest)
        it.world.rest = set(range(120))
        it.filler.want("btcusdt", Gap(100, 139))
        await until(lambda: len(it.stored()) == 20 and len(it.world.asked) > 3)
        assert it.world.absent == []
        it.world.rest = everything
        await until(lambda: it.filler.idle)
    assert it.stored() == list(range(100, 140))


async def test_an_error_of_rest_or_store_puts_it_off_and_ends_nothing(tmp_path: Path) -> None:
    async with scene(tmp_path, range(100, 140)) as it:
        answers = iter([HttpAnswer(503, {}, b""), HttpAnswer(200, {}, b"<html>"), HttpAnswer(200, {}, b"[1]")])
        it.world.refuse = lambda: next(answers, None)
        it.sink.failures.append(StoreUnavailable("away"))
        it.filler.want("btcusdt", Gap(100, 139))
        await until(lambda: it.filler.idle)
    assert it.stored() == list(range(100, 140))
    assert len(it.told.of(events.RestFailed)) == 3
    assert len(it.told.of(events.StoreBack)) == 1


async def test_a_refusal_for_good_leaves_the_gap_and_says_so(tmp_path: Path) -> None:
    async with scene(tmp_path, range(100, 140)) as it:
        it.world.refuse = lambda: HttpAnswer(400, {}, b'{"code":-1121,"msg":"Invalid symbol."}')
        it.filler.want("btcusdt", Gap(100, 139))
        await until(lambda: it.filler.idle and it.told.of(events.GapLeftOpen))
    assert "Invalid symbol" in it.told.of(events.GapLeftOpen)[0].cause
    assert it.world.asked == [100]


async def test_beyond_the_reach_only_the_near_part_is_filled(tmp_path: Path) -> None:
    async with scene(tmp_path, range(100, 300), reach=250) as it:
        it.filler.want("btcusdt", Gap(100, 299))
        await until(lambda: it.filler.idle and it.told.of(events.GapFilled))
    assert it.stored() == list(range(249, 300))
    [left] = it.told.of(events.GapLeftOpen)
    assert (left.first, left.last) == (100, 248)
    assert left.hint == "crypto-quant backfill btcusdt --from 2026-10-01 --to 2026-10-01"


async def test_what_is_left_open_of_another_market_is_fetched_from_there(tmp_path: Path) -> None:
    async with scene(tmp_path, range(100, 300), reach=250, venue=Venue.USDM) as it:
        it.filler.want("btcusdt", Gap(100, 299))
        await until(lambda: it.told.of(events.GapLeftOpen))
    assert it.told.of(events.GapLeftOpen)[0].hint == (
        "crypto-quant backfill btcusdt --venue usdm --from 2026-10-01 --to 2026-10-01"
    )


async def test_a_large_hole_does_not_hold_up_the_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backfill, "PAGE", 10)
    monkeypatch.setattr(backfill, "_PAGES_A_TURN", 2)
    monkeypatch.setattr(backfill, "_WORKERS", 1)
    async with scene(tmp_path, range(100, 450)) as it:
        it.filler.want("btcusdt", Gap(100, 399))
        it.filler.want("btcusdt", Gap(440, 449))
        await until(lambda: it.filler.idle)
    assert it.world.asked.index(440) <= 3
    assert it.stored() == [*range(100, 400), *range(440, 450)]


async def test_small_holes_that_lie_near_each_other_are_one_request(tmp_path: Path) -> None:
    """What lies between them is had, and not stored again."""
    async with scene(tmp_path, range(100, 140)) as it:
        for number in range(120, 130):
            it.account.sequencer.found(number, number)
        for gap in (Gap(130, 139), Gap(100, 109), Gap(110, 119)):
            it.filler.want("btcusdt", gap)
        await until(lambda: it.filler.idle)
    assert it.world.asked == [100]
    assert it.stored() == [*range(100, 120), *range(130, 140)]
    assert it.account.sequencer.missing == 0


async def test_what_was_only_taken_along_is_not_called_jumped(tmp_path: Path) -> None:
    async with scene(tmp_path, range(100, 140)) as it:
        it.world.rest -= {130}
        it.filler.want("btcusdt", Gap(100, 109))
        it.filler._settle_s = 1000.0
        it.filler.want("btcusdt", Gap(130, 131))
        await until(lambda: bool(it.sink.rows[Table.TRADES]))
        await until(lambda: not it.filler._at_work)
        [waiting] = it.filler._queue.take_from("btcusdt", 0)
    assert it.stored() == [*range(100, 110), 131]
    assert (waiting.gap, waiting.jumps) == (Gap(130, 130), 0)


async def test_after_a_429_what_is_worth_most_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backfill, "PAGE", 10)
    monkeypatch.setattr(backfill, "_WORKERS", 1)
    async with scene(tmp_path, range(100, 200)) as it:
        answers = iter([HttpAnswer(429, {"retry-after": "1"}, b"")])
        it.world.refuse = lambda: next(answers, None)
        it.filler.want("btcusdt", Gap(105, 105))
        await until(lambda: it.told.of(events.RestFailed))
        it.filler.want("btcusdt", Gap(110, 112))
        it.filler.want("btcusdt", Gap(130, 139))
        it.filler.want("btcusdt", Gap(155, 159))
        await until(lambda: it.filler.idle)
    # 105 to 112 are one page's length, asked for from the page of 105
    assert it.world.asked[:3] == [105, 130, 155]
    assert len(it.world.asked) <= 5
    assert it.stored() == [105, 110, 111, 112, *range(130, 140), *range(155, 160)]


async def test_a_large_hole_that_is_refused_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backfill, "PAGE", 10)
    async with scene(tmp_path, range(100, 400)) as it:
        it.world.refuse = lambda: HttpAnswer(400, {}, b'{"code":-1121,"msg":"Invalid symbol."}')
        it.filler.want("btcusdt", Gap(100, 399))
        await until(lambda: it.filler.idle and it.told.of(events.GapLeftOpen))
    [left] = it.told.of(events.GapLeftOpen)
    assert (left.first, left.last) == (100, 399)
    assert it.world.asked == [100]


async def test_rest_that_does_not_answer_is_not_asked_for_each_page_of_a_hole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backfill, "PAGE", 10)
    monkeypatch.setattr(backfill, "_FIRST_PAUSE_S", 1000.0)
    monkeypatch.setattr(backfill, "_LAST_PAUSE_S", 1000.0)
    async with scene(tmp_path, range(100, 400)) as it:
        it.world.refuse = lambda: HttpAnswer(503, {}, b"")
        it.filler.want("btcusdt", Gap(100, 399))
        await until(lambda: it.told.of(events.RestFailed) and not it.filler._at_work)
    assert it.world.asked == [100]


@pytest.mark.parametrize("as_text", [False, True])
async def test_a_refused_row_is_not_claimed_as_proven(as_text: bool) -> None:
    sink = MemorySink(refuses=lambda row: row.endswith(b"\t7\n"))
    quarantine = MemoryQuarantine()
    delivery = Delivery(sink, Venue.SPOT, quarantine=quarantine, emit=Journal(), rng=random.Random(1))  # noqa: S311
    covered: list[tuple[int, int, Source]] = []
    write = sink.write

    async def noting(batch: object) -> object:
        receipt = await write(batch)  # type: ignore[arg-type]
        covered.extend((each.first, each.last, each.source) for each in batch.covered)  # type: ignore[attr-defined]
        return receipt

    sink.write = noting  # type: ignore[assignment]
    ids = [5, 6, 7, 8, 10]
    rows: Sequence[bytes] = [f"t\tspot\tbtcusdt\t{number}\n".encode() for number in ids]
    if as_text:
        rows = Lines([b"".join(rows[:2]), b"".join(rows[2:])], len(rows))
    # 9 has been neutralised: it is proven, and has no row
    await delivery.trades("btcusdt", ids, rows, [Gap(5, 10)], Source.REST)
    proven = {number: source for first, last, source in covered for number in range(first, last + 1)}
    assert proven == {5: "rest", 6: "rest", 8: "rest", 9: "void", 10: "rest"}
    assert len(quarantine.kept) == 1


async def test_a_hole_that_was_begun_is_finished_though_the_newest_id_runs_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backfill, "PAGE", 10)
    monkeypatch.setattr(backfill, "_PAGES_A_TURN", 1)
    async with scene(tmp_path, range(100, 200), reach=400) as it:
        page = it.filler._rest.agg_trades

        async def while_trading(*args: object, **more: object) -> object:
            it.account.sequencer.last += 50
            return await page(*args, **more)  # type: ignore[arg-type]

        monkeypatch.setattr(it.filler._rest, "agg_trades", while_trading)
        it.filler.want("btcusdt", Gap(100, 199))
        await until(lambda: it.filler.idle)
    assert it.stored() == list(range(100, 200))
    assert not it.told.of(events.GapLeftOpen)


async def test_a_file_that_two_want_is_fetched_once(tmp_path: Path) -> None:
    """Two downloads into one file would mix: neither would ever match its checksum."""
    made = Scene(tmp_path, range(100, 104), 10_000)
    name = "BTCUSDT-aggTrades-2026-10-01.zip"
    made.world.files[name] = set(range(100, 104))
    file = ArchiveFile(Venue.SPOT, "btcusdt", Stream(StreamKind.AGG_TRADE), date(2026, 10, 1), date(2026, 10, 1), False)
    downloads: list[str] = []
    whole = made.world.download

    async def slow(url: str, into: Path) -> HttpAnswer:
        downloads.append(url)
        await asyncio.sleep(0.01)
        return await whole(url, into)

    made.world.download = slow  # type: ignore[method-assign]
    shelf = ArchiveShelf("http://x", made.world, tmp_path, made.told, random.Random(1))  # noqa: S311
    assert len({await each for each in [asyncio.create_task(shelf.fetch(file)) for _ in range(3)]}) == 1
    assert len(downloads) == 1
