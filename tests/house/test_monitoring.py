"""Alerts, their tests, and the page about monitoring: nothing is named that is not there, and nothing is left out."""

import os
import re
import runpy
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from alerting import metric_names

from crypto_quant import health
from crypto_quant.web.metrics import ALWAYS, OF_A_RECORDER, OF_A_STREAM, OF_THE_WATCHER

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "deploy/prometheus/alerts.yml"
TESTS = ROOT / "deploy/prometheus/alerts_test.yml"
PAGE = ROOT / "docs/monitoring.md"
REQUIRED = "CRYPTO_QUANT_REQUIRE_PROMTOOL"


def alerts() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text("utf-8"))["groups"] for rule in group["rules"]]


@pytest.fixture
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        assert not os.environ.get(REQUIRED), f"{REQUIRED} is set, and there is no promtool"
        pytest.skip("no promtool: apt-get install prometheus")
    return found


@pytest.mark.parametrize(
    "arguments",
    [["check", "rules", "alerts.yml"], ["check", "config", "prometheus.yml"], ["test", "rules", "alerts_test.yml"]],
    ids=" ".join,
)
def test_promtool_is_content(promtool: str, arguments: list[str]) -> None:
    done = subprocess.run([promtool, *arguments], cwd=RULES.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_rule_that_is_wrong_is_found(promtool: str, tmp_path: Path) -> None:
    """Any threshold, any severity, and any time that an alert waits."""
    shutil.copy(TESTS, tmp_path)
    rules = RULES.read_text("utf-8")
    planted = [
        rules.replace("== 0\n", "== 1\n", 1),
        rules.replace("> 0.8", "> 0.95", 1),
        rules.replace("critical", "warning", 1),
        *(rules[: at.start()] + "for: 0s" + rules[at.end() :] for at in re.finditer(r"for: [1-9]\d*m", rules)),
    ]
    assert len(planted) > 15
    for wrong in planted:
        assert wrong != rules
        (tmp_path / RULES.name).write_text(wrong, "utf-8")
        done = subprocess.run([promtool, "test", "rules", TESTS.name], cwd=tmp_path, capture_output=True, check=False)
        assert done.returncode != 0, [line for line in wrong.splitlines() if line not in rules.splitlines()]


def test_every_alert_is_whole_and_has_its_remedy() -> None:
    headings = {
        heading.lower(): heading for heading in re.findall(r"^### (\w+)$", PAGE.read_text("utf-8"), re.MULTILINE)
    }
    for alert in alerts():
        assert alert["labels"]["severity"] in ("critical", "warning")
        assert re.fullmatch(r"\d+[sm]", alert["for"])
        assert alert["annotations"]["summary"]
        where, _, anchor = alert["annotations"]["runbook_url"].partition("#")
        assert where == "docs/monitoring.md"
        assert headings[anchor] == alert["alert"]
    assert set(headings.values()) == {alert["alert"] for alert in alerts()}, "a remedy without an alert"


def test_alerts_and_status_call_the_same_disk_full() -> None:
    expressions = {alert["alert"]: alert["expr"] for alert in alerts()}
    free, size = "cryptoquant_disk_free_bytes", "cryptoquant_disk_size_bytes"
    assert expressions["CryptoQuantDiskNearlyFull"] == f"{free} < {health.DISK_BYTES_LEAST // 2**20} * 2^20"
    enough = f"{free} < {health.DISK_BYTES_ENOUGH // 2**30} * 2^30 and {free} / {size} < {health.DISK_SHARE_LOW}"
    assert expressions["CryptoQuantDiskLow"] == f"{free} < 2^30 or ({enough})"
    assert health.DISK_BYTES_LOW == 2**30
    assert (health.CLOCK_OFF_MS, health.CLOCK_ANOTHER_MS) == (1_000, 86_400_000)
    ahead, unsure = "cryptoquant_clock_ahead_seconds", "cryptoquant_clock_unsure_seconds"
    assert expressions["CryptoQuantClockAhead"] == f"{ahead} > 1 + {unsure} and {ahead} < 86400"
    assert f"-{ahead} > 1 + {unsure} and -{ahead} < 86400" in expressions["CryptoQuantClockBehind"]


def test_every_alert_is_tested_both_ways() -> None:
    tests = yaml.safe_load(TESTS.read_text("utf-8"))["tests"]
    fires = {each["alertname"] for test in tests for each in test["alert_rule_test"] if each["exp_alerts"]}
    holds = {
        each["alertname"]
        for test in tests
        if not any(other["exp_alerts"] for other in test["alert_rule_test"])
        for each in test["alert_rule_test"]
    }
    assert fires == holds == {alert["alert"] for alert in alerts()}


@pytest.mark.parametrize("path", [RULES, ROOT / "deploy/grafana/dashboard.json"], ids=lambda path: path.name)
def test_every_metric_that_is_named_is_exported(path: Path) -> None:
    exported = set()
    for family in (*ALWAYS, *OF_A_RECORDER, *OF_A_STREAM, *OF_THE_WATCHER):
        parts = ("_bucket", "_sum", "_count") if family.kind == "histogram" else ("",)
        exported |= {family.exported + part for part in parts}
    assert metric_names(path) - exported == set()


def test_the_list_of_metrics_is_current() -> None:
    page = runpy.run_path(str(ROOT / "scripts/metrics-docs"))["page"]
    assert PAGE.read_text("utf-8") == page(), "run `make docs`"
