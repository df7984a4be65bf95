"""Figures as people read them: how long, how much, how often. Nothing here is exact, and nothing of it is parsed."""

import re

MIB = 1024**2
GIB = 1024**3
_SPANS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
_SIZES = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB")
UNPRINTABLE = "\N{REPLACEMENT CHARACTER}"
# a URL may lack its scheme, when it is the whole text
_PASSWORD = re.compile(r"((?:://|^(?!\w+://))[^\s:/@]*):\S*@")


def span(seconds: float) -> str:
    """Return a length of time in its two largest units, as ``3 d 4 h`` or ``12 s``; less than none is none."""
    left = max(0, int(seconds))
    for at, (unit_s, unit) in enumerate(_SPANS):
        if left >= unit_s or unit_s == 1:
            text = f"{left // unit_s} {unit}"
            rest = _SPANS[at + 1 : at + 2]
            below = left % unit_s // rest[0][0] if rest else 0
            return f"{text} {below} {rest[0][1]}" if below else text
    raise AssertionError  # the last unit takes all


def brief_span(seconds: float) -> str:
    """Return a length of time in its largest unit alone, as ``3d``: what a column has room for."""
    left = max(0, int(seconds))
    for unit_s, unit in _SPANS:
        if left >= unit_s or unit_s == 1:
            return f"{left // unit_s}{unit[0]}"
    raise AssertionError


def size(count: float) -> str:
    """Return so many bytes, as ``1.4 GiB``: two or three digits, by 1,024 as settings and limits are."""
    amount, at = float(max(0, count)), 0
    while amount >= 999.5 and at < len(_SIZES) - 1:
        amount, at = amount / 1024, at + 1
    return f"{amount:.0f} {_SIZES[at]}" if not at or amount >= 99.95 else f"{amount:.1f} {_SIZES[at]}"


def rate(per_second: float) -> str:
    """Return how often a second something happens: few digits where there are few."""
    if per_second < 0.05:
        return "0"
    return f"{per_second:.1f}" if per_second < 9.95 else f"{per_second:,.0f}"


def milliseconds(length_ms: float | None) -> str:
    """Return a short time in ms, or in seconds from ten of them on; ``-`` when there is none."""
    if length_ms is None:
        return "-"
    if abs(length_ms) >= 10_000:
        return span(length_ms / 1000) if length_ms > 0 else f"-{span(-length_ms / 1000)}"
    return f"{length_ms:.1f} ms" if abs(length_ms) < 9.95 else f"{length_ms:,.0f} ms"


def counted(count: float, one: str, many: str = "") -> str:
    """Return ``1 gap`` or ``1,204 gaps``."""
    return f"{count:,.0f} {one if count == 1 else many or f'{one}s'}"


def printable(text: str) -> str:
    """Return a stranger's text in one line that can do nothing to a terminal: no escape, no change of direction."""
    return "".join(each if each.isprintable() else UNPRINTABLE for each in text)


def without_passwords(text: str) -> str:
    """Return a text in which the password of every URL is ``***``."""
    return _PASSWORD.sub(r"\1:***@", text)
