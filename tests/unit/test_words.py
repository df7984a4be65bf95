"""Figures as people read them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_quant.words import (
    GIB,
    brief_span,
    counted,
    milliseconds,
    printable,
    rate,
    size,
    span,
    without_passwords,
)


@pytest.mark.parametrize(
    ("seconds", "long", "brief"),
    [
        (-3, "0 s", "0s"), (0, "0 s", "0s"), (59.9, "59 s", "59s"), (60, "1 min", "1m"), (61, "1 min 1 s", "1m"),
        (3_600, "1 h", "1h"), (7_260, "2 h 1 min", "2h"), (3_605, "1 h", "1h"), (86_400 * 3 + 7_300, "3 d 2 h", "3d"),
    ],
)  # fmt: skip
def test_a_span_has_its_two_largest_units(seconds: float, long: str, brief: str) -> None:
    assert (span(seconds), brief_span(seconds)) == (long, brief)


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 KiB"), (1024, "1.0 KiB"), (102_300, "99.9 KiB"),
     (102_400, "100 KiB"), (1_023_000, "999 KiB"), (1_023_600, "1.0 MiB"), (5 * GIB // 2, "2.5 GiB"),
     (10**17, "88.8 PiB"), (10**19, "8882 PiB")],
)  # fmt: skip
def test_a_size_has_three_digits(count: int, text: str) -> None:
    assert size(count) == text


@given(st.floats(0, 1e15))
def test_a_size_never_shows_four_digits_before_its_point(count: float) -> None:
    assert len(size(count).split()[0].split(".")[0]) <= 3


@pytest.mark.parametrize(("often", "text"), [(0, "0"), (0.04, "0"), (0.06, "0.1"), (9.94, "9.9"), (9.96, "10"),
                                             (12345.6, "12,346")])  # fmt: skip
def test_a_rate(often: float, text: str) -> None:
    assert rate(often) == text


@pytest.mark.parametrize(
    ("length", "text"),
    [(None, "-"), (0.26, "0.3 ms"), (-3.0, "-3.0 ms"), (41.3, "41 ms"), (9_999, "9,999 ms"), (61_000, "1 min 1 s"),
     (-61_000, "-1 min 1 s")],
)  # fmt: skip
def test_milliseconds(length: float | None, text: str) -> None:
    assert milliseconds(length) == text


def test_one_and_many() -> None:
    assert (counted(1, "gap"), counted(1204, "gap"), counted(2, "series", "series")) == (
        "1 gap", "1,204 gaps", "2 series",
    )  # fmt: skip


def test_a_strangers_text_can_do_nothing() -> None:
    hostile = "\x1b[31mred\r\n\x9b2J\u202eevil\u200b 币安人生"
    assert printable(hostile) == "�[31mred���2J�evil� 币安人生"


@given(st.text())
def test_what_is_printable_is_one_line_of_as_many_characters(text: str) -> None:
    told = printable(text)
    assert len(told) == len(text)
    assert told.isprintable()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("wss://me:secret@host:9443/ws", "wss://me:***@host:9443/ws"),
        ("http://:secret@host", "http://:***@host"),
        ("http://me:sec/r@t@host", "http://me:***@host"),  # it should have been quoted; it is secret all the same
        ("no answer (http://a:secret@b): https://c:secret@d/e", "no answer (http://a:***@b): https://c:***@d/e"),
        ("me:secret@host", "me:***@host"),
        ("localhost:9443", "localhost:9443"),
        ("http://host:8080/path", "http://host:8080/path"),
        ("wss://me@host:1", "wss://me@host:1"),
    ],
)
def test_a_url_is_shown_without_its_password(text: str, shown: str) -> None:
    assert without_passwords(text) == shown
