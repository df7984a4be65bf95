"""Counters that add up, and percentiles that can be trusted."""

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_quant.flow.stats import LagHistogram, PipelineStats
from crypto_quant.seams import PoolUse

FOUNDING = [
    "event", "level", "trades_received", "trades_written", "pending_trades", "elapsed_seconds", "trades_per_second",
]  # fmt: skip


def test_the_report_has_the_founding_shape_and_values() -> None:
    stats = PipelineStats(started_ns=1_000_000_000)
    stats.trades_received = stats.trades_written = 1500
    report = stats.report(61_500_000_000)
    assert list(report)[:7] == FOUNDING
    assert report["event"] == "Pipeline statistics"
    assert (report["trades_received"], report["trades_written"], report["pending_trades"]) == (1500, 1500, 0)
    assert (report["elapsed_seconds"], report["trades_per_second"]) == (60.5, 24.79)
    assert json.loads(json.dumps(report)) == report


def test_the_final_report_says_so() -> None:
    assert PipelineStats(0).report(1, final=True)["event"] == "Final statistics"


def test_no_time_and_no_batch_divide_nothing() -> None:
    report = PipelineStats(5).report(5)
    assert (report["trades_per_second"], report["rows_per_batch"], report["elapsed_seconds"]) == (0.0, 0.0, 0.0)


def test_every_counter_is_in_the_report() -> None:
    stats = PipelineStats(0)
    names = {
        "frames_received": 1, "frames_set_aside": 2, "frames_ignored": 3, "trades_void": 4, "candles_fetched": 5,
        "gaps": 6, "links": 7, "reconnects": 8, "batches_written": 9, "store_failures": 10, "batch_size": 11,
        "trades_duplicate": 12, "trades_set_aside": 13, "candles_duplicate": 14, "candles_set_aside": 15,
    }  # fmt: skip
    for name, value in names.items():
        setattr(stats, name, value)
    stats.missing_trades, stats.rows_written, stats.pool = 16, 90, PoolUse(4, 3, 2)
    report = stats.report(1)
    assert {name: report[name] for name in names} == names
    assert (report["trades_missing"], report["rows_per_batch"]) == (16, 10.0)
    assert (report["pool_limit"], report["pool_open"], report["pool_busy"]) == (4, 3, 2)


@given(st.integers(0, 99), st.integers(0, 99), st.integers(0, 99), st.integers(0, 99))
def test_what_was_received_is_written_duplicate_set_aside_or_pending(
    written: int, duplicate: int, aside: int, pending: int
) -> None:
    stats = PipelineStats(0)
    for kind in ("trades", "candles"):
        setattr(stats, f"{kind}_received", written + duplicate + aside + pending)
        setattr(stats, f"{kind}_written", written)
        setattr(stats, f"{kind}_duplicate", duplicate)
        setattr(stats, f"{kind}_set_aside", aside)
    report = stats.report(1)
    assert report["pending_trades"] == report["pending_candles"] == pending


def test_a_report_begins_a_new_window_of_lags() -> None:
    stats = PipelineStats(0)
    stats.commit_lag.add(3.0)
    assert stats.report(1)["commit_lag_ms_p50"] is not None
    assert stats.report(1)["commit_lag_ms_p50"] is None


@pytest.mark.parametrize("share", [0.01, 0.5, 0.9, 0.99, 1.0])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_quantile_is_the_sorted_lists_to_within_a_bucket(seed: int, share: float) -> None:
    rng = random.Random(seed)  # noqa: S311
    lags = sorted(rng.lognormvariate(2, 2) for _ in range(500))
    histogram = LagHistogram()
    for lag in lags:
        histogram.add(lag)
    exact = lags[max(0, -(-len(lags) * int(share * 100) // 100) - 1)]
    told = histogram.quantile(share)
    assert told is not None
    assert exact - 0.01 <= told <= max(exact * 1.2501, 0.05) + 0.01


def test_lags_outside_the_buckets_are_counted_at_the_ends() -> None:
    histogram = LagHistogram()
    assert histogram.quantile(0.5) is None
    histogram.add(-5.0, 3)
    assert histogram.quantile(0.5) == 0.05
    histogram.add(1e15, 5)
    assert histogram.count == 8
    assert (histogram.quantile(1.0) or 0) > 1e9
    histogram.clear()
    assert histogram.quantile(0.5) is None
