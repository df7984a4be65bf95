"""The site builds strictly, and its pages ask nothing of other origins. Needs mkdocs: ``make site`` installs it."""

import functools
import http.server
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
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


@pytest.fixture
def address(site: Path) -> Iterator[str]:
    """The address of a server of the site on this machine."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


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


def test_a_browser_asks_this_site_alone_and_fits_a_telephone(site: Path, address: str) -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed")
    from playwright.sync_api import sync_playwright

    pages = sorted(path.relative_to(site).as_posix() for path in site.rglob("*.html"))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 390, "height": 844})
        asked: list[str] = []
        complaints: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        wide = []
        for name in pages:
            page.goto(address + name)
            if page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"):
                wide.append(name)
        browser.close()
    assert len(asked) > len(pages) > 20
    assert not [url for url in asked if not url.startswith((address, "data:", "blob:"))]
    assert not complaints
    assert not wide


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
