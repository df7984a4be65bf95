"""Metrics for Prometheus, made anew from the recorders' boards when they are asked for.

Names have one prefix and base units, what only grows ends in ``_total``, moments are Unix time. Of a recorder that is
dead, or shows nothing new, only that is told: old figures would look like a market at rest.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal

import msgspec
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
    StateSetMetricFamily,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from crypto_quant.snapshot import LinkState, Phase, Snapshot, Spread, StreamState, StreamView
from crypto_quant.web.standing import Standing

PREFIX = "cryptoquant_"
OWNER = ("recorder", "venue")
OPENMETRICS = "application/openmetrics-text"

Kind = Literal["counter", "gauge", "histogram", "stateset", "info"]


class Family(msgspec.Struct, frozen=True):
    """One metric: its name without prefix, what it means, its labels besides ``OWNER``, and how it is read.

    ``read`` yields (values of the labels, value).
    """

    kind: Kind
    name: str
    help: str
    labels: tuple[str, ...]
    read: Callable[[Any], Iterable[tuple[Sequence[str], Any]]]

    @property
    def exported(self) -> str:
        """The name as queries have it; a histogram's has ``_bucket``, ``_sum`` and ``_count`` besides."""
        return PREFIX + self.name + {"counter": "_total", "info": "_info"}.get(self.kind, "")


def _count(kind: Kind, name: str, text: str, key: str = "") -> Family:
    def read(shown: Snapshot) -> Iterator[tuple[Sequence[str], int]]:
        yield (), shown.counts.get(key or name, 0)

    return Family(kind, name, text, (), read)


def _one(kind: Kind, name: str, text: str, value: Callable[[Any], Any]) -> Family:
    def read(shown: object) -> Iterator[tuple[Sequence[str], Any]]:
        found = value(shown)
        if found is not None:  # what is not known is not told
            yield (), found

    return Family(kind, name, text, (), read)


def _stream(name: str, text: str, value: Callable[[StreamView], float | None]) -> Family:
    def read(streams: Sequence[StreamView]) -> Iterator[tuple[Sequence[str], float]]:
        for each in streams:
            found = value(each)
            if found is not None:
                yield (each.symbol, each.stream.rpartition("@")[2]), found

    return Family("gauge", name, text, ("symbol", "stream"), read)


def _states(
    shown: Iterable[LinkState] | Iterable[StreamState], kinds: Iterable[str]
) -> Iterator[tuple[list[str], int]]:
    had = list(shown)
    for kind in kinds:
        yield [kind], sum(each == kind for each in had)


def _seconds(ns: int | None) -> float | None:
    return None if ns is None else ns / 1e9


def _last_event(shown: Snapshot) -> float | None:
    return _seconds(max((each.seen_ns for each in shown.streams if each.seen_ns is not None), default=None))


def _lags(shown: Snapshot) -> list[float]:
    return [each.lag_ms / 1e3 for each in shown.streams if each.lag_ms is not None]


# What is told of every recorder that is known, as it stands.
ALWAYS: tuple[Family, ...] = (
    _one("gauge", "up", "1 while the recorder runs and shows what it does; 0 when it is dead or hangs",
         lambda each: int(each.up)),
    _one("gauge", "ready", "1 while source and store are both connected",
         lambda each: int(each.up and each.snapshot.ready)),
    _one("gauge", "snapshot_age_seconds", "How old what the recorder shows of itself is", lambda each: each.age_s),
)  # fmt: skip

# What is told of a recorder that is up.
OF_A_RECORDER: tuple[Family, ...] = (
    _one("info", "recorder", "What runs, and where it stores and takes its data from", lambda shown: {
        "version": shown.version, "pid": str(shown.pid), "database": shown.store.database, "tier": shown.store.tier,
        "source": shown.source}),
    _one("stateset", "phase", "What the recorder does as a whole",
         lambda shown: {each.value: each is shown.phase for each in Phase}),
    _one("gauge", "start_time_seconds", "When the recorder was started", lambda shown: _seconds(shown.started_ns)),
    _one("gauge", "symbols", "Symbols that are recorded", lambda shown: shown.symbols),
    # -- the source
    Family("gauge", "links", "Connections to the exchange by what they do", ("state",),
           lambda shown: _states((each.state for each in shown.links), LinkState)),
    Family("gauge", "streams", "Streams by what they do; quiet: silent for longer than their own rate makes plausible",
           ("state",), lambda shown: _states((each.state for each in shown.streams), StreamState)),
    _one("gauge", "last_event_timestamp_seconds", "When the newest event of any stream came", _last_event),
    _one("gauge", "exchange_timestamp_seconds", "The exchange's time of the newest event",
         lambda shown: _seconds(shown.exchange_ns or None)),
    _one("gauge", "clock_ahead_seconds", "How far this machine's clock is ahead of the exchange's, by REST; below 0:"
         " behind", lambda shown: None if shown.clock.ahead_ms is None else shown.clock.ahead_ms / 1e3),
    _one("gauge", "clock_unsure_seconds", "By how much clock_ahead_seconds may be wrong",
         lambda shown: None if shown.clock.ahead_ms is None else shown.clock.unsure_ms / 1e3),
    _one("gauge", "arrival_lag_least_seconds", "From event time to arrival on the stream where that is least, without"
         " the difference of the clocks that is known; below 0 when this machine's clock is behind",
         lambda shown: min(_lags(shown), default=None)),
    _one("gauge", "arrival_lag_most_seconds", "From event time to arrival on the stream where that is most",
         lambda shown: max(_lags(shown), default=None)),
    _count("counter", "frames_received", "WebSocket frames received"),
    _count("counter", "frames_set_aside", "Frames that could not be decoded, kept in a file"),
    _count("counter", "frames_ignored", "Frames of nothing that is recorded"),
    _count("counter", "reconnects", "Links replaced after they had ended"),
    _count("counter", "rollovers", "Links replaced without a break"),
    # -- trades and candles
    _count("counter", "trades_received", "Well-formed trades of recorded symbols that came"),
    _count("counter", "trades_written", "Trades stored"),
    _count("counter", "trades_duplicate", "Trades that were stored already"),
    _count("counter", "trades_redundant", "Trades that came a second time over another link"),
    _count("counter", "trades_set_aside", "Trades that the database refused, kept in a file"),
    _count("counter", "trades_conflicting", "Trades set aside because another content is stored"),
    _count("counter", "trades_void", "Trades that came empty: ids that the exchange has given to no trade"),
    _count("counter", "trades_backfilled", "Trades fetched over REST or from an archive"),
    _count("counter", "trades_taken_over", "Trades that earlier runs had left in the spool"),
    _count("gauge", "trades_pending", "Trades that wait in memory or in the spool", "pending_trades"),
    _count("counter", "candles_received", "Closed candles that came"),
    _count("counter", "candles_written", "Candles stored"),
    _count("counter", "candles_duplicate", "Candles that were stored already"),
    _count("counter", "candles_redundant", "Candles that came a second time over another link"),
    _count("counter", "candles_set_aside", "Candles that the database refused, kept in a file"),
    _count("counter", "candles_fetched", "Candles fetched over REST"),
    _count("counter", "candles_taken_over", "Candles that earlier runs had left in the spool"),
    _count("gauge", "candles_pending", "Candles that wait in memory or in the spool", "pending_candles"),
    # -- what is missing
    _count("counter", "gaps_found", "Gaps in the trades that were found in this run", "gaps"),
    _count("gauge", "gaps_open", "Gaps in the trades that are open now"),
    _count("gauge", "trades_missing", "Trades that are missing now"),
    _one("gauge", "candles_missing", "Closed candles that are missing now",
         lambda shown: sum(each.missing for each in shown.streams if each.timeframe is not None)),
    # -- the store
    _one("gauge", "store_up", "1 while the database takes what is recorded",
         lambda shown: int(shown.store.away_since_ns is None)),
    _one("gauge", "last_commit_timestamp_seconds", "When a batch was last stored",
         lambda shown: _seconds(shown.store.last_commit_ns)),
    _count("counter", "store_failures", "Attempts to store a batch that failed"),
    _count("counter", "batches_written", "Batches stored"),
    _count("gauge", "batch_size_rows", "Rows that make a batch full", "batch_size"),
    _one("gauge", "store_connections", "Connections to the database", lambda shown: shown.store.pool_open),
    _one("gauge", "store_connections_busy", "Connections to the database that are in use",
         lambda shown: shown.store.pool_busy),
    _one("gauge", "store_connections_limit", "Connections to the database that may be open",
         lambda shown: shown.store.pool_limit),
    _one("histogram", "commit_lag_seconds", "From the arrival of a frame to its commit",
         lambda shown: shown.commit_lag),
    _one("histogram", "event_lag_seconds", "From the exchange's event time to the commit, without the difference of the"
         " clocks that is known", lambda shown: shown.event_lag),
    _one("histogram", "write_seconds", "What storing a batch took", lambda shown: shown.write_time),
    # -- the spool
    _one("gauge", "spool_rows", "Rows that wait in the spool on disk", lambda shown: shown.spool.rows),
    _one("gauge", "spool_bytes", "What the spool takes on disk", lambda shown: shown.spool.bytes),
    _one("gauge", "spool_limit_bytes", "What the spool may take on disk; 0 when there is none",
         lambda shown: shown.spool.limit_bytes),
    _one("gauge", "spool_refused", "1 while the spool takes nothing and rows wait in memory",
         lambda shown: int(bool(shown.spool.refused))),
    _count("counter", "spooled_rows", "Rows that went to the spool"),
    _count("counter", "replayed_rows", "Rows that came from the spool into the database"),
    # -- the machine
    Family("gauge", "disk_free_bytes", "Free space of a disk that the recorder writes to", ("path",),
           lambda shown: [((each.path,), each.free_bytes) for each in shown.disks]),
    Family("gauge", "disk_size_bytes", "Size of a disk that the recorder writes to", ("path",),
           lambda shown: [((each.path,), each.total_bytes) for each in shown.disks]),
    _one("gauge", "process_resident_memory_bytes", "Memory of the recorder's process",
         lambda shown: shown.process.resident_bytes),
    _one("counter", "process_cpu_seconds", "Processor time of the recorder's process",
         lambda shown: shown.process.cpu_seconds),
    _one("gauge", "process_open_fds", "Open files of the recorder's process", lambda shown: shown.process.open_files),
    _one("gauge", "process_max_fds", "Files that the recorder's process may open",
         lambda shown: shown.process.open_files_limit),
    # -- the log
    Family("counter", "events", "What has happened, by the message in the log", ("event",),
           lambda shown: [((message,), times) for message, times in sorted(shown.events.items())]),
)  # fmt: skip

# What is told of each stream, of so many as were asked for.
OF_A_STREAM: tuple[Family, ...] = (
    _stream("stream_live", "1 while the stream is carried by a link and is not suspiciously silent",
            lambda each: int(each.state is StreamState.LIVE)),
    _stream("stream_last_event_timestamp_seconds", "When the stream's newest event came",
            lambda each: _seconds(each.seen_ns)),
    _stream("stream_trades_per_second", "Trades a second over about the last ten",
            lambda each: each.rate if each.timeframe is None else None),
    _stream("stream_arrival_lag_seconds", "From event time to arrival",
            lambda each: None if each.lag_ms is None else each.lag_ms / 1e3),
    _stream("stream_gaps_open", "Gaps that are open now", lambda each: each.gaps if each.timeframe is None else None),
    _stream("stream_missing", "Trades, or closed candles, that are missing now", lambda each: each.missing),
)  # fmt: skip

# What is told of the process that answers.
OF_THE_WATCHER: tuple[Family, ...] = (
    _one("gauge", "recorders", "Recorders that run and show what they do",
         lambda standings: sum(each.up for each in standings)),
    _one("gauge", "streams_not_told", "Streams that have no metrics of their own, by --metrics-streams",
         lambda left_out: left_out),
)  # fmt: skip


class Exposition(Collector):
    """The metrics of some recorders, ``streams_max`` streams of each told one by one."""

    def __init__(self, standings: Sequence[Standing], streams_max: int) -> None:
        self._standings = standings
        self._streams_max = streams_max

    def collect(self) -> Iterator[Metric]:
        """Yield every metric, also those that nothing is told of now."""
        up = [(each, each.snapshot) for each in self._standings if each.snapshot is not None and each.up]
        left_out = sum(max(0, len(shown.streams) - self._streams_max) for _, shown in up)
        recorders, not_told = OF_THE_WATCHER
        yield _filled(recorders, (), [((), self._standings)])
        yield _filled(not_told, (), [((), left_out)])
        for family in ALWAYS:
            yield _filled(family, OWNER, [(_owner(each), each) for each in self._standings])
        for family in OF_A_RECORDER:
            yield _filled(family, OWNER, [(_owner(each), shown) for each, shown in up])
        for family in OF_A_STREAM:
            told = [(_owner(each), shown.streams[: self._streams_max]) for each, shown in up]
            yield _filled(family, OWNER, told)

    def render(self, accept: str) -> tuple[bytes, str]:
        """Return the text, and its type, as ``Accept`` asks: OpenMetrics where that is named, else the plain format."""
        if OPENMETRICS in accept:
            text: bytes = openmetrics.generate_latest(self)  # type: ignore[no-untyped-call]
            return text, openmetrics.CONTENT_TYPE_LATEST
        return generate_latest(self), CONTENT_TYPE_PLAIN_0_0_4


def _owner(standing: Standing) -> tuple[str, str]:
    return standing.name, standing.snapshot.venue if standing.snapshot is not None else ""


def _filled(family: Family, owner: Sequence[str], sources: Iterable[tuple[Sequence[str], Any]]) -> Metric:
    metric: Any = _KINDS[family.kind](PREFIX + family.name, family.help, labels=[*owner, *family.labels])
    for whose, source in sources:
        for labels, value in family.read(source):
            values = [*whose, *labels]
            if isinstance(value, Spread):
                metric.add_metric(values, *_histogram(value))
            else:
                metric.add_metric(values, value)
    filled: Metric = metric
    return filled


def _histogram(spread: Spread) -> tuple[list[tuple[str, int]], float]:
    buckets = [(repr(round(edge_ms / 1e3, 9)), upto) for edge_ms, upto in spread.buckets]
    return [*buckets, ("+Inf", spread.count)], spread.sum_ms / 1e3


_KINDS: dict[str, Any] = {
    "counter": CounterMetricFamily,
    "gauge": GaugeMetricFamily,
    "histogram": HistogramMetricFamily,
    "info": InfoMetricFamily,
    "stateset": StateSetMetricFamily,
}
