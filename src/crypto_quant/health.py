"""Whether a recorder is well, from what it shows: each thing that is not, with what to do about it.

Decided once, for the terminal, for scripts and for the page. What supervisors and alerts go by is slower to judge, on
purpose: ``web.standing``.
"""

from collections.abc import Iterator, Sequence
from enum import StrEnum

import msgspec

from crypto_quant import commands
from crypto_quant.market import NS_PER_S
from crypto_quant.snapshot import ClockView, LinkView, Phase, Snapshot, StreamState
from crypto_quant.words import GIB, MIB, counted, milliseconds, size, span

# a living recorder shows something new every second; one that has not for so long hangs, or its disk does
STALE_S = 5.0
SPOOL_SHARE_MOST = 0.8
# Of a disk that a recorder writes to, for doctor and the alerts too. It is nearly full below the first; worth a look
# below the second, and below the share, but a large disk not before less than the last is left.
DISK_BYTES_LEAST = 512 * MIB
DISK_BYTES_LOW = 1 * GIB
DISK_SHARE_LOW = 0.1
DISK_BYTES_ENOUGH = 10 * GIB
FILES_SHARE_MOST = 0.8
COMMIT_LAG_MOST_MS = 5000.0
# a clock that is off by less is well enough; by more than the second, it shows another time altogether, as a replay's
CLOCK_OFF_MS = 1000.0
CLOCK_ANOTHER_MS = 86_400_000.0
_NAMED_MAX = 3
_TYPED_MAX = 8


class Level(StrEnum):
    """How bad it is, the worst first."""

    WRONG = "wrong"  # something is not recorded, not stored or missing now
    NOTE = "note"  # worth a look
    BUSY = "busy"  # on its way, and needs nothing


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is not as it should be: ``what``, with figures, since when, why, and the ``remedy``.

    ``cause`` is what the recorder, the exchange or the database said of it; ``since_ns`` is None where nobody noted
    it. ``urgent``, of what is wrong: nothing is recorded, or what is received has nowhere safe to go.
    """

    level: Level
    what: str
    remedy: str = ""
    cause: str = ""
    since_ns: int | None = None
    urgent: bool = False

    def line(self, now_ns: int) -> str:
        """Return all but the remedy in one line."""
        lasting = "" if self.since_ns is None else f" for {span((now_ns - self.since_ns) / NS_PER_S)}"
        return f"{self.what}{lasting}{f': {self.cause}' if self.cause else ''}"


def problems(snapshot: Snapshot | None, *, alive: bool, now_ns: int) -> list[Problem]:
    """Return what is wrong with a recorder, the worst first; empty: it is well.

    ``snapshot`` is what its board shows (None: nothing that could be read), ``alive`` whether it runs, ``now_ns`` the
    time by the clock of the recorder.
    """
    if snapshot is None:
        cause = "it has just started, or is of another version" if alive else "it died before it showed anything"
        return [_wrong("Nothing to be seen of the recorder", "Look at its log", cause=cause, urgent=not alive)]
    if snapshot.phase is Phase.ENDED:
        return [_wrong("Recorder ended, in order", "Start it again: what it missed is fetched")]
    if not alive:
        return [
            _wrong(
                "Recorder down",
                "Start it again: what it missed is fetched, and what waits in its spool is stored. Its log says why",
                cause="it ended unexpectedly",
                since_ns=snapshot.taken_ns,
                urgent=True,
            )
        ]
    # of what is equally bad the cause stands before what follows from it: a full disk stops the database, and that
    # the reading; REST that does not answer leaves open what is missing
    found = [*_disks(snapshot), *_stale(snapshot, now_ns), *_store(snapshot), *_phase(snapshot), *_links(snapshot)]
    found += [*_streams(snapshot), *_rest(snapshot), *_missing(snapshot), *_late(snapshot), *_aside(snapshot)]
    found += [*_clock(snapshot), *_files(snapshot)]
    levels = list(Level)
    return sorted(found, key=lambda problem: (not problem.urgent, levels.index(problem.level)))


def is_well(snapshot: Snapshot | None, found: Sequence[Problem]) -> bool:
    """Tell whether a recorder has both its source and its store, and none of these, its problems, is wrong."""
    return snapshot is not None and snapshot.ready and all(each.level is not Level.WRONG for each in found)


def disk_level(free_bytes: int, total_bytes: int) -> Level | None:
    """Return how bad it is that so much of a disk is left; None: it is enough."""
    if free_bytes < DISK_BYTES_LEAST:
        return Level.WRONG
    low = free_bytes < DISK_BYTES_LOW or free_bytes < min(DISK_SHARE_LOW * total_bytes, DISK_BYTES_ENOUGH)
    return Level.NOTE if low else None


def clock_off_ms(clock: ClockView) -> float:
    """Return how far a clock is off in ms, below 0 when it is behind; 0 when that is too little to matter.

    What is not certain is given to the clock's favour.
    """
    ahead_ms = clock.ahead_ms or 0.0
    certain_ms = abs(ahead_ms) - clock.unsure_ms
    return ahead_ms if CLOCK_OFF_MS < certain_ms < CLOCK_ANOTHER_MS else 0.0


def _wrong(what: str, remedy: str, *, cause: str = "", since_ns: int | None = None, urgent: bool = False) -> Problem:
    return Problem(level=Level.WRONG, what=what, remedy=remedy, cause=cause, since_ns=since_ns, urgent=urgent)


def _note(what: str, remedy: str) -> Problem:
    return Problem(level=Level.NOTE, what=what, remedy=remedy)


def _busy(what: str) -> Problem:
    return Problem(level=Level.BUSY, what=what)


def _stale(snapshot: Snapshot, now_ns: int) -> Iterator[Problem]:
    if now_ns - snapshot.taken_ns > STALE_S * NS_PER_S:
        yield _wrong(
            "Nothing new from the recorder",
            "Is the machine suspended or overloaded, the disk of its data directory full? If it does nothing, see its "
            f"log, end it (its process is {snapshot.pid}) and start it again",
            since_ns=snapshot.taken_ns,
            urgent=True,
        )


def _phase(snapshot: Snapshot) -> Iterator[Problem]:
    match snapshot.phase:
        case Phase.STARTING:
            yield _busy("Starting: not every link has been up yet")
        case Phase.PAUSED:
            yield _wrong(
                f"Reading paused: {counted(snapshot.pending, 'row')} wait for the database",
                "The database is away, or slower than the market: see its disk and what else it does. What is missed "
                "meanwhile is fetched afterwards",
            )
        case Phase.DRAINING:
            yield _busy(f"Ending: {counted(snapshot.pending, 'row')} to be stored")


def _store(snapshot: Snapshot) -> Iterator[Problem]:
    store, spool = snapshot.store, snapshot.spool
    share = spool.bytes / spool.limit_bytes if spool.limit_bytes else 0.0
    spooled = bool(spool.directory) and not spool.refused
    if store.away_since_ns is not None:
        where = f"the spool ({share:.0%} full)" if spooled else "memory"
        yield _wrong(
            "Database away",
            f"{_bring_back(snapshot)}. Meanwhile rows wait in {where}, and are stored as soon as it answers",
            cause=store.cause,
            since_ns=store.away_since_ns,
            urgent=not spooled,
        )
    if spool.refused:
        yield _wrong(
            "The spool takes no more",
            f"Free space for {spool.directory}, or raise --spool-limit; rows wait in memory, then reading pauses",
            cause=spool.refused,
            urgent=True,
        )
    elif share > SPOOL_SHARE_MOST:
        yield _wrong(
            f"The spool is {share:.0%} full, {size(spool.bytes)} of {size(spool.limit_bytes)}",
            "See to the database, or give the spool more: --spool-limit. When it is full, rows wait in memory, and "
            "then reading pauses",
        )
    elif spool.rows and store.away_since_ns is None:
        yield _busy(f"{counted(spool.rows, 'row')} on their way from the spool to the database")


def _bring_back(snapshot: Snapshot) -> str:
    store = snapshot.store
    if not store.start:
        return f"Bring {store.database} back"
    if any(disk_level(each.free_bytes, each.total_bytes) is Level.WRONG for each in snapshot.disks if each.total_bytes):
        return "It is started again by itself once its disk has room"
    return f"It is started again by itself, unless `crypto-quant db stop` has ended it; at once: {store.start}"


def _links(snapshot: Snapshot) -> Iterator[Problem]:
    if snapshot.phase is Phase.DRAINING:
        return  # they are closed on purpose
    starting = snapshot.phase is Phase.STARTING
    if not snapshot.links and not starting:
        yield _wrong("No link to the exchange", "Look at its log", urgent=True)
    # at the start one is down until it is connected; wrong is only what has failed
    down = [each for each in _down(snapshot) if not starting or each.attempt or each.cause]
    if down:
        yield _wrong(
            f"{len(down)} of {counted(len(snapshot.links), 'link')} down",
            "They reconnect by themselves, and what was missed is fetched",
            cause="; ".join(map(_link, down[:_NAMED_MAX])) + _more(down),
            since_ns=min(each.since_ns for each in down),
            urgent=len(down) == len(snapshot.links),
        )


def _down(snapshot: Snapshot) -> list[LinkView]:
    return [each for each in snapshot.links if not each.state.up]


def _link(view: LinkView) -> str:
    tries = f", attempt {view.attempt + 1}" if view.attempt else ""
    return f"link {view.link} {view.state}{tries}{f' ({view.cause})' if view.cause else ''}"


def _streams(snapshot: Snapshot) -> Iterator[Problem]:
    down = [each.stream for each in snapshot.streams if each.state is StreamState.DOWN]
    # with every link down it is said already
    if down and snapshot.phase in (Phase.RECORDING, Phase.PAUSED) and len(_down(snapshot)) < len(snapshot.links):
        yield _wrong(
            f"{counted(len(down), 'stream')} carried by no link: {_names(down)}",
            "They come back with their link; a hole is found by id and fetched",
        )
    # what misses candles is told with what is missing
    quiet = [each for each in snapshot.streams if each.state is StreamState.QUIET]
    silent = [each.stream for each in quiet if each.timeframe is None or not each.missing]
    if silent:
        yield _note(
            f"{counted(len(silent), 'stream')} quieter than usual: {_names(silent)}",
            "Each is looked up over REST; a quiet market needs nothing",
        )


def _missing(snapshot: Snapshot) -> Iterator[Problem]:
    counts, gaps, streams = snapshot.counts, snapshot.gaps, [each for each in snapshot.streams if each.missing]
    by_ids = sum(each.missing for each in streams if each.timeframe is None)
    trades = max(by_ids, counts.get("trades_missing", 0), sum(each.last - each.first + 1 for each in gaps))
    candles = sum(each.missing for each in streams if each.timeframe is not None)
    told = [counted(trades, "trade")] * bool(trades) + [counted(candles, "candle")] * bool(candles)
    told = told or ["Trades"] * bool(snapshot.gaps_open)
    if not told:
        return
    symbols = list(dict.fromkeys([*(each.symbol for each in streams), *(each.symbol for each in gaps)]))
    # too many to type, or not all known: without a symbol all that is recorded is repaired
    whole = len(symbols) > _TYPED_MAX or snapshot.gaps_open > len(gaps)
    command = commands.repair(snapshot.venue, *(() if whole else symbols))
    yield _wrong(
        f"{' and '.join(told)} missing{f': {_names(symbols)}' if symbols else ''}",
        f"They are fetched over REST by themselves; for what stays: {command}"
        if snapshot.refilled
        else f"Nothing fetches them, for it records with --no-backfill: {command}",
        cause=next((each.note for each in gaps if each.note), ""),
    )


def _rest(snapshot: Snapshot) -> Iterator[Problem]:
    # without anything to fetch nobody needs it; what fails once is asked again
    missing = snapshot.gaps_open or any(each.missing for each in snapshot.streams)
    if snapshot.rest.away_since_ns is not None and missing:
        yield _wrong(
            "REST does not answer",
            "It is asked again by itself; until it answers nothing that is missing can be fetched. If it lasts, look "
            "at the network and at the exchange's status",
            cause=snapshot.rest.cause,
            since_ns=snapshot.rest.away_since_ns,
        )


def _disks(snapshot: Snapshot) -> Iterator[Problem]:
    for disk in snapshot.disks:
        if not disk.total_bytes:
            continue
        level = disk_level(disk.free_bytes, disk.total_bytes)
        left = f"{size(disk.free_bytes)} left ({disk.free_bytes / disk.total_bytes:.1%})"
        remedy = "Make room: without it nothing can be spooled, and an embedded database stops"
        if level is Level.WRONG:
            yield _wrong(f"The disk of {disk.path} is nearly full: {left}", remedy, urgent=True)
        elif level is Level.NOTE:
            yield _note(f"The disk of {disk.path} fills up: {left}", remedy)


def _late(snapshot: Snapshot) -> Iterator[Problem]:
    late_ms = snapshot.commit_lag.p99_ms
    # what comes out of the spool is late, and told as that
    waits = snapshot.spool.rows or snapshot.store.away_since_ns is not None
    if late_ms is not None and late_ms > COMMIT_LAG_MOST_MS and not waits:
        yield _note(
            f"Rows reach the database late: {milliseconds(late_ms)} after their arrival (p99)",
            "The database, its disk or this machine is too slow for the load: crypto-quant doctor",
        )


def _clock(snapshot: Snapshot) -> Iterator[Problem]:
    off_ms = clock_off_ms(snapshot.clock)
    if snapshot.clock.ahead_ms is None:
        # REST has not told; what arrives before it was made shows a clock that is behind
        least_ms = min((each.lag_ms for each in snapshot.streams if each.lag_ms is not None), default=0.0)
        off_ms = clock_off_ms(ClockView(ahead_ms=min(least_ms, 0.0)))
    if off_ms:
        side = "ahead of" if off_ms > 0 else "behind"
        yield _note(
            f"This machine's clock is {milliseconds(abs(off_ms))} {side} the exchange's",
            "Keep the time by NTP: timedatectl set-ntp true, or run chrony. Trades, candles and ids are not touched; "
            "received_at is wrong by as much",
        )


def _aside(snapshot: Snapshot) -> Iterator[Problem]:
    counts = snapshot.counts
    rows = counts.get("trades_set_aside", 0) + counts.get("candles_set_aside", 0)
    frames, conflicts = counts.get("frames_set_aside", 0), counts.get("trades_conflicting", 0)
    told = [f"{counted(rows, 'row')} set aside"] * bool(rows) + [f"{counted(frames, 'frame')} set aside"] * bool(frames)
    told += [f"{counted(conflicts, 'trade')} came with another content"] * bool(conflicts)
    if told:
        yield _note(", ".join(told), "They are kept with their reasons in set-aside/ of the data directory")


def _files(snapshot: Snapshot) -> Iterator[Problem]:
    process = snapshot.process
    if process.open_files_limit and process.open_files > FILES_SHARE_MOST * process.open_files_limit:
        yield _note(
            f"{process.open_files:,} files are open of {process.open_files_limit:,} allowed",
            "Raise the limit: ulimit -n, LimitNOFILE of systemd",
        )


def _names(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED_MAX]) + _more(names)


def _more(things: Sequence[object]) -> str:
    return f" and {len(things) - _NAMED_MAX:,} more" if len(things) > _NAMED_MAX else ""
