"""The Docker files, checked as far as they can be without an engine: parsed, pinned, on loopback, and in agreement."""

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
COMPOSE_FILES = ["docker-compose.yml", "docker-compose.test.yml"]
MONITORING = "docker-compose.monitoring.yml"
TEST_URL = "postgresql://test:test@localhost:5433/crypto_quant_test"


def compose(name: str) -> dict[str, Any]:
    parsed: dict[str, Any] = yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))
    return parsed


def services(name: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = compose(name)["services"]
    return found


def is_pinned(image: str) -> bool:
    """Whether an image names a version: a tag with at least two numbers, or a digest."""
    return "@sha256:" in image or re.search(r":v?\d+\.\d+[\w.-]*$", image) is not None


def is_on_loopback(port: str) -> bool:
    return str(port).startswith("127.0.0.1:")


def test_the_checks_can_fail() -> None:
    assert not is_pinned("timescale/timescaledb")
    assert not is_pinned("timescale/timescaledb:latest-pg17")
    assert not is_pinned("python:3")
    assert is_pinned("timescale/timescaledb:2.23.1-pg17")
    assert not is_on_loopback("5432:5432")
    assert not is_on_loopback("0.0.0.0:5432:5432")
    assert is_on_loopback("127.0.0.1:5432:5432")


@pytest.mark.parametrize("name", [*COMPOSE_FILES, MONITORING])
def test_images_are_pinned_and_ports_are_on_loopback(name: str) -> None:
    for service in services(name).values():
        if "image" in service or name != MONITORING:  # it adds to services of the other file
            assert is_pinned(service["image"]), service["image"]
        for port in service.get("ports", []):
            assert is_on_loopback(port), port


@pytest.mark.parametrize("name", COMPOSE_FILES)
def test_the_database_is_healthy_when_it_answers_over_tcp(name: str) -> None:
    """While the image sets itself up, a server without TCP answers on the socket and goes away again."""
    database = services(name)["timescaledb"]
    check = database["healthcheck"]["test"]
    assert check[:4] == ["CMD", "pg_isready", "-h", "127.0.0.1"]
    environment = database["environment"]
    assert check[check.index("-U") + 1] == environment["POSTGRES_USER"]
    assert check[check.index("-d") + 1] == environment["POSTGRES_DB"]
    assert "stop_grace_period" in database


def test_both_files_have_the_same_database() -> None:
    images = {services(name)["timescaledb"]["image"] for name in COMPOSE_FILES}
    assert len(images) == 1


def test_the_recorder_waits_for_the_database_and_has_time_to_drain() -> None:
    recorder = services("docker-compose.yml")["recorder"]
    assert recorder["depends_on"]["timescaledb"]["condition"] == "service_healthy"
    grace = re.fullmatch(r"(\d+)s", recorder["stop_grace_period"])
    assert grace is not None
    from crypto_quant.config import Settings

    assert int(grace.group(1)) > Settings().drain_deadline


def test_the_recorder_is_given_a_command_line_and_an_address_that_it_knows() -> None:
    from crypto_quant.cli.record import record

    recorder, database = (services("docker-compose.yml")[name] for name in ("recorder", "timescaledb"))
    verb, *arguments = recorder["command"]
    assert verb == "record"
    context = record.make_context("record", list(arguments))
    assert context.params["streams"] == ("aggTrade", "kline_5m", "kline_15m")
    secret = "${CRYPTO_QUANT_DATABASE_PASSWORD:-crypto_quant}"
    user, base = database["environment"]["POSTGRES_USER"], database["environment"]["POSTGRES_DB"]
    assert database["environment"]["POSTGRES_PASSWORD"] == secret
    assert (
        recorder["environment"]["CRYPTO_QUANT_DATABASE_URL"] == f"postgresql://{user}:{secret}@timescaledb:5432/{base}"
    )


def test_what_is_stored_outlives_the_containers() -> None:
    parsed = compose("docker-compose.yml")
    for name, service in parsed["services"].items():
        volumes = [volume.split(":")[0] for volume in service["volumes"]]
        assert volumes, name
        assert set(volumes) <= set(parsed["volumes"])
    image_dir = re.search(r"^VOLUME (\S+)$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    assert image_dir is not None
    assert parsed["services"]["recorder"]["volumes"] == [f"recorder:{image_dir.group(1)}"]


def test_the_image_asks_the_recorder_itself_whether_it_is_well() -> None:
    [check] = [value for word, value in dockerfile() if word == "HEALTHCHECK"]
    environment = " ".join(value for word, value in dockerfile() if word == "ENV")
    port = re.search(r"CRYPTO_QUANT_METRICS_PORT=(\d+)", environment)
    assert port is not None
    assert f"http://127.0.0.1:{port.group(1)}/livez" in check
    arguments = json.loads(check[check.index("[") :])
    assert arguments[:2] == ["python", "-c"]  # the image has no curl
    # where nobody answers it says so by its exit code; a port that is bound and does not listen is nobody's
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        there = arguments[2].replace(f":{port.group(1)}/", f":{silent.getsockname()[1]}/")
        done = subprocess.run([sys.executable, "-c", there], capture_output=True, check=False)
    assert done.returncode != 0


def test_prometheus_scrapes_where_the_recorder_answers() -> None:
    environment = " ".join(value for word, value in dockerfile() if word == "ENV")
    recorder = services("docker-compose.yml")["recorder"]
    assert recorder["environment"]["CRYPTO_QUANT_METRICS_HOST"] == "0.0.0.0"  # noqa: S104
    assert "ports" not in recorder
    config = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text(encoding="utf-8"))
    [job] = config["scrape_configs"]
    assert job["job_name"] == "crypto-quant"  # an alert names it
    [target] = job["static_configs"][0]["targets"]
    assert target == "recorder:" + environment.partition("CRYPTO_QUANT_METRICS_PORT=")[2].split()[0]


def test_monitoring_mounts_what_exists_and_keeps_what_it_stores() -> None:
    parsed = compose(MONITORING)
    for name, service in parsed["services"].items():
        for volume in service["volumes"]:
            source, target, *mode = volume.split(":")
            if source.startswith("./"):
                assert (ROOT / source).exists(), source
                assert mode == ["ro"], f"{name} may change {source}"
            else:
                assert source in parsed["volumes"]
            assert target.startswith("/")
        if "image" in service:
            assert service["healthcheck"]["test"][0] == "CMD"
            assert "stop_grace_period" in service


def test_grafana_reads_the_database_that_compose_makes_and_may_not_write() -> None:
    text = (ROOT / "deploy/grafana/provisioning/datasources/crypto-quant.yml").read_text(encoding="utf-8")
    metrics, database = yaml.safe_load(text)["datasources"]
    assert (metrics["type"], metrics["url"]) == ("prometheus", "http://prometheus:9090")
    assert database["type"] == "grafana-postgresql-datasource"
    made = services("docker-compose.yml")["timescaledb"]["environment"]
    assert database["jsonData"]["database"] == made["POSTGRES_DB"]
    assert database["jsonData"]["timescaledb"] is True
    assert database["url"] == "timescaledb:5432"
    assert database["user"] != made["POSTGRES_USER"]
    assert f"CREATE ROLE {database['user']} " in (ROOT / "deploy/timescaledb/reader.sql").read_text(encoding="utf-8")
    variable = database["secureJsonData"]["password"].removeprefix("$")
    for name in ("grafana", "timescaledb"):
        assert services(MONITORING)[name]["environment"][variable].startswith(f"${{{variable}:?")
    assert f"\\getenv password {variable}" in (ROOT / "deploy/timescaledb/reader.sql").read_text(encoding="utf-8")


def test_the_test_database_is_where_everybody_says() -> None:
    database = services("docker-compose.test.yml")["timescaledb"]
    environment = database["environment"]
    port = database["ports"][0].split(":")[1]
    url = "postgresql://{POSTGRES_USER}:{POSTGRES_PASSWORD}@localhost:{port}/{POSTGRES_DB}".format(
        port=port, **environment
    )
    assert url == TEST_URL
    for name in ("docker-compose.test.yml", "docker_integration_test.py", "docs/testing.md"):
        assert TEST_URL in (ROOT / name).read_text(encoding="utf-8"), name


def dockerfile() -> list[tuple[str, str]]:
    """Return the instructions in order, continuation lines joined, comments left out."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in lines]


def test_the_image_is_pinned_small_and_not_root() -> None:
    instructions = dockerfile()
    stages = [value for word, value in instructions if word == "FROM"]
    assert len(stages) == 2, "one stage builds, the other runs"
    assert all(is_pinned(stage.split()[0].replace("-slim", ".0-slim")) for stage in stages)
    start = [index for index, (word, _) in enumerate(instructions) if word == "FROM"][-1]
    final = instructions[start:]
    users = [value for word, value in final if word == "USER"]
    assert users
    assert users[-1] not in ("root", "0")
    assert not any(tool in value for word, value in final if word == "RUN" for tool in ("apt", "gcc", "pip", "uv "))
    assert ("ENTRYPOINT", '["crypto-quant"]') in final


def test_the_image_copies_what_exists_and_is_let_through() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert ignored[0] == "*", "everything is left out but for what is named"
    for word, value in dockerfile():
        if word == "COPY" and "--from" not in value:
            for source in value.split()[:-1]:
                assert (ROOT / source).exists(), source
                assert f"!{source}" in ignored, source


def test_the_image_and_the_tools_use_the_same_uv() -> None:
    pinned = re.search(r"^pinned=(\S+)$", (ROOT / "scripts/uv").read_text(encoding="utf-8"), re.MULTILINE)
    assert pinned is not None
    assert f"uv=={pinned.group(1)}" in (ROOT / "Dockerfile").read_text(encoding="utf-8")


def test_without_an_engine_the_docker_test_says_so_and_is_no_success(tmp_path: Path) -> None:
    environment = {**os.environ, "PATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, ROOT / "docker_integration_test.py"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 77
    assert "no Docker engine" in done.stderr
    assert "Nothing was tested" in done.stderr
