"""The disk of the simulated worlds forgets what was not synced, and nothing else."""

from random import Random

import pytest

from crypto_quant.sim.world.volume import Volume

MANY = range(200)


def after(volume: Volume) -> list[dict[str, bytes]]:
    """Return what is left after a power cut, by many dice."""
    return [volume.survivors(Random(seed)) for seed in MANY]  # noqa: S311


def test_what_is_synced_with_its_name_outlives_a_power_cut() -> None:
    volume = Volume()
    volume.write("a", 0, b"one")
    volume.sync("a")
    volume.sync_names()
    assert all(files == {"a": b"one"} for files in after(volume))


def test_what_is_not_synced_may_be_whole_torn_longer_or_gone() -> None:
    volume = Volume({"a": b"kept"})
    volume.write("a", 4, b"more")
    assert bytes(volume.names["a"].content) == b"keptmore"
    left = {files["a"] for files in after(volume)}
    assert all(content.startswith(b"kept") for content in left)
    assert {b"kept", b"keptmore", b"keptmo"} < left
    assert any(content.endswith(b"\0") for content in left)


def test_a_name_that_is_not_synced_may_be_missing() -> None:
    volume = Volume()
    volume.write("a", 0, b"one")
    volume.sync("a")
    assert {frozenset(files) for files in after(volume)} == {frozenset(), frozenset({"a"})}


def test_a_file_that_was_deleted_may_come_back_until_the_names_are_synced() -> None:
    volume = Volume({"a": b"one"})
    volume.remove("a")
    assert {frozenset(files) for files in after(volume)} == {frozenset(), frozenset({"a"})}
    volume.sync_names()
    assert all(files == {} for files in after(volume))


def test_a_file_is_renamed_whole_or_not_at_all() -> None:
    volume = Volume({"a": b"one"})
    volume.rename("a", "b")
    assert {frozenset(files) for files in after(volume)} == {frozenset({"a"}), frozenset({"b"})}


def test_a_sync_that_fails_loses_what_it_should_have_kept_for_good() -> None:
    volume = Volume({"a": b"kept"})
    volume.write("a", 4, b"more")
    volume.sync("a", fails=True)
    volume.sync("a")
    assert bytes(volume.names["a"].content) == b"keptmore"
    assert all(files == {"a": b"kept"} for files in after(volume))


def test_what_is_cut_off_stays_off_once_it_is_synced() -> None:
    volume = Volume({"a": b"keptmore"})
    volume.truncate("a", 4)
    assert {files["a"] for files in after(volume)} == {b"kept", b"keptmore"}
    volume.sync("a")
    assert all(files == {"a": b"kept"} for files in after(volume))


def test_a_file_that_is_not_there_is_none() -> None:
    volume = Volume()
    for call in (volume.remove, volume.sync):
        with pytest.raises(FileNotFoundError):
            call("a")
