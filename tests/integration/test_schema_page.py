"""docs/schema.md says what a migrated database holds, on each tier: tables, columns, types, NULL, keys."""

import re
from collections.abc import Mapping
from pathlib import Path

import asyncpg
import pytest

PAGE = Path(__file__).parents[2] / "docs" / "schema.md"
# the page writes types as the SQL does, the server as it likes
TYPES = {
    "timestamp with time zone": "TIMESTAMPTZ",
    "numeric(20,8)": "NUMERIC(20,8)",
    "numeric(38,8)": "NUMERIC(38,8)",
}

Columns = Mapping[str, tuple[str, bool]]  # type, and whether it may be NULL


def documented(page: str) -> dict[str, tuple[Columns, set[str]]]:
    """Return each table's columns and keys, as the page has them."""
    tables = {}
    for section in re.split(r"^## ", page, flags=re.MULTILINE)[1:]:
        name, _, text = section.partition("\n")
        rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| `([A-Z]+[^`]*)`[^|]*\| (.*) \|$", text, re.MULTILINE)
        if "| column | type | meaning |" not in text:
            continue
        columns = {
            column: (kind, "NULL" in meaning) for names, kind, meaning in rows for column in re.findall(r"\w+", names)
        }
        keys = {
            columns + (f" where {where}" if where else "")
            for columns, where in re.findall(r"(?:Key|[Uu]nique): `(\([^`]*\))`(?: where `(\w+)`)?", text)
        }
        tables[name.strip()] = (columns, keys)
    return tables


async def held(connection: asyncpg.Connection) -> dict[str, tuple[Columns, set[str]]]:
    """Return the same as the database has it: of every table that is no part of another."""
    found = await connection.fetch(
        "SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod) AS kind, NOT a.attnotnull AS nullable"
        " FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
        " WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relnamespace = 'public'::regnamespace"
    )
    tables: dict[str, tuple[dict[str, tuple[str, bool]], set[str]]] = {}
    for row in found:
        columns, _ = tables.setdefault(row["relname"], ({}, set()))
        columns[row["attname"]] = (TYPES.get(row["kind"], row["kind"].upper()), row["nullable"])
    for row in await connection.fetch(
        "SELECT c.relname, pg_get_indexdef(i.indexrelid) AS definition FROM pg_index i"
        " JOIN pg_class c ON c.oid = i.indrelid WHERE i.indisunique AND c.relname = ANY($1)"
        " AND c.relnamespace = 'public'::regnamespace",
        list(tables),
    ):
        columns, where = re.findall(r"(\([^)]*\))(?: WHERE (\w+))?", row["definition"].replace('"', ""))[0]
        tables[row["relname"]][1].add(columns + (f" where {where}" if where else ""))
    return dict(tables)


async def test_the_page_is_what_a_migrated_database_holds(migrated: asyncpg.Connection) -> None:
    assert documented(PAGE.read_text(encoding="utf-8")) == await held(migrated)


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE verdicts ADD COLUMN who TEXT",
        "ALTER TABLE absences ALTER COLUMN proof TYPE VARCHAR(99)",
        "ALTER TABLE policies ALTER COLUMN declared_at DROP NOT NULL",
        "ALTER TABLE candle_absences DROP CONSTRAINT candle_absences_key",
        "CREATE TABLE surprises (id BIGINT)",
    ],
)
async def test_a_page_that_differs_is_seen(migrated: asyncpg.Connection, change: str) -> None:
    await migrated.execute(change)
    assert documented(PAGE.read_text(encoding="utf-8")) != await held(migrated)
