"""The metrics: what a snapshot says is what is exported, in both formats; nothing is told of the dead."""

import re
from collections.abc import Iterable

import msgspec
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_plain
from prometheus_client.samples import Sample
from snapshots import snapshot, stream

from crypto_quant.flow.stats import PipelineStats
from crypto_quant.snapshot import (
    ClockView,
    LinkState,
    LinkView,
    Phase,
    Snapshot,
    SpoolView,
    Spread,
    StoreView,
    StreamState,
)
from crypto_quant.web import metrics
from crypto_quant.web.metrics import Exposition
from crypto_quant.web.standing import STALE_S, Standing

HOSTILE = '币安人生"\\\n<img src=x onerror=alert(1)>'
OWNER = {"recorder": "me", "venue": "spot"}
# figures of the report that are told in another way, or are nobody's affair
TOLD_OTHERWISE = {"links", "pool_limit", "pool_open", "pool_busy", "spool_bytes", "spool_records"}


def standing(shot: Snapshot | None, *, alive: bool = True, age_s: float = 0.5, name: str = "me") -> Standing:
    return Standing(name=name, snapshot=shot, alive=alive, ended=False, age_s=age_s)


def samples(standings: Iterable[Standing], streams_max: int = 10, accept: str = "") -> list[Sample]:
    text, _ = Exposition(list(standings), streams_max).render(accept)
    parse = parse_openmetrics if accept else parse_plain
    return [sample for family in parse(text.decode()) for sample in family.samples]


def value(found: Iterable[Sample], name: str, **labels: str) -> float:
    [only] = [
        each.value for each in found if each.name == f"cryptoquant_{name}" and labels.items() <= each.labels.items()
    ]
    return only


@pytest.mark.parametrize("accept", ["", "application/openmetrics-text; version=1.0.0"])
def test_what_a_snapshot_says_is_exported(accept: str) -> None:
    clock = ClockView(ahead_ms=-21_500.0, unsure_ms=30.0)
    shot = snapshot(counts={"trades_written": 41, "pending_trades": 3, "gaps_open": 2}, clock=clock)
    found = samples([standing(shot)], accept=accept)
    assert value(found, "up", **OWNER) == 1
    assert value(found, "ready", **OWNER) == 1
    assert value(found, "trades_written_total", **OWNER) == 41
    assert value(found, "trades_pending", **OWNER) == 3
    assert value(found, "gaps_open", **OWNER) == 2
    assert value(found, "start_time_seconds") == pytest.approx(shot.started_ns / 1e9)
    assert value(found, "commit_lag_seconds_bucket", le="0.0005") == 1
    assert value(found, "commit_lag_seconds_bucket", le="0.004") == 5
    assert value(found, "commit_lag_seconds_bucket", le="+Inf") == 5
    assert value(found, "commit_lag_seconds_count") == 5
    assert value(found, "commit_lag_seconds_sum") == 0.0095
    assert value(found, "phase", cryptoquant_phase="recording") == 1
    assert value(found, "phase", cryptoquant_phase="paused") == 0
    assert value(found, "links", state="delivering") == 1
    assert value(found, "links", state="waiting") == 0
    assert value(found, "events_total", event="Gap found") == 2
    assert value(found, "disk_free_bytes", path="/data") == 50 << 30
    assert value(found, "process_cpu_seconds_total") == 2.5
    assert value(found, "stream_trades_per_second", symbol="btcusdt", stream="aggTrade") == 1.5
    assert value(found, "stream_arrival_lag_seconds", symbol="btcusdt") == 0.02
    assert value(found, "arrival_lag_least_seconds") == 0.02
    assert value(found, "clock_ahead_seconds") == -21.5
    assert value(found, "clock_unsure_seconds") == 0.03
    [info] = [each for each in found if each.name == "cryptoquant_recorder_info"]
    assert info.labels["version"] == "1.2.3"
    assert info.labels["database"] == "db:5432/market"


def test_every_figure_of_the_report_is_told() -> None:
    counts = {name: place for place, name in enumerate(PipelineStats(0).counts(), 1)}
    exported = {each.value for each in samples([standing(snapshot(counts=counts))])}
    assert {name for name in counts if name not in TOLD_OTHERWISE and counts[name] not in exported} == set()


def test_names_are_as_prometheus_wants_them() -> None:
    families = metrics.ALWAYS + metrics.OF_A_RECORDER + metrics.OF_A_STREAM + metrics.OF_THE_WATCHER
    names = [family.exported for family in families]
    assert len(set(names)) == len(names)
    for family in families:
        assert re.fullmatch(r"cryptoquant_[a-z_]+", family.exported)
        assert family.exported.endswith("_total") == (family.kind == "counter")
        assert not re.search(r"_(ms|ns|minutes|kb)(_|$)", family.exported)
        assert family.help[0].isupper() or family.help[0].isdigit()
        assert not family.help.endswith(".")


@pytest.mark.parametrize(
    "silent",
    [
        standing(snapshot(), alive=False),
        standing(snapshot(), age_s=STALE_S + 0.1),
        standing(None),
    ],
    ids=["dead", "stale", "just started"],
)
def test_nothing_old_is_told_of_a_recorder_that_does_not_show_itself(silent: Standing) -> None:
    found = samples([silent])
    assert value(found, "up", recorder="me") == 0
    assert value(found, "ready", recorder="me") == 0
    assert value(found, "recorders") == 0
    assert {each.name.removeprefix("cryptoquant_") for each in found} == {
        "recorders", "streams_not_told", "up", "ready", "snapshot_age_seconds",
    }  # fmt: skip


def test_without_a_recorder_there_is_a_number_to_alert_on() -> None:
    assert value(samples([]), "recorders") == 0


def test_two_recorders_do_not_mix() -> None:
    mine, yours = snapshot(counts={"gaps_open": 1}), snapshot(counts={"gaps_open": 2}, venue="other")
    found = samples([standing(mine), standing(yours, name="you")])
    assert value(found, "gaps_open", recorder="me") == 1
    assert value(found, "gaps_open", recorder="you", venue="other") == 2
    assert value(found, "recorders") == 2


@pytest.mark.parametrize("accept", ["", "application/openmetrics-text"])
def test_a_hostile_symbol_and_cause_are_labels_and_nothing_else(accept: str) -> None:
    shot = snapshot(streams=(stream(HOSTILE),), events={HOSTILE: 1})
    found = samples([standing(shot)], accept=accept)
    assert value(found, "stream_live", symbol=HOSTILE) == 1
    assert value(found, "events_total", event=HOSTILE) == 1


def test_streams_are_told_up_to_a_bound_and_those_left_out_are_counted() -> None:
    shot = snapshot(streams=tuple(stream(f"s{number}") for number in range(5)))
    found = samples([standing(shot)], streams_max=3)
    assert {each.labels["symbol"] for each in found if each.name == "cryptoquant_stream_live"} == {"s0", "s1", "s2"}
    assert value(found, "streams_not_told") == 2
    assert value(found, "streams", state="live") == 5
    assert not any("stream_" in each.name for each in samples([standing(shot)], streams_max=0))


def test_what_is_not_known_is_not_told() -> None:
    candle = stream(timeframe="1m", seen_ns=None, lag_ms=None, missing=4)
    shot = snapshot(
        streams=(candle,), exchange_ns=0, store=StoreView(database="d", away_since_ns=5, cause="gone"),
        commit_lag=Spread(), spool=SpoolView(refused="full"),
        links=(LinkView(link=1, state=LinkState.WAITING, since_ns=0, streams=1),), phase=Phase.PAUSED,
    )  # fmt: skip
    found = samples([standing(shot)])
    names = {each.name.removeprefix("cryptoquant_") for each in found}
    absent = {
        "last_event_timestamp_seconds", "exchange_timestamp_seconds", "arrival_lag_least_seconds",
        "clock_ahead_seconds", "clock_unsure_seconds",
        "last_commit_timestamp_seconds", "stream_last_event_timestamp_seconds", "stream_trades_per_second",
    }  # fmt: skip
    assert not names & absent
    assert value(found, "candles_missing") == 4
    assert value(found, "stream_missing", stream="kline_1m") == 4
    assert value(found, "store_up") == 0
    assert value(found, "ready") == 0
    assert value(found, "spool_refused") == 1
    assert value(found, "commit_lag_seconds_bucket", le="+Inf") == 0


def test_a_quiet_stream_is_not_live() -> None:
    shot = msgspec.structs.replace(snapshot(), streams=(stream(state=StreamState.QUIET),))
    found = samples([standing(shot)])
    assert value(found, "stream_live") == 0
    assert value(found, "streams", state="quiet") == 1
