"""Log lines by structlog, on stderr: JSON for machines, columns for people.

Every line comes from an event value; its key order is ``event, level, timestamp`` and then the event's fields.
"""

import contextlib
import logging
import os
import sys
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any, TextIO

import msgspec
import structlog

from crypto_quant.events import Event
from crypto_quant.seams import Emit

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
FORMATS = ("auto", "json", "console")
_ALWAYS_TOLD = ("trades_received", "trades_written", "pending_trades")


def setup(level: str = "INFO", log_format: str = "auto", stream: TextIO | None = None) -> Emit:
    """Configure logging and return the function that turns an event into a line.

    ``auto`` means JSON unless the stream is a terminal. ``NO_COLOR`` is honoured.
    """
    out = stream if stream is not None else sys.stderr
    if out is None:  # started with stderr closed: there is nobody to tell, and that is no reason not to record
        out = Path(os.devnull).open("w")  # noqa: SIM115
    as_json = log_format == "json" or (log_format == "auto" and not out.isatty())
    renderer: Any
    if as_json:
        renderer = structlog.processors.JSONRenderer(ensure_ascii=False)
    else:
        colours = out.isatty() and not os.environ.get("NO_COLOR")
        renderer = structlog.dev.ConsoleRenderer(colors=colours, sort_keys=False)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            _utc_milliseconds,
            _plain_fields,
            _key_order,
            *([] if as_json else [_only_what_says_something]),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(file=out),
        cache_logger_on_first_use=False,
    )
    # libraries speak through logging: their warnings matter, their chatter does not
    logger = structlog.get_logger()
    logging.basicConfig(level=logging.WARNING, handlers=[_Bridge(logger)], force=True)
    logging.getLogger("picows").setLevel(logging.CRITICAL)  # every end of a link is an event of ours already

    def emit(event: object) -> None:
        if isinstance(event, Event):
            level_name, message = event.level, event.message
            fields = {name: getattr(event, name) for name in event.__struct_fields__}
        elif isinstance(event, dict):
            fields = dict(event)
            level_name, message = fields.pop("level", "info"), fields.pop("event")
        else:
            raise TypeError(f"not an event: {event!r}")
        # a pipe that nobody reads any more, or a full disk under the log, must not cost a single trade
        with contextlib.suppress(OSError):
            getattr(logger, level_name)(message, **fields)

    return emit


class _Bridge(logging.Handler):
    """Turns what libraries log into lines of the same form."""

    def __init__(self, logger: Any) -> None:  # noqa: ANN401  # structlog's loggers are made at run time
        super().__init__()
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(OSError):
            self._logger.log(record.levelno, record.getMessage(), library=record.name)


def _utc_milliseconds(_: object, __: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    if "timestamp" not in fields:
        moment = structlog.processors.TimeStamper(fmt="iso", utc=True)(None, "", {})["timestamp"]
        fields["timestamp"] = f"{moment[:23]}Z"
    return fields


def _plain_fields(_: object, __: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return {k: msgspec.to_builtins(v) if isinstance(v, (tuple, msgspec.Struct)) else v for k, v in fields.items()}


def _key_order(_: object, __: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    head = {key: fields.pop(key) for key in ("event", "level", "timestamp") if key in fields}
    return {**head, **fields}


def _only_what_says_something(_: object, __: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Leave out of a report, on a terminal, the counts that are zero: what remains fits two lines."""
    if not str(fields.get("event", "")).endswith("statistics"):
        return fields
    return {key: value for key, value in fields.items() if value or key in _ALWAYS_TOLD}
