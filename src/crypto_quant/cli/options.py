"""Options that become settings: their names, types and help come from the table of settings."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from crypto_quant.config import Settings
from crypto_quant.configfile import default_text, shape_of
from crypto_quant.market import Venue
from crypto_quant.settings_table import ABOUT, flag_of

_FAR = 1e9
Decorator = Callable[[Any], Any]

config_option = click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="A configuration file. [default: ./crypto-quant.toml, when there is one]",
)
database_url_option = click.option(
    "--database-url", metavar="URL", help="PostgreSQL or TimescaleDB. [default: the embedded database]"
)
venue_option = click.option(
    "--venue", type=click.Choice([each.value for each in Venue]), help="Which market. [default: spot]"
)


class FiniteRange(click.FloatRange):
    """Numbers between two ends; what is none (nan) and what has no end (inf) are refused."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ANN401
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a number of any size.", param, ctx)
        return number


def settings_options(*names: str) -> Decorator:
    """Add the options of the settings ``names`` and ``--config`` to a click command; without names of all settings."""

    def add(command: Any) -> Any:  # noqa: ANN401
        command = config_option(command)
        for name in reversed(names or [each for each in Settings.__struct_fields__ if flag_of(each)]):
            command = _option(name)(command)
        return command

    return add


def given(flags: dict[str, Any]) -> dict[str, Any]:
    """Return a command's parameters as ``config.load`` takes them: an option that may be repeated and was not is None.

    The same holds for ``symbols``.
    """
    return {name: None if value == () else value for name, value in flags.items()}


def _option(name: str) -> Decorator:
    about, shape, flag = ABOUT[name], shape_of(name), flag_of(name)
    several = "; repeat for several" if shape.kind == "list" else ""
    text = f"{about.help}{several}. [default: {default_text(name)}]"
    more: dict[str, Any] = {"help": text, "default": None}
    if shape.kind == "switch":
        return click.option(f"{flag}/--no-{flag.removeprefix('--')}", name, **more)
    kind: click.ParamType[Any] | None = None
    if shape.kind == "choice":
        kind = click.Choice(shape.choices, case_sensitive=name != "log_level")
    elif shape.kind == "integer":
        kind = click.IntRange(_whole(shape.low), _whole(shape.high))
    elif shape.kind == "number":
        low = shape.low if shape.above is None else shape.above
        # an end that nobody comes near is left to the settings' own check
        high = None if shape.high is None or shape.high >= _FAR else shape.high
        kind = FiniteRange(low, high, min_open=shape.above is not None)
    elif shape.kind == "list":
        more |= {"multiple": True, "shell_complete": _streams}
        del more["default"]
    if about.alone:
        more |= {"is_flag": False, "flag_value": about.alone}
    return click.option(flag, name, type=kind, metavar=about.metavar or None, **more)


def complete_timeframes(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the exchange's timeframes that begin so."""
    from crypto_quant.market import Timeframe  # noqa: PLC0415 - only a shell asks

    return [each.value for each in Timeframe if each.value.startswith(incomplete)]


def _whole(limit: float | None) -> int | None:
    return None if limit is None else int(limit)


def _streams(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the streams of the venue of this command line that begin so."""
    from crypto_quant.binance.streams import available_streams  # noqa: PLC0415 - only a shell asks
    from crypto_quant.binance.venues import venue_spec  # noqa: PLC0415

    venue = context.params.get("venue") or Venue.SPOT
    return [str(each) for each in available_streams(venue_spec(Venue(venue))) if str(each).startswith(incomplete)]
