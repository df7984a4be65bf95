"""What a seed means: the market, the recorder's settings, and which misfortunes happen when.

Each world has some kinds of faults and not others: many different mixtures find more than one mixture of everything.
"""

from random import Random

import msgspec

from crypto_quant.config import Settings
from crypto_quant.market import fold_symbol
from crypto_quant.sim.world.diskplan import DiskPlan, draw_disk
from crypto_quant.sim.world.fault import Fault
from crypto_quant.sim.world.oddities import MIDNIGHT_US, Oddities, draw_oddities

START_US = 1_790_856_000_000_000
# After the last fault: REST that failed is left alone for up to five minutes, a refused address for one.
CALM_S = 480.0

_SYMBOLS = ("BTCUSDT", "ETHUSDT", "DOGEUSDT", "币安人生USDT")


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """How likely each small misfortune is, from 0 to 1, at each occasion."""

    frame_lost: float = 0.0
    frame_twice: float = 0.0
    frame_late: float = 0.0
    frame_damaged: float = 0.0
    connect_fails: float = 0.0
    rest_fails: float = 0.0
    write_fails: float = 0.0
    write_slow: float = 0.0
    answer_lost: float = 0.0
    row_refused: float = 0.0


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """One world, before it runs. Times are seconds from its start."""

    seed: int
    symbols: tuple[str, ...]
    trades_per_s: float
    storm_s: float
    rates: Rates
    faults: tuple[Fault, ...]
    settings: Settings
    disk: DiskPlan
    streams_per_link: int
    link_life_s: float
    oddities: Oddities = Oddities()

    @property
    def start_us(self) -> int:
        """The exchange's time when the world begins."""
        midnight_s = self.oddities.midnight_s
        return START_US if midnight_s is None else MIDNIGHT_US - int(midnight_s * 1e6)

    @property
    def ends_s(self) -> float:
        """When the world ends."""
        return self.storm_s + CALM_S + self.oddities.calm_s


def draw(seed: int, hours: float | None = None) -> Plan:
    """Return the plan of a seed; ``hours`` of exchange time under faults, instead of the minutes drawn."""
    dice = Random(f"plan {seed}")  # noqa: S311  # a world, not a secret
    storm_s = hours * 3600 if hours else float(dice.choice((60, 120, 240)))
    trades_per_s = dice.choice((1.0, 4.0, 10.0))
    symbols = tuple(dice.sample(_SYMBOLS, dice.choice((1, 2, 2, 3))))
    disk = draw_disk(seed, storm_s)
    streams = ["aggTrade", *dice.sample(("kline_1s", "kline_1m", "kline_3m"), dice.choice((0, 1, 2)))]
    settings = Settings(
        symbols=tuple(fold_symbol(symbol) for symbol in symbols),
        streams=tuple(streams),
        batch_size=dice.choice((1, 3, 20, 1000)),
        batch_age=dice.choice((None, 0.0, 0.05, 1.0)),
        pending_limit=dice.choice((20, 100, 100_000)),
        candle_grace=dice.choice((3.0, 10.0)),
        drain_deadline=dice.choice((1.0, 30.0)),
        spool=disk.spool,
        spool_limit=disk.limit_bytes,
    )
    oddities = draw_oddities(seed, storm_s)
    return Plan(
        seed=seed,
        symbols=symbols,
        # a world that waits for an hour waits with a quiet market
        trades_per_s=1.0 if oddities.calm_s else trades_per_s,
        storm_s=storm_s,
        rates=_rates(dice),
        faults=tuple(sorted([*_faults(dice, storm_s), *_disk_faults(disk)], key=lambda fault: fault.at_s)),
        settings=settings,
        disk=disk,
        streams_per_link=dice.choice((1, 2, 1024)),
        # the recorder leaves an hour before the end of a link's life, and links stagger by 15 s
        link_life_s=dice.choice((3600.0 + 90, 3600.0 + 300, 86_400.0)),
        oddities=oddities,
    )


def _rates(dice: Random) -> Rates:
    def some(rate: float) -> float:
        return rate * dice.uniform(0.2, 1.0) if dice.random() < 0.4 else 0.0

    return Rates(
        frame_lost=some(0.05),
        frame_twice=some(0.1),
        frame_late=some(0.1),
        frame_damaged=some(0.05),
        connect_fails=some(0.5),
        rest_fails=some(0.5),
        write_fails=some(0.2),
        write_slow=some(0.2),
        answer_lost=some(0.2),
        row_refused=some(0.02),
    )


# kind -> (how long it may last in seconds)
_KINDS = {
    "crash": 60.0,
    "stop": 30.0,
    "drop links": 0.0,
    "half-open links": 0.0,
    "stall links": 40.0,
    "server shutdown": 0.0,
    "database away": 90.0,
    "database denies": 20.0,
    "exchange away": 60.0,
    "rest limit": 20.0,
    "clock jump": 0.0,
}


def _faults(dice: Random, storm_s: float) -> list[Fault]:
    kinds = dice.sample(tuple(_KINDS), dice.randint(1, 6))
    count = dice.randint(1, 3 + int(storm_s / 80))
    faults = [
        Fault(
            at_s=round(dice.uniform(2.0, storm_s * 0.9), 3),
            kind=(kind := dice.choice(kinds)),
            for_s=round(dice.uniform(0.0, min(_KINDS[kind], storm_s * 0.3)), 3),
            amount=dice.random(),
        )
        for _ in range(count)
    ]
    return sorted(faults, key=lambda fault: fault.at_s)


def _disk_faults(disk: DiskPlan) -> list[Fault]:
    # a process that dies does so within so many steps: the time of day is chance enough
    return [Fault(at_s, kind, for_s, amount=at_s % 1.0) for at_s, kind, for_s in disk.faults]
