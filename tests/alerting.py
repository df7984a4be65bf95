"""What the files in ``deploy`` name: metrics in expressions, questions in SQL."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

# in Grafana's SQL a macro, here what it would become
_TIME_FILTER = re.compile(r"\$__timeFilter\(([^)]+)\)")


def expressions(path: Path) -> list[str]:
    """Return every PromQL expression in a file of rules or in a dashboard."""
    text = path.read_text("utf-8")
    if path.suffix == ".json":
        return [each["expr"] for each in targets(json.loads(text)) if "expr" in each]
    return [rule["expr"] for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]


def metric_names(path: Path) -> set[str]:
    """Return the metrics of ours that a file of rules or a dashboard names."""
    return {name for each in expressions(path) for name in re.findall(r"\bcryptoquant_\w+", each)}


def targets(dashboard: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield every question that a dashboard asks: of its panels, and of its variables as ``rawSql``."""
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            yield {**target, "panel": panel["title"]}
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            query = variable["query"]
            if isinstance(query, str):
                yield {"rawSql": query, "panel": f"${variable['name']}"}


def as_grafana_asks(sql: str, first: str, last: str, **variables: str) -> str:
    """Return SQL with Grafana's macros and variables filled in; the times are ISO 8601."""
    sql = _TIME_FILTER.sub(rf"\1 BETWEEN '{first}' AND '{last}'", sql)
    sql = sql.replace("$__timeFrom()", f"'{first}'").replace("$__timeTo()", f"'{last}'")
    for name, value in variables.items():
        quoted = "'" + value.replace("'", "''") + "'"
        sql = sql.replace(f"${{{name}:sqlstring}}", quoted)
    left = re.findall(r"\$\w*\{?\w+", sql)
    assert not left, f"not filled in: {left}"
    return sql
