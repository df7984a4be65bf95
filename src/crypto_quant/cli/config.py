"""``crypto-quant config``: which settings hold, and where each of them comes from."""

import os
from pathlib import Path
from typing import Any

import click
import msgspec

from crypto_quant.cli.options import given, settings_options
from crypto_quant.config import Origin, Resolved, Source, resolve
from crypto_quant.settings_table import ABOUT, Secret
from crypto_quant.store.url import redact


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def config() -> None:
    """Look at the settings."""


@config.command()
@click.argument("symbols", nargs=-1, metavar="[SYMBOL]...")
@settings_options()
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def show(symbols: tuple[str, ...], config: Path | None, as_json: bool, **flags: Any) -> None:  # noqa: ANN401
    """Tell every setting as `record` with these arguments would have it, and where its value comes from.

    Passwords and tokens are shown as ***.
    """
    resolved = resolve(given({**flags, "symbols": symbols}), os.environ, config)
    if as_json:
        click.echo(msgspec.json.encode(_plain(resolved)))
        return
    rows = [
        (name, _shown(masked(name, getattr(resolved.settings, name))), _told(source))
        for name, source in resolved.sources.items()
    ]
    name_width, value_width = (max(len(row[at]) for row in rows) for at in (0, 1))
    for name, value, source in rows:
        click.echo(f"{name:{name_width}}  {value:{min(value_width, 40)}}  {source}")
    for variable in resolved.ignored:
        click.echo(f"{variable} in the environment is no setting, and is ignored", err=True)


def masked(name: str, value: Any) -> Any:  # noqa: ANN401
    """Return a setting's value as it may be shown: what is secret in it is ``***``."""
    secret = ABOUT[name].secret
    if secret is None or not value:
        return value
    return "***" if secret is Secret.WHOLE else redact(value)


def _plain(resolved: Resolved) -> dict[str, Any]:
    settings = {
        name: {
            "value": masked(name, getattr(resolved.settings, name)),
            "origin": source.origin,
            "name": source.name or None,
            "line": source.line,
        }
        for name, source in resolved.sources.items()
    }
    file = None if resolved.file is None else str(resolved.file)
    return {"file": file, "settings": settings, "ignored": resolved.ignored}


def _shown(value: Any) -> str:  # noqa: ANN401
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "on" if value else "off"
    return " ".join(value) or "-" if isinstance(value, tuple) else str(value)


def _told(source: Source) -> str:
    return source.name if source.origin in (Origin.FLAG, Origin.ENVIRONMENT) else str(source)
