"""The documents among themselves: every link and anchor leads somewhere, and what is told is explained."""

import re
import runpy
from pathlib import Path

import pytest

from crypto_quant import events

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\]\(([^)\s]*)\)|(?:href|src)=\"([^\"]*)\"")
ELSEWHERE = ("http://", "https://", "mailto:")


def _without_code(text: str) -> str:
    return re.sub(r"```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)


def _anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings, as GitHub and the site both make them."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ +(.+)$", _without_code(text), re.MULTILINE):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        found.add(re.sub(r"[^\w -]", "", words.lower()).strip().replace(" ", "-"))
    return found | set(re.findall(r"\bid=\"([^\"]+)\"", text))


def _broken(document: Path, text: str) -> list[str]:
    """Return the links of a document that lead nowhere."""
    broken = []
    for first, second in LINK.findall(re.sub(r"`[^`\n]*`", "", _without_code(text))):
        link = first or second
        if not link or link.startswith(ELSEWHERE):
            continue
        path, _, anchor = link.partition("#")
        target = document.parent / path
        if (path and not target.exists()) or (
            anchor and anchor not in _anchors(target.read_text(encoding="utf-8") if path else text)
        ):
            broken.append(link)
    return broken


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_link_and_anchor_leads_somewhere(document: Path) -> None:
    assert not _broken(document, document.read_text(encoding="utf-8"))


def test_a_broken_link_is_seen() -> None:
    page = ROOT / "docs" / "verify.md"
    assert _broken(page, "[a](spool.md#settings) [b](../README.md) [c](#here)\n# Here\n`[d](no.md)`") == []
    assert _broken(page, "[a](spool.md#no-such)") == ["spool.md#no-such"]
    assert _broken(page, "[b](nothing.md)") == ["nothing.md"]
    assert _broken(page, "[c](#here)") == ["#here"]
    assert _broken(page, '<a href="gone.md">') == ["gone.md"]


def test_every_field_of_the_statistics_is_explained() -> None:
    script = runpy.run_path(str(ROOT / "scripts" / "errors-docs"))
    assert list(script["STATISTICS"]) == script["reported"]()


def test_every_warning_says_what_to_do_about_it() -> None:
    every = [each for each in vars(events).values() if isinstance(each, type) and issubclass(each, events.Event)]
    alarming = [each for each in every if each.level in {"warning", "error"}]
    assert len(alarming) > 20
    assert not [each.__name__ for each in alarming if not each.remedy]
