"""What the page says of a recorder in one line, and in which colour. What is wrong, ``health`` decides. Pure."""

from enum import StrEnum

import msgspec

from crypto_quant import health
from crypto_quant.market import NS_PER_MS, NS_PER_S
from crypto_quant.snapshot import Phase, Snapshot


class Level(StrEnum):
    """The colours, least urgent first."""

    GOOD = "good"
    BUSY = "busy"  # on its way, nothing to do
    OFF = "off"  # it was ended in order
    WARN = "warn"
    BAD = "bad"


_ORDER = list(Level)
_LEVELS = {health.Level.WRONG: Level.WARN, health.Level.NOTE: Level.WARN, health.Level.BUSY: Level.BUSY}


class Ailment(msgspec.Struct, frozen=True):
    """A ``health.Problem`` in its colour; ``since`` is in ms since the epoch."""

    level: Level
    what: str
    remedy: str
    cause: str
    since: int | None


class Verdict(msgspec.Struct, frozen=True):
    """A recorder in one line, the worst of what ails it, and all of that, worst first."""

    level: Level
    title: str
    ailments: tuple[Ailment, ...] = ()


def worst(levels: list[Level]) -> Level:
    """Return the most urgent of some levels; nothing at all is ``off``."""
    return max(levels, key=_ORDER.index, default=Level.OFF)


def verdict(shown: Snapshot, *, alive: bool, unchanged_s: float, succeeded: bool = False) -> Verdict:
    """Return the verdict on what a board shows; ``unchanged_s`` says since when it has shown the same.

    ``succeeded``: the recorder is gone, and another one has begun since.
    """
    if shown.phase is Phase.ENDED:
        return Verdict(Level.OFF, "Ended in order")
    if not alive and succeeded:
        return Verdict(Level.OFF, "Ended unexpectedly; another recorder has begun since")
    now_ns = shown.taken_ns + int(unchanged_s * NS_PER_S)
    found = tuple(map(_ailment, health.problems(shown, alive=alive, now_ns=now_ns)))
    return Verdict(found[0].level, found[0].what, found) if found else Verdict(Level.GOOD, "Complete · live")


def _ailment(problem: health.Problem) -> Ailment:
    level = Level.BAD if problem.urgent else _LEVELS[problem.level]
    since = None if problem.since_ns is None else problem.since_ns // NS_PER_MS
    return Ailment(level, problem.what, problem.remedy, problem.cause, since)
