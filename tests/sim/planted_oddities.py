"""Bugs of what protects against an odd exchange, its archive, its silence and a second recorder, to be planted."""

from pathlib import Path
from typing import Any

import pytest

from crypto_quant.binance.archive import ArchiveFile, TradeLines
from crypto_quant.continuity import Gap, Sequencer, Verdict
from crypto_quant.flow import archives as archives_module
from crypto_quant.flow import backfill as backfill_module
from crypto_quant.flow.archives import ArchiveShelf
from crypto_quant.flow.aside import Aside
from crypto_quant.flow.backfill import Backfiller
from crypto_quant.flow.guard import StreamGuard
from crypto_quant.flow.intake import Intake
from crypto_quant.sim.world.database import Database, WorldSink


def an_id_is_called_absent_without_a_look_into_the_archive(patch: pytest.MonkeyPatch) -> None:
    async def seek(self: Backfiller, symbol: str, gap: Gap, _day: Any) -> str:
        assert self._ledger is not None
        assert self.account is not None
        await self._ledger.record_absence(self._venue.value, symbol, gap.first, gap.last, "REST jumped over them")
        self.account.found(symbol, gap)
        return ""

    patch.setattr(Backfiller, "_seek", seek)


def an_id_is_called_absent_after_one_jump(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(backfill_module, "_JUMPS_BELIEVED", 1)


def a_file_that_is_not_published_counts_as_searched(patch: pytest.MonkeyPatch) -> None:
    fetch, pick = ArchiveShelf.fetch, ArchiveShelf.pick
    nowhere = Path("/nonexistent")

    async def fetched(self: ArchiveShelf, file: ArchiveFile) -> Path:
        return await fetch(self, file) or nowhere

    def picked(self: ArchiveShelf, file: ArchiveFile, path: Path, gap: Gap) -> TradeLines:
        return TradeLines([], []) if path == nowhere else pick(self, file, path, gap)

    patch.setattr(ArchiveShelf, "fetch", fetched)
    patch.setattr(ArchiveShelf, "pick", picked)


def the_checksum_of_a_file_is_not_looked_at(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(archives_module, "_sha256", lambda _path: "")
    patch.setattr(archives_module, "parse_checksum", lambda _body, _name: "")


def the_archive_is_never_asked(patch: pytest.MonkeyPatch) -> None:
    async def seek(*_: Any) -> str:
        return "REST jumps over them"

    patch.setattr(Backfiller, "_seek", seek)


def the_last_row_of_the_archive_is_passed_over(patch: pytest.MonkeyPatch) -> None:
    pick = ArchiveShelf.pick

    def short(self: ArchiveShelf, file: ArchiveFile, path: Path, gap: Gap) -> TradeLines:
        found = pick(self, file, path, gap)
        return TradeLines(found.ids[:-1], found.rows[:-1])

    patch.setattr(ArchiveShelf, "pick", short)


def nobody_watches_the_streams(patch: pytest.MonkeyPatch) -> None:
    async def look(_self: StreamGuard) -> None:
        pass

    patch.setattr(StreamGuard, "look", look)


def a_silent_stream_is_told_and_its_link_kept(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(StreamGuard, "_stalled", lambda *_: None)


def what_rest_tells_of_is_not_taken_for_missing(patch: pytest.MonkeyPatch) -> None:
    """The link is replaced, and the last trades before a halt are waited for, for ever."""
    patch.setattr(Intake, "issued", lambda *_: None)


def a_repetition_is_dropped_unseen(patch: pytest.MonkeyPatch) -> None:
    """The sequencer's word is taken for it, and nobody compares."""
    _drop(patch, Verdict.DUPLICATE)


def what_comes_late_is_dropped(patch: pytest.MonkeyPatch) -> None:
    _drop(patch, Verdict.LATE)


def _drop(patch: pytest.MonkeyPatch, dropped: Verdict) -> None:
    is_new = Intake._is_new

    def careless(self: Intake, *arguments: Any) -> bool:
        observe = Sequencer.observe

        def judged(sequencer: Sequencer, trade_id: int) -> Verdict:
            verdict = observe(sequencer, trade_id)
            if verdict is dropped:
                raise _Dropped
            return verdict

        with pytest.MonkeyPatch.context() as here:
            here.setattr(Sequencer, "observe", judged)
            try:
                return is_new(self, *arguments)
            except _Dropped:
                self._stats.trades_received += 1
                self._stats.trades_duplicate += 1
                return False

    patch.setattr(Intake, "_is_new", careless)


class _Dropped(Exception):
    pass


def a_contradiction_is_not_kept(patch: pytest.MonkeyPatch) -> None:
    def conflicting(self: Aside, rows: Any) -> None:
        self._stats.trades_set_aside += len(rows)

    patch.setattr(Aside, "conflicting", conflicting)


def the_latest_version_of_a_trade_wins(patch: pytest.MonkeyPatch) -> None:
    """The bug of a store that updates on conflict."""
    differs = Database.differs

    def overwrite(self: Database, row: dict[str, str], held: dict[str, str]) -> bool:
        if differs(self, row, held):
            held.update(row)
        return False

    patch.setattr(Database, "differs", overwrite)


def two_recorders_overwrite_each_others_coverage(patch: pytest.MonkeyPatch) -> None:
    """The bug of a store that reads what is covered, and writes it back without a lock in between."""
    write = WorldSink.write

    async def racing(self: WorldSink, batch: Any) -> Any:
        seen = {symbol: set(ids) for symbol, ids in self._database.covered.items()}
        receipt = await write(self, batch)
        for claim in batch.covered:
            seen.setdefault(claim.symbol, set()).update(range(claim.first, claim.last + 1))
        self._database.covered.update({claim.symbol: seen[claim.symbol] for claim in batch.covered})
        return receipt

    patch.setattr(WorldSink, "write", racing)


# each with the seed that found it last
PLANTED = {
    an_id_is_called_absent_without_a_look_into_the_archive: 1000,
    an_id_is_called_absent_after_one_jump: 1006,
    a_file_that_is_not_published_counts_as_searched: 1000,
    the_checksum_of_a_file_is_not_looked_at: 1000,
    the_archive_is_never_asked: 1000,
    the_last_row_of_the_archive_is_passed_over: 1000,
    nobody_watches_the_streams: 1004,
    a_silent_stream_is_told_and_its_link_kept: 1025,
    what_rest_tells_of_is_not_taken_for_missing: 1013,
    a_repetition_is_dropped_unseen: 1000,
    what_comes_late_is_dropped: 1001,
    a_contradiction_is_not_kept: 1000,
    the_latest_version_of_a_trade_wins: 1000,
    two_recorders_overwrite_each_others_coverage: 1019,
}
