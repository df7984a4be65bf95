"""The commands of a page, run one after the other as a reader would; what it shows of their output, held loosely."""

import os
import re
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(
    r"(?:<!-- exit code (?P<code>\d+) -->\n)?```(?P<kind>\w+)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE
)
_NUMBER = re.compile(r"\d[\d,.:TZ+-]*")
_END = "the end of block"


@dataclass
class Step:
    """A block to run, the exit code that its last command must have, and the output that the page shows for it."""

    kind: str
    text: str
    code: int
    shown: str


def steps(page: str) -> list[Step]:
    """Return the blocks of a page that are to be run. A block of text is the output of the one before."""
    found: list[Step] = []
    for block in _BLOCK.finditer(page):
        if block["kind"] in ("sh", "python"):
            found.append(Step(block["kind"], block["text"], int(block["code"] or 0), ""))
        elif block["kind"] == "text" and found and not found[-1].shown:
            found[-1].shown = block["text"]
        else:
            raise ValueError(f"a block of {block['kind']} that is neither run nor the output of one:\n{block['text']}")
    return found


def missing_line(shown: str, printed: str) -> str | None:
    """Return the first line of what is shown that was not printed, in this order; None when all were.

    Numbers, times and the width of blanks may differ; ``…`` stands for anything.
    """
    lines = printed.splitlines()
    at = 0
    for line in shown.splitlines():
        if line.strip() in ("", "…"):
            continue
        pattern = re.compile(_loosely(line))
        while at < len(lines) and not pattern.fullmatch(lines[at].strip()):
            at += 1
        if at == len(lines):
            return line
        at += 1
    return None


def _loosely(line: str) -> str:
    """Return the pattern that a printed line must match as a whole."""
    parts = []
    for word in line.split():
        pieces = [re.escape(piece).replace("…", ".*") for piece in _NUMBER.split(word)]
        # a rule of a table is as wide as what it holds
        parts.append(re.sub(r"(?:[─═-]|\\-){2,}", "[─═-]+", r"[\d,.:TZ+-]+".join(pieces)))
    return r"\s*".join(parts)


class Shell:
    """One bash in which block after block is typed, so that variables, jobs and the directory stay."""

    def __init__(self, directory: Path, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            ["bash", "--norc"],
            cwd=directory,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, step: Step) -> tuple[int, str]:
        """Return the exit code and all that was printed, on both outputs; jobs in the background may go on."""
        text = step.text if step.kind == "sh" else f"python - <<'BLOCK'\n{step.text}BLOCK\n"
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        # in braces, so that no program reads the blocks to come
        self._process.stdin.write(f'{{\n{text}}} </dev/null\nprintf "\\n%s %s\\n" "{_END}" $?\n')
        self._process.stdin.flush()
        printed = []
        for line in self._process.stdout:
            if line.startswith(_END):
                return int(line.removeprefix(_END)), "".join(printed)
            printed.append(line)
        raise AssertionError(f"the shell has ended: {''.join(printed)}")

    def close(self) -> None:
        """End the shell and every job that still runs in it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()
