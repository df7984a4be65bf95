"""``crypto-quant db policy`` and ``db drop``: how long rows are kept, and when they become columns."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import msgspec

from crypto_quant.cli.bar import Bar, quiet_option
from crypto_quant.cli.db_url import look_at_database, with_database
from crypto_quant.cli.options import database_url_option
from crypto_quant.errors import ConfigError
from crypto_quant.market import parse_day
from crypto_quant.seams import Table

_AGE = re.compile(r"([1-9][0-9]{0,4})([dw])", re.ASCII)
# the schema version that made the table policies
_POLICIES_SINCE = 5
_table = click.option(
    "--table", type=click.Choice([table.value for table in Table]), default="trades", show_default=True,
    help="Which table.",
)  # fmt: skip
_export = click.option(
    "--require-export", metavar="DIR", type=click.Path(path_type=Path, file_okay=False),
    help="Drop only what an export in DIR holds, checked against its manifests and checksums.",
)  # fmt: skip


@click.group()
def policy() -> None:
    """Declare how long rows are kept, and when old ones become columns.

    `record` keeps the rules, once an hour; `db policy run` does it now. What is dropped is noted: it counts as dropped
    on purpose, not as missing, and is not fetched again unless you ask for it with `backfill`.
    """


@policy.command("set")
@database_url_option
@_table
@click.option("--columnstore-after", metavar="AGE", help="Turn rows of this age into columns (Community edition).")
@click.option("--drop-after", metavar="AGE", help="Drop rows of this age.")
@_export
def set_(
    database_url: str | None,
    table: str,
    columnstore_after: str | None,
    drop_after: str | None,
    require_export: Path | None,
) -> None:
    """Declare the rule of a table, in the place of its former one. AGE is 90d or 12w, 2d at the least."""
    from crypto_quant.store.exported import export_gate  # noqa: PLC0415 - asyncpg is only needed here
    from crypto_quant.store.policy import Rule, declare  # noqa: PLC0415

    if columnstore_after is None and drop_after is None:
        raise ConfigError(
            "nothing is declared", hint="Give --columnstore-after or --drop-after; `clear` removes a rule"
        )
    directory = None if require_export is None else str(require_export.resolve())
    if directory is not None:
        export_gate(directory)  # a directory that does not exist is told now, not in the night
    rule = Rule(Table(table), _age(columnstore_after), _age(drop_after), directory)
    with_database(database_url, lambda connection: declare(connection, rule))
    click.echo(_told(rule))


@policy.command()
@database_url_option
@_table
def clear(database_url: str | None, table: str) -> None:
    """Forget the rule of a table. What is columns stays so, what was dropped stays dropped."""
    from crypto_quant.store.policy import clear as forget  # noqa: PLC0415

    gone = with_database(database_url, lambda connection: forget(connection, Table(table)))
    click.echo(f"{table}: the rule is gone" if gone else f"{table}: there was no rule")


@policy.command()
@database_url_option
@click.option("--json", "as_json", is_flag=True, help="One JSON array.")
def show(database_url: str | None, as_json: bool) -> None:
    """Say which rules hold."""
    from crypto_quant.store.policy import declared, foreign_jobs  # noqa: PLC0415

    async def look(connection: Any) -> tuple[Any, list[str]]:  # noqa: ANN401
        return await declared(connection), await foreign_jobs(connection)

    rules, foreign = look_at_database(database_url, _POLICIES_SINCE, look)
    if as_json:
        click.echo(msgspec.json.encode([_plain(rule) for rule in rules]))
    else:
        click.echo("\n".join(map(_told, rules)) if rules else "no rule is declared: everything is kept")
    for table in foreign:
        click.echo(
            f"{table}: a retention policy of TimescaleDB itself drops chunks, and coverage goes on claiming them."
            f" Remove it: SELECT remove_retention_policy('{table}')",
            err=True,
        )


@policy.command()
@quiet_option
@database_url_option
def run(database_url: str | None) -> None:
    """Drop now what the rules say; exit code 1 when something had to be kept."""
    from crypto_quant.store.exported import export_gate  # noqa: PLC0415
    from crypto_quant.store.retention import keep_rules  # noqa: PLC0415

    with Bar("pieces") as bar:
        fates = with_database(
            database_url, lambda connection: keep_rules(connection, datetime.now(UTC), export_gate, bar)
        )
    _tell(fates)


@click.command()
@quiet_option
@database_url_option
@_table
@click.option(
    "--before",
    metavar="DATE",
    required=True,
    help="Drop what is older than this day, UTC, as 2026-09-01; today at most.",
)
@_export
def drop(database_url: str | None, table: str, before: str, require_export: Path | None) -> None:
    """Drop old days once, by whole chunks or partitions, and note that it was on purpose.

    Never drop chunks or partitions by other means: coverage would go on claiming their rows.
    """
    from crypto_quant.store.exported import export_gate  # noqa: PLC0415
    from crypto_quant.store.retention import drop_before  # noqa: PLC0415

    day = parse_day(before)
    moment = datetime(day.year, day.month, day.day, tzinfo=UTC)
    if moment > datetime.now(UTC):
        raise ConfigError(
            "a day that has not begun", subject=before, hint="Give today at most: what is older is dropped"
        )
    gate = {} if require_export is None else {"gate": export_gate(str(require_export))}
    with Bar("pieces") as bar:
        fates = with_database(
            database_url,
            lambda connection: drop_before(connection, Table(table), moment, source="hand", progress=bar, **gate),
        )
    _tell(fates)


def _tell(fates: Any) -> None:  # noqa: ANN401
    for fate in fates:
        days = f"{fate.piece.table} {fate.piece.start:%Y-%m-%d} to {fate.piece.end:%Y-%m-%d}"
        if fate.kept:
            click.echo(f"kept     {days}: {fate.kept}", err=True)
        else:
            click.echo(f"dropped  {days}: {fate.rows:,} rows")
    if not fates:
        click.echo("nothing to drop")
    if any(fate.kept for fate in fates):
        raise click.exceptions.Exit(1)


def _age(text: str | None) -> timedelta | None:
    if text is None:
        return None
    match = _AGE.fullmatch(text)
    if match is None:
        raise ConfigError("not an age", subject=repr(text), hint="Expected days or weeks, as 90d or 12w")
    return timedelta(days=int(match[1]) * (7 if match[2] == "w" else 1))


def _told(rule: Any) -> str:  # noqa: ANN401
    words = []
    if rule.columnstore_after is not None:
        words.append(f"columns after {rule.columnstore_after.days} d")
    if rule.drop_after is not None:
        words.append(f"dropped after {rule.drop_after.days} d")
    if rule.export_directory is not None:
        words.append(f"once they are exported to {rule.export_directory}")
    return f"{rule.table}: {', '.join(words)}"


def _plain(rule: Any) -> dict[str, Any]:  # noqa: ANN401
    days = {name: None if age is None else age.days for name, age in
            (("columnstore_after_days", rule.columnstore_after), ("drop_after_days", rule.drop_after))}  # fmt: skip
    return {"table": rule.table, **days, "require_export": rule.export_directory, "declared_at": rule.declared_at}
