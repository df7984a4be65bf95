"""The tutorial, run as it stands: every block in order, in a fresh directory, and its output held against the page."""

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

PAGE = Path(__file__).parents[2] / "docs" / "tutorial.md"
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
        if (data := fresh / "tutorial" / "data").is_dir():  # the database is no job of the shell
            EmbeddedDatabase(data).stop()
        shutil.rmtree(fresh)


@pytest.mark.skipif(not shutil.which("curl"), reason="the tutorial uses curl")
def test_every_block_of_the_tutorial_does_what_the_page_shows(shell: Shell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = str(probe.getsockname()[1])
    for step in steps(PAGE.read_text(encoding="utf-8").replace(PORT, port)):
        code, printed = shell.run(step)
        assert code == step.code, f"{step.text}\n{printed}"
        assert missing_line(step.shown, printed) is None, f"{step.text}\n{printed}"
