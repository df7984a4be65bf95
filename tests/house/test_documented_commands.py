"""What the documents tell a reader to type must exist, with just these flags."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from crypto_quant.cli import crypto_quant
from crypto_quant.cli.checkup import checks
from crypto_quant.config import resolve

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "ARCHITECTURE.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
CALL = re.compile(r"(?<![\w/-])(?:\.venv/bin/)?crypto-quant +([a-z][^\n`|#;)\"']*)")


def _commands(text: str) -> list[list[str]]:
    """Return every call of crypto-quant in code blocks and code spans, as words."""
    calls = []
    code = re.findall(r"```\w*\n(.*?)```", text, re.DOTALL)
    code += re.findall(r"(?<!`)`([^`\n]+)`(?!`)", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    for block in code:
        calls += [
            shlex.split(match.group(1).split(" > ")[0].split(" & ")[0], comments=True)
            for match in CALL.finditer(block.replace("\\\n", " "))
        ]
    return calls


def _refusal(words: list[str]) -> str | None:
    """Return why click would not know these words, None when it does. Nothing is run."""
    context = click.Context(crypto_quant, info_name="crypto-quant")
    command: click.Command | None = crypto_quant
    rest = list(words)
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        name = rest.pop(0)
        if name.isupper() or name == "…":
            return None
        command = command.get_command(context, name)
        if command is None:
            return f"no command {name!r}"
    if command is None:
        return "no command"
    known = {flag for option in command.params for flag in (*option.opts, *option.secondary_opts)} | {
        "--help",
        "-h",
        "--version",
    }
    for word in rest:
        flag = word.partition("=")[0].rstrip("…].,")
        if word == "--":
            break
        if flag.startswith("--") and flag not in known:
            return f"no flag {flag} of {command.name!r}"
    return None


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_documented_commands_and_flags_exist(document: Path) -> None:
    wrong = {
        " ".join(words): why for words in _commands(document.read_text(encoding="utf-8")) if (why := _refusal(words))
    }
    assert not wrong


def test_the_check_can_fail() -> None:
    assert _refusal(["recrod", "btcusdt"]) == "no command 'recrod'"
    assert _refusal(["record", "btcusdt", "--batchsize", "5"]) == "no flag --batchsize of 'record'"
    assert _refusal(["record", "btcusdt", "--batch-size", "5"]) is None
    assert _commands("`crypto-quant record x --foo`") == [["record", "x", "--foo"]]


def test_readme_shows_the_main_commands() -> None:
    verbs = {words[0] for words in _commands((ROOT / "README.md").read_text(encoding="utf-8")) if words}
    assert {"record", "db"} <= verbs


def test_make_targets_in_the_documents_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z][\w-]*):", makefile, re.MULTILINE))
    for document in DOCUMENTS:
        for target in re.findall(r"(?:^|`)make ([a-z][\w-]*)", document.read_text(encoding="utf-8"), re.MULTILINE):
            assert target in targets, f"{document.name}: make {target}"


@pytest.mark.parametrize("script", ["command-line-docs", "configuration-docs", "errors-docs"])
def test_the_generated_pages_are_current(script: str) -> None:
    # in a process of its own: click remembers how a command was called first
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / script, "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_every_check_of_doctor_has_its_place_in_its_page() -> None:
    names = [name for check in checks(resolve({}, {}), "linux") for name in check.names]
    page = (ROOT / "docs" / "doctor.md").read_text(encoding="utf-8").partition("## The checks")[2]
    assert len(names) > 20
    assert re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE) == names
