"""Whether a recorder is well, from what it shows: each thing that is not, with what to do about it.

Decided once, for the terminal and for scripts. What is ``WRONG`` means that something is not recorded, not stored or
missing now; a ``NOTE`` is worth a look.
"""

import shlex
from collections.abc import Iterator, Sequence
from enum import StrEnum

import msgspec

from crypto_quant.market import NS_PER_S
from crypto_quant.snapshot import LinkState, LinkView, Phase, Snapshot, StreamState
from crypto_quant.words import counted, size, span

# a living recorder shows something new every second; one that has not for so long hangs, or its disk does
STALE_S = 5.0
SPOOL_SHARE_MOST = 0.8
DISK_BYTES_LEAST = 512 * 1024**2
DISK_SHARE_LEAST = 0.05
FILES_SHARE_MOST = 0.8
_NAMED_MAX = 3
_UP = (LinkState.OPEN, LinkState.DELIVERING)


class Level(StrEnum):
    """How bad it is."""

    WRONG = "wrong"
    NOTE = "note"


class Problem(msgspec.Struct, frozen=True):
    """Something that is not as it should be: ``what``, with figures, and the ``remedy``."""

    level: Level
    what: str
    remedy: str = ""


def problems(snapshot: Snapshot | None, *, alive: bool, now_ns: int) -> list[Problem]:
    """Return what is wrong with a recorder, the worst first; empty: it is well.

    ``snapshot`` is what its board shows (None: nothing that could be read), ``alive`` whether it runs.
    """
    if snapshot is None:
        said = "it has just started, or is of another version" if alive else "it died before it showed anything"
        return [Problem(Level.WRONG, f"nothing to be seen of it: {said}", "Look at its log")]
    age_s = (now_ns - snapshot.taken_ns) / NS_PER_S
    if not alive:
        return [
            Problem(
                Level.WRONG,
                f"it died, last seen {span(age_s)} ago",
                "Start it again: what it missed is fetched, and what waits in its spool is stored. Its log says why",
            )
        ]
    found = [*_stale(age_s), *_phase(snapshot), *_store(snapshot), *_links(snapshot, now_ns), *_streams(snapshot)]
    found += [*_gaps(snapshot), *_disks(snapshot), *_aside(snapshot), *_files(snapshot)]
    return sorted(found, key=lambda problem: problem.level is not Level.WRONG)


def is_well(found: Sequence[Problem]) -> bool:
    """Tell whether none of these is more than a note."""
    return all(each.level is not Level.WRONG for each in found)


def _stale(age_s: float) -> Iterator[Problem]:
    if age_s > STALE_S:
        yield Problem(
            Level.WRONG,
            f"it has shown nothing for {span(age_s)}: it hangs, or the disk of its data directory does",
            "Look at its log and its processor time; if it does nothing, end it and start it again",
        )


def _phase(snapshot: Snapshot) -> Iterator[Problem]:
    pending = snapshot.counts.get("pending_trades", 0) + snapshot.counts.get("pending_candles", 0)
    match snapshot.phase:
        case Phase.STARTING:
            yield Problem(Level.WRONG, "it is starting: not every link has been up yet")
        case Phase.PAUSED:
            yield Problem(
                Level.WRONG,
                f"reading is paused: {counted(pending, 'row')} wait for the database",
                "The database is slower than the market: see its disk and what else it does",
            )
        case Phase.DRAINING:
            yield Problem(Level.WRONG, f"it is ending: {counted(pending, 'row')} to be stored")
        case Phase.ENDED:
            yield Problem(Level.WRONG, "it has ended", "Start it again: what it missed is fetched")


def _store(snapshot: Snapshot) -> Iterator[Problem]:
    store, spool = snapshot.store, snapshot.spool
    share = spool.bytes / spool.limit_bytes if spool.limit_bytes else 0.0
    if store.away_since_ns is not None:
        away = span((snapshot.taken_ns - store.away_since_ns) / NS_PER_S)
        cause = f": {store.cause}" if store.cause else ""
        where = f"the spool ({share:.0%} full)" if spool.directory and not spool.refused else "memory"
        yield Problem(
            Level.WRONG,
            f"the database has been away for {away}{cause}",
            f"See to {store.database}. Meanwhile rows wait in {where}",
        )
    if spool.refused:
        yield Problem(
            Level.WRONG,
            f"the spool takes no more: {spool.refused}",
            f"Free space for {spool.directory}, or raise --spool-limit; rows wait in memory, then reading pauses",
        )
    elif share > SPOOL_SHARE_MOST:
        yield Problem(
            Level.WRONG,
            f"the spool is {share:.0%} full, {size(spool.bytes)} of {size(spool.limit_bytes)}",
            "See to the database, or give the spool more: --spool-limit",
        )
    elif spool.rows and store.away_since_ns is None:
        yield Problem(Level.NOTE, f"{counted(spool.rows, 'row')} wait in the spool and go into the database now")


def _links(snapshot: Snapshot, now_ns: int) -> Iterator[Problem]:
    if not snapshot.links:
        yield Problem(Level.WRONG, "no link to the exchange", "Look at its log")
    down = [each for each in snapshot.links if each.state not in _UP]
    if down:
        named = "; ".join(_link(each, now_ns) for each in down[:_NAMED_MAX])
        yield Problem(
            Level.WRONG,
            f"{len(down)} of {counted(len(snapshot.links), 'link')} down: {named}{_more(down)}",
            "They reconnect by themselves, and what was missed is fetched",
        )


def _link(view: LinkView, now_ns: int) -> str:
    tries = f", attempt {view.attempt + 1}" if view.attempt else ""
    cause = f" ({view.cause})" if view.cause else ""
    return f"link {view.link} {view.state} for {span((now_ns - view.since_ns) / NS_PER_S)}{tries}{cause}"


def _streams(snapshot: Snapshot) -> Iterator[Problem]:
    down = [each.stream for each in snapshot.streams if each.state is StreamState.DOWN]
    if down:
        yield Problem(
            Level.WRONG,
            f"{counted(len(down), 'stream')} carried by no link: {_names(down)}",
            "They come back with their link; a hole is found by id and fetched",
        )
    quiet = [each.stream for each in snapshot.streams if each.state is StreamState.QUIET]
    if quiet:
        yield Problem(
            Level.NOTE,
            f"{counted(len(quiet), 'stream')} quieter than usual: {_names(quiet)}",
            "Each is looked up over REST; a quiet market needs nothing",
        )


def _gaps(snapshot: Snapshot) -> Iterator[Problem]:
    series = [each for each in snapshot.streams if each.gaps]
    if not series and not snapshot.gaps:
        return
    holes = sum(each.gaps for each in series) or len(snapshot.gaps)
    missing = sum(each.missing for each in series) or sum(each.last - each.first + 1 for each in snapshot.gaps)
    symbols = list(dict.fromkeys([*(each.symbol for each in series), *(each.symbol for each in snapshot.gaps)]))
    venue = "" if snapshot.venue == "spot" else f" --venue {snapshot.venue}"
    # a symbol is the exchange's text, and people copy commands
    command = f"crypto-quant repair {shlex.join(symbols[:_NAMED_MAX])}{venue}"
    yield Problem(
        Level.WRONG,
        f"{counted(holes, 'gap')} open, {missing:,} missing: {_names(symbols)}",
        f"They are filled over REST by themselves; for what stays: {command}",
    )


def _disks(snapshot: Snapshot) -> Iterator[Problem]:
    for disk in snapshot.disks:
        share = disk.free_bytes / disk.total_bytes if disk.total_bytes else 1.0
        level = Level.WRONG if disk.free_bytes < DISK_BYTES_LEAST else Level.NOTE
        if level is Level.WRONG or share < DISK_SHARE_LEAST:
            left = f"{size(disk.free_bytes)} left ({share:.1%})"
            yield Problem(level, f"the disk of {disk.path} is nearly full: {left}", "Free some space")


def _aside(snapshot: Snapshot) -> Iterator[Problem]:
    counts = snapshot.counts
    rows = counts.get("trades_set_aside", 0) + counts.get("candles_set_aside", 0)
    frames, conflicts = counts.get("frames_set_aside", 0), counts.get("trades_conflicting", 0)
    told = [f"{counted(rows, 'row')} set aside"] * bool(rows) + [f"{counted(frames, 'frame')} set aside"] * bool(frames)
    told += [f"{counted(conflicts, 'trade')} came with another content"] * bool(conflicts)
    if told:
        yield Problem(
            Level.NOTE, ", ".join(told), "They are kept with their reasons in set-aside/ of the data directory"
        )


def _files(snapshot: Snapshot) -> Iterator[Problem]:
    process = snapshot.process
    if process.open_files_limit and process.open_files > FILES_SHARE_MOST * process.open_files_limit:
        yield Problem(
            Level.NOTE,
            f"{process.open_files:,} files are open of {process.open_files_limit:,} allowed",
            "Raise the limit: ulimit -n, LimitNOFILE of systemd",
        )


def _names(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED_MAX]) + _more(names)


def _more(things: Sequence[object]) -> str:
    return f" and {len(things) - _NAMED_MAX:,} more" if len(things) > _NAMED_MAX else ""
