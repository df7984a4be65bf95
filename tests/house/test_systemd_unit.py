"""The unit for systemd: sound by systemd's own word, hardened, with time to drain, and without a secret."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from crypto_quant.cli.record import record
from crypto_quant.config import PREFIX, Settings

ROOT = Path(__file__).resolve().parents[2]
UNIT = ROOT / "deploy" / "crypto-quant.service"


def parsed(text: str) -> dict[str, dict[str, list[str]]]:
    """Return the sections with the values of each key, in order; raise ValueError for a line that is none."""
    found: dict[str, dict[str, list[str]]] = {}
    section: dict[str, list[str]] | None = None
    for line in text.splitlines():
        if not line or line.startswith(("#", ";")):
            continue
        if head := re.fullmatch(r"\[(\w+)\]", line):
            section = found.setdefault(head[1], {})
        elif (entry := re.fullmatch(r"([A-Za-z]+)=(.*)", line)) and section is not None:
            section.setdefault(entry[1], []).append(entry[2])
        else:
            raise ValueError(line)
    return found


def service() -> dict[str, list[str]]:
    return parsed(UNIT.read_text(encoding="utf-8"))["Service"]


def test_a_line_that_is_none_is_found() -> None:
    with pytest.raises(ValueError, match="Restart always"):
        parsed("[Service]\nRestart always\n")


def test_it_restarts_and_has_time_to_drain() -> None:
    unit = service()
    assert unit["Type"] == ["exec"]
    assert unit["Restart"] == ["always"]
    assert unit["RestartPreventExitStatus"] == ["2"]
    assert unit["KillSignal"] == ["SIGTERM"]
    assert int(unit["TimeoutStopSec"][0]) > Settings().drain_deadline


def test_it_runs_a_command_line_that_exists() -> None:
    program, verb, *arguments = service()["ExecStart"][0].split()
    assert Path(program).name == "crypto-quant"
    assert verb == "record"
    context = record.make_context("record", arguments)
    assert str(context.params["config"]) == "/etc/crypto-quant/crypto-quant.toml"
    given = {each.partition("=")[0] for line in service()["Environment"] for each in line.split()}
    assert given <= {PREFIX + name.upper() for name in Settings.__struct_fields__}


def test_it_is_nobody_special_and_writes_into_its_own_directory() -> None:
    unit = service()
    assert unit["User"] == ["crypto-quant"]
    assert unit["StateDirectory"] == ["crypto-quant"]
    assert unit["CapabilityBoundingSet"] == [""]
    for key in ("NoNewPrivileges", "PrivateTmp", "PrivateDevices", "ProtectHome", "ProtectKernelTunables",
                "ProtectControlGroups", "RestrictSUIDSGID"):  # fmt: skip
        assert unit[key] == ["yes"], key
    assert unit["ProtectSystem"] == ["strict"]
    assert "ReadWritePaths" not in unit


def test_it_holds_no_secret() -> None:
    text = UNIT.read_text(encoding="utf-8")
    assert "://" not in text
    assert not re.search(r"(?i)(password|token|secret)=", text)
    assert service()["EnvironmentFile"] == ["-/etc/crypto-quant/environment"]


def test_the_page_installs_what_the_unit_runs() -> None:
    page = (ROOT / "docs" / "systemd.md").read_text(encoding="utf-8")
    program = service()["ExecStart"][0].split()[0]
    for words in (program, "/etc/crypto-quant/environment", "/etc/crypto-quant/crypto-quant.toml", "useradd --system"):
        assert words in page


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_finds_nothing_wrong_with_it(tmp_path: Path) -> None:
    def verdict(text: str) -> str:
        # the program is not installed here, and systemd looks for it
        file = tmp_path / "crypto-quant.service"
        file.write_text(re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", text, flags=re.MULTILINE))
        done = subprocess.run(["systemd-analyze", "verify", file], capture_output=True, text=True, check=False)
        return done.stdout + done.stderr if done.returncode == 0 else f"{done.stdout}{done.stderr}(failed)"

    text = UNIT.read_text(encoding="utf-8")
    assert "crypto-quant.service" not in verdict(text)
    assert "crypto-quant.service" in verdict(text.replace("Restart=always", "Restart=perhaps"))
