"""Events as lines: JSON for machines in the founding shape, columns for people."""

import io
import json
import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from crypto_quant import events
from crypto_quant.events import Event
from crypto_quant.flow.stats import PipelineStats
from crypto_quant.ops import log


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def every_event() -> list[type[Event]]:
    found, waiting = [], [Event]
    while waiting:
        for kind in waiting.pop().__subclasses__():
            found.append(kind)
            waiting.append(kind)
    return [kind for kind in found if kind.__module__ == events.__name__]


def example(kind: type[Event]) -> Event:
    samples: dict[str, Any] = {"int": 3, "float": 1.5, "str": "text", "tuple[str, ...]": ("a", "b")}
    hints = {name: str(getattr(hint, "__name__", hint)) for name, hint in kind.__annotations__.items()}
    return kind(**{
        name: samples.get("tuple[str, ...]" if hint.startswith("tuple") else hint.split(" |")[0], 1.5)
        for name, hint in hints.items()
        if name in kind.__struct_fields__
    })  # fmt: skip


def lines(out: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


@pytest.mark.parametrize("kind", every_event(), ids=lambda kind: kind.__name__)
def test_every_event_has_a_message_a_level_and_becomes_one_line(kind: type[Event]) -> None:
    assert kind.message
    assert kind.level in ("debug", "info", "warning", "error")
    assert not set(kind.__struct_fields__) & {"event", "level", "timestamp", "message"}
    for log_format in ("json", "console"):
        out = io.StringIO()
        log.setup("DEBUG", log_format, out)(example(kind))
        assert out.getvalue().count("\n") == 1
        assert kind.message in out.getvalue()
    out = io.StringIO()
    log.setup("DEBUG", "json", out)(example(kind))
    (line,) = lines(out)
    assert list(line) == ["event", "level", "timestamp", *kind.__struct_fields__]
    assert (line["event"], line["level"]) == (kind.message, kind.level)


def test_the_statistics_have_the_founding_keys_in_their_order() -> None:
    out = io.StringIO()
    log.setup("INFO", "json", out)(PipelineStats(0).report(1_000_000_000))
    (line,) = lines(out)
    assert list(line)[:8] == [
        "event", "level", "timestamp", "trades_received", "trades_written", "pending_trades", "elapsed_seconds",
        "trades_per_second",
    ]  # fmt: skip
    assert (line["event"], line["level"]) == ("Pipeline statistics", "info")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["timestamp"])


def test_a_timestamp_that_is_given_stays() -> None:
    out = io.StringIO()
    log.setup("INFO", "json", out)({"event": "x", "timestamp": "2024-01-01T10:00:00.000Z"})
    assert lines(out) == [{"event": "x", "level": "info", "timestamp": "2024-01-01T10:00:00.000Z"}]


def test_text_beyond_ascii_and_control_characters_stay_one_line() -> None:
    out = io.StringIO()
    event = events.FrameSetAside(reason="币安人生 \n\t\x00", size=1, excerpt="\ud7ff\n", so_far=1)
    log.setup("INFO", "json", out)(event)
    (line,) = lines(out)
    assert line["reason"] == event.reason
    assert "币安人生" in out.getvalue()


@pytest.mark.parametrize(("level", "told"), [("DEBUG", 3), ("info", 2), ("WARNING", 1), ("ERROR", 0)])
def test_the_level_filters(level: str, told: int) -> None:
    out = io.StringIO()
    emit = log.setup(level, "json", out)
    emit(events.BatchStored(table="trades", rows=1, duplicates=0, took_ms=1.0))
    emit(events.StoreBack(table="trades", away_s=1.0))
    emit(events.ReadingPaused(pending=1, limit=1))
    assert len(lines(out)) == told


def test_auto_means_json_unless_somebody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    machine, person = io.StringIO(), Terminal()
    log.setup("INFO", "auto", machine)(events.StoreBack(table="trades", away_s=1.0))
    log.setup("INFO", "auto", person)(events.StoreBack(table="trades", away_s=1.0))
    assert lines(machine)[0]["away_s"] == 1.0
    assert "\x1b[" in person.getvalue()


def test_no_color_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    out = Terminal()
    log.setup("INFO", "auto", out)(events.StoreBack(table="trades", away_s=1.0))
    assert "\x1b[" not in out.getvalue()
    assert "away_s" in out.getvalue()


def test_without_a_stream_it_is_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    log.setup("INFO", "json")(events.StoreBack(table="trades", away_s=1.0))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Store available again" in captured.err


def test_what_is_no_event_is_a_bug() -> None:
    with pytest.raises(TypeError, match="not an event"):
        log.setup("INFO", "json", io.StringIO())("text")


def test_a_pipe_that_nobody_reads_costs_nothing() -> None:
    class Broken(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError(32, "Broken pipe")

    log.setup("INFO", "json", Broken())(events.StoreBack(table="trades", away_s=1.0))


def test_libraries_warnings_are_heard_and_the_links_own_chatter_is_not() -> None:
    out = io.StringIO()
    log.setup("INFO", "json", out)
    logging.getLogger("asyncio").warning("slow")
    logging.getLogger("asyncio").info("chatter")
    logging.getLogger("picows.link").error("disconnected")
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [(line["event"], line["level"], line["library"]) for line in lines] == [("slow", "warning", "asyncio")]


def test_a_report_on_a_terminal_leaves_out_what_says_nothing() -> None:
    out = io.StringIO()
    emit = log.setup("INFO", "console", out)
    emit({"event": "Pipeline statistics", "level": "info", "trades_received": 0, "gaps": 0, "links": 2, "lag": None})
    assert "trades_received=0" in out.getvalue()
    assert "links=2" in out.getvalue()
    assert "gaps" not in out.getvalue()
    assert "lag" not in out.getvalue()
