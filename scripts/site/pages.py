"""What the site adds to docs/: pages from the root, and the list of decisions.

A hook of mkdocs (see mkdocs.yml). On disk every link of a document leads to a file, so that it can be followed where
the repository is read; here a link to ``../ARCHITECTURE.md`` becomes one to ``architecture.md``, and one to a file
that is no page becomes its text.
"""

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
# documents that live at the root, and what they are called in the site
FROM_THE_ROOT = {
    "ARCHITECTURE.md": "architecture.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
}
PAGES = FROM_THE_ROOT | {"README.md": "index.md", "docs/decisions": "decisions/README.md"}
DECISIONS = "decisions/"
_LINK = re.compile(r"\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)#:\s]+)((?:#[^)\s]*)?)\)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Fill in the decisions."""
    config.nav = _filled(config.nav or [])
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages from the root."""
    for source, name in FROM_THE_ROOT.items():
        files.append(File.generated(config, name, content=(ROOT / source).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Turn links between files into links between pages."""
    at_the_root = page.file.src_uri in FROM_THE_ROOT.values()
    folder = "" if at_the_root else posixpath.join("docs", posixpath.dirname(page.file.src_uri))

    def target(match: re.Match[str]) -> str:
        text, path, anchor = match.groups()
        there = posixpath.normpath(posixpath.join(folder, path))
        if name := _page_of(there, page.file.src_uri):
            return f"[{text}]({name}{anchor})"
        # a file of the repository that is no page, such as a unit of systemd: its name is what the reader needs
        return text if (ROOT / there).is_file() else match[0]

    if page.file.src_uri == "decisions/README.md":
        markdown += f"\n{_list_of_decisions()}"
    # a code block is shown as it is
    parts = re.split(r"(```.*?```)", markdown, flags=re.DOTALL)
    return "".join(part if part.startswith("```") else _LINK.sub(target, part) for part in parts)


def _decisions() -> list[Path]:
    return sorted((DOCS / DECISIONS).glob("[0-9]*.md"))


def _list_of_decisions() -> str:
    titles = [(path, path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")) for path in _decisions()]
    return "".join(f"* [{title}]({path.name})\n" for path, title in titles)


def _page_of(path: str, src_uri: str) -> str | None:
    """Return the link from one page to that of a file in the repository, None for what is no page of the site."""
    name = PAGES.get(path)
    if name is None:
        if not path.startswith("docs/"):
            return None
        name = path.removeprefix("docs/")
    return posixpath.relpath(name, posixpath.dirname(src_uri) or ".")


def _filled(entries: list[Any]) -> list[Any]:
    """Return the navigation with the decisions listed."""
    filled: list[Any] = []
    for entry in entries:
        title, value = next(iter(entry.items())) if isinstance(entry, dict) else (None, entry)
        if isinstance(value, list):
            filled.append({title: _filled(value)})
        elif value == DECISIONS:
            filled.append({title: [f"{DECISIONS}README.md", *(DECISIONS + path.name for path in _decisions())]})
        else:
            filled.append(entry)
    return filled
