"""What a seed draws beyond storm and small misfortunes: the exchange's oddities, its archive, a second recorder.

Each world has some of them. They have dice of their own, so that one more of them leaves all the others as they are.
"""

from random import Random

import msgspec

from crypto_quant.sim.world.fault import Fault

# A day ends at 24:00 UTC of this date, in worlds that see the end of a day.
MIDNIGHT_US = 1_790_899_200_000_000
# The recorder looks into the archive again after an hour: a world in which it is not started anew waits that long.
_AWAKE_S = 3_700.0
# ids that are lost for good are lost this long before midnight, so that a later trade tells their day
_BEFORE_MIDNIGHT_S = 15.0

# what a file holds, for as long as it is there
CONTENT_FLAWS = ("unordered", "header", "duplicated", "holes")
# what befalls one request; the first group says nothing wrong, it only fails
FAILURES = ("cut", "refused", "silent")
DECEPTIONS = ("missing", "checksum", "altered", "truncated")


class Oddities(msgspec.Struct, frozen=True, kw_only=True):
    """Times are seconds from the start of the world; the defaults are an exchange without any.

    ``lost`` are faults of kind ``void`` (ids that the exchange never gives to a trade) and ``forgotten`` (trades that
    no stream and no REST tells, the archive alone); ``amount`` says which symbol, ``for_s`` how many ids.
    ``midnight_s`` is when the day ends whose file the archive has from ``published_s`` on. ``flaws`` befall the
    requests to the archive one after the other, ``calm_flaws`` those in the calm. ``restarts``: the recorder is
    started anew when the calm begins. ``partner`` is what befalls a second recorder; None: there is none.
    ``silences`` are streams of one link that go silent alone; ``halt_s`` is when the first symbol's market halts,
    its stream silent since a while.
    """

    conflicting: float = 0.0
    omitted: float = 0.0
    lost: tuple[Fault, ...] = ()
    midnight_s: float | None = None
    published_s: float = 0.0
    content: tuple[str, ...] = ()
    flaws: tuple[str, ...] = ()
    calm_flaws: tuple[str, ...] = ()
    restarts: bool = False
    partner: tuple[Fault, ...] | None = None
    silences: tuple[Fault, ...] = ()
    halt_s: float | None = None

    @property
    def calm_s(self) -> float:
        """How much longer than others the calm of this world has to be."""
        return _AWAKE_S if self.midnight_s is not None and not self.restarts else 0.0


def draw_oddities(seed: int, storm_s: float) -> Oddities:
    """Return the oddities of a seed's world."""
    dice = Random(f"oddities {seed}")  # noqa: S311  # a world, not a secret
    found: dict[str, object] = {}
    if dice.random() < 0.3:
        found["conflicting"] = dice.uniform(0.01, 0.1)
    if dice.random() < 0.3:
        found["omitted"] = dice.uniform(0.05, 0.3)
    if dice.random() < 0.3:
        found |= _archive(dice, storm_s)
    if dice.random() < 0.3:
        found["partner"] = _partner(dice, storm_s)
    if dice.random() < 0.3:
        found["silences"] = tuple(
            Fault(round(dice.uniform(5.0, storm_s), 3), "silent stream", 0.0, dice.random())
            for _ in range(dice.randint(1, 3))
        )
    if dice.random() < 0.2:
        found["halt_s"] = storm_s + 40.0
    return msgspec.convert(found, Oddities)


def _archive(dice: Random, storm_s: float) -> dict[str, object]:
    midnight_s = storm_s * 0.5
    lost = [
        Fault(round(dice.uniform(3.0, midnight_s - _BEFORE_MIDNIGHT_S), 3), dice.choice(("void", "forgotten")),
              dice.randint(1, 6), dice.random())
        for _ in range(dice.randint(1, 5))
    ]  # fmt: skip
    return {
        "lost": tuple(sorted(lost, key=lambda fault: fault.at_s)),
        "midnight_s": midnight_s,
        "published_s": midnight_s + dice.uniform(0.0, storm_s * 0.2),
        "content": tuple(flaw for flaw in CONTENT_FLAWS if dice.random() < 0.5),
        "flaws": tuple(dice.choice(FAILURES + DECEPTIONS * 2) for _ in range(dice.randint(0, 8))),
        "calm_flaws": tuple(dice.choice(FAILURES) for _ in range(dice.randint(0, 3))),
        "restarts": dice.random() < 0.96,
    }


def _partner(dice: Random, storm_s: float) -> tuple[Fault, ...]:
    return tuple(
        Fault(round(dice.uniform(2.0, storm_s * 0.9), 3), dice.choice(("crash", "crash", "stop", "clock jump")),
              round(dice.uniform(0.0, 30.0), 3), dice.random())
        for _ in range(dice.randint(0, 3))
    )  # fmt: skip
