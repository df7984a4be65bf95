"""docs/simulated-exchange.md names every flag and every fault, and nothing that is not there."""

import inspect
import re
from pathlib import Path

from crypto_quant.cli.simulate import simulate
from crypto_quant.sim.commands import COMMANDS, Faults

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "simulated-exchange.md").read_text(encoding="utf-8")


def test_every_flag_is_documented() -> None:
    flags = {flag for option in simulate.params for flag in option.opts}
    rows = [line.split("|")[1] for line in TEXT.splitlines() if line.startswith("| `--")]
    assert {flag for row in rows for flag in re.findall(r"--[a-z-]+", row)} == flags


def test_every_fault_is_documented_with_its_arguments() -> None:
    told = dict(re.findall(r"^\| `(\w+)` \| ([\w, ]*)\|", TEXT, re.MULTILINE))
    assert set(told) == set(COMMANDS)
    for name, arguments in told.items():
        parameters = list(inspect.signature(getattr(Faults, name)).parameters)[1:]
        assert set(re.findall(r"\w+", arguments)) == set(parameters), name
