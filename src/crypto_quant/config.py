"""One place for every setting and every limit: flag, then environment, then ``crypto-quant.toml``, then default."""

import difflib
import tomllib
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec

from crypto_quant.errors import ConfigError
from crypto_quant.market import Venue
from crypto_quant.settings_table import ABOUT, flag_of
from crypto_quant.words import without_passwords

FILE_NAME = "crypto-quant.toml"
PREFIX = "CRYPTO_QUANT_"
# of the tests and their servers, of the benchmarks, and of the compose files
NOT_SETTINGS = ("TEST_", "REQUIRE_", "PEERS_", "DATABASE_PASSWORD", "READER_PASSWORD", "GRAFANA_PASSWORD")
# as alike as a forgotten or doubled letter makes two names; what is less alike may be another program's
_TYPO = 0.8

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
    candle_lines: Annotated[int, msgspec.Meta(ge=0)] = 20
    pending_limit: Annotated[int, msgspec.Meta(ge=1000)] = 200_000
    spool: bool = True
    spool_limit: Annotated[int, msgspec.Meta(ge=1_048_576)] = 4 * 1024**3  # bytes
    spool_dir: str | None = None
    pool_size: Annotated[int, msgspec.Meta(ge=1, le=100)] = 4
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["auto", "json", "console"] = "auto"
    data_dir: str | None = None
    serve: str | None = None  # [HOST:]PORT of the page
    serve_token: str | None = None
    metrics_port: Annotated[int, msgspec.Meta(ge=0, le=65535)] | None = None
    metrics_host: str = "127.0.0.1"
    metrics_streams: Annotated[int, msgspec.Meta(ge=0)] = 1000


class Origin(StrEnum):
    """Where a value comes from, the strongest first."""

    FLAG = "flag"
    ENVIRONMENT = "environment"
    FILE = "file"
    DERIVED = "derived"
    DEFAULT = "default"


class Source(msgspec.Struct, frozen=True):
    """Where one value comes from: ``name`` is the option, the variable, the file, or the setting it follows from.

    ``line`` is that of the file, from 1, where it can be told.
    """

    origin: Origin
    name: str = ""
    line: int | None = None

    def __str__(self) -> str:
        if self.origin is Origin.FILE:
            return self.name if self.line is None else f"{self.name}, line {self.line}"
        words = {
            Origin.FLAG: "command line",
            Origin.ENVIRONMENT: f"environment variable {self.name}",
            Origin.DERIVED: f"follows from {self.name}",
        }
        return words.get(self.origin, self.origin.value)


class Resolved(msgspec.Struct, frozen=True):
    """The settings that hold, and where each of them comes from.

    ``file`` is the configuration file that was read. ``ignored`` are variables whose names begin like those of
    settings, but are none and resemble none.
    """

    settings: Settings
    sources: Mapping[str, Source]
    file: Path | None = None
    ignored: tuple[str, ...] = ()


def load(
    flags: Mapping[str, Any], environ: Mapping[str, str], file: Path | None = None, *, cwd: Path | None = None
) -> Settings:
    """Return the settings that hold; ``flags`` with the value None were not given.

    ``file`` is the configuration file that was asked for; without it ``crypto-quant.toml`` in ``cwd`` is read when it
    is there. Raises ConfigError that names the source, the setting and what would be right.
    """
    return resolve(flags, environ, file, cwd=cwd).settings


def resolve(
    flags: Mapping[str, Any], environ: Mapping[str, str], file: Path | None = None, *, cwd: Path | None = None
) -> Resolved:
    """Return what ``load`` returns, and where each value comes from."""
    path = _chosen_file(file, cwd)
    values: dict[str, Any] = {}
    sources: dict[str, Source] = {}
    ignored = tuple(_strangers(environ))
    for name, value, source in (*_from_file(path), *_from_environment(environ), *_from_flags(flags)):
        values[name] = _converted(name, value, source)
        sources[name] = source
    for name, value, source in list(_derived(values)):
        values[name], sources[name] = value, source
    default = Source(Origin.DEFAULT)
    sources = {name: sources.get(name, default) for name in Settings.__struct_fields__}
    return Resolved(Settings(**values), sources, path, ignored)


_Given = tuple[str, Any, Source]


def _derived(values: Mapping[str, Any]) -> Iterator[_Given]:
    """Yield what follows from the addresses that were given."""
    if values.get("ws_url"):
        # a stream from elsewhere has its REST and its archive at the same place, as the simulated exchange has
        scheme, separator, rest = values["ws_url"].partition("://")
        if not separator:
            hint = "Expected ws://HOST[:PORT] or wss://HOST[:PORT]"
            raise ConfigError("not a WebSocket URL", subject=repr(without_passwords(values["ws_url"])), hint=hint)
        there = f"{'https' if scheme.lower() == 'wss' else 'http'}://{rest}"
        for name in ("rest_url", "archive_url"):
            if not values.get(name):
                yield name, there, Source(Origin.DERIVED, "ws_url")
    elif values.get("rest_url") and not values.get("archive_url"):
        # another exchange's trades must not be mixed with the real one's files
        yield "archive_url", values["rest_url"], Source(Origin.DERIVED, "rest_url")


def _from_flags(flags: Mapping[str, Any]) -> Iterator[_Given]:
    for name, value in flags.items():
        if value is not None:
            yield name, value, Source(Origin.FLAG, flag_of(name) if name != "symbols" else "SYMBOL")


def _chosen_file(file: Path | None, cwd: Path | None) -> Path | None:
    if file is not None:
        return file
    usual = (cwd or Path()) / FILE_NAME
    return usual if usual.is_file() else None


def _from_file(path: Path | None) -> Iterator[_Given]:
    if path is None:
        return
    try:
        text = path.read_text(encoding="utf-8-sig")  # Windows' editors begin a file with a mark
    except (OSError, UnicodeDecodeError) as problem:
        raise ConfigError("cannot read the configuration file", subject=str(path), hint=str(problem)) from problem
    try:
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as problem:  # also an integer of thousands of digits, and a list as deep
        raise ConfigError("the configuration file is not TOML", subject=str(path), hint=str(problem)) from problem
    lines = _lines_of(text, values)
    defaults = Settings()
    for name, value in values.items():
        # TOML cannot say "none": an empty text does, as it does in the environment
        if value != "" or getattr(defaults, name, "") is not None:
            yield name, value, Source(Origin.FILE, str(path), lines.get(name))


def _lines_of(text: str, values: Mapping[str, Any]) -> dict[str, int]:
    """Return the line, from 1, at which each key of a TOML document begins; a key written in a rare way has none."""
    found: dict[str, int] = {}
    lines = text.split("\n")
    for number, line in enumerate(lines, 1):
        name = line.partition("=")[0].strip().strip("\"'")
        if name in values and name not in found and _is_toml("\n".join(lines[: number - 1])):
            found[name] = number
    return found


def _is_toml(text: str) -> bool:
    # a beginning that is none ends within a text or a list of several lines
    try:
        tomllib.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _from_environment(environ: Mapping[str, str]) -> Iterator[_Given]:
    if environ.get("DATABASE_URL"):
        yield "database_url", environ["DATABASE_URL"], Source(Origin.ENVIRONMENT, "DATABASE_URL")
    for field in Settings.__struct_fields__:
        variable = PREFIX + field.upper()
        text = environ.get(variable)
        if text:
            given: Any = text.replace(",", " ").split() if field in ("symbols", "streams") else text
            yield field, given, Source(Origin.ENVIRONMENT, variable)


def _strangers(environ: Mapping[str, str]) -> Iterator[str]:
    """Yield variables that look like settings and are none. Raises ConfigError for one that is a setting misspelt."""
    known = {PREFIX + field.upper() for field in Settings.__struct_fields__}
    for variable in sorted(environ):
        if not variable.startswith(PREFIX) or variable in known or not environ[variable]:
            continue
        if variable.removeprefix(PREFIX).startswith(NOT_SETTINGS):
            continue
        near = difflib.get_close_matches(
            variable.removeprefix(PREFIX), [k.removeprefix(PREFIX) for k in known], 1, _TYPO
        )
        if near:
            hint = f"Did you mean {PREFIX}{near[0]}?"
            raise ConfigError("unknown setting in the environment", subject=variable, hint=hint)
        yield variable


def _converted(name: str, value: Any, source: Source) -> Any:  # noqa: ANN401
    """Return the value converted to its type; blame ``source`` for what is wrong."""
    fields = {field.name: field.type for field in msgspec.structs.fields(Settings)}
    if name not in fields:
        near = difflib.get_close_matches(name, fields, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(sorted(fields))}"
        raise ConfigError(f"unknown setting in {source}", subject=repr(name), hint=hint)
    if name == "log_level" and isinstance(value, str):
        value = value.upper()  # any case is plain enough
    try:
        return msgspec.convert(value, fields[name], strict=source.origin is Origin.FILE)
    except msgspec.ValidationError as problem:
        about = ABOUT.get(name)
        subject = name if about is not None and about.secret else f"{name} = {value!r}"
        choices = _choices(fields[name])
        hint = f"Expected one of: {', '.join(choices)}" if choices else str(problem)
        raise ConfigError(f"bad value in {source}", subject=subject, hint=hint) from problem


def _choices(kind: Any) -> tuple[str, ...]:  # noqa: ANN401
    """Return what a setting of this type may be, where that is a list of words."""
    if get_origin(kind) is Literal:
        return get_args(kind)
    return tuple(kind) if isinstance(kind, type) and issubclass(kind, StrEnum) else ()
