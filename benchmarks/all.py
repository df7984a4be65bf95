"""All that is measured, one after the other, so that nothing disturbs what is timed: tables, and JSON.

    make bench                                         everything but the soak: half an hour
    make bench ARGS="throughput latency"               these two
    make bench ARGS="throughput -- --symbols 1000"     with other options
    make bench ARGS="soak"                             twenty minutes

The files go to ``figures/``; ``figures/all.json`` holds them together.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
FIGURES = HERE.parent / "figures"
# by name: the script, and whether it writes JSON
WHAT = {
    "throughput": ("run.py", True),
    "latency": ("latency.py", True),
    "start": ("start.py", True),
    "idle": ("idle.py", True),
    "backfill": ("backfill.py", True),
    "reading": ("reading.py", True),
    "export": ("export.py", True),
    "storage": ("storage.py", True),
    "proof": ("proof.py", False),
    "hotpath": ("hotpath.py", False),
    "instructions": ("hotpath.py --instructions", False),
    "watching": ("watching.py", True),
    "soak": ("soak.py", True),
}
LEFT_OUT = {"soak"}


def main() -> int:
    """Run what is asked for; return 1 when a part of it failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", metavar="NAME", help=f"of {', '.join(WHAT)}")
    given = sys.argv[1:]
    asked, more = (given[: given.index("--")], given[given.index("--") + 1 :]) if "--" in given else (given, [])
    names = parser.parse_args(asked).what or [name for name in WHAT if name not in LEFT_OUT]
    if unknown := [name for name in names if name not in WHAT]:
        parser.error(f"nothing is called {', '.join(unknown)}; there are {', '.join(WHAT)}")
    FIGURES.mkdir(exist_ok=True)
    failed = []
    for name in names:
        script, tells = WHAT[name]
        file = FIGURES / f"{name}.json"
        program, *options = script.split()
        command = [sys.executable, str(HERE / program), *options, *(["--json", str(file)] if tells else []), *more]
        print(f"\n== {name}\n", flush=True)
        began = time.monotonic()
        if subprocess.run(command, check=False).returncode:  # noqa: S603
            failed.append(name)
        print(f"({time.monotonic() - began:.0f} s)", flush=True)
    together = {
        file.stem: json.loads(file.read_text()) for file in sorted(FIGURES.glob("*.json")) if file.stem != "all"
    }
    (FIGURES / "all.json").write_text(json.dumps(together, indent=1) + "\n")
    if failed:
        print(f"\nfailed: {', '.join(failed)}", file=sys.stderr)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
