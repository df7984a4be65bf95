"""The configuration file and the reference of settings, written from ``config.Settings`` and ``settings_table``."""

import json
import textwrap
import types
from collections.abc import Sequence
from enum import Enum
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec

from crypto_quant.config import FILE_NAME, PREFIX, Settings
from crypto_quant.settings_table import ABOUT, Secret, flag_of

_WIDTH = 110
_HEAD = f"""\
# Settings of crypto-quant. Every line that begins with "#" and a name is a setting at its default: take the "#" away
# and change it. An empty text, "", means: not set.
#
# A flag of the command line wins over the environment ({PREFIX}BATCH_SIZE), that over this file, and this file over
# the default. `crypto-quant config show` tells what holds and where it comes from; `crypto-quant doctor` whether it
# will do. The file is read from the working directory as {FILE_NAME}, or named with --config.
"""


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """What a setting may be: ``kind`` is text, integer, number, switch, choice or list; ``low`` and ``high`` inclusive.

    ``above`` is an exclusive lower end. ``optional``: it may be without a value.
    """

    kind: str
    optional: bool = False
    choices: tuple[str, ...] = ()
    low: float | None = None
    above: float | None = None
    high: float | None = None


def shape_of(name: str) -> Shape:
    """Return what a setting may be, read from its type."""
    kind: Any = next(field.type for field in msgspec.structs.fields(Settings) if field.name == name)
    low: float | None = None
    above: float | None = None
    high: float | None = None
    optional = False
    while get_origin(kind) in (Annotated, Union, types.UnionType):
        if get_origin(kind) is Annotated:
            kind, *notes = get_args(kind)
            for note in notes:
                if isinstance(note, msgspec.Meta):
                    low, above, high = note.ge, note.gt, note.le
        else:
            optional = True
            kind = next(each for each in get_args(kind) if each is not types.NoneType)
    if get_origin(kind) is Literal:
        return Shape(kind="choice", optional=optional, choices=tuple(get_args(kind)))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return Shape(kind="choice", optional=optional, choices=tuple(each.value for each in kind))
    kinds = {bool: "switch", int: "integer", float: "number", str: "text"}
    return Shape(kind=kinds.get(kind, "list"), optional=optional, low=low, above=above, high=high)


def limits_text(name: str) -> str:
    """Return what a setting may be, in words: ``1 to 4``, ``true or false``; empty for a text."""
    shape = shape_of(name)
    if shape.kind == "choice":
        return f"{', '.join(shape.choices[:-1])} or {shape.choices[-1]}"
    if shape.kind == "switch":
        return "true or false"
    if shape.low is None and shape.above is None and shape.high is None:
        return ""
    low = "" if shape.low is None else f"{_number(shape.low)}"
    if shape.above is not None:
        return f"above {_number(shape.above)}" + ("" if shape.high is None else f", at most {_number(shape.high)}")
    if shape.high is None:
        return f"at least {low}"
    return f"{low} to {_number(shape.high)}" if low else f"at most {_number(shape.high)}"


def default_text(name: str) -> str:
    """Return what holds when nothing is said, in words or as the value is written."""
    about, value = ABOUT[name], getattr(Settings(), name)
    if about.default:
        return about.default
    if value is None or value == ():
        return "none"
    if isinstance(value, bool):
        return "on" if value else "off"
    return ", ".join(value) if isinstance(value, tuple) else _number(value) if _is_number(value) else str(value)


def file_text(symbols: Sequence[str] = ()) -> str:
    """Return a configuration file with every setting at its default, commented out; ``symbols`` are filled in."""
    parts = [_HEAD]
    defaults = Settings()
    for name in Settings.__struct_fields__:
        value = getattr(defaults, name)
        line = f"{name} = {_toml(value)}"
        line = f"{name} = {_toml(tuple(symbols))}" if name == "symbols" and symbols else f"#{line}"
        parts.append(f"\n{_comment(name)}{line}\n")
    return "".join(parts)


def reference() -> str:
    """Return the settings as a Markdown table, a row each."""
    rows = ["| in the file | flag of `record` | what it is | may be | default |", "|---|---|---|---|---|"]
    for name in Settings.__struct_fields__:
        about = ABOUT[name]
        flag = flag_of(name)
        shown = f"`{flag}`" if flag else "the arguments"
        secret = "; never shown" if about.secret is Secret.WHOLE else ""
        may_be = limits_text(name) or {"list": "a list of texts"}.get(shape_of(name).kind, "a text")
        unit = f" {about.unit}" if about.unit else ""
        rows.append(f"| `{name}` | {shown} | {about.help}{secret} | {may_be}{unit} | {default_text(name)} |")
    return "\n".join(rows) + "\n"


def _comment(name: str) -> str:
    about = ABOUT[name]
    facts = [limits_text(name)]
    if about.unit and about.unit.lower() not in about.help.lower():
        facts.append(f"in {about.unit}")
    if getattr(Settings(), name) is None or about.default:
        facts.append(f"not set: {default_text(name)}" if shape_of(name).optional else f"default {default_text(name)}")
    told = "; ".join(fact for fact in facts if fact)
    text = about.help + (f" ({told})" if told else "") + "."
    return "".join(f"# {line}\n" for line in textwrap.wrap(text, _WIDTH, break_on_hyphens=False))


def _toml(value: Any) -> str:  # noqa: ANN401
    """Return a value as TOML writes it; None, which TOML has not, as an empty text."""
    if value is None:
        return '""'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if _is_number(value):
        return str(value)
    # a basic string of TOML is one of JSON, but for DEL
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.10g}"
