"""Verdicts on the database, at each side of each limit."""

from typing import Any

import pytest

from crypto_quant.diagnosis import server
from crypto_quant.diagnosis.known_bugs import KNOWN_BUGS, TIMESCALE_MIN, version_tuple
from crypto_quant.diagnosis.server import Connections, Rights, Schema, Server

NONE, OLDER, CURRENT = Schema(0, 5), Schema(3, 5), Schema(5, 5)
PLAIN = Schema(5, 5, plain=True)


def on(version: str = "17.5", timescaledb: str | None = "2.23.1", **more: Any) -> Server:
    return Server(version=version, timescaledb=timescaledb, **more)


@pytest.mark.parametrize(("given", "verdict"), [
    (on("15.0"), "ok"), (on("14.99"), "warning"), (on("18.6 (Debian 18.6-1)"), "ok"), (on("18beta1"), "warning"),
    (on(in_recovery=True), "failed"), (on(read_only=True), "failed"),
])  # fmt: skip
def test_postgresql(given: Server, verdict: str) -> None:
    assert server.postgresql(given).verdict == verdict


@pytest.mark.parametrize(("version", "timescaledb", "verdict"), [
    ("17.5", "2.18.0", "failed"), ("17.5", "2.18.1", "ok"), ("17.5", "2.9.0", "failed"), ("17.5", "2.100.0", "ok"),
    ("17.0", "2.23.1", "ok"), ("17.1", "2.23.1", "failed"), ("17.2", "2.23.1", "ok"), ("17.10", "2.23.1", "ok"),
    ("16.5", "2.23.1", "failed"), ("16.6", "2.23.1", "ok"), ("15.9", "2.23.1", "failed"), ("15.10", "2.23.1", "ok"),
])  # fmt: skip
def test_versions_with_known_bugs(version: str, timescaledb: str, verdict: str) -> None:
    found = server.timescaledb(on(version, timescaledb), CURRENT)
    assert found.verdict == verdict
    assert ("https://" in found.found) is (verdict == "failed")


def test_known_bugs_have_their_source() -> None:
    assert all(bug.source.startswith("https://") and bug.what and bug.remedy for bug in KNOWN_BUGS)
    assert KNOWN_BUGS[0].before == TIMESCALE_MIN
    assert version_tuple("17.5 (Debian 17.5-1)") == (17, 5)


@pytest.mark.parametrize(("given", "schema", "verdict", "words"), [
    (on(licence="timescale"), CURRENT, "ok", "Community"),
    (on(licence="apache"), CURRENT, "ok", "Apache"),
    (on(licence=None), None, "ok", "Apache"),
    (on(licence="timescale"), PLAIN, "warning", "made without it"),
    (on(timescaledb=None), NONE, "ok", "plain"),
    (on(timescaledb=None, installable="2.23.1"), NONE, "warning", "shared_preload_libraries"),
    (on(timescaledb=None, installable="2.23.1", loaded=True), NONE, "ok", "installs it"),
    (on(timescaledb=None, installable="2.23.1"), PLAIN, "ok", "plain"),
    (on(timescaledb=None, installable="2.23.1"), None, "warning", "preloaded"),
])  # fmt: skip
def test_the_edition(given: Server, schema: Schema | None, verdict: str, words: str) -> None:
    found = server.timescaledb(given, schema)
    assert found.verdict == verdict
    assert words in f"{found.found} {found.remedy}"


def test_encoding_and_schema() -> None:
    assert server.encoding(on()).verdict == "ok"
    assert server.encoding(on(encoding="SQL_ASCII")).verdict == "failed"
    assert "makes version 5" in server.schema(NONE).found
    assert "brings it to version 5" in server.schema(OLDER).found
    assert server.schema(CURRENT).found == "version 5, current"


def may(**changed: Any) -> Rights:
    everything = {
        "user": "u", "database": "d", "schema": "public", "may_connect_temporary": True, "may_create_in_schema": True,
        "may_create_extension": True, "owns_tables": True, "lacking": {},
    }  # fmt: skip
    return Rights(**{**everything, **changed})


LOADED = on(timescaledb=None, installable="2.23.1", loaded=True)


@pytest.mark.parametrize(("has", "state", "given", "verdict", "words"), [
    (may(), NONE, LOADED, "ok", "may do"),
    (may(), None, None, "skipped", "schema"),
    (may(may_connect_temporary=False), CURRENT, None, "failed", "GRANT TEMPORARY ON DATABASE d TO u"),
    (may(may_create_in_schema=False), NONE, None, "failed", "GRANT USAGE, CREATE ON SCHEMA public TO u"),
    (may(may_create_in_schema=False), OLDER, None, "failed", "GRANT USAGE, CREATE ON SCHEMA public TO u"),
    (may(may_create_in_schema=False), CURRENT, None, "ok", ""),
    (may(schema=None), NONE, None, "failed", "ON SCHEMA public"),
    (may(owns_tables=False), OLDER, None, "failed", "db migrate"),
    (may(owns_tables=False), CURRENT, None, "ok", ""),
    (may(owns_tables=False), PLAIN, None, "failed", "partitions are made by their owner"),
    (may(may_create_extension=False), NONE, LOADED, "warning", "CREATE EXTENSION timescaledb"),
    (may(may_create_extension=False), NONE, on(timescaledb=None), "ok", ""),
    (may(may_create_extension=False), NONE, on(), "ok", ""),
    (may(may_create_extension=False), CURRENT, LOADED, "ok", ""),
    (may(lacking={"trades": ["INSERT"], "coverage": ["UPDATE", "DELETE"], "candles": ["INSERT"]}), CURRENT, None,
     "failed", "GRANT INSERT ON trades, candles TO u; GRANT UPDATE, DELETE ON coverage TO u"),
])  # fmt: skip
def test_rights(has: Rights, state: Schema | None, given: Server | None, verdict: str, words: str) -> None:
    found = server.rights(has, state, given)
    assert found.verdict == verdict
    assert words in f"{found.found} {found.remedy}"


SAFE = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on"}


@pytest.mark.parametrize(("changed", "verdict"), [
    ({}, "ok"), ({"fsync": "off"}, "failed"), ({"full_page_writes": "off"}, "warning"),
    ({"synchronous_commit": "off"}, "warning"), ({"synchronous_commit": "remote_apply"}, "ok"),
    ({"synchronous_commit": "local"}, "ok"), ({"fsync": "off", "synchronous_commit": "off"}, "failed"),
])  # fmt: skip
def test_durability(changed: dict[str, str], verdict: str) -> None:
    assert server.durability({**SAFE, **changed}).verdict == verdict


@pytest.mark.parametrize(("megabytes", "seconds", "verdict"), [
    ("1024", "300", "ok"), ("1023", "300", "warning"), ("1024", "299", "warning"), ("16384", "3600", "ok"),
])  # fmt: skip
def test_wal(megabytes: str, seconds: str, verdict: str) -> None:
    assert server.wal({"max_wal_size": megabytes, "checkpoint_timeout": seconds}).verdict == verdict


@pytest.mark.parametrize(("pages", "index", "verdict"), [
    ("16384", None, "ok"), ("16383", None, "warning"), ("16384", 128 * 1024**2, "ok"),
    ("16384", 128 * 1024**2 + 1, "warning"),
])  # fmt: skip
def test_shared_buffers(pages: str, index: int | None, verdict: str) -> None:
    assert server.shared_buffers({"shared_buffers": pages}, index).verdict == verdict


@pytest.mark.parametrize(("limit", "reserved", "used", "own", "verdict"), [
    (100, 3, 0, None, "ok"), (9, 3, 0, None, "failed"), (10, 3, 0, None, "ok"), (10, 3, 1, None, "warning"),
    (100, 3, 90, None, "ok"), (100, 3, 91, None, "warning"), (100, 3, 0, 6, "failed"), (100, 3, 0, 7, "ok"),
    (100, 3, 1, 7, "warning"), (100, 3, 0, 500, "ok"),
])  # fmt: skip
def test_connections(limit: int, reserved: int, used: int, own: int | None, verdict: str) -> None:
    has = Connections(limit=limit, reserved=reserved, used=used, own_limit=own)
    found = server.connections(has, pool_size=4)
    assert found.verdict == verdict
    if verdict != "ok":
        assert ("CONNECTION LIMIT" in found.remedy) is (own is not None)


@pytest.mark.parametrize(("workers", "processes", "parallel", "verdict"), [
    ("16", "27", "8", "ok"), ("16", "26", "8", "warning"), ("3", "99", "8", "warning"), ("4", "15", "8", "ok"),
])  # fmt: skip
def test_background_workers(workers: str, processes: str, parallel: str, verdict: str) -> None:
    values = {
        "timescaledb.max_background_workers": workers, "max_worker_processes": processes,
        "max_parallel_workers": parallel,
    }  # fmt: skip
    assert server.background_workers(on(licence="timescale"), values).verdict == verdict
    assert server.background_workers(on(licence="apache"), values).verdict == "skipped"
    assert server.background_workers(on(timescaledb=None), values).verdict == "skipped"


@pytest.mark.parametrize(
    ("zone", "verdict"), [("UTC", "ok"), ("Etc/UTC", "ok"), ("GMT", "ok"), ("Europe/Berlin", "warning")]
)
def test_timezone(zone: str, verdict: str) -> None:
    found = server.timezone({"TimeZone": zone}, "market")
    assert found.verdict == verdict
    assert ("ALTER DATABASE market" in found.remedy) is (verdict == "warning")
