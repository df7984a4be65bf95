"""Pages whose blocks are run as they stand: in order, in a fresh directory, their output held against the page."""

import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tutorial import Shell, missing_line, steps

from crypto_quant.store.embedded import EmbeddedDatabase

DOCS = Path(__file__).parents[2] / "docs"
PORT = "9443"


@pytest.fixture
def shell() -> Iterator[Shell]:
    # the user that the database runs as must be able to enter
    fresh = Path(tempfile.mkdtemp(prefix="cq-tutorial-", dir="/var/tmp"))
    fresh.chmod(0o755)
    # nothing of whoever runs the tests: no settings, no database of their own
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("CRYPTO_QUANT_", "DATABASE"))
    }
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    shell = Shell(fresh, environment)
    try:
        yield shell
    finally:
        shell.close()
        for data in fresh.glob("*/data"):  # the database is no job of the shell
            EmbeddedDatabase(data).stop()
        shutil.rmtree(fresh)


@pytest.mark.skipif(not shutil.which("curl"), reason="the pages use curl")
@pytest.mark.timeout(240)
@pytest.mark.parametrize("page", ["tutorial.md", "proof.md"])
def test_every_block_does_what_the_page_shows(shell: Shell, page: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = str(probe.getsockname()[1])
    for step in steps((DOCS / page).read_text(encoding="utf-8").replace(PORT, port)):
        code, printed = shell.run(step)
        assert code == step.code, f"{step.text}\n{printed}"
        line = missing_line(step.shown, printed)
        assert line is None, f"{step.text}\nnot printed: {line}\n{printed}"


def test_what_is_shown_and_was_not_printed_is_seen() -> None:
    printed = "COMPLETE: 2 symbols, 1,724 trades\n  0 missing\nrow 7  2026-10-01T12:00:05Z\n"
    assert missing_line("COMPLETE: 1 symbols, 12 trades\n…\nrow 8  2026-11-30T01:02:03Z", printed) is None
    assert missing_line("COMPLETE: …", printed) is None
    assert missing_line("INCOMPLETE: 2 symbols, 1,724 trades", printed) == "INCOMPLETE: 2 symbols, 1,724 trades"
    assert missing_line("0 missing\nCOMPLETE: …", printed) == "COMPLETE: …"  # in this order
    assert missing_line("COMPLETE: 2 symbols", printed) == "COMPLETE: 2 symbols"  # the whole line


def test_a_block_that_nobody_runs_is_refused() -> None:
    with pytest.raises(ValueError, match="neither run nor the output"):
        steps("```toml\na = 1\n```\n")
    with pytest.raises(ValueError, match="neither run nor the output"):
        steps("```sh\ntrue\n```\n```text\nfirst\n```\n```text\nsecond\n```\n")
