"""What a running recorder shows of itself, as values: what ``status``, the page and the metrics are made of.

A recorder writes one about once a second (``ops.board``); whoever watches reads it there, and can neither slow nor stop
what is being recorded. All times are ns since the epoch by the recorder's own clock, unless a name says otherwise.
Fields may be added; those that are here keep their meaning within a ``format``.
"""

from enum import StrEnum
from typing import Any

import msgspec

FORMAT = 1
# so many gaps and happenings are shown; the counts say how many there are
GAPS_MAX = 1000
HAPPENINGS_MAX = 200


class Phase(StrEnum):
    """What a recorder does as a whole."""

    STARTING = "starting"  # not every link has been up yet
    RECORDING = "recording"
    PAUSED = "paused"  # too many rows wait for the database: sockets are not read
    DRAINING = "draining"
    ENDED = "ended"


class LinkState(StrEnum):
    """What one link does."""

    WAITING = "waiting"  # for its next attempt
    CONNECTING = "connecting"
    OPEN = "open"  # up; its streams are not all acknowledged, or nothing has come yet
    DELIVERING = "delivering"

    @property
    def up(self) -> bool:
        """Whether it is connected."""
        return self in (LinkState.OPEN, LinkState.DELIVERING)


class StreamState(StrEnum):
    """What one stream does."""

    LIVE = "live"
    QUIET = "quiet"  # listened to, and silent for longer than its own rate makes plausible: it is looked up over REST
    DOWN = "down"  # no link carries it now


class LinkView(msgspec.Struct, frozen=True, kw_only=True):
    """One link, by the number under which the log tells of it. ``since_ns``: since when it is in this state.

    ``attempt`` counts the failures in a row and ``cause`` says what ended the last life, while it is not up.
    """

    link: int
    state: LinkState
    since_ns: int
    streams: int
    attempt: int = 0
    cause: str = ""


class StreamView(msgspec.Struct, frozen=True, kw_only=True):
    """One stream. ``timeframe`` is None for trades.

    ``last`` is the newest trade id, or the open time (ns) of the newest closed candle; -1 when none came. ``seen_ns``
    says when it came, to about a second; None when none has come in this run. ``rate`` is events a second over about
    the last ten (ids of trades; closed candles have none: 0). ``lag_ms`` is from the exchange's event time to the
    arrival here, of a trade of late, without the difference of the two clocks as far as that is known. ``gaps`` and
    ``missing`` count the holes that are open in the trades and the ids in them (of candles: slots).
    """

    stream: str
    symbol: str
    timeframe: str | None
    state: StreamState
    last: int = -1
    seen_ns: int | None = None
    rate: float = 0.0
    lag_ms: float | None = None
    gaps: int = 0
    missing: int = 0


class GapView(msgspec.Struct, frozen=True, kw_only=True):
    """Ids ``first`` to ``last`` (inclusive) of a symbol's trades that are missing now.

    ``note`` says what keeps it open and what closes it, when that is known.
    """

    symbol: str
    first: int
    last: int
    note: str = ""


class StoreView(msgspec.Struct, frozen=True, kw_only=True):
    """The database: ``database`` is HOST:PORT/NAME without user, password and options.

    ``away_since_ns`` is None while it takes batches; else ``cause`` says why it does not. ``failures`` counts the
    attempts that failed in this run. ``start`` is the command that starts it where it is the embedded one, which the
    recorder does by itself when it has died; else empty.
    """

    database: str
    start: str = ""
    tier: str = ""
    away_since_ns: int | None = None
    cause: str = ""
    last_commit_ns: int | None = None
    failures: int = 0
    pool_limit: int = 0
    pool_open: int = 0
    pool_busy: int = 0


class RestView(msgspec.Struct, frozen=True, kw_only=True):
    """The exchange's REST: ``away_since_ns`` is None unless the last request failed that may be asked again."""

    away_since_ns: int | None = None
    cause: str = ""


class SpoolView(msgspec.Struct, frozen=True, kw_only=True):
    """The spool; ``directory`` is empty when there is none. ``refused``: it takes no more, rows wait in memory."""

    directory: str = ""
    rows: int = 0
    records: int = 0
    bytes: int = 0
    limit_bytes: int = 0
    refused: str = ""


class DiskView(msgspec.Struct, frozen=True, kw_only=True):
    """The file system of one of the recorder's directories."""

    path: str
    free_bytes: int
    total_bytes: int


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """Times in ms: three quantiles over about the last ten seconds (None: there were none), and all of the run.

    ``buckets`` are (upper edge in ms, how many were not above it), rising and cumulative; ``count`` and ``sum_ms`` are
    of the whole run.
    """

    p50_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None
    count: int = 0
    sum_ms: float = 0.0
    buckets: tuple[tuple[float, int], ...] = ()


class ProcessView(msgspec.Struct, frozen=True, kw_only=True):
    """The recorder's process."""

    resident_bytes: int = 0
    cpu_seconds: float = 0.0
    open_files: int = 0
    open_files_limit: int = 0


class ClockView(msgspec.Struct, frozen=True, kw_only=True):
    """This machine's clock against the exchange's, by its answers over REST.

    ``ahead_ms`` is how far ours is ahead (below 0: behind), give or take ``unsure_ms``; None while nothing is known.
    """

    ahead_ms: float | None = None
    unsure_ms: float = 0.0

    @property
    def difference_ms(self) -> float:
        """What to take out of a time between the two clocks: nothing while they may agree."""
        return self.ahead_ms if self.ahead_ms is not None and abs(self.ahead_ms) > self.unsure_ms else 0.0


class Happening(msgspec.Struct, frozen=True, kw_only=True):
    """An event worth a person's look (a warning or an error), with its fields as the log has them."""

    at_ns: int
    level: str
    message: str
    fields: dict[str, Any] = {}


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """A whole recorder at one moment.

    ``source`` is the URL that the streams come from. ``counts`` are the figures of ``PipelineStats`` that only grow,
    and its gauges, by the names of the statistics line. ``rate`` is trades committed a second and ``frame_rate``
    frames received a second, over about the last ten seconds. ``events`` counts what happened in this run:
    message -> how often. ``refilled``: what is missing is fetched while it records. ``gaps`` are the first
    ``GAPS_MAX``, ``happenings`` the last ``HAPPENINGS_MAX``, newest last.
    """

    format: int = FORMAT
    version: str
    pid: int
    started_ns: int
    taken_ns: int
    phase: Phase
    venue: str
    symbols: int
    source: str = ""
    exchange_ns: int = 0
    refilled: bool = True
    counts: dict[str, int] = {}
    rate: float = 0.0
    frame_rate: float = 0.0
    commit_lag: Spread = Spread()
    event_lag: Spread = Spread()
    write_time: Spread = Spread()
    store: StoreView
    spool: SpoolView = SpoolView()
    rest: RestView = RestView()
    disks: tuple[DiskView, ...] = ()
    process: ProcessView = ProcessView()
    clock: ClockView = ClockView()
    links: tuple[LinkView, ...] = ()
    streams: tuple[StreamView, ...] = ()
    gaps: tuple[GapView, ...] = ()
    events: dict[str, int] = {}
    happenings: tuple[Happening, ...] = ()

    @property
    def pending(self) -> int:
        """How many rows, trades and candles, wait in memory or in the spool."""
        return self.counts.get("pending_trades", 0) + self.counts.get("pending_candles", 0)

    @property
    def gaps_open(self) -> int:
        """How many gaps are open in the trades; ``gaps`` has the first of them alone."""
        return max(self.counts.get("gaps_open", 0), len(self.gaps))

    @property
    def ready(self) -> bool:
        """Whether source and store are both connected: every link delivers or is open, and the database takes rows."""
        linked = bool(self.links) and all(each.state.up for each in self.links)
        running = self.phase in (Phase.RECORDING, Phase.PAUSED)
        return running and linked and self.store.away_since_ns is None
