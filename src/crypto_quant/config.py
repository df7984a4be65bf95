"""One place for every setting and every limit: flag, then environment, then ``crypto-quant.toml``, then default."""

import difflib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec

from crypto_quant.errors import ConfigError
from crypto_quant.market import Venue

FILE_NAME = "crypto-quant.toml"
PREFIX = "CRYPTO_QUANT_"

# the most is some thirty years: far enough for anybody, and no infinity, which clocks and timers refuse
_Positive = Annotated[float, msgspec.Meta(gt=0, le=1e9)]


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that ``record`` can be told. Times are in seconds."""

    symbols: tuple[str, ...] = ()
    streams: tuple[str, ...] = ("aggTrade",)
    venue: Venue = Venue.SPOT
    database_url: str | None = None
    ws_url: str | None = None
    rest_url: str | None = None
    archive_url: str | None = None
    check_symbols: bool = True
    backfill: bool = True
    backfill_reach: Annotated[int, msgspec.Meta(ge=0)] = 1_000_000
    links: Annotated[int, msgspec.Meta(ge=1, le=4)] = 1
    batch_size: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 1000
    batch_age: Annotated[float, msgspec.Meta(ge=0, le=60)] | None = None  # as long as commits take
    duration: _Positive | None = None
    drain_deadline: _Positive = 30.0
    stats_interval: _Positive = 10.0
    candle_grace: _Positive = 10.0
    pending_limit: Annotated[int, msgspec.Meta(ge=1000)] = 200_000
    spool: bool = True
    spool_limit: Annotated[int, msgspec.Meta(ge=1_048_576)] = 4 * 1024**3  # bytes
    spool_dir: str | None = None
    pool_size: Annotated[int, msgspec.Meta(ge=1, le=100)] = 4
    log_level: Annotated[str, msgspec.Meta(pattern=r"\A(DEBUG|INFO|WARNING|ERROR)\Z")] = "INFO"
    log_format: Annotated[str, msgspec.Meta(pattern=r"\A(auto|json|console)\Z")] = "auto"
    data_dir: str | None = None


def load(
    flags: Mapping[str, Any], environ: Mapping[str, str], file: Path | None = None, *, cwd: Path | None = None
) -> Settings:
    """Return the settings that hold; ``flags`` with the value None were not given.

    ``file`` is the configuration file that was asked for; without it ``crypto-quant.toml`` in ``cwd`` is read when it
    is there. Raises ConfigError that names the source, the setting and what would be right.
    """
    values: dict[str, Any] = {}
    values.update(_from_file(file, cwd))
    values.update(_from_environment(environ))
    values.update(_checked({key: value for key, value in flags.items() if value is not None}, "command line", True))
    if values.get("ws_url"):
        # a stream from elsewhere has its REST and its archive at the same place, as the simulated exchange has
        scheme, separator, rest = values["ws_url"].partition("://")
        if not separator:
            hint = "Expected ws://HOST[:PORT] or wss://HOST[:PORT]"
            raise ConfigError("not a WebSocket URL", subject=repr(values["ws_url"]), hint=hint)
        there = f"{'https' if scheme.lower() == 'wss' else 'http'}://{rest}"
        values["rest_url"] = values.get("rest_url") or there
        values["archive_url"] = values.get("archive_url") or there
    elif values.get("rest_url"):
        # another exchange's trades must not be mixed with the real one's files
        values["archive_url"] = values.get("archive_url") or values["rest_url"]
    return Settings(**values)


def _from_file(file: Path | None, cwd: Path | None) -> dict[str, Any]:
    path = file
    if path is None:
        path = (cwd or Path()) / FILE_NAME
        if not path.is_file():
            return {}
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise ConfigError("cannot read the configuration file", subject=str(path), hint=str(problem)) from problem
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        raise ConfigError("the configuration file is not TOML", subject=str(path), hint=str(problem)) from problem
    return _checked(values, str(path), False)


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if environ.get("DATABASE_URL"):
        values["database_url"] = environ["DATABASE_URL"]
    for field in Settings.__struct_fields__:
        text = environ.get(PREFIX + field.upper())
        if text:
            given: Any = text.replace(",", " ").split() if field in ("symbols", "streams") else text
            values.update(_checked({field: given}, f"environment variable {PREFIX}{field.upper()}", True))
    return values


def _checked(values: Mapping[str, Any], source: str, from_text: bool) -> dict[str, Any]:
    """Return the values converted to their types; blame ``source`` for what is wrong."""
    fields = {field.name: field.type for field in msgspec.structs.fields(Settings)}
    result = {}
    for name, value in values.items():
        if name not in fields:
            near = difflib.get_close_matches(name, fields, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(sorted(fields))}"
            raise ConfigError(f"unknown setting in {source}", subject=repr(name), hint=hint)
        if name == "log_level" and isinstance(value, str):
            value = value.upper()  # noqa: PLW2901  # any case is plain enough
        try:
            result[name] = msgspec.convert(value, fields[name], strict=not from_text)
        except msgspec.ValidationError as problem:
            raise ConfigError(f"bad value in {source}", subject=f"{name} = {value!r}", hint=str(problem)) from problem
    return result
