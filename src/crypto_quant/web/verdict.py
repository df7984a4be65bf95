"""Whether all is well with a recorder, in one line, and what to do where it is not. Pure."""

from enum import StrEnum

import msgspec

from crypto_quant.snapshot import LinkState, Phase, Snapshot, StreamState

# a living recorder shows something new every second; behind this its event loop hangs or its machine is suspended
STALE_S = 5.0
# shares of a bound at which it is worth a word, and at which it is urgent
_SPOOL_FULL = 0.8
_DISK_LOW_BYTES, _DISK_LOW_SHARE = 2 << 30, 0.05
_DISK_OUT_BYTES = 256 << 20
_LAG_LONG_MS = 5000.0
_NAMED_MAX = 3


class Level(StrEnum):
    """How urgent something is, least first."""

    GOOD = "good"
    BUSY = "busy"  # on its way, nothing to do
    OFF = "off"  # it was ended in order
    WARN = "warn"
    BAD = "bad"


_ORDER = list(Level)


class Ailment(msgspec.Struct, frozen=True):
    """One thing that is not as it should be, and what to do about it.

    ``cause`` is what others said of it, as the exchange or the database; empty when nobody did.
    """

    level: Level
    what: str
    remedy: str = ""
    cause: str = ""


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
    if not alive:
        return _gone(shown, succeeded=succeeded)
    found = sorted(_ailments(shown, unchanged_s), key=lambda each: -_ORDER.index(each.level))
    if found and found[0].level is not Level.BUSY:
        return Verdict(found[0].level, found[0].what, tuple(found))
    if shown.phase is Phase.STARTING:
        return Verdict(Level.BUSY, "Starting: connecting its links", tuple(found))
    if shown.phase is Phase.DRAINING:
        return Verdict(Level.BUSY, "Ending: storing what it has received", tuple(found))
    if shown.phase is Phase.ENDED:
        return Verdict(Level.OFF, "Ended in order", tuple(found))
    if found:
        return Verdict(Level.BUSY, found[0].what, tuple(found))
    return Verdict(Level.GOOD, "Complete · live")


def _gone(shown: Snapshot, *, succeeded: bool) -> Verdict:
    if shown.phase is Phase.ENDED:
        return Verdict(Level.OFF, "Ended in order")
    if succeeded:
        return Verdict(Level.OFF, "Ended unexpectedly; another recorder has begun since")
    ended = Ailment(
        Level.BAD,
        "The recorder is not running: it ended unexpectedly",
        "Start it again as before, crypto-quant record …; what was missed meanwhile it fetches as it starts",
    )
    return Verdict(Level.BAD, ended.what, (ended,))


def _ailments(shown: Snapshot, unchanged_s: float) -> list[Ailment]:
    found = []
    if unchanged_s > STALE_S:
        found.append(
            Ailment(
                Level.BAD,
                f"The recorder has shown nothing new for {unchanged_s:.0f} s",
                f"Is the machine suspended or overloaded, its disk full? Its process is {shown.pid}",
            )
        )
    return found + _of_store(shown) + _of_links(shown) + _of_record(shown) + _of_room(shown)


def _of_store(shown: Snapshot) -> list[Ailment]:
    found = []
    store, spool = shown.store, shown.spool
    if spool.refused:
        found.append(
            Ailment(
                Level.BAD,
                "The spool takes no more rows",
                f"Make room on the disk of {spool.directory}, or bring the database back; rows wait in memory",
                spool.refused,
            )
        )
    if store.away_since_ns is not None:
        where = "rows are kept in the spool" if spool.directory and not spool.refused else "rows wait in memory"
        found.append(
            Ailment(
                Level.WARN if spool.directory and not spool.refused else Level.BAD,
                "The database does not take rows",
                f"Bring {store.database} back; {where} and are stored as soon as it answers",
                store.cause,
            )
        )
    elif spool.rows:
        found.append(Ailment(Level.BUSY, f"{spool.rows:,} rows are on their way from the spool to the database"))
    if spool.limit_bytes and not spool.refused and spool.bytes > _SPOOL_FULL * spool.limit_bytes:
        found.append(
            Ailment(
                Level.WARN,
                f"The spool is {spool.bytes / spool.limit_bytes:.0%} full",
                "When it is full rows wait in memory and then sockets are not read; see --spool-limit",
            )
        )
    if shown.phase is Phase.PAUSED:
        found.append(
            Ailment(
                Level.WARN,
                "Too many rows wait for the database: sockets are not read",
                "Is the database slow or away? Nothing is lost that the exchange still holds: it is fetched afterwards",
            )
        )
    return found


def _of_links(shown: Snapshot) -> list[Ailment]:
    if shown.phase in (Phase.STARTING, Phase.ENDED):
        return []
    found = []
    down = [each for each in shown.links if each.state in (LinkState.WAITING, LinkState.CONNECTING)]
    if down:
        cause = next((each.cause for each in down if each.cause), "")
        what = "The only link is" if len(shown.links) == 1 else f"{len(down)} of {len(shown.links)} links are"
        found.append(
            Ailment(
                Level.BAD if len(down) == len(shown.links) else Level.WARN,
                f"{what} down",
                "It connects again by itself, and fetches what was missed meanwhile",
                cause,
            )
        )
    else:
        found += _of_streams(shown)
    return found


def _of_streams(shown: Snapshot) -> list[Ailment]:
    found = []
    down = [each.stream for each in shown.streams if each.state is StreamState.DOWN]
    if down:
        found.append(Ailment(Level.WARN, f"{_some(down)}: no link carries {'it' if len(down) == 1 else 'them'}"))
    quiet = [each.stream for each in shown.streams if each.state is StreamState.QUIET]
    if quiet:
        found.append(
            Ailment(
                Level.WARN,
                f"{_some(quiet)}: silent for longer than usual",
                "It is looked up over REST whether trades lack; the market may have halted",
            )
        )
    return found


def _of_record(shown: Snapshot) -> list[Ailment]:
    found = []
    open_gaps = int(max(shown.counts.get("gaps_open", 0), len(shown.gaps)))
    if open_gaps:
        missing = int(shown.counts.get("missing_trades", shown.counts.get("trades_missing", 0)))
        symbols = list(dict.fromkeys(gap.symbol for gap in shown.gaps))
        note = next((gap.note for gap in shown.gaps if gap.note), "")
        found.append(
            Ailment(
                Level.WARN,
                (f"{missing:,} trade{' is' if missing == 1 else 's are'}" if missing else "Trades are")
                + " missing"
                + (f" in {_some(symbols)}" if symbols else ""),
                note or "They are fetched over REST; what stays open is closed by: crypto-quant repair",
            )
        )
    aside = int(
        sum(shown.counts.get(name, 0) for name in ("trades_set_aside", "candles_set_aside", "frames_set_aside"))
    )
    if aside:
        found.append(
            Ailment(
                Level.WARN,
                f"{aside:,} {'row or frame was' if aside == 1 else 'rows or frames were'} set aside in this run",
                "They are kept with their reasons in set-aside/ of the data directory",
            )
        )
    return found


def _of_room(shown: Snapshot) -> list[Ailment]:
    found = []
    for disk in shown.disks:
        low = min(_DISK_LOW_BYTES, int(_DISK_LOW_SHARE * disk.total_bytes))
        if disk.free_bytes < low:
            found.append(
                Ailment(
                    Level.BAD if disk.free_bytes < _DISK_OUT_BYTES else Level.WARN,
                    f"The disk of {disk.path} has {disk.free_bytes / 2**20:,.0f} MiB left",
                    "Make room; without it nothing can be spooled, and an embedded database stops",
                )
            )
    lag = shown.commit_lag.p99_ms
    if lag is not None and lag > _LAG_LONG_MS:
        found.append(
            Ailment(
                Level.WARN,
                f"Rows reach the database late: {lag / 1000:.1f} s (p99)",
                "The database, its disk or this machine is too slow for the load; crypto-quant doctor",
            )
        )
    return found


def _some(names: list[str]) -> str:
    """Return a list in words, the first few by name."""
    more = len(names) - _NAMED_MAX
    return ", ".join(names[:_NAMED_MAX]) + (f" and {more:,} more" if more > 0 else "")
