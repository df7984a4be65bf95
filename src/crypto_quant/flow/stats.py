"""What the pipeline has done, counted exactly: every trade received is written, a duplicate, set aside or pending."""

import itertools
from collections.abc import Sequence
from typing import Any

from crypto_quant.seams import PoolUse, Receipt, Table
from crypto_quant.snapshot import ClockView

# Lags are kept in buckets that grow by a quarter: a percentile is at most 12 % off, and counting is O(1).
_GROWTH = 1.25
_FIRST_MS = 0.05
_BUCKETS = 110  # 0.05 ms * 1.25**110 is over 25 days
# of these the edges are shown to watchers: each nearly twice the one before, from 0.2 ms to two minutes
_SHOWN = range(6, 68, 3)


class LagHistogram:
    """Lags in ms, as a histogram of the whole run.

    ``quantile`` answers for everything added since a ``mark``, by default since the last ``clear``, so that several
    can look at it, each with a window of its own.
    """

    def __init__(self) -> None:
        self._counts = [0] * (_BUCKETS + 1)
        self._edges = [_FIRST_MS * _GROWTH**n for n in range(_BUCKETS)]
        self._cleared = self.mark()
        self.count = 0
        self.sum_ms = 0.0

    def add(self, lag_ms: float, times: int = 1) -> None:
        """Count a lag; a negative one (clocks disagree) counts as none."""
        low, high = 0, _BUCKETS
        while low < high:
            middle = (low + high) // 2
            if lag_ms <= self._edges[middle]:
                high = middle
            else:
                low = middle + 1
        self._counts[low] += times
        self.count += times
        self.sum_ms += max(lag_ms, 0.0) * times

    def mark(self) -> Sequence[int]:
        """Return what stands now, for ``quantile`` to begin at."""
        return tuple(self._counts)

    def quantile(self, share: float, since: Sequence[int] | None = None) -> float | None:
        """Return the lag (upper edge of its bucket, ms) that ``share`` of the counted ones do not exceed."""
        before = self._cleared if since is None else since
        counted = sum(self._counts) - sum(before)
        if not counted:
            return None
        seen = 0
        for bucket, count in enumerate(self._counts):
            seen += count - before[bucket]
            if seen >= share * counted:
                return round(self._edges[min(bucket, _BUCKETS - 1)], 2)
        return None

    def cumulative(self) -> tuple[tuple[float, int], ...]:
        """Return (upper edge in ms, how many of the whole run were not above it) of some buckets, rising."""
        upto = list(itertools.accumulate(self._counts))
        return tuple((round(self._edges[bucket], 3), upto[bucket]) for bucket in _SHOWN)

    def clear(self) -> None:
        """Begin a new window."""
        self._cleared = self.mark()


class PipelineStats:
    """Counters of one run, and their report.

    The attributes are plain integers that the rooms count up. ``trades_received`` are well-formed trades of wanted
    symbols, ``trades_taken_over`` those that an earlier run has left in the spool; each of both is in exactly one
    of ``trades_written``, ``trades_duplicate``, ``trades_set_aside`` or ``pending_trades``, which counts those in
    the spool as well. ``spooled_rows`` went to disk, ``replayed_rows`` came from there into the store (or were
    there already); their lags are not counted. The same holds for closed candles. ``trades_conflicting`` says how
    many of those set aside are stored with another content. ``trades_backfilled`` came another way, over REST or
    from an archive, and are in none of these; nor are the second arrivals while two links carry the same streams
    (redundancy, or one taking over from the other), which count in ``trades_redundant`` alone. ``gaps`` were found
    in this run; ``gaps_open`` are open now, those that earlier runs have left included, and ``missing_trades`` are
    the ids in them. ``rollovers`` are links replaced without a break, ``reconnects`` those that had ended first.
    Lags cover the time since the last report:
    ``commit_lag`` from a frame's arrival to its commit, ``event_lag`` from the exchange's event time to the commit
    without the difference of the two clocks, as far as ``clock`` knows it (years when a recording is replayed).
    ``write_time`` is what the store took for a batch, its tries included.
    """

    def __init__(self, started_ns: int) -> None:
        self.started_ns = started_ns
        self.frames_received = 0
        self.frames_set_aside = 0
        self.frames_ignored = 0
        self.trades_received = 0
        self.trades_written = 0
        self.trades_duplicate = 0
        self.trades_set_aside = 0
        self.trades_conflicting = 0
        self.trades_void = 0
        self.trades_redundant = 0
        self.candles_received = 0
        self.candles_written = 0
        self.candles_duplicate = 0
        self.candles_set_aside = 0
        self.candles_fetched = 0
        self.candles_redundant = 0
        self.gaps = 0
        self.gaps_open = 0
        self.missing_trades = 0
        self.trades_backfilled = 0
        self.links = 0
        self.reconnects = 0
        self.rollovers = 0
        self.batches_written = 0
        self.rows_written = 0
        self.store_failures = 0
        self.clock = ClockView()
        self.commit_lag = LagHistogram()
        self.event_lag = LagHistogram()
        self.write_time = LagHistogram()
        self.pool: PoolUse | None = None
        self.trades_taken_over = 0
        self.candles_taken_over = 0
        self.spooled_rows = 0
        self.replayed_rows = 0
        self.spool_bytes = 0
        self.spool_records = 0
        self.batch_size = 0

    @property
    def pending_trades(self) -> int:
        """Trades received or taken over and not yet stored, found to be duplicates or set aside."""
        known = self.trades_received + self.trades_taken_over
        return known - self.trades_written - self.trades_duplicate - self.trades_set_aside

    @property
    def pending_candles(self) -> int:
        """Closed candles received or taken over and not yet stored, found to be duplicates or set aside."""
        known = self.candles_received + self.candles_taken_over
        return known - self.candles_written - self.candles_duplicate - self.candles_set_aside

    def stored(self, table: Table, receipt: Receipt) -> None:
        """Count a batch that is committed."""
        self.batches_written += 1
        self.rows_written += receipt.written
        if table is Table.TRADES:
            self.trades_written += receipt.written
            self.trades_duplicate += receipt.duplicates
        else:
            self.candles_written += receipt.written
            self.candles_duplicate += receipt.duplicates

    def count_set_aside(self, table: Table, rows: int) -> None:
        """Count rows that are kept in a file because they cannot be stored."""
        if table is Table.TRADES:
            self.trades_set_aside += rows
        else:
            self.candles_set_aside += rows

    def counts(self) -> dict[str, int]:
        """Return every counter and gauge by the name that the report gives it."""
        pool = self.pool
        return {
            "trades_received": self.trades_received,
            "trades_written": self.trades_written,
            "pending_trades": self.pending_trades,
            "trades_duplicate": self.trades_duplicate,
            "trades_set_aside": self.trades_set_aside,
            "trades_conflicting": self.trades_conflicting,
            "trades_void": self.trades_void,
            "trades_redundant": self.trades_redundant,
            "trades_missing": self.missing_trades,
            "trades_backfilled": self.trades_backfilled,
            "trades_taken_over": self.trades_taken_over,
            "candles_received": self.candles_received,
            "candles_written": self.candles_written,
            "candles_duplicate": self.candles_duplicate,
            "candles_set_aside": self.candles_set_aside,
            "candles_fetched": self.candles_fetched,
            "candles_redundant": self.candles_redundant,
            "candles_taken_over": self.candles_taken_over,
            "pending_candles": self.pending_candles,
            "frames_received": self.frames_received,
            "frames_set_aside": self.frames_set_aside,
            "frames_ignored": self.frames_ignored,
            "links": self.links,
            "reconnects": self.reconnects,
            "rollovers": self.rollovers,
            "gaps": self.gaps,
            "gaps_open": self.gaps_open,
            "batches_written": self.batches_written,
            "batch_size": self.batch_size,
            "pool_limit": pool.limit if pool else 0,
            "pool_open": pool.open if pool else 0,
            "pool_busy": pool.busy if pool else 0,
            "store_failures": self.store_failures,
            "spool_bytes": self.spool_bytes,
            "spool_records": self.spool_records,
            "spooled_rows": self.spooled_rows,
            "replayed_rows": self.replayed_rows,
        }

    def report(self, now_ns: int, *, final: bool = False) -> dict[str, Any]:
        """Return the statistics as one flat JSON object, and start a new window for the lags.

        ``started_ns`` and ``now_ns`` are monotonic.
        """
        elapsed_s = (now_ns - self.started_ns) / 1e9
        counts = self.counts()
        report: dict[str, Any] = {
            "event": "Final statistics" if final else "Pipeline statistics",
            "level": "info",
            "trades_received": self.trades_received,
            "trades_written": self.trades_written,
            "pending_trades": self.pending_trades,
            "elapsed_seconds": round(elapsed_s, 3),
            "trades_per_second": round(self.trades_written / elapsed_s, 2) if elapsed_s > 0 else 0.0,
            **counts,
            "rows_per_batch": round(self.rows_written / self.batches_written, 1) if self.batches_written else 0.0,
            "commit_lag_ms_p50": self.commit_lag.quantile(0.5),
            "commit_lag_ms_p99": self.commit_lag.quantile(0.99),
            "event_lag_ms_p50": self.event_lag.quantile(0.5),
            "event_lag_ms_p99": self.event_lag.quantile(0.99),
        }
        self.commit_lag.clear()
        self.event_lag.clear()
        return report
