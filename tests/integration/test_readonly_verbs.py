"""Verbs that show something leave the schema of a database as they find it."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

import asyncpg
import click
import pytest
from click.testing import CliRunner

from crypto_quant.cli import crypto_quant
from crypto_quant.seams import Table
from crypto_quant.store import migrate as migrating
from crypto_quant.store.migrate import EXPECTED, migrations

# what stores, loads, alters or needs no database; every other verb has to stand in READS
WRITES = {
    "backfill", "completion", "config show", "db drop", "db load", "db migrate", "db policy clear", "db policy run",
    "db policy set", "db psql", "db rollups create", "db rollups drop", "db rollups refresh", "db start", "db status",
    "db stop", "demo", "import", "init", "record", "repair", "seal", "serve", "sim", "simulate",
}  # fmt: skip
READS: dict[str, Sequence[str]] = {
    "candles": ["btcusdt"],
    "db policy show": [],
    "db rollups show": [],
    "db url": [],
    "doctor": ["--rest-url", "http://127.0.0.1:9", "--ws-url", "ws://127.0.0.1:9"],
    "export": ["btcusdt", "--from", "2026-10-01", "--to", "2026-10-01", "--out", "lake"],
    "query": ["SELECT 1"],
    "status": [],
    "verify": [],
}


def leaves(command: click.Command, *path: str) -> Iterator[str]:
    if not isinstance(command, click.Group):
        yield " ".join(path)
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        child = command.get_command(context, name)
        assert child is not None
        yield from leaves(child, *path, name)


def test_every_verb_is_known_to_write_or_to_read() -> None:
    assert set(leaves(crypto_quant)) == WRITES | set(READS)


@pytest.mark.parametrize("version", [1, len(migrations()) - 1])
@pytest.mark.parametrize("verb", sorted(READS))
async def test_a_verb_that_reads_never_migrates(
    postgres_url: str, verb: str, version: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CRYPTO_QUANT_DATA_DIR", str(tmp_path / "data"))
    connection = await asyncpg.connect(postgres_url)
    with monkeypatch.context() as patch:
        older = migrations()[:version]
        tables = {table for table in EXPECTED if migrating._MADE_BY.get(table, 1) <= version}
        assert set(Table) <= tables
        patch.setattr(migrating, "migrations", lambda: older)
        patch.setattr(migrating, "EXPECTED", {table: EXPECTED[table] for table in tables})
        await migrating.migrate(connection)
    before = await _schema(connection)
    arguments = [*verb.split(), *READS[verb], "--database-url", postgres_url]
    result = await asyncio.to_thread(CliRunner().invoke, crypto_quant, arguments)
    assert await _schema(connection) == before, result.output
    await connection.close()
    if verb == "db policy show":
        assert (result.exit_code == 0) == (version >= 5)
        assert version >= 5 or "crypto-quant db migrate" in str(getattr(result.exception, "hint", result.output))
    if verb in {"db rollups show", "query", "db url"}:
        assert result.exit_code == 0, result.output


async def _schema(connection: asyncpg.Connection) -> tuple[object, ...]:
    versions = await connection.fetch("SELECT version, applied_at FROM crypto_quant_schema ORDER BY version")
    tables = await connection.fetch(
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 2"
    )
    return tuple(map(tuple, versions)), tuple(map(tuple, tables))
