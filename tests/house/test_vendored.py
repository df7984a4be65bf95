"""What is vendored for the page is what its packages shipped: held against the list of hashes, licences included."""

import hashlib
import runpy
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
VENDOR = ROOT / "src" / "crypto_quant" / "web" / "static" / "vendor"


@pytest.fixture
def script() -> dict[str, Any]:
    """The names of ``scripts/vendor``, not run."""
    return runpy.run_path(str(ROOT / "scripts" / "vendor"))


def problems(script: dict[str, Any], directory: Path) -> list[str]:
    check = script["problems"]
    check.__globals__["VENDOR"], check.__globals__["LIST"] = directory, directory / "SHA256SUMS"
    found: list[str] = check()
    return found


def test_every_vendored_file_is_as_listed(script: dict[str, Any]) -> None:
    assert problems(script, VENDOR) == []


def test_a_changed_a_missing_and_a_stray_file_are_found(script: dict[str, Any], tmp_path: Path) -> None:
    for name in ("changed.js", "stray.js"):
        (tmp_path / name).write_text(name)
    digest = hashlib.sha256(b"as it was").hexdigest()
    (tmp_path / "SHA256SUMS").write_text(f"{digest}  changed.js\n{digest}  missing.js\n")
    assert problems(script, tmp_path) == ["changed.js: changed", "missing.js: missing", "stray.js: not listed"]


def test_every_script_of_a_package_is_there_with_a_licence_and_named_in_the_notice(script: dict[str, Any]) -> None:
    notice = (VENDOR / "NOTICE").read_text("utf-8")
    for _package, version, files in script["PACKAGES"]:
        licences = [name for name in files.values() if name.endswith(".LICENSE")]
        assert licences, files
        assert all(name in notice and (VENDOR / name).stat().st_size > 200 for name in licences)
        # the version is in the name, so that a browser never holds an old one for the new
        assert all(version in name for name in files.values() if not name.endswith(".LICENSE"))


def test_the_page_loads_the_versions_that_are_there(script: dict[str, Any]) -> None:
    static = VENDOR.parent
    texts = "\n".join(path.read_text("utf-8") for path in static.glob("*.*") if path.suffix in {".html", ".js"})
    for _package, _version, files in script["PACKAGES"]:
        for name in files.values():
            assert name.endswith(".LICENSE") or f"vendor/{name}" in texts, f"nothing loads {name}"


def test_the_wheel_has_every_file_of_the_page() -> None:
    """It is made of the package's directory, less what git ignores."""
    build = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["hatch"]["build"]
    assert build == {"targets": {"wheel": {"packages": ["src/crypto_quant"]}}}
    files = [str(path.relative_to(ROOT)) for path in VENDOR.parent.rglob("*") if path.is_file()]
    assert len(files) > 20
    ignored = subprocess.run(["git", "check-ignore", *files], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ignored.returncode, ignored.stdout) == (1, "")
