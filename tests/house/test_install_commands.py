"""What the documents tell a reader to install goes into the project's environment, active or not, and is no more."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from crypto_quant import commands

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
CALL = re.compile(r"scripts/uv [^`\n#]+")
NEEDS_DEVELOPERS = {"mypy", "pytest", "ccxt", "playwright"}


def documented() -> set[str]:
    texts = [page.read_text("utf-8") for page in PAGES]
    texts += [commands.install(extra) for extra in ("arrow", "polars", "pandas")]
    return {re.sub(r" \(in a clone.*", "", call).strip() for text in texts for call in CALL.findall(text)}


def run(command: str) -> str:
    """Run a command as a reader does who has not activated the environment; return all that it says."""
    words = command.split()
    environment = {key: value for key, value in os.environ.items() if key not in {"VIRTUAL_ENV", "UV_PYTHON"}}
    path = [each for each in environment["PATH"].split(":") if ".venv" not in each]
    done = subprocess.run(
        [str(ROOT / words[0]), *words[1:]], cwd=ROOT, env={**environment, "PATH": ":".join(path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_there_are_such_commands() -> None:
    assert any("sync" in call for call in documented())
    assert any("pip install" in call for call in documented())


@pytest.mark.parametrize("call", sorted(call for call in documented() if " sync " in call))
def test_an_extra_brings_what_it_names_and_no_developers_tools(call: str) -> None:
    assert "--inexact" in call, "what is there already stays"
    extra = call.partition("--extra ")[2].split()[0]
    exported = run(f"scripts/uv export --no-hashes --no-annotate --no-header --frozen --extra {extra} {flags(call)}")
    names = {line.partition("==")[0].strip() for line in exported.splitlines()}
    assert "pyarrow" in names
    assert not names & NEEDS_DEVELOPERS


def flags(call: str) -> str:
    return "--no-dev" if "--no-dev" in call else ""


def test_pip_means_the_projects_environment() -> None:
    where = run("scripts/uv pip show msgspec")
    location = next(line.partition(":")[2].strip() for line in where.splitlines() if line.startswith("Location"))
    assert Path(location).is_relative_to(ROOT / ".venv")
