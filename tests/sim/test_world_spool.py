"""The spool in simulated worlds: it is really used, and every bug planted in what protects it is found."""

from typing import Any

import msgspec
import pytest
from planting import PlantedBugs

from crypto_quant import spoolformat
from crypto_quant.errors import SpoolUnavailable
from crypto_quant.flow import assembly, replay
from crypto_quant.flow import spool as spool_module
from crypto_quant.flow.replay import Replayer
from crypto_quant.flow.spool import Segment, Spool
from crypto_quant.flow.writer import TimescaleWriter
from crypto_quant.sim.world import run, run_many
from crypto_quant.sim.world.spoolwatch import sums

# a bug whose finder no longer finds it is looked for in all of them
# (untraced, because tracing doubles their time and the seeds that failed once cover the same lines)
pytestmark = [pytest.mark.timeout(600), pytest.mark.no_cover]
# some of the seeds that CI runs on the recorder as it is
SEEDS = range(1000, 1200)

MUTATIONS = PlantedBugs()
bug = MUTATIONS.bug


class Files:
    """The spool's files, with some of their calls replaced."""

    def __init__(self, files: Any, **replaced: Any) -> None:
        self._files = files
        self._replaced = replaced

    def __getattr__(self, name: str) -> Any:
        return self._replaced.get(name) or getattr(self._files, name)


async def _nothing(*_arguments: Any) -> None:
    pass


def _with_files(patch: pytest.MonkeyPatch, **replaced: Any) -> None:
    begin = Spool.__init__

    def worse(self: Spool, files: Any, **options: Any) -> None:
        begin(self, Files(files, **replaced), **options)

    patch.setattr(Spool, "__init__", worse)


@bug(1020)
def safe_is_said_before_the_file_is_synced(patch: pytest.MonkeyPatch) -> None:
    _with_files(patch, sync=_nothing)


@bug(1020)
def safe_is_said_before_the_name_is_synced(patch: pytest.MonkeyPatch) -> None:
    _with_files(patch, sync_names=_nothing)


@bug(1040)
def a_torn_tail_is_written_behind(patch: pytest.MonkeyPatch) -> None:
    """The bug of a start that goes on in the last file and does not cut it first."""
    begin = Spool.open

    async def careless(self: Spool) -> None:
        await begin(self)
        if self._segments:
            last = self._segments[-1]
            data = await self._files.read(last.name)
            framed, _ = spoolformat.scan(data)
            self._growing, self._link = (
                last,
                int.from_bytes(data[framed[-1].start + 4 : framed[-1].start + 8], "little"),
            )
            last.size = len(data)

    _with_files(patch, truncate=_nothing)
    patch.setattr(Spool, "open", careless)


@bug(1017)
def a_failed_write_is_written_behind(patch: pytest.MonkeyPatch) -> None:
    put = Spool._put

    async def stubborn(self: Spool, *arguments: Any) -> None:
        growing = self._growing
        try:
            await put(self, *arguments)
        except SpoolUnavailable:
            if growing in self._segments:
                self._growing = growing
                growing.size += len(spoolformat.encode(arguments[0], self._link)[0])
            raise

    patch.setattr(Spool, "_put", stubborn)
    patch.setattr(Spool, "_forget_tail", _nothing)


@bug(1001)
def a_record_is_deleted_before_it_is_committed(patch: pytest.MonkeyPatch) -> None:
    begin = Replayer._begin

    async def hasty(self: Replayer) -> Segment | None:
        segment = await begin(self)
        if segment is not None:
            await self._spool._files.remove(segment.name)
        return segment

    patch.setattr(Replayer, "_begin", hasty)


@bug(1013)
def what_an_earlier_run_has_left_is_ignored(patch: pytest.MonkeyPatch) -> None:
    async def blind(self: Spool) -> None:
        for name in await self._files.sizes():
            self._number = max(self._number, int(name.partition(".")[0]))

    patch.setattr(Spool, "open", blind)


@bug(1016)
def checksums_are_not_looked_at(patch: pytest.MonkeyPatch) -> None:
    """What is no record at all still ends the file: only a right one is told from a wrong one."""

    def trusting(data: bytes) -> Any:
        found: list[spoolformat.Framed] = []
        at = len(spoolformat.HEAD)
        while at + spoolformat._FRAME.size <= len(data):
            length, _, rows, code = spoolformat._FRAME.unpack_from(data, at)
            end = at + spoolformat._FRAME.size + length
            if end > len(data) or code not in spoolformat._TABLES:
                break
            framed = spoolformat.Framed(spoolformat._TABLES[code], rows, at, end)
            try:
                spoolformat.decode(data, framed)
            except msgspec.MsgspecError:
                break
            found.append(framed)
            at = end
        return found, None if at == len(data) else spoolformat.Damage(at, "no record", torn=False)

    patch.setattr(spool_module, "scan", trusting)


@bug(1001)
def a_record_does_not_say_what_it_proves(patch: pytest.MonkeyPatch) -> None:
    record = spoolformat.SpoolRecord
    patch.setattr(
        "crypto_quant.flow.writer.SpoolRecord", lambda table, rows, _covered, told: record(table, rows, (), told)
    )


@bug(1004)
def a_full_disk_counts_as_stored(patch: pytest.MonkeyPatch) -> None:
    put = Spool.put

    async def careless(self: Spool, record: Any, then: Any = lambda: None) -> None:
        try:
            await put(self, record, then)
        except SpoolUnavailable:
            then()

    patch.setattr(Spool, "put", careless)


@bug(1004)
def a_full_spool_takes_more(patch: pytest.MonkeyPatch) -> None:
    begin = Spool.__init__

    def worse(self: Spool, files: Any, **options: Any) -> None:
        begin(self, files, **options)
        self.limit_bytes *= 2

    patch.setattr(Spool, "__init__", worse)


@bug(1020)
def what_waits_in_the_spool_counts_as_missing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(assembly, "with_spooled", lambda known, *_: known)


@bug(1173)
def what_cannot_be_read_again_is_not_told(patch: pytest.MonkeyPatch) -> None:
    begin = TimescaleWriter.__init__

    def deaf(self: TimescaleWriter, *arguments: Any, **options: Any) -> None:
        begin(self, *arguments, **options)
        if self._replayer is not None:
            self._replayer._missing = lambda *_: None

    patch.setattr(TimescaleWriter, "__init__", deaf)


@bug(1040)
def a_torn_tail_stays_in_its_file(patch: pytest.MonkeyPatch) -> None:
    """Once others are written behind that file, it looks like loss."""
    _with_files(patch, truncate=_nothing)


@bug(1013)
def refused_rows_of_the_spool_are_claimed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(replay, "_without", lambda covered, _refused: list(covered))


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_bug_planted_in_the_spool_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plant, finder = MUTATIONS[name]
    plant(monkeypatch)
    for seed in (finder, *SEEDS):
        if failure := run(seed).failure:
            # it must break a promise, not the program
            assert "the recorder failed" not in failure
            return
    pytest.fail(f"no seed of {SEEDS} has found the bug: {name}")


def test_the_spool_is_really_used() -> None:
    """Worlds whose spool is idle prove nothing of it."""
    used = sums(outcome.spool for outcome in run_many(SEEDS[:100]))
    assert used["records"] > 2_000
    assert used["replays"] > 500
    assert used["taken_over"] > 10
    assert used["taken_over_after_power_cut"] > 4
    assert used["full"] > 20
    assert used["disk_full"] > 3
    assert used["disk_failed"] > 5
    assert used["torn"] > 0
    assert used["rotten"] > 3
