"""What a seed means for the recorder's disk: how much of it the spool may use, and what becomes of it when.

Drawn by dice of its own. The disk is of interest while the database is away, so its misfortunes come in episodes
around outages.
"""

from random import Random

import msgspec

# a misfortune that is over at once lasts 0 s
KINDS = ("power cut", "disk full", "disk fails", "disk slow", "disk rots")


class DiskPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The spool of a world: whether there is one, its bounds in bytes, and what happens, as (at_s, kind, for_s)."""

    spool: bool
    limit_bytes: int
    segment_bytes: int
    faults: tuple[tuple[float, str, float], ...]


def draw_disk(seed: int, storm_s: float) -> DiskPlan:
    """Return the plan of a seed's disk; times are seconds from the start of the world."""
    dice = Random(f"disk {seed}")  # noqa: S311  # a world, not a secret
    faults: list[tuple[float, str, float]] = []
    if dice.random() < 0.6:
        for _ in range(dice.randint(1, 2 + int(storm_s / 600))):
            faults += _outage(dice, storm_s)
    for kind in KINDS:
        if dice.random() < 0.06:
            faults.append((dice.uniform(2.0, storm_s * 0.9), kind, dice.uniform(0.0, 20.0)))
    # whatever comes later than the storm is no misfortune of it
    faults = [(min(at_s, storm_s * 0.95), kind, for_s) for at_s, kind, for_s in faults]
    return DiskPlan(
        spool=dice.random() < 0.8,
        limit_bytes=dice.choice((4_000, 15_000, 60_000, 1_000_000)),
        segment_bytes=dice.choice((600, 5_000, 1_000_000)),
        faults=tuple((round(at_s, 3), kind, round(for_s, 3)) for at_s, kind, for_s in faults),
    )


def _outage(dice: Random, storm_s: float) -> list[tuple[float, str, float]]:
    """Return a long outage of the database with what goes wrong meanwhile, or while the spool is being emptied."""
    at_s = dice.uniform(3.0, storm_s * 0.7)
    for_s = dice.uniform(5.0, min(100.0, storm_s * 0.6))
    faults = [(at_s, "database away", for_s)]
    if dice.random() < 0.6:
        begin_s = at_s + for_s * dice.uniform(0.0, 0.8)
        kind = dice.choice(("disk full", "disk fails", "disk slow", "disk rots"))
        faults.append((begin_s, kind, dice.uniform(0.5, for_s)))
    if dice.random() < 0.6:
        # in the midst of it, or just when the replay begins
        end_s = dice.choice((at_s + for_s * dice.uniform(0.2, 1.0), at_s + for_s + dice.uniform(0.0, 4.0)))
        ends = ("crash", "power cut", "stop", "crash in a write", "power cut in a write")
        faults.append((end_s, dice.choice(ends), 0.0))
        if dice.random() < 0.5:
            # a slow disk is one that is in the midst of something
            faults.append((max(0.0, end_s - 2.0), "disk slow", 4.0))
        if dice.random() < 0.5:
            # the next life has hardly begun when the database goes again, and dies with the spool of two lives
            again_s = max(at_s + for_s, end_s) + dice.uniform(0.3, 3.0)
            faults.append((again_s, "database away", dice.uniform(5.0, 30.0)))
            faults.append(
                (again_s + dice.uniform(2.0, 20.0), dice.choice(("crash", "power cut", "crash in a write")), 0.0)
            )
    return faults
