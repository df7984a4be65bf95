"""Grafana's dashboard: its SQL is asked of a real database, as the role that Grafana is."""

import json
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from alerting import as_grafana_asks, metric_names, targets

from crypto_quant.store.migrate import migrate
from crypto_quant.store.timescale import connect

ROOT = Path(__file__).resolve().parents[2]
DASHBOARD: dict[str, Any] = json.loads((ROOT / "deploy/grafana/dashboard.json").read_text("utf-8"))
SQL = {each["panel"]: each["rawSql"] for each in targets(DASHBOARD) if "rawSql" in each}
RANGE = ("2026-10-01T00:00:00Z", "2026-10-02T00:00:00Z")
HOSTILE = "'; DROP TABLE trades; --"


@pytest.fixture
async def reader(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection as Grafana's role to a database with a few rows; whatever is done is undone."""
    connection = await connect(database_url)
    try:
        await migrate(connection)
        undone = connection.transaction()
        await undone.start()
        if await connection.fetchval("SELECT relkind FROM pg_class WHERE oid = 'candles'::regclass") == b"p":
            await connection.execute(
                "CREATE TABLE october PARTITION OF candles"
                " FOR VALUES FROM ('2026-10-01T00:00Z') TO ('2026-11-01T00:00Z')"
            )
        await connection.execute(
            """
            INSERT INTO candles (time, venue, symbol, timeframe, open, high, low, close, volume)
            SELECT '2026-10-01T12:00Z'::timestamptz + place * interval '1 min', 'spot', 'btcusdt', '1m',
                   60000.12345678, 2 * 60000, 1, 60001, 0.5
            FROM generate_series(0, 4) AS place;
            INSERT INTO coverage (venue, symbol, first_id, last_id, source, newest, recorded_at) VALUES
                ('spot', 'btcusdt', 100, 199, 'stream', false, '2026-10-01T12:00Z'),
                ('spot', 'btcusdt', 200, 249, 'rest', false, '2026-10-01T12:01Z'),
                ('spot', 'btcusdt', 300, 399, 'stream', false, '2026-10-01T12:02Z'),
                ('spot', 'btcusdt', 410, 500, 'stream', true, '2026-10-01T12:03Z'),
                ('spot', 'ethusdt', 1, 10, 'stream', true, '2026-10-01T12:00Z');
            INSERT INTO absences (venue, symbol, first_id, last_id, proof)
                VALUES ('spot', 'btcusdt', 400, 401, 'asked');
            INSERT INTO dropped (venue, symbol, first_id, last_id, source, newest)
                VALUES ('spot', 'btcusdt', 1, 120, 'policy', true);
            INSERT INTO candle_coverage (venue, symbol, timeframe, first_slot, last_slot, source, newest) VALUES
                ('spot', 'btcusdt', '1m', 10, 14, 'stream', false), ('spot', 'btcusdt', '1m', 17, 20, 'stream', true);
            """
        )
        made = (ROOT / "deploy/timescaledb/reader.sql").read_text("utf-8")
        await connection.execute("DROP ROLE IF EXISTS crypto_quant_reader")
        await connection.execute(re.sub(r"^\\getenv .*$", "", made, flags=re.MULTILINE).replace(":'password'", "'x'"))
        await connection.execute("SET LOCAL ROLE crypto_quant_reader")
        yield connection
        await undone.rollback()
    finally:
        await connection.close()


async def rows(reader: asyncpg.Connection, panel: str, symbol: str = "btcusdt") -> list[tuple[Any, ...]]:
    asked = as_grafana_asks(SQL[panel], *RANGE, venue="spot", symbol=symbol, timeframe="1m")
    return [tuple(row) for row in await reader.fetch(asked)]


async def test_every_question_is_one_that_the_database_answers(reader: asyncpg.Connection) -> None:
    assert len(SQL) == 8
    for panel in SQL:
        assert await rows(reader, panel), panel
        await rows(reader, panel, symbol=HOSTILE)


async def test_candles_are_those_of_the_range(reader: asyncpg.Connection) -> None:
    found = await rows(reader, "$symbol $timeframe")
    assert len(found) == 5
    assert found[0][:3] == (datetime(2026, 10, 1, 12, tzinfo=UTC), Decimal("60000.12345678"), Decimal(120000))
    assert await rows(reader, "$symbol $timeframe", symbol=HOSTILE) == []
    later = as_grafana_asks(
        SQL["$symbol $timeframe"], "2026-10-01T12:03Z", "2026-10-03Z", venue="spot", symbol="btcusdt", timeframe="1m"
    )
    assert len(await reader.fetch(later)) == 2


async def test_completeness_is_what_is_proven(reader: asyncpg.Connection) -> None:
    """Ids 250 to 299 and 402 to 409 are missing; 400 and 401 exist nowhere, and those before 100 were dropped."""
    assert await rows(reader, "Completeness of the trades") == [
        ("spot", "btcusdt", 1, 500, 2, 58),
        ("spot", "ethusdt", 1, 10, 0, 0),
    ]
    assert [row[2:5] for row in await rows(reader, "Gaps in the trades")] == [(250, 299, 50), (402, 409, 8)]
    assert await rows(reader, "Completeness of the candles") == [("spot", "btcusdt", "1m", 11, 2)]
    [filled] = await rows(reader, "Holes that were filled")
    assert filled[1:] == ("spot", "btcusdt", 200, 249, 50, "rest")


async def test_the_role_reads_and_does_not_write(reader: asyncpg.Connection) -> None:
    assert await reader.fetchval("SELECT count(*) FROM candles") == 5
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await reader.execute("DELETE FROM candles")


def test_panels_do_not_overlap_and_are_explained() -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert taken.setdefault((x, y), panel["title"]) == panel["title"]
        if panel["type"] != "row":
            assert panel["description"].endswith(".")
    identities = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(identities)) == len(identities)
    assert len(metric_names(ROOT / "deploy/grafana/dashboard.json")) > 20


def test_data_sources_are_chosen_and_not_written_in() -> None:
    """A dashboard that names the sources of one installation shows nothing in another."""
    chosen = {"prometheus": "${prometheus}", "grafana-postgresql-datasource": "${database}"}
    sources = [panel["datasource"] for panel in DASHBOARD["panels"] if panel["type"] != "row"]
    sources += [each["datasource"] for each in targets(DASHBOARD) if "datasource" in each]
    for source in sources:
        assert source["uid"] == chosen[source["type"]]
    variables = {each["name"]: each for each in DASHBOARD["templating"]["list"]}
    for kind, uid in chosen.items():
        assert variables[uid.strip("${}")]["query"] == kind
