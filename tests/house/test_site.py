"""The site builds strictly, and its pages ask nothing of other origins. Needs mkdocs: ``make site`` installs it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# what a browser fetches by itself; a link that a reader may follow is none of it
FETCHED = re.compile(
    r"<(?:script|img|iframe|source|video|audio|embed|object)\b[^>]*?\b(?:src|srcset|data)=[\"']?((?:https?:)?//[^\"'\s>]+)"
    r"|<link\b[^>]*?\bhref=[\"']?((?:https?:)?//[^\"'\s>]+)"
    r"|(?:@import\s+|url\()[\"']?((?:https?:)?//[^\"')\s]+)",
    re.IGNORECASE,
)


def _asked_elsewhere(text: str) -> list[str]:
    return ["".join(groups) for groups in FETCHED.findall(text)]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("mkdocs", reason="the documents' tools are not installed: make site")
    built = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-W", "ignore", "-m", "mkdocs", "build", "--strict", "--site-dir", str(built)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return built


def test_every_document_is_a_page_that_the_navigation_leads_to(site: Path) -> None:
    home = (site / "index.html").read_text(encoding="utf-8")
    documents = sorted((ROOT / "docs").rglob("*.md"))
    assert len(documents) > 20
    for document in documents:
        name = document.relative_to(ROOT / "docs").as_posix().replace("README.md", "index.md")
        page = name.removesuffix(".md") + ".html"
        assert (site / page).is_file(), name
        assert f'href="{page}"' in home, f"{name} is not in the navigation: mkdocs.yml"


def test_no_page_fetches_anything_from_elsewhere(site: Path) -> None:
    pages = [path for path in site.rglob("*") if path.suffix in {".html", ".css", ".svg"}]
    assert len(pages) > 20
    assert not {path.name: asked for path in pages if (asked := _asked_elsewhere(path.read_text(encoding="utf-8")))}
    for page in site.rglob("*.html"):  # what a script might fetch in a case we do not know of, the browser refuses
        assert "default-src 'self'" in page.read_text(encoding="utf-8"), page.name


def test_the_check_sees_what_is_fetched() -> None:
    for text in (
        '<script defer src="https://cdn.example/x.js">',
        "<link rel=stylesheet href='//fonts.example/x.css'>",
        '<img alt="" src=https://example.org/badge.svg>',
        "body { background: url(https://example.org/x.png) }",
        '@import "https://example.org/x.css"',
    ):
        assert _asked_elsewhere(text), text
    assert not _asked_elsewhere('<a href="https://example.org">read</a> <script src="assets/x.js"></script>')
