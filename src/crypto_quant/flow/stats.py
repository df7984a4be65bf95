"""What the pipeline has done, counted exactly: every trade received is written, a duplicate, set aside or pending."""

from typing import Any

from crypto_quant.seams import PoolUse

# Lags are kept in buckets that grow by a quarter: a percentile is at most 12 % off, and counting is O(1).
_GROWTH = 1.25
_FIRST_MS = 0.05
_BUCKETS = 110  # 0.05 ms * 1.25**110 is over 25 days


class LagHistogram:
    """Lags in ms, as a histogram: ``quantile`` answers for everything added since the last ``clear``."""

    def __init__(self) -> None:
        self._counts = [0] * (_BUCKETS + 1)
        self._edges = [_FIRST_MS * _GROWTH**n for n in range(_BUCKETS)]
        self.count = 0

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

    def quantile(self, share: float) -> float | None:
        """Return the lag (upper edge of its bucket, ms) that ``share`` of the counted ones do not exceed."""
        if not self.count:
            return None
        seen = 0
        for bucket, count in enumerate(self._counts):
            seen += count
            if seen >= share * self.count:
                return round(self._edges[min(bucket, _BUCKETS - 1)], 2)
        return None

    def clear(self) -> None:
        """Forget everything."""
        self._counts = [0] * (_BUCKETS + 1)
        self.count = 0


class PipelineStats:
    """Counters of one run, and their report.

    The attributes are plain integers that the rooms count up. ``trades_received`` are well-formed trades of wanted
    symbols; each of them is in exactly one of ``trades_written``, ``trades_duplicate``, ``trades_set_aside`` or
    ``pending_trades``. The same holds for closed candles. ``trades_conflicting`` says how many of those set aside
    are stored with another content. ``trades_backfilled`` came another way, over REST or from an archive, and are in
    none of these. ``gaps`` were found in this run; ``gaps_open`` are open now, those that earlier runs have left
    included, and ``missing_trades`` are the ids in them. Lags cover the time since the last report:
    ``commit_lag`` from a frame's arrival to its commit, ``event_lag`` from the exchange's event time to the commit
    (it includes the difference of the two clocks, and years when a recording is replayed).
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
        self.candles_received = 0
        self.candles_written = 0
        self.candles_duplicate = 0
        self.candles_set_aside = 0
        self.candles_fetched = 0
        self.gaps = 0
        self.gaps_open = 0
        self.missing_trades = 0
        self.trades_backfilled = 0
        self.links = 0
        self.reconnects = 0
        self.batches_written = 0
        self.rows_written = 0
        self.store_failures = 0
        self.commit_lag = LagHistogram()
        self.event_lag = LagHistogram()
        self.pool: PoolUse | None = None
        self.batch_size = 0

    @property
    def pending_trades(self) -> int:
        """Trades received and not yet stored, found to be duplicates or set aside."""
        return self.trades_received - self.trades_written - self.trades_duplicate - self.trades_set_aside

    @property
    def pending_candles(self) -> int:
        """Closed candles received and not yet stored, found to be duplicates or set aside."""
        return self.candles_received - self.candles_written - self.candles_duplicate - self.candles_set_aside

    def report(self, now_ns: int, *, final: bool = False) -> dict[str, Any]:
        """Return the statistics as one flat JSON object, and start a new window for the lags.

        ``started_ns`` and ``now_ns`` are monotonic.
        """
        elapsed_s = (now_ns - self.started_ns) / 1e9
        pool = self.pool
        report: dict[str, Any] = {
            "event": "Final statistics" if final else "Pipeline statistics",
            "level": "info",
            "trades_received": self.trades_received,
            "trades_written": self.trades_written,
            "pending_trades": self.pending_trades,
            "elapsed_seconds": round(elapsed_s, 3),
            "trades_per_second": round(self.trades_written / elapsed_s, 2) if elapsed_s > 0 else 0.0,
            "trades_duplicate": self.trades_duplicate,
            "trades_set_aside": self.trades_set_aside,
            "trades_conflicting": self.trades_conflicting,
            "trades_void": self.trades_void,
            "trades_missing": self.missing_trades,
            "trades_backfilled": self.trades_backfilled,
            "candles_received": self.candles_received,
            "candles_written": self.candles_written,
            "candles_duplicate": self.candles_duplicate,
            "candles_set_aside": self.candles_set_aside,
            "candles_fetched": self.candles_fetched,
            "pending_candles": self.pending_candles,
            "frames_received": self.frames_received,
            "frames_set_aside": self.frames_set_aside,
            "frames_ignored": self.frames_ignored,
            "links": self.links,
            "reconnects": self.reconnects,
            "gaps": self.gaps,
            "gaps_open": self.gaps_open,
            "batches_written": self.batches_written,
            "rows_per_batch": round(self.rows_written / self.batches_written, 1) if self.batches_written else 0.0,
            "batch_size": self.batch_size,
            "pool_limit": pool.limit if pool else 0,
            "pool_open": pool.open if pool else 0,
            "pool_busy": pool.busy if pool else 0,
            "store_failures": self.store_failures,
            "commit_lag_ms_p50": self.commit_lag.quantile(0.5),
            "commit_lag_ms_p99": self.commit_lag.quantile(0.99),
            "event_lag_ms_p50": self.event_lag.quantile(0.5),
            "event_lag_ms_p99": self.event_lag.quantile(0.99),
        }
        self.commit_lag.clear()
        self.event_lag.clear()
        return report
