"""Environments of their own for programs that we did not write: cryptofeed, and what reads our exports.

    python benchmarks/peers/environment.py      make cryptofeed's, print the path of its interpreter

Each lies in ``.peers`` and holds what a lock says. Nothing of them is a dependency of this project; most need a newer
Python than it does.
"""

# ruff: noqa: S603  # it runs programs for a living

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
LOCK = Path(__file__).parent / "cryptofeed.txt"
HOMES = REPOSITORY / ".peers"
TABLE = Path(__file__).parent / "cryptofeed.sql"
NEEDS = (3, 13)
VARIABLE = "CRYPTO_QUANT_PEERS_PYTHON"


class Unavailable(Exception):
    """A program cannot be had here; the text says why."""


def cryptofeed_python() -> Path:
    """Return the interpreter that has the locked cryptofeed. Raises Unavailable."""
    return locked_python(LOCK)


def locked_python(lock: Path) -> Path:
    """Return the interpreter that has what a lock names; the environment is made when it is not there.

    Raises Unavailable without a Python 3.13, or when the packages cannot be installed.
    """
    home = HOMES / lock.stem
    python, made_from = home / "bin" / "python", home / lock.name
    if made_from.exists() and made_from.read_bytes() == lock.read_bytes() and _version(python) >= NEEDS:
        return python
    chosen = next((each for each in _candidates() if _version(each) >= NEEDS), None)
    if chosen is None:
        raise Unavailable(f"it needs Python {NEEDS[0]}.{NEEDS[1]}, and none was found; name one in {VARIABLE}")
    shutil.rmtree(home, ignore_errors=True)
    _uv("venv", "--quiet", "--python", str(chosen), str(home))
    _uv("pip", "install", "--quiet", "--python", str(python), "-r", str(lock))
    shutil.copyfile(lock, made_from)
    return python


def _candidates() -> Iterator[Path]:
    if named := os.environ.get(VARIABLE):
        yield Path(named)
        return
    for name in ("python3.13", "python3"):
        if found := shutil.which(name):
            yield Path(found)
    # where pyenv and uv keep theirs, which need not be on the PATH
    yield from sorted(Path.home().glob(".pyenv/versions/3.13.*/bin/python3"), reverse=True)
    yield from sorted(Path.home().glob(".local/share/uv/python/cpython-3.13.*/bin/python3"), reverse=True)


def _version(python: Path) -> tuple[int, ...]:
    try:
        done = subprocess.run(
            [str(python), "-c", "import sys; print(*sys.version_info[:2])"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):  # not there, or a shim that leads nowhere
        return ()
    return tuple(int(part) for part in done.stdout.split())


def _uv(*arguments: str) -> None:
    done = subprocess.run([REPOSITORY / "scripts/uv", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        last = " / ".join(line.strip() for line in done.stderr.strip().splitlines()[-3:])
        raise Unavailable(f"uv {' '.join(arguments[:2])} failed: {last}")


if __name__ == "__main__":
    try:
        print(cryptofeed_python())
    except Unavailable as problem:
        sys.exit(f"cryptofeed cannot be had here: {problem}")
